//! A file or a directory anywhere on this machine, hashed as one input.

use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::data_set::{Files, Part};
use super::pointer::Pointer;
use crate::cache::Cache;
use crate::profile::{Columns, Profile, ProfileError, known_endings};
use modelseal_format::context::Context;
use modelseal_format::digest::{self, EntryKind, Symlinks, directory_hash, walk};
use modelseal_format::manifest::{self, DependencyDigest, PathError};

/// What was found out about a file or directory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SourceFacts {
    /// `sha256` of a file, `dirHash` of a directory.
    pub digest: DependencyDigest,
    pub bytes: u64,
    pub files: u64,
    pub profile: Option<Profile>,
    /// The file whose records could not be counted, and the reason. Only set if the recipe names no column.
    pub uncounted: Option<(PathBuf, ProfileError)>,
}

/// Hashes a source, and counts its records if their format is known. If `columns` is `None`, it does not count records.
/// If `columns` names a column, records that cannot be counted are an error. Files that `cache` knows are not read.
///
/// # Errors
/// [`Error`] if its content cannot be read or cannot be sealed.
pub fn read_source(
    root: &Path,
    symlinks: Symlinks,
    columns: Option<&Columns>,
    cache: Option<&Cache>,
    context: &Context,
) -> Result<SourceFacts, Error> {
    let metadata = std::fs::metadata(root).map_err(|source| not_there(root, source))?;
    let facts = if metadata.is_dir() {
        let files = Files { root, symlinks, columns, cache, context };
        let paths = list_files(root, symlinks, context)?;
        let parts = files.hash(&paths)?;
        let digests = paths.iter().zip(&parts).map(|(path, part)| (path.as_str(), part.sha256));
        let digest = DependencyDigest::directory(directory_hash(digests));
        facts(digest, columns, parts, &|index| root.join(&paths[index]))?
    } else {
        // The recipe names this path itself, so a link is followed.
        let files = Files { root, symlinks: Symlinks::Follow, columns, cache, context };
        let parts = files.hash(&[String::new()])?;
        let digest = parts.first().map(|part| DependencyDigest::file(part.sha256)).unwrap_or_default();
        facts(digest, columns, parts, &|_| root.to_path_buf())?
    };
    if columns.is_some_and(|columns| !columns.is_empty()) && facts.profile.is_none() {
        return Err(Error::NoRecords { path: root.to_path_buf(), known: known_endings() });
    }
    Ok(facts)
}

/// Combines the parts of a source. `location` returns the path of the part with a given index.
fn facts(
    digest: DependencyDigest,
    columns: Option<&Columns>,
    parts: Vec<Part>,
    location: &dyn Fn(usize) -> PathBuf,
) -> Result<SourceFacts, Error> {
    let is_demanded = columns.is_some_and(|columns| !columns.is_empty());
    let bytes = parts.iter().map(|part| part.bytes).sum();
    let mut facts = SourceFacts { digest, bytes, files: parts.len() as u64, profile: None, uncounted: None };
    for (index, part) in parts.into_iter().enumerate() {
        match (part.profile.map(|profile| *profile), &mut facts.profile) {
            (None, _) => {}
            (Some(Ok(profile)), None) => facts.profile = Some(profile),
            (Some(Ok(profile)), Some(whole)) => whole.merge(profile),
            (Some(Err(reason)), _) if is_demanded => {
                return Err(Error::Records { path: location(index), reason });
            }
            (Some(Err(reason)), _) => {
                facts.uncounted.get_or_insert_with(|| (location(index), reason));
            }
        }
    }
    if facts.uncounted.is_some() {
        facts.profile = None;
    }
    Ok(facts)
}

/// The error for a missing source. If there is a DVC file next to it, that explains more.
fn not_there(root: &Path, source: io::Error) -> Error {
    let mut beside = root.as_os_str().to_os_string();
    beside.push(".dvc");
    if Path::new(&beside).is_file() {
        return Error::Pointer { path: root.to_path_buf(), pointer: Pointer::Dvc };
    }
    match std::fs::read_link(root) {
        Ok(target) if target.to_string_lossy().contains(".git/annex/objects") => {
            Error::Pointer { path: root.to_path_buf(), pointer: Pointer::GitAnnex }
        }
        _ => Error::Digest(digest::Error::io(root, source)),
    }
}

fn list_files(root: &Path, symlinks: Symlinks, context: &Context) -> Result<Vec<String>, Error> {
    let is_git = |path: &str, _: bool| path == ".git";
    let tree = walk(root, symlinks, &is_git, context)?;
    let refused = |path: &str, reason| Error::Name { path: root.join(path), reason };
    let mut paths = Vec::with_capacity(tree.entries.len());
    for entry in tree.entries {
        match entry.kind {
            EntryKind::EmptyDirectory => continue,
            EntryKind::Special(kind) => {
                let location = root.join(entry.shown());
                if !location.exists() && location.is_symlink() {
                    let absent = io::Error::from(io::ErrorKind::NotFound);
                    if let Error::Pointer { path, pointer } = not_there(&location, absent) {
                        return Err(Error::Pointer { path, pointer });
                    }
                }
                return Err(Error::Special { path: location, kind, may_follow: true });
            }
            EntryKind::File => {}
        }
        let path = entry.into_path().map_err(|shown| refused(&shown, PathError::NotUtf8))?;
        manifest::check_name(&path).map_err(|reason| refused(&path, reason))?;
        paths.push(path);
    }
    Ok(paths)
}
