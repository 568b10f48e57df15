//! Steps 3 and 4 for an unpacked directory: nothing missing, nothing extra, every file as it was sealed.
//!
//! The directory is verified as of this moment; whoever can write to it can change it afterwards.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::files::{self, HINT};
use super::{Error, Verification, seal};
use crate::digest::{
    self, Consumer, EntryKind, FileRead, Job, Symlinks, TreeEntry, hash_files, open_regular, walk,
};
use crate::manifest::{MODEL_SIGNATURE_PATH, SEAL_PATH, Subject};
use crate::release::Seal;
use crate::report::Check;
use crate::text::name;

/// Permission bits that no archive of ours sets: set-user-ID, set-group-ID, sticky.
const SPECIAL_BITS: u32 = 0o7000;

/// Verifies what lies below `root`.
pub(super) fn verify(verification: &mut Verification<'_>, root: &Path) -> Result<(), Error> {
    let content = match seal::read_file(root)? {
        Ok(content) => content,
        Err(reason) => {
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
    };
    let Some(seal) = verification.seal_and_signature(&content) else {
        return Ok(());
    };
    drop(content);
    let tree = walk(root, Symlinks::Refuse, &|_, _| false)?;
    let sealed: HashMap<&str, &Subject> =
        seal.manifest.files().iter().map(|file| (file.name.as_str(), file)).collect();
    let own = |path: &str| {
        path == SEAL_PATH || (path == MODEL_SIGNATURE_PATH && seal.manifest.internal().model_signature)
    };

    let mut findings = Vec::new();
    let mut present = Vec::new();
    for entry in &tree.entries {
        let file = entry.path.as_deref().and_then(|path| sealed.get(path));
        match (&entry.kind, file) {
            (EntryKind::File, Some(file)) => present.push(*file),
            (EntryKind::File, None) if entry.path.as_deref().is_some_and(own) => {}
            _ => findings.push(extra(entry)),
        }
    }
    let there: std::collections::HashSet<&str> = present.iter().map(|file| file.name.as_str()).collect();
    let absent = seal.manifest.files().iter().filter(|file| !there.contains(file.name.as_str()));
    findings.extend(absent.map(missing));

    let hash = verification.options.hash;
    let progress = verification.options.progress;
    let begin = |&file| Comparing { file, path: root.join(&file.name) };
    let compared = hash_files(&present, hash, Symlinks::Refuse, begin, progress)?;
    findings.extend(compared.into_iter().flatten());
    findings.sort_by(|left, right| left.path.cmp(&right.path));
    files::add(verification, seal.manifest.files().len(), findings);

    let signature = read_model_signature(root, &seal)?;
    verification.finish(seal, signature.as_deref())
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

/// The bytes of `model.sig`; `None` if it is not there, or not a file that could be it.
fn read_model_signature(root: &Path, seal: &Seal) -> Result<Option<Vec<u8>>, Error> {
    let path = root.join(MODEL_SIGNATURE_PATH);
    let Ok((file, metadata)) = open_regular(&path, Symlinks::Refuse) else {
        return Ok(None);
    };
    let expected = seal.model_signature_length();
    let mut content = Vec::new();
    // One byte more than belongs there shows that it is another file; more is not read.
    file.take(expected.min(metadata.len()) + 1)
        .read_to_end(&mut content)
        .map_err(|source| Error::io(&path, source))?;
    Ok(Some(content))
}
