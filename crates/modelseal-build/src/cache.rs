//! Digests that earlier builds computed, so that a file nobody has touched since need not be read again.
//!
//! A digest is believed if a message authentication code shows that this user wrote it down since the machine
//! was started, for the very file that is there: the same inode, size and times to the nanosecond, under the
//! same path. Whatever else a cache holds costs a read, and never the truth. docs/decisions/0025.
//!
//! This room knows nothing of recipes, manifests or signatures, and not where a user's directories are.

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

/// What was not used for so long is removed.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// So often it is noted that something is in use.
const NOTED: Duration = Duration::from_secs(24 * 60 * 60);

/// The digests that a user's builds remember.
pub struct Cache {
    directory: PathBuf,
    key: Key,
    now: SystemTime,
    found: AtomicU64,
    failure: OnceLock<io::Error>,
}

/// What is remembered of one data set: a directory of files, or a file.
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
    /// Whether what is written through a memory mapping from now on is noticed.
    is_written_back: bool,
    /// Records of files that were read.
    new: Mutex<Vec<Record>>,
}

impl Cache {
    /// Opens the cache in `directory`, whose entries are only as good as the secret in `key_file` is; makes
    /// what is not there. `now` is when the build began.
    ///
    /// # Errors
    /// Those of the system; [`io::ErrorKind::Unsupported`] where no file system is known whose times can be
    /// relied on; [`io::ErrorKind::PermissionDenied`] if somebody else could write there.
    pub fn open(directory: &Path, key_file: &Path, now: SystemTime) -> io::Result<Self> {
        make_private_directory(directory)?;
        let secret = match read_secret(key_file) {
            Ok(Some(secret)) => secret,
            Ok(None) => make_secret(key_file)?,
            Err(error) => return Err(named(key_file, error)),
        };
        // Another release may look at files in another way.
        let validity = [mtime_trust::boot()?.as_slice(), env!("CARGO_PKG_VERSION").as_bytes()].concat();
        Ok(Self {
            directory: directory.to_path_buf(),
            key: Key::new(&secret, &validity),
            now,
            found: AtomicU64::new(0),
            failure: OnceLock::new(),
        })
    }

    /// How many files were found.
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Why something could not be remembered.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.get()
    }

    /// What is remembered of a data set of at most so many files; `None` where it lies on a file system whose
    /// times cannot be relied on.
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
            // A cache that is removed too early costs time only.
            let _ = file.set_modified(self.now);
        }
    }

    fn remove_unused(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let noted = entry.metadata().and_then(|metadata| metadata.modified());
            if noted.is_ok_and(|noted| self.now.duration_since(noted).is_ok_and(|age| age > KEPT)) {
                // Another build may be faster.
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path, records: &[Record]) -> io::Result<()> {
        self.remove_unused()?;
        let file = tempfile::NamedTempFile::new_in(&self.directory)?;
        Records::write(records, file.as_file())?;
        // A record that a crash damaged is not believed, so nothing waits for the disk.
        file.persist(path)?;
        Ok(())
    }
}

impl DataSet<'_> {
    /// The SHA-256 of the file with this path below the data set's root, if it is remembered for just this file.
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

    /// Has to be called before files are read that were not found: a page that is written through a memory mapping
    /// changes the file's times only if it was written back since the last time.
    pub fn prepare_to_remember(&mut self) {
        if !*self.is_worth_reading.get_mut() {
            return;
        }
        match mtime_trust::write_back(&self.root) {
            Ok(()) => self.is_written_back = true,
            Err(error) => drop(self.cache.failure.set(error)),
        }
    }

    /// Notes what is to be remembered of a file that was read, if its times show that nobody is writing to it.
    pub fn remember(&self, path: &str, stamp: &Stamp, sha256: &Digest) {
        if self.is_written_back && self.is_settled(stamp) {
            let record = Record::new(&self.cache.key, path, stamp, sha256);
            self.new.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        }
    }

    /// Writes down what is to be remembered and what was found, and forgets the rest. If that fails, nothing is
    /// lost but time, and [`Cache::failure`] says why.
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
            // The first one explains those that follow.
            let _ = self.cache.failure.set(error);
        }
    }
}

/// A directory of this user in which nobody else can write.
fn make_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| named(path, error))?;
    let metadata = path.symlink_metadata().map_err(|error| named(path, error))?;
    if !metadata.is_dir() {
        return Err(refused(path, "is not a directory"));
    }
    check_owner(path, &metadata, 0o022)
}

fn check_owner(path: &Path, metadata: &std::fs::Metadata, forbidden: u32) -> io::Result<()> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused(path, "belongs to somebody else"));
    }
    if metadata.mode() & forbidden != 0 {
        return Err(refused(path, "is open to others"));
    }
    Ok(())
}

/// The secret; `None` if there is none, or not a whole one.
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

/// Makes a secret. If another build is faster, what is remembered with this one is lost.
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
