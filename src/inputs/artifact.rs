//! The files that ship.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::Error;
use super::source::Head;
use crate::digest::{
    self, Algorithms, EntryKind, Hasher, Progress, Stamp, Symlinks, hash_file, map_files, open_regular, walk,
};
use crate::manifest::{self, FileFacts, Subject};
use crate::recipe::Recipe;

/// The artifact, hashed.
#[derive(Debug)]
pub struct Artifact {
    root: PathBuf,
    symlinks: Symlinks,
    /// In byte order of the paths.
    pub files: Vec<Subject>,
    /// The recipe's globs, and git's own files that were found at the root and left out.
    pub excluded: Vec<String>,
    /// Directories that do not ship because they hold nothing.
    pub empty_directories: Vec<String>,
}

/// Finds and hashes the files of the artifact, each in one read, in parallel.
///
/// `written` is what the build itself writes, absolute: it never ships.
///
/// # Errors
/// [`Error`]: a name, link or special file that cannot ship, a pointer instead of a file, no file at all.
pub fn read_artifact(
    recipe: &Recipe,
    written: &[PathBuf],
    progress: Progress<'_>,
) -> Result<Artifact, Error> {
    let table = &recipe.tables.artifact;
    let root = recipe.directory().join(table.path.get_ref());
    let metadata = match table.symlinks {
        Symlinks::Refuse => std::fs::symlink_metadata(&root),
        Symlinks::Follow => std::fs::metadata(&root),
    };
    let metadata = metadata.map_err(|source| digest::Error::io(&root, source))?;
    if metadata.is_symlink() {
        return Err(Error::Special { path: root, kind: "a symbolic link", may_follow: true });
    }
    let globs = globs(recipe)?;
    let canonical = root.canonicalize().map_err(|source| digest::Error::io(&root, source))?;
    let leave_out = |path: &str, is_directory: bool| {
        (!path.contains('/') && manifest::is_git_file(path))
            || globs.matched(path, is_directory).is_ignore()
            || written.iter().any(|written| canonical.join(path).starts_with(written))
    };
    let tree = walk(&root, table.symlinks, &leave_out)?;

    let mut listed = Vec::with_capacity(tree.entries.len());
    let mut empty_directories = Vec::new();
    for entry in tree.entries {
        let location = if metadata.is_dir() { root.join(entry.shown()) } else { root.clone() };
        let Some(path) = entry.path else {
            let reason = manifest::PathError::NotUtf8;
            return Err(Error::Name { path: location, reason });
        };
        let mode = match entry.kind {
            EntryKind::File { mode, .. } => mode,
            EntryKind::EmptyDirectory => {
                empty_directories.push(path);
                continue;
            }
            EntryKind::Special(kind) => {
                return Err(Error::Special { path: location, kind, may_follow: true });
            }
        };
        manifest::check_path(&path).map_err(|reason| Error::Name { path: location.clone(), reason })?;
        listed.push((path, mode));
    }
    manifest::check_collisions(listed.iter().map(|(path, _)| path.as_str()))
        .map_err(|(path, reason)| Error::Name { path: root.join(path), reason })?;
    if listed.is_empty() {
        return Err(Error::EmptyArtifact(root));
    }

    let root_is_file = !metadata.is_dir();
    let files = map_files(&listed, |(path, mode)| {
        let location = if root_is_file { root.clone() } else { root.join(path) };
        hash_one(path, &location, *mode, table.symlinks, progress)
    })?;
    let excluded = excluded(recipe, &root);
    Ok(Artifact { root, symlinks: table.symlinks, files, excluded, empty_directories })
}

fn hash_one(
    path: &str,
    location: &Path,
    mode: u32,
    symlinks: Symlinks,
    progress: Progress<'_>,
) -> Result<Subject, Error> {
    let mut head = Head(Vec::new());
    let digests = hash_file(location, Algorithms::ALL, symlinks, &mut [&mut head], progress)?;
    head.check(location, digests.size)?;
    let (Some(sha256), Some(blake3)) = (digests.sha256, digests.blake3) else {
        return Err(digest::Error::Changed { path: location.to_path_buf() }.into());
    };
    let facts = FileFacts { size: digests.size, executable: mode & 0o100 != 0 };
    Ok(Subject::file(path.to_string(), sha256, blake3, facts))
}

fn globs(recipe: &Recipe) -> Result<Gitignore, Error> {
    let mut builder = GitignoreBuilder::new("");
    for glob in &recipe.tables.artifact.exclude {
        builder.add_line(None, glob.get_ref()).map_err(|error| {
            let reason = crate::text::Escaped(&error.to_string()).to_string();
            recipe.mistake(glob.span(), format!("this is not a glob: {reason}"))
        })?;
    }
    builder.build().map_err(|error| {
        recipe.mistake(recipe.tables.artifact.path.span(), format!("the globs do not work: {error}")).into()
    })
}

fn excluded(recipe: &Recipe, root: &Path) -> Vec<String> {
    let globs = recipe.tables.artifact.exclude.iter().map(|glob| glob.get_ref().clone());
    let own = [".git", ".gitattributes", ".github", ".gitignore"];
    let found = own.into_iter().filter(|name| root.is_dir() && root.join(name).symlink_metadata().is_ok());
    globs.chain(found.map(str::to_string)).collect()
}

impl Artifact {
    /// Where a file of the artifact lies.
    pub fn location(&self, file: &Subject) -> PathBuf {
        if self.root.is_dir() { self.root.join(&file.name) } else { self.root.clone() }
    }

    /// Opens a file for a second read, which is compared with the first.
    ///
    /// # Errors
    /// As [`open_regular`].
    pub fn open(&self, file: &Subject) -> Result<SecondRead, digest::Error> {
        let path = self.location(file);
        let (handle, metadata) = open_regular(&path, self.symlinks)?;
        Ok(SecondRead {
            stamp: Stamp::of(&metadata),
            file: handle,
            hasher: Hasher::new(Algorithms::BLAKE3),
            failed: None,
            path,
        })
    }
}

/// A file that is read again: what was archived must be what was hashed.
pub struct SecondRead {
    path: PathBuf,
    file: File,
    stamp: Stamp,
    hasher: Hasher,
    failed: Option<io::Error>,
}

impl SecondRead {
    /// The error that ended the reading, if it was the file's and not the archive's.
    pub fn error(&mut self) -> Option<digest::Error> {
        let source = self.failed.take()?;
        Some(digest::Error::io(&self.path, source))
    }

    /// Compares what was read with what the first read gave.
    ///
    /// # Errors
    /// [`digest::Error::Changed`].
    pub fn finish(self, file: &Subject) -> Result<(), digest::Error> {
        let after = self.file.metadata().map_err(|source| digest::Error::io(&self.path, source))?;
        let digests = self.hasher.finish();
        let same = digests.size == file.size()
            && digests.blake3 == file.digest.blake3
            && Stamp::of(&after) == self.stamp;
        if same { Ok(()) } else { Err(digest::Error::Changed { path: self.path }) }
    }
}

impl Read for SecondRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match self.file.read(buffer) {
            Ok(length) => length,
            Err(error) => {
                let copy = io::Error::from(error.kind());
                if error.kind() != io::ErrorKind::Interrupted {
                    self.failed = Some(error);
                }
                return Err(copy);
            }
        };
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}
