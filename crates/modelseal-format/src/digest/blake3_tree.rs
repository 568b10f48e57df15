//! BLAKE3 of one large source on all cores.
//!
//! BLAKE3 is a tree: pieces whose size is a power of two are hashed separately and joined afterwards. Each thread reads
//! a piece and hashes it while it is still in the cache of its core. Passing pieces from a reading thread to hashing
//! threads costs more than the hashing: see docs/decisions/0022.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use blake3::CHUNK_LEN;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::Digest;
use super::buffer::with_buffer;
use super::tee::fill;
use crate::context::Context;

/// Length of a piece in bytes: a power of two, and a multiple of BLAKE3's chunk length. It is large enough to hide the
/// cost of a system call, and small enough for a core's cache.
const PIECE_LENGTH: usize = 1 << 20;

/// [`PIECE_LENGTH`] as a size. A larger source is worth dividing.
pub(crate) const PIECE: u64 = PIECE_LENGTH as u64;

const _: () = assert!(PIECE_LENGTH.is_power_of_two() && PIECE_LENGTH.is_multiple_of(CHUNK_LEN));

/// A source that is hashed in pieces.
trait Pieces: Sync {
    /// Fills the buffer with the next piece. Returns its number, counted from 0, and its length. Only the last piece is
    /// shorter than the buffer. After it, the length is 0.
    ///
    /// # Errors
    /// Errors of the source.
    fn read_next(&self, buffer: &mut [u8], context: &Context) -> io::Result<(usize, usize)>;
}

/// Pieces of a file, each read at its own offset by several threads at the same time.
struct Positioned<'a> {
    file: &'a File,
    size: u64,
    next: AtomicUsize,
}

impl Pieces for Positioned<'_> {
    fn read_next(&self, buffer: &mut [u8], context: &Context) -> io::Result<(usize, usize)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let start = number as u64 * buffer.len() as u64;
        let length = self.size.saturating_sub(start).min(buffer.len() as u64) as usize;
        let mut place = Place { file: self.file, offset: start };
        Ok((number, fill(&mut place, &mut buffer[..length], context)?))
    }
}

/// A file with its own read offset.
struct Place<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for Place<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}

/// Pieces of a source that can only be read from front to back, by one thread at a time.
struct Serial<R>(Mutex<(R, usize)>);

impl<R: Read + Send> Pieces for Serial<R> {
    fn read_next(&self, buffer: &mut [u8], context: &Context) -> io::Result<(usize, usize)> {
        let mut source = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let length = fill(&mut source.0, buffer, context)?;
        let number = source.1;
        source.1 += 1;
        Ok((number, length))
    }
}

/// BLAKE3 of a file. Each thread reads at its own offsets. Otherwise like [`hash_stream`].
pub(super) fn hash_positioned(
    file: &File,
    size: u64,
    context: &Context,
) -> io::Result<(u64, Option<Digest>)> {
    hash_pieces(&Positioned { file, size, next: AtomicUsize::new(0) }, size, context)
}

/// BLAKE3 of a source that can only be read from front to back, and the number of bytes read. The source should have
/// `size` bytes, more than [`PIECE`]. The digest is `None` if the length differs.
///
/// # Errors
/// Errors of the source, and an interruption.
pub(crate) fn hash_stream(
    source: impl Read + Send,
    size: u64,
    context: &Context,
) -> io::Result<(u64, Option<Digest>)> {
    hash_pieces(&Serial(Mutex::new((source, 0))), size, context)
}

fn hash_pieces(source: &dyn Pieces, size: u64, context: &Context) -> io::Result<(u64, Option<Digest>)> {
    let count = size.div_ceil(PIECE) as usize;
    let begun = AtomicUsize::new(0);
    let ended = AtomicBool::new(false);
    let work = || {
        let mut found = Vec::new();
        let result = hash_some(source, &begun, &ended, context, &mut found, &mut || {});
        result.map(|()| found)
    };
    // The size is not trusted, so nothing is allocated by it.
    let mut found = Vec::new();
    thread::scope(|scope| {
        let mut helpers = Vec::new();
        // Other work may end at any time and leave a core free, so this asks for another thread again and again.
        let mut call_for_help = || {
            if begun.load(Ordering::Relaxed) + 1 < count {
                helpers.extend(context.threads().spawn(scope, work));
            }
        };
        let mut outcome = hash_some(source, &begun, &ended, context, &mut found, &mut call_for_help);
        for helper in helpers {
            match helper.join() {
                Ok(Ok(more)) => found.extend(more),
                Ok(Err(error)) => outcome = outcome.and(Err(error)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcome
    })?;
    let total = found.iter().map(|piece| piece.length as u64).sum();
    if total != size || found.len() != count {
        return Ok((total, None));
    }
    found.sort_unstable_by_key(|piece| piece.number);
    let values: Vec<ChainingValue> = found.iter().map(|piece| piece.value).collect();
    Ok((total, join(&values)))
}

/// A piece that was hashed.
struct Hashed {
    number: usize,
    length: usize,
    value: ChainingValue,
}

/// Hashes pieces until there are no more, or until another thread has failed.
fn hash_some(
    source: &dyn Pieces,
    begun: &AtomicUsize,
    ended: &AtomicBool,
    context: &Context,
    found: &mut Vec<Hashed>,
    between: &mut dyn FnMut(),
) -> io::Result<()> {
    with_buffer(PIECE_LENGTH, |buffer| {
        while !ended.load(Ordering::Relaxed) {
            begun.fetch_add(1, Ordering::Relaxed);
            between();
            let (number, length) =
                source.read_next(buffer, context).inspect_err(|_| ended.store(true, Ordering::Relaxed))?;
            if length == 0 {
                break;
            }
            context.advance(length as u64);
            let mut hasher = blake3::Hasher::new();
            hasher.set_input_offset(number as u64 * PIECE);
            hasher.update(&buffer[..length]);
            found.push(Hashed { number, length, value: hasher.finalize_non_root() });
        }
        Ok(())
    })
}

/// The root of a tree of pieces. All pieces except the last one are full. `None` if there are fewer than two.
fn join(values: &[ChainingValue]) -> Option<Digest> {
    let (left, right) = values.split_at_checked(left_half(values.len()))?;
    if left.is_empty() || right.is_empty() {
        return None;
    }
    Some(Digest(merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).into()))
}

fn subtree(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [value] => *value,
        _ => {
            let (left, right) = values.split_at(left_half(values.len()));
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

/// Number of pieces in the left half of a tree: the largest power of two that leaves one for the right (section 2.1 of
/// the BLAKE3 paper).
fn left_half(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = super::PIECE_LENGTH;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 253) as u8).collect()
    }

    #[test]
    fn blake3_tree_joins_pieces_to_the_digest_of_the_whole() {
        for length in [PIECE + 1, 2 * PIECE, 2 * PIECE + 1, 3 * PIECE, 5 * PIECE - 1, 7 * PIECE + 5000] {
            let bytes = bytes(length);
            let mut file = tempfile::tempfile().expect("a file");
            io::Write::write_all(&mut file, &bytes).expect("writes");
            let expected = (length as u64, Some(Digest::blake3(&bytes)));
            let found = hash_positioned(&file, length as u64, &Context::default());
            assert_eq!(found.expect("hashes"), expected);
            let found = hash_stream(bytes.as_slice(), length as u64, &Context::default());
            assert_eq!(found.expect("hashes"), expected);
        }
    }

    #[test]
    fn blake3_tree_allocates_nothing_for_a_false_huge_size() {
        let found = hash_stream(bytes(PIECE + 1).as_slice(), 1 << 62, &Context::default());
        assert_eq!(found.expect("hashes"), (PIECE as u64 + 1, None));
    }

    #[test]
    fn blake3_tree_gives_no_digest_for_a_source_of_unexpected_size() {
        for (length, expected) in [(0, 2 * PIECE), (PIECE, 2 * PIECE), (2 * PIECE, 2 * PIECE + 1)] {
            let bytes = bytes(length);
            let found = hash_stream(bytes.as_slice(), expected as u64, &Context::default());
            assert_eq!(found.expect("reads"), (length as u64, None));
        }
        // A longer source is read to its end. Its last piece is beyond the expected length.
        let longer = bytes(3 * PIECE);
        let (total, digest) =
            hash_stream(longer.as_slice(), 2 * PIECE as u64, &Context::default()).expect("reads");
        assert!(total > 2 * PIECE as u64);
        assert_eq!(digest, None);
    }

    #[test]
    fn blake3_tree_reports_a_read_error_of_its_source() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let bytes = bytes(3 * PIECE);
        let source = bytes.as_slice().chain(Broken);
        let error = hash_stream(source, 9 * PIECE as u64, &Context::default()).expect_err("fails");
        assert_eq!(error.to_string(), "the disk is gone");
    }
}
