//! What the commands of a recipe can reach: the same in a work tree, in a clone and in a rebuild.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::checkout::Declared;
use crate::inputs::{self, Contents, git_places, holds_secret};
use crate::recipe::Recipe;
use crate::run::{Confinement, Sandbox, Trail, is_open, link_of_commands};
use modelseal_format::digest::Digest;

/// Where commands run.
pub struct CommandPlace<'a> {
    /// The work tree, or a clone of it.
    pub work: &'a Path,
    /// Directories that only this build uses: the home and temporary files.
    pub own: Vec<PathBuf>,
    pub home: &'a Path,
    /// Inputs, inside or outside of the work tree.
    pub inputs: Vec<PathBuf>,
    /// Where the directories of `[run] caches` are kept. With `None`, they are removed with the home.
    pub caches: Option<&'a Path>,
}

/// Why `reach` failed.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    #[error(transparent)]
    Input(#[from] inputs::Error),
    #[error("cannot create or open {}", modelseal_format::display::path(path))]
    Directory { path: PathBuf, source: io::Error },
}

/// Returns what commands can reach in this place, apart from the recipe's network setting, and what the work tree
/// contains.
///
/// # Errors
/// [`ReachError`].
pub fn reach(
    confinement: &Confinement,
    recipe: &Recipe,
    place: CommandPlace<'_>,
) -> Result<(Sandbox, Contents), ReachError> {
    let contents = Contents::of(place.work);
    let git = git_places(place.work, &contents).map_err(inputs::Error::from)?;
    check_secrets(confinement, git.repositories.iter().map(PathBuf::as_path))?;
    let make = |path: &Path| {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| ReachError::Directory { path: path.to_path_buf(), source })
    };
    let trail = |path: &Path| {
        Trail::of(path).map_err(|source| ReachError::Directory { path: path.to_path_buf(), source })
    };
    let work = trail(place.work)?;
    let mut caches = Vec::new();
    for name in recipe.tables.run.iter().flat_map(|run| &run.caches) {
        let below = name.get_ref().directory();
        let at = place.home.join(&below);
        make(&at)?;
        if let Some(place_of_caches) = place.caches {
            // All caches are in one flat directory, so that nothing that a command leaves in one is on the path to
            // another.
            let kept =
                place_of_caches.join(&Digest::sha256(below.as_os_str().as_encoded_bytes()).to_string()[..32]);
            // A link would redirect the cache, and what a command writes to it, to another place.
            let kept_together = place_of_caches.parent().unwrap_or(place_of_caches).to_path_buf();
            let is_theirs = |link: &Path| link.starts_with(&kept_together) || link.starts_with(work.end());
            if let Some((link, _)) = link_of_commands(&kept, is_theirs) {
                let source = io::Error::other("it is a link, which an earlier command may have created");
                return Err(ReachError::Directory { path: link, source });
            }
            make(&kept)?;
            caches.push((trail(&at)?, trail(&kept)?));
        }
    }
    // Inputs inside the work tree are visible there. A name in their path could become a link that leads elsewhere.
    let readable = place.inputs.into_iter().chain(git.read).flat_map(|path| Trail::of(&path));
    let (own_inputs, readable) = readable.partition(|input| input.end().starts_with(work.end()));
    let own = place.own.iter().map(|path| trail(path)).collect::<Result<Vec<_>, _>>()?;
    let sandbox = Sandbox {
        writable: [vec![work], own, confinement.allowed().to_vec()].concat(),
        readable,
        own_inputs,
        // The content of a directory that cannot be read is unknown, so the directory is read-only.
        read_only: git.guarded.into_iter().chain(contents.unreadable.iter().cloned()).collect(),
        read_only_files: git.absent.into_iter().collect(),
        hidden: contents.sockets.iter().filter(|path| is_open(path)).cloned().collect(),
        caches,
        ..Sandbox::default()
    };
    Ok((sandbox, contents))
}

/// Checks that none of these repositories has a secret of the caller.
///
/// # Errors
/// [`inputs::Error::Committed`].
pub fn check_secrets<'a>(
    confinement: &Confinement,
    repositories: impl Iterator<Item = &'a Path>,
) -> Result<(), inputs::Error> {
    for repository in repositories {
        let found = confinement.secrets().iter().find(|(_, secret)| holds_secret(repository, &secret.0));
        if let Some((name, _)) = found {
            return Err(inputs::Error::Committed {
                name: name.clone(),
                repository: repository.to_path_buf(),
            });
        }
    }
    Ok(())
}

/// Checks that no input is a key or contains one: its digest is useless, and its labels or values would be sealed. The
/// questions of probes reach commands as well.
///
/// # Errors
/// [`inputs::Error::Private`].
pub fn check_private(
    confinement: &Confinement,
    recipe: &Recipe,
    inputs: &[Declared<'_>],
) -> Result<(), inputs::Error> {
    let questions = recipe.tables.probe.iter().map(|probe| recipe.directory().join(probe.inputs.get_ref()));
    let found = inputs.iter().flat_map(Declared::read).chain(questions).find_map(|path| {
        let hidden = confinement.hidden_at(&path)?;
        Some(inputs::Error::Private { path, hidden })
    });
    found.map_or(Ok(()), Err)
}
