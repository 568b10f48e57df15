//! What one command can reach.

use std::fs;
use std::path::PathBuf;

use super::Error;
use super::trail::Trail;

/// Whether a command runs in a sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// If isolation is not available, the command does not run.
    #[default]
    Demanded,
    WhereItWorks,
    Never,
}

/// What one command can reach. The paths where it works and that it reads are recorded as they were before the first
/// command, because bubblewrap looks up their names every time.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {
    pub isolation: Isolation,
    pub network: bool,
    /// The only directories that can be written to. They must exist.
    pub writable: Vec<Trail>,
    /// Readable paths in a home or in a directory that all users share.
    pub readable: Vec<Trail>,
    /// Inputs in writable directories. The next build finds them there.
    pub own_inputs: Vec<Trail>,
    /// Paths in writable directories that are read-only: what the caller runs later. Missing paths cannot be created.
    pub read_only: Vec<PathBuf>,
    /// The same for files that git reads. git fails if a directory is there.
    pub read_only_files: Vec<PathBuf>,
    /// Files and directories that appear empty to this command.
    pub hidden: Vec<PathBuf>,
    /// Directories of which only the other paths listed here are visible.
    pub emptied: Vec<PathBuf>,
    /// Directories below the home of the command, each with the place where it is kept.
    pub caches: Vec<(Trail, Trail)>,
    /// Directories that appear empty to a command that is not isolated, because isolated commands have written to them.
    /// Paths in them that are hidden from commands stay visible. Without a sandbox, nothing is covered.
    pub covered: Vec<Trail>,
    /// The numeric ID of the user that the command appears to be. `None`: the user who started it.
    pub user: Option<u32>,
}

impl Sandbox {
    /// Checks that everything that is shown is unchanged and in the same place.
    pub(super) fn check(&self) -> Result<(), Error> {
        let caches = self.caches.iter().flat_map(|(at, kept)| [at, kept]);
        let mut places = self.writable.iter().chain(caches).filter(|place| !place.is_unchanged());
        // The owner of an input may rewrite it. Only its location matters.
        let mut moved = self.readable.iter().filter(|place| !place.leads_where_it_led());
        match places.next().or_else(|| moved.next()) {
            Some(place) => Err(Error::Replaced(place.path().to_path_buf())),
            None => Ok(()),
        }
    }

    /// Replaces directories that are kept elsewhere by links, for a command without a sandbox.
    pub(super) fn link_caches(&self) -> Result<(), Error> {
        for (at, kept) in &self.caches {
            let (at, kept) = (at.path(), kept.end());
            let made = fs::remove_dir(at).and_then(|()| std::os::unix::fs::symlink(kept, at));
            match made {
                Ok(()) => {}
                // An earlier command of the same build created this link.
                Err(_) if at.canonicalize().is_ok_and(|leads| leads == kept) => {}
                Err(source) => return Err(Error::Directory { path: at.to_path_buf(), source }),
            }
        }
        Ok(())
    }
}
