use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{DirEntry, FileType, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::Digest as _;

use super::parallel::map_files;
use super::{Digest, Error};
use crate::context::Context;

/// How to treat symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symlinks {
    /// A link is reported and never followed.
    #[default]
    Refuse,
    /// A link is treated as the file or directory to which it leads.
    Follow,
}

/// The kind of an entry that a walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    File,
    /// A directory that contains nothing, or nothing that was not left out.
    EmptyDirectory,
    /// A symbolic link, FIFO, socket or device. The text names it with its article.
    Special(&'static str),
}

/// An entry below the root of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    pub kind: EntryKind,
    /// Bytes that are not UTF-8 are replaced.
    shown: Box<str>,
    is_utf8: bool,
}

impl TreeEntry {
    /// The entry with this name below a directory, or below the root.
    fn new(above: Option<&TreeEntry>, name: &OsStr, kind: EntryKind) -> Self {
        let shown = match (above, name.to_string_lossy()) {
            (Some(above), name) => [above.shown(), "/", &name].concat().into(),
            (None, name) => name.into(),
        };
        let is_utf8 = name.to_str().is_some() && above.is_none_or(|above| above.is_utf8);
        Self { kind, shown, is_utf8 }
    }

    /// The path relative to the root, with parts joined by `/`. `None` if the name is not UTF-8; then only
    /// [`TreeEntry::shown`] identifies the entry.
    pub fn path(&self) -> Option<&str> {
        self.is_utf8.then_some(&*self.shown)
    }

    /// Like [`Self::path`].
    ///
    /// # Errors
    /// The path for a message, if it is not UTF-8.
    pub fn into_path(self) -> Result<String, String> {
        let shown = self.shown.into_string();
        if self.is_utf8 { Ok(shown) } else { Err(shown) }
    }

    /// The path for a message, not escaped. Bytes that are not UTF-8 are replaced.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

/// Everything below a directory, in byte order of the paths.
#[derive(Debug, Default)]
pub struct Tree {
    pub entries: Vec<TreeEntry>,
}

/// Walks a directory on all threads, or names a single file by its base name.
///
/// Calls `leave_out(path, is_directory)` for each UTF-8 name. A directory that is left out is not entered.
///
/// # Errors
/// [`Error::Io`], [`Error::Loop`]. Links and special files are entries, not errors: the caller decides.
pub fn walk(
    root: &Path,
    symlinks: Symlinks,
    leave_out: &dyn Fn(&str, bool) -> bool,
    context: &Context,
) -> Result<Tree, Error> {
    let is_left_out =
        |entry: &TreeEntry, is_directory| entry.path().is_some_and(|path| leave_out(path, is_directory));
    let metadata = std::fs::metadata(root).map_err(|source| why_not_entered(root, source))?;
    if !metadata.is_dir() {
        let entry = TreeEntry::new(None, root.file_name().unwrap_or_default(), kind(metadata.file_type()));
        let entries = if is_left_out(&entry, false) { Vec::new() } else { vec![entry] };
        return Ok(Tree { entries });
    }
    let mut entries = Vec::new();
    let mut level = vec![Directory::root(root, symlinks, &metadata)];
    while !level.is_empty() {
        let listings = map_files(&level, context, |directory| directory.list(context))?;
        let mut next = Vec::new();
        for (directory, mut listing) in level.into_iter().zip(listings) {
            listing.entries.retain(|entry| !is_left_out(entry, false));
            listing
                .directories
                .retain(|directory| directory.entry.as_ref().is_none_or(|entry| !is_left_out(entry, true)));
            if listing.entries.is_empty() && listing.directories.is_empty() {
                entries.extend(directory.entry);
            }
            entries.append(&mut listing.entries);
            next.append(&mut listing.directories);
        }
        level = next;
    }
    // Every directory is already sorted, so a merge sort has little left to do.
    entries.sort_by(|left, right| left.shown().as_bytes().cmp(right.shown().as_bytes()));
    Ok(Tree { entries })
}

/// A directory to list.
struct Directory {
    location: PathBuf,
    /// Its entry if nothing is found in it. `None` for the root, which then has no entry.
    entry: Option<TreeEntry>,
    /// The directory itself and its ancestors, if links are followed. A link may lead back to one of them.
    follow: Option<Arc<Ancestry>>,
}

struct Ancestry {
    identity: (u64, u64),
    above: Option<Arc<Ancestry>>,
}

#[derive(Default)]
struct Listing {
    entries: Vec<TreeEntry>,
    directories: Vec<Directory>,
}

impl Directory {
    fn root(location: &Path, symlinks: Symlinks, metadata: &Metadata) -> Self {
        let ancestry = Ancestry { identity: identity(metadata), above: None };
        let follow = (symlinks == Symlinks::Follow).then(|| Arc::new(ancestry));
        Self { location: location.to_path_buf(), entry: None, follow }
    }

    /// Lists the directory's entries and its directories, each in byte order.
    fn list(&self, context: &Context) -> Result<Listing, Error> {
        let io = |source| Error::io(&self.location, source);
        let mut listing = Listing::default();
        for found in std::fs::read_dir(&self.location).map_err(io)? {
            context.check().map_err(io)?;
            let found = found.map_err(io)?;
            let kind_there = found.file_type().map_err(io)?;
            match &self.follow {
                Some(ancestry) => self.add_followed(&mut listing, &found, kind_there, ancestry)?,
                None => self.add(&mut listing, &found.file_name(), kind_there, None),
            }
        }
        let shown = |entry: &TreeEntry, other: &TreeEntry| entry.shown().cmp(other.shown());
        listing.entries.sort_unstable_by(shown);
        listing
            .directories
            .sort_unstable_by(|left, right| left.location.as_os_str().cmp(right.location.as_os_str()));
        Ok(listing)
    }

    fn add(&self, listing: &mut Listing, name: &OsStr, found: FileType, follow: Option<Arc<Ancestry>>) {
        let kind = if found.is_dir() { EntryKind::EmptyDirectory } else { kind(found) };
        let entry = TreeEntry::new(self.entry.as_ref(), name, kind);
        if found.is_dir() {
            let location = self.location.join(name);
            listing.directories.push(Directory { location, entry: Some(entry), follow });
        } else {
            listing.entries.push(entry);
        }
    }

    /// Adds the target of a link, or the entry itself if it is not a link.
    fn add_followed(
        &self,
        listing: &mut Listing,
        found: &DirEntry,
        kind_there: FileType,
        ancestry: &Arc<Ancestry>,
    ) -> Result<(), Error> {
        if !kind_there.is_symlink() && !kind_there.is_dir() {
            self.add(listing, &found.file_name(), kind_there, None);
            return Ok(());
        }
        let path = found.path();
        let metadata = std::fs::metadata(&path).map_err(|source| why_not_entered(&path, source))?;
        let identity = identity(&metadata);
        if metadata.is_dir() && ancestry.holds(identity) {
            return Err(Error::Loop { path });
        }
        let below = metadata.is_dir().then(|| Arc::new(Ancestry { identity, above: Some(ancestry.clone()) }));
        self.add(listing, &found.file_name(), metadata.file_type(), below);
        Ok(())
    }
}

impl Ancestry {
    fn holds(&self, identity: (u64, u64)) -> bool {
        let mut ancestors = std::iter::successors(Some(self), |ancestry| ancestry.above.as_deref());
        ancestors.any(|ancestry| ancestry.identity == identity)
    }
}

/// Device and inode.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn kind(found: FileType) -> EntryKind {
    if found.is_file() { EntryKind::File } else { EntryKind::Special(kind_of(found)) }
}

/// Explains a followed link to a missing target. The system only says "not found", which does not name the link.
/// The kind of a directory entry, with its article, for messages.
pub(super) fn kind_of(kind: FileType) -> &'static str {
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "a regular file"
    }
}

fn why_not_entered(path: &Path, source: std::io::Error) -> Error {
    if path.is_symlink() && !path.exists() {
        return Error::NotRegular { path: path.to_path_buf(), kind: "a broken symbolic link" };
    }
    Error::io(path, source)
}

/// The digest of a directory, `dirHash` in a DigestSet: SHA-256 over one line for each file, `HEX  PATH\n`, in byte
/// order of the paths, as Go's module checksums (`h1:`) define it.
///
/// Modes and empty directories are not covered. The paths must be sorted and contain no line feed.
pub fn directory_hash<'a>(files: impl IntoIterator<Item = (&'a str, Digest)>) -> Digest {
    let mut hasher = sha2::Sha256::new();
    let mut line = String::new();
    for (path, sha256) in files {
        line.clear();
        // Writing into a string does not fail.
        let _ = writeln!(line, "{sha256}  {path}");
        hasher.update(&line);
    }
    Digest(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tree: &Tree) -> Vec<String> {
        let text = |entry: &TreeEntry| match &entry.kind {
            EntryKind::File => entry.shown().to_string(),
            EntryKind::EmptyDirectory => format!("{}/", entry.shown()),
            EntryKind::Special(kind) => format!("{} {kind}", entry.shown()),
        };
        tree.entries.iter().map(text).collect()
    }

    #[test]
    fn tree_walk_lists_files_links_and_empty_directories_in_byte_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        for name in ["sub/deep", "empty/nested", "left"] {
            std::fs::create_dir_all(at(name)).expect("creates");
        }
        for name in ["sub/a.bin", "sub-x", "sub.bin", "sub/deep/é", "left/out"] {
            std::fs::write(at(name), name).expect("writes");
        }
        std::os::unix::fs::symlink("..", at("sub/up")).expect("links");

        let leave_out = |path: &str, is_directory: bool| is_directory && path == "left";
        let tree = walk(directory.path(), Symlinks::Refuse, &leave_out, &Context::default()).expect("walks");
        assert_eq!(
            shown(&tree),
            ["empty/nested/", "sub-x", "sub.bin", "sub/a.bin", "sub/deep/é", "sub/up a symbolic link",]
        );
        let looped = walk(directory.path(), Symlinks::Follow, &leave_out, &Context::default());
        assert!(matches!(looped, Err(Error::Loop { .. })), "{looped:?}");
    }

    #[test]
    fn tree_walk_lists_a_single_file_as_one_entry() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("model.bin");
        std::fs::write(&path, "x").expect("writes");
        let tree = walk(&path, Symlinks::Refuse, &|_, _| false, &Context::default()).expect("walks");
        assert_eq!(shown(&tree), ["model.bin"]);
    }

    #[test]
    fn tree_walk_lists_a_name_that_is_not_utf8_without_a_path() {
        use std::os::unix::ffi::OsStrExt;
        let directory = tempfile::tempdir().expect("a directory");
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
        std::fs::write(directory.path().join(name), "x").expect("writes");
        let tree =
            walk(directory.path(), Symlinks::Refuse, &|_, _| false, &Context::default()).expect("walks");
        assert_eq!(tree.entries[0].path(), None);
        assert_eq!(tree.entries[0].shown(), "caf\u{fffd}");
    }

    /// `find . -type f | cut -c3- | LC_ALL=C sort | xargs sha256sum | sha256sum` over the same files.
    #[test]
    fn directory_hash_matches_sha256sum_over_the_sorted_file_list() {
        let files = [("a", Digest::sha256(b"1\n")), ("b/c", Digest::sha256(b"2\n"))];
        let lines = format!("{}  a\n{}  b/c\n", files[0].1, files[1].1);
        assert_eq!(directory_hash(files), Digest::sha256(lines.as_bytes()));
    }
}
