use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// How many threads work at a time: what the process may use, affinity and cgroup limits included.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A thread that may be started: with those that work already there are not more than [`threads`].
///
/// Whoever has work that can be shared takes one at any time, and nobody waits for one.
pub(super) struct Spare;

impl Spare {
    pub(super) fn take() -> Option<Self> {
        let one_less = |spare: usize| spare.checked_sub(1);
        Self::count().fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).ok().map(|_| Self)
    }

    fn count() -> &'static AtomicUsize {
        static SPARE: OnceLock<AtomicUsize> = OnceLock::new();
        // The thread that asks first is at work already.
        SPARE.get_or_init(|| AtomicUsize::new(threads() - 1))
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        Self::count().fetch_add(1, Ordering::Relaxed);
    }
}

/// Applies `work` to every item on all threads and returns the results in the items' order.
///
/// # Errors
/// The error of the earliest item that failed among those that were tried; nothing new is begun after one.
pub fn map_files<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let worker = |_spare: Option<Spare>| {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            if result.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            done.push((index, result));
        }
        done
    };
    let count = threads().min(items.len());
    let mut done = thread::scope(|scope| {
        // This thread works, too.
        let helpers: Vec<_> = (1..count)
            .map_while(|_| Spare::take())
            .map(|spare| scope.spawn(|| worker(Some(spare))))
            .collect();
        let mut done = worker(None);
        for helper in helpers {
            match helper.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        let doubled = map_files(&items, |item| Ok::<_, ()>(item * 2)).expect("works");
        assert!(doubled.iter().enumerate().all(|(index, value)| *value == 2 * index as u32));
    }

    #[test]
    fn an_error_ends_the_work() {
        let items: Vec<u32> = (0..1000).collect();
        let error = map_files(&items, |item| if *item == 3 { Err(*item) } else { Ok(()) });
        assert_eq!(error, Err(3));
    }
}
