//! Repositories that a command has made.

use std::path::{Path, PathBuf};

use super::Error;
use crate::inputs::Contents;
use crate::run::{make_accessible, set_aside};

/// Gives other names to repositories that a command has made in a work tree: git runs what they configure as soon as
/// somebody asks it anything there, and an editor does. `None`: there are none.
pub(super) fn set_planted_aside(root: &Path, before: &Contents, hidden: &[PathBuf]) -> Option<Error> {
    let mut opened = before.unreadable.clone();
    let mut contents = Contents::of(root);
    // A command can close a directory, so that nobody looks into it.
    loop {
        let mut closed = std::mem::take(&mut contents.unreadable);
        closed.retain(|path| !opened.contains(path));
        if closed.is_empty() {
            break;
        }
        closed.iter().for_each(|path| make_accessible(path));
        opened.extend(closed);
        contents = Contents::of(root);
    }
    let is_known = |path: &PathBuf| {
        before.repositories.contains(path) || hidden.iter().any(|hidden| path.starts_with(hidden))
    };
    let planted = contents.repositories.into_iter().filter(|path| !is_known(path)).map(planted);
    planted.collect::<Vec<_>>().pop()
}

fn planted(repository: PathBuf) -> Error {
    // Without it, git does not take a directory for a bare repository.
    let head = repository.join("HEAD");
    let is_bare = repository.file_name() != Some(".git".as_ref()) && head.symlink_metadata().is_ok();
    let aside = set_aside(if is_bare { &head } else { &repository }, "made-by-command");
    Error::Planted { repository, aside }
}
