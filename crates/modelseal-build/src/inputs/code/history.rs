//! The commits and tags of a repository, with or without a work tree.

use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository};

use super::{CodeError, guarded};
use modelseal_format::digest;

/// A repository whose commits can be fetched.
pub struct History {
    repository: Repository,
    root: PathBuf,
}

/// Opens the repository around a path. Nothing of its configuration runs.
pub(super) fn open(path: &Path) -> Result<Repository, CodeError> {
    let at = || path.to_path_buf();
    if let Some(special) = guarded::special_file_around(path) {
        return Err(CodeError::Special(special));
    }
    Repository::discover(path).map_err(|source| match source.code() {
        ErrorCode::NotFound => CodeError::NoRepository(at()),
        ErrorCode::Owner => CodeError::Owner(at()),
        _ if source.message().contains("object format") => CodeError::ObjectFormat(at()),
        _ => CodeError::Git { path: at(), source },
    })
}

/// The work tree of the repository around a path, with links resolved. `None` if the repository is bare.
pub(super) fn work_tree(repository: &Repository, path: &Path) -> Result<Option<PathBuf>, CodeError> {
    let Some(root) = repository.workdir() else { return Ok(None) };
    let root = canonical(root)?;
    // `core.worktree` could name any directory, but git itself puts `.git` into each work tree.
    let leads_back = Repository::open(&root).is_ok_and(|other| other.path() == repository.path());
    if !leads_back || !canonical(path)?.starts_with(&root) {
        return Err(CodeError::Elsewhere { work_tree: root, path: path.to_path_buf() });
    }
    Ok(Some(root))
}

fn canonical(path: &Path) -> Result<PathBuf, CodeError> {
    path.canonicalize().map_err(|source| {
        let path = path.to_path_buf();
        CodeError::Digest(digest::Error::Io { path, source })
    })
}

impl History {
    /// Finds the repository around a path.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn discover(path: &Path) -> Result<Self, CodeError> {
        let repository = open(path)?;
        let root = match work_tree(&repository, path)? {
            Some(root) => root,
            None => canonical(repository.path())?,
        };
        Ok(Self { repository, root })
    }

    /// The work tree, or the bare repository itself. Absolute, with links resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of the repository that has the objects: that of the main work tree, if this is a linked
    /// one.
    pub fn common_directory(&self) -> PathBuf {
        self.repository.commondir().to_path_buf()
    }

    /// Whether the repository contains this commit.
    pub fn holds(&self, commit: &str) -> bool {
        git2::Oid::from_str(commit).is_ok_and(|id| self.repository.find_commit(id).is_ok())
    }

    /// The full names of the tags of this commit and of its ancestors.
    pub fn tags_before(&self, commit: &str) -> Vec<String> {
        let own = |name: &str| {
            let directory = self.repository.commondir();
            let place = directory.join(name).canonicalize();
            // A tag that is a link can belong to another repository.
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
        // If modelseal cannot read the tags, a command cannot read them either.
        find().unwrap_or_default()
    }
}
