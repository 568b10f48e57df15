//! Arguments that several subcommands share.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use modelseal_format::digest::{Algorithms, Digest};
use modelseal_format::display;
use modelseal_format::manifest;
use modelseal_verify::report::{RENDERERS, Renderer, renderer};

/// How the result is written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// Human-readable text
    #[default]
    Text,
    /// One JSON document, described by a published schema
    Json,
}

/// The output format of a report.
#[derive(Clone, Copy)]
pub(super) struct ReportFormat(pub(super) &'static dyn Renderer);

impl Default for ReportFormat {
    fn default() -> Self {
        Self(RENDERERS[0])
    }
}

impl std::fmt::Debug for ReportFormat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.name())
    }
}

// `--format`, for the subcommands whose result is a report. Not a doc comment: that would replace the description of
// the subcommand.
#[derive(Debug, Clone, Args)]
pub(super) struct Rendering {
    /// How to print the report
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = RENDERERS[0].name(),
        value_parser = PossibleValuesParser::new(
            RENDERERS.map(|renderer| PossibleValue::new(renderer.name()).help(renderer.about()))
        )
        .map(|name| ReportFormat(renderer(&name).unwrap_or(RENDERERS[0])))
    )]
    pub(super) format: ReportFormat,
}

/// Which of the sealed digests are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Hash {
    /// BLAKE3 only: the fastest, because it hashes each file in parallel
    #[default]
    Blake3,
    /// SHA-256 only
    Sha256,
    /// Both digests
    All,
}

impl From<Hash> for Algorithms {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Blake3 => Algorithms::BLAKE3,
            Hash::Sha256 => Algorithms::SHA256,
            Hash::All => Algorithms::ALL,
        }
    }
}

/// `NAME=PATH`
#[derive(Debug, Clone)]
pub(super) struct DataPath {
    name: String,
    path: PathBuf,
}

pub(super) fn data_path(text: &str) -> Result<DataPath, String> {
    match text.split_once('=') {
        Some((name, path)) if manifest::is_source_name(name) && !path.is_empty() => {
            Ok(DataPath { name: name.to_string(), path: PathBuf::from(path) })
        }
        _ => Err("expected NAME=PATH, as in train=/mnt/train.csv".to_string()),
    }
}

/// Collects the data paths by name.
///
/// # Errors
/// A name is given twice.
pub(super) fn data_paths(given: &[DataPath]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut paths = BTreeMap::new();
    for data in given {
        if paths.insert(data.name.clone(), data.path.clone()).is_some() {
            anyhow::bail!("`--data {}=…` is given twice", data.name);
        }
    }
    Ok(paths)
}

/// Checks directories that `--allow-write` names: a command may write to them.
pub(super) fn writable(given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let resolve = |path: &PathBuf| match path.canonicalize() {
        // The path is kept as given, because a symbolic link in it must stay visible as a link.
        Ok(resolved) if resolved.is_dir() => Ok(path.clone()),
        Ok(_) => anyhow::bail!("`--allow-write`: {} is not a directory", display::path(path)),
        Err(error) => {
            Err(error).with_context(|| format!("`--allow-write`: cannot use {}", display::path(path)))
        }
    };
    given.iter().map(resolve).collect()
}

/// Parses an RFC 3339 time with a zone.
pub(super) fn time(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse().map_err(|_| "expected a time with a time zone, as in 2027-06-30T00:00:00Z".to_string())
}

pub(super) fn release(text: &str) -> Result<Digest, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    hex.parse().map_err(|_| "expected `sha256:` and 64 lower-case hex digits".to_string())
}
