use std::io::{self, Read};

use super::header::{BLOCK, decode, encode, name_of, padding};
use super::source::Source;
use super::{Entry, Found, Frame, ReadError};
use crate::context::Context;
use crate::digest::{Consumer, Digest, hash_stream, read_through};
use crate::manifest::{LONGEST_SEAL, SEAL_PATH};

/// Reads an archive from front to back, and only as far as it is what [`super::ArchiveWriter`] writes.
pub struct ArchiveReader<R: Read> {
    source: Source<R>,
    context: Context,
    /// Offset in the uncompressed tar.
    offset: u64,
}

/// The first entry, read before anything is known about the rest.
pub struct SealEntry {
    header: [u8; BLOCK],
    size: u64,
}

impl<R: Read> ArchiveReader<R> {
    /// Detects the compression. Does not parse any entry yet.
    ///
    /// # Errors
    /// [`ReadError::Compression`] if the header is not one that modelseal writes, [`ReadError::Io`].
    pub fn new(inner: R, context: &Context) -> Result<Self, ReadError> {
        Ok(Self { source: Source::new(inner, context.cancel())?, context: context.clone(), offset: 0 })
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Passes the seal's bytes to `read`, and returns its result. `read` may stop early, for example if the first bytes
    /// are wrong.
    ///
    /// # Errors
    /// [`ReadError::NotAnArchive`], [`ReadError::NoSeal`], [`ReadError::SealTooLarge`] and errors for damaged data.
    pub fn read_seal<T>(
        &mut self,
        read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> Result<(SealEntry, T), ReadError> {
        let header = match self.read_block() {
            Err(ReadError::Truncated(_)) => return Err(ReadError::NotAnArchive),
            other => other?,
        };
        if &header[257..262] != b"ustar" {
            return Err(ReadError::NotAnArchive);
        }
        let is_seal = |path: &str| path.split_once('/').is_some_and(|(_, rest)| rest == SEAL_PATH);
        let size = match decode(&header) {
            Some((path, size)) if is_seal(&path) => size,
            _ => return Err(ReadError::NoSeal(name_of(&header))),
        };
        if size > LONGEST_SEAL {
            return Err(ReadError::SealTooLarge(size, LONGEST_SEAL));
        }
        let mut body = (&mut self.source).take(size);
        let outcome = read(&mut body).and_then(|content| {
            // A truncated seal is a better explanation than the result of reading a part of it.
            io::copy(&mut body, &mut io::sink())?;
            Ok((content, size - body.limit()))
        });
        let (content, length) = outcome.map_err(|error| self.source.explain(error, self.offset))?;
        self.offset += length;
        if length < size {
            return Err(ReadError::Truncated(self.offset));
        }
        self.skip_padding(size)?;
        Ok((SealEntry { header, size }, content))
    }

    /// Reads one entry that must be exactly `entry`, and passes its content to the consumers.
    ///
    /// # Errors
    /// [`ReadError::Header`] if anything else is found there; errors for damaged data; a consumer's error as
    /// [`ReadError::Io`].
    pub fn read_entry(
        &mut self,
        frame: &Frame,
        entry: &Entry<'_>,
        consumers: &mut [&mut dyn Consumer],
    ) -> Result<(), ReadError> {
        self.begin_entry(frame, entry)?;
        let mut body = (&mut self.source).take(entry.size);
        let read = read_through(&mut body, entry.size, consumers, &self.context);
        self.end_entry(entry, read)
    }

    /// Reads one entry that must be exactly `entry`, and returns only its BLAKE3, computed on all cores.
    ///
    /// # Errors
    /// Like [`Self::read_entry`].
    pub fn hash_entry(&mut self, frame: &Frame, entry: &Entry<'_>) -> Result<Digest, ReadError>
    where
        R: Send,
    {
        self.begin_entry(frame, entry)?;
        let body = (&mut self.source).take(entry.size);
        let read = hash_stream(body, entry.size, &self.context);
        let (length, digest) = match read {
            Ok((length, digest)) => (Ok(length), digest),
            Err(error) => (Err(error), None),
        };
        self.end_entry(entry, length)?;
        // Content of the right length always has a digest.
        digest.ok_or(ReadError::Truncated(self.offset))
    }

    /// Reads the header, and requires that it is this entry's.
    fn begin_entry(&mut self, frame: &Frame, entry: &Entry<'_>) -> Result<(), ReadError> {
        let expected = encode(frame, entry);
        let start = self.offset;
        for (index, expected_block) in expected.chunks(BLOCK).enumerate() {
            let block = self.read_block()?;
            if block != *expected_block {
                let found = if block == [0; BLOCK] {
                    Found::End
                } else if block[..100] == expected_block[..100] && block[345..] == expected_block[345..] {
                    Found::Fields
                } else {
                    Found::Name(name_of(&block))
                };
                return Err(ReadError::Header {
                    offset: start + (index * BLOCK) as u64,
                    expected: entry.path.to_string(),
                    found,
                });
            }
        }
        Ok(())
    }

    /// Requires that the content is complete, and that the correct padding follows.
    fn end_entry(&mut self, entry: &Entry<'_>, read: io::Result<u64>) -> Result<(), ReadError> {
        let length = read.map_err(|error| self.source.explain(error, self.offset))?;
        self.offset += length;
        if length < entry.size {
            return Err(ReadError::Truncated(self.offset));
        }
        self.skip_padding(entry.size)
    }

    /// Requires two blocks of zeros and then the end of all data.
    ///
    /// # Errors
    /// [`ReadError::End`], [`ReadError::Trailing`], [`ReadError::Compression`].
    pub fn finish(mut self) -> Result<(), ReadError> {
        for _ in 0..2 {
            let start = self.offset;
            match self.read_block() {
                Ok(block) if block == [0; BLOCK] => {}
                Ok(block) if &block[257..262] == b"ustar" => {
                    return Err(ReadError::Header {
                        offset: start,
                        expected: "the end of the archive".to_string(),
                        found: Found::Name(name_of(&block)),
                    });
                }
                Ok(_) | Err(ReadError::Truncated(_)) => return Err(ReadError::End(start)),
                Err(other) => return Err(other),
            }
        }
        self.source.at_end(self.offset)
    }

    fn read_block(&mut self) -> Result<[u8; BLOCK], ReadError> {
        let mut block = [0; BLOCK];
        self.read_exact(&mut block)?;
        Ok(block)
    }

    fn skip_padding(&mut self, size: u64) -> Result<(), ReadError> {
        let start = self.offset;
        let mut block = [0; BLOCK];
        let padding = &mut block[..padding(size)];
        self.read_exact(padding)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(ReadError::Padding(start));
        }
        Ok(())
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.context.check().map_err(ReadError::Io)?;
        match self.source.read_exact(buffer) {
            Ok(()) => {
                self.offset += buffer.len() as u64;
                Ok(())
            }
            Err(error) => Err(self.source.explain(error, self.offset)),
        }
    }
}

impl SealEntry {
    /// Checks that the header of the seal is also the one that the writer would have produced.
    ///
    /// # Errors
    /// [`ReadError::Header`] at byte 0.
    pub fn check_header(&self, frame: &Frame) -> Result<(), ReadError> {
        let expected = encode(frame, &Entry { path: SEAL_PATH, size: self.size, executable: false });
        if expected == self.header {
            return Ok(());
        }
        let name = name_of(&self.header);
        let same_name = name == format!("{}/{SEAL_PATH}", frame.directory);
        Err(ReadError::Header {
            offset: 0,
            expected: SEAL_PATH.to_string(),
            found: if same_name { Found::Fields } else { Found::Name(name) },
        })
    }
}
