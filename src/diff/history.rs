//! The commits between two releases, if a clone that holds both is available.

use std::path::Path;

use git2::{Oid, Repository, Sort};

use modelseal_format::manifest::Manifest;

/// Maximum number of commits to list. The rest are only counted.
const LISTED: usize = 20;

/// The commits between two releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Commits of the new release that the old one does not have: id and subject, newest first.
    pub added: Vec<(String, String)>,
    pub added_count: usize,
    /// How many commits of the old release the new one does not have.
    pub removed_count: usize,
}

/// The sealed commit of a release.
pub(super) fn commit(statement: &Manifest) -> Option<&str> {
    statement.code().map(|code| code.commit())
}

/// The repository that contains a directory, if it holds the commits of both releases.
pub(super) fn open(directory: &Path, statements: [&Manifest; 2]) -> Option<Repository> {
    let repository = Repository::discover(directory).ok()?;
    let holds = |statement: &&Manifest| {
        let id = commit(statement).and_then(|commit| Oid::from_str(commit).ok());
        id.is_some_and(|id| repository.find_commit(id).is_ok())
    };
    let both = statements.iter().all(holds);
    both.then_some(repository)
}

pub(super) fn between(repository: &Repository, old: &Manifest, new: &Manifest) -> Option<History> {
    let (old, new) = (Oid::from_str(commit(old)?).ok()?, Oid::from_str(commit(new)?).ok()?);
    if old == new {
        return None;
    }
    let added = walk(repository, new, old)?;
    let subject = |id: &Oid| {
        let commit = repository.find_commit(*id).ok()?;
        let subject = commit.summary().ok().flatten().unwrap_or_default().chars().take(100).collect();
        Some((id.to_string(), subject))
    };
    Some(History {
        added: added.iter().take(LISTED).filter_map(subject).collect(),
        added_count: added.len(),
        removed_count: walk(repository, old, new)?.len(),
    })
}

/// The commits that lead to `to` but not to `from`.
fn walk(repository: &Repository, to: Oid, from: Oid) -> Option<Vec<Oid>> {
    let mut walk = repository.revwalk().ok()?;
    walk.set_sorting(Sort::TOPOLOGICAL).ok()?;
    walk.push(to).ok()?;
    walk.hide(from).ok()?;
    walk.collect::<Result<_, _>>().ok()
}
