//! The code revision: the commit, and whether what lies on the disk is what the commit holds.
//!
//! The comparison is our own: every tracked file's bytes against the commit's tree. Nothing that is
//! configured in the repository is executed (no filter, hook, textconv or fsmonitor), and nothing in its
//! index or configuration can hide an edit.

mod compare;
mod contents;
mod guarded;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository};

pub use contents::Contents;
pub use guarded::{GitPlaces, git_places};

use super::remote;
use modelseal_format::context::Context;
use modelseal_format::digest::{self, Digest};

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
        "the git repository says that its work tree is {}, which does not hold {}",
        modelseal_format::display::path(work_tree),
        modelseal_format::display::path(path)
    )]
    Elsewhere { work_tree: PathBuf, path: PathBuf },
    #[error("{}, which git reads, is neither a file nor a directory", modelseal_format::display::path(.0))]
    Special(PathBuf),
    #[error("the commit names {}, which is not UTF-8", modelseal_format::display::name(.0))]
    NotUtf8(String),
    #[error("the commit lacks the content of {}: the clone is not complete", modelseal_format::display::name(.0))]
    Incomplete(String),
    #[error("cannot read the git repository of {}", modelseal_format::display::path(path))]
    Git { path: PathBuf, source: git2::Error },
    #[error(transparent)]
    Digest(#[from] digest::Error),
}

impl CodeError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            CodeError::NoRepository(_) | CodeError::Bare(_) => Some(
                "`git init` and commit, or say `none = true` under `[code]`: then no code revision is sealed"
                    .into(),
            ),
            CodeError::NoCommit(_) => Some("`git add` and `git commit` what the model was made with".into()),
            CodeError::Owner(path) => Some(format!(
                "if you trust it: `git config --global --add safe.directory {}`",
                modelseal_format::display::shell_word(&path.to_string_lossy())
            )),
            CodeError::ObjectFormat(_) => {
                Some("say `none = true` under `[code]` until libgit2 supports it".into())
            }
            CodeError::Incomplete(_) => Some("`git fetch --refetch`, or clone without `--filter`".into()),
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
    /// In the index, other than in the commit.
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

/// One path that is not as the commit has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Relative to the work tree.
    pub path: String,
    pub kind: ChangeKind,
}

/// The code that a model was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// In hex.
    pub commit: String,
    /// The commit's tree, in hex.
    pub tree: String,
    /// Over the tracked files, other than the declared ones, as they lie on the disk; where a file is as
    /// the commit has it, its bytes in the commit.
    pub dir_hash: Digest,
    /// The files behind `dir_hash`, each with its digest.
    pub files: BTreeMap<String, Digest>,
    /// Normalised, without credentials; `None` where there is none that others could reach.
    pub remote: Option<String>,
    /// In byte order of the paths; empty in a clean tree.
    pub changes: Vec<Change>,
    /// When the commit was made, in seconds since 1970.
    pub time: i64,
}

impl Code {
    /// `dir_hash` without the files that git does not hold: where nothing is run, they do not matter.
    pub fn hash_of_tracked(&self) -> Digest {
        let is_tracked = |path: &str| {
            let change = self.changes.iter().find(|change| change.path == path);
            change.is_none_or(|change| change.kind != ChangeKind::Untracked)
        };
        let files = self.files.iter().filter(|(path, _)| is_tracked(path));
        digest::directory_hash(files.map(|(path, digest)| (path.as_str(), *digest)))
    }
}

/// Paths that are sealed or written elsewhere, absolute.
#[derive(Debug, Default, Clone)]
pub struct Exempt {
    /// Have a digest of their own in the manifest: not part of `dirHash`, never dirty.
    pub declared: Vec<PathBuf>,
    /// Have a digest of their own, but must be as the commit has them: the recipe.
    pub recipe: Vec<PathBuf>,
    /// Data that is elsewhere than the recipe says: never dirty.
    pub ignored: Vec<PathBuf>,
    /// What the build writes: not dirty, but for files of the commit below it.
    pub written: Vec<PathBuf>,
}

/// A work tree and its repository.
pub struct WorkTree {
    repository: Repository,
    /// Absolute, links resolved.
    root: PathBuf,
}

impl WorkTree {
    /// Finds the work tree that holds `path`.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn discover(path: &Path) -> Result<Self, CodeError> {
        let at = || path.to_path_buf();
        if let Some(special) = guarded::special_file_around(path) {
            return Err(CodeError::Special(special));
        }
        let repository = Repository::discover(path).map_err(|source| match source.code() {
            ErrorCode::NotFound => CodeError::NoRepository(at()),
            ErrorCode::Owner => CodeError::Owner(at()),
            _ if source.message().contains("object format") => CodeError::ObjectFormat(at()),
            _ => CodeError::Git { path: at(), source },
        })?;
        let canonical = |path: &Path| {
            path.canonicalize().map_err(|source| {
                let path = path.to_path_buf();
                CodeError::Digest(digest::Error::Io { path, source })
            })
        };
        let root = match repository.workdir() {
            Some(root) => canonical(root)?,
            None => return Err(CodeError::Bare(at())),
        };
        // `core.worktree` could name any directory; git itself puts `.git` into each work tree.
        let leads_back = Repository::open(&root).is_ok_and(|other| other.path() == repository.path());
        if !leads_back || !canonical(path)?.starts_with(&root) {
            return Err(CodeError::Elsewhere { work_tree: root, path: at() });
        }
        Ok(Self { repository, root })
    }

    /// Absolute, links resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where git keeps the repository itself.
    pub fn repository_directory(&self) -> PathBuf {
        self.repository.path().to_path_buf()
    }

    /// Compares the disk with the commit that is checked out.
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

    /// Whether the repository has this commit.
    pub fn holds(&self, commit: &str) -> bool {
        git2::Oid::from_str(commit).is_ok_and(|id| self.repository.find_commit(id).is_ok())
    }

    /// Tags, by their whole names, of this commit and of those before it.
    pub fn tags_before(&self, commit: &str) -> Vec<String> {
        let own = |name: &str| {
            let directory = self.repository.commondir();
            let place = directory.join(name).canonicalize();
            // One that is a link can belong to another repository.
            place.is_err()
                || directory.canonicalize().is_ok_and(|own| place.is_ok_and(|place| place.starts_with(own)))
        };
        let find = || {
            let mut walk = self.repository.revwalk()?;
            walk.push(git2::Oid::from_str(commit)?)?;
            let before: std::collections::HashSet<git2::Oid> = walk.flatten().collect();
            let mut names = Vec::new();
            for tag in self.repository.references_glob("refs/tags/*")?.flatten() {
                let (Ok(name), Ok(leads)) = (tag.name(), tag.peel_to_commit()) else { continue };
                if before.contains(&leads.id()) && own(name) {
                    names.push(name.to_string());
                }
            }
            Ok::<_, git2::Error>(names)
        };
        // Where tags cannot be read, there are none for a command either.
        find().unwrap_or_default()
    }

    /// The paths of the commit's submodules, each with the commit that belongs there.
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

    /// `origin`, or the only remote there is; normalised, without credentials.
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
