//! What no mount can protect from a command. It is repaired after the command has ended.

use std::fs;
use std::path::{Path, PathBuf};

use super::trail::{Missing, Trail};
use super::view::{Access, View};
use super::{Error, make_accessible, set_aside};

/// What to create at a path that does not exist.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Directory,
    /// Where git expects a file, a directory is an error.
    File,
}

/// What no mount can protect from a command, and is repaired after the command has ended: missing paths, and links.
#[derive(Debug, Default)]
pub(super) struct Cleanup {
    /// Empty directories and files that were created so that no command can create them.
    placeholders: Vec<PathBuf>,
    /// Read-only places that another build could exchange. A mount would move with them.
    guarded: Vec<Trail>,
    /// Links that the caller's programs follow, each with its target.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    /// Places that are not links, and must not become links that lead out of the `writable` directories.
    pub(super) places: Vec<PathBuf>,
    pub(super) writable: Vec<PathBuf>,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        for path in self.placeholders.iter().rev() {
            path.parent().into_iter().for_each(make_accessible);
            // A directory or file that is no longer empty does not belong to modelseal any more.
            let is_ours = path.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == 0);
            let _ = if is_ours { fs::remove_file(path) } else { fs::remove_dir(path) };
        }
    }
}

impl Cleanup {
    /// Makes a path read-only for a command, whether it exists or not. Otherwise the caller's shell or git would look
    /// there, and run what a command had put there.
    pub(super) fn guard(
        &mut self,
        view: &mut View,
        path: &Path,
        kind: Kind,
        work: &[Trail],
    ) -> Result<(), Error> {
        let (trail, missing) = match Trail::as_far_as_it_leads(path) {
            Ok(found) => found,
            // A command can make a directory inaccessible, to hide what has to be guarded in it.
            Err((trail, source)) if view.is_writable(trail.end()) && is_own(trail.end()) => {
                return Err(Error::Hidden { path: path.to_path_buf(), source });
            }
            Err(_) => return Ok(()),
        };
        trail.links().for_each(|(link, target)| self.hold(view, link, target));
        let place = trail.end();
        match missing {
            Some(missing) => self.cover(view, &missing, kind),
            // A directory in which a command works cannot be read-only. A directory around it can.
            None if work.iter().any(|writable| writable.end() == place) => Ok(()),
            None if view.is_writable(place) => {
                if place.parent().is_some_and(|parent| view.is_writable(parent)) {
                    self.guarded.extend(Trail::of(place));
                }
                view.add(place, Access::Protected);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Creates a missing path and covers it, so that no command can create it.
    fn cover(&mut self, view: &mut View, missing: &Missing, kind: Kind) -> Result<(), Error> {
        let place = missing.place.as_path();
        if !view.is_writable(place) {
            return Ok(());
        }
        let made = match kind {
            Kind::File if missing.is_last => fs::File::create_new(place).map(drop),
            Kind::File | Kind::Directory => fs::create_dir(place),
        };
        match made {
            Ok(()) => {
                self.placeholders.push(place.to_path_buf());
                view.add(place, Access::Hidden);
                Ok(())
            }
            // Another build covers it, too.
            Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                view.add(place, Access::Protected);
                Ok(())
            }
            Err(source) if place.parent().is_some_and(is_own) => {
                Err(Error::Hidden { path: place.to_path_buf(), source })
            }
            // No command of this user can create it either.
            Err(_) => Ok(()),
        }
    }

    /// Records a link so that it is restored if a command replaces it, and ensures that its directory cannot be moved.
    pub(super) fn hold(&mut self, view: &mut View, link: &Path, target: &Path) {
        if !view.is_writable(link) {
            return;
        }
        self.links.push((link.to_path_buf(), target.to_path_buf()));
        if let Some(directory) = link.parent() {
            view.add(directory, Access::Writable);
        }
    }

    /// Renames a link that a command put in place of something else, if it leads out of the directories where commands
    /// can write. Otherwise the next build would follow it.
    fn set_link_aside(&self, place: &Path) -> Option<Error> {
        place.symlink_metadata().ok().filter(fs::Metadata::is_symlink)?;
        let leads = place.canonicalize().ok();
        let is_inside = |leads: PathBuf| self.writable.iter().any(|writable| leads.starts_with(writable));
        if leads.is_some_and(is_inside) {
            return None;
        }
        let aside = set_aside(place, "changed-by-command");
        Some(Error::LinkedOut { place: place.to_path_buf(), aside })
    }

    /// Restores links that a command has changed. What it put there is kept under another name in the same directory.
    ///
    /// # Errors
    /// [`Error::Relinked`] or [`Error::LinkedOut`] for the first such link, [`Error::Replaced`] for a place that was
    /// exchanged.
    pub(super) fn restore(&self) -> Result<(), Error> {
        let is_changed =
            |(link, target): &&(PathBuf, PathBuf)| fs::read_link(link).ok().as_ref() != Some(target);
        let restored = self.links.iter().filter(is_changed).map(|(link, target)| {
            let aside = set_aside(link, "changed-by-command");
            let is_back = std::os::unix::fs::symlink(target, link).is_ok();
            Error::Relinked { link: link.clone(), aside, is_back }
        });
        let restored: Vec<Error> = restored.collect();
        let led_out: Vec<Error> = self.places.iter().filter_map(|place| self.set_link_aside(place)).collect();
        if let Some(error) = restored.into_iter().chain(led_out).next() {
            return Err(error);
        }
        let is_gone = |path: &&PathBuf| path.symlink_metadata().is_err();
        let exchanged = self.guarded.iter().find(|trail| !trail.is_unchanged()).map(Trail::path);
        match exchanged.or(self.placeholders.iter().find(is_gone).map(PathBuf::as_path)) {
            Some(path) => Err(Error::Replaced(path.to_path_buf())),
            None => Ok(()),
        }
    }
}

/// Whether a directory belongs to this user, so that a command can make it inaccessible or accessible.
fn is_own(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.metadata().is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw())
}
