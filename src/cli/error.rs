//! Error output: one message, its causes, and a hint.

use std::error::Error;
use std::process::ExitCode;

use super::Verbosity;
use super::output::{complain, style};
use crate::diff;
use crate::drill;
use crate::live_probe;
use crate::reproduce;
use modelseal_build::build;
use modelseal_build::recipe;
use modelseal_format::release::StatementError;
use modelseal_format::sign::KeyError;
use modelseal_verify::oms::SignError;
use modelseal_verify::policy;
use modelseal_verify::verify;

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

/// An error with a hint from the command line. The library cannot give that hint, because it knows nothing of command
/// lines.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Hinted {
    pub(super) message: String,
    pub(super) hint: String,
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(error) = error.downcast_ref::<build::Error>() {
        return error.hint().or_else(|| recipe_hint(error));
    }
    if let Some(error) = error.downcast_ref::<verify::Error>() {
        return verify_hint(error);
    }
    if let Some(error) = error.downcast_ref::<diff::Error>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<reproduce::Error>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<StatementError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<KeyError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<Hinted>() {
        return Some(error.hint.clone());
    }
    if let Some(error) = error.downcast_ref::<live_probe::Error>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<drill::Error>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<policy::Error>() {
        return policy_hint(error);
    }
    error.downcast_ref::<recipe::Error>().and_then(recipe_hint_of)
}

/// The hint for an error in a recipe. Such an error may be wrapped in a transparent error, which does not show it as
/// its source.
fn recipe_hint(error: &(dyn Error + 'static)) -> Option<String> {
    match error.downcast_ref::<build::Error>() {
        Some(build::Error::Input(modelseal_build::inputs::Error::Recipe(error))) => recipe_hint_of(error),
        _ => None,
    }
}

fn verify_hint(error: &verify::Error) -> Option<String> {
    let verify::Error::Outside(outside) = error else { return error.hint() };
    match outside.downcast_ref::<modelseal_build::inputs::Error>()? {
        modelseal_build::inputs::Error::Recipe(error) => recipe_hint_of(error),
        error => error.hint(),
    }
}

fn policy_hint(error: &policy::Error) -> Option<String> {
    match error {
        policy::Error::Missing(_) => {
            Some("`modelseal policy init` writes one from a good release".to_string())
        }
        policy::Error::SignerKey { source, .. } => source.hint(),
        policy::Error::Mistake(mistake) => {
            mistake.nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?"))
        }
        _ => None,
    }
}

fn recipe_hint_of(error: &recipe::Error) -> Option<String> {
    match error {
        recipe::Error::Missing(_) => Some("`modelseal init` writes one".to_string()),
        recipe::Error::Mistake(mistake) => {
            mistake.nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?"))
        }
        _ => None,
    }
}
