//! Shared by the TOML files that users write: located mistakes and lengths of time.

mod age;
mod mistake;

pub use age::Age;
pub use mistake::Mistake;
