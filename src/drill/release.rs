//! A release that can be changed in any part and sealed again.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;

use super::{Attempt, Error};
use modelseal_format::archive::ArchiveWriter;
use modelseal_format::archive::Entry;
use modelseal_format::canonical::{Canonical, Counted};
use modelseal_format::digest::Digest;
use modelseal_format::manifest::{
    FileFacts, LAST_RELEASE, MODEL_SIGNATURE_PATH, Manifest, ResourceDescriptor, SEAL_PATH, Subject,
    model_signature_payload,
};
use modelseal_format::release::{entry, frame};
use modelseal_format::sign::{SignedBundle, Signer};

/// Maximum length of the content that represents a file, in bytes.
const LONGEST: u64 = 64 << 10;

/// A manifest and the content of its files.
#[derive(Clone)]
pub(super) struct Draft<'a> {
    pub(super) manifest: Manifest,
    pub(super) contents: Vec<Vec<u8>>,
    key: &'a Signer,
}

impl<'a> Draft<'a> {
    /// The original, sealed by the drill's key, and a healthy successor: other data, newer records, another model.
    pub(super) fn pair(
        manifest: &Manifest,
        directory: &Path,
        key: &'a Signer,
        now: Timestamp,
    ) -> io::Result<(Self, Self)> {
        let read = |file: &Subject| {
            let mut content = Vec::new();
            File::open(directory.join(&file.name))?.take(LONGEST).read_to_end(&mut content)?;
            Ok(content)
        };
        let contents = manifest.files().iter().map(read).collect::<io::Result<Vec<_>>>()?;
        let mut previous = Self { manifest: manifest.clone(), contents, key };
        previous.manifest.internal_mut().model_signature = true;
        previous.seal_files();
        let number = |draft: &mut Self, more: u64| {
            let number =
                draft.manifest.model().release.map(|number| number.saturating_add(more).min(LAST_RELEASE));
            draft.manifest.external_mut().model.release = number;
        };
        // The number is raised by one, so that there is always an older release.
        number(&mut previous, 1);
        let mut healthy = previous.clone();
        number(&mut healthy, 1);
        healthy.manifest.external_mut().model.version = "drill".to_string();
        healthy.contents[0].push(b'\n');
        for input in healthy.manifest.dependencies_mut() {
            if input.name.starts_with("data/") {
                refresh(input, now);
            }
        }
        healthy.seal_files();
        Ok((previous, healthy))
    }

    /// Updates the digests to the current content of the files.
    pub(super) fn seal_files(&mut self) {
        for (file, content) in self.manifest.files_mut().iter_mut().zip(&self.contents) {
            let facts =
                FileFacts { size: content.len() as u64, executable: file.executable(), content: None };
            let name = std::mem::take(&mut file.name);
            *file = Subject::file(name, Digest::sha256(content), Digest::blake3(content), facts);
        }
        self.manifest.files_are_known();
    }

    /// The archive as a build would write it.
    pub(super) fn archive(&self) -> Result<Vec<u8>, Error> {
        self.archive_by(self.key)
    }

    pub(super) fn archive_by(&self, key: &Signer) -> Result<Vec<u8>, Error> {
        let seal = SignedBundle::sign(Counted::of(&self.manifest), key)?.to_vec();
        let signature = model_signature_payload(&self.manifest, self.manifest.sha256());
        let signature = SignedBundle::sign(Counted::of(signature), key)?.to_vec();
        let mut archive = ArchiveWriter::new(Vec::new(), frame(&self.manifest));
        let special = |path, content: &[u8]| Entry { path, size: content.len() as u64, executable: false };
        let mut append =
            |entry: &Entry<'_>, content: &[u8]| archive.append(entry, content).map_err(Error::Copy);
        append(&special(SEAL_PATH, &seal), &seal)?;
        append(&special(MODEL_SIGNATURE_PATH, &signature), &signature)?;
        for (file, content) in self.manifest.files().iter().zip(&self.contents) {
            append(&entry(file), content)?;
        }
        archive.finish().map_err(Error::Copy)
    }

    /// This release with a changed manifest, correctly signed.
    pub(super) fn changed(&self, change: impl FnOnce(&mut Manifest)) -> Result<Attempt, Error> {
        let mut draft = self.clone();
        change(&mut draft.manifest);
        Ok(Attempt::trusted(draft.archive()?))
    }
}

/// The same source a little later: half of its rows are replaced, and the newest is a minute old.
fn refresh(input: &mut ResourceDescriptor, now: Timestamp) {
    let other = Digest::sha256(format!("{}, later", input.digest.tagged()).as_bytes());
    match input.digest.sha256 {
        Some(_) => input.digest.sha256 = Some(other),
        None => input.digest.dir_hash = Some(other),
    }
    let Some(facts) = input.data_mut() else { return };
    if let Some(sketch) = &mut facts.sketch {
        for hash in sketch.hashes.iter_mut().step_by(2) {
            *hash ^= 1;
        }
        sketch.hashes.sort_unstable();
        sketch.hashes.dedup();
        sketch.sum ^= 1;
    }
    if facts.newest.is_some() {
        let newest = Timestamp::from_second(now.as_second() - 60).unwrap_or(now);
        facts.newest = Some(newest.to_string());
    }
}
