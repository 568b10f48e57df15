//! The tables of a recipe as written: types and defaults. Rules that involve several of them are not checked here.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::{CacheName, Size};
use modelseal_format::archive::Compression;
use modelseal_format::digest::Symlinks;
use modelseal_format::manifest::Rung;
use modelseal_verify::config::Age;

/// The tables of a recipe, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Tables {
    pub model: Model,
    pub artifact: Artifact,
    #[serde(default)]
    pub data: Vec<Data>,
    #[serde(default)]
    pub base: Vec<Base>,
    #[serde(default)]
    pub params: Params,
    #[serde(default)]
    pub environment: Environment,
    #[serde(default)]
    pub code: Code,
    pub run: Option<Run>,
    #[serde(default)]
    pub reproduce: Reproduce,
    #[serde(default)]
    pub probe: Vec<Probe>,
    #[serde(default)]
    pub archive: Archive,
}

/// `[model]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Model {
    pub name: Spanned<String>,
    pub version: Spanned<String>,
    /// A number that increases with every release, so that older and newer releases can be told apart.
    pub release: Option<Spanned<u64>>,
}

/// `[artifact]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Artifact {
    pub path: Spanned<String>,
    #[serde(default)]
    pub exclude: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "symlinks")]
    pub symlinks: Symlinks,
}

/// `[[data]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Data {
    pub name: Spanned<String>,
    pub path: Spanned<String>,
    pub label: Option<String>,
    pub timestamp: Option<String>,
    pub max_age: Option<Spanned<Age>>,
    #[serde(default, rename = "static")]
    pub is_static: bool,
    #[serde(default, deserialize_with = "symlinks")]
    pub symlinks: Symlinks,
}

/// `[[base]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Base {
    pub name: Spanned<String>,
    pub path: Spanned<String>,
    #[serde(default, deserialize_with = "symlinks")]
    pub symlinks: Symlinks,
}

/// `[params]`. The values are read separately, with their text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Params {
    #[serde(default)]
    pub files: Vec<Spanned<String>>,
    #[serde(default)]
    #[expect(dead_code, reason = "read by values::read, which keeps the text of numbers")]
    values: Option<serde::de::IgnoredAny>,
}

/// `[environment]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Environment {
    #[serde(default)]
    pub files: Vec<Spanned<String>>,
    /// Argument vectors of commands whose output describes the environment.
    #[serde(default)]
    pub commands: Vec<Spanned<Vec<String>>>,
}

/// `[run]`: the command that makes the artifact.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Run {
    /// The argument vector. No shell is involved.
    pub command: Spanned<Vec<String>>,
    /// Variables that are sealed with name and value.
    #[serde(default)]
    pub env: BTreeMap<String, Spanned<String>>,
    /// Variables of the caller that are passed on. Their names are sealed, their values never.
    #[serde(default)]
    pub pass_env: Vec<Spanned<String>>,
    /// `false` demands that the command cannot reach the network.
    #[serde(default = "yes")]
    pub network: bool,
    /// Directories below the command's home that are kept between builds.
    #[serde(default)]
    pub caches: Vec<Spanned<CacheName>>,
    /// The time limit of the command. `None`: no limit.
    pub timeout: Option<Age>,
    /// The maximum amount of output of the command.
    #[serde(default = "default_output")]
    pub max_output: Size,
}

fn yes() -> bool {
    true
}

fn default_output() -> Size {
    Size(256 << 20)
}

/// `[reproduce]`: what a rebuild must reach to count as the same.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Reproduce {
    #[serde(default)]
    pub level: Rung,
    /// Absolute tolerance for numbers, at level R2.
    pub atol: Option<Spanned<f64>>,
    /// Relative tolerance for numbers, at level R2.
    pub rtol: Option<Spanned<f64>>,
    /// The hyperparameter that contains the seed, with its parts joined by dots.
    pub seed: Option<Spanned<String>>,
}

/// `[code]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Code {
    pub path: Option<Spanned<String>>,
    /// Whether the recipe intentionally seals no code revision.
    #[serde(default)]
    pub none: bool,
}

/// `[[probe]]`: how the model is asked, and what it must answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Probe {
    pub name: Spanned<String>,
    /// The argument vector. No shell is involved.
    pub command: Spanned<Vec<String>>,
    /// A file of JSON Lines: `{"id":"…","input":…}`, optionally `"expected":…`.
    pub inputs: Spanned<String>,
    /// Answers that mean that the model did not answer.
    #[serde(default)]
    pub fallback: Vec<Spanned<serde_json::Value>>,
    /// Members of the inputs that must influence the answer.
    #[serde(default)]
    pub must_influence: Vec<Spanned<String>>,
    /// The time limit for all answers together, instead of the usual limits.
    pub timeout: Option<Age>,
}

/// `[archive]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Archive {
    #[serde(default, deserialize_with = "compression")]
    pub compression: Compression,
}

fn symlinks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Symlinks, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        Refuse,
        Follow,
    }
    Ok(match Choice::deserialize(deserializer)? {
        Choice::Refuse => Symlinks::Refuse,
        Choice::Follow => Symlinks::Follow,
    })
}

fn compression<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Compression, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        None,
        Gzip,
        Zstd,
    }
    Ok(match Choice::deserialize(deserializer)? {
        Choice::None => Compression::None,
        Choice::Gzip => Compression::Gzip,
        Choice::Zstd => Compression::Zstd,
    })
}
