//! What long operations get from their caller: the time, a listener for progress, a way to stop them, and threads.

mod cancel;
mod threads;

use std::io;
use std::sync::Arc;

use jiff::Timestamp;

pub use cancel::{Busy, Cancel, Unfinished, is_cancelled};
pub(crate) use threads::ThreadBudget;
pub use threads::threads;

/// Receives how far an operation has come.
pub trait Progress: Send + Sync {
    /// This many more bytes are going to be read.
    fn expect(&self, _bytes: u64) {}

    /// This many more bytes were read.
    fn advance(&self, bytes: u64);
}

struct NoProgress;

impl Progress for NoProgress {
    fn advance(&self, _: u64) {}
}

/// The circumstances of an operation. A clone shares progress, cancellation and threads with its original.
#[derive(Clone)]
pub struct Context {
    /// The time at which ages, validity and expiry are judged.
    pub now: Timestamp,
    progress: Arc<dyn Progress>,
    cancel: Cancel,
    threads: Arc<ThreadBudget>,
}

impl Default for Context {
    /// The current time; nobody is told of progress, and nothing cancels.
    fn default() -> Self {
        Self::at(Timestamp::now())
    }
}

impl Context {
    /// As [`Self::default`], at another time.
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

    /// The same circumstances for work of which nobody is told how far it has come.
    #[must_use]
    pub fn without_progress(&self) -> Self {
        Self { progress: Arc::new(NoProgress), ..self.clone() }
    }

    pub fn expect(&self, bytes: u64) {
        self.progress.expect(bytes);
    }

    pub fn advance(&self, bytes: u64) {
        self.progress.advance(bytes);
    }

    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Long operations ask this between two chunks.
    ///
    /// # Errors
    /// One for which [`is_cancelled`] is true, if the operation is to stop.
    pub fn check(&self) -> io::Result<()> {
        self.cancel.check()
    }

    pub(crate) fn threads(&self) -> &Arc<ThreadBudget> {
        &self.threads
    }
}
