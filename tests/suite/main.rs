//! Behaviour, as the library and the binary show it. One test binary, so that it is linked once.

mod accepting;
mod archive_bytes;
mod arguments;
mod attesting;
mod crash;
mod data;
mod deploying;
mod diff;
mod documentation;
mod drilling;
mod gating;
mod git;
mod hostile_archive;
mod hostile_seal;
mod input_tree;
mod interoperability;
mod isolation;
mod keys;
mod limits;
mod lineage;
mod online;
#[cfg(feature = "parquet")]
mod parquet;
mod policies;
mod probing;
mod properties;
mod questions;
mod recipe_mistakes;
mod repositories;
mod reproducing;
mod rooms;
mod running;
mod statements;
mod support;
mod trainers;
mod verifying;
