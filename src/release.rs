//! A release taken apart: its seal, and how its archive is laid out.
//!
//! Everything that writes an archive or reads one goes through here, so that there is one order of
//! entries. Nothing is trusted and nothing is judged.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::archive::{ArchiveReader, Entry, Frame, ReadError, write_whole};
use crate::digest::{Algorithms, Consumer, Digest, FileDigests, Hasher, Memory, PIECE, Progress};
use crate::manifest::{self, Attestation, MODEL_SIGNATURE_PATH, ParseError, Statement, Subject};
use crate::sign::{self, Bundle, BundleError, Form, KeyError, Material, Signer};

/// What a seal says, its parts fitting together. Who signed it is not known yet.
#[derive(Debug)]
pub struct Seal {
    pub manifest: Statement,
    /// SHA-256 of the payload: the identity of the release.
    pub release: Digest,
    /// What it says about its signer; only ever compared.
    pub material: Material,
}

/// Why bytes are not a seal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    #[error("the seal cannot be read: {0}")]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Manifest(#[from] ParseError),
    #[error("another tool completed it, and it promises a `model.sig`, which such a seal never has")]
    ModelSignature,
}

impl Seal {
    /// Reads a seal strictly; the bundle has what a signature is checked with.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn read(bytes: &[u8]) -> Result<(Self, Bundle), SealError> {
        let bundle = sign::read_bundle(bytes)?;
        let manifest = manifest::parse(&bundle.payload)?;
        if bundle.form == Form::Foreign && manifest.internal().model_signature {
            return Err(SealError::ModelSignature);
        }
        let release = Digest::sha256(&bundle.payload);
        Ok((Self { manifest, release, material: bundle.material.clone() }, bundle))
    }

    /// What every entry of the archive shares.
    pub fn frame(&self) -> Frame {
        frame(&self.manifest)
    }

    /// How long `model.sig` must be, in bytes.
    pub fn model_signature_length(&self) -> u64 {
        sign::bundle_length(self.model_signature_payload().len(), &self.material)
    }

    /// What `model.sig` must be signed over.
    pub fn model_signature_payload(&self) -> Vec<u8> {
        manifest::model_signature_payload(&self.manifest, &self.release)
    }
}

/// What every entry of a release's archive shares.
pub fn frame(manifest: &Statement) -> Frame {
    Frame { directory: manifest.model().directory(), epoch: manifest.internal().source_date_epoch }
}

/// A sealed file as an entry of the archive.
pub fn entry(file: &Subject) -> Entry<'_> {
    Entry { path: &file.name, size: file.size(), executable: file.executable() }
}

/// Why a statement about a release could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot write the statement {}", crate::text::path(path))]
    Write { path: PathBuf, source: io::Error },
}

impl StatementError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        if let StatementError::Key(error) = self { error.hint() } else { None }
    }
}

/// A statement about a release, signed and not written yet.
pub struct SignedStatement {
    /// The bundle.
    pub bytes: Vec<u8>,
    /// What its name ends in: `WHAT.HINT8.sigstore.json`.
    ending: String,
}

impl SignedStatement {
    /// # Errors
    /// [`StatementError::Key`].
    pub fn new(statement: &Attestation, signer: &Signer) -> Result<Self, StatementError> {
        let bytes = sign::write_bundle(&statement.payload(), signer)?;
        let hint = signer.public_key().hint().to_string();
        let ending = format!("{}.{}.sigstore.json", statement.claim().word(), &hint[..8]);
        Ok(Self { bytes, ending })
    }

    /// Writes it beside an archive, in the place of what the same signer said before.
    ///
    /// # Errors
    /// [`StatementError::Write`].
    pub fn write_beside(&self, archive: &Path) -> Result<PathBuf, StatementError> {
        let archive = std::path::absolute(archive).unwrap_or_else(|_| archive.to_path_buf());
        let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = archive.with_file_name(format!("{name}.{}", self.ending));
        match write_whole(&path, &self.bytes) {
            Ok(()) => Ok(path),
            Err(source) => Err(StatementError::Write { path, source }),
        }
    }
}

/// Is handed the content of the files while an archive is read.
pub trait Receiver: Consumer {
    /// Whether it is to be shown the content at all.
    fn wants_content(&self) -> bool {
        true
    }

    /// The content of this entry comes next.
    ///
    /// # Errors
    /// An error ends the reading.
    fn begin(&mut self, frame: &Frame, entry: &Entry<'_>) -> io::Result<()>;

    /// The content is complete; whether it is the sealed one is not known.
    ///
    /// # Errors
    /// An error ends the reading.
    fn end(&mut self) -> io::Result<()>;
}

/// Receives nothing: for reading only.
pub struct Discard;

impl Consumer for Discard {
    fn consume(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

impl Receiver for Discard {
    fn wants_content(&self) -> bool {
        false
    }

    fn begin(&mut self, _: &Frame, _: &Entry<'_>) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What stood in an archive behind its seal, as far as it was read.
#[derive(Debug, Default)]
pub struct Contents {
    /// The bytes of `model.sig`, where it belongs into the archive.
    pub model_signature: Option<Vec<u8>>,
    /// The digests of the files that were reached, in the manifest's order.
    pub files: Vec<FileDigests>,
    /// Why the reading ended before the end.
    pub stopped: Option<ReadError>,
}

/// Reads everything behind the seal, and only as long as each header is the one that belongs there.
///
pub fn read_contents<R: Read + Send>(
    mut reader: ArchiveReader<R>,
    seal: &Seal,
    algorithms: Algorithms,
    receiver: &mut dyn Receiver,
    progress: Progress<'_>,
) -> Contents {
    let mut contents = Contents::default();
    let result = read_entries(&mut reader, seal, algorithms, receiver, progress, &mut contents);
    contents.stopped = result.and_then(|()| reader.finish()).err();
    contents
}

fn read_entries<R: Read + Send>(
    reader: &mut ArchiveReader<R>,
    seal: &Seal,
    algorithms: Algorithms,
    receiver: &mut dyn Receiver,
    progress: Progress<'_>,
    contents: &mut Contents,
) -> Result<(), ReadError> {
    let frame = seal.frame();
    if seal.manifest.internal().model_signature {
        let size = seal.model_signature_length();
        let entry = Entry { path: MODEL_SIGNATURE_PATH, size, executable: false };
        let mut content = Memory(Vec::new());
        receiver.begin(&frame, &entry).map_err(ReadError::Io)?;
        reader.read_entry(&frame, &entry, &mut [&mut content, as_consumer(receiver)], progress)?;
        receiver.end().map_err(ReadError::Io)?;
        contents.model_signature = Some(content.0);
    }
    for file in seal.manifest.files() {
        let entry = entry(file);
        if algorithms == Algorithms::BLAKE3 && !receiver.wants_content() && entry.size > PIECE {
            let blake3 = Some(reader.hash_entry(&frame, &entry, progress)?);
            contents.files.push(FileDigests { size: file.size(), sha256: None, blake3 });
            continue;
        }
        let mut hasher = Hasher::new(algorithms);
        receiver.begin(&frame, &entry).map_err(ReadError::Io)?;
        let mut consumers = hasher.consumers();
        if receiver.wants_content() {
            consumers.push(as_consumer(receiver));
        }
        reader.read_entry(&frame, &entry, &mut consumers, progress)?;
        receiver.end().map_err(ReadError::Io)?;
        contents.files.push(FileDigests { size: file.size(), ..hasher.finish() });
    }
    Ok(())
}

fn as_consumer(receiver: &mut dyn Receiver) -> &mut dyn Consumer {
    receiver
}
