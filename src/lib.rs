//! The program `modelseal`: its operations on releases, and its command line.
//!
//! The data flow from build to verification, and the modules involved:
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
//! | crate | modules; each uses only those before it |
//! |---|---|
//! | `modelseal-format`: the format of a release, byte by byte | `display`, `context`, `digest`, `canonical`, `manifest`, `sign`, `archive`, `release` |
//! | `modelseal-verify`: verifying releases | `config`, `trust`, `oms`, `report`, `rule`, `rules`, `policy`, `verify` |
//! | `modelseal-build`: building releases | `recipe`, `run`, `cache`, `profile`, `content`, `inputs`, `probe`, `checkout`, `build` |
//! | this one: operations and the command line | `compare`, `reproduce`, `diff`, `live_probe`, `drill`, `ops`, `cli` |
//!
//! A test enforces this order. `manifest` does not depend on files, `archive` does not depend on keys, and `report` does
//! not depend on how a check was made.

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod cli;
pub mod compare;
pub mod diff;
pub mod drill;
pub mod live_probe;
pub mod ops;
pub mod reproduce;
