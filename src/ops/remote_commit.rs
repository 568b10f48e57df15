//! Checks whether others could rebuild the release. No other check uses the network.

use super::checkout::{Compared, LocalCheckout, compare};
use modelseal_build::checkout::{self, Checkout, Repository};
use modelseal_build::inputs;
use modelseal_build::run::{Programs, Scratch};
use modelseal_format::context::Context;
use modelseal_format::display::{Escaped, name, short};
use modelseal_format::manifest::Manifest;
use modelseal_verify::report::id::REACHABLE;
use modelseal_verify::report::{Check, Report};
use modelseal_verify::verify::{Error, OutsideCheck};

const NOBODY: &str = "others cannot rebuild this model";

/// Looks for the sealed commit at its remote with the `git` program.
pub struct RemoteCommit;

impl OutsideCheck for RemoteCommit {
    /// Clones from the sealed remote and compares what the commit holds.
    fn check(&self, manifest: &Manifest, report: &mut Report, context: &Context) -> Result<(), Error> {
        report.checks.push(look(manifest, context)?);
        Ok(())
    }
}

fn look(manifest: &Manifest, context: &Context) -> Result<Check, Error> {
    let Some(code) = manifest.code() else {
        return Ok(Check::unknown(REACHABLE, "no commit was sealed"));
    };
    let Some(remote) = code.remote() else {
        let message = format!("no remote was sealed: {NOBODY}");
        return Ok(
            Check::fail(REACHABLE, message).hint("push the commit, and build from a clone of that remote")
        );
    };
    match ask(manifest, remote, code.commit(), context) {
        Ok(check) => Ok(check),
        Err(Stopped::Scratch(source)) => Err(Error::Io { path: std::env::temp_dir(), source }),
        Err(Stopped::Input(error)) => Err(Error::Outside(Box::new(error))),
        Err(Stopped::Checkout(checkout::Error::Interrupted)) => Err(Error::Interrupted),
        Err(Stopped::Checkout(error @ (checkout::Error::NoCommit { .. } | checkout::Error::NoRecipe(_)))) => {
            Ok(Check::fail(REACHABLE, format!("{error}: {NOBODY}")))
        }
        Err(Stopped::Checkout(error)) => Ok(Check::unknown(REACHABLE, error.to_string())),
    }
}

enum Stopped {
    Scratch(std::io::Error),
    Input(inputs::Error),
    Checkout(checkout::Error),
}

impl From<checkout::Error> for Stopped {
    fn from(error: checkout::Error) -> Self {
        Stopped::Checkout(error)
    }
}

fn ask(manifest: &Manifest, remote: &str, commit: &str, context: &Context) -> Result<Check, Stopped> {
    let scratch = Scratch::new(context.cancel()).map_err(Stopped::Scratch)?;
    let recipe = manifest.recipe().and_then(|recipe| recipe.uri.as_deref()).unwrap_or_default();
    let checkout = Checkout::new(
        &Programs::new(&[]),
        scratch.path(),
        &Repository::Address(remote),
        commit,
        recipe,
        context,
    )?;
    let (commit, address) = (short(commit), Escaped(remote));
    if !checkout.is_on_a_branch() {
        let message = format!("the commit {commit} is not on any branch or tag of {address}: {NOBODY}");
        return Ok(Check::fail(REACHABLE, message).hint("push it to a permanent branch"));
    }
    let directory = checkout.recipe().directory().to_path_buf();
    let here = LocalCheckout { directory, data: Default::default() };
    let compared = compare(manifest, &here, context).map_err(Stopped::Input)?;
    let mut elsewhere = Vec::new();
    for (input, compared) in compared {
        match compared {
            Compared::Same => {}
            Compared::Differs { expected, actual, .. } => {
                let message = format!(
                    "{} in the commit {commit} at {address} differs from the sealed version: {NOBODY}",
                    name(&input)
                );
                return Ok(Check::fail(REACHABLE, message).differs(expected, actual));
            }
            Compared::NotThere(_) => elsewhere.push(name(&input)),
        }
    }
    let mut message = format!("the commit {commit} is at {address}");
    if !elsewhere.is_empty() {
        message += &format!("; git does not contain {}", elsewhere.join(", "));
    }
    Ok(Check::pass(REACHABLE, message))
}
