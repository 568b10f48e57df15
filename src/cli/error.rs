//! Error output: one message, its causes, and a hint.

use std::process::ExitCode;

use super::Verbosity;
use super::hints::hint;
use super::output::{complain, style};
use crate::diff;
use modelseal_build::build;
use modelseal_verify::oms::SignError;

/// Prints an error and returns its exit code: 1 if an input was refused, 2 if the program could not run.
pub(super) fn report(error: &anyhow::Error, _talk: Verbosity) -> ExitCode {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!("\n  cause: {}", modelseal_format::display::message(&cause));
        source = cause.source();
    }
    if let Some(hint) = hint(error) {
        text += &format!("\n{} {hint}", style(&std::io::stderr()).paint("36", "hint:"));
    }
    complain(&text);
    let refused = error.downcast_ref::<build::Error>().is_some_and(build::Error::is_refusal)
        || error.downcast_ref::<diff::Error>().is_some_and(diff::Error::is_refusal)
        || error.downcast_ref::<SignError>().is_some_and(SignError::is_refusal);
    ExitCode::from(if refused { 1 } else { 2 })
}
