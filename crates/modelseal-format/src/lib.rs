//! The format of a sealed release, byte by byte.
//!
//! ```
//! # use {modelseal_format::{archive::ArchiveReader, context::Context, release::Seal, sign::*}, std::fs::File};
//! # std::env::set_current_dir("../modelseal-verify/examples/release")?;
//! let mut archive = ArchiveReader::new(File::open("wine-1.0.0.tar")?, &Context::default())?;
//! let seal = archive.read_seal(Seal::read)?.1?;
//! seal.verify(&read_public_key(&KeySource::from("builder.pub"))?)?;
//! println!("{} is release {}", seal.manifest.model().name, seal.release);
//! # assert_eq!(seal.manifest.model().name, "wine");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This checks who signed the manifest, but not the files after it: `modelseal-verify` does.

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
