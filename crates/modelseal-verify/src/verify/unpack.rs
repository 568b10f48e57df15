//! Verifying while extracting: what is on the disk afterwards is what was verified.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Error, Options, Target, Verification, archive, seal};
use crate::report::{Report, Verdict};
use modelseal_format::archive::{Entry, Flushing, Frame};
use modelseal_format::digest::Consumer;
use modelseal_format::interrupt::Unfinished;
use modelseal_format::release::Receiver;

/// Extracts an archive to `destination`, which must not exist, or be an empty directory.
///
/// Everything goes to a temporary directory beside it, which is renamed only if the report passes: after
/// any other verdict, and after an error, there is nothing.
///
/// # Errors
/// [`Error`].
pub fn unpack(target: &Target, destination: &Path, options: &Options<'_>) -> Result<Report, Error> {
    let mut verification = Verification::new(target, options)?;
    check_destination(destination)?;
    let source = match seal::open(target)? {
        seal::Opened::Archive(source) => source,
        seal::Opened::Directory(path) => {
            return Err(Error::Kind { path, kind: "a directory, which is unpacked already" });
        }
    };
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
    let _unfinished = Unfinished::new(temporary.path());
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
        // The path on the disk is a temporary one: name the file of the archive instead.
        return Err(Error::Write { path: destination.join(path), source });
    }
    result?;
    if verification.report.verdict() == Verdict::Pass {
        make_durable(&root).map_err(written)?;
        modelseal_format::interrupt::check().map_err(|_| Error::Interrupted)?;
        // An empty directory is replaced; anything that appeared meanwhile is not.
        fs::rename(&root, destination).map_err(written)?;
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(written)?;
    }
    Ok(verification.report)
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

/// Everything below a directory reaches the disk: one call where the system has one for a whole file system.
#[cfg(target_os = "linux")]
fn make_durable(root: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(root)?)?)
}

/// Everything below a directory reaches the disk, file by file.
#[cfg(not(target_os = "linux"))]
fn make_durable(root: &Path) -> io::Result<()> {
    for entry in walkdir::WalkDir::new(root) {
        File::open(entry?.path())?.sync_all()?;
    }
    Ok(())
}

/// Writes files below a directory that nobody else knows. Their names have been validated with the
/// manifest, so none leads out of it.
struct Extractor {
    root: PathBuf,
    /// The last directory that was made.
    made: PathBuf,
    open: Option<(String, Flushing)>,
    /// The modification time of every file.
    time: SystemTime,
    /// The first error, with the file of the archive: the reader only learns that there was one.
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
    /// Files come in the order of their paths, so most lie in the directory of the one before.
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
        // The umask of whoever unpacks applies, as it does for git.
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
