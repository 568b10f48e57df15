//! The files of two artifacts that are both available.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use super::{Error, path_of};
use crate::compare::{Changed, Likeness, compare_files};
use modelseal_build::run::Scratch;
use modelseal_format::archive::{ArchiveReader, Entry, Frame};
use modelseal_format::context::Context;
use modelseal_format::digest::{Algorithms, Consumer, FileDigests, Symlinks, hash_file, open_regular};
use modelseal_format::manifest::{Demand, Subject};
use modelseal_format::release::{Receiver, Seal, read_contents};
use modelseal_verify::verify::Target;

/// A file that both releases have and that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct FileDifference {
    pub path: String,
    pub likeness: Likeness,
}

/// Compares the changed files of two releases, if both hold them unchanged since they were sealed.
pub(super) fn compare(
    old: (&Target, &Seal),
    new: (&Target, &Seal),
    changed: &[Changed<Subject>],
    context: &Context,
) -> Result<Vec<FileDifference>, Error> {
    let in_both = changed.iter().filter(|change| change.old.is_some() && change.new.is_some());
    let wanted: BTreeSet<String> = in_both.map(|change| change.name.clone()).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let scratch = Scratch::new(context.cancel()).map_err(Error::Scratch)?;
    let gather = |name: &str, (target, seal): (&Target, &Seal)| {
        let directory = scratch.directory(name).map_err(Error::Scratch)?;
        at_hand(target, seal, &wanted, directory, context)
    };
    let (Some(left), Some(right)) = (gather("old", old)?, gather("new", new)?) else {
        return Ok(Vec::new());
    };
    let tolerance = Demand::default();
    let compare = |path: &String| {
        let likeness = compare_files(path, &left.join(path), &right.join(path), &tolerance, context)?;
        Ok(FileDifference { path: path.clone(), likeness })
    };
    wanted.iter().map(compare).collect()
}

/// A directory with the wanted files. `None` if they are missing or differ from what was sealed.
fn at_hand(
    target: &Target,
    seal: &Seal,
    wanted: &BTreeSet<String>,
    directory: PathBuf,
    context: &Context,
) -> Result<Option<PathBuf>, Error> {
    let Some(path) = path_of(target) else { return Ok(None) };
    if path.is_dir() {
        let files = seal.manifest.files().iter().filter(|file| wanted.contains(&file.name));
        let is_sealed = |file: &Subject| {
            let read =
                hash_file(&path.join(&file.name), Algorithms::BLAKE3, Symlinks::Refuse, &mut [], context);
            read.is_ok_and(|read| read.digests.blake3 == file.digest.blake3)
        };
        return Ok(files.into_iter().all(is_sealed).then_some(path));
    }
    let Ok((file, _)) = open_regular(&path, Symlinks::Follow) else { return Ok(None) };
    let opened = ArchiveReader::new(BufReader::new(file), context);
    // The seal has been read already.
    let skip = |_: &mut dyn io::Read| Ok(());
    let Ok(reader) = opened.and_then(|mut reader| reader.read_seal(skip).map(|_| reader)) else {
        // A bare seal has no files.
        return Ok(None);
    };
    let mut pick = Pick { wanted, directory, open: None, failed: None };
    let mut is_sealed = true;
    let mut found = |file: &Subject, digests: &FileDigests| is_sealed &= file.digest.blake3 == digests.blake3;
    let contents = read_contents(reader, seal, Algorithms::BLAKE3, &mut pick, &mut found);
    if let Some(error) = pick.failed {
        return Err(Error::Scratch(error));
    }
    Ok((is_sealed && contents.stopped.is_none()).then_some(pick.directory))
}

/// Keeps only the wanted files of an archive.
struct Pick<'a> {
    wanted: &'a BTreeSet<String>,
    directory: PathBuf,
    open: Option<File>,
    failed: Option<io::Error>,
}

impl Pick<'_> {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let copy = io::Error::from(error.kind());
            self.failed.get_or_insert(error);
            copy
        })
    }

    fn create(path: &Path) -> io::Result<File> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        File::create_new(path)
    }
}

impl Receiver for Pick<'_> {
    fn begin(&mut self, _: &Frame, entry: &Entry<'_>) -> io::Result<()> {
        self.open = None;
        if self.wanted.contains(entry.path) {
            let created = Self::create(&self.directory.join(entry.path));
            self.open = Some(self.note(created)?);
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.open = None;
        Ok(())
    }
}

impl Consumer for Pick<'_> {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.open else { return Ok(()) };
        let written = file.write_all(chunk);
        self.note(written)
    }
}
