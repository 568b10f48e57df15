//! The program `modelseal`: what it does with releases, and its command line.
//!
//! The flow of a build, and the crates and modules it goes through:
//!
//! ```text
//! modelseal.toml ─ recipe ─┐
//! data, base, code, params ┴─ inputs ── build ──┐
//!                                               ├─ archive ─ NAME-VERSION.tar ─┐
//!                     manifest ── sign (seal) ──┘                              │
//!                                                                              │
//!              keys, authorities, identities ─ trust ─┐                        │
//!                              gate.toml ─ rules ─ policy ─ verify ────────────┤
//!                                                            │                 │
//!                                                          report            unpack
//! ```
//!
//! | crate | modules, each of which uses only those before it |
//! |---|---|
//! | `modelseal-format`: what a release is, byte by byte | `display`, `context`, `digest`, `canonical`, `manifest`, `sign`, `archive`, `release` |
//! | `modelseal-verify`: deciding | `config`, `trust`, `oms`, `report`, `rule`, `rules`, `policy`, `verify` |
//! | `modelseal-build`: making | `recipe`, `run`, `cache`, `profile`, `content`, `inputs`, `probe`, `checkout`, `build` |
//! | this one: operations, and the command line | `compare`, `reproduce`, `diff`, `live_probe`, `drill`, `ops`, `cli` |
//!
//! A test holds the modules to this order. `manifest` knows nothing of files, `archive` nothing of keys, `report` nothing
//! of how a check was made.

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod cli;
pub mod compare;
pub mod diff;
pub mod drill;
pub mod live_probe;
pub mod ops;
pub mod reproduce;
