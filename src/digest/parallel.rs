use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// How many threads work at a time: what the process may use, affinity and cgroup limits included.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Applies `work` to every item on all threads and returns the results in the items' order.
///
/// Not rayon: a worker that waits for BLAKE3's own use of rayon's pool must not be one of that pool's
/// threads, or all of them could wait for each other.
///
/// # Errors
/// The error of the earliest item that failed among those that were tried; nothing new is begun after one.
pub fn map_files<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let worker = || {
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
    let mut done = if count <= 1 {
        worker()
    } else {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
            workers
                .into_iter()
                .flat_map(|worker| match worker.join() {
                    Ok(done) => done,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        })
    };
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
