//! Compresses one block of input to complete deflate blocks (RFC 1951). They end at a byte boundary and do not depend
//! on their neighbours. The bytes are the same at every position and with every number of threads.

use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};

/// Maximum length of a stored block in bytes (RFC 1951, section 3.2.4).
pub(super) const STORED: usize = u16::MAX as usize;

/// Length of a stored block's header: the block type, the length, and the length's complement.
pub(super) const STORED_HEADER: usize = 5;

/// Compresses as well as level 6, in up to a third less time; docs/decisions/0024.
const LEVEL: u32 = 5;

/// A block is tried at this level. Level 1 has fixed codes and would treat numbers as incompressible.
const TRIAL_LEVEL: u32 = 2;

/// Length of the pieces of a block that are tried, and the distance between their starts.
const PIECE: usize = 1 << 10;
const APART: usize = 64 << 10;

/// An empty block with fixed codes, the last one of a stream.
pub(super) const END: [u8; 2] = [0x03, 0x00];

/// Compresses a block, or stores it if compression is not worth the time. The decision depends on the block alone.
pub(super) fn compress(block: &[u8]) -> io::Result<Vec<u8>> {
    if is_worth_it(block)? {
        let compressed = deflate(block, LEVEL)?;
        if compressed.len() < block.len() {
            return Ok(compressed);
        }
    }
    Ok(store(block))
}

/// Whether pieces of the block become smaller by a 64th. Repetition only over longer distances is not detected, so such
/// a block is stored.
fn is_worth_it(block: &[u8]) -> io::Result<bool> {
    if block.len() <= APART {
        return Ok(true);
    }
    let pieces: Vec<u8> =
        block.chunks(APART).flat_map(|part| &part[..PIECE.min(part.len())]).copied().collect();
    Ok(deflate(&pieces, TRIAL_LEVEL)?.len() < pieces.len() - pieces.len() / 64)
}

fn deflate(block: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut compressor = Compress::new(Compression::new(level), false);
    let mut compressed = Vec::with_capacity(block.len() / 2 + 64);
    loop {
        let consumed = compressor.total_in() as usize;
        let status = compressor
            .compress_vec(&block[consumed..], &mut compressed, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        let all_in = compressor.total_in() as usize == block.len();
        // If capacity is left, no output is pending and the flush is complete.
        if status == Status::StreamEnd || (all_in && compressed.len() < compressed.capacity()) {
            return Ok(compressed);
        }
        compressed.reserve(compressed.len().max(1024));
    }
}

fn store(block: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(stored_length(block.len()));
    for piece in block.chunks(STORED) {
        stored.extend_from_slice(&stored_header(piece.len() as u16));
        stored.extend_from_slice(piece);
    }
    stored
}

/// Length in bytes of `length` bytes after they are stored.
fn stored_length(length: usize) -> usize {
    length + length.div_ceil(STORED) * STORED_HEADER
}

pub(super) fn stored_header(length: u16) -> [u8; STORED_HEADER] {
    let [low, high] = length.to_le_bytes();
    [0, low, high, !low, !high]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompress(compressed: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        let mut reader = flate2::bufread::DeflateDecoder::new(compressed);
        io::Read::read_to_end(&mut reader, &mut decoded).expect("decodes");
        decoded
    }

    #[test]
    fn deflate_block_round_trips_and_grows_by_at_most_the_stored_headers() {
        let noise = super::super::gzip::tests::noise(1 << 20);
        let words = b"the quick brown fox jumps over the lazy dog; ".repeat(24 << 10);
        // Numbers with random mantissas: only every fourth byte can be compressed.
        let numbers: Vec<u8> =
            noise.chunks(4).flat_map(|bytes| [bytes[0], bytes[1], bytes[2], 0x3d ^ (bytes[3] & 1)]).collect();
        for (bytes, at_most) in [(&noise, 100.1), (&words, 2.0), (&numbers, 89.0)] {
            for length in [0, 1, STORED - 1, STORED, STORED + 1, APART, APART + 1, bytes.len()] {
                let length = length.min(bytes.len());
                let compressed = compress(&bytes[..length]).expect("compresses");
                assert!(compressed.len() <= stored_length(length));
                assert!(decompress(&[compressed.as_slice(), &END].concat()) == bytes[..length]);
                if length == bytes.len() {
                    let percent = 100.0 * compressed.len() as f64 / length as f64;
                    assert!(percent <= at_most, "{percent}");
                    assert_eq!(is_worth_it(bytes).expect("tries"), at_most < 100.0);
                }
            }
        }
    }

    #[test]
    fn deflate_stores_a_block_whose_sampled_pieces_do_not_compress() {
        let noise = super::super::gzip::tests::noise(1 << 20);
        let mut block = vec![b'0'; 1 << 20];
        assert!(compress(&block).expect("compresses").len() < 10_000);
        for (part, noise) in block.chunks_mut(APART).zip(noise.chunks(APART)) {
            part[..PIECE].copy_from_slice(&noise[..PIECE]);
        }
        assert_eq!(compress(&block).expect("compresses"), store(&block));
    }
}
