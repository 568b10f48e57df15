//! Processes a stream of items on several threads, and returns the results in the order of the items.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

/// Maximum number of items in progress for each thread. It limits the memory.
const ON_THEIR_WAY: usize = 3;

/// Threads that each process every nth item.
pub(super) struct InOrder<T, R> {
    workers: Vec<Worker<T, R>>,
    /// Number of items that were pushed, and number of results that were taken.
    pushed: usize,
    taken: usize,
}

struct Worker<T, R> {
    items: SyncSender<T>,
    results: Receiver<R>,
}

impl<T: Send + 'static, R: Send + 'static> InOrder<T, R> {
    /// # Errors
    /// The system cannot start another thread.
    pub(super) fn new(threads: usize, work: fn(T) -> R) -> io::Result<Self> {
        let worker = |_| {
            let (items, queue) = sync_channel(ON_THEIR_WAY);
            let (done, results) = channel();
            let run = move || queue.into_iter().map(work).try_for_each(|result| done.send(result));
            thread::Builder::new().spawn(run)?;
            Ok(Worker { items, results })
        };
        Ok(Self { workers: (0..threads).map(worker).collect::<io::Result<_>>()?, pushed: 0, taken: 0 })
    }

    /// Accepts an item. Returns the oldest result if the maximum number of items is in progress.
    ///
    /// # Errors
    /// A thread has ended.
    pub(super) fn push(&mut self, item: T) -> io::Result<Option<R>> {
        let is_full = self.pushed - self.taken == ON_THEIR_WAY * self.workers.len();
        let result = if is_full { self.take()? } else { None };
        self.workers[self.pushed % self.workers.len()].items.send(item).map_err(|_| ended())?;
        self.pushed += 1;
        Ok(result)
    }

    /// Returns the oldest result, if any item is in progress.
    ///
    /// # Errors
    /// A thread has ended.
    pub(super) fn take(&mut self) -> io::Result<Option<R>> {
        if self.taken == self.pushed {
            return Ok(None);
        }
        let result = self.workers[self.taken % self.workers.len()].results.recv().map_err(|_| ended())?;
        self.taken += 1;
        Ok(Some(result))
    }
}

fn ended() -> io::Error {
    io::Error::other("a thread ended early")
}
