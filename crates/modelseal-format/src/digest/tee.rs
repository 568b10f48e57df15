use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::buffer::{Buffer, with_buffer};
use crate::context::Context;

/// Number of bytes read at a time. Large enough to hide the cost of passing chunks between threads, and small enough
/// for a core's cache.
const CHUNK: usize = 1 << 20;

/// Maximum number of chunks that wait for one consumer. It limits the memory for files of any size.
const WAITING: usize = 4;

/// Receives every byte of a file, in order.
pub trait Consumer: Send {
    /// Receives the next bytes. An error stops the reading.
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()>;

    /// Whether it takes longer than reading and copying, so that it is worth a separate thread.
    fn is_slow(&self) -> bool {
        false
    }
}

/// Keeps what it receives. Only for content of limited size.
pub struct Memory(pub Vec<u8>);

impl Consumer for Memory {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(chunk);
        Ok(())
    }
}

/// Reads `source` once and passes every byte to each consumer. Returns the number of bytes.
///
/// `size` is the expected size of the source. Below one chunk, everything happens on this thread. Above it, each slow
/// consumer has its own thread, so that the slowest one determines the speed. The other consumers share the thread that
/// reads, because the bytes are in the cache of its core. A longer source is read to its end. A source that returned
/// exactly `size` bytes at once is not read again.
///
/// # Errors
/// The first error of the source or of a consumer, an interruption, and the error of a thread that does not start.
pub fn read_through(
    source: &mut dyn Read,
    size: u64,
    consumers: &mut [&mut dyn Consumer],
    context: &Context,
) -> io::Result<u64> {
    if size < CHUNK as u64 {
        return with_buffer(size as usize + 1, |buffer| {
            read_inline(source, size, buffer, consumers, context)
        });
    }
    thread::scope(|scope| {
        let (mut senders, mut workers, mut others) = (Vec::new(), Vec::new(), Vec::new());
        // If no consumer is slow, one of them still runs in parallel with reading.
        let is_any_slow = consumers.iter().any(|consumer| consumer.is_slow());
        for (index, consumer) in consumers.iter_mut().enumerate() {
            if consumer.is_slow() || (index == 0 && !is_any_slow) {
                let (sender, receiver) = sync_channel(WAITING);
                senders.push(sender);
                let work = move || drain(*consumer, &receiver);
                workers.push(thread::Builder::new().spawn_scoped(scope, work).map_err(no_thread)?);
            } else {
                others.push(consumer);
            }
        }
        let outcome = distribute(source, &senders, &mut others, context);
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

fn no_thread(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot start another thread: {error}"))
}

/// A chunk that all consumers share, and the number of filled bytes.
type Shared = (Arc<Buffer>, usize);

fn distribute(
    source: &mut dyn Read,
    senders: &[SyncSender<Shared>],
    others: &mut [&mut &mut dyn Consumer],
    context: &Context,
) -> io::Result<u64> {
    // A chunk is reused when no consumer can reference it any more, so nothing is allocated twice.
    let mut ring: [Arc<Buffer>; WAITING + 2] = Default::default();
    let mut total = 0;
    for turn in (0..ring.len()).cycle() {
        if Arc::get_mut(&mut ring[turn]).is_none_or(|chunk| chunk.is_empty()) {
            ring[turn] = Arc::new(Buffer::new(CHUNK));
        }
        let Some(chunk) = Arc::get_mut(&mut ring[turn]) else { continue };
        let length = fill(source, chunk, context)?;
        if length == 0 {
            break;
        }
        total += length as u64;
        context.advance(length as u64);
        // A consumer that has failed no longer receives. The caller collects its error.
        if senders.iter().any(|sender| sender.send((ring[turn].clone(), length)).is_err()) {
            break;
        }
        for consumer in others.iter_mut() {
            consumer.consume(&ring[turn][..length])?;
        }
    }
    Ok(total)
}

fn read_inline(
    source: &mut dyn Read,
    size: u64,
    buffer: &mut [u8],
    consumers: &mut [&mut dyn Consumer],
    context: &Context,
) -> io::Result<u64> {
    let mut total = 0;
    loop {
        context.check()?;
        let length = read_some(source, buffer)?;
        if length == 0 {
            return Ok(total);
        }
        total += length as u64;
        context.advance(length as u64);
        for consumer in consumers.iter_mut() {
            consumer.consume(&buffer[..length])?;
        }
        if total == size {
            return Ok(total);
        }
    }
}

fn read_some(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Fills one chunk completely, unless the source ends first.
pub fn fill(source: &mut dyn Read, chunk: &mut [u8], context: &Context) -> io::Result<usize> {
    context.check()?;
    let mut filled = 0;
    while filled < chunk.len() {
        match read_some(source, &mut chunk[filled..])? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

fn drain(consumer: &mut dyn Consumer, receiver: &Receiver<Shared>) -> io::Result<()> {
    for (chunk, length) in receiver {
        consumer.consume(&chunk[..length])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Collect {
        bytes: Vec<u8>,
        is_slow: bool,
        thread: Option<thread::ThreadId>,
    }

    impl Collect {
        fn new(is_slow: bool) -> Self {
            Self { is_slow, ..Self::default() }
        }
    }

    impl Consumer for Collect {
        fn is_slow(&self) -> bool {
            self.is_slow
        }

        fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
            self.bytes.extend_from_slice(chunk);
            self.thread = Some(thread::current().id());
            Ok(())
        }
    }

    /// The value of `is_slow`.
    struct Refuse(bool);

    impl Consumer for Refuse {
        fn is_slow(&self) -> bool {
            self.0
        }

        fn consume(&mut self, _: &[u8]) -> io::Result<()> {
            Err(io::Error::other("no more"))
        }
    }

    #[test]
    fn tee_gives_every_byte_to_every_consumer_for_any_expected_size() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17] {
            let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            for expected in [0, 1, length as u64, u64::MAX] {
                for (is_one_slow, is_two_slow) in [(false, false), (false, true), (true, false), (true, true)]
                {
                    let (mut one, mut two) = (Collect::new(is_one_slow), Collect::new(is_two_slow));
                    let consumers: &mut [&mut dyn Consumer] = &mut [&mut one, &mut two];
                    let total = read_through(&mut bytes.as_slice(), expected, consumers, &Context::default());
                    assert_eq!(total.expect("reads"), length as u64);
                    assert!(one.bytes == bytes && two.bytes == bytes, "{length} {expected}");
                }
            }
        }
    }

    #[test]
    fn tee_runs_one_consumer_on_its_own_thread_and_prefers_the_slow_one() {
        let bytes = vec![7; 2 * CHUNK];
        for (slow, of_their_own) in [([false, true], [false, true]), ([false, false], [true, false])] {
            let [mut one, mut two] = slow.map(Collect::new);
            let consumers: &mut [&mut dyn Consumer] = &mut [&mut one, &mut two];
            read_through(&mut bytes.as_slice(), bytes.len() as u64, consumers, &Context::default())
                .expect("reads");
            let found = [one, two].map(|consumer| consumer.thread != Some(thread::current().id()));
            assert_eq!(found, of_their_own);
        }
    }

    #[test]
    fn tee_returns_the_error_of_one_consumer() {
        for (size, is_slow) in [(10, false), (100 * CHUNK, false), (100 * CHUNK, true)] {
            let (mut one, mut two) = (Collect::new(false), Refuse(is_slow));
            let consumers: &mut [&mut dyn Consumer] = &mut [&mut one, &mut two];
            let source = &mut io::repeat(7).take(size as u64);
            let error =
                read_through(source, size as u64, consumers, &Context::default()).expect_err("is refused");
            assert_eq!(error.to_string(), "no more");
        }
    }
}
