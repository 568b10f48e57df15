//! Decides whether a release is what was built, and whether a policy accepts it.

#![forbid(unsafe_code)]

pub mod config;
pub mod gate;
pub mod oms;
pub mod policy;
pub mod report;
pub mod trust;
pub mod verify;
