use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::context::{Context, threads};

/// The items that no thread has begun, by their index.
pub(super) struct Queue {
    count: usize,
    next: AtomicUsize,
    failed: AtomicBool,
}

impl Queue {
    /// The next item. `None` if there are no more, or if one has failed.
    pub(super) fn next(&self) -> Option<usize> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < self.count).then_some(index)
    }
}

/// The results of the items that one thread took.
pub(super) struct Done<R, E> {
    results: Vec<(usize, R)>,
    /// The error of the earliest item that failed, with the item's index.
    failed: Option<(usize, E)>,
}

impl<R, E> Done<R, E> {
    pub(super) fn new() -> Self {
        Self { results: Vec::new(), failed: None }
    }

    /// Records a result. After an error, no other item is begun.
    pub(super) fn add(&mut self, queue: &Queue, index: usize, result: Result<R, E>) {
        match result {
            Ok(result) => self.results.push((index, result)),
            Err(error) => {
                queue.failed.store(true, Ordering::Relaxed);
                self.fail(index, error);
            }
        }
    }

    fn fail(&mut self, index: usize, error: E) {
        if self.failed.as_ref().is_none_or(|(earlier, _)| index < *earlier) {
            self.failed = Some((index, error));
        }
    }

    fn merge(&mut self, other: Self) {
        self.results.extend(other.results);
        if let Some((index, error)) = other.failed {
            self.fail(index, error);
        }
    }

    fn in_order(mut self) -> Result<Vec<R>, E> {
        if let Some((_, error)) = self.failed {
            return Err(error);
        }
        self.results.sort_unstable_by_key(|(index, _)| *index);
        Ok(self.results.into_iter().map(|(_, result)| result).collect())
    }
}

/// Distributes items to all threads from one queue, and returns the results in the items' order.
///
/// # Errors
/// The error of the earliest item that failed among those that were tried.
pub(super) fn distribute<R: Send, E: Send>(
    count: usize,
    context: &Context,
    worker: impl Fn(&Queue) -> Done<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let queue = Queue { count, next: AtomicUsize::new(0), failed: AtomicBool::new(false) };
    let done = thread::scope(|scope| {
        // The calling thread works, too.
        let helpers: Vec<_> = (1..threads().min(count))
            .map_while(|_| context.threads().spawn(scope, || worker(&queue)))
            .collect();
        let mut done = worker(&queue);
        for helper in helpers {
            match helper.join() {
                Ok(more) => done.merge(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.in_order()
}

/// Applies `work` to every item on all threads and returns the results in the items' order.
///
/// # Errors
/// The error of the earliest item that failed among those that were tried. After an error, no other item is begun.
pub fn map_files<'a, T: Sync, R: Send, E: Send>(
    items: &'a [T],
    context: &Context,
    work: impl Fn(&'a T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    distribute(items.len(), context, |queue| {
        let mut done = Done::new();
        while let Some(index) = queue.next() {
            done.add(queue, index, work(&items[index]));
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_files_returns_results_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        let doubled = map_files(&items, &Context::default(), |item| Ok::<_, ()>(item * 2)).expect("works");
        assert!(doubled.iter().enumerate().all(|(index, value)| *value == 2 * index as u32));
    }

    #[test]
    fn map_files_returns_the_error_of_an_item() {
        let items: Vec<u32> = (0..1000).collect();
        let error =
            map_files(&items, &Context::default(), |item| if *item == 3 { Err(*item) } else { Ok(()) });
        assert_eq!(error, Err(3));
    }
}
