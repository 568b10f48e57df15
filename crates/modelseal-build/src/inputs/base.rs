//! A base model: a sealed archive is recorded by its release, anything else by its digest.

use std::io::BufReader;
use std::path::Path;

use super::Error;
use super::source::read_source;
use crate::cache::Cache;
use modelseal_format::archive::{ArchiveReader, ReadError};
use modelseal_format::context::Context;
use modelseal_format::digest::{self, Algorithms, FileDigests, Symlinks, open_regular};
use modelseal_format::manifest::{BaseEvidence, DependencyDigest, Subject};
use modelseal_format::release::{Discard, Seal, read_contents};

/// What was found out about a base model.
#[non_exhaustive]
pub struct BaseFacts {
    pub digest: DependencyDigest,
    pub evidence: BaseEvidence,
}

/// Reads a base model. A sealed archive must be intact. Its signers are not checked, because its release digest is what
/// is sealed. Other files are not read if `cache` knows them.
///
/// # Errors
/// [`Error`].
pub fn read_base(
    path: &Path,
    symlinks: Symlinks,
    cache: Option<&Cache>,
    context: &Context,
) -> Result<BaseFacts, Error> {
    if path.is_file()
        && let Some(facts) = read_release(path, context)?
    {
        return Ok(facts);
    }
    let facts = read_source(path, symlinks, None, cache, context)?;
    let evidence =
        BaseEvidence { bytes: Some(facts.bytes), files: Some(facts.files), ..BaseEvidence::default() };
    Ok(BaseFacts { digest: facts.digest, evidence })
}

/// Returns `None` if the file is not a modelseal archive.
fn read_release(path: &Path, context: &Context) -> Result<Option<BaseFacts>, Error> {
    let (file, _) = open_regular(path, Symlinks::Follow)?;
    let io = |source| Error::Digest(digest::Error::io(path, source));
    let opened = ArchiveReader::new(BufReader::new(file), context)
        .and_then(|mut reader| reader.read_seal(Seal::read).map(|(entry, read)| (reader, entry, read)));
    let (reader, entry, read) = match opened {
        Ok(opened) => opened,
        Err(ReadError::Io(source)) => return Err(io(source)),
        Err(_) => return Ok(None),
    };
    let damaged = |reason: String| Error::BadBase { path: path.to_path_buf(), reason };
    let seal = read.map_err(|error| damaged(error.to_string()))?;
    entry.check_header(&seal.frame()).map_err(|error| damaged(error.to_string()))?;
    let mut changed = None;
    let mut found = |file: &Subject, digests: &FileDigests| {
        if changed.is_none() && digests.blake3 != file.digest.blake3 {
            changed = Some(modelseal_format::display::name(&file.name));
        }
    };
    let contents = read_contents(reader, &seal, Algorithms::BLAKE3, &mut Discard, &mut found);
    match contents.stopped {
        Some(ReadError::Io(source)) => return Err(io(source)),
        Some(error) => return Err(damaged(error.to_string())),
        None => {}
    }
    if let Some(name) = changed {
        return Err(damaged(format!("{name} differs from the sealed file")));
    }
    let files = seal.manifest.files();
    Ok(Some(BaseFacts {
        digest: DependencyDigest::file(seal.release),
        evidence: BaseEvidence {
            model: Some(seal.manifest.model().clone()),
            files: Some(files.len() as u64),
            bytes: Some(files.iter().map(Subject::size).sum()),
        },
    }))
}
