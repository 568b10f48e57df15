//! Whether an archive holds what its manifest says, whoever signed it: for those who are about to sign.

use std::path::Path;

use super::seal::{Opened, open};
use super::{Error, Target, files};
use crate::archive::{ArchiveReader, ReadError};
use crate::digest::{Algorithms, Progress};
use crate::release::{Discard, Seal, read_contents};
use crate::sign::{Bundle, read_bundle};

/// Reads an archive to its end and compares every file with all of its sealed digests. What the seal was
/// signed with comes with it.
///
/// # Errors
/// [`Error`]: it could not be read. `Ok(Err(_))`: what is wrong with it.
pub fn read_whole(path: &Path, progress: Progress<'_>) -> Result<Result<(Seal, Bundle), String>, Error> {
    let source = match open(&Target::Path(path.to_path_buf()))? {
        Opened::Archive(source) => source,
        Opened::Directory(path) => return Err(Error::NotAnArchive(path)),
    };
    let opened = ArchiveReader::new(source).and_then(|mut reader| Ok((reader.read_seal()?, reader)));
    let (entry, reader) = match opened {
        Ok(opened) => opened,
        Err(ReadError::Io(source)) => return Err(Error::io(path, source)),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let (seal, bundle) = match Seal::read(&entry.content) {
        Ok(read) => read,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let contents = read_contents(reader, &seal, Algorithms::ALL, &mut Discard, progress);
    match contents.stopped {
        None => {}
        Some(ReadError::Io(source)) => return Err(Error::io(path, source)),
        Some(error) => return Ok(Err(error.to_string())),
    }
    let mut pairs = seal.manifest.files().iter().zip(&contents.files);
    if let Some(check) = pairs.find_map(|(file, found)| files::compare(file, found)) {
        return Ok(Err(check.message));
    }
    let signature = contents.model_signature.as_deref().map(read_bundle);
    let is_its_own = match &signature {
        None => true,
        Some(bundle) => bundle.as_ref().is_ok_and(|bundle| {
            bundle.payload == seal.model_signature_payload() && bundle.material == seal.material
        }),
    };
    Ok(match is_its_own {
        true => Ok((seal, bundle)),
        false => Err("its `model.sig` is not of this release".to_string()),
    })
}
