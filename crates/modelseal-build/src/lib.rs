//! Builds and signs releases: from a recipe to a sealed archive.
//!
//! ```
//! # use modelseal_build::{Options, build, recipe::Recipe, run::{Confinement, Scope}};
//! # use modelseal_format::sign::{KeyAlgorithm, KeySource, PrivateKey, Signer, write_key_pair};
//! # let (place, keys) = (tempfile::tempdir()?, tempfile::tempdir()?);
//! # let (project, key_file) = (place.path(), keys.path().join("ci.key"));
//! # let recipe = "[model]\nname = \"m\"\nversion = \"1\"\n[artifact]\npath = \"model\"\n[code]\nnone = true\n\
//! #     [run]\ncommand = [\"sh\", \"-c\", \"mkdir model; echo 1 > model/weights\"]\n";
//! # std::fs::write(project.join("modelseal.toml"), recipe)?;
//! # let key = PrivateKey::generate(KeyAlgorithm::P256)?;
//! # write_key_pair(&key, &key_file, &keys.path().join("ci.pub"), None)?;
//! let recipe = Recipe::load(project)?;
//! let confinement = Confinement::new(Scope::new(project).hide(&key_file))?;
//! let mut open_key = || Signer::read(&KeySource::File(key_file.clone()));
//! let built = build(&recipe, &mut open_key, &Options::new(&confinement))?;
//! println!("{} holds release {}", built.archive.display(), built.release);
//! # assert!(built.archive.is_file());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The key is opened only after the recipe's command has ended. `examples/custom_signer.rs` signs with a key that
//! modelseal never sees.

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

pub use build::{Built, Options, build};
