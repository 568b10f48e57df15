//! Checks that an archive matches its manifest, regardless of who signed it. Used before signing.

use std::path::Path;

use super::seal::{Opened, open};
use super::{Error, Target, files};
use modelseal_format::archive::{ArchiveReader, ReadError};
use modelseal_format::context::Context;
use modelseal_format::digest::{Algorithms, FileDigests};
use modelseal_format::manifest::Subject;
use modelseal_format::release::{Discard, ModelSignature, Seal, read_contents};

/// Reads an archive to its end and compares every file with all of its sealed digests. `Ok(Err(_))` says what is wrong
/// with the archive.
///
/// # Errors
/// [`Error`] if it could not be read.
pub fn read_whole(path: &Path, context: &Context) -> Result<Result<Seal, String>, Error> {
    let source = match open(&Target::Path(path.to_path_buf()))? {
        Opened::Archive(source) => source,
        Opened::Directory(path) => return Err(Error::NotAnArchive(path)),
    };
    let opened = ArchiveReader::new(source, context).and_then(|mut reader| {
        let (entry, read) = reader.read_seal(Seal::read)?;
        Ok((entry, read, reader))
    });
    let (entry, seal, reader) = match opened {
        Ok((entry, Ok(seal), reader)) => (entry, seal, reader),
        Ok((_, Err(error), _)) => return Ok(Err(error.to_string())),
        Err(ReadError::Io(source)) => return Err(Error::io(path, source)),
        Err(error) => return Ok(Err(error.to_string())),
    };
    if let Err(error) = entry.check_header(&seal.frame()) {
        return Ok(Err(error.to_string()));
    }
    let mut differs = None;
    let mut found = |file: &Subject, digests: &FileDigests| {
        differs = differs.take().or_else(|| files::compare(file, digests));
    };
    let contents = read_contents(reader, &seal, Algorithms::ALL, &mut Discard, &mut found);
    match contents.stopped {
        None => {}
        Some(ReadError::Io(source)) => return Err(Error::io(path, source)),
        Some(error) => return Ok(Err(error.to_string())),
    }
    if let Some(check) = differs {
        return Ok(Err(check.message));
    }
    Ok(match contents.model_signature {
        Some(ModelSignature::Other { .. }) => {
            Err("its `model.sig` does not belong to this release".to_string())
        }
        Some(ModelSignature::Own { .. }) | None => Ok(seal),
    })
}
