//! A release in parts: its seal, and the layout of its archive.
//!
//! All code that writes or reads an archive uses this module, so there is only one order of entries. This module makes
//! no trust decision and applies no policy.

mod model_signature;
#[cfg(feature = "signing")]
mod signed_statement;

use std::io::{self, Read, Write};

use crate::archive::{ArchiveReader, Entry, Frame, ReadError};
use crate::canonical::{Canonical, Counted};
use crate::digest::{Algorithms, Consumer, Digest, FileDigests, Hasher, PIECE};
use crate::manifest::{MODEL_SIGNATURE_PATH, Manifest, ManifestReader, ParseError, ReadManifest, Subject};
use crate::sign::{self, Bundle, BundleError, Form, PublicKey, ReadBundle, SignatureError, SignedBundle};

pub use model_signature::{ModelSignature, ModelSignatureReader};
#[cfg(feature = "signing")]
pub use signed_statement::{SignedStatement, StatementError};

/// A seal that was read and whose parts are consistent. Its signer is not verified yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct Seal {
    pub manifest: Manifest,
    /// SHA-256 of the payload: the identity of the release.
    pub release: Digest,
    /// Holds what the signature is checked with. What it says about its signer is only ever compared, never trusted.
    pub bundle: Bundle,
    /// Length of the payload in bytes.
    length: u64,
    /// The seal as it was read, if another tool completed it.
    foreign: Option<Vec<u8>>,
}

/// Why bytes are not a seal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No seal was read; the text gives the reason.
    #[error("{0}")]
    Absent(String),
    #[error("the seal cannot be read: {0}")]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Manifest(#[from] ParseError),
    #[error("the manifest promises a `model.sig`, but a seal completed by another tool never has one")]
    ModelSignature,
}

impl Seal {
    /// Reads a seal strictly, from front to back. Keeps its text only if another tool completed it.
    ///
    /// # Errors
    /// Errors of the source. `Ok(Err(_))` if the bytes are not a seal.
    pub fn read(source: &mut dyn Read) -> io::Result<Result<Self, SealError>> {
        let mut reader = ManifestReader::default();
        Ok(match sign::read_bundle_from(source, &mut reader)? {
            Ok(ReadBundle { bundle, foreign }) => {
                reader.write_all(bundle.payload())?;
                Self::of(bundle, foreign, reader)
            }
            Err(error) => Err(error.into()),
        })
    }

    fn of(bundle: Bundle, foreign: Option<Vec<u8>>, reader: ManifestReader) -> Result<Self, SealError> {
        let ReadManifest { statement: manifest, length, digest: release } = reader.finish()?;
        if bundle.form == Form::Foreign && manifest.internal().model_signature {
            return Err(SealError::ModelSignature);
        }
        Ok(Self { manifest, release, bundle, length, foreign })
    }

    /// The signed payload: the manifest, written exactly as it was read.
    pub fn payload(&self) -> Counted<&Manifest> {
        Counted { document: &self.manifest, length: self.length }
    }

    /// Checks the signature with a key that the caller trusts.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), SignatureError> {
        self.bundle.verify_over(&self.payload(), key)
    }

    /// The seal as it was read, byte for byte.
    pub fn text(&self) -> Box<dyn Canonical + '_> {
        match &self.foreign {
            Some(text) => Box::new(text),
            None => {
                let Bundle { signature, material, .. } = &self.bundle;
                Box::new(SignedBundle::new(self.payload(), signature, material.clone()))
            }
        }
    }

    /// The values that all entries of the archive share.
    pub fn frame(&self) -> Frame {
        frame(&self.manifest)
    }
}

/// The values that all entries of a release's archive share.
pub fn frame(manifest: &Manifest) -> Frame {
    Frame { directory: manifest.model().directory(), epoch: manifest.internal().source_date_epoch }
}

/// A sealed file as an entry of the archive.
pub fn entry(file: &Subject) -> Entry<'_> {
    Entry { path: &file.name, size: file.size(), executable: file.executable() }
}

/// Receives the content of the files while an archive is read.
pub trait Receiver: Consumer {
    /// Whether this receiver needs the content at all.
    fn wants_content(&self) -> bool {
        true
    }

    /// Announces that the content of `entry` comes next.
    ///
    /// # Errors
    /// Any error stops the reading.
    fn begin(&mut self, frame: &Frame, entry: &Entry<'_>) -> io::Result<()>;

    /// Announces that the content is complete. It is not yet known whether it matches the seal.
    ///
    /// # Errors
    /// Any error stops the reading.
    fn end(&mut self) -> io::Result<()>;
}

/// A receiver that ignores all content, for reading only.
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

/// What an archive contains after its seal, as far as it was read.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Contents {
    /// The entry at the position of `model.sig`, if the manifest promises one.
    pub model_signature: Option<ModelSignature>,
    /// How many files were reached, in the manifest's order.
    pub reached: usize,
    /// Why the reading stopped before the end.
    pub stopped: Option<ReadError>,
}

/// Total size of the files in bytes.
pub fn total_size(files: &[Subject]) -> u64 {
    files.iter().fold(0, |total, file| total.saturating_add(file.size()))
}

/// Reads all entries after the seal. Stops at the first header that is not the expected one. Calls `found` with the
/// digests of each file.
pub fn read_contents<R: Read + Send>(
    mut reader: ArchiveReader<R>,
    seal: &Seal,
    algorithms: Algorithms,
    receiver: &mut dyn Receiver,
    found: &mut dyn FnMut(&Subject, &FileDigests),
) -> Contents {
    let mut contents = Contents::default();
    reader.context().announce(total_size(seal.manifest.files()));
    let mut reading = Reading { reader: &mut reader, frame: seal.frame(), algorithms, receiver };
    let result = reading.read(seal, found, &mut contents);
    contents.stopped = result.and_then(|()| reader.finish()).err();
    contents
}

struct Reading<'a, R: Read> {
    reader: &'a mut ArchiveReader<R>,
    frame: Frame,
    algorithms: Algorithms,
    receiver: &'a mut dyn Receiver,
}

impl<R: Read + Send> Reading<'_, R> {
    fn read(
        &mut self,
        seal: &Seal,
        found: &mut dyn FnMut(&Subject, &FileDigests),
        contents: &mut Contents,
    ) -> Result<(), ReadError> {
        if seal.manifest.internal().model_signature {
            contents.model_signature = Some(self.model_signature(ModelSignatureReader::new(seal))?);
        }
        for file in seal.manifest.files() {
            found(file, &self.file(file)?);
            contents.reached += 1;
        }
        Ok(())
    }

    fn model_signature(
        &mut self,
        mut content: ModelSignatureReader<'_>,
    ) -> Result<ModelSignature, ReadError> {
        let entry = Entry { path: MODEL_SIGNATURE_PATH, size: content.expected(), executable: false };
        self.receiver.begin(&self.frame, &entry).map_err(ReadError::Io)?;
        let consumers: &mut [&mut dyn Consumer] = &mut [&mut content, as_consumer(self.receiver)];
        self.reader.read_entry(&self.frame, &entry, consumers)?;
        self.receiver.end().map_err(ReadError::Io)?;
        Ok(content.finish())
    }

    fn file(&mut self, file: &Subject) -> Result<FileDigests, ReadError> {
        let (entry, wants_content) = (entry(file), self.receiver.wants_content());
        if self.algorithms == Algorithms::BLAKE3 && !wants_content && entry.size > PIECE {
            let blake3 = Some(self.reader.hash_entry(&self.frame, &entry)?);
            return Ok(FileDigests { size: file.size(), sha256: None, blake3 });
        }
        let mut hasher = Hasher::new(self.algorithms);
        self.receiver.begin(&self.frame, &entry).map_err(ReadError::Io)?;
        let mut consumers = hasher.consumers();
        if wants_content {
            consumers.push(as_consumer(self.receiver));
        }
        self.reader.read_entry(&self.frame, &entry, &mut consumers)?;
        self.receiver.end().map_err(ReadError::Io)?;
        Ok(FileDigests { size: file.size(), ..hasher.finish() })
    }
}

fn as_consumer(receiver: &mut dyn Receiver) -> &mut dyn Consumer {
    receiver
}
