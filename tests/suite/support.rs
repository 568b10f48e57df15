//! Projects to seal, the binary to run, and ways to damage its output.

pub mod archive;
pub mod authority;
pub mod peers;
pub mod project;
pub mod run;
pub mod schema;

pub use project::Project;
pub use run::{Outcome, modelseal};
