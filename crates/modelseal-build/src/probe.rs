//! Asks a model questions with the protocol `modelseal-probe/1`, and evaluates its answers.
//!
//! A probe is a command that reads one question per line from standard input, `{"id":"…","input":…}`. It prints one
//! answer per line to standard output: `{"id":"…","output":…}`, optionally with `"fallback":true`, or
//! `{"id":"…","error":"…"}`. Answers may come in any order. Nothing else may be printed there.
//!
//! The command cannot see which question it is asked, or which answers are right: ids are random, the order is
//! shuffled, and the file of questions appears empty.

mod answer;
mod ask;
mod asking;
mod golden;
mod statistics;

use std::path::PathBuf;

pub use answer::agree;
pub use ask::ask;
pub use asking::{Asked, Asking};
pub use golden::{Golden, Goldens};
pub use statistics::spread;

use crate::run;
use modelseal_format::hint::Hint;

/// Deserializes a value that is present, even if it is null: null is an answer, too.
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

    /// What the user can do about the error.
    pub fn hint(&self) -> Option<Hint> {
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
