//! A file or a directory somewhere on this machine, hashed as one input.

use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::pointer::{self, LOOK, Pointer};
use crate::digest::{
    self, Algorithms, Consumer, Digest, EntryKind, FileRead, Job, Progress, Stamp, Symlinks, directory_hash,
    hash_file, hash_files, open_regular, walk,
};
use crate::manifest::{self, DependencyDigest, PathError};
use crate::profile::{
    Columns, KNOWN_ENDINGS, Profile, ProfileError, Profiler, count_file, needs_second_read,
};

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
    /// In a box, because most files have none.
    profile: Option<Box<Result<Profile, ProfileError>>>,
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
    let facts = read_parts(root, symlinks, columns, progress)?;
    if columns.is_some_and(|columns| !columns.is_empty()) && facts.profile.is_none() {
        return Err(Error::NoRecords { path: root.to_path_buf(), known: KNOWN_ENDINGS });
    }
    Ok(facts)
}

fn read_parts(
    root: &Path,
    symlinks: Symlinks,
    columns: Option<&Columns>,
    progress: Progress<'_>,
) -> Result<SourceFacts, Error> {
    let metadata = std::fs::metadata(root).map_err(|source| not_there(root, source))?;
    if !metadata.is_dir() {
        // The path itself is what the recipe names: a link there is followed.
        let mut reading = Reading::new(root.to_path_buf(), Symlinks::Follow, columns);
        let read = hash_file(root, Algorithms::SHA256, Symlinks::Follow, &mut [&mut reading], progress);
        let part = reading.finish(read)?;
        return facts(DependencyDigest::file(part.sha256), columns, vec![part], &|_| root.to_path_buf());
    }
    let paths = list_files(root, symlinks)?;
    let begin = |path: &String| Reading::new(root.join(path), symlinks, columns);
    let parts = hash_files(&paths, Algorithms::SHA256, symlinks, begin, progress)?;
    let digests = paths.iter().zip(&parts).map(|(path, part)| (path.as_str(), part.sha256));
    let digest = DependencyDigest::directory(directory_hash(digests));
    facts(digest, columns, parts, &|index| root.join(&paths[index]))
}

/// `location` is where the part with this index lies.
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

/// A file that is hashed, counted and looked at.
struct Reading<'a> {
    path: PathBuf,
    symlinks: Symlinks,
    columns: Option<&'a Columns>,
    head: Head,
    profiler: Option<Profiler>,
}

impl<'a> Reading<'a> {
    fn new(path: PathBuf, symlinks: Symlinks, columns: Option<&'a Columns>) -> Self {
        let name = path.to_string_lossy();
        let profiler = columns.and_then(|columns| Profiler::for_file(&name, columns));
        Self { symlinks, columns, head: Head(Vec::new()), profiler, path }
    }

    /// Counts what cannot be counted while it is hashed: it needs a second read.
    fn count_again(&self, stamp: Stamp) -> Result<Option<Result<Profile, ProfileError>>, Error> {
        let Some(columns) = self.columns else { return Ok(None) };
        let name = self.path.to_string_lossy();
        if !needs_second_read(&name) {
            return Ok(None);
        }
        let (file, before) = open_regular(&self.path, self.symlinks)?;
        let profile = count_file(&name, file, columns);
        let after = std::fs::metadata(&self.path).map_err(|source| digest::Error::io(&self.path, source))?;
        if [before, after].iter().any(|metadata| Stamp::of(metadata) != stamp) {
            return Err(digest::Error::Changed { path: self.path.clone() }.into());
        }
        Ok(profile)
    }
}

impl Consumer for Reading<'_> {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.head.consume(chunk)?;
        self.profiler.as_mut().map_or(Ok(()), |profiler| profiler.consume(chunk))
    }
}

impl Job for Reading<'_> {
    type Output = Part;
    type Error = Error;

    fn path(&self) -> &Path {
        &self.path
    }

    fn consumer(&mut self) -> Option<&mut dyn Consumer> {
        Some(self)
    }

    fn finish(mut self, read: Result<FileRead, digest::Error>) -> Result<Part, Error> {
        let FileRead { digests, stamp, .. } = read?;
        self.head.check(&self.path, digests.size)?;
        let profile = match self.profiler.take() {
            Some(profiler) => Some(profiler.finish()),
            None => self.count_again(stamp)?,
        };
        let changed = || digest::Error::Changed { path: self.path.clone() };
        let sha256 = digests.sha256.ok_or_else(changed)?;
        Ok(Part { sha256, bytes: digests.size, profile: profile.map(Box::new) })
    }
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
