//! The files of the artifact, which ship.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::Error;
use super::data_set::Head;
use crate::content::ContentReader;
use crate::recipe::Recipe;
use modelseal_format::context::Context;
use modelseal_format::digest::{
    self, Algorithms, Consumer, EntryKind, Hasher, Stamp, Symlinks, hash_file, map_files, open_regular, walk,
};
use modelseal_format::manifest::{self, FileFacts, PathError, Subject, SubjectDigest};

/// The list of files that ship. None of them has been read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Artifact {
    root: PathBuf,
    root_is_file: bool,
    symlinks: Symlinks,
    /// In byte order of the paths.
    pub files: Vec<ListedFile>,
    /// The globs of the recipe, and git's own files that were found at the root and left out.
    pub excluded: Vec<String>,
    /// Empty directories, which do not ship.
    pub empty_directories: Vec<String>,
}

/// A file as it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedFile {
    /// Relative to the artifact.
    pub path: String,
    pub facts: FileFacts,
}

/// Lists the files of the artifact.
///
/// `written` are the absolute paths that the build itself writes. They never ship.
///
/// # Errors
/// [`Error`] for a name, link or special file that cannot ship, and for an artifact without files.
pub fn list_artifact(recipe: &Recipe, written: &[PathBuf], context: &Context) -> Result<Artifact, Error> {
    let table = &recipe.tables.artifact;
    let root = recipe.directory().join(table.path.get_ref());
    let metadata = stat(&root, table.symlinks)?;
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
    let mut artifact = Artifact {
        root_is_file: !metadata.is_dir(),
        symlinks: table.symlinks,
        files: Vec::new(),
        excluded: excluded(recipe, &root),
        empty_directories: Vec::new(),
        root,
    };
    let mut paths = Vec::new();
    for entry in walk(&artifact.root, table.symlinks, &leave_out, context)?.entries {
        let refused = |path: &str, reason| Error::Name { path: artifact.location(path), reason };
        let kind = entry.kind.clone();
        let path = entry.into_path().map_err(|shown| refused(&shown, PathError::NotUtf8))?;
        match kind {
            EntryKind::EmptyDirectory => artifact.empty_directories.push(path),
            EntryKind::Special(kind) => {
                return Err(Error::Special { path: artifact.location(&path), kind, may_follow: true });
            }
            EntryKind::File => {
                manifest::check_path(&path).map_err(|reason| refused(&path, reason))?;
                paths.push(path);
            }
        }
    }
    manifest::check_collisions(paths.iter().map(String::as_str))
        .map_err(|(path, reason)| Error::Name { path: artifact.location(&path), reason })?;
    if paths.is_empty() {
        return Err(Error::EmptyArtifact(artifact.root));
    }
    artifact.files = map_files(&paths, context, |path| {
        let metadata = stat(&artifact.location(path), artifact.symlinks)?;
        let executable = metadata.mode() & OWNER_MAY_EXECUTE != 0;
        let facts = FileFacts { size: metadata.len(), executable, content: None };
        Ok::<_, Error>(ListedFile { path: path.clone(), facts })
    })?;
    Ok(artifact)
}

const OWNER_MAY_EXECUTE: u32 = 0o100;

fn stat(path: &Path, symlinks: Symlinks) -> Result<Metadata, digest::Error> {
    match symlinks {
        Symlinks::Refuse => std::fs::symlink_metadata(path),
        Symlinks::Follow => std::fs::metadata(path),
    }
    .map_err(|source| digest::Error::io(path, source))
}

fn globs(recipe: &Recipe) -> Result<Gitignore, Error> {
    let mut builder = GitignoreBuilder::new("");
    // git would match it literally, and the glob would exclude nothing.
    builder.allow_unclosed_class(false);
    for glob in &recipe.tables.artifact.exclude {
        builder.add_line(None, glob.get_ref()).map_err(|error| {
            let reason = modelseal_format::display::message(&error);
            recipe.mistake(glob.span(), format!("this is not a valid glob: {reason}"))
        })?;
    }
    builder.build().map_err(|error| {
        recipe.mistake(recipe.tables.artifact.path.span(), format!("cannot use the globs: {error}")).into()
    })
}

fn excluded(recipe: &Recipe, root: &Path) -> Vec<String> {
    let globs = recipe.tables.artifact.exclude.iter().map(|glob| glob.get_ref().clone());
    let own = [".git", ".gitattributes", ".github", ".gitignore"];
    let found = own.into_iter().filter(|name| root.is_dir() && root.join(name).symlink_metadata().is_ok());
    globs.chain(found.map(str::to_string)).collect()
}

impl Artifact {
    /// Whether the artifact is a single file, which ships as a directory with one file.
    pub fn is_one_file(&self) -> bool {
        self.root_is_file
    }

    /// The directory, or the single file.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a file of the artifact on disk.
    pub fn location(&self, path: &str) -> PathBuf {
        if self.root_is_file { self.root.clone() } else { self.root.join(path) }
    }

    /// Hashes a file, and passes the bytes of the same read to `also`. The listing says nothing about the content.
    ///
    /// # Errors
    /// [`Error`] if the file differs from the listing, changed while it was read, or is a pointer to something else.
    pub fn read(
        &self,
        path: &str,
        listed: FileFacts,
        also: &mut dyn Consumer,
        context: &Context,
    ) -> Result<(SubjectDigest, FileFacts), Error> {
        let location = self.location(path);
        let mut head = Head(Vec::new());
        let mut content = ContentReader::for_file(path, listed.size);
        let mut consumers: Vec<&mut dyn Consumer> = vec![&mut head, also];
        if let Some(content) = &mut content {
            consumers.push(content);
        }
        let read = hash_file(&location, Algorithms::ALL, self.symlinks, &mut consumers, context)?;
        head.check(&location, read.digests.size)?;
        let content = match content {
            None => None,
            Some(content) => {
                let (file, _) = open_regular(&location, self.symlinks)?;
                Some(content.finish(&file).map_err(|source| digest::Error::io(&location, source))?)
            }
        };
        let executable = read.mode & OWNER_MAY_EXECUTE != 0;
        let facts = FileFacts { size: read.digests.size, executable, content };
        let is_as_listed = (facts.size, executable) == (listed.size, listed.executable);
        match (read.digests.sha256, read.digests.blake3) {
            (Some(sha256), blake3 @ Some(_)) if is_as_listed => Ok((SubjectDigest { sha256, blake3 }, facts)),
            _ => Err(digest::Error::Changed { path: location }.into()),
        }
    }

    /// Hashes every file, several at a time.
    ///
    /// # Errors
    /// Like [`Self::read`].
    pub fn hash(&self, context: &Context) -> Result<Vec<Subject>, Error> {
        context.announce(self.files.iter().map(|file| file.facts.size).sum());
        map_files(&self.files, context, |ListedFile { path, facts }| {
            let (digest, facts) = self.read(path, *facts, &mut Nobody, context)?;
            Ok(Subject { name: path.clone(), digest, annotations: Some(facts) })
        })
    }

    /// Opens a file for a second read, which is compared with the first.
    ///
    /// # Errors
    /// Like [`open_regular`].
    pub fn open(&self, file: &Subject) -> Result<SecondRead, digest::Error> {
        let path = self.location(&file.name);
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

/// A consumer that ignores everything.
struct Nobody;

impl Consumer for Nobody {
    fn consume(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is read a second time: the archived bytes must be the hashed bytes.
pub struct SecondRead {
    path: PathBuf,
    file: File,
    stamp: Stamp,
    hasher: Hasher,
    failed: Option<io::Error>,
}

impl SecondRead {
    /// The error that ended the read, if it came from the file and not from the archive.
    pub fn error(&mut self) -> Option<digest::Error> {
        let source = self.failed.take()?;
        Some(digest::Error::io(&self.path, source))
    }

    /// Compares the bytes of this read with the result of the first read.
    ///
    /// # Errors
    /// [`digest::Error::Changed`] if they differ.
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
