//! Why a rebuild has no result.

use super::Error;
use modelseal_build::checkout;
use modelseal_build::run;
use modelseal_format::hint::Hint;
use modelseal_format::manifest::InputChange;

/// Why a rebuild has no result.
pub(super) enum Stopped {
    /// Why it was not tried or could not be finished, and what the user can do about it.
    NotTried(String, Option<Hint>),
    /// The commit does not hold what was sealed.
    Untrue(Vec<InputChange>),
    Error(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::Error(error)
    }
}

impl From<run::Error> for Stopped {
    fn from(error: run::Error) -> Self {
        match error {
            run::Error::Interrupted => Stopped::Error(Error::Interrupted),
            run::Error::Scratch(source) | run::Error::Log(source) => Stopped::Error(Error::Scratch(source)),
            other => Stopped::NotTried(with_causes(&other), other.hint()),
        }
    }
}

impl From<checkout::Error> for Stopped {
    fn from(error: checkout::Error) -> Self {
        match error {
            checkout::Error::Interrupted => Stopped::Error(Error::Interrupted),
            checkout::Error::Input(error) => Stopped::Error(Error::Input(error)),
            checkout::Error::Io { source, .. } => Stopped::Error(Error::Scratch(source)),
            other => Stopped::NotTried(with_causes(&other), other.hint()),
        }
    }
}

/// An error and its causes in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {}", modelseal_format::display::message(&error));
        cause = error.source();
    }
    text
}

pub(super) fn not_tried(reason: impl Into<String>, hint: impl Into<Option<Hint>>) -> Stopped {
    Stopped::NotTried(reason.into(), hint.into())
}
