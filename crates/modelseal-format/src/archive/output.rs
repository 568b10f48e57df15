//! The archive on disk. It is complete under its name, or it does not exist.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use super::exact::{Exact, does_not_fit};
use super::flushing::Flushing;
use super::gzip::{self, GzipWriter};
use super::source::Source;
use super::{Compression, WriteError};
use crate::canonical::Canonical;
use crate::context::{Context, Unfinished, threads};
use crate::digest::{self, Algorithms, Digest, Hasher, Stamp, Symlinks, fill, open_regular, read_through};

/// Number of bytes compared at a time.
const CHUNK: usize = 1 << 20;

/// Size of the write buffer in bytes. Small pieces are collected up to this size.
const BUFFER: usize = 256 << 10;

/// How writing an archive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Written,
    /// The same bytes already existed. Nothing was changed.
    Identical,
}

/// A level at which zstd is faster than a disk.
const ZSTD_LEVEL: i32 = 3;

/// Input of one zstd job in bytes. It is part of the format: the compressed bytes depend on it.
const ZSTD_JOB: u32 = 8 << 20;

/// Receives the bytes of a tar. The file gets its final name only when it is complete and on disk.
pub struct ArchiveFile {
    path: PathBuf,
    temporary: TempPath,
    unfinished: Unfinished,
    context: Context,
    sink: Sink,
}

/// The destination of the tar bytes.
enum Sink {
    Plain(BufWriter<Flushing>),
    Gzip(GzipWriter<Flushing>),
    /// zstd has its own threads.
    Zstd(zstd::stream::write::Encoder<'static, Flushing>),
}

/// Reserved space in an archive for bytes that are known later.
#[derive(Debug, Clone, Copy)]
pub struct Reservation(Place);

#[derive(Debug, Clone, Copy)]
enum Place {
    Plain { offset: u64, length: u64 },
    Gzip(gzip::Reservation),
}

impl ArchiveFile {
    /// Begins a temporary file next to `path`, in an existing directory.
    ///
    /// # Errors
    /// [`WriteError::Io`], [`WriteError::NoDirectory`].
    pub fn create(path: &Path, compression: Compression, context: &Context) -> Result<Self, WriteError> {
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
        let unfinished = context.cancel().unfinished(&temporary);
        let sink = Sink::new(Flushing::new(file), compression).map_err(failed)?;
        Ok(Self { path: path.to_path_buf(), temporary, unfinished, context: context.clone(), sink })
    }

    /// Allocates disk space for an uncompressed archive of `length` bytes. Does nothing if the archive is compressed.
    ///
    /// # Errors
    /// [`WriteError::Io`] if there is not enough space.
    pub fn preallocate(&self, length: u64) -> Result<(), WriteError> {
        match &self.sink {
            Sink::Plain(file) => file.get_ref().preallocate(length),
            Sink::Gzip(_) | Sink::Zstd(_) => Ok(()),
        }
        .map_err(|source| WriteError::io(&self.path, source))
    }

    /// Whether space can be reserved for content that is known later.
    pub fn can_reserve(&self) -> bool {
        !matches!(self.sink, Sink::Zstd(_))
    }

    /// Reserves `length` bytes.
    ///
    /// # Errors
    /// Errors of the system; [`io::ErrorKind::Unsupported`].
    pub fn reserve(&mut self, length: u64) -> io::Result<Reservation> {
        let place = match &mut self.sink {
            Sink::Plain(file) => {
                let offset = file.stream_position()?;
                io::copy(&mut io::repeat(0).take(length), file)?;
                Place::Plain { offset, length }
            }
            Sink::Gzip(writer) => Place::Gzip(writer.reserve(length)?),
            Sink::Zstd(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Reservation(place))
    }

    /// Writes a document into reserved space, which it must fill exactly.
    ///
    /// # Errors
    /// Errors of the system, and an error if the document has another length.
    pub fn fill(&mut self, reservation: Reservation, document: &dyn Canonical) -> io::Result<()> {
        match (&mut self.sink, reservation.0) {
            (Sink::Plain(file), Place::Plain { offset, length }) => {
                file.seek(SeekFrom::Start(offset))?;
                let mut exact = Exact { output: &mut *file, left: length };
                document.write_to(&mut exact)?;
                exact.end()?;
                file.seek(SeekFrom::End(0)).map(drop)
            }
            (Sink::Gzip(writer), Place::Gzip(reservation)) => writer.fill(reservation, document),
            _ => Err(does_not_fit()),
        }
    }

    /// Writes a document for which space could have been reserved. The resulting bytes are the same.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn write_reserved(&mut self, document: &dyn Canonical) -> io::Result<()> {
        match &mut self.sink {
            Sink::Gzip(writer) => {
                let reservation = writer.reserve(document.length())?;
                writer.fill(reservation, document)
            }
            Sink::Plain(_) | Sink::Zstd(_) => document.write_to(self),
        }
    }

    /// The final path of the archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Completes the file and gives it its name. With `force`, it replaces an existing file. With `digest`, returns the
    /// SHA-256 of the uncompressed tar, which may take another read.
    ///
    /// # Errors
    /// [`WriteError::Exists`] if another file has that name, [`WriteError::Io`].
    pub fn finish(self, force: bool, digest: bool) -> Result<(Outcome, Option<Digest>), WriteError> {
        let path = self.path.clone();
        let failed = |source: io::Error| WriteError::io(&path, source);
        let mut file = self.sink.finish().map_err(failed)?;
        let digest = if digest { Some(hash_tar(&mut file, &self.context).map_err(failed)?) } else { None };
        file.sync_all().map_err(failed)?;
        self.context.check().map_err(failed)?;

        let temporary = NamedTempFile::from_parts(file, self.temporary);
        let outcome = if force {
            temporary.persist(&path).map_err(|error| failed(error.error))?;
            Outcome::Written
        } else {
            match temporary.persist_noclobber(&path) {
                Ok(_) => Outcome::Written,
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    if !same_content(error.file.path(), &path, &self.context).map_err(failed)? {
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
            Sink::Gzip(writer) => writer.write(bytes),
            Sink::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn new(file: Flushing, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Sink::Plain(BufWriter::with_capacity(BUFFER, file)),
            Compression::Gzip => Sink::Gzip(GzipWriter::new(file, threads())?),
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(file, ZSTD_LEVEL)?;
                // With workers, the bytes do not depend on the number of workers. Without workers, they differ.
                encoder.multithread(threads() as u32)?;
                encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(ZSTD_JOB))?;
                encoder.include_checksum(true)?;
                Sink::Zstd(encoder)
            }
        })
    }

    fn finish(self) -> io::Result<File> {
        let finished = match self {
            Sink::Plain(file) => file.into_inner().map_err(|error| error.into_error())?,
            Sink::Gzip(writer) => writer.finish()?,
            Sink::Zstd(encoder) => encoder.finish()?,
        };
        Ok(finished.into_file())
    }
}

/// Writes a small file atomically: it is complete and on disk under its name, or nothing changes. Replaces an existing
/// file.
///
/// # Errors
/// Errors of the system.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    staged(path, bytes)?.persist(path)?;
    File::open(directory_of(path))?.sync_all()
}

/// Writes a new small file atomically. Does not replace an existing file.
///
/// # Errors
/// Errors of the system; [`io::ErrorKind::AlreadyExists`].
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    staged(path, bytes)?.persist_noclobber(path)?;
    File::open(directory_of(path))?.sync_all()
}

/// Writes these bytes to a temporary file and syncs it to disk.
fn staged(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let directory = directory_of(path);
    if !directory.is_dir() {
        let reason = format!("the directory {} does not exist", crate::display::path(directory));
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

/// The SHA-256 of the tar. The file must be read again, because the first bytes were written last.
fn hash_tar(file: &mut File, context: &Context) -> io::Result<Digest> {
    file.seek(SeekFrom::Start(0))?;
    let mut tar = Source::new(file, context.cancel()).map_err(io::Error::other)?;
    let mut hasher = Hasher::new(Algorithms::SHA256);
    read_through(&mut tar, u64::MAX, &mut hasher.consumers(), context)?;
    hasher.finish().sha256.ok_or_else(|| io::Error::other("nothing was hashed"))
}

/// Whether two files have the same bytes. `false` for anything that is not a regular file.
fn same_content(left: &Path, right: &Path, context: &Context) -> io::Result<bool> {
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
        let left_length = fill(&mut left, &mut left_chunk, context)?;
        let right_length = fill(&mut right, &mut right_chunk, context)?;
        if left_chunk[..left_length] != right_chunk[..right_length] {
            return Ok(false);
        }
        if left_length == 0 {
            return Ok(true);
        }
    }
}
