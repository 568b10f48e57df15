//! Git repositories that a command made.

use std::path::{Path, PathBuf};

use super::Error;
use crate::inputs::Contents;
use crate::run::{make_accessible, set_aside};

/// Renames the git repositories that a command made in a work tree. Returns `None` if there are none.
///
/// Git runs what a repository configures as soon as a user or an editor runs git there.
pub(super) fn set_planted_aside(root: &Path, before: &Contents, hidden: &[PathBuf]) -> Option<Error> {
    let is_known = |path: &PathBuf| {
        before.repositories.contains(path) || hidden.iter().any(|hidden| path.starts_with(hidden))
    };
    let mut opened = before.unreadable.clone();
    let mut found = Vec::new();
    // A repository may contain others, and a command can close a directory to hide what it contains.
    loop {
        let mut contents = Contents::of(root);
        contents.unreadable.retain(|path| !opened.contains(path));
        contents.repositories.retain(|path| !is_known(path));
        if contents.unreadable.is_empty() && contents.repositories.is_empty() {
            break;
        }
        for path in &contents.unreadable {
            let above = path.ancestors().take_while(|above| above.starts_with(root));
            above.collect::<Vec<_>>().into_iter().rev().for_each(make_accessible);
        }
        opened.extend(contents.unreadable);
        found.extend(contents.repositories.into_iter().map(planted));
        // A repository that was not renamed would be found again.
        if found.iter().any(|error| matches!(error, Error::Planted { aside: None, .. })) {
            break;
        }
    }
    let stays = found.iter().position(|error| matches!(error, Error::Planted { aside: None, .. }));
    (!found.is_empty()).then(|| found.swap_remove(stays.unwrap_or(0)))
}

fn planted(repository: PathBuf) -> Error {
    // Without `HEAD`, git does not treat a directory as a bare repository.
    let head = repository.join("HEAD");
    let is_bare = repository.file_name() != Some(".git".as_ref()) && head.symlink_metadata().is_ok();
    let aside = set_aside(if is_bare { &head } else { &repository }, "made-by-command");
    Error::Planted { repository, aside }
}
