use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

/// How many threads may run at the same time. This is what the process may use, including affinity and cgroup limits.
pub fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    // The answer is constant for the process, and asking the system reads three files.
    *THREADS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// The threads that the operations of one context may start. Together with the calling thread, there are [`threads`].
pub(crate) struct ThreadBudget(AtomicUsize);

impl Default for ThreadBudget {
    fn default() -> Self {
        Self(AtomicUsize::new(threads() - 1))
    }
}

/// Permission for one more thread, returned to the budget when dropped.
struct Spare(Arc<ThreadBudget>);

impl Drop for Spare {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl ThreadBudget {
    /// Starts another thread. `None` if the budget does not allow it or the system cannot start one.
    pub(crate) fn spawn<'scope, R: Send + 'scope>(
        self: &Arc<Self>,
        scope: &'scope thread::Scope<'scope, '_>,
        work: impl FnOnce() -> R + Send + 'scope,
    ) -> Option<thread::ScopedJoinHandle<'scope, R>> {
        let one_less = |spare: usize| spare.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).ok()?;
        let spare = Spare(self.clone());
        let work = move || {
            let _spare = spare;
            work()
        };
        thread::Builder::new().spawn_scoped(scope, work).ok()
    }
}
