//! Remembers digests from earlier builds, so that an unchanged file need not be read again.
//!
//! A digest is trusted if a message authentication code shows that this user recorded it since the machine was started,
//! for exactly this file: the same inode, the same size, the same times to the nanosecond, and the same path. Anything
//! else in a cache costs a read, but never makes a digest wrong. See docs/decisions/0025.
//!
//! This module does not know about recipes, manifests or signatures, nor where a user's directories are.

mod mtime_trust;
mod records;

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use modelseal_format::digest::{Digest, Stamp, Symlinks, open_regular};
use records::{Key, Record, Records};

/// Cache files that were not used for this long are removed.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How often the use of a cache file is recorded.
const NOTED: Duration = Duration::from_secs(24 * 60 * 60);

/// The digests that a user's builds remember.
pub struct Cache {
    directory: PathBuf,
    key: Key,
    now: SystemTime,
    found: AtomicU64,
    failure: OnceLock<io::Error>,
}

/// The remembered digests of one data set: a directory of files, or a single file.
pub struct DataSet<'a> {
    cache: &'a Cache,
    root: PathBuf,
    path: PathBuf,
    device: u64,
    records: Records,
    /// Which of the records were found.
    used: Vec<AtomicBool>,
    /// Whether a file was not found that could be remembered.
    is_worth_reading: AtomicBool,
    /// Whether later writes through a memory mapping are noticed.
    is_written_back: bool,
    /// Records of files that were read.
    new: Mutex<Vec<Record>>,
}

impl Cache {
    /// Opens the cache in `directory`, and creates what does not exist. `now` is when the build began.
    ///
    /// The entries are only as trustworthy as the secret in `key_file`.
    ///
    /// # Errors
    /// Errors of the system; [`io::ErrorKind::Unsupported`] where no file system with reliable times is known;
    /// [`io::ErrorKind::PermissionDenied`] if another user could write there.
    pub fn open(directory: &Path, key_file: &Path, now: SystemTime) -> io::Result<Self> {
        make_private_directory(directory)?;
        let secret = match read_secret(key_file) {
            Ok(Some(secret)) => secret,
            Ok(None) => make_secret(key_file)?,
            Err(error) => return Err(named(key_file, error)),
        };
        // Another release of modelseal may examine files in another way.
        let validity = [mtime_trust::boot()?.as_slice(), env!("CARGO_PKG_VERSION").as_bytes()].concat();
        Ok(Self {
            directory: directory.to_path_buf(),
            key: Key::new(&secret, &validity),
            now,
            found: AtomicU64::new(0),
            failure: OnceLock::new(),
        })
    }

    /// How many files were found in the cache.
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Why something could not be remembered.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.get()
    }

    /// The remembered digests of a data set with at most `files` files; `None` if it is on a file system whose times
    /// are not reliable.
    pub fn data_set(&self, root: &Path, files: usize) -> Option<DataSet<'_>> {
        let root = root.canonicalize().ok()?;
        let device = mtime_trust::device(&root)?;
        let name = Digest::blake3(root.as_os_str().as_encoded_bytes()).to_string();
        let path = self.directory.join(name);
        let records = match open_regular(&path, Symlinks::Refuse) {
            Ok((file, metadata)) => {
                self.note_use(&file, metadata.modified().ok()?);
                Records::read(file, files).unwrap_or_default()
            }
            Err(_) => Records::default(),
        };
        let used = Vec::from_iter((0..records.count()).map(|_| AtomicBool::new(false)));
        Some(DataSet {
            cache: self,
            root,
            path,
            device,
            records,
            used,
            is_worth_reading: AtomicBool::new(false),
            is_written_back: false,
            new: Mutex::default(),
        })
    }

    fn note_use(&self, file: &File, noted: SystemTime) {
        if self.now.duration_since(noted).is_ok_and(|age| age > NOTED) {
            // Removing a cache too early only costs time.
            let _ = file.set_modified(self.now);
        }
    }

    fn remove_unused(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let noted = entry.metadata().and_then(|metadata| metadata.modified());
            if noted.is_ok_and(|noted| self.now.duration_since(noted).is_ok_and(|age| age > KEPT)) {
                // Another build may have removed it first.
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path, records: &[Record]) -> io::Result<()> {
        self.remove_unused()?;
        let file = tempfile::NamedTempFile::new_in(&self.directory)?;
        Records::write(records, file.as_file())?;
        // A record that a crash damaged is not trusted, so nothing waits for the disk.
        file.persist(path)?;
        Ok(())
    }
}

impl DataSet<'_> {
    /// The SHA-256 of the file at this path below the data set's root, if it is remembered for exactly this file.
    pub fn find(&self, path: &str, stamp: &Stamp) -> Option<Digest> {
        let Some((index, sha256)) = self.records.find(&self.cache.key, path, stamp) else {
            self.is_worth_reading.fetch_or(self.is_settled(stamp), Ordering::Relaxed);
            return None;
        };
        self.used[index].store(true, Ordering::Relaxed);
        self.cache.found.fetch_add(1, Ordering::Relaxed);
        Some(sha256)
    }

    fn is_settled(&self, stamp: &Stamp) -> bool {
        stamp.device() == self.device && mtime_trust::is_settled(stamp, self.cache.now)
    }

    /// Must be called before files are read that were not found.
    ///
    /// A write through a memory mapping changes the file's times only if the page was written back since the previous
    /// write.
    pub fn prepare_to_remember(&mut self) {
        if !*self.is_worth_reading.get_mut() {
            return;
        }
        match mtime_trust::write_back(&self.root) {
            Ok(()) => self.is_written_back = true,
            Err(error) => drop(self.cache.failure.set(error)),
        }
    }

    /// Records the digest of a file that was read, if its times show that no program is writing to it.
    pub fn remember(&self, path: &str, stamp: &Stamp, sha256: &Digest) {
        if self.is_written_back && self.is_settled(stamp) {
            let record = Record::new(&self.cache.key, path, stamp, sha256);
            self.new.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        }
    }

    /// Writes what is to be remembered and what was found, and forgets the rest. A failure costs only time;
    /// [`Cache::failure`] gives the reason.
    pub fn write(self) {
        let mut records = self.new.into_inner().unwrap_or_else(PoisonError::into_inner);
        let used = Vec::from_iter(self.used.into_iter().map(AtomicBool::into_inner));
        if records.is_empty() && used.iter().all(|used| *used) {
            return;
        }
        let old = self.records.iter().zip(used).filter_map(|(record, used)| used.then_some(record));
        records.extend(old);
        records.sort_unstable_by_key(Record::order);
        if let Err(error) = self.cache.write(&self.path, &records) {
            // The first error explains those that follow.
            let _ = self.cache.failure.set(error);
        }
    }
}

/// Creates a directory of this user in which no other user can write.
fn make_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| named(path, error))?;
    let metadata = path.symlink_metadata().map_err(|error| named(path, error))?;
    if !metadata.is_dir() {
        return Err(refused(path, "not a directory"));
    }
    check_owner(path, &metadata, 0o022)
}

fn check_owner(path: &Path, metadata: &std::fs::Metadata, forbidden: u32) -> io::Result<()> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused(path, "belongs to another user"));
    }
    if metadata.mode() & forbidden != 0 {
        return Err(refused(path, "other users can access it"));
    }
    Ok(())
}

/// Reads the secret; `None` if there is none or if it is incomplete.
fn read_secret(path: &Path) -> io::Result<Option<[u8; 32]>> {
    let (file, metadata) = match open_regular(path, Symlinks::Refuse) {
        Ok(opened) => opened,
        Err(modelseal_format::digest::Error::Io { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            return Ok(None);
        }
        Err(modelseal_format::digest::Error::Io { source, .. }) => return Err(source),
        Err(other) => return Err(io::Error::other(other)),
    };
    check_owner(path, &metadata, 0o077)?;
    let mut secret = Vec::new();
    file.take(33).read_to_end(&mut secret)?;
    Ok(secret.try_into().ok())
}

/// Creates a secret. If another build creates one at the same time, what is remembered with this one is lost.
fn make_secret(path: &Path) -> io::Result<[u8; 32]> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let make = || {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let mut file = tempfile::Builder::new()
            .prefix(".cache.")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(directory)?;
        file.write_all(&secret)?;
        file.persist(path)?;
        Ok(secret)
    };
    make().map_err(|error| named(path, error))
}

fn refused(path: &Path, reason: &str) -> io::Error {
    named(path, io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", modelseal_format::display::path(path)))
}
