//! A fresh clone of one commit in a separate directory, with the declared inputs that git does not hold.
//!
//! The `git` program makes the clone without the user's configuration and environment. The clone is trusted only after
//! [`crate::inputs`] has compared its bytes with the commit.

mod git;
mod place;

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::inputs;
use crate::recipe::{self, Recipe};
use crate::run::{NoProgram, Programs};

use modelseal_format::context::Context;
use modelseal_format::hint::Hint;

pub use git::Repository;
pub use place::{Declared, declared};

/// Why a checkout failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot clone the repository {}: {reason}", modelseal_format::display::name(repository))]
    Clone { repository: String, reason: String },
    #[error(
        "the repository {} does not contain the commit {}",
        modelseal_format::display::name(repository),
        modelseal_format::display::short(commit)
    )]
    NoCommit { repository: String, commit: String },
    #[error("cannot clone from the address {}: only https, ssh and paths are supported", modelseal_format::display::name(.0))]
    Protocol(String),
    #[error("cannot start `git`")]
    NoGit(#[source] io::Error),
    #[error(transparent)]
    NoProgram(#[from] NoProgram),
    #[error("the commit does not contain the recipe {}", modelseal_format::display::name(.0))]
    NoRecipe(String),
    #[error("{what} is missing: {} does not exist", modelseal_format::display::path(path))]
    Absent { what: String, path: PathBuf },
    #[error("{what} at {} differs from the sealed version", modelseal_format::display::path(path))]
    Differs { what: String, path: PathBuf, expected: String, actual: String },
    #[error(
        "cannot place {what} in a clone: the recipe names an absolute path, {}",
        modelseal_format::display::path(path)
    )]
    Absolute { what: String, path: PathBuf },
    #[error("{} leads out of the clone through a link", modelseal_format::display::path(.0))]
    Outside(PathBuf),
    #[error("cannot create {}", modelseal_format::display::path(path))]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Recipe(#[from] recipe::Error),
    #[error(transparent)]
    Input(#[from] inputs::Error),
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        if modelseal_format::context::is_cancelled(&source) {
            return Error::Interrupted;
        }
        Error::Io { path: path.to_path_buf(), source }
    }

    /// What the user can do about the error.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Error::NoCommit { .. } => Some(Hint::NameClone),
            Error::Clone { .. } => Some(Hint::NameAnotherClone),
            Error::Absent { what, .. } if what.starts_with("data") => Some(Hint::NameData),
            Error::Absolute { .. } => Some("name a path that is relative to the recipe".into()),
            Error::Input(error) => error.hint(),
            _ => None,
        }
    }
}

/// A clone that no other program uses, in a directory that its creator removes.
pub struct Checkout {
    directory: PathBuf,
    /// The work tree.
    root: PathBuf,
    recipe: Recipe,
    on_a_branch: bool,
    context: Context,
}

impl Checkout {
    /// Clones `repository` below `directory`, and checks out `commit`. `recipe` is the recipe's path in the work tree.
    ///
    /// # Errors
    /// [`Error`].
    pub fn new(
        programs: &Programs,
        directory: &Path,
        repository: &Repository<'_>,
        commit: &str,
        recipe: &str,
        context: &Context,
    ) -> Result<Self, Error> {
        let home = make(directory, "home")?;
        let work = make(directory, "work")?;
        let mut root = work.join("tree");
        let git = git::Git { programs, home: &home, context };
        let on_a_branch = git::clone(&git, repository, commit, &root)?;
        let loaded = load(&root, recipe)?;
        let above = levels_above(&loaded, recipe);
        if above > 0 {
            // Makes space for inputs that the recipe expects next to or above the work tree.
            let deeper = (0..above).fold(work.clone(), |path, _| path.join("above"));
            fs::create_dir_all(&deeper).map_err(|source| Error::io(&deeper, source))?;
            let moved = deeper.join("tree");
            fs::rename(&root, &moved).map_err(|source| Error::io(&moved, source))?;
            root = moved;
        }
        let recipe = load(&root, recipe)?;
        Ok(Self {
            directory: directory.to_path_buf(),
            root,
            recipe,
            on_a_branch,
            context: context.without_progress(),
        })
    }

    /// The recipe of the clone. Its command runs in the recipe's directory.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Whether a branch or a tag of the repository leads to the commit.
    ///
    /// For a time, servers also return other commits to clients that name them.
    pub fn is_on_a_branch(&self) -> bool {
        self.on_a_branch
    }

    /// The work tree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory that contains the work tree, and inputs next to or above it.
    pub fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    /// An unused home directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn home(&self) -> Result<PathBuf, Error> {
        make(&self.directory, "home")
    }

    /// A directory for temporary files.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn temporary(&self) -> Result<PathBuf, Error> {
        make(&self.directory, "tmp")
    }

    /// The directory that contains everything of this checkout.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the command makes the artifact.
    pub fn artifact(&self) -> PathBuf {
        self.recipe.directory().join(self.recipe.tables.artifact.path.get_ref())
    }

    /// Removes what the commit contains at the artifact's path, because the command did not make it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_artifact(&self) -> Result<(), Error> {
        let artifact = self.artifact();
        self.check_within(&artifact)?;
        let removed = match artifact.symlink_metadata() {
            Err(_) => return Ok(()),
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&artifact),
            Ok(_) => fs::remove_file(&artifact),
        };
        removed.map_err(|source| Error::io(&artifact, source))
    }
}

impl Checkout {
    /// Checks that no link in a path leads out of the clone, before the path is removed or written.
    fn check_within(&self, path: &Path) -> Result<(), Error> {
        let existing = path.ancestors().skip(1).find(|above| above.exists()).unwrap_or(&self.directory);
        let resolve = |path: &Path| path.canonicalize().map_err(|source| Error::io(path, source));
        if resolve(existing)?.starts_with(resolve(&self.directory)?) {
            return Ok(());
        }
        Err(Error::Outside(path.to_path_buf()))
    }
}

fn make(directory: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = directory.join(name);
    fs::create_dir_all(&path).map_err(|source| Error::io(&path, source))?;
    Ok(path)
}

fn load(root: &Path, recipe: &str) -> Result<Recipe, Error> {
    match Recipe::load(&root.join(recipe)) {
        Err(recipe::Error::Missing(_)) => Err(Error::NoRecipe(recipe.to_string())),
        other => Ok(other?),
    }
}

/// How many levels above the work tree the recipe's inputs reach.
fn levels_above(recipe: &Recipe, path: &str) -> usize {
    let own = Path::new(path).components().count() as isize - 1;
    let tables = &recipe.tables;
    let sources = tables.data.iter().map(|data| data.path.get_ref());
    let sources = sources.chain(tables.base.iter().map(|base| base.path.get_ref()));
    let lowest = sources.filter(|path| Path::new(path).is_relative()).map(|path| {
        let mut level = own;
        let mut lowest = level;
        for part in Path::new(path).components() {
            match part {
                Component::ParentDir => level -= 1,
                Component::Normal(_) => level += 1,
                _ => {}
            }
            lowest = lowest.min(level);
        }
        lowest
    });
    lowest.min().unwrap_or(0).min(0).unsigned_abs()
}
