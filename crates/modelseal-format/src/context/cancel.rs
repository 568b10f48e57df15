use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A request to stop. Clones share the same request.
///
/// An operation that sees the request returns an error and removes what it has not finished. An operation that waits
/// for input cannot see it. Code that ends the process must therefore call [`Cancel::remove_unfinished`] first.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<State>);

#[derive(Debug, Default)]
struct State {
    requests: AtomicUsize,
    busy: AtomicUsize,
    unfinished: Mutex<Vec<PathBuf>>,
}

impl Cancel {
    /// Asks the operations to stop. A request cannot be withdrawn.
    pub fn request(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub fn is_requested(&self) -> bool {
        self.0.requests.load(Ordering::Relaxed) > 0
    }

    /// Whether there was more than one request, that is, the user does not want to wait.
    pub fn is_repeated(&self) -> bool {
        self.0.requests.load(Ordering::Relaxed) > 1
    }

    /// # Errors
    /// An error for which [`is_cancelled`] is true, if there was a request.
    pub fn check(&self) -> io::Result<()> {
        if self.is_requested() { Err(io::Error::other(Cancelled)) } else { Ok(()) }
    }

    /// Whether something must be ended or restored before the process may exit.
    pub fn is_busy(&self) -> bool {
        self.0.busy.load(Ordering::Relaxed) > 0
    }

    /// Marks the process as busy until the result is dropped.
    pub fn busy(&self) -> Busy {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Registers a temporary path until the result is dropped.
    pub fn unfinished(&self, path: &Path) -> Unfinished {
        if let Ok(mut paths) = self.0.unfinished.lock() {
            paths.push(path.to_path_buf());
        }
        Unfinished { cancel: self.clone(), path: path.to_path_buf() }
    }

    /// Removes all registered files and directories.
    pub fn remove_unfinished(&self) {
        let Ok(paths) = self.0.unfinished.lock() else { return };
        for path in paths.iter() {
            let _ = match path.is_dir() {
                true => std::fs::remove_dir_all(path),
                false => std::fs::remove_file(path),
            };
        }
    }
}

/// Returned by [`Cancel::busy`].
#[derive(Debug)]
pub struct Busy(Cancel);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returned by [`Cancel::unfinished`].
#[derive(Debug)]
pub struct Unfinished {
    cancel: Cancel,
    path: PathBuf,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Ok(mut paths) = self.cancel.0.unfinished.lock() {
            paths.retain(|path| *path != self.path);
        }
    }
}

/// Carried inside an [`io::Error`], because `ErrorKind::Interrupted` means "try again".
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Cancelled;

/// Whether an error reports that an operation was cancelled.
pub fn is_cancelled(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Cancelled>())
}
