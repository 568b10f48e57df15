//! Builds and signs releases.

#![forbid(unsafe_code)]

pub mod build;
pub mod cache;
pub mod checkout;
pub mod content;
pub mod inputs;
pub mod probe;
pub mod profile;
pub mod recipe;
pub mod run;
