//! Keeps the old artifact aside while a command makes a new one.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::guarded_path::Place;
use super::planted::set_planted_aside;
use crate::inputs::Contents;
use crate::run::{Mounts, make_accessible, remove_all};
use modelseal_format::digest::Digest;

/// The old artifact under another name. Dropping this restores it.
pub(super) struct Aside {
    /// Where the artifact belongs.
    place: Place,
    /// Where the old artifact is; `None` if there was none.
    old: Option<PathBuf>,
    /// The root of the project. A command cannot close directories above it.
    root: PathBuf,
    /// Whether the new artifact stays.
    accepted: bool,
}

impl Aside {
    /// The path of the old artifact while the new one is made.
    ///
    /// It is in the repository's own directory, which `git clean` does not touch, if that is on the same file system.
    /// Otherwise it is next to the artifact.
    pub(super) fn path(place: &Path, repository: Option<&Path>) -> PathBuf {
        let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
        let around = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A rename from one mount to another fails, even within one file system.
        let mounts = Mounts::read();
        let is_near = |repository: &Path| {
            device(repository).is_some()
                && device(repository) == device(around)
                && mounts.around(repository) == mounts.around(around)
        };
        match repository {
            Some(repository) if is_near(repository) => {
                let path = around.canonicalize().unwrap_or_else(|_| around.to_path_buf());
                let path = path.join(place.file_name().unwrap_or_default());
                let name = Digest::sha256(path.as_os_str().as_encoded_bytes()).to_string();
                repository.join(format!("modelseal-aside-{}", &name[..16]))
            }
            _ => {
                let name = place.file_name().unwrap_or_default().to_string_lossy();
                place.with_file_name(format!(".{name}.modelseal-aside"))
            }
        }
    }

    /// Moves the artifact aside, if there is one.
    ///
    /// An artifact that a killed build left aside is restored first. `before` is the place of the artifact as it was
    /// before any command ran.
    pub(super) fn take(
        before: Place,
        root: &Path,
        repository: Option<&Path>,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let place = before.path.clone();
        let place = place.as_path();
        let old = Self::path(place, repository);
        let failed = |error| (old.clone(), error);
        let there = |path: &Path| path.symlink_metadata().is_ok();
        if !before.is_unchanged() {
            let error = io::Error::other("a command redirected the artifact's path to another place");
            return Err((place.to_path_buf(), error));
        }
        if there(&old) {
            if there(place) {
                let error = "an earlier build left an old artifact here: remove it, or move it back";
                return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, error)));
            }
            fs::rename(&old, place).map_err(failed)?;
        }
        if let Some(mounted) = place.canonicalize().ok().and_then(|place| Mounts::read().within(&place)) {
            let error = "something is mounted here, inside the artifact: unmount it first";
            return Err((mounted, io::Error::other(error)));
        }
        let old = match there(place) {
            true => {
                // A directory without write permission cannot be moved to another parent directory.
                make_accessible(place);
                fs::rename(place, &old).map_err(|error| (old.clone(), error))?;
                Some(old)
            }
            false => None,
        };
        Ok(Self { place: before, old, root: root.to_path_buf(), accepted: false })
    }

    /// Where the old artifact is, if there is one.
    pub(super) fn old(&self) -> Option<&Path> {
        self.old.as_deref()
    }

    /// Whether the directories above the artifact now lead elsewhere.
    pub(super) fn is_led_elsewhere(&self) -> bool {
        !self.place.is_unchanged()
    }

    /// The old artifact, if it cannot be restored because something else is now above its place.
    pub(super) fn stuck(&self) -> Option<&Path> {
        self.open_up();
        let parent = self.place.directory();
        let is_free = self.place.is_unchanged() && (parent.is_dir() || parent.symlink_metadata().is_err());
        self.old.as_deref().filter(|_| !is_free)
    }

    /// Opens the directories above the artifact, which a command may have closed.
    fn open_up(&self) {
        let above = self.place.resolved.ancestors().skip(1).take_while(|above| above.starts_with(&self.root));
        above.collect::<Vec<_>>().into_iter().rev().for_each(make_accessible);
    }

    /// Keeps the new artifact and removes the old one.
    pub(super) fn accept(mut self) {
        self.accepted = true;
        if let Some(old) = self.old.take() {
            remove(&old);
        }
    }

    /// Saves the new artifact at `kept` and restores the old one. Returns `kept` if that succeeds.
    pub(super) fn reject(self, kept: &Path) -> Option<PathBuf> {
        (self.place.is_unchanged() && keep(&self.place.path, kept)).then(|| kept.to_path_buf())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // An artifact that cannot be restored now stays aside, where the next build finds it.
        if self.accepted || !self.place.is_unchanged() {
            return;
        }
        self.open_up();
        remove(&self.place.path);
        if let Some(old) = &self.old {
            let _ = fs::create_dir_all(self.place.directory());
            let _ = fs::rename(old, &self.place.path);
        }
    }
}

/// Moves an artifact that took long to make to a path where it can be found, also across file systems. Returns whether
/// all of it is there.
pub(super) fn keep(from: &Path, to: &Path) -> bool {
    // An artifact cannot be kept inside itself.
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    if absolute(to).starts_with(absolute(from)) {
        return false;
    }
    remove(to);
    let Some(directory) = to.parent() else { return false };
    if fs::create_dir_all(directory).is_err() {
        return false;
    }
    let kept = fs::rename(from, to).is_ok() || copy(from, to).is_ok();
    if kept {
        set_planted_aside(to, &Contents::default(), &[]);
    } else {
        remove(to);
    }
    kept
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_symlink() {
        return Err(io::Error::other("a link is not followed"));
    }
    for entry in walkdir::WalkDir::new(from).follow_root_links(false) {
        let entry = entry?;
        let relative = entry.path().strip_prefix(from).map_err(io::Error::other)?;
        let target = if relative.as_os_str().is_empty() { to.to_path_buf() } else { to.join(relative) };
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target)?;
        } else if entry.file_type().is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => remove_all(path),
        Ok(_) => {
            let _ = fs::remove_file(path);
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_restores_the_old_artifact_unless_the_new_one_is_accepted() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("model");
        let read = || fs::read_to_string(place.join("w")).expect("reads");
        let write = |text: &str| {
            fs::create_dir_all(&place).expect("creates");
            fs::write(place.join("w"), text).expect("writes");
        };
        write("old");
        let aside = Aside::take(Place::of(&place), directory.path(), None).expect("moves");
        assert!(!place.exists());
        write("new");
        drop(aside);
        assert_eq!(read(), "old");

        let aside = Aside::take(Place::of(&place), directory.path(), None).expect("moves");
        write("new");
        let kept = directory.path().join("rejected");
        assert_eq!(aside.reject(&kept), Some(kept.clone()));
        assert_eq!(read(), "old");
        assert_eq!(fs::read_to_string(kept.join("w")).expect("reads"), "new");

        let aside = Aside::take(Place::of(&place), directory.path(), None).expect("moves");
        write("new");
        aside.accept();
        assert_eq!(read(), "new");
        assert!(!Aside::path(&place, None).exists());
    }

    #[test]
    fn build_restores_a_backup_of_a_killed_build_and_never_overwrites_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("model.bin");
        fs::write(Aside::path(&place, None), "old").expect("writes");
        let aside = Aside::take(Place::of(&place), directory.path(), None).expect("moves");
        drop(aside);
        assert_eq!(fs::read_to_string(&place).expect("reads"), "old");
        fs::write(Aside::path(&place, None), "older").expect("writes");
        assert!(Aside::take(Place::of(&place), directory.path(), None).is_err());
        assert_eq!(fs::read_to_string(&place).expect("reads"), "old");
    }

    #[test]
    fn backup_makes_only_directories_within_the_project_writable() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let above = directory.path().canonicalize().expect("resolves");
        let root = above.join("p");
        fs::create_dir_all(root.join("a")).expect("creates");
        fs::write(root.join("a/model"), "old").expect("writes");
        let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        let set = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o500)).expect("sets");
        let aside = Aside::take(Place::of(&root.join("a/model")), &root, None).expect("moves");
        set(&root.join("a"));
        set(&above);
        drop(aside);
        assert_eq!((mode(&root.join("a")), mode(&above)), (0o700, 0o500));
        assert_eq!(fs::read_to_string(root.join("a/model")).expect("reads"), "old");
    }
}
