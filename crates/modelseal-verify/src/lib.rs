//! Decides whether a received release is the one that was built, and whether a policy accepts it.
//!
//! ```no_run
//! # use modelseal_format::sign::{KeySource, read_public_key};
//! # use modelseal_verify::{Options, Target, trust::TrustedSigner, verify};
//! let key = read_public_key(&KeySource::from("keys/ci.pub"))?;
//! let signers = [TrustedSigner::key("ci", "`keys/ci.pub`", key)];
//! let verified = verify(&Target::Path("wine-1.0.0.tar".into()), &Options::new(&signers))?;
//! println!("{}", verified.report().summary());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Without the feature `identities`, signers are known by keys and certificates, but not by identities that Sigstore
//! vouches for.

#![forbid(unsafe_code)]

pub mod config;
pub mod oms;
pub mod policy;
pub mod report;
pub mod rule;
pub mod rules;
pub mod trust;
pub mod verify;

pub use verify::{Options, Target, Verified, verify};
