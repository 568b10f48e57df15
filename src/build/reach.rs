//! What the commands of a recipe can reach: in a work tree, in a clone and in a rebuild alike.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::inputs::{self, Contents, git_places};
use crate::recipe::Recipe;
use crate::run::{Confinement, Sandbox, is_open};

/// Where commands run.
pub struct CommandPlace<'a> {
    /// The work tree, or a clone of it.
    pub work: &'a Path,
    /// Directories of this build alone: the home and temporary files.
    pub own: Vec<PathBuf>,
    pub home: &'a Path,
    /// Inputs that lie somewhere else.
    pub inputs: Vec<PathBuf>,
    /// Where the directories of `[run] caches` are kept; `None`: they go with the home.
    pub caches: Option<&'a Path>,
}

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReachError {
    #[error(transparent)]
    Input(#[from] inputs::Error),
    #[error("cannot make the directory {}", crate::text::path(path))]
    Directory { path: PathBuf, source: std::io::Error },
}

/// What commands can reach there. What the recipe says about the network comes later.
///
/// # Errors
/// [`ReachError`].
pub fn reach(
    confinement: &Confinement,
    recipe: &Recipe,
    place: CommandPlace<'_>,
) -> Result<Sandbox, ReachError> {
    let contents = Contents::of(place.work);
    let git = git_places(place.work, &contents).map_err(inputs::Error::from)?;
    let make = |path: &Path| {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| ReachError::Directory { path: path.to_path_buf(), source })
    };
    let mut caches = Vec::new();
    for name in recipe.tables.run.iter().flat_map(|run| &run.caches) {
        let below = name.get_ref().directory();
        let at = place.home.join(&below);
        make(&at)?;
        if let Some(kept) = place.caches {
            // Flat: what a command leaves in one must not lie on the way to another.
            let kept = kept.join(&Digest::sha256(below.as_os_str().as_encoded_bytes()).to_string()[..32]);
            make(&kept)?;
            caches.push((at, kept));
        }
    }
    let allowed = confinement.allowed().iter().cloned();
    Ok(Sandbox {
        writable: [place.work.to_path_buf()].into_iter().chain(place.own).chain(allowed).collect(),
        readable: place.inputs.into_iter().chain(git.read).collect(),
        read_only: git.guarded.into_iter().collect(),
        read_only_files: git.absent.into_iter().collect(),
        hidden: contents.sockets.into_iter().filter(|path| is_open(path)).collect(),
        caches,
        ..Sandbox::default()
    })
}
