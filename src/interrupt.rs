//! A request to stop that long work looks at between two chunks.
//!
//! The binary sets it when SIGINT or SIGTERM arrives; a library user may set it too. Whoever notices
//! returns an error and cleans up on the way, so nothing half-written stays behind.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Asks all work in this process to stop at the next opportunity. There is no way back.
pub fn request() {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// Whether somebody asked.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Carried inside an [`io::Error`], because `ErrorKind::Interrupted` means "try again".
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interruption;

/// An error if somebody asked to stop.
pub(crate) fn check() -> io::Result<()> {
    if requested() {
        return Err(io::Error::other(Interruption));
    }
    Ok(())
}

pub(crate) fn is_interruption(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<Interruption>())
}
