//! What a caller passes to long operations: the time, a progress listener, a way to cancel, and threads.

mod cancel;
mod threads;

use std::io;
use std::sync::Arc;

use jiff::Timestamp;

pub use cancel::{Busy, Cancel, Unfinished, is_cancelled};
pub(crate) use threads::ThreadBudget;
pub use threads::threads;

/// Receives the progress of an operation.
pub trait Progress: Send + Sync {
    /// Announces that this many more bytes are going to be read.
    fn announce(&self, _bytes: u64) {}

    /// Reports that this many more bytes were read.
    fn advance(&self, bytes: u64);
}

struct NoProgress;

impl Progress for NoProgress {
    fn advance(&self, _: u64) {}
}

/// The environment of an operation. A clone shares progress, cancellation and threads with the original.
#[derive(Clone)]
pub struct Context {
    /// The time against which ages, validity and expiry are checked.
    pub now: Timestamp,
    progress: Arc<dyn Progress>,
    cancel: Cancel,
    threads: Arc<ThreadBudget>,
}

impl Default for Context {
    /// The current time, without progress reports and without cancellation.
    fn default() -> Self {
        Self::at(Timestamp::now())
    }
}

impl Context {
    /// Like [`Self::default`], at another time.
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            progress: Arc::new(NoProgress),
            cancel: Cancel::default(),
            threads: Arc::new(ThreadBudget::default()),
        }
    }

    #[must_use]
    pub fn with_progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress, ..self }
    }

    #[must_use]
    pub fn with_cancel(self, cancel: Cancel) -> Self {
        Self { cancel, ..self }
    }

    /// The same environment without progress reports.
    #[must_use]
    pub fn without_progress(&self) -> Self {
        Self { progress: Arc::new(NoProgress), ..self.clone() }
    }

    /// Announces that this many more bytes are going to be read.
    pub fn announce(&self, bytes: u64) {
        self.progress.announce(bytes);
    }

    pub fn advance(&self, bytes: u64) {
        self.progress.advance(bytes);
    }

    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Checks for cancellation. Long operations call this between two chunks.
    ///
    /// # Errors
    /// An error for which [`is_cancelled`] is true, if the operation must stop.
    pub fn check(&self) -> io::Result<()> {
        self.cancel.check()
    }

    pub(crate) fn threads(&self) -> &Arc<ThreadBudget> {
        &self.threads
    }
}
