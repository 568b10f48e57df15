//! Paths of what the caller runs later. modelseal itself writes nothing there that a project made.

use std::path::{Path, PathBuf};

use super::Error;
use super::guarded_path::Place;
use crate::inputs::{self, Contents, git_places};
use crate::run::Confinement;

/// What the caller runs later in a work tree, and its repositories.
pub(super) struct Guarded {
    places: Vec<PathBuf>,
}

impl Guarded {
    /// # Errors
    /// The git configuration cannot be read.
    pub(super) fn of(root: &Path, confinement: &Confinement) -> Result<Self, Error> {
        let contents = Contents::of(root);
        let git = git_places(root, &contents).map_err(inputs::Error::from)?;
        let places = git.guarded.into_iter().chain(git.absent);
        Ok(Self::new(root, places, confinement))
    }

    /// Uses paths that are already known: `places` are those of git.
    pub(super) fn new(root: &Path, places: impl Iterator<Item = PathBuf>, confinement: &Confinement) -> Self {
        let resolved = |path: &PathBuf| Place::of(path).leads_to();
        // The paths of the caller already have their links resolved.
        let places = places.map(|path| resolved(&path)).chain(confinement.guarded().map(Path::to_path_buf));
        let places = places.filter(|place| !root.starts_with(place));
        Self { places: places.collect() }
    }

    /// Whether a path is guarded, or is inside a guarded directory.
    pub(super) fn holds(&self, place: &Path) -> bool {
        self.places.iter().any(|guarded| place.starts_with(guarded))
    }

    /// Whether a guarded path is inside this one.
    pub(super) fn lies_in(&self, place: &Path) -> bool {
        self.places.iter().any(|guarded| guarded.starts_with(place))
    }
}
