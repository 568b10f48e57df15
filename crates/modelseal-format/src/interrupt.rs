//! A request to stop that long work looks at between two chunks.
//!
//! The binary sets it when SIGINT or SIGTERM arrives; a library user may set it too. Whoever notices
//! returns an error and cleans up on the way, so nothing half-written stays behind. What waits for input
//! cannot notice: its unfinished files are removed for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

static REQUESTS: AtomicUsize = AtomicUsize::new(0);
static BUSY: AtomicUsize = AtomicUsize::new(0);
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Asks all work in this process to stop at the next opportunity. There is no way back.
pub fn request() {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
}

/// Whether somebody asked.
pub fn requested() -> bool {
    REQUESTS.load(Ordering::Relaxed) > 0
}

/// Whether somebody asked more than once.
pub fn is_impatient() -> bool {
    REQUESTS.load(Ordering::Relaxed) > 1
}

/// Whether something goes on that must be ended or put back before the process ends.
pub fn is_busy() -> bool {
    BUSY.load(Ordering::Relaxed) > 0
}

/// While this lives, the process does not end by force.
pub struct Busy(());

impl Default for Busy {
    fn default() -> Self {
        Self::new()
    }
}

impl Busy {
    pub fn new() -> Self {
        BUSY.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        BUSY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Removes the files and directories that unfinished work has made, before the process ends by force.
pub fn remove_unfinished() {
    let Ok(paths) = UNFINISHED.lock() else { return };
    for path in paths.iter() {
        let _ = match path.is_dir() {
            true => std::fs::remove_dir_all(path),
            false => std::fs::remove_file(path),
        };
    }
}

/// A temporary path that must not stay behind; forgotten when this is dropped.
pub struct Unfinished(PathBuf);

impl Unfinished {
    pub fn new(path: &Path) -> Self {
        if let Ok(mut paths) = UNFINISHED.lock() {
            paths.push(path.to_path_buf());
        }
        Self(path.to_path_buf())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Ok(mut paths) = UNFINISHED.lock() {
            paths.retain(|path| *path != self.0);
        }
    }
}

/// Carried inside an [`io::Error`], because `ErrorKind::Interrupted` means "try again".
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interruption;

/// An error if somebody asked to stop.
pub fn check() -> io::Result<()> {
    if requested() {
        return Err(io::Error::other(Interruption));
    }
    Ok(())
}

pub fn is_interruption(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Interruption>())
}
