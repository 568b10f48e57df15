use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use modelseal_format::context::{Cancel, Unfinished};

/// A temporary directory for the files of a command. It is removed, even if the command changed its permissions.
pub struct Scratch {
    path: PathBuf,
    _unfinished: Unfinished,
}

impl Scratch {
    /// Creates one for this user only.
    ///
    /// # Errors
    /// The errors of the system.
    pub fn new(cancel: &Cancel) -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir(), cancel)
    }

    /// Creates one for this user only, below `parent`.
    ///
    /// # Errors
    /// The errors of the system.
    pub fn new_in(parent: &Path, cancel: &Cancel) -> io::Result<Self> {
        let own = fs::Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().prefix("modelseal-").permissions(own).tempdir_in(parent)?;
        // With links resolved, so that a sandbox and the command use the same name.
        let path = directory.keep().canonicalize()?;
        Ok(Self { _unfinished: cancel.unfinished(&path), path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a directory inside.
    ///
    /// # Errors
    /// The errors of the system.
    pub fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_all(&self.path);
    }
}

/// The depth to which a directory is removed at once. It is lower than the number of files that may be open, and low
/// enough for a path with the longest names (12 of 255 bytes).
const DEPTH: usize = 12;

/// Removes a directory, even if directories in it forbid that, or are deeper than can be reached at once.
pub fn remove_all(path: &Path) {
    let mut round = 0;
    while fs::remove_dir_all(path).is_err() && open_up(path) && flatten(path, round) {
        round += 1;
    }
    let _ = fs::remove_dir_all(path);
}

/// Makes every directory accessible and writable, down to `DEPTH`. Returns whether `path` is a directory.
fn open_up(path: &Path) -> bool {
    // A parent comes before its children, so each child is accessible by the time that it is read. Directories that the
    // walk read before they were accessible are entered in the second round.
    for _ in 0..2 {
        for entry in directories(path) {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
        }
    }
    path.is_dir()
}

/// Moves deep directories to the top. Returns whether there were any.
fn flatten(path: &Path, round: usize) -> bool {
    let deep: Vec<PathBuf> = directories(path)
        .filter(|entry| entry.depth() == DEPTH)
        .map(|entry| entry.path().to_path_buf())
        .collect();
    let moved = deep.iter().enumerate().filter(|(index, deep)| {
        fs::rename(deep, path.join(format!(".modelseal-deep-{round}-{index}"))).is_ok()
    });
    let moved = moved.count() > 0;
    // The directories that contained them are not deep any more.
    let tops = deep.iter().filter_map(|deep| deep.strip_prefix(path).ok()?.components().next());
    let tops: BTreeSet<PathBuf> = tops.map(|top| path.join(top)).collect();
    tops.iter().for_each(|top| _ = fs::remove_dir_all(top));
    moved
}

fn directories(path: &Path) -> impl Iterator<Item = walkdir::DirEntry> {
    let walk = WalkDir::new(path).follow_root_links(false).max_depth(DEPTH).into_iter().flatten();
    walk.filter(|entry| entry.file_type().is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_removes_directories_without_write_permission() {
        let scratch = Scratch::new(&Cancel::default()).expect("makes");
        let path = scratch.path().to_path_buf();
        let deep = scratch.directory("a/b/c").expect("makes");
        fs::write(deep.join("file"), "x").expect("writes");
        for name in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o500)).expect("sets");
        }
        drop(scratch);
        assert!(!path.exists());
    }

    /// Deeper than a path can name, and deeper than the number of files that may be open.
    #[test]
    fn scratch_removes_a_tree_deeper_than_a_path_can_name() {
        let scratch = Scratch::new(&Cancel::default()).expect("makes");
        let path = scratch.path().to_path_buf();
        let name = "x".repeat(200);
        // Built from its end, because a path to the whole tree would be too long.
        for depth in 0..1500 {
            let outer = path.join(format!("{depth}"));
            fs::create_dir(&outer).expect("makes");
            if depth > 0 {
                fs::rename(path.join(format!("{}", depth - 1)), outer.join(&name)).expect("moves");
            }
        }
        drop(scratch);
        assert!(!path.exists());
    }
}
