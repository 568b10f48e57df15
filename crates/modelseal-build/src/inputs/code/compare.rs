use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, ObjectType, Oid, Repository, Tree};
use walkdir::WalkDir;

use super::super::pointer::parse_lfs;
use super::guarded::{is_special, special_file_around};
use super::{Change, ChangeKind, CodeError, Exempt};
use modelseal_format::context::Context;
use modelseal_format::digest::{self, Algorithms, Digest, Symlinks, hash_file};

/// The file modes that git uses in a tree.
const EXECUTABLE: i32 = 0o100755;
const LINK: i32 = 0o120000;
const SUBMODULE: i32 = 0o160000;

/// The entry of a commit at one path.
struct Tracked {
    id: Oid,
    mode: i32,
}

/// The files that make up `dirHash`, in byte order, and the changes since the commit.
type Comparison = (BTreeMap<String, Digest>, Vec<Change>);

/// Compares the tree of a commit with a directory.
pub(super) fn compare(
    repository: &Repository,
    root: &Path,
    tree: &Tree<'_>,
    exempt: &Exempt,
    context: &Context,
) -> Result<Comparison, CodeError> {
    let mut comparer = Comparer {
        repository,
        root,
        exempt,
        context,
        tracked: BTreeMap::new(),
        files: BTreeMap::new(),
        changes: BTreeMap::new(),
    };
    comparer.list(tree, "")?;
    comparer.compare_tracked()?;
    comparer.compare_index()?;
    comparer.find_untracked()?;
    let changes = comparer.changes.into_iter().map(|(path, kind)| Change { path, kind });
    Ok((comparer.files, changes.collect()))
}

struct Comparer<'a> {
    repository: &'a Repository,
    root: &'a Path,
    exempt: &'a Exempt,
    context: &'a Context,
    tracked: BTreeMap<String, Tracked>,
    files: BTreeMap<String, Digest>,
    changes: BTreeMap<String, ChangeKind>,
}

/// What is on disk at a tracked path.
enum OnDisk {
    /// Matches the commit. The digest is that of the bytes in the commit.
    Same(Digest),
    /// Differs from the commit. The digest is that of the bytes on disk.
    Other(Digest),
    Nothing,
}

impl Comparer<'_> {
    fn git(&self, source: git2::Error) -> CodeError {
        CodeError::Git { path: self.root.to_path_buf(), source }
    }

    fn missing_or(&self, source: git2::Error, path: &str) -> CodeError {
        match source.code() {
            ErrorCode::NotFound => CodeError::Incomplete(path.to_string()),
            _ => self.git(source),
        }
    }

    fn list(&mut self, tree: &Tree<'_>, prefix: &str) -> Result<(), CodeError> {
        for entry in tree {
            let name = entry.name_bytes();
            let path = format!("{prefix}{}", String::from_utf8_lossy(name));
            if std::str::from_utf8(name).is_err() {
                return Err(CodeError::NotUtf8(path));
            }
            if entry.kind() == Some(ObjectType::Tree) {
                let below = self.repository.find_tree(entry.id());
                let below = below.map_err(|source| self.missing_or(source, &path))?;
                self.list(&below, &format!("{path}/"))?;
            } else {
                self.tracked.insert(path, Tracked { id: entry.id(), mode: entry.filemode() });
            }
        }
        Ok(())
    }

    fn compare_tracked(&mut self) -> Result<(), CodeError> {
        let tracked = std::mem::take(&mut self.tracked);
        for (path, entry) in &tracked {
            self.context.check().map_err(|_| digest::Error::Interrupted)?;
            let location = self.root.join(path);
            if is_below(&location, &self.exempt.declared) {
                continue;
            }
            let (digest, change) = match self.compare_one(path, &location, entry)? {
                OnDisk::Same(digest) => (Some(digest), None),
                OnDisk::Other(digest) => (Some(digest), Some(ChangeKind::Modified)),
                OnDisk::Nothing => (None, Some(ChangeKind::Deleted)),
            };
            if let Some(digest) = digest
                && !is_below(&location, &self.exempt.recipe)
            {
                self.files.insert(path.clone(), digest);
            }
            if let Some(kind) = change {
                self.change(path, kind);
            }
        }
        self.tracked = tracked;
        Ok(())
    }

    fn compare_one(&self, path: &str, location: &Path, entry: &Tracked) -> Result<OnDisk, CodeError> {
        if entry.mode == SUBMODULE {
            return self.compare_submodule(location, entry.id);
        }
        let blob = self.repository.find_blob(entry.id);
        let blob = blob.map_err(|source| self.missing_or(source, path))?;
        let committed = blob.content();
        let same = || OnDisk::Same(Digest::sha256(committed));
        let metadata = match fs::symlink_metadata(location) {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => return Ok(OnDisk::Nothing),
            Err(error) => return Err(digest::Error::io(location, error).into()),
        };
        if metadata.is_symlink() {
            let target = fs::read_link(location);
            let target = target.map_err(|source| digest::Error::io(location, source))?;
            let target = target.as_os_str().as_bytes();
            let is_same = entry.mode == LINK && target == committed;
            return Ok(if is_same { same() } else { OnDisk::Other(Digest::sha256(target)) });
        }
        if !metadata.is_file() {
            return Ok(OnDisk::Nothing);
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        let right_mode = entry.mode != LINK && executable == (entry.mode == EXECUTABLE);
        let digests = hash_file(
            location,
            Algorithms::SHA256,
            Symlinks::Refuse,
            &mut [],
            &self.context.without_progress(),
        )?
        .digests;
        let Some(found) = digests.sha256 else {
            return Ok(OnDisk::Nothing);
        };
        let is_same = right_mode
            && (found == Digest::sha256(committed)
                || parse_lfs(committed) == Some((found, digests.size))
                || differs_only_in_line_ends(committed, location, digests.size)?);
        Ok(if is_same { same() } else { OnDisk::Other(found) })
    }

    /// Compares a submodule. It is unchanged if the recorded commit is checked out without edits. A submodule that is
    /// not checked out is in the state that `git clone` leaves, so nothing can differ.
    fn compare_submodule(&self, location: &Path, id: Oid) -> Result<OnDisk, CodeError> {
        let same = OnDisk::Same(Digest::sha256(id.to_string().as_bytes()));
        if !location.join(".git").exists() {
            return Ok(if location.is_dir() { same } else { OnDisk::Nothing });
        }
        if let Some(special) = special_file_around(location) {
            return Err(CodeError::Special(special));
        }
        let git = |source| self.git(source);
        let repository = Repository::open(location).map_err(git)?;
        let commit = repository.head().and_then(|head| head.peel_to_commit()).map_err(git)?;
        let tree = commit.tree().map_err(git)?;
        let (files, changes) = compare(&repository, location, &tree, self.exempt, self.context)?;
        if commit.id() == id && changes.is_empty() {
            return Ok(same);
        }
        let files = files.iter().map(|(path, digest)| (path.as_str(), *digest));
        Ok(OnDisk::Other(digest::directory_hash(files)))
    }

    /// Finds staged changes: index entries that differ from the commit, and entries of the commit that the index lacks.
    fn compare_index(&mut self) -> Result<(), CodeError> {
        let index = self.repository.index().map_err(|source| self.git(source))?;
        let mut indexed = BTreeSet::new();
        for entry in index.iter() {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            let same = self.tracked.get(&path).is_some_and(|tracked| {
                tracked.id == entry.id && u32::try_from(tracked.mode) == Ok(entry.mode)
            });
            if !same {
                self.change(&path, ChangeKind::Staged);
            }
            indexed.insert(path);
        }
        let removed = self.tracked.keys().filter(|path| !indexed.contains(*path));
        for path in removed.cloned().collect::<Vec<_>>() {
            self.change(&path, ChangeKind::Staged);
        }
        Ok(())
    }

    /// Records a change, unless the path is exempt or a more informative change is already recorded.
    fn change(&mut self, path: &str, kind: ChangeKind) {
        let location = self.root.join(path);
        // Files that a build writes are untracked. A tracked file in the same place comes from a person, so its changes
        // count.
        let is_written =
            |path: &PathBuf| location == *path || kind == ChangeKind::Untracked && location.starts_with(path);
        let exempt = is_below(&location, &self.exempt.declared)
            || is_below(&location, &self.exempt.ignored)
            || self.exempt.written.iter().any(is_written);
        if !exempt {
            self.changes.entry(path.to_string()).or_insert(kind);
        }
    }

    fn find_untracked(&mut self) -> Result<(), CodeError> {
        check_ignore_file(self.root)?;
        let mut walker = WalkDir::new(self.root).min_depth(1).into_iter();
        while let Some(found) = walker.next() {
            self.context.check().map_err(|_| digest::Error::Interrupted)?;
            let found = found.map_err(|error| {
                let path = error.path().unwrap_or(self.root).to_path_buf();
                let failed = || io::Error::other("the directory cannot be listed");
                digest::Error::io(&path, error.into_io_error().unwrap_or_else(failed))
            })?;
            let is_directory = found.file_type().is_dir();
            let location = found.path();
            let relative = location.strip_prefix(self.root).unwrap_or(location);
            let path = relative.to_string_lossy().into_owned();
            let tracked = self.tracked.get(&path);
            let skip = found.file_name() == ".git"
                || tracked.is_some_and(|entry| entry.mode == SUBMODULE && location.join(".git").exists())
                || is_below(location, &self.exempt.declared)
                || is_below(location, &self.exempt.ignored)
                || is_below(location, &self.exempt.written)
                || (!(is_directory && self.holds_tracked(&path))
                    && tracked.is_none()
                    && !self.is_in_submodule(relative)
                    && self.repository.is_path_ignored(relative).unwrap_or(false));
            if is_directory && !skip {
                check_ignore_file(location)?;
            }
            if is_directory && skip {
                walker.skip_current_dir();
            } else if is_directory && location.join(".git").exists() {
                // A separate repository that this one does not know. It becomes one entry, as in the output of git.
                self.changes.insert(format!("{path}/"), ChangeKind::Untracked);
                walker.skip_current_dir();
            } else if !is_directory && !skip && tracked.is_none() {
                self.add_untracked(path, location)?;
            }
        }
        Ok(())
    }

    /// Whether a path is in the directory of a submodule that is not checked out. git shows nothing there.
    fn is_in_submodule(&self, path: &Path) -> bool {
        let above = path.ancestors().skip(1).filter_map(Path::to_str);
        above.filter_map(|above| self.tracked.get(above)).any(|entry| entry.mode == SUBMODULE)
    }

    fn holds_tracked(&self, directory: &str) -> bool {
        let prefix = format!("{directory}/");
        let next = self.tracked.range(prefix.clone()..).next();
        next.is_some_and(|(path, _)| path.starts_with(&prefix))
    }

    fn add_untracked(&mut self, path: String, location: &Path) -> Result<(), CodeError> {
        match hash_file(
            location,
            Algorithms::SHA256,
            Symlinks::Refuse,
            &mut [],
            &self.context.without_progress(),
        ) {
            Ok(read) => self.files.extend(read.digests.sha256.map(|digest| (path.clone(), digest))),
            Err(digest::Error::NotRegular { .. }) => {}
            Err(other) => return Err(other.into()),
        }
        self.changes.entry(path).or_insert(ChangeKind::Untracked);
        Ok(())
    }
}

/// Whether only line ends differ, as in a checkout with `core.autocrlf` or `eol=crlf`: lines end in CR LF where the
/// commit has LF.
fn differs_only_in_line_ends(committed: &[u8], location: &Path, size: u64) -> Result<bool, CodeError> {
    let lines = committed.iter().filter(|byte| **byte == b'\n').count() as u64;
    if size.abs_diff(committed.len() as u64) > lines || committed.contains(&0) {
        return Ok(false);
    }
    let on_disk = fs::read(location).map_err(|source| digest::Error::io(location, source))?;
    Ok(with_line_feeds(&on_disk) == with_line_feeds(committed))
}

fn with_line_feeds(text: &[u8]) -> Vec<u8> {
    let is_kept = |(index, byte): (usize, &u8)| {
        (*byte != b'\r' || text.get(index + 1) != Some(&b'\n')).then_some(*byte)
    };
    text.iter().enumerate().filter_map(is_kept).collect()
}

/// git reads the ignore rules of a directory from a file in it. Reading a pipe would never end.
fn check_ignore_file(directory: &Path) -> Result<(), CodeError> {
    let path = directory.join(".gitignore");
    if is_special(&path) { Err(CodeError::Special(path)) } else { Ok(()) }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether a path is one of these roots, or below one.
fn is_below(path: &Path, roots: &[PathBuf]) -> bool {
    roots.iter().any(|root| path.starts_with(root))
}
