//! Reproducible machine-learning model builds: hash the inputs, sign the lineage, verify what ships.
//!
//! The flow of a build, and the rooms it goes through:
//!
//! ```text
//! modelseal.toml ─ recipe ─┐
//! data, base, code, params ┴─ inputs ── build ──┐
//!                                               ├─ archive ─ NAME-VERSION.tar ─┐
//!                     manifest ── sign (seal) ──┘                              │
//!                                                                              │
//!              keys, authorities, identities ─ trust ─┐                        │
//!                              gate.toml ─ policy ─ gate ─ verify ─────────────┤
//!                                                            │                 │
//!                                                          report            unpack
//! ```
//!
//! A room knows only those above it in this list: [`text`], [`interrupt`], [`digest`], [`document`],
//! [`manifest`], [`sign`], [`archive`], [`release`], [`config`], [`trust`], [`oms`], [`report`], [`policy`],
//! [`gate`], [`verify`], [`recipe`], [`run`], [`cache`], [`profile`], [`content`], [`inputs`], [`probe`],
//! [`checkout`], [`build`], [`compare`], [`reproduce`], [`diff`], [`acceptance`], [`drill`], [`ops`]; a test
//! holds them to it. `manifest` knows nothing of files, `archive` nothing of keys, `report` nothing of how a
//! check was made. The command line, [`cli`], knows everything and is known by nothing.
//!
//! ```no_run
//! use modelseal::digest::Algorithms;
//! use modelseal::sign::{KeySource, read_public_key};
//! use modelseal::trust::TrustedSigner;
//! use modelseal::verify::{Options, Target, verify};
//!
//! let key = read_public_key(&KeySource::from("keys/ci.pub"))?;
//! let signers = [TrustedSigner::key("ci", "`keys/ci.pub`", key)];
//! let options = Options {
//!     signers: &signers,
//!     release: None,
//!     hash: Algorithms::BLAKE3,
//!     attestations: &[],
//!     outside: &[],
//!     policy: None,
//!     previous: None,
//!     now: jiff::Timestamp::now(),
//!     progress: &|_bytes| {},
//! };
//! let report = verify(&Target::Path("wine-1.0.0.tar".into()), &options)?;
//! println!("{}", report.summary());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod acceptance;
#[doc(hidden)]
pub mod cli;
pub mod compare;
pub mod diff;
pub mod drill;
pub mod ops;
pub mod reproduce;
