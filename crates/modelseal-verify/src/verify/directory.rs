//! Steps 3 and 4 for an unpacked directory: nothing is missing, nothing is extra, and every file is as it was sealed.
//!
//! The result applies to this moment. Anyone with write access to the directory can change it afterwards.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::files::{self, HINT};
use super::{Error, Verification, seal};
use crate::report::Check;
use crate::report::id::{FILES, SEAL};
use modelseal_format::context::Context;
use modelseal_format::digest::{
    self, Consumer, EntryKind, FileRead, Job, Symlinks, TreeEntry, Walked, hash_files, open_regular,
    read_through, walk_meanwhile,
};
use modelseal_format::display::name;
use modelseal_format::hint::Hint;
use modelseal_format::manifest::{MODEL_SIGNATURE_PATH, SEAL_PATH, Subject};
use modelseal_format::release::{ModelSignature, ModelSignatureReader, Seal, SealError, total_size};

/// Permission bits that no archive of modelseal sets: set-user-ID, set-group-ID and sticky.
const SPECIAL_BITS: u32 = 0o7000;

/// Verifies everything below `root`.
pub(super) fn verify(verification: &mut Verification<'_>, root: &Path) -> Result<(), Error> {
    let (hash, context) = (verification.options.hash, &verification.options.context.clone());
    let mut seal = Ok(None);
    // The seal and the model signature are read separately.
    let walked = walk_meanwhile(root, &[SEAL_PATH, MODEL_SIGNATURE_PATH], hash, context, || {
        seal = read_seal(verification, root);
        match &seal {
            Ok(Some(seal)) => context.announce(total_size(seal.manifest.files())),
            _ => return false,
        }
        true
    });
    let Some(seal) = seal? else { return Ok(()) };
    let Some(walked) = walked? else { return Ok(()) };
    let sealed = seal.manifest.files();
    let own = |path: &str| {
        path == SEAL_PATH || (path == MODEL_SIGNATURE_PATH && seal.manifest.internal().model_signature)
    };
    let Compared { unread, mut findings } = Compared::new(walked, sealed, &own);
    let begin = |&file| Comparing { file, path: root.join(&file.name) };
    let compared = hash_files(&unread, hash, Symlinks::Refuse, begin, context)?;
    findings.extend(compared.into_iter().flatten());
    findings.sort_by(|left, right| left.path.cmp(&right.path));
    let is_sealed = |path: &str| sealed.binary_search_by(|file| file.name.as_str().cmp(path)).is_ok();
    files::add(verification, sealed.len(), findings, is_sealed);

    let signature = read_model_signature(root, &seal)?;
    verification.finish(seal, signature.as_ref())
}

/// Steps 1 and 2; `None` if one of them failed.
fn read_seal(verification: &mut Verification<'_>, root: &Path) -> Result<Option<Seal>, Error> {
    match seal::read_file(root)? {
        Err(SealError::Absent(reason)) => {
            let mut check = Check::fail(SEAL, reason);
            if root.join(MODEL_SIGNATURE_PATH).is_file() {
                let signature = root.join(MODEL_SIGNATURE_PATH);
                let signature = modelseal_format::display::Escaped(&signature.to_string_lossy()).to_string();
                check = check.hint(Hint::VerifyModelSignature(signature));
            }
            verification.add(check);
            verification.not_reached("everything (there is no readable seal)");
            Ok(None)
        }
        read => Ok(verification.seal_and_signature(read)),
    }
}

/// The result of the comparison before the remaining files are read.
struct Compared<'a> {
    /// Sealed files that exist and have not been read yet.
    unread: Vec<&'a Subject>,
    findings: Vec<Check>,
}

impl<'a> Compared<'a> {
    /// Compares the names, and the files that were already read. Both lists are in byte order.
    fn new(walked: Walked, sealed: &'a [Subject], own: &dyn Fn(&str) -> bool) -> Self {
        let Walked { tree, files } = walked;
        let (mut unread, mut findings) = (Vec::with_capacity(sealed.len()), Vec::new());
        let (mut rest, mut read) = (sealed.iter().peekable(), files.into_iter().peekable());
        for (index, entry) in tree.entries.iter().enumerate() {
            let path = entry.shown();
            while let Some(file) = rest.next_if(|file| file.name.as_str() < path) {
                findings.push(missing(file));
            }
            // The displayed form of a name that is not UTF-8 may look like another name.
            let is_file = entry.kind == EntryKind::File && entry.path().is_some();
            let read = read.next_if(|(other, _)| *other == index);
            match (rest.next_if(|file| is_file && file.name == path), read) {
                (Some(file), Some((_, read))) => findings.extend(compare(file, &read)),
                (Some(file), None) => unread.push(file),
                (None, _) if is_file && own(path) => {}
                (None, _) => findings.push(extra(entry)),
            }
        }
        findings.extend(rest.map(missing));
        Self { unread, findings }
    }
}

fn compare(file: &Subject, read: &FileRead) -> Vec<Check> {
    let findings = [compare_mode(file, read.mode), files::compare(file, &read.digests)];
    findings.into_iter().flatten().collect()
}

/// The comparison of a file with what was sealed.
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
        match read {
            Ok(read) => Ok(compare(self.file, &read)),
            Err(digest::Error::Io { path, source }) => Err(Error::io(&path, source)),
            Err(digest::Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => Ok(vec![Check::fail(FILES, error.to_string()).path(&self.file.name)]),
        }
    }
}

fn compare_mode(file: &Subject, mode: u32) -> Option<Check> {
    let executable = mode & 0o100 != 0;
    if executable == file.executable() && mode & SPECIAL_BITS == 0 {
        return None;
    }
    let expected = if file.executable() { "mode 0755" } else { "mode 0644" };
    Some(
        Check::fail(FILES, format!("the mode of {} differs from the sealed mode", name(&file.name)))
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
    Check::fail(FILES, format!("{} is {what} that was not sealed", name(path))).path(path)
}

fn missing(file: &Subject) -> Check {
    Check::fail(FILES, format!("{} is missing", name(&file.name))).path(&file.name).hint(HINT)
}

/// Reads the file at the path of `model.sig`. `None` if there is none, or nothing that could be a model signature.
fn read_model_signature(root: &Path, seal: &Seal) -> Result<Option<ModelSignature>, Error> {
    let path = root.join(MODEL_SIGNATURE_PATH);
    let Ok((file, metadata)) = open_regular(&path, Symlinks::Refuse) else {
        return Ok(None);
    };
    let mut content = ModelSignatureReader::new(seal);
    // Reading one byte more than expected is enough to show that it is another file.
    let most = content.expected() + 1;
    read_through(&mut file.take(most), most.min(metadata.len()), &mut [&mut content], &Context::default())
        .map_err(|source| Error::io(&path, source))?;
    Ok(Some(content.finish()))
}
