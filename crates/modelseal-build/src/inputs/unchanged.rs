use std::io::{self, Read};
use std::path::Path;

use super::{Change, ChangeKind, Error, Inputs, Options, gather};
use crate::recipe::Recipe;
use modelseal_format::digest::{self, Symlinks};

/// Reads every input again after a command has run. Returns the files that the command left in the work tree and that
/// git neither tracks nor ignores.
///
/// # Errors
/// [`Error::ChangedByCommand`] with the first input that changed, and the errors of [`gather`].
pub fn check_unchanged(
    recipe: &Recipe,
    before: &Inputs,
    options: &Options<'_>,
) -> Result<Vec<Change>, Error> {
    let changed = |name: &str| Error::ChangedByCommand(name.to_string());
    // A recipe that was replaced is not parsed, because an error message would show its content.
    let text = text_of(&recipe.path, recipe.text.len());
    if text.as_deref() != Some(recipe.text.as_bytes()) {
        return Err(changed(&recipe.path.to_string_lossy()));
    }
    let again = Recipe::load(&recipe.path)?;
    // Read again without the cache, because a command may have changed anything.
    let after = gather(
        &again,
        &Options { allow_dirty: true, profile: false, judges_age: false, cache: None, ..*options },
    )
    .map_err(|error| match error {
        Error::Digest(digest::Error::Io { path, source }) if source.kind() == io::ErrorKind::NotFound => {
            changed(&path.to_string_lossy())
        }
        other => other,
    })?;
    if after.commit != before.commit {
        return Err(changed("the commit"));
    }
    for (path, digest) in &before.code_files {
        if after.code_files.get(path) != Some(digest) {
            return Err(changed(path));
        }
    }
    for input in before.dependencies.iter().filter(|input| input.name != "code") {
        let same = |other: &&modelseal_format::manifest::ResourceDescriptor| {
            other.name == input.name && other.digest == input.digest
        };
        if !after.dependencies.iter().any(|other| same(&other)) {
            return Err(changed(&input.name));
        }
    }
    let known = |change: &Change| before.changes.iter().any(|other| other.path == change.path);
    let new: Vec<Change> = after.changes.into_iter().filter(|change| !known(change)).collect();
    match new.iter().find(|change| change.kind != ChangeKind::Untracked) {
        Some(change) => Err(changed(&change.path)),
        None => Ok(new),
    }
}

/// The bytes of a file, if it is a regular file. Reads at most one byte more than `length`.
fn text_of(path: &Path, length: usize) -> Option<Vec<u8>> {
    let (file, _) = digest::open_regular(path, Symlinks::Follow).ok()?;
    let mut bytes = Vec::new();
    file.take(length as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
