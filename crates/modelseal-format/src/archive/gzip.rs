//! gzip whose bytes do not depend on the number of threads. Blocks of fixed size are compressed separately and joined
//! into one member. Content that is known last gets reserved space, where it is stored uncompressed.

use std::io::{self, Seek, SeekFrom, Write};

use super::deflate::{END, STORED, STORED_HEADER, compress, stored_header};
use super::exact::Exact;
use super::ordered_pool::InOrder;
use crate::canonical::Canonical;

/// The fixed header: no name, no time, no operating system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

const BLOCK: usize = 1 << 20;

/// Compresses what is written to it.
pub(super) struct GzipWriter<W> {
    inner: W,
    compressing: InOrder<Vec<u8>, Compressed>,
    /// The block that is being filled.
    filling: Vec<u8>,
    /// Checksums of the parts between reservations, and of the reservations, in their order.
    checksums: Vec<crc32fast::Hasher>,
    /// Length of the input so far.
    length: u64,
}

type Compressed = io::Result<(Vec<u8>, crc32fast::Hasher)>;

/// Reserved space for bytes that are known later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reservation {
    /// Offset of its first stored block in the output.
    offset: u64,
    length: u64,
    /// Index of its checksum.
    checksum: usize,
}

impl<W: Write + Seek> GzipWriter<W> {
    pub(super) fn new(mut inner: W, threads: usize) -> io::Result<Self> {
        inner.write_all(&HEADER)?;
        Ok(Self {
            inner,
            compressing: InOrder::new(threads, compress_block)?,
            filling: Vec::with_capacity(BLOCK),
            checksums: vec![crc32fast::Hasher::new()],
            length: 0,
        })
    }

    /// Reserves `length` bytes.
    pub(super) fn reserve(&mut self, length: u64) -> io::Result<Reservation> {
        self.write_waiting()?;
        let offset = self.inner.stream_position()?;
        let reservation = Reservation { offset, length, checksum: self.checksums.len() };
        let zeros = [0; STORED];
        let mut left = length;
        while left > 0 {
            let piece = left.min(STORED as u64);
            self.inner.write_all(&stored_header(piece as u16))?;
            self.inner.write_all(&zeros[..piece as usize])?;
            left -= piece;
        }
        self.length += length;
        self.checksums.extend([crc32fast::Hasher::new(), crc32fast::Hasher::new()]);
        Ok(reservation)
    }

    /// Writes a document into reserved space, which it must fill exactly.
    pub(super) fn fill(&mut self, reservation: Reservation, document: &dyn Canonical) -> io::Result<()> {
        let mut checksum = crc32fast::Hasher::new();
        let (output, offset) = (&mut self.inner, reservation.offset);
        let inside = Inside { output, offset, left_in_block: 0, checksum: &mut checksum };
        let mut exact = Exact { output: inside, left: reservation.length };
        document.write_to(&mut exact)?;
        exact.end()?;
        self.checksums[reservation.checksum] = checksum;
        self.inner.seek(SeekFrom::End(0)).map(drop)
    }

    /// Writes the remaining bytes and the trailer. Every reservation must be filled.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.write_waiting()?;
        let mut checksum = crc32fast::Hasher::new();
        for part in &self.checksums {
            checksum.combine(part);
        }
        self.inner.write_all(&END)?;
        self.inner.write_all(&checksum.finalize().to_le_bytes())?;
        // The length modulo 2^32, RFC 1952.
        self.inner.write_all(&(self.length as u32).to_le_bytes())?;
        Ok(self.inner)
    }

    /// Compresses and writes all pending input.
    fn write_waiting(&mut self) -> io::Result<()> {
        if !self.filling.is_empty() {
            self.send()?;
        }
        while let Some(compressed) = self.compressing.take()? {
            self.write_compressed(compressed)?;
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.filling, Vec::with_capacity(BLOCK));
        self.length += block.len() as u64;
        match self.compressing.push(block)? {
            Some(compressed) => self.write_compressed(compressed),
            None => Ok(()),
        }
    }

    fn write_compressed(&mut self, compressed: Compressed) -> io::Result<()> {
        let (compressed, checksum) = compressed?;
        self.inner.write_all(&compressed)?;
        if let Some(part) = self.checksums.last_mut() {
            part.combine(&checksum);
        }
        Ok(())
    }
}

/// The content of a reservation: its stored blocks, without their headers.
struct Inside<'a, W> {
    output: &'a mut W,
    /// Offset in the output after the last written byte.
    offset: u64,
    left_in_block: usize,
    checksum: &'a mut crc32fast::Hasher,
}

impl<W: Write + Seek> Write for Inside<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left_in_block == 0 {
            self.offset += STORED_HEADER as u64;
            self.output.seek(SeekFrom::Start(self.offset))?;
            self.left_in_block = STORED;
        }
        let length = self.output.write(&bytes[..bytes.len().min(self.left_in_block)])?;
        self.checksum.update(&bytes[..length]);
        self.offset += length as u64;
        self.left_in_block -= length;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Seek> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.filling.len());
        self.filling.extend_from_slice(&bytes[..taken]);
        if self.filling.len() == BLOCK {
            self.send()?;
        }
        Ok(taken)
    }

    /// Does nothing: where the compressed bytes are cut is part of the format.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compress_block(block: Vec<u8>) -> Compressed {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&block);
    Ok((compress(&block)?, checksum))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::{Cursor, Read};

    pub(in super::super) fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
        .take(length)
        .collect()
    }

    fn decompress(compressed: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        let mut decoder = flate2::bufread::GzDecoder::new(compressed);
        decoder.read_to_end(&mut decoded).expect("decodes");
        assert!(decoder.into_inner().is_empty(), "one member and nothing after it");
        decoded
    }

    #[test]
    fn gzip_writer_gives_the_same_bytes_for_any_pieces_and_threads() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 9 * BLOCK + 5] {
            for bytes in [noise(length), b"abcdefgh".iter().copied().cycle().take(length).collect()] {
                let mut outputs = Vec::new();
                for (piece, threads) in [(1 << 22, 1), (10_007, 3)] {
                    let mut writer = GzipWriter::new(Cursor::new(Vec::new()), threads).expect("begins");
                    bytes.chunks(piece).for_each(|piece| writer.write_all(piece).expect("writes"));
                    outputs.push(writer.finish().expect("finishes").into_inner());
                }
                assert!(outputs[0] == outputs[1]);
                assert!(decompress(&outputs[0]) == bytes, "{length}");
            }
        }
    }

    #[test]
    fn gzip_writer_fills_reservations_at_the_end() {
        let fillings: [Vec<u8>; 4] = [5, 0, STORED, 2 * STORED + 9].map(|length| vec![b'r'; length]);
        let mut writer = GzipWriter::new(Cursor::new(Vec::new()), 2).expect("begins");
        let mut expected = Vec::new();
        let mut reservations = Vec::new();
        for (number, filling) in fillings.iter().enumerate() {
            let before = noise(number * (BLOCK / 2 + 3));
            writer.write_all(&before).expect("writes");
            reservations.push(writer.reserve(filling.len() as u64).expect("leaves reservation"));
            expected.extend([before, filling.clone()].concat());
        }
        writer.write_all(b"the end").expect("writes");
        expected.extend(b"the end");
        for other in ["more than five", "less"] {
            writer.fill(reservations[0], &other.as_bytes().to_vec()).expect_err("does not fit");
        }
        for (reservation, filling) in reservations.into_iter().zip(&fillings).rev() {
            writer.fill(reservation, filling).expect("fills");
        }
        let compressed = writer.finish().expect("finishes").into_inner();
        assert!(decompress(&compressed) == expected);
    }
}
