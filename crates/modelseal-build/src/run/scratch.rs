use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use modelseal_format::context::{Cancel, Unfinished};

/// A temporary directory for what a command makes. It goes away, whatever the command did to its
/// permissions.
pub struct Scratch {
    path: PathBuf,
    _unfinished: Unfinished,
}

impl Scratch {
    /// Makes one for this user alone.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(cancel: &Cancel) -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir(), cancel)
    }

    /// Makes one for this user alone, below `parent`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new_in(parent: &Path, cancel: &Cancel) -> io::Result<Self> {
        let own = fs::Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().prefix("modelseal-").permissions(own).tempdir_in(parent)?;
        // Links resolved, so that a sandbox and the command agree on the name.
        let path = directory.keep().canonicalize()?;
        Ok(Self { _unfinished: cancel.unfinished(&path), path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new directory inside.
    ///
    /// # Errors
    /// Those of the system.
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

/// How deep a directory is removed at once: fewer levels than files may be open, and than a path of the longest names
/// may have (12 of 255 bytes).
const DEPTH: usize = 12;

/// Removes a directory in which some directories may forbid it, or lie deeper than can be reached at once.
pub fn remove_all(path: &Path) {
    let mut round = 0;
    while fs::remove_dir_all(path).is_err() && open_up(path) && flatten(path, round) {
        round += 1;
    }
    let _ = fs::remove_dir_all(path);
}

/// Lets every directory be entered and written to, as deep as is looked at once; whether there is one.
fn open_up(path: &Path) -> bool {
    // A parent comes before its children, so each can be entered by the time that it is read; what the walk
    // had read before it was opened is entered the second time.
    for _ in 0..2 {
        for entry in directories(path) {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
        }
    }
    path.is_dir()
}

/// Moves what lies deep to the top; whether there was anything.
fn flatten(path: &Path, round: usize) -> bool {
    let deep: Vec<PathBuf> = directories(path)
        .filter(|entry| entry.depth() == DEPTH)
        .map(|entry| entry.path().to_path_buf())
        .collect();
    let moved = deep.iter().enumerate().filter(|(index, deep)| {
        fs::rename(deep, path.join(format!(".modelseal-deep-{round}-{index}"))).is_ok()
    });
    let moved = moved.count() > 0;
    // What it was moved out of is not deep any more.
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
    fn directories_without_permissions_do_not_stay_behind() {
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

    /// Deeper than a path can name, and than files may be open.
    #[test]
    fn a_tree_of_long_names_does_not_stay_behind_however_deep_it_is() {
        let scratch = Scratch::new(&Cancel::default()).expect("makes");
        let path = scratch.path().to_path_buf();
        let name = "x".repeat(200);
        // Built from its end, because a path to the whole of it would be too long.
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
