//! Step 1: there is exactly one seal, it is well-formed, and this version knows its format.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Error, Target, Verification};
use crate::report::Check;
use crate::report::id::{RELEASE, SEAL};
use modelseal_format::archive::{ArchiveReader, ReadError};
use modelseal_format::context::Context;
use modelseal_format::digest::{self, Symlinks, open_regular};
use modelseal_format::manifest::{LONGEST_SEAL, SEAL_PATH};
use modelseal_format::release::{Seal, SealError};

/// An opened target.
pub(super) enum Opened {
    Archive(Box<dyn Read + Send>),
    Directory(PathBuf),
}

/// Opens a target. It never blocks, except on standard input.
pub(super) fn open(target: &Target) -> Result<Opened, Error> {
    let path = match target {
        Target::StandardInput => return Ok(Opened::Archive(Box::new(io::stdin()))),
        Target::Path(path) => path,
    };
    let metadata = std::fs::metadata(path).map_err(|source| Error::io(path, source))?;
    if metadata.is_dir() {
        return Ok(Opened::Directory(path.clone()));
    }
    Ok(Opened::Archive(Box::new(open_file(path)?)))
}

fn open_file(path: &Path) -> Result<File, Error> {
    match open_regular(path, Symlinks::Follow) {
        Ok((file, _)) => Ok(file),
        Err(digest::Error::NotRegular { path, kind }) => Err(Error::Kind { path, kind }),
        Err(digest::Error::Io { path, source }) => Err(Error::io(&path, source)),
        Err(other) => Err(other.into()),
    }
}

/// Reads the seal file of a directory. `Ok(Err(_))` says what is wrong with it.
pub(super) fn read_file(root: &Path) -> Result<Result<Seal, SealError>, Error> {
    let path = root.join(SEAL_PATH);
    let absent = |reason| Ok(Err(SealError::Absent(reason)));
    let (file, metadata) = match open_regular(&path, Symlinks::Refuse) {
        Ok(opened) => opened,
        Err(digest::Error::NotRegular { kind, .. }) => {
            return absent(format!("`{SEAL_PATH}` is {kind}"));
        }
        Err(digest::Error::Io { source, .. })
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return absent(format!("there is no seal (`{SEAL_PATH}`)"));
        }
        Err(other) => return Err(other.into()),
    };
    if metadata.len() > LONGEST_SEAL {
        return absent(format!("`{SEAL_PATH}` is longer than {LONGEST_SEAL} bytes"));
    }
    Seal::read(&mut file.take(LONGEST_SEAL)).map_err(|source| Error::io(&path, source))
}

/// Adds the result of reading the seal to the report.
pub(super) fn check(verification: &mut Verification<'_>, read: Result<Seal, SealError>) -> Option<Seal> {
    let seal = match read {
        Ok(seal) => seal,
        Err(error) => {
            verification.add(Check::fail(SEAL, error.to_string()));
            verification.not_reached("everything after the seal (the seal cannot be read)");
            return None;
        }
    };
    let report = &mut verification.report;
    report.release = Some(seal.release);
    report.model = Some(seal.manifest.model().clone());
    report.model_digest = seal.manifest.model_digest();
    report.origin = Some(seal.manifest.internal().origin);
    report.missing = seal.manifest.internal().missing.clone();
    report.files = Some(seal.manifest.files().len() as u64);
    let release = format!("release sha256:{}", modelseal_format::display::short(&seal.release.to_string()));
    verification.add(Check::pass(SEAL, release));
    if let Some(demanded) = verification.options.release {
        verification.add(if demanded == seal.release {
            Check::pass(RELEASE, "as demanded")
        } else {
            Check::fail(RELEASE, "this is not the demanded release")
                .differs(format!("sha256:{demanded}"), format!("sha256:{}", seal.release))
                .hint("this is another build of the model: fetch the right one")
        });
    }
    Some(seal)
}

/// A seal that was read for display. Nothing about it is verified.
pub enum Sealed {
    Read {
        seal: Box<Seal>,
    },
    /// Why there is no seal to show.
    Unreadable(String),
}

/// Reads the seal of an archive or a directory, or a bare seal file.
///
/// # Errors
/// [`Error`] if the target could not be opened or read.
pub fn read_sealed(target: &Target, context: &Context) -> Result<Sealed, Error> {
    let read = match open(target)? {
        Opened::Directory(root) => read_file(&root)?,
        Opened::Archive(source) => read_from_archive(target, source, context)?,
    };
    Ok(match read {
        Ok(seal) => Sealed::Read { seal: Box::new(seal) },
        Err(error) => Sealed::Unreadable(error.to_string()),
    })
}

fn read_from_archive(
    target: &Target,
    source: Box<dyn Read + Send>,
    context: &Context,
) -> Result<Result<Seal, SealError>, Error> {
    let absent = |reason| Ok(Err(SealError::Absent(reason)));
    let read = ArchiveReader::new(source, context).and_then(|mut reader| reader.read_seal(Seal::read));
    match (read, target) {
        (Ok((_, read)), _) => Ok(read),
        (Err(ReadError::Io(source)), _) => Err(Error::io(target.path(), source)),
        // It may be a bare seal, such as the seal file of a directory.
        (Err(ReadError::NotAnArchive), Target::Path(path)) => {
            let mut file = open_file(path)?.take(LONGEST_SEAL);
            match Seal::read(&mut file).map_err(|source| Error::io(path, source))? {
                Err(SealError::Bundle(_)) => absent(ReadError::NotAnArchive.to_string()),
                read => Ok(read),
            }
        }
        (Err(error), _) => absent(error.to_string()),
    }
}
