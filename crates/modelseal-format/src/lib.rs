//! What a sealed release is, byte by byte.

// There is one exception, which says why: `digest/lanes.rs`.
#![deny(unsafe_code)]

pub mod archive;
pub mod context;
pub mod digest;
pub mod document;
pub mod manifest;
pub mod release;
pub mod sign;
pub mod text;
