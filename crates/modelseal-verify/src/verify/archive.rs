//! Step 3: every byte of the archive is what modelseal would have written.

use std::io::{self, Read};

use super::{Error, Verification, files};
use crate::report::id::{ARCHIVE, FILES, SEAL};
use crate::report::{Check, Status};
use modelseal_format::archive::{ArchiveReader, Entry, Found, ReadError};
use modelseal_format::digest::FileDigests;
use modelseal_format::display::count;
use modelseal_format::manifest::{SEAL_PATH, Subject};
use modelseal_format::release::{Receiver, Seal, read_contents};

/// Reads an archive to its end, or to the first byte that was not signed.
pub(super) fn verify(
    verification: &mut Verification<'_>,
    source: Box<dyn Read + Send>,
    receiver: &mut dyn Receiver,
) -> Result<(), Error> {
    let opened = ArchiveReader::new(source, &verification.options.context).and_then(|mut reader| {
        let (entry, read) = reader.read_seal(Seal::read)?;
        Ok((reader, entry, read))
    });
    let (reader, entry, read) = match opened {
        Ok(opened) => opened,
        Err(ReadError::Io(source)) => return Err(Error::io(verification.target.path(), source)),
        Err(error) => {
            verification.add(Check::fail(SEAL, error.to_string()));
            verification.not_reached("everything (there is no readable seal)");
            return Ok(());
        }
    };
    let Some(seal) = verification.seal_and_signature(read) else {
        return Ok(());
    };
    if let Err(error) = entry.check_header(&seal.frame()) {
        verification.add(stopped(&error));
        let files = count(seal.manifest.files().len() as u64, "file", "files");
        verification.not_reached(&format!("{files} in the archive"));
        return Ok(());
    }
    if receiver.wants_content() {
        extract_seal(receiver, &seal).map_err(|source| Error::io(verification.target.path(), source))?;
    }
    contents(verification, reader, seal, receiver)
}

fn contents(
    verification: &mut Verification<'_>,
    reader: ArchiveReader<Box<dyn Read + Send>>,
    seal: Seal,
    receiver: &mut dyn Receiver,
) -> Result<(), Error> {
    let sealed = seal.manifest.files();
    let options = verification.options;
    let mut findings = Vec::new();
    let mut found = |file: &Subject, digests: &FileDigests| findings.extend(files::compare(file, digests));
    let contents = read_contents(reader, &seal, options.hash, receiver, &mut found);
    let reached = contents.reached;
    match &contents.stopped {
        None => {
            let bytes: u64 = sealed.iter().map(|file| file.size()).sum();
            let files = count(sealed.len() as u64, "file", "files");
            let message = format!("{files}, {} bytes", modelseal_format::display::number(bytes));
            verification.add(Check::pass(ARCHIVE, message));
        }
        Some(ReadError::Io(_)) => {}
        Some(error) => verification.add(stopped(error)),
    }
    if let Some(ReadError::Io(source)) = contents.stopped {
        return Err(Error::io(verification.target.path(), source));
    }
    files::add(verification, reached, findings, |_| true);
    if reached < sealed.len() {
        let rest = count((sealed.len() - reached) as u64, "file", "files");
        verification.not_reached(&format!("{rest} after the point where reading stopped"));
        // Not all files matched, even if those that were reached did.
        verification.report.checks.retain(|check| check.id != FILES || check.status != Status::Pass);
        verification.add(Check::skip(FILES, format!("{rest} not reached")));
    }
    verification.finish(seal, contents.model_signature.as_ref())
}

/// Passes the seal to a receiver that extracts files, because the seal has already been read.
fn extract_seal(receiver: &mut dyn Receiver, seal: &Seal) -> io::Result<()> {
    let text = seal.text();
    receiver.begin(&seal.frame(), &Entry { path: SEAL_PATH, size: text.length(), executable: false })?;
    text.write_to(&mut Shown(receiver))?;
    receiver.end()
}

/// A writer that passes everything to a receiver.
struct Shown<'a>(&'a mut dyn Receiver);

impl io::Write for Shown<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.consume(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The check for the first deviation from what was sealed.
fn stopped(error: &ReadError) -> Check {
    let check = Check::fail(ARCHIVE, error.to_string());
    match error {
        ReadError::Header { found: Found::Name(found), expected, .. } => {
            check.differs(modelseal_format::display::name(expected), modelseal_format::display::name(found))
        }
        _ => check,
    }
    .hint("fetch the archive again; if it still fails, do not deploy it")
}
