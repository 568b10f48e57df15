//! What the TOML files that users write have in common: located mistakes and lengths of time.

mod age;
mod mistake;

pub use age::Age;
pub use mistake::Mistake;
