//! Steps 3 and 4 for an unpacked directory: nothing missing, nothing extra, every file as it was sealed.
//!
//! The directory is verified as of this moment; whoever can write to it can change it afterwards.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::files::{self, HINT};
use super::{Error, Verification, seal};
use crate::digest::{
    self, Consumer, EntryKind, FileRead, Job, Symlinks, Tree, TreeEntry, hash_files, open_regular,
    read_through, walk,
};
use crate::manifest::{MODEL_SIGNATURE_PATH, SEAL_PATH, Subject};
use crate::release::{ModelSignature, ModelSignatureReader, Seal, SealError};
use crate::report::Check;
use crate::text::name;

/// Permission bits that no archive of ours sets: set-user-ID, set-group-ID, sticky.
const SPECIAL_BITS: u32 = 0o7000;

/// Verifies what lies below `root`.
pub(super) fn verify(verification: &mut Verification<'_>, root: &Path) -> Result<(), Error> {
    let read = match seal::read_file(root)? {
        Err(SealError::Absent(reason)) => {
            let mut check = Check::fail("seal", reason);
            if root.join(MODEL_SIGNATURE_PATH).is_file() {
                let signature = root.join(MODEL_SIGNATURE_PATH);
                let signature = crate::text::Escaped(&signature.to_string_lossy()).to_string();
                check =
                    check.hint(format!("it has a model signature: `--signature {signature}` verifies that"));
            }
            verification.add(check);
            verification.not_reached("anything: there is no seal to go by");
            return Ok(());
        }
        read => read,
    };
    let Some(seal) = verification.seal_and_signature(read) else {
        return Ok(());
    };
    let sealed = seal.manifest.files();
    let own = |path: &str| {
        path == SEAL_PATH || (path == MODEL_SIGNATURE_PATH && seal.manifest.internal().model_signature)
    };
    let (present, mut findings) = compare_names(&walk(root, Symlinks::Refuse, &|_, _| false)?, sealed, &own);

    let hash = verification.options.hash;
    let progress = verification.options.progress;
    let begin = |&file| Comparing { file, path: root.join(&file.name) };
    let compared = hash_files(&present, hash, Symlinks::Refuse, begin, progress)?;
    findings.extend(compared.into_iter().flatten());
    findings.sort_by(|left, right| left.path.cmp(&right.path));
    files::add(verification, sealed.len(), findings);

    let signature = read_model_signature(root, &seal)?;
    verification.finish(seal, signature.as_ref())
}

/// The sealed files that are there, and what is there and was not sealed, or the other way round. Both lists are
/// in byte order.
fn compare_names<'a>(
    tree: &Tree,
    sealed: &'a [Subject],
    own: &dyn Fn(&str) -> bool,
) -> (Vec<&'a Subject>, Vec<Check>) {
    let (mut present, mut findings) = (Vec::with_capacity(sealed.len()), Vec::new());
    let mut rest = sealed.iter().peekable();
    for entry in &tree.entries {
        let path = entry.shown();
        while let Some(file) = rest.next_if(|file| file.name.as_str() < path) {
            findings.push(missing(file));
        }
        // Of a name that is not UTF-8 what is shown may look like another one's.
        let is_file = entry.kind == EntryKind::File && entry.path().is_some();
        match rest.next_if(|file| is_file && file.name == path) {
            Some(file) => present.push(file),
            None if is_file && own(path) => {}
            None => findings.push(extra(entry)),
        }
    }
    findings.extend(rest.map(missing));
    (present, findings)
}

/// A file that is compared with what was sealed.
struct Comparing<'a> {
    file: &'a Subject,
    path: PathBuf,
}

impl Job for Comparing<'_> {
    type Output = Vec<Check>;
    type Error = Error;

    fn path(&self) -> &Path {
        &self.path
    }

    fn consumer(&mut self) -> Option<&mut dyn Consumer> {
        None
    }

    fn finish(self, read: Result<FileRead, digest::Error>) -> Result<Vec<Check>, Error> {
        let read = match read {
            Ok(read) => read,
            Err(digest::Error::Io { path, source }) => return Err(Error::io(&path, source)),
            Err(digest::Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => return Ok(vec![Check::fail("files", error.to_string()).path(&self.file.name)]),
        };
        let findings = [compare_mode(self.file, read.mode), files::compare(self.file, &read.digests)];
        Ok(findings.into_iter().flatten().collect())
    }
}

fn compare_mode(file: &Subject, mode: u32) -> Option<Check> {
    let executable = mode & 0o100 != 0;
    if executable == file.executable() && mode & SPECIAL_BITS == 0 {
        return None;
    }
    let expected = if file.executable() { "mode 0755" } else { "mode 0644" };
    Some(
        Check::fail("files", format!("{} has another mode than was sealed", name(&file.name)))
            .path(&file.name)
            .differs(expected, format!("mode {:04o}", mode & 0o7777)),
    )
}

fn extra(entry: &TreeEntry) -> Check {
    let what = match entry.kind {
        EntryKind::File => "a file",
        EntryKind::EmptyDirectory => "an empty directory",
        EntryKind::Special(kind) => kind,
    };
    let path = entry.shown();
    Check::fail("files", format!("{} is {what} that was not sealed", name(path))).path(path)
}

fn missing(file: &Subject) -> Check {
    Check::fail("files", format!("{} is missing", name(&file.name))).path(&file.name).hint(HINT)
}

/// What lies in the place of `model.sig`; `None` if nothing does, or nothing that could be it.
fn read_model_signature(root: &Path, seal: &Seal) -> Result<Option<ModelSignature>, Error> {
    let path = root.join(MODEL_SIGNATURE_PATH);
    let Ok((file, metadata)) = open_regular(&path, Symlinks::Refuse) else {
        return Ok(None);
    };
    let mut content = ModelSignatureReader::new(seal);
    // One byte more than belongs there shows that it is another file; more is not read.
    let most = content.expected() + 1;
    read_through(&mut file.take(most), most.min(metadata.len()), &mut [&mut content], &|_| {})
        .map_err(|source| Error::io(&path, source))?;
    Ok(Some(content.finish()))
}
