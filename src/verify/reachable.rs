//! `lineage.reachable`: whether anybody else could rebuild the release. Only on demand, because it is the
//! one question that is asked of the network.

use super::{Against, Error, Verification, against};
use crate::checkout::{self, Checkout, Repository};
use crate::manifest::Statement;
use crate::release::Seal;
use crate::report::Check;
use crate::run::{Programs, Scratch};
use crate::text::{Escaped, name, short};

const ID: &str = "lineage.reachable";

const NOBODY: &str = "nobody else can rebuild this model";

/// Clones from the sealed remote, by the `git` program, and compares what the commit holds.
pub(super) fn check(verification: &mut Verification<'_>, seal: &Seal) -> Result<(), Error> {
    if !verification.options.online {
        verification.not_reached("the commit at its remote (no --online)");
        return Ok(());
    }
    let manifest = &seal.manifest;
    let Some(code) = manifest.dependencies().iter().find(|input| input.name == "code") else {
        verification.add(Check::unknown(ID, "no commit was sealed"));
        return Ok(());
    };
    let Some(remote) = code.uri.as_deref().and_then(|uri| uri.strip_prefix("git+")) else {
        let message = format!("no remote was sealed: {NOBODY}");
        verification
            .add(Check::fail(ID, message).hint("push the commit, and build from a clone of that remote"));
        return Ok(());
    };
    let commit = code.digest.git_commit.as_deref().unwrap_or_default();
    let check = match ask(verification, manifest, remote, commit) {
        Ok(check) => check,
        Err(Stopped::Error(error)) => return Err(error),
        Err(Stopped::Checkout(checkout::Error::Interrupted)) => return Err(Error::Interrupted),
        Err(Stopped::Checkout(error @ (checkout::Error::NoCommit { .. } | checkout::Error::NoRecipe(_)))) => {
            Check::fail(ID, format!("{error}: {NOBODY}"))
        }
        Err(Stopped::Checkout(error)) => Check::unknown(ID, error.to_string()),
    };
    verification.add(check);
    Ok(())
}

enum Stopped {
    Error(Error),
    Checkout(checkout::Error),
}

impl From<checkout::Error> for Stopped {
    fn from(error: checkout::Error) -> Self {
        Stopped::Checkout(error)
    }
}

fn ask(
    verification: &mut Verification<'_>,
    manifest: &Statement,
    remote: &str,
    commit: &str,
) -> Result<Check, Stopped> {
    let scratch =
        Scratch::new().map_err(|source| Stopped::Error(Error::io(&std::env::temp_dir(), source)))?;
    let recipe = manifest.dependencies().iter().find(|input| input.name == "recipe");
    let recipe = recipe.and_then(|recipe| recipe.uri.as_deref()).unwrap_or_default();
    let checkout =
        Checkout::new(&Programs::new(&[]), scratch.path(), &Repository::Address(remote), commit, recipe)?;
    let (commit, address) = (short(commit), Escaped(remote));
    if !checkout.is_on_a_branch() {
        let message = format!("the commit {commit} is on no branch and no tag of {address}: {NOBODY}");
        return Ok(Check::fail(ID, message).hint("push it to a branch that stays"));
    }
    let here = Against { directory: checkout.recipe().directory().to_path_buf(), data: Default::default() };
    let compared =
        against::compare(manifest, &here, verification.options.progress).map_err(Stopped::Error)?;
    let mut elsewhere = Vec::new();
    for (input, compared) in compared {
        match compared {
            against::Compared::Same => {}
            against::Compared::Differs { expected, actual, .. } => {
                let message = format!(
                    "{} of the commit {commit} at {address} is not the sealed one: {NOBODY}",
                    name(&input)
                );
                return Ok(Check::fail(ID, message).differs(expected, actual));
            }
            against::Compared::NotThere(_) => elsewhere.push(name(&input)),
        }
    }
    let mut message = format!("the commit {commit} is at {address}");
    if !elsewhere.is_empty() {
        message += &format!("; git does not hold {}", elsewhere.join(", "));
    }
    Ok(Check::pass(ID, message))
}
