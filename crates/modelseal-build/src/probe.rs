//! Asking a model: the protocol `modelseal-probe/1`, and what its answers show.
//!
//! A probe is a command that reads one question a line on standard input, `{"id":"…","input":…}`, and prints
//! one answer a line on standard output: `{"id":"…","output":…}`, optionally with `"fallback":true`, or
//! `{"id":"…","error":"…"}`, in any order, and nothing else. What is asked, and which answers are right, it
//! does not see: ids are random, the order is shuffled, and the file of the questions seems empty to it.

mod answer;
mod ask;
mod golden;
mod statistics;

use std::path::PathBuf;

pub use answer::agree;
pub use ask::{Asked, Asking, ask};
pub use golden::{Golden, Goldens};
pub use statistics::spread;

use crate::run;

/// A value that is there, even if it is null: that is an answer, too.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Why a probe has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read the inputs of the probe, {}", modelseal_format::display::path(path))]
    Io { path: PathBuf, source: std::io::Error },
    #[error("line {line} of {} is not an input of a probe: {reason}", modelseal_format::display::path(path))]
    Golden { path: PathBuf, line: usize, reason: String },
    #[error("the inputs of the probe, {}, {reason}", modelseal_format::display::path(path))]
    Goldens { path: PathBuf, reason: &'static str },
    #[error(
        "the inputs {} and {} of {} are the same",
        modelseal_format::display::name(first),
        modelseal_format::display::name(second),
        modelseal_format::display::path(path)
    )]
    SameInput { path: PathBuf, first: String, second: String },
    #[error(
        "no input of the probe `{probe}` has {}, which must make a difference",
        modelseal_format::display::name(feature)
    )]
    NoFeature { probe: String, feature: String },
    #[error("the probe `{probe}` does not keep to the protocol: {reason}")]
    Protocol { probe: String, reason: String },
    #[error("the probe `{probe}` gave no answer to {}: {message}", modelseal_format::display::name(id))]
    NoAnswer { probe: String, id: String, message: String },
    #[error("the probe `{0}` changed the artifact while it ran")]
    Changed(String),
    #[error(transparent)]
    Run(#[from] run::Error),
}

impl Error {
    /// Whether the model was asked and did something that is not accepted.
    pub fn is_refusal(&self) -> bool {
        match self {
            Error::Io { .. } => false,
            Error::Run(error) => error.is_refusal(),
            _ => true,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Golden { .. } => {
                Some("a line is `{\"id\":\"…\",\"input\":…}`, optionally with `\"expected\":…`".into())
            }
            Error::Protocol { .. } => Some(
                "standard output has one answer a line and nothing else: print everything else to standard error"
                    .into(),
            ),
            Error::SameInput { .. } => {
                Some("an input stands there once; whether it is answered the same twice is asked anyway".into())
            }
            Error::NoFeature { .. } => Some("is its name spelled as in the inputs?".into()),
            Error::Changed(_) => Some("a model that answers must leave its own files as they are".into()),
            Error::Run(run::Error::Timeout { .. } | run::Error::Silent { .. }) => {
                Some("a probe may take 60 s to start, 10 s for an answer, and 300 s in all, or as long as its `timeout` says".into())
            }
            Error::Run(error) => error.hint(),
            _ => None,
        }
    }
}
