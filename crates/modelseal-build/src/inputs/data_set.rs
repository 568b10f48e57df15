//! The files of a source: hashed now, or known from an earlier build.

use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::pointer::{self, LOOK};
use crate::cache::{Cache, DataSet};
use crate::profile::{Columns, Profile, ProfileError, Profiler, count_file, is_counted, needs_second_read};
use modelseal_format::context::Context;
use modelseal_format::digest::{
    self, Algorithms, Consumer, Digest, FileRead, Job, Stamp, Symlinks, hash_files, map_files, open_regular,
};

/// How to read the files of a source.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    /// A directory, or the only file.
    pub(super) root: &'a Path,
    pub(super) symlinks: Symlinks,
    /// `None`: do not count records.
    pub(super) columns: Option<&'a Columns>,
    /// `None`: read every file.
    pub(super) cache: Option<&'a Cache>,
    pub(super) context: &'a Context,
}

/// The result for one file of a source.
pub(super) struct Part {
    pub(super) sha256: Digest,
    pub(super) bytes: u64,
    /// Boxed, because most files have none.
    pub(super) profile: Option<Box<Result<Profile, ProfileError>>>,
}

impl Files<'_> {
    /// The path on disk of a file with this path below the root. If the root is a file, `path` is empty.
    pub(super) fn location(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.to_path_buf() } else { self.root.join(path) }
    }

    /// Hashes and counts the files that are not in the cache. Returns the parts in the order of the paths.
    ///
    /// # Errors
    /// [`Error`] if a file cannot be read, or is not what it should be.
    pub(super) fn hash(&self, paths: &[String]) -> Result<Vec<Part>, Error> {
        let known = self.cache.and_then(|cache| cache.data_set(self.root, paths.len()));
        let Some(mut data_set) = known else {
            return self.read(&Vec::from_iter(paths), None);
        };
        let mut parts = map_files(paths, self.context, |path| Ok::<_, Error>(self.find(&data_set, path)))?;
        let unknown =
            Vec::from_iter(paths.iter().zip(&parts).filter(|(_, part)| part.is_none()).map(|(path, _)| path));
        data_set.prepare_to_remember();
        let read = self.read(&unknown, Some(&data_set))?;
        for (unknown, part) in parts.iter_mut().filter(|part| part.is_none()).zip(read) {
            *unknown = Some(part);
        }
        data_set.write();
        Ok(parts.into_iter().flatten().collect())
    }

    /// Looks a file up in the cache. Returns `None` if its records are to be counted, because then it has to be read
    /// anyway.
    fn find(&self, data_set: &DataSet<'_>, path: &str) -> Option<Part> {
        let location = self.location(path);
        if self.columns.is_some() && is_counted(&location.to_string_lossy()) {
            return None;
        }
        let metadata = match self.symlinks {
            Symlinks::Refuse => location.symlink_metadata(),
            Symlinks::Follow => location.metadata(),
        };
        let metadata = metadata.ok().filter(std::fs::Metadata::is_file)?;
        let sha256 = data_set.find(path, &Stamp::of(&metadata))?;
        Some(Part { sha256, bytes: metadata.len(), profile: None })
    }

    fn read<'p>(
        &'p self,
        paths: &'p [&'p String],
        data_set: Option<&'p DataSet<'p>>,
    ) -> Result<Vec<Part>, Error> {
        if paths.len() <= MOST_MEASURED {
            let size = |path: &&String| self.location(path).metadata().map_or(0, |metadata| metadata.len());
            self.context.announce(paths.iter().map(size).sum());
        }
        let begin = |path: &'p &'p String| Reading::new(*self, path, data_set);
        hash_files(paths, Algorithms::SHA256, self.symlinks, begin, self.context)
    }
}

/// Sizes of more files than this are not determined beforehand, because that would take noticeable time.
const MOST_MEASURED: usize = 10_000;

/// A file that is hashed and counted, and whose first bytes are checked.
struct Reading<'a> {
    files: Files<'a>,
    /// Relative to the root.
    relative: &'a str,
    path: PathBuf,
    head: Head,
    profiler: Option<Profiler>,
    data_set: Option<&'a DataSet<'a>>,
}

impl<'a> Reading<'a> {
    fn new(files: Files<'a>, relative: &'a str, data_set: Option<&'a DataSet<'a>>) -> Self {
        let path = files.location(relative);
        let name = path.to_string_lossy();
        let profiler = files.columns.and_then(|columns| Profiler::for_file(&name, columns));
        Self { files, relative, head: Head(Vec::new()), profiler, data_set, path }
    }

    /// Counts formats that need a second read because they cannot be counted while the file is hashed.
    fn count_again(&self, stamp: Stamp) -> Result<Option<Result<Profile, ProfileError>>, Error> {
        let Some(columns) = self.files.columns else { return Ok(None) };
        let name = self.path.to_string_lossy();
        if !needs_second_read(&name) {
            return Ok(None);
        }
        let (file, before) = open_regular(&self.path, self.files.symlinks)?;
        let profile = count_file(&name, file, columns);
        let after = std::fs::metadata(&self.path).map_err(|source| digest::Error::io(&self.path, source))?;
        if [before, after].iter().any(|metadata| Stamp::of(metadata) != stamp) {
            return Err(digest::Error::Changed { path: self.path.clone() }.into());
        }
        Ok(profile)
    }
}

impl Consumer for Reading<'_> {
    fn is_slow(&self) -> bool {
        self.profiler.is_some()
    }

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
        if let (None, Some(data_set)) = (&profile, self.data_set) {
            data_set.remember(self.relative, &stamp, &sha256);
        }
        Ok(Part { sha256, bytes: digests.size, profile: profile.map(Box::new) })
    }
}

/// Keeps the first bytes of a file, to check that it is not a pointer.
pub(super) struct Head(pub(super) Vec<u8>);

impl Consumer for Head {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        let wanted = LOOK.saturating_sub(self.0.len()).min(chunk.len());
        self.0.extend_from_slice(&chunk[..wanted]);
        Ok(())
    }
}

impl Head {
    /// Refuses a pointer in place of data.
    pub(super) fn check(&self, path: &Path, size: u64) -> Result<(), Error> {
        match pointer::recognise(&path.to_string_lossy(), &self.0, size) {
            Some(pointer) => Err(Error::Pointer { path: path.to_path_buf(), pointer }),
            None => Ok(()),
        }
    }
}
