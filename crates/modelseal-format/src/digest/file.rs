use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use sha2::Digest as _;

use super::blake3_tree::{PIECE, hash_positioned};
use super::tree::kind_of;
use super::{Algorithms, Consumer, Digest, Error, Symlinks, read_through};
use crate::context::Context;

/// The result of reading a file once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigests {
    /// In bytes.
    pub size: u64,
    pub sha256: Option<Digest>,
    pub blake3: Option<Digest>,
}

/// A file on disk that was read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRead {
    pub digests: FileDigests,
    /// Permission bits and type, as returned by `stat`.
    pub mode: u32,
    /// The stamp of the file, the same before and after reading.
    pub stamp: Stamp,
}

/// Identifies a file and its last change. If two stamps are equal, the file was not written in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The number of the device that contains the file. The system assigns it and may change it.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// When content or attributes last changed: seconds since 1970, and nanoseconds. No program can set it.
    pub fn changed(&self) -> (i64, i64) {
        self.changed
    }

    /// All fields as bytes, for hashing.
    pub fn to_bytes(&self) -> [u8; 56] {
        let (modified, changed) = (self.modified, self.changed);
        let times = [modified.0, modified.1, changed.0, changed.1].map(i64::cast_unsigned);
        let fields = [self.device, self.inode, self.size, times[0], times[1], times[2], times[3]];
        let mut bytes = [0; 56];
        bytes.as_chunks_mut().0.copy_from_slice(&fields.map(u64::to_le_bytes));
        bytes
    }
}

/// Computes the chosen digests of bytes that arrive in pieces.
#[derive(Default)]
pub struct Hasher {
    size: u64,
    sha256: Option<Sha256>,
    blake3: Option<Blake3>,
}

impl Hasher {
    pub fn new(algorithms: Algorithms) -> Self {
        Self {
            size: 0,
            sha256: algorithms.sha256.then(Sha256::default),
            blake3: algorithms.blake3.then(Blake3::default),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if let Some(hasher) = &mut self.sha256 {
            hasher.0.update(bytes);
        }
        if let Some(hasher) = &mut self.blake3 {
            hasher.0.update(bytes);
        }
    }

    /// One consumer for each digest, so that they can receive the bytes in parallel. The size is not counted then.
    pub fn consumers(&mut self) -> Vec<&mut dyn Consumer> {
        let mut consumers: Vec<&mut dyn Consumer> = Vec::with_capacity(3);
        if let Some(hasher) = &mut self.sha256 {
            consumers.push(hasher);
        }
        if let Some(hasher) = &mut self.blake3 {
            consumers.push(hasher);
        }
        consumers
    }

    pub fn finish(self) -> FileDigests {
        FileDigests {
            size: self.size,
            sha256: self.sha256.map(|hasher| Digest(hasher.0.finalize().into())),
            blake3: self.blake3.map(|hasher| Digest(hasher.0.finalize().into())),
        }
    }
}

#[derive(Default)]
struct Sha256(sha2::Sha256);

impl Consumer for Sha256 {
    fn is_slow(&self) -> bool {
        true
    }

    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.0.update(chunk);
        Ok(())
    }
}

#[derive(Default)]
struct Blake3(blake3::Hasher);

impl Consumer for Blake3 {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.0.update(chunk);
        Ok(())
    }
}

/// Opens a regular file for reading. Never blocks: a FIFO without a writer is refused.
///
/// # Errors
/// [`Error::NotRegular`] for anything but a regular file. This includes a symbolic link, unless `symlinks` says to
/// follow it. [`Error::Io`].
pub fn open_regular(path: &Path, symlinks: Symlinks) -> Result<(File, Metadata), Error> {
    let mut flags = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    if symlinks == Symlinks::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(source) => return Err(why_not_opened(path, source)),
    };
    let metadata = file.metadata().map_err(|source| Error::io(path, source))?;
    if !metadata.is_file() {
        return Err(Error::NotRegular { path: path.to_path_buf(), kind: kind_of(metadata.file_type()) });
    }
    Ok((file, metadata))
}

/// A link under `O_NOFOLLOW`, a socket or a device without a driver cannot be opened at all. The error names what it
/// is.
fn why_not_opened(path: &Path, source: io::Error) -> Error {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
            Error::NotRegular { path: path.to_path_buf(), kind: kind_of(metadata.file_type()) }
        }
        _ => Error::io(path, source),
    }
}

/// Hashes a regular file in one read. The consumers in `also` receive the same bytes.
///
/// # Errors
/// Like [`open_regular`]; [`Error::Changed`] if the file was modified, truncated or replaced in the meantime.
pub fn hash_file(
    path: &Path,
    algorithms: Algorithms,
    symlinks: Symlinks,
    also: &mut [&mut dyn Consumer],
    context: &Context,
) -> Result<FileRead, Error> {
    let (file, before) = open_regular(path, symlinks)?;
    let read = read_file(file, before.len(), algorithms, also, context);
    let digests = read.map_err(|source| Error::io(path, source))?;
    FileRead::end(path, symlinks, &before, digests)
}

impl FileRead {
    /// The result of reading a file, if the file has not changed in the meantime.
    pub(super) fn end(
        path: &Path,
        symlinks: Symlinks,
        before: &Metadata,
        digests: FileDigests,
    ) -> Result<Self, Error> {
        // Looked up by name: if the name leads to another file by now, the hashed file is no longer there.
        let after = match symlinks {
            Symlinks::Refuse => std::fs::symlink_metadata(path),
            Symlinks::Follow => std::fs::metadata(path),
        };
        let stamp = Stamp::of(before);
        let same = after.is_ok_and(|after| Stamp::of(&after) == stamp);
        if !same || digests.size != before.len() {
            return Err(Error::Changed { path: path.to_path_buf() });
        }
        Ok(Self { digests, mode: before.mode(), stamp })
    }
}

/// Reads a file that should have `size` bytes. If it has a different size, digests may be missing.
fn read_file(
    mut file: File,
    size: u64,
    algorithms: Algorithms,
    also: &mut [&mut dyn Consumer],
    context: &Context,
) -> io::Result<FileDigests> {
    if algorithms == Algorithms::BLAKE3 && also.is_empty() && size > PIECE {
        let (size, blake3) = hash_positioned(&file, size, context)?;
        return Ok(FileDigests { size, sha256: None, blake3 });
    }
    let mut hasher = Hasher::new(algorithms);
    let mut consumers = hasher.consumers();
    for consumer in also {
        consumers.push(*consumer);
    }
    let size = read_through(&mut file, size, &mut consumers, context)?;
    Ok(FileDigests { size, ..hasher.finish() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_file_gives_both_digests_for_every_length() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        for length in [0usize, 1, 4096, (1 << 20) - 1, 1 << 20, (3 << 20) + 7] {
            let bytes: Vec<u8> = (0..length).map(|index| (index % 253) as u8).collect();
            std::fs::write(&path, &bytes).expect("writes");
            let read = hash_file(&path, Algorithms::ALL, Symlinks::Refuse, &mut [], &Context::default());
            let digests = read.expect("hashes").digests;
            assert_eq!(digests.size, length as u64);
            assert_eq!(digests.sha256, Some(Digest::sha256(&bytes)));
            assert_eq!(digests.blake3, Some(Digest::blake3(&bytes)));

            let mut hasher = Hasher::new(Algorithms::ALL);
            bytes.chunks(1000).for_each(|chunk| hasher.update(chunk));
            assert_eq!(hasher.finish(), digests);
        }
    }

    #[test]
    fn open_regular_rejects_links_and_special_files_without_waiting() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "x").expect("writes");
        std::os::unix::fs::symlink("file", at("link")).expect("links");
        std::os::unix::fs::symlink("nowhere", at("dangling")).expect("links");
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RWXU).expect("fifo");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("binds");

        let kind = |name: &str| match open_regular(&at(name), Symlinks::Refuse) {
            Err(Error::NotRegular { kind, .. }) => kind,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(kind("link"), "a symbolic link");
        assert_eq!(kind("dangling"), "a symbolic link");
        assert_eq!(kind("fifo"), "a FIFO");
        assert_eq!(kind("socket"), "a socket");
        assert_eq!(kind("."), "a directory");
        assert!(open_regular(&at("link"), Symlinks::Follow).is_ok());
    }

    /// Writes to the file when it receives the first byte of it.
    struct Meddle<'a>(&'a Path);

    impl Consumer for Meddle<'_> {
        fn consume(&mut self, _: &[u8]) -> io::Result<()> {
            let times = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
            std::fs::write(self.0, "other content")?;
            File::options().write(true).open(self.0)?.set_times(times)
        }
    }

    #[test]
    fn hash_file_refuses_a_file_that_changes_and_gets_its_old_time_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "first content").expect("writes");
        let times = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        let file = File::options().write(true).open(&path).expect("opens");
        file.set_times(times).expect("sets the time");
        let outcome = hash_file(
            &path,
            Algorithms::ALL,
            Symlinks::Refuse,
            &mut [&mut Meddle(&path)],
            &Context::default(),
        );
        assert!(matches!(outcome, Err(Error::Changed { .. })), "{outcome:?}");
    }
}
