//! gzip whose bytes do not depend on the number of threads: blocks of fixed size, each compressed on its
//! own and flushed to a byte border, joined into one member.

use std::io::{self, Write};

use flate2::{Compress, FlushCompress, Status};

use crate::digest::{map_files, threads};

/// The fixed header: no name, no time, no operating system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

const BLOCK: usize = 1 << 20;

/// Compresses what is written to it.
pub(super) struct GzipWriter<W> {
    inner: W,
    /// Full blocks that wait for each other to be compressed together, and the one that is being filled.
    waiting: Vec<Vec<u8>>,
    filling: Vec<u8>,
    checksum: crc32fast::Hasher,
    length: u64,
}

impl<W: Write> GzipWriter<W> {
    pub(super) fn new(mut inner: W) -> io::Result<Self> {
        inner.write_all(&HEADER)?;
        Ok(Self {
            inner,
            waiting: Vec::new(),
            filling: Vec::with_capacity(BLOCK),
            checksum: crc32fast::Hasher::new(),
            length: 0,
        })
    }

    /// Writes what is left, and the trailer.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.compress_waiting()?;
        let last = std::mem::take(&mut self.filling);
        let (compressed, checksum) = compress(&last, FlushCompress::Finish)?;
        self.inner.write_all(&compressed)?;
        self.checksum.combine(&checksum);
        self.length += last.len() as u64;
        self.inner.write_all(&self.checksum.finalize().to_le_bytes())?;
        // The length modulo 2^32, RFC 1952.
        self.inner.write_all(&(self.length as u32).to_le_bytes())?;
        Ok(self.inner)
    }

    fn compress_waiting(&mut self) -> io::Result<()> {
        let blocks = std::mem::take(&mut self.waiting);
        for (compressed, checksum) in map_files(&blocks, |block| compress(block, FlushCompress::Sync))? {
            self.inner.write_all(&compressed)?;
            self.checksum.combine(&checksum);
        }
        self.length += blocks.iter().map(|block| block.len() as u64).sum::<u64>();
        Ok(())
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.filling.len());
        self.filling.extend_from_slice(&bytes[..taken]);
        if self.filling.len() == BLOCK {
            let block = std::mem::replace(&mut self.filling, Vec::with_capacity(BLOCK));
            self.waiting.push(block);
            if self.waiting.len() >= threads() {
                self.compress_waiting()?;
            }
        }
        Ok(taken)
    }

    /// Does nothing: where the compressed bytes are cut is part of the format.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compress(block: &[u8], flush: FlushCompress) -> io::Result<(Vec<u8>, crc32fast::Hasher)> {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(block);
    let mut compressor = Compress::new(flate2::Compression::new(6), false);
    let mut compressed = Vec::with_capacity(block.len() / 2 + 64);
    loop {
        let consumed = compressor.total_in() as usize;
        let status =
            compressor.compress_vec(&block[consumed..], &mut compressed, flush).map_err(io::Error::other)?;
        let all_in = compressor.total_in() as usize == block.len();
        // With room to spare nothing is held back any more: the flush is complete.
        if status == Status::StreamEnd || (all_in && compressed.len() < compressed.capacity()) {
            return Ok((compressed, checksum));
        }
        compressed.reserve(compressed.len().max(1024));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
        .take(length)
        .collect()
    }

    #[test]
    fn what_was_compressed_decodes_to_the_same_bytes_whatever_the_pieces() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 5] {
            for bytes in [noise(length), b"abcdefgh".iter().copied().cycle().take(length).collect()] {
                let mut outputs = Vec::new();
                for piece in [1 << 22, 10_007] {
                    let mut writer = GzipWriter::new(Vec::new()).expect("begins");
                    bytes.chunks(piece).for_each(|piece| writer.write_all(piece).expect("writes"));
                    outputs.push(writer.finish().expect("finishes"));
                }
                assert!(outputs[0] == outputs[1]);
                let mut decoded = Vec::new();
                let mut decoder = flate2::bufread::GzDecoder::new(outputs[0].as_slice());
                decoder.read_to_end(&mut decoded).expect("decodes");
                assert!(decoded == bytes, "{length}");
                assert!(decoder.into_inner().is_empty(), "one member and nothing after it");
            }
        }
    }
}
