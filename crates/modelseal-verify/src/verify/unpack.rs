//! Verifies while extracting, so that the files on disk are the ones that were verified.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Error, Options, Target, Verification, Verified, archive, seal, verify_directory};
use crate::report::Verdict;
use modelseal_format::archive::{Entry, Flushing, Frame};
use modelseal_format::digest::Consumer;
use modelseal_format::release::Receiver;

/// Extracts an archive to `destination`, which must not exist or must be an empty directory.
///
/// The files go to a temporary directory next to it, which is renamed only if the report passes. After any other
/// verdict, and after an error, nothing is left.
///
/// # Errors
/// [`Error`].
pub fn unpack(target: &Target, destination: &Path, options: &Options<'_>) -> Result<Verified, Error> {
    let verification = Verification::new(target, options)?;
    check_destination(destination)?;
    match seal::open(target)? {
        seal::Opened::Archive(source) => extract(verification, source, destination, Purpose::Deploy),
        seal::Opened::Directory(path) => Err(Error::NotAnArchive(path)),
    }
}

/// Verifies a target and makes its files available in a directory. The files of a directory stay where they are. Those
/// of an archive go to `place`, which must not exist. An archive that fails leaves nothing there.
///
/// # Errors
/// As for [`verify`](super::verify()) and [`unpack`].
pub fn materialize(target: &Target, place: &Path, options: &Options<'_>) -> Result<Verified, Error> {
    let verification = Verification::new(target, options)?;
    match seal::open(target)? {
        seal::Opened::Archive(source) => {
            check_destination(place)?;
            extract(verification, source, place, Purpose::Examine)
        }
        seal::Opened::Directory(root) => verify_directory(verification, root),
    }
}

/// What the extracted files are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The release must be accepted, and its files must survive a crash.
    Deploy,
    /// The release must not be refused. Its files are temporary.
    Examine,
}

/// Extracts to a temporary directory, which becomes `destination` if the verdict is good enough for the purpose.
fn extract(
    mut verification: Verification<'_>,
    source: Box<dyn Read + Send>,
    destination: &Path,
    purpose: Purpose,
) -> Result<Verified, Error> {
    let parent = match destination.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        return Err(Error::Missing(parent.to_path_buf()));
    }
    let written = |source| Error::Write { path: destination.to_path_buf(), source };
    let temporary = tempfile::Builder::new()
        .prefix(".modelseal-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(written)?;
    let _unfinished = verification.options.context.cancel().unfinished(temporary.path());
    let root = temporary.path().join("artifact");
    DirBuilder::new().create(&root).map_err(written)?;

    let mut extractor = Extractor {
        root: root.clone(),
        made: PathBuf::new(),
        open: None,
        time: SystemTime::UNIX_EPOCH,
        failed: None,
    };
    let result = archive::verify(&mut verification, source, &mut extractor);
    if let Some((path, source)) = extractor.failed {
        // The file's real path is a temporary one, so the error names the final path instead.
        return Err(Error::Write { path: destination.join(path), source });
    }
    result?;
    let is_extracted = match (purpose, verification.report.verdict()) {
        (_, Verdict::Pass) => true,
        (purpose, Verdict::Inconclusive) => purpose == Purpose::Examine,
        (_, Verdict::Fail) => false,
    };
    if is_extracted {
        if purpose == Purpose::Deploy {
            make_durable(&root).map_err(written)?;
        }
        verification.options.context.check().map_err(|_| Error::Interrupted)?;
        // This replaces an empty directory, but nothing else that has appeared since the check.
        fs::rename(&root, destination).map_err(written)?;
        if purpose == Purpose::Deploy {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(written)?;
        }
    }
    Ok(verification.end(is_extracted.then(|| destination.to_path_buf())))
}

fn check_destination(destination: &Path) -> Result<(), Error> {
    let refused = |reason| Err(Error::Destination { path: destination.to_path_buf(), reason });
    match fs::symlink_metadata(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::io(destination, source)),
        Ok(metadata) if metadata.is_symlink() => refused("is a symbolic link"),
        Ok(metadata) if !metadata.is_dir() => refused("exists and is not a directory"),
        Ok(_) => {
            let mut entries = fs::read_dir(destination).map_err(|source| Error::io(destination, source))?;
            if entries.next().is_some() { refused("is not empty") } else { Ok(()) }
        }
    }
}

/// Flushes everything below a directory to disk, with one call for the whole file system.
#[cfg(target_os = "linux")]
fn make_durable(root: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(root)?)?)
}

/// Flushes everything below a directory to disk, file by file.
#[cfg(not(target_os = "linux"))]
fn make_durable(root: &Path) -> io::Result<()> {
    for entry in walkdir::WalkDir::new(root) {
        File::open(entry?.path())?.sync_all()?;
    }
    Ok(())
}

/// Writes files below a new private directory. Their names were validated with the manifest, so none of them leads out
/// of it.
struct Extractor {
    root: PathBuf,
    /// The last directory that was created.
    made: PathBuf,
    open: Option<(String, Flushing)>,
    /// The modification time of every file.
    time: SystemTime,
    /// The first error, with the path of the file in the archive. The reader learns only that there was an error.
    failed: Option<(String, io::Error)>,
}

impl Extractor {
    fn note<T>(&mut self, path: &str, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let copy = io::Error::from(error.kind());
            self.failed.get_or_insert((path.to_string(), error));
            copy
        })
    }
}

impl Extractor {
    /// Creates the directory of a file. Files arrive in the order of their paths, so most are in the same directory as
    /// the one before.
    fn make_parent(&mut self, location: &Path) -> io::Result<()> {
        match location.parent() {
            Some(parent) if parent != self.made => {
                fs::create_dir_all(parent)?;
                self.made = parent.to_path_buf();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Receiver for Extractor {
    fn begin(&mut self, frame: &Frame, entry: &Entry<'_>) -> io::Result<()> {
        let path = entry.path;
        let location = self.root.join(path);
        // The umask of the user who unpacks applies, as with git.
        let mode = if entry.executable { 0o777 } else { 0o666 };
        let opened = self
            .make_parent(&location)
            .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(mode).open(&location));
        let file = self.note(path, opened)?;
        self.time = SystemTime::UNIX_EPOCH + Duration::from_secs(frame.epoch);
        let file = Flushing::new(file);
        let preallocated = file.preallocate(entry.size);
        self.note(path, preallocated)?;
        self.open = Some((path.to_string(), file));
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some((path, file)) => self.note(&path, file.into_file().set_modified(self.time)),
            None => Ok(()),
        }
    }
}

impl Consumer for Extractor {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        let Some((path, mut file)) = self.open.take() else {
            return Ok(());
        };
        let written = file.write_all(chunk);
        self.note(&path, written)?;
        self.open = Some((path, file));
        Ok(())
    }
}
