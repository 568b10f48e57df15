//! Writing the archive: the seal stands first, but what it says is known last.
//!
//! Where an archive has room left for the seals, whose length does not depend on digests or signatures, every
//! file is read once, hashed and archived at the same time. With zstd nothing can be filled in: the files are
//! hashed first, and compared with that when they are read again.

use std::io;

use super::Error;
use super::plan::Plan;
use crate::archive::{ArchiveFile, ArchiveWriter, Entry, Room, WriteError};
use crate::content::has_content;
use crate::digest::{Digest, Memory, Progress, map_files};
use crate::inputs::{self, Artifact, ListedFile};
use crate::manifest::{
    ContentHash, FileFacts, MODEL_SIGNATURE_PATH, SEAL_PATH, Statement, Subject, model_signature_payload,
};
use crate::release;
use crate::sign::{self, Signer};

/// Files up to this size are read several at a time, because opening them costs more than hashing them.
const SMALL: u64 = 1 << 20;

/// How many bytes of small files are held at a time.
const BATCH: u64 = 8 << 20;

/// How many small files are held at a time.
const BATCH_FILES: usize = 1024;

/// An archive whose content is complete.
pub(super) struct Written {
    pub(super) file: ArchiveFile,
    pub(super) release: Digest,
}

/// Reads every file once. For archives that have rooms.
pub(super) fn in_one_pass(
    plan: &Plan,
    key: &Signer,
    file: ArchiveFile,
    progress: Progress<'_>,
) -> Result<Written, Error> {
    let path = file.path().to_path_buf();
    let failed = |source: io::Error| Error::Write(WriteError::io(&path, source));
    let draft = plan.statement(plan.artifact.files.iter().map(draft).collect());
    let mut archive = ArchiveWriter::new(file, release::frame(&draft));
    let material = key.material();
    let length = |payload: &[u8]| sign::bundle_length(payload.len(), &material);
    let signature = plan.internal.model_signature.then(|| model_signature_payload(&draft, &Digest([0; 32])));
    let rooms =
        Rooms::reserve(&mut archive, length(&draft.payload()), signature.map(|payload| length(&payload)))
            .map_err(failed)?;
    drop(draft);

    let mut files = Vec::with_capacity(plan.artifact.files.len());
    for batch in batches(&plan.artifact.files) {
        append_batch(&mut archive, plan, batch, progress, &mut files).map_err(|error| error.at(&path))?;
    }
    let mut file = archive.finish().map_err(failed)?;

    let statement = plan.statement(files);
    let seals = Seals::sign(&statement, key)?;
    rooms.fill(&mut file, &seals).map_err(failed)?;
    Ok(Written { file, release: seals.release })
}

/// Reads every file again for the archive of a statement that is complete.
pub(super) fn sealed(
    statement: &Statement,
    artifact: &Artifact,
    seals: Seals,
    file: ArchiveFile,
    progress: Progress<'_>,
) -> Result<Written, Error> {
    let path = file.path().to_path_buf();
    let failed = |source: io::Error| Error::Write(WriteError::io(&path, source));
    let mut archive = ArchiveWriter::new(file, release::frame(statement));
    let release = seals.release;
    seals.append(&mut archive).map_err(failed)?;
    for sealed in statement.files() {
        let mut content = artifact.open(sealed).map_err(inputs::Error::from)?;
        let copied = archive.append_from(&release::entry(sealed), &mut content);
        let copied = copied.map_err(|source| match content.error() {
            Some(error) => Error::Input(error.into()),
            None => failed(source),
        })?;
        progress(copied);
        content.finish(sealed).map_err(inputs::Error::from)?;
    }
    Ok(Written { file: archive.finish().map_err(failed)?, release })
}

/// Where the seals will be.
struct Rooms {
    manifest: Room,
    model_signature: Option<Room>,
}

impl Rooms {
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

    fn fill(self, file: &mut ArchiveFile, seals: &Seals) -> io::Result<()> {
        file.fill(self.manifest, &seals.manifest)?;
        match self.model_signature.zip(seals.model_signature.as_ref()) {
            Some((room, signature)) => file.fill(room, signature),
            None => Ok(()),
        }
    }
}

/// What is signed of a release.
pub(super) struct Seals {
    pub(super) release: Digest,
    pub(super) manifest: Vec<u8>,
    /// `model.sig`, where the manifest promises one.
    pub(super) model_signature: Option<Vec<u8>>,
}

impl Seals {
    /// Signs a statement that is complete.
    pub(super) fn sign(statement: &Statement, key: &Signer) -> Result<Self, Error> {
        let payload = statement.payload();
        let release = Digest::sha256(&payload);
        let manifest = sign::write_bundle(&payload, key)?;
        drop(payload);
        let signature = || sign::write_bundle(&model_signature_payload(statement, &release), key);
        let model_signature = statement.internal().model_signature.then(signature).transpose()?;
        Ok(Self { release, manifest, model_signature })
    }

    fn append(self, archive: &mut ArchiveWriter<ArchiveFile>) -> io::Result<()> {
        archive.append_room(&seal_entry(self.manifest.len() as u64), &self.manifest)?;
        match &self.model_signature {
            Some(signature) => archive.append_room(&signature_entry(signature.len() as u64), signature),
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

/// A file whose digests are not known yet. They have a fixed width, so the manifest has its final length.
fn draft(listed: &ListedFile) -> Subject {
    let unknown = Digest([0; 32]);
    let content = has_content(&listed.path).then(|| ContentHash::from(0));
    Subject::file(listed.path.clone(), unknown, unknown, FileFacts { content, ..listed.facts })
}

/// Small files in batches, large ones alone; the order stays.
fn batches(files: &[ListedFile]) -> Vec<&[ListedFile]> {
    let mut batches = Vec::new();
    let mut start = 0;
    let mut bytes = 0;
    for (index, file) in files.iter().enumerate() {
        let size = file.facts.size;
        if index > start && (size > SMALL || bytes + size > BATCH || index - start >= BATCH_FILES) {
            batches.push(&files[start..index]);
            (start, bytes) = (index, 0);
        }
        // A large file fills its batch by itself.
        bytes += if size > SMALL { BATCH + 1 } else { size };
    }
    if start < files.len() {
        batches.push(&files[start..]);
    }
    batches
}

fn append_batch(
    archive: &mut ArchiveWriter<ArchiveFile>,
    plan: &Plan,
    batch: &[ListedFile],
    progress: Progress<'_>,
    files: &mut Vec<Subject>,
) -> Result<(), Failure> {
    let artifact = &plan.artifact;
    if let [listed] = batch {
        let shown = archive.append_shown(&entry(listed), |content| {
            artifact.read(listed, content, progress).map_err(Failure::Input)
        });
        files.push(shown?);
        return Ok(());
    }
    let read = map_files(batch, |listed| {
        let mut content = Memory(Vec::with_capacity(listed.facts.size as usize));
        let file = artifact.read(listed, &mut content, progress)?;
        Ok::<_, inputs::Error>((file, content.0))
    });
    for (listed, (file, content)) in batch.iter().zip(read.map_err(Failure::Input)?) {
        archive.append(&entry(listed), &content).map_err(Failure::Output)?;
        files.push(file);
    }
    Ok(())
}

fn entry(listed: &ListedFile) -> Entry<'_> {
    Entry { path: &listed.path, size: listed.facts.size, executable: listed.facts.executable }
}

/// On which side of the copy something went wrong.
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
    fn a_large_file_is_alone_and_small_ones_are_bounded() {
        let sizes = [0, 5, SMALL, SMALL + 1, 0, 0, 1 << 40, SMALL, SMALL, 7];
        let many = std::iter::repeat_n(SMALL, 20).chain(std::iter::repeat_n(0, 3000));
        let files: Vec<ListedFile> = sizes
            .into_iter()
            .chain(many)
            .map(|size| ListedFile {
                path: String::new(),
                facts: FileFacts { size, executable: false, content: None },
            })
            .collect();
        let batches = batches(&files);
        assert_eq!(batches.concat(), files);
        for batch in &batches {
            let total: u64 = batch.iter().map(|file| file.facts.size).sum();
            assert!(batch.len() == 1 || (total <= BATCH && batch.len() <= BATCH_FILES));
            assert!(batch.len() == 1 || batch.iter().all(|file| file.facts.size <= SMALL));
        }
        assert_eq!(batches[0].len(), 3);
        assert_eq!(batches[1].len(), 1);
        assert_eq!(batches[2].len(), 2);
    }
}
