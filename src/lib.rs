#![forbid(unsafe_code)]
pub mod digest;
pub mod interrupt;
pub mod manifest;
pub mod sign;
pub mod text;
