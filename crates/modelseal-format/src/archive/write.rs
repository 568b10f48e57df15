use std::io::{self, Read, Write};

use super::header::{BLOCK, encode, padding};
use super::{ArchiveFile, Entry, Frame, Reservation};
use crate::canonical::Canonical;
use crate::digest::Consumer;

/// Writes the canonical tar, entry by entry, to any byte output.
pub struct ArchiveWriter<W> {
    output: W,
    frame: Frame,
}

impl<W: Write> ArchiveWriter<W> {
    pub fn new(output: W, frame: Frame) -> Self {
        Self { output, frame }
    }

    /// The output.
    pub fn output(&self) -> &W {
        &self.output
    }

    /// Adds a file whose content is in memory.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn append(&mut self, entry: &Entry<'_>, content: &[u8]) -> io::Result<()> {
        self.begin(entry)?;
        self.write(content)?;
        self.end(entry)
    }

    /// Adds a file. Returns the number of bytes that `content` had, at most one more than `entry` says.
    ///
    /// The archive is valid only if the two are equal. The caller decides what to do with a file whose size has
    /// changed.
    ///
    /// # Errors
    /// Errors of the content and of the output.
    pub fn append_from(&mut self, entry: &Entry<'_>, content: &mut dyn Read) -> io::Result<u64> {
        self.begin(entry)?;
        let copied = io::copy(&mut (&mut *content).take(entry.size), &mut self.output)?;
        self.end(entry)?;
        let beyond = io::copy(&mut content.take(1), &mut io::sink())?;
        Ok(copied + beyond)
    }

    /// Adds a file. `show` passes its content to a consumer, in order and of the size that `entry` says.
    ///
    /// # Errors
    /// Errors of the output, and of `show`.
    pub fn append_shown<T, E: From<io::Error>>(
        &mut self,
        entry: &Entry<'_>,
        show: impl FnOnce(&mut dyn Consumer) -> Result<T, E>,
    ) -> Result<T, E>
    where
        W: Send,
    {
        self.begin(entry)?;
        let mut content = Content { writer: self, failed: None };
        let shown = show(&mut content);
        // The file's reader only knows that a consumer failed. This is the original error.
        if let Some(error) = content.failed.take() {
            return Err(error.into());
        }
        let shown = shown?;
        self.end(entry)?;
        Ok(shown)
    }

    /// Ends the archive with two blocks of zeros.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.write(&[0; 2 * BLOCK])?;
        Ok(self.output)
    }

    fn begin(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.write(&encode(&self.frame, entry))
    }

    fn end(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.write(&[0; BLOCK][..padding(entry.size)])
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)
    }
}

impl ArchiveWriter<ArchiveFile> {
    /// Reserves space for a file of which only the size is known.
    ///
    /// # Errors
    /// Errors of [`ArchiveFile::reserve`].
    pub fn reserve(&mut self, entry: &Entry<'_>) -> io::Result<Reservation> {
        self.begin(entry)?;
        let reservation = self.output.reserve(entry.size)?;
        self.end(entry)?;
        Ok(reservation)
    }

    /// Adds a file for which space could have been reserved.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn append_reserved(&mut self, entry: &Entry<'_>, content: &dyn Canonical) -> io::Result<()> {
        self.begin(entry)?;
        self.output.write_reserved(content)?;
        self.end(entry)
    }
}

/// A consumer that writes to the archive.
struct Content<'a, W> {
    writer: &'a mut ArchiveWriter<W>,
    failed: Option<io::Error>,
}

impl<W: Write + Send> Consumer for Content<'_, W> {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.writer.write(chunk).map_err(|error| {
            let copy = io::Error::from(error.kind());
            self.failed = Some(error);
            copy
        })
    }
}
