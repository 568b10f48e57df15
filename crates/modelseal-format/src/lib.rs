//! The format of a sealed release, byte by byte.

// The only exception is `digest/sha256_x2.rs`, which gives its reason.
#![deny(unsafe_code)]

pub mod archive;
pub mod canonical;
pub mod context;
pub mod digest;
pub mod display;
pub mod hint;
pub mod manifest;
pub mod release;
pub mod sign;
