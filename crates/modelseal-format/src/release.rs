//! A release taken apart: its seal, and how its archive is laid out.
//!
//! Everything that writes an archive or reads one goes through here, so that there is one order of
//! entries. Nothing is trusted and nothing is judged.

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

/// What a seal says, its parts fitting together. Who signed it is not known yet.
#[derive(Debug)]
pub struct Seal {
    pub manifest: Manifest,
    /// SHA-256 of the payload: the identity of the release.
    pub release: Digest,
    /// What its signature is checked with; what it says about its signer is only ever compared.
    pub bundle: Bundle,
    /// Of the payload, in bytes.
    length: u64,
    /// The seal as it is, if another tool completed it.
    foreign: Option<Vec<u8>>,
}

/// Why bytes are not a seal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Nothing was read: why.
    #[error("{0}")]
    Absent(String),
    #[error("the seal cannot be read: {0}")]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Manifest(#[from] ParseError),
    #[error("another tool completed it, and it promises a `model.sig`, which such a seal never has")]
    ModelSignature,
}

impl Seal {
    /// Reads a seal strictly, from front to back. Nothing of it is kept but what it says.
    ///
    /// # Errors
    /// Those of the source. `Ok(Err(_))`: it is not a seal.
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

    /// What was signed: the manifest, which is written as it was read.
    pub fn payload(&self) -> Counted<&Manifest> {
        Counted { document: &self.manifest, length: self.length }
    }

    /// Checks the signature by a key that the caller trusts.
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

    /// What every entry of the archive shares.
    pub fn frame(&self) -> Frame {
        frame(&self.manifest)
    }
}

/// What every entry of a release's archive shares.
pub fn frame(manifest: &Manifest) -> Frame {
    Frame { directory: manifest.model().directory(), epoch: manifest.internal().source_date_epoch }
}

/// A sealed file as an entry of the archive.
pub fn entry(file: &Subject) -> Entry<'_> {
    Entry { path: &file.name, size: file.size(), executable: file.executable() }
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
    /// What stood in the place of `model.sig`, where it belongs into the archive.
    pub model_signature: Option<ModelSignature>,
    /// How many files were reached, in the manifest's order.
    pub reached: usize,
    /// Why the reading ended before the end.
    pub stopped: Option<ReadError>,
}

/// The bytes of all files together.
pub fn total_size(files: &[Subject]) -> u64 {
    files.iter().fold(0, |total, file| total.saturating_add(file.size()))
}

/// Reads everything behind the seal, and only as long as each header is the one that belongs there; `found` is
/// told what each file is.
pub fn read_contents<R: Read + Send>(
    mut reader: ArchiveReader<R>,
    seal: &Seal,
    algorithms: Algorithms,
    receiver: &mut dyn Receiver,
    found: &mut dyn FnMut(&Subject, &FileDigests),
) -> Contents {
    let mut contents = Contents::default();
    reader.context().expect(total_size(seal.manifest.files()));
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
