use std::io::{self, Read};

use super::header::{BLOCK, decode, encode, name_of, padding};
use super::source::Source;
use super::{Entry, Found, Frame, ReadError};
use crate::context::Context;
use crate::digest::{Consumer, Digest, hash_stream, read_through};
use crate::manifest::{LONGEST_SEAL, SEAL_PATH};

/// Reads an archive front to back, and only as far as it is what [`super::ArchiveWriter`] writes.
pub struct ArchiveReader<R: Read> {
    source: Source<R>,
    context: Context,
    /// In the uncompressed tar.
    offset: u64,
}

/// The first entry, read before anything is known about the rest.
pub struct SealEntry {
    header: [u8; BLOCK],
    size: u64,
}

impl<R: Read> ArchiveReader<R> {
    /// Recognises the compression. Nothing else is read yet.
    ///
    /// # Errors
    /// [`ReadError::Compression`] where the header is not ours, [`ReadError::Io`].
    pub fn new(inner: R, context: &Context) -> Result<Self, ReadError> {
        Ok(Self { source: Source::new(inner, context.cancel())?, context: context.clone(), offset: 0 })
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Hands the seal's bytes to `read`, which may leave the rest of them if it does not like the first ones, and
    /// returns what it made of them.
    ///
    /// # Errors
    /// [`ReadError::NotAnArchive`], [`ReadError::NoSeal`], [`ReadError::SealTooLarge`] and those of
    /// damaged data.
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
            // Whether the whole of it is there says more than what was made of a part.
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

    /// Reads one entry that must be exactly `entry`, and shows its content to the consumers.
    ///
    /// # Errors
    /// [`ReadError::Header`] if anything else stands there; those of damaged data; a consumer's error
    /// as [`ReadError::Io`].
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
    /// As [`Self::read_entry`].
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
        // What has the right length has a digest.
        digest.ok_or(ReadError::Truncated(self.offset))
    }

    /// Reads the header, and demands that it is this entry's.
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

    /// Demands that the content was there, and what follows it.
    fn end_entry(&mut self, entry: &Entry<'_>, read: io::Result<u64>) -> Result<(), ReadError> {
        let length = read.map_err(|error| self.source.explain(error, self.offset))?;
        self.offset += length;
        if length < entry.size {
            return Err(ReadError::Truncated(self.offset));
        }
        self.skip_padding(entry.size)
    }

    /// Demands two blocks of zeros and then the end of everything.
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
    /// Whether the header of the seal, too, is the one that writing would have made.
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
