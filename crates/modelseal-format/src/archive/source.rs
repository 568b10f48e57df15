//! The bytes of a tar, decompressed if necessary.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::context::Cancel;

use super::{Compression, ReadError, gzip};

/// Maximum history that a reader keeps: 8 MiB, four times what modelseal's level uses.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Buffer size in bytes for small reads. It is a multiple of the tar block size, so that the following bytes have the
/// same alignment in a reader's buffer as in the file.
const BUFFER: usize = 64 << 10;

type Raw<R> = BufReader<io::Chain<Cursor<Vec<u8>>, Watched<R>>>;

/// Reads decoded bytes, and distinguishes system errors from errors in the data.
pub(super) struct Source<R: Read> {
    decoder: Decoder<R>,
    system_error: Arc<AtomicBool>,
}

enum Decoder<R: Read> {
    None(Raw<R>),
    Gzip(Box<flate2::bufread::GzDecoder<Raw<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Raw<R>>>),
}

/// Records whether the underlying reader itself failed.
struct Watched<R> {
    inner: R,
    cancel: Cancel,
    failed: Arc<AtomicBool>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.cancel.check().and_then(|()| self.inner.read(buffer));
        if let Err(error) = &result {
            self.failed.store(error.kind() != io::ErrorKind::Interrupted, Ordering::Relaxed);
        }
        result
    }
}

impl<R: Read> Source<R> {
    /// Detects the compression from the first bytes.
    pub(super) fn new(inner: R, cancel: &Cancel) -> Result<Self, ReadError> {
        let system_error = Arc::new(AtomicBool::new(false));
        let mut watched = Watched { inner, cancel: cancel.clone(), failed: system_error.clone() };
        let mut start = Vec::with_capacity(BUFFER);
        (&mut watched).take(BUFFER as u64).read_to_end(&mut start).map_err(ReadError::Io)?;
        let compression = match start.as_slice() {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A frame that decoders skip: a zstd file, but not one that modelseal writes.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                return Err(ReadError::Compression("it begins with a skippable frame".into()));
            }
            _ => Compression::None,
        };
        if compression == Compression::Gzip && !start.starts_with(&gzip::HEADER) {
            return Err(ReadError::Compression(
                "its gzip header is not the one that modelseal writes".into(),
            ));
        }
        let raw = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(watched));
        let decoder = match compression {
            Compression::None => Decoder::None(raw),
            Compression::Gzip => Decoder::Gzip(Box::new(flate2::bufread::GzDecoder::new(raw))),
            Compression::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(raw).map_err(ReadError::Io)?.single_frame();
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(ReadError::Io)?;
                Decoder::Zstd(Box::new(decoder))
            }
        };
        Ok(Self { decoder, system_error })
    }

    /// Classifies an error: a system error, or damaged data.
    pub(super) fn explain(&self, error: io::Error, offset: u64) -> ReadError {
        if self.system_error.load(Ordering::Relaxed) {
            return ReadError::Io(error);
        }
        match (&self.decoder, error.kind()) {
            (Decoder::None(_), io::ErrorKind::UnexpectedEof) => ReadError::Truncated(offset),
            (Decoder::None(_), _) => ReadError::Io(error),
            (_, io::ErrorKind::UnexpectedEof) => ReadError::Compression("it is truncated".into()),
            _ => ReadError::Compression(crate::display::message(&error)),
        }
    }

    /// Requires that nothing follows: no decoded byte, no second member or frame, no stray byte.
    pub(super) fn at_end(mut self, offset: u64) -> Result<(), ReadError> {
        let mut byte = [0u8];
        // For gzip and zstd, this read also verifies the checksum.
        match read_some(&mut self, &mut byte) {
            Ok(0) => {}
            Ok(_) => return Err(ReadError::Trailing(offset)),
            Err(error) => return Err(self.explain(error, offset)),
        }
        let system_error = self.system_error.clone();
        let mut raw = match self.decoder {
            Decoder::None(raw) => raw,
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.finish(),
        };
        match raw.fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => Err(ReadError::Compression("there is data after its end".into())),
            Err(error) if system_error.load(Ordering::Relaxed) => Err(ReadError::Io(error)),
            Err(error) => Err(ReadError::Compression(error.to_string())),
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

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.decoder {
            Decoder::None(raw) => raw.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        }
    }
}
