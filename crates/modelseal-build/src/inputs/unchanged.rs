use std::io::{self, Read};
use std::path::Path;

use super::{Change, ChangeKind, Error, Inputs, Options, gather};
use crate::recipe::Recipe;
use modelseal_format::digest::{self, Symlinks};

/// Reads every input again after a command has run. Returns the files that it left in the work tree and
/// that git neither holds nor ignores.
///
/// # Errors
/// [`Error::ChangedByCommand`] with the first input that is not what it was; those of [`gather`].
pub fn check_unchanged(
    recipe: &Recipe,
    before: &Inputs,
    options: &Options<'_>,
) -> Result<Vec<Change>, Error> {
    let changed = |name: &str| Error::ChangedByCommand(name.to_string());
    // A recipe that is another one is not read as one: an error would show what it says.
    let text = text_of(&recipe.path, recipe.text.len());
    if text.as_deref() != Some(recipe.text.as_bytes()) {
        return Err(changed(&recipe.path.to_string_lossy()));
    }
    let again = Recipe::load(&recipe.path)?;
    // What a command may have touched is read again.
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

/// The bytes of a file, if it is regular and has so many.
fn text_of(path: &Path, length: usize) -> Option<Vec<u8>> {
    let (file, _) = digest::open_regular(path, Symlinks::Follow).ok()?;
    let mut bytes = Vec::new();
    file.take(length as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
