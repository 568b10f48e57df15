//! A file or a directory somewhere on this machine, hashed as one input.

use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::pointer::{self, LOOK, Pointer};
use crate::digest::{
    self, Algorithms, Consumer, Digest, EntryKind, Progress, Stamp, Symlinks, directory_hash, hash_file,
    map_files, open_regular, walk,
};
use crate::manifest::{self, DependencyDigest, PathError};
use crate::profile::{Columns, KNOWN_ENDINGS, Profile, ProfileError, Profiler, count_file};

/// What a file or directory turned out to be.
#[derive(Debug, Clone)]
pub struct SourceFacts {
    /// `sha256` of a file, `dirHash` of a directory.
    pub digest: DependencyDigest,
    pub bytes: u64,
    pub files: u64,
    pub profile: Option<Profile>,
    /// Why there is no profile although nothing was asked of one: the file, and what is wrong with it.
    pub uncounted: Option<(PathBuf, ProfileError)>,
}

/// One file, as a part of the whole.
struct Part {
    sha256: Digest,
    bytes: u64,
    profile: Option<Result<Profile, ProfileError>>,
}

/// Hashes a source, and counts its records where their format is known; `None` for `columns`: it does not.
/// Where a column is named, records that cannot be counted are an error.
///
/// # Errors
/// [`Error`]: what it holds cannot be sealed, or cannot be read.
pub fn read_source(
    root: &Path,
    symlinks: Symlinks,
    columns: Option<&Columns>,
    progress: Progress<'_>,
) -> Result<SourceFacts, Error> {
    let metadata = std::fs::metadata(root).map_err(|source| not_there(root, source))?;
    if !metadata.is_dir() {
        // The path itself is what the recipe names: a link there is followed.
        let part = read_file(root, Symlinks::Follow, columns, progress)?;
        let (digest, bytes) = (DependencyDigest::file(part.sha256), part.bytes);
        return facts(root, columns, digest, bytes, vec![(root.to_path_buf(), part)]);
    }
    let paths = list_files(root, symlinks)?;
    let parts = map_files(&paths, |path| read_file(&root.join(path), symlinks, columns, progress))?;
    let digests = paths.iter().zip(&parts).map(|(path, part)| (path.as_str(), part.sha256));
    let digest = DependencyDigest::directory(directory_hash(digests));
    let bytes = parts.iter().map(|part| part.bytes).sum();
    let parts = paths.iter().map(|path| root.join(path)).zip(parts).collect();
    facts(root, columns, digest, bytes, parts)
}

fn facts(
    root: &Path,
    columns: Option<&Columns>,
    digest: DependencyDigest,
    bytes: u64,
    parts: Vec<(PathBuf, Part)>,
) -> Result<SourceFacts, Error> {
    let is_demanded = columns.is_some_and(|columns| !columns.is_empty());
    let mut facts = SourceFacts { digest, bytes, files: parts.len() as u64, profile: None, uncounted: None };
    for (path, part) in parts {
        match (part.profile, &mut facts.profile) {
            (None, _) => {}
            (Some(Ok(profile)), None) => facts.profile = Some(profile),
            (Some(Ok(profile)), Some(whole)) => whole.merge(profile),
            (Some(Err(reason)), _) if is_demanded => return Err(Error::Records { path, reason }),
            (Some(Err(reason)), _) => {
                facts.uncounted.get_or_insert((path, reason));
            }
        }
    }
    if facts.uncounted.is_some() {
        facts.profile = None;
    }
    if is_demanded && facts.profile.is_none() {
        return Err(Error::NoRecords { path: root.to_path_buf(), known: KNOWN_ENDINGS });
    }
    Ok(facts)
}

/// A source that is not there; where a DVC file stands beside it, that explains it better.
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

fn list_files(root: &Path, symlinks: Symlinks) -> Result<Vec<String>, Error> {
    let is_git = |path: &str, _: bool| path == ".git";
    let tree = walk(root, symlinks, &is_git)?;
    let mut paths = Vec::with_capacity(tree.entries.len());
    for entry in tree.entries {
        let location = root.join(entry.shown());
        match entry.kind {
            EntryKind::EmptyDirectory => continue,
            EntryKind::Special(kind) => {
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
        let Some(path) = entry.path else {
            return Err(Error::Name { path: location, reason: PathError::NotUtf8 });
        };
        manifest::check_name(&path).map_err(|reason| Error::Name { path: location.clone(), reason })?;
        paths.push(path);
    }
    Ok(paths)
}

fn read_file(
    path: &Path,
    symlinks: Symlinks,
    columns: Option<&Columns>,
    progress: Progress<'_>,
) -> Result<Part, Error> {
    let name = path.to_string_lossy();
    let mut head = Head(Vec::new());
    let mut profiler = columns.and_then(|columns| Profiler::for_file(&name, columns));
    let mut also: Vec<&mut dyn Consumer> = vec![&mut head];
    if let Some(profiler) = &mut profiler {
        also.push(profiler);
    }
    let (file, before) = open_regular(path, symlinks)?;
    let digests = hash_file(path, Algorithms::SHA256, symlinks, &mut also, progress)?.digests;
    head.check(path, digests.size)?;
    let profile = match profiler {
        Some(profiler) => Some(profiler.finish()),
        None => columns.and_then(|columns| count_file(&name, file, columns)),
    };
    let after = std::fs::metadata(path).map_err(|source| digest::Error::io(path, source))?;
    if Stamp::of(&after) != Stamp::of(&before) {
        return Err(digest::Error::Changed { path: path.to_path_buf() }.into());
    }
    Ok(Part { sha256: digests.sha256.unwrap_or_else(|| Digest::sha256(b"")), bytes: digests.size, profile })
}

/// Keeps the first bytes of a file, to see whether it is what it should be.
pub(super) struct Head(pub(super) Vec<u8>);

impl Consumer for Head {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        let wanted = LOOK.saturating_sub(self.0.len()).min(chunk.len());
        self.0.extend_from_slice(&chunk[..wanted]);
        Ok(())
    }
}

impl Head {
    /// Refuses a pointer in the place of data.
    pub(super) fn check(&self, path: &Path, size: u64) -> Result<(), Error> {
        match pointer::recognise(&path.to_string_lossy(), &self.0, size) {
            Some(pointer) => Err(Error::Pointer { path: path.to_path_buf(), pointer }),
            None => Ok(()),
        }
    }
}
