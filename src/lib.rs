#![forbid(unsafe_code)]
pub mod archive;
pub mod build;
pub mod digest;
pub mod inputs;
pub mod interrupt;
pub mod manifest;
pub mod recipe;
pub mod release;
pub mod report;
pub mod sign;
pub mod text;
pub mod verify;
