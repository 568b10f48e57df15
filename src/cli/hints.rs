//! What the user can do, in the words of the command line: its options are spelled here.

use crate::{diff, drill, live_probe, reproduce};
use modelseal_build::{build, inputs, recipe};
use modelseal_format::release::StatementError;
use modelseal_format::sign::KeyError;
use modelseal_verify::report::Hint;
use modelseal_verify::{policy, verify};

/// An error with a hint from the command line. The library cannot give that hint, because it knows nothing of command
/// lines.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Hinted {
    pub(super) message: String,
    pub(super) hint: String,
}

/// The hint for an error.
pub(super) fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(error) = error.downcast_ref::<build::Error>() {
        return error.hint().as_ref().map(spelled).or_else(|| of_recipe_within(error));
    }
    if let Some(error) = error.downcast_ref::<verify::Error>() {
        return of_verify(error);
    }
    if let Some(diff::Error::Target(error)) = error.downcast_ref() {
        return of_verify(error);
    }
    if let Some(error) = error.downcast_ref::<reproduce::Error>() {
        return of_reproduce(error);
    }
    if let Some(error) = error.downcast_ref::<StatementError>() {
        return error.hint().as_ref().map(spelled);
    }
    if let Some(error) = error.downcast_ref::<KeyError>() {
        return error.hint().as_ref().map(spelled);
    }
    if let Some(error) = error.downcast_ref::<Hinted>() {
        return Some(error.hint.clone());
    }
    if let Some(error) = error.downcast_ref::<live_probe::Error>() {
        return of_live_probe(error);
    }
    if let Some(error) = error.downcast_ref::<drill::Error>() {
        return of_drill(error);
    }
    if let Some(error) = error.downcast_ref::<policy::Error>() {
        return of_policy(error);
    }
    error.downcast_ref::<recipe::Error>().and_then(of_recipe)
}

/// A hint with the options of this command line; `None`: it has none to name.
pub(super) fn spell(hint: &Hint) -> Option<String> {
    let text = match hint {
        Hint::All(hints) => {
            let spelled = hints.iter().map(|hint| spell(hint).unwrap_or_else(|| hint.to_string()));
            return Some(spelled.collect::<Vec<_>>().join("; "));
        }
        Hint::NamePrevious => "use `--previous` to name the release that is deployed now",
        Hint::NameKey => {
            "name a trusted key with `--key PUB`; a certificate or identity cannot verify what a key signed"
        }
        Hint::NameAnotherKey => {
            "if this is the right signer, trust its key with `--key`; otherwise, do not deploy it"
        }
        Hint::NameAuthority => "give the authority's certificates with `--certificate-chain FILE`",
        Hint::NameIdentity => "name the expected signer with `--identity` and `--issuer`",
        Hint::AcceptUnsigned => {
            "`--ignore-unsigned-files` accepts all unsigned files, `--ignore-path` only those it names"
        }
        Hint::VerifyModelSignature(signature) => {
            return Some(format!("it has a model signature: verify that with `--signature {signature}`"));
        }
        Hint::Reproduce => "let another trusted signer run `modelseal reproduce --attest`",
        Hint::RunCommand => "build it with `[run]` in the recipe, and with `--clean` in CI",
        Hint::Commit(paths) => {
            return Some(format!(
                "run `git add -- {paths}` and commit, or build with `--allow-dirty`, which is recorded"
            ));
        }
        Hint::LinkOrClone => {
            "make the first path a link to the second, or build with `--clean` if the commit does not hold \
             that file"
        }
        Hint::AnotherPlace => "choose another `path` under `[artifact]`, or another file with `-o FILE`",
        Hint::NameOutput => {
            "name another path for the archive with `-o FILE`; the artifact must be in the project"
        }
        Hint::AdoptOrRunHere => {
            "seal the existing artifact with `--adopt`, or build without `--clean` to run the command here"
        }
        Hint::RaiseVersion => "raise the version in the recipe, or replace the archive with `--force`",
        Hint::BuildFromCommit => "the release was built with `--allow-dirty`: build one from a commit",
        Hint::StateWithoutModelSignature => "write the unsigned manifest with `--no-model-signature`",
        Hint::AllowWrite => {
            "the command can write only to the work tree, TMPDIR and its own new HOME, but not to files that \
             you or git run later, or that have a hard link elsewhere: `--allow-write DIR` adds a directory"
        }
        Hint::AllowOuter(path) => {
            return Some(format!(
                "if the commands may read and change that work tree, use `--allow-write {path}`"
            ));
        }
        Hint::AllowHome(path) => {
            return Some(format!(
                "build in a clone with `--clean`, or let commands read and write the whole \
                 home directory with `--allow-write {path}`"
            ));
        }
        Hint::ShowDirectory => {
            "in home directories, `/tmp` and other shared directories, commands see only the installations \
             on PATH and the active environment: `--allow-write DIR` adds a directory"
        }
        Hint::NameClone => "the commit was never pushed: use `--source` to name a clone that has it",
        Hint::NameRepository => "use `--source` to name a clone of the repository",
        Hint::NameAnotherClone => "use `--source` to name another clone",
        Hint::NameData => "give the path of the data source with `--data NAME=PATH`",
        Hint::GivePassword => "give it with `--password-file FILE` or in the variable MODELSEAL_PASSWORD",
        Hint::NameNewKey => "keys are never overwritten: choose another name with `-o PREFIX`",
        Hint::GivePrivateKey => {
            "give the `.key` file, or use `--signer` to name a command that has the private key"
        }
        Hint::SetHome => "set the variable HOME, or name a key with `--key`",
        Hint::SayWhichKey => "give that key with `--key PUB`",
        _ => return None,
    };
    Some(text.to_string())
}

pub(super) fn spelled(hint: &Hint) -> String {
    spell(hint).unwrap_or_else(|| hint.to_string())
}

fn of_verify(error: &verify::Error) -> Option<String> {
    match error {
        verify::Error::NoSigner => Some(
            "name a trusted signer: `--key KEY.pub`, `--key local`, `--certificate-chain`, `--identity`"
                .to_string(),
        ),
        verify::Error::Destination { .. } => Some("name a directory that does not exist yet".to_string()),
        verify::Error::Outside(outside) => match outside.downcast_ref::<inputs::Error>()? {
            inputs::Error::Recipe(error) => of_recipe(error),
            error => error.hint().as_ref().map(spelled),
        },
        _ => None,
    }
}

fn of_reproduce(error: &reproduce::Error) -> Option<String> {
    match error {
        reproduce::Error::Verify(error) => of_verify(error),
        reproduce::Error::Input(error) => error.hint().as_ref().map(spelled),
        reproduce::Error::Attest(error) => error.hint().as_ref().map(spelled),
        _ => None,
    }
}

fn of_drill(error: &drill::Error) -> Option<String> {
    match error {
        drill::Error::Verify(error) => of_verify(error),
        drill::Error::Key(error) => error.hint().as_ref().map(spelled),
        drill::Error::Copy(_) => None,
    }
}

fn of_live_probe(error: &live_probe::Error) -> Option<String> {
    match error {
        live_probe::Error::Verify(error) => of_verify(error),
        live_probe::Error::NoCommand(_) => Some(
            "add `command` and `inputs` to `[probe.NAME]`: commands are never taken from the archive"
                .to_string(),
        ),
        live_probe::Error::Questions(error) => error.hint().as_ref().map(spelled),
        _ => None,
    }
}

/// The hint for an error in a recipe. Such an error may be wrapped in a transparent error, which does not show it as
/// its source.
fn of_recipe_within(error: &build::Error) -> Option<String> {
    match error {
        build::Error::Input(inputs::Error::Recipe(error)) => of_recipe(error),
        _ => None,
    }
}

fn of_recipe(error: &recipe::Error) -> Option<String> {
    match error {
        recipe::Error::Missing(_) => Some("`modelseal init` writes one".to_string()),
        recipe::Error::Mistake(mistake) => nearest(mistake.nearest.as_deref()),
        _ => None,
    }
}

fn of_policy(error: &policy::Error) -> Option<String> {
    match error {
        policy::Error::Missing(_) => {
            Some("`modelseal policy init` writes one from a good release".to_string())
        }
        policy::Error::SignerKey { source, .. } => source.hint().as_ref().map(spelled),
        policy::Error::Mistake(mistake) => nearest(mistake.nearest.as_deref()),
        _ => None,
    }
}

fn nearest(known: Option<&str>) -> Option<String> {
    known.map(|known| format!("did you mean `{known}`?"))
}
