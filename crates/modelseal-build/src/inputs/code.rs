//! The code revision: the commit, and whether the files on disk match it.
//!
//! modelseal does the comparison itself: the bytes of every tracked file against the tree of the commit. It executes
//! nothing that the repository configures (no filter, hook, textconv or fsmonitor). Nothing in the index or the
//! configuration can hide an edit.

mod compare;
mod contents;
mod guarded;
mod history;
mod secrets;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository};

pub use contents::Contents;
pub use guarded::{GitPlaces, git_places};
pub use history::History;
pub use secrets::holds_secret;

use super::remote;
use modelseal_format::context::Context;
use modelseal_format::digest::{self, Digest};
use modelseal_format::hint::Hint;

/// Why there is no code revision to seal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    #[error("{} is not inside a git work tree", modelseal_format::display::path(.0))]
    NoRepository(PathBuf),
    #[error("the git repository of {} has no commit yet", modelseal_format::display::path(.0))]
    NoCommit(PathBuf),
    #[error("the git repository of {} belongs to another user", modelseal_format::display::path(.0))]
    Owner(PathBuf),
    #[error("the git repository of {} uses an object format that is not supported (SHA-256)", modelseal_format::display::path(.0))]
    ObjectFormat(PathBuf),
    #[error("the git repository of {} is bare: it has no work tree", modelseal_format::display::path(.0))]
    Bare(PathBuf),
    #[error(
        "the git repository says that its work tree is {}, which does not contain {}",
        modelseal_format::display::path(work_tree),
        modelseal_format::display::path(path)
    )]
    Elsewhere { work_tree: PathBuf, path: PathBuf },
    #[error("{}, which git reads, is neither a file nor a directory", modelseal_format::display::path(.0))]
    Special(PathBuf),
    #[error("the commit contains the name {}, which is not UTF-8", modelseal_format::display::name(.0))]
    NotUtf8(String),
    #[error("the content of {} is missing from the repository: the clone is incomplete", modelseal_format::display::name(.0))]
    Incomplete(String),
    #[error("cannot read the git repository of {}", modelseal_format::display::path(path))]
    Git { path: PathBuf, source: git2::Error },
    #[error(transparent)]
    Digest(#[from] digest::Error),
}

impl CodeError {
    /// What the user can do about the error.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            CodeError::NoRepository(_) | CodeError::Bare(_) => Some(
                "run `git init` and commit, or set `none = true` under `[code]` to seal no code revision"
                    .into(),
            ),
            CodeError::NoCommit(_) => {
                Some("run `git add` and `git commit` for the code that makes the model".into())
            }
            CodeError::Owner(path) => Some(
                format!(
                    "if you trust it, run `git config --global --add safe.directory {}`",
                    modelseal_format::display::shell_word(&path.to_string_lossy())
                )
                .into(),
            ),
            CodeError::ObjectFormat(_) => {
                Some("set `none = true` under `[code]` until libgit2 supports it".into())
            }
            CodeError::Incomplete(_) => Some("run `git fetch --refetch`, or make a full clone".into()),
            _ => None,
        }
    }
}

/// What happened to a path since the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Modified,
    Deleted,
    Untracked,
    /// The entry in the index differs from the commit.
    Staged,
}

impl ChangeKind {
    pub fn name(self) -> &'static str {
        match self {
            ChangeKind::Modified => "modified",
            ChangeKind::Deleted => "deleted",
            ChangeKind::Untracked => "untracked",
            ChangeKind::Staged => "staged",
        }
    }
}

/// One path that differs from the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Relative to the work tree.
    pub path: String,
    pub kind: ChangeKind,
}

/// The code that a model was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Code {
    /// In hex.
    pub commit: String,
    /// The tree of the commit, in hex.
    pub tree: String,
    /// The digest over the tracked and untracked files on disk, except the declared ones and the recipe. A file that
    /// matches the commit counts with its bytes in the commit.
    pub dir_hash: Digest,
    /// The files behind `dir_hash`, each with its digest.
    pub files: BTreeMap<String, Digest>,
    /// Normalised, without credentials. `None` if there is no remote that others could reach.
    pub remote: Option<String>,
    /// In byte order of the paths. Empty if the work tree is clean.
    pub changes: Vec<Change>,
    /// The time of the commit, in seconds since 1970.
    pub time: i64,
}

impl Code {
    /// `dir_hash` without the untracked files, which do not matter if no command runs.
    pub fn hash_of_tracked(&self) -> Digest {
        let is_tracked = |path: &str| {
            let change = self.changes.iter().find(|change| change.path == path);
            change.is_none_or(|change| change.kind != ChangeKind::Untracked)
        };
        let files = self.files.iter().filter(|(path, _)| is_tracked(path));
        digest::directory_hash(files.map(|(path, digest)| (path.as_str(), *digest)))
    }
}

/// Absolute paths that are sealed or written elsewhere.
#[derive(Debug, Default, Clone)]
pub struct Exempt {
    /// Paths with their own digest in the manifest. They are not part of `dirHash`, and never dirty.
    pub declared: Vec<PathBuf>,
    /// Paths with their own digest that must still match the commit: the recipe.
    pub recipe: Vec<PathBuf>,
    /// Data at another location than the recipe says. Never dirty.
    pub ignored: Vec<PathBuf>,
    /// Paths that the build writes. Never dirty, except for tracked files below them.
    pub written: Vec<PathBuf>,
}

/// Whether a path leads through or into the directory of a repository.
pub fn is_in_git_directory(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == ".git")
}

/// A work tree and its repository.
pub struct WorkTree {
    repository: Repository,
    /// Absolute, with links resolved.
    root: PathBuf,
}

impl WorkTree {
    /// Finds the work tree that contains `path`.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn discover(path: &Path) -> Result<Self, CodeError> {
        let repository = history::open(path)?;
        let root =
            history::work_tree(&repository, path)?.ok_or_else(|| CodeError::Bare(path.to_path_buf()))?;
        Ok(Self { repository, root })
    }

    /// Absolute, with links resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory where git keeps the repository itself.
    pub fn repository_directory(&self) -> PathBuf {
        self.repository.path().to_path_buf()
    }

    /// Compares the files on disk with the commit that is checked out.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn read(&self, exempt: &Exempt, context: &Context) -> Result<Code, CodeError> {
        let git = |source| CodeError::Git { path: self.root.clone(), source };
        let head = self.repository.head().map_err(|source| match source.code() {
            ErrorCode::UnbornBranch | ErrorCode::NotFound => CodeError::NoCommit(self.root.clone()),
            _ => git(source),
        })?;
        let commit = head.peel_to_commit().map_err(git)?;
        let tree = commit.tree().map_err(git)?;
        let (files, changes) = compare::compare(&self.repository, &self.root, &tree, exempt, context)?;
        let listed = files.iter().map(|(path, digest)| (path.as_str(), *digest));
        Ok(Code {
            commit: commit.id().to_string(),
            tree: tree.id().to_string(),
            dir_hash: digest::directory_hash(listed),
            files,
            remote: self.remote(),
            changes,
            time: commit.time().seconds(),
        })
    }

    /// The paths of the submodules of the commit, each with the commit that it records for them.
    ///
    /// # Errors
    /// [`CodeError::Git`].
    pub fn submodules(&self) -> Result<Vec<(String, String)>, CodeError> {
        let git = |source| CodeError::Git { path: self.root.clone(), source };
        let tree = self.repository.head().and_then(|head| head.peel_to_tree()).map_err(git)?;
        let mut found = Vec::new();
        let walked = tree.walk(git2::TreeWalkMode::PreOrder, |above, entry| {
            if entry.kind() == Some(git2::ObjectType::Commit) {
                let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
                found.push((format!("{above}{name}"), entry.id().to_string()));
            }
            git2::TreeWalkResult::Ok
        });
        walked.map_err(git)?;
        Ok(found)
    }

    /// The URL of `origin` or of the only remote, normalised and without credentials.
    pub fn remote(&self) -> Option<String> {
        let names = self.repository.remotes().ok()?;
        let names: Vec<&str> = names.iter().flatten().flatten().collect();
        let name = match names.as_slice() {
            [only] => only,
            names => names.iter().find(|name| **name == "origin")?,
        };
        let remote = self.repository.find_remote(name).ok()?;
        remote::normalise(remote.url().ok()?)
    }
}
