//! What a sealed release is, byte by byte.

// There is one exception, which says why: `digest/sha256_x2.rs`.
#![deny(unsafe_code)]

pub mod archive;
pub mod canonical;
pub mod context;
pub mod digest;
pub mod display;
pub mod manifest;
pub mod release;
pub mod sign;
