//! The archive on disk: complete under its name, or not there.

use std::fs::{File, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::Digest as _;
use tempfile::{NamedTempFile, TempPath};

use super::gzip::GzipWriter;
use super::{Compression, WriteError};
use crate::digest::{
    self, Algorithms, Digest, Hasher, Stamp, Symlinks, fill, open_regular, read_through, threads,
};
use crate::interrupt::{self, Unfinished};

/// How much is handed to the threads at a time.
const CHUNK: usize = 1 << 20;

/// How many chunks may wait for each thread.
const WAITING: usize = 4;

/// A level at which zstd is faster than a disk.
const ZSTD_LEVEL: i32 = 3;

/// How much input one zstd job takes. Part of the format: the bytes depend on it.
const ZSTD_JOB: u32 = 8 << 20;

/// How writing an archive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Written,
    /// The very same bytes were there already; nothing was touched.
    Identical,
}

/// Takes the bytes of a tar, compresses and hashes them on threads of their own, and puts the file in its
/// place only when it is complete and on the disk.
pub struct ArchiveFile {
    path: PathBuf,
    temporary: TempPath,
    unfinished: Unfinished,
    chunk: Vec<u8>,
    senders: Vec<SyncSender<Arc<Vec<u8>>>>,
    /// Where the bytes of the tar are all known in their order; see [`Self::patch`].
    hashing: Option<JoinHandle<Digest>>,
    /// `None` once it has been asked how it ended.
    writing: Option<JoinHandle<io::Result<File>>>,
    patches: Vec<(u64, Vec<u8>)>,
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
        let encoder = Encoder::new(file, compression).map_err(failed)?;
        let (to_write, write_queue) = sync_channel(WAITING);
        let mut archive = Self {
            path: path.to_path_buf(),
            unfinished,
            temporary,
            chunk: Vec::with_capacity(CHUNK),
            senders: vec![to_write],
            hashing: None,
            writing: Some(std::thread::spawn(move || write(encoder, &write_queue))),
            patches: Vec::new(),
        };
        if compression != Compression::None {
            let (to_hash, hash_queue) = sync_channel(WAITING);
            archive.senders.push(to_hash);
            archive.hashing = Some(std::thread::spawn(move || hash(&hash_queue)));
        }
        Ok(archive)
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
    pub fn finish(mut self, force: bool, digest: bool) -> Result<(Outcome, Option<Digest>), WriteError> {
        let path = self.path.clone();
        let failed = |source: io::Error| WriteError::io(&path, source);
        self.send().map_err(failed)?;
        self.senders.clear();
        let mut file = self.writing.take().map_or_else(|| Err(ended()), join).map_err(failed)?;
        for (offset, bytes) in &self.patches {
            file.write_all_at(bytes, *offset).map_err(failed)?;
        }
        let digest = match self.hashing.take().map(join) {
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

    fn send(&mut self) -> io::Result<()> {
        interrupt::check()?;
        let chunk = Arc::new(std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK)));
        if self.senders.iter().all(|sender| sender.send(chunk.clone()).is_ok()) {
            return Ok(());
        }
        // A thread that takes no more has failed: its own error says why.
        match self.writing.take().map(join) {
            Some(Err(error)) => Err(error),
            _ => Err(ended()),
        }
    }
}

impl Write for ArchiveFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ended() -> io::Error {
    io::Error::other("the writing ended early")
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

fn join<T>(thread: JoinHandle<T>) -> T {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn hash(queue: &Receiver<Arc<Vec<u8>>>) -> Digest {
    let mut hasher = sha2::Sha256::new();
    for chunk in queue {
        hasher.update(chunk.as_slice());
    }
    Digest(hasher.finalize().into())
}

/// The digest of an archive whose first bytes were known last.
fn hash_again(file: &mut File) -> io::Result<Digest> {
    file.seek(io::SeekFrom::Start(0))?;
    let size = file.metadata()?.len();
    let mut hasher = Hasher::new(Algorithms::SHA256);
    read_through(file, size, &mut hasher.consumers(), &|_| {})?;
    hasher.finish().sha256.ok_or_else(ended)
}

fn write(mut encoder: Encoder, queue: &Receiver<Arc<Vec<u8>>>) -> io::Result<File> {
    for chunk in queue {
        encoder.write_all(&chunk)?;
    }
    encoder.finish()
}

enum Encoder {
    None(File),
    Gzip(GzipWriter<File>),
    Zstd(zstd::stream::write::Encoder<'static, File>),
}

impl Encoder {
    fn new(file: File, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Encoder::None(file),
            Compression::Gzip => Encoder::Gzip(GzipWriter::new(file)?),
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(file, ZSTD_LEVEL)?;
                // With workers the bytes do not depend on how many; without any they differ.
                encoder.multithread(threads() as u32)?;
                encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(ZSTD_JOB))?;
                encoder.include_checksum(true)?;
                Encoder::Zstd(encoder)
            }
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::None(file) => file.write_all(bytes),
            Encoder::Gzip(writer) => writer.write_all(bytes),
            Encoder::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<File> {
        match self {
            Encoder::None(file) => Ok(file),
            Encoder::Gzip(writer) => writer.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
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
