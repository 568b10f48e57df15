use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::interrupt;

/// How much is read at a time. Large enough to hide the hand-over between threads, small enough to
/// stay in a core's cache.
const CHUNK: usize = 1 << 20;

/// How many chunks may wait for one consumer, so memory is bounded whatever the file's size.
const WAITING: usize = 4;

/// Something that is shown every byte of a file, in order.
pub trait Consumer: Send {
    /// Takes the next bytes. An error ends the reading.
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()>;
}

/// Is told how many bytes were read since the last time.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// Reads `source` to its end, once, and shows every byte to each consumer; returns the number of bytes.
///
/// `size` is what the source is expected to hold: below one chunk everything happens on this thread,
/// above it each consumer has a thread of its own, so that the slowest one sets the pace.
///
/// # Errors
/// The first error of the source or of a consumer, and an interruption.
pub fn read_through(
    source: &mut dyn Read,
    size: u64,
    consumers: &mut [&mut dyn Consumer],
    progress: Progress<'_>,
) -> io::Result<u64> {
    if size < CHUNK as u64 {
        return read_inline(source, size as usize + 1, consumers, progress);
    }
    thread::scope(|scope| {
        let mut senders = Vec::with_capacity(consumers.len());
        let mut workers = Vec::with_capacity(consumers.len());
        for consumer in consumers.iter_mut() {
            let (sender, receiver) = sync_channel(WAITING);
            senders.push(sender);
            workers.push(scope.spawn(move || drain(*consumer, &receiver)));
        }
        let mut total = 0;
        let outcome = loop {
            let chunk = match read_chunk(source, CHUNK) {
                Ok(chunk) if chunk.is_empty() => break Ok(total),
                Ok(chunk) => Arc::new(chunk),
                Err(error) => break Err(error),
            };
            total += chunk.len() as u64;
            progress(chunk.len() as u64);
            // A consumer that has failed no longer listens; its error is collected below.
            if senders.iter().any(|sender| sender.send(chunk.clone()).is_err()) {
                break Ok(total);
            }
        };
        drop(senders);
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcome
    })
}

fn read_inline(
    source: &mut dyn Read,
    chunk_size: usize,
    consumers: &mut [&mut dyn Consumer],
    progress: Progress<'_>,
) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let chunk = read_chunk(source, chunk_size)?;
        if chunk.is_empty() {
            return Ok(total);
        }
        total += chunk.len() as u64;
        progress(chunk.len() as u64);
        for consumer in consumers.iter_mut() {
            consumer.consume(&chunk)?;
        }
        if chunk.len() < chunk_size {
            return Ok(total);
        }
    }
}

/// Fills one chunk; it is shorter only at the end of the source.
fn read_chunk(source: &mut dyn Read, size: usize) -> io::Result<Vec<u8>> {
    interrupt::check()?;
    let mut chunk = Vec::with_capacity(size);
    source.take(size as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

fn drain(consumer: &mut dyn Consumer, receiver: &Receiver<Arc<Vec<u8>>>) -> io::Result<()> {
    for chunk in receiver {
        consumer.consume(&chunk)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Collect(Vec<u8>);

    impl Consumer for Collect {
        fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
            self.0.extend_from_slice(chunk);
            Ok(())
        }
    }

    struct Refuse;

    impl Consumer for Refuse {
        fn consume(&mut self, _: &[u8]) -> io::Result<()> {
            Err(io::Error::other("no more"))
        }
    }

    #[test]
    fn every_consumer_sees_every_byte_whatever_size_was_expected() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17] {
            let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            for expected in [0, 1, length as u64, u64::MAX] {
                let (mut one, mut two) = (Collect(Vec::new()), Collect(Vec::new()));
                let total = read_through(&mut bytes.as_slice(), expected, &mut [&mut one, &mut two], &|_| {})
                    .expect("reads");
                assert_eq!(total, length as u64);
                assert!(one.0 == bytes && two.0 == bytes, "{length} {expected}");
            }
        }
    }

    #[test]
    fn the_error_of_one_consumer_ends_the_reading() {
        for size in [10, 100 * CHUNK] {
            let error = read_through(
                &mut io::repeat(7).take(size as u64),
                size as u64,
                &mut [&mut Collect(Vec::new()), &mut Refuse],
                &|_| {},
            )
            .expect_err("is refused");
            assert_eq!(error.to_string(), "no more");
        }
    }
}
