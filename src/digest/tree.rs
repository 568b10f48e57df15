use std::fs::FileType;
use std::path::{Path, PathBuf};

use sha2::Digest as _;
use walkdir::WalkDir;

use super::file::kind_of;
use super::{Digest, Error};

/// What to do with symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symlinks {
    /// A link is named, never looked through.
    #[default]
    Refuse,
    /// A link stands for the file or directory behind it.
    Follow,
}

/// What a walk found under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    File,
    /// A directory that holds nothing, or nothing that was not left out.
    EmptyDirectory,
    /// A symbolic link, FIFO, socket or device: what it is, with its article.
    Special(&'static str),
}

/// One name below the root of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Relative to the root, parts joined by `/`. Where the name is not UTF-8, `None`, and only
    /// [`TreeEntry::shown`] can say which entry it is.
    pub path: Option<String>,
    pub kind: EntryKind,
    lossy: String,
}

impl TreeEntry {
    /// The path for a message, not escaped; bytes that are not UTF-8 are replaced.
    pub fn shown(&self) -> &str {
        self.path.as_deref().unwrap_or(&self.lossy)
    }
}

/// Everything below a directory, in byte order of the paths.
#[derive(Debug, Default)]
pub struct Tree {
    pub entries: Vec<TreeEntry>,
}

/// Walks a directory, or names a single file by its base name.
///
/// `leave_out(path, is_directory)` is asked for each UTF-8 name; a directory left out is not entered.
///
/// # Errors
/// [`Error::Io`], [`Error::Loop`]. Links and special files are entries, not errors: the caller decides.
pub fn walk(root: &Path, symlinks: Symlinks, leave_out: &dyn Fn(&str, bool) -> bool) -> Result<Tree, Error> {
    let follow = symlinks == Symlinks::Follow;
    let mut entries = Vec::new();
    // Directories that are open, each with whether something was found in it.
    let mut open: Vec<(PathBuf, bool)> = Vec::new();
    let mut walker = WalkDir::new(root).follow_links(follow).follow_root_links(true).into_iter();
    while let Some(found) = walker.next() {
        crate::interrupt::check().map_err(|source| Error::io(root, source))?;
        let found = found.map_err(|error| walk_error(root, error))?;
        close_directories(root, &mut open, found.path(), &mut entries);
        let relative = match found.path().strip_prefix(root) {
            Ok(relative) if !relative.as_os_str().is_empty() => relative,
            // The root itself: nothing to list if it is a directory, the only file otherwise.
            _ if found.file_type().is_dir() => continue,
            _ => Path::new(root.file_name().unwrap_or_default()),
        };
        let path = relative.to_str().map(str::to_string);
        let is_directory = found.file_type().is_dir();
        if path.as_deref().is_some_and(|path| leave_out(path, is_directory)) {
            if is_directory {
                walker.skip_current_dir();
            }
            continue;
        }
        if let Some((_, used)) = open.last_mut() {
            *used = true;
        }
        if is_directory {
            open.push((found.path().to_path_buf(), false));
            continue;
        }
        entries.push(TreeEntry {
            lossy: lossy(path.is_none(), relative),
            path,
            kind: kind(found.file_type()),
        });
    }
    close_directories(root, &mut open, Path::new(""), &mut entries);
    entries.sort_unstable_by(|left, right| left.shown().as_bytes().cmp(right.shown().as_bytes()));
    Ok(Tree { entries })
}

/// Leaves every open directory that `next` is not in, and lists those that held nothing.
fn close_directories(
    root: &Path,
    open: &mut Vec<(PathBuf, bool)>,
    next: &Path,
    entries: &mut Vec<TreeEntry>,
) {
    while let Some((directory, used)) = open.pop_if(|(directory, _)| !next.starts_with(directory)) {
        if used {
            continue;
        }
        let relative = directory.strip_prefix(root).unwrap_or(&directory);
        let path = relative.to_str().map(str::to_string);
        entries.push(TreeEntry {
            lossy: lossy(path.is_none(), relative),
            path,
            kind: EntryKind::EmptyDirectory,
        });
    }
}

fn lossy(needed: bool, relative: &Path) -> String {
    if needed { relative.to_string_lossy().into_owned() } else { String::new() }
}

fn kind(found: FileType) -> EntryKind {
    if found.is_file() { EntryKind::File } else { EntryKind::Special(kind_of(found)) }
}

fn walk_error(root: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(root).to_path_buf();
    if error.loop_ancestor().is_some() {
        return Error::Loop { path };
    }
    // A link to nowhere that is to be followed: the system only says "not found", which names nothing.
    if path.is_symlink() && !path.exists() {
        return Error::NotRegular { path, kind: "a link to something that is not there" };
    }
    let source = error.into_io_error().unwrap_or_else(|| std::io::Error::other("the walk failed"));
    Error::io(&path, source)
}

/// The digest of a directory, `dirHash` in a DigestSet: SHA-256 over one line a file, `HEX  PATH\n`,
/// in byte order of the paths, as Go's module checksums (`h1:`) define it.
///
/// Modes and empty directories are not covered. The paths must be sorted and hold no line feed.
pub fn directory_hash<'a>(files: impl IntoIterator<Item = (&'a str, Digest)>) -> Digest {
    let mut hasher = sha2::Sha256::new();
    for (path, sha256) in files {
        hasher.update(format!("{sha256}  {path}\n"));
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
    fn a_walk_lists_files_links_and_empty_directories_in_byte_order() {
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
        let tree = walk(directory.path(), Symlinks::Refuse, &leave_out).expect("walks");
        assert_eq!(
            shown(&tree),
            ["empty/nested/", "sub-x", "sub.bin", "sub/a.bin", "sub/deep/é", "sub/up a symbolic link",]
        );
        let looped = walk(directory.path(), Symlinks::Follow, &leave_out);
        assert!(matches!(looped, Err(Error::Loop { .. })), "{looped:?}");
    }

    #[test]
    fn a_single_file_is_a_tree_of_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("model.bin");
        std::fs::write(&path, "x").expect("writes");
        let tree = walk(&path, Symlinks::Refuse, &|_, _| false).expect("walks");
        assert_eq!(shown(&tree), ["model.bin"]);
    }

    #[test]
    fn a_name_that_is_not_utf8_is_listed_without_a_path() {
        use std::os::unix::ffi::OsStrExt;
        let directory = tempfile::tempdir().expect("a directory");
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
        std::fs::write(directory.path().join(name), "x").expect("writes");
        let tree = walk(directory.path(), Symlinks::Refuse, &|_, _| false).expect("walks");
        assert_eq!(tree.entries[0].path, None);
        assert_eq!(tree.entries[0].shown(), "caf\u{fffd}");
    }

    /// `find . -type f | cut -c3- | LC_ALL=C sort | xargs sha256sum | sha256sum` over the same files.
    #[test]
    fn the_directory_hash_is_that_of_go_modules() {
        let files = [("a", Digest::sha256(b"1\n")), ("b/c", Digest::sha256(b"2\n"))];
        let lines = format!("{}  a\n{}  b/c\n", files[0].1, files[1].1);
        assert_eq!(directory_hash(files), Digest::sha256(lines.as_bytes()));
    }
}
