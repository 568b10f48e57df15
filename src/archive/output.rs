//! The archive on disk: complete under its name, or not there.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use super::compress::{Compressing, Encoder};
use super::flushing::Flushing;
use super::{Compression, WriteError};
use crate::digest::{self, Algorithms, Digest, Hasher, Stamp, Symlinks, fill, open_regular, read_through};
use crate::interrupt::{self, Unfinished};

/// How much is compared at a time.
const CHUNK: usize = 1 << 20;

/// Small pieces are gathered up to this before they are written.
const BUFFER: usize = 256 << 10;

/// How writing an archive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Written,
    /// The very same bytes were there already; nothing was touched.
    Identical,
}

/// Takes the bytes of a tar, and puts the file in its place only when it is complete and on the disk.
pub struct ArchiveFile {
    path: PathBuf,
    temporary: TempPath,
    unfinished: Unfinished,
    sink: Sink,
    patches: Vec<(u64, Vec<u8>)>,
}

/// Where the bytes of the tar go.
enum Sink {
    /// To the file as they are: whoever shows large files has a thread for that already.
    Plain(BufWriter<Flushing>),
    /// To threads that compress and hash.
    Compressed(Compressing),
}

impl ArchiveFile {
    /// Begins a temporary file beside `path`, in a directory that exists.
    ///
    /// # Errors
    /// [`WriteError::Io`], [`WriteError::NoDirectory`].
    pub fn create(path: &Path, compression: Compression) -> Result<Self, WriteError> {
        let failed = |source| WriteError::io(path, source);
        if !directory_of(path).is_dir() {
            return Err(WriteError::NoDirectory(directory_of(path).to_path_buf()));
        }
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let (file, temporary) = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".tmp")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory_of(path))
            .map_err(failed)?
            .into_parts();
        let unfinished = Unfinished::new(&temporary);
        let file = Flushing::new(file);
        let sink = match compression {
            Compression::None => Sink::Plain(BufWriter::with_capacity(BUFFER, file)),
            Compression::Gzip => Sink::Compressed(Compressing::new(Encoder::gzip(file).map_err(failed)?)),
            Compression::Zstd => Sink::Compressed(Compressing::new(Encoder::zstd(file).map_err(failed)?)),
        };
        Ok(Self { path: path.to_path_buf(), temporary, unfinished, sink, patches: Vec::new() })
    }

    /// Puts bytes into a place that was written before. Only an uncompressed archive has places.
    pub fn patch(&mut self, offset: u64, bytes: Vec<u8>) {
        self.patches.push((offset, bytes));
    }

    /// Where the archive will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Completes the file and gives it its name; with `force` in the place of whatever is there.
    /// Returns the SHA-256 of the uncompressed tar, if that is wanted: it may take another read.
    ///
    /// # Errors
    /// [`WriteError::Exists`] if something else has that name, [`WriteError::Io`].
    pub fn finish(self, force: bool, digest: bool) -> Result<(Outcome, Option<Digest>), WriteError> {
        let path = self.path.clone();
        let failed = |source: io::Error| WriteError::io(&path, source);
        let (mut file, computed) = self.sink.finish().map_err(failed)?;
        for (offset, bytes) in &self.patches {
            file.write_all_at(bytes, *offset).map_err(failed)?;
        }
        let digest = match computed {
            Some(computed) => digest.then_some(computed),
            None if digest => Some(hash_again(&mut file).map_err(failed)?),
            None => None,
        };
        file.sync_all().map_err(failed)?;
        interrupt::check().map_err(failed)?;

        let temporary = NamedTempFile::from_parts(file, self.temporary);
        let outcome = if force {
            temporary.persist(&path).map_err(|error| failed(error.error))?;
            Outcome::Written
        } else {
            match temporary.persist_noclobber(&path) {
                Ok(_) => Outcome::Written,
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    if !same_content(error.file.path(), &path).map_err(failed)? {
                        return Err(WriteError::Exists(path));
                    }
                    Outcome::Identical
                }
                Err(error) => return Err(failed(error.error)),
            }
        };
        drop(self.unfinished);
        File::open(directory_of(&path)).and_then(|directory| directory.sync_all()).map_err(failed)?;
        Ok((outcome, digest))
    }
}

impl Write for ArchiveFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Plain(file) => file.write(bytes),
            Sink::Compressed(compressing) => compressing.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    /// The complete file, and its SHA-256 where all bytes of the tar have passed in their order.
    fn finish(self) -> io::Result<(File, Option<Digest>)> {
        match self {
            Sink::Plain(file) => {
                let file = file.into_inner().map_err(|error| error.into_error())?;
                Ok((file.into_file(), None))
            }
            Sink::Compressed(compressing) => {
                let (file, digest) = compressing.finish()?;
                Ok((file, Some(digest)))
            }
        }
    }
}

/// Writes a small file: complete and on the disk under its name, in the place of whatever was there, or not
/// at all.
///
/// # Errors
/// Those of the system.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    staged(path, bytes)?.persist(path)?;
    File::open(directory_of(path))?.sync_all()
}

/// Writes a small file, complete or not at all, where there is none yet.
///
/// # Errors
/// Those of the system; [`io::ErrorKind::AlreadyExists`].
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    staged(path, bytes)?.persist_noclobber(path)?;
    File::open(directory_of(path))?.sync_all()
}

/// These bytes, safe on the disk, in a file without a name that anybody uses.
fn staged(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let directory = directory_of(path);
    if !directory.is_dir() {
        let reason = format!("the directory {} does not exist", crate::text::path(directory));
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

/// The digest of an archive whose first bytes were known last.
fn hash_again(file: &mut File) -> io::Result<Digest> {
    file.seek(io::SeekFrom::Start(0))?;
    let size = file.metadata()?.len();
    let mut hasher = Hasher::new(Algorithms::SHA256);
    read_through(file, size, &mut hasher.consumers(), &|_| {})?;
    hasher.finish().sha256.ok_or_else(|| io::Error::other("nothing was hashed"))
}

/// Whether two files hold the same bytes. What is not a regular file never does.
fn same_content(left: &Path, right: &Path) -> io::Result<bool> {
    let open = |path: &Path| match open_regular(path, Symlinks::Follow) {
        Ok(opened) => Ok(Some(opened)),
        Err(digest::Error::NotRegular { .. }) => Ok(None),
        Err(digest::Error::Io { source, .. }) => Err(source),
        Err(other) => Err(io::Error::other(other)),
    };
    let (Some((left, left_metadata)), Some((right, right_metadata))) = (open(left)?, open(right)?) else {
        return Ok(false);
    };
    if left_metadata.len() != right_metadata.len() {
        return Ok(false);
    }
    if Stamp::of(&left_metadata) == Stamp::of(&right_metadata) {
        return Ok(true);
    }
    let (mut left, mut right) = (io::BufReader::new(left), io::BufReader::new(right));
    let (mut left_chunk, mut right_chunk) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let left_length = fill(&mut left, &mut left_chunk)?;
        let right_length = fill(&mut right, &mut right_chunk)?;
        if left_chunk[..left_length] != right_chunk[..right_length] {
            return Ok(false);
        }
        if left_length == 0 {
            return Ok(true);
        }
    }
}
