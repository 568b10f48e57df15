use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::interrupt::Unfinished;

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
    pub fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// Makes one for this user alone, below `parent`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new_in(parent: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("modelseal-").tempdir_in(parent)?;
        // Links resolved, so that a sandbox and the command agree on the name.
        let path = directory.keep().canonicalize()?;
        Ok(Self { _unfinished: Unfinished::new(&path), path })
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

/// Removes a directory in which some directories may forbid it.
pub(crate) fn remove_all(path: &Path) {
    if fs::remove_dir_all(path).is_ok() {
        return;
    }
    // A parent comes before its children, so each can be entered by the time that it is read.
    for entry in WalkDir::new(path).into_iter().flatten().filter(|entry| entry.file_type().is_dir()) {
        let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
    }
    // The walk could not enter what it had read before it was opened to it: once more.
    for entry in WalkDir::new(path).into_iter().flatten().filter(|entry| entry.file_type().is_dir()) {
        let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
    }
    let _ = fs::remove_dir_all(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_without_permissions_do_not_stay_behind() {
        let scratch = Scratch::new().expect("makes");
        let path = scratch.path().to_path_buf();
        let deep = scratch.directory("a/b/c").expect("makes");
        fs::write(deep.join("file"), "x").expect("writes");
        for name in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o500)).expect("sets");
        }
        drop(scratch);
        assert!(!path.exists());
    }
}
