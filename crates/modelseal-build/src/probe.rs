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
    #[error("cannot read the question file {}", modelseal_format::display::path(path))]
    Io { path: PathBuf, source: std::io::Error },
    #[error("line {line} of {} is not a valid question: {reason}", modelseal_format::display::path(path))]
    Golden { path: PathBuf, line: usize, reason: String },
    #[error("the question file {} {reason}", modelseal_format::display::path(path))]
    Goldens { path: PathBuf, reason: &'static str },
    #[error(
        "the questions {} and {} in {} have the same input",
        modelseal_format::display::name(first),
        modelseal_format::display::name(second),
        modelseal_format::display::path(path)
    )]
    SameInput { path: PathBuf, first: String, second: String },
    #[error(
        "no input of the probe `{probe}` has the member {}, which `must_influence` lists",
        modelseal_format::display::name(feature)
    )]
    NoFeature { probe: String, feature: String },
    #[error("the probe `{probe}` does not follow the protocol: {reason}")]
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
                Some("each line is `{\"id\":\"…\",\"input\":…}`, optionally with `\"expected\":…`".into())
            }
            Error::Protocol { .. } => Some(
                "print only answers to standard output, one per line, and everything else to standard error"
                    .into(),
            ),
            Error::SameInput { .. } => {
                Some("remove one of them: modelseal already asks every question twice".into())
            }
            Error::NoFeature { .. } => Some("check that its name is spelled as in the inputs".into()),
            Error::Changed(_) => Some("a model must not change its own files while it answers".into()),
            Error::Run(run::Error::Timeout { .. } | run::Error::Silent { .. }) => Some(
                "a probe may take 60 s to start, 10 s per answer, and 300 s in total; `timeout` under \
                     `[[probe]]` replaces these limits"
                    .into(),
            ),
            Error::Run(error) => error.hint(),
            _ => None,
        }
    }
}
