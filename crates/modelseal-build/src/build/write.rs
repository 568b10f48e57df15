//! Writes the archive. The seal comes first, but its content is known last.
//!
//! Where an archive can reserve space for the seals, whose length does not depend on digests or signatures, every file
//! is read once: it is hashed and archived at the same time. A zstd archive cannot be filled in later. Its files are
//! hashed first, and the digests are compared when the files are read again.

use std::io;
use std::ops::Range;

use super::Error;
use super::plan::Plan;
use crate::content::has_content;
use crate::inputs::{self, Artifact, ListedFile};
use modelseal_format::archive::{ArchiveFile, ArchiveWriter, Entry, Reservation, WriteError, least_length};
use modelseal_format::canonical::{Canonical, Counted};
use modelseal_format::context::Context;
use modelseal_format::digest::{Consumer, Digest, Memory, map_files};
use modelseal_format::manifest::{
    ContentHash, FileFacts, LONGEST_SEAL, MODEL_SIGNATURE_PATH, Manifest, SEAL_PATH, Subject,
    model_signature_payload,
};
use modelseal_format::release;
use modelseal_format::sign::{self, SignedBundle, Signer};

/// Files up to this size, in bytes, are read several at a time, because opening them costs more than hashing them.
const SMALL: u64 = 1 << 20;

/// How many bytes of small files are in memory at a time.
const BATCH: u64 = 8 << 20;

/// How many small files are in memory at a time.
const BATCH_FILES: usize = 1024;

/// An archive whose content is complete.
pub(super) struct Written {
    pub(super) file: ArchiveFile,
    pub(super) release: Digest,
    pub(super) files: u64,
    /// Total size of the model files, in bytes.
    pub(super) bytes: u64,
}

impl Written {
    fn new(file: ArchiveFile, release: Digest, statement: &Manifest) -> Self {
        let files = statement.files();
        let bytes = files.iter().map(Subject::size).sum();
        Self { file, release, files: files.len() as u64, bytes }
    }
}

/// Writes the archive in one pass over the files, which are taken from the plan. Only for archives that can reserve
/// space.
pub(super) fn in_one_pass(
    plan: &mut Plan,
    key: &Signer,
    file: ArchiveFile,
    context: &Context,
) -> Result<Written, Error> {
    let path = file.path().to_path_buf();
    let failed = |source: io::Error| Error::Write(WriteError::io(&path, source));
    let listed = std::mem::take(&mut plan.artifact.files);
    let mut statement = plan.statement(listed.into_iter().map(draft).collect());
    // Digests have a fixed width, so the length does not change when they are filled in.
    let length = statement.length();
    let mut archive = ArchiveWriter::new(file, release::frame(&statement));
    let material = key.material();
    let signature = plan.internal.model_signature.then(|| {
        let payload = model_signature_payload(&statement, Digest([0; 32]));
        sign::bundle_length(payload.length(), &material)
    });
    let seal = sign::bundle_length(length, &material);
    check_seal(seal)?;
    preallocate(&archive, &statement, [seal].into_iter().chain(signature))?;
    let reservations = Reservations::reserve(&mut archive, seal, signature);
    let reservations = reservations.map_err(failed)?;

    context.announce(release::total_size(statement.files()));
    for batch in batches(statement.files()) {
        append_batch(&mut archive, &plan.artifact, &mut statement.files_mut()[batch], context)
            .map_err(|error| error.at(&path))?;
    }
    statement.files_are_known();
    let mut file = archive.finish().map_err(failed)?;

    let seals = Seals::sign(Counted { document: &statement, length }, key)?;
    reservations.fill(&mut file, &seals).map_err(failed)?;
    Ok(Written::new(file, seals.release, &statement))
}

/// Writes the archive of a complete manifest, for which every file is read again.
pub(super) fn sealed(
    statement: &Manifest,
    artifact: &Artifact,
    seals: Seals<'_>,
    file: ArchiveFile,
    context: &Context,
) -> Result<Written, Error> {
    let path = file.path().to_path_buf();
    let failed = |source: io::Error| Error::Write(WriteError::io(&path, source));
    let mut archive = ArchiveWriter::new(file, release::frame(statement));
    let release = seals.release;
    let signature = seals.model_signature.as_deref().map(Canonical::length);
    let seal = seals.manifest.length();
    check_seal(seal)?;
    preallocate(&archive, statement, [seal].into_iter().chain(signature))?;
    seals.append(&mut archive).map_err(failed)?;
    context.announce(release::total_size(statement.files()));
    for sealed in statement.files() {
        let mut content = artifact.open(sealed).map_err(inputs::Error::from)?;
        let copied = archive.append_from(&release::entry(sealed), &mut content);
        let copied = copied.map_err(|source| match content.error() {
            Some(error) => Error::Input(error.into()),
            None => failed(source),
        })?;
        context.advance(copied);
        content.finish(sealed).map_err(inputs::Error::from)?;
    }
    Ok(Written::new(archive.finish().map_err(failed)?, release, statement))
}

/// Checks that the seal is short enough to be read again.
fn check_seal(length: u64) -> Result<(), Error> {
    if length > LONGEST_SEAL {
        return Err(Error::Seal(length));
    }
    Ok(())
}

/// Preallocates disk space for the archive of this manifest, with seals of these lengths.
fn preallocate(
    archive: &ArchiveWriter<ArchiveFile>,
    statement: &Manifest,
    seals: impl Iterator<Item = u64>,
) -> Result<(), WriteError> {
    let files = statement.files().iter().map(Subject::size);
    archive.output().preallocate(least_length(seals.chain(files)))
}

/// The space reserved for the seals.
struct Reservations {
    manifest: Reservation,
    model_signature: Option<Reservation>,
}

impl Reservations {
    fn reserve(
        archive: &mut ArchiveWriter<ArchiveFile>,
        manifest: u64,
        model_signature: Option<u64>,
    ) -> io::Result<Self> {
        Ok(Self {
            manifest: archive.reserve(&seal_entry(manifest))?,
            model_signature: model_signature
                .map(|size| archive.reserve(&signature_entry(size)))
                .transpose()?,
        })
    }

    fn fill(self, file: &mut ArchiveFile, seals: &Seals<'_>) -> io::Result<()> {
        file.fill(self.manifest, &*seals.manifest)?;
        match self.model_signature.zip(seals.model_signature.as_deref()) {
            Some((reservation, signature)) => file.fill(reservation, signature),
            None => Ok(()),
        }
    }
}

/// The signed parts of a release.
pub(super) struct Seals<'a> {
    pub(super) release: Digest,
    pub(super) manifest: Box<dyn Canonical + 'a>,
    /// `model.sig`, if the manifest promises one.
    pub(super) model_signature: Option<Box<dyn Canonical + 'a>>,
}

impl<'a> Seals<'a> {
    /// Signs a complete manifest.
    pub(super) fn sign(statement: Counted<&'a Manifest>, key: &Signer) -> Result<Self, Error> {
        let manifest = statement.document;
        let release = statement.sha256();
        let sealed = Box::new(SignedBundle::sign(statement, key)?);
        let model_signature: Option<Box<dyn Canonical + 'a>> = match manifest.internal().model_signature {
            true => Some(Box::new(SignedBundle::sign(
                Counted::of(model_signature_payload(manifest, release)),
                key,
            )?)),
            false => None,
        };
        Ok(Self { release, manifest: sealed, model_signature })
    }

    fn append(self, archive: &mut ArchiveWriter<ArchiveFile>) -> io::Result<()> {
        archive.append_reserved(&seal_entry(self.manifest.length()), &*self.manifest)?;
        match self.model_signature.as_deref() {
            Some(signature) => archive.append_reserved(&signature_entry(signature.length()), signature),
            None => Ok(()),
        }
    }
}

fn seal_entry(size: u64) -> Entry<'static> {
    Entry { path: SEAL_PATH, size, executable: false }
}

fn signature_entry(size: u64) -> Entry<'static> {
    Entry { path: MODEL_SIGNATURE_PATH, size, executable: false }
}

/// A file whose digests are not known yet.
fn draft(listed: ListedFile) -> Subject {
    let unknown = Digest([0; 32]);
    let content = has_content(&listed.path).then(|| ContentHash::from(0));
    Subject::file(listed.path, unknown, unknown, FileFacts { content, ..listed.facts })
}

/// Splits files into batches, in their order: small files together, large files alone.
fn batches(files: &[Subject]) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut start = 0;
    let mut bytes = 0;
    for (index, file) in files.iter().enumerate() {
        let size = file.size();
        if index > start && (size > SMALL || bytes + size > BATCH || index - start >= BATCH_FILES) {
            batches.push(start..index);
            (start, bytes) = (index, 0);
        }
        // A large file fills its batch by itself.
        bytes += if size > SMALL { BATCH + 1 } else { size };
    }
    if start < files.len() {
        batches.push(start..files.len());
    }
    batches
}

/// Archives these files, and fills in their digests and what was measured.
fn append_batch(
    archive: &mut ArchiveWriter<ArchiveFile>,
    artifact: &Artifact,
    batch: &mut [Subject],
    context: &Context,
) -> Result<(), Failure> {
    let read = |file: &Subject, content: &mut dyn Consumer| {
        let listed = FileFacts { size: file.size(), executable: file.executable(), content: None };
        artifact.read(&file.name, listed, content, context)
    };
    if let [file] = batch {
        let entry = release::entry(file);
        let (digest, facts) =
            archive.append_shown(&entry, |content| read(file, content).map_err(Failure::Input))?;
        (file.digest, file.annotations) = (digest, Some(facts));
        return Ok(());
    }
    let found = map_files(batch, context, |file| {
        let mut content = Memory(Vec::with_capacity(file.size() as usize));
        Ok::<_, inputs::Error>((read(file, &mut content)?, content.0))
    });
    for (file, ((digest, facts), content)) in batch.iter_mut().zip(found.map_err(Failure::Input)?) {
        archive.append(&release::entry(file), &content).map_err(Failure::Output)?;
        (file.digest, file.annotations) = (digest, Some(facts));
    }
    Ok(())
}

/// Which side of the copy failed.
enum Failure {
    Input(inputs::Error),
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl Failure {
    fn at(self, path: &std::path::Path) -> Error {
        match self {
            Failure::Input(error) => Error::Input(error),
            Failure::Output(source) => Error::Write(WriteError::io(path, source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_batches_hold_one_large_file_or_a_bounded_set_of_small_ones() {
        let sizes = [0, 5, SMALL, SMALL + 1, 0, 0, 1 << 40, SMALL, SMALL, 7];
        let many = std::iter::repeat_n(SMALL, 20).chain(std::iter::repeat_n(0, 3000));
        let files: Vec<Subject> = sizes
            .into_iter()
            .chain(many)
            .map(|size| {
                let facts = FileFacts { size, executable: false, content: None };
                draft(ListedFile { path: String::new(), facts })
            })
            .collect();
        let batches = batches(&files);
        assert!(batches.iter().cloned().flatten().eq(0..files.len()));
        for batch in &batches {
            let files = &files[batch.clone()];
            let total: u64 = files.iter().map(Subject::size).sum();
            assert!(files.len() == 1 || (total <= BATCH && files.len() <= BATCH_FILES));
            assert!(files.len() == 1 || files.iter().all(|file| file.size() <= SMALL));
        }
        assert_eq!(batches[..3], [0..3, 3..4, 4..6]);
    }
}
