//! Decides whether a received release is the one that was built, and whether a policy accepts it.
//!
//! ```
//! # use modelseal_format::sign::{KeySource, read_public_key};
//! # use modelseal_verify::{Options, Target, trust::TrustedSigner, verify};
//! # std::env::set_current_dir("examples/release")?;
//! let key = read_public_key(&KeySource::from("builder.pub"))?;
//! let signers = [TrustedSigner::key("builder", "`builder.pub`", key)];
//! let verified = verify(&Target::Path("wine-1.0.0.tar".into()), &Options::new(&signers))?;
//! println!("{}", verified.report().summary());
//! # assert!(verified.accepted().is_some(), "{}", verified.report().summary());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Verified::accepted`] provides the release, and with it the manifest, only if every check has passed.
//! [`verify::unpack`](verify::unpack()) also extracts it. `examples/serve.rs` is a service that loads a model only after
//! that, and `examples/admission.rs` is an admission check for Kubernetes.
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
