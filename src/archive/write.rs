use std::io::{self, Read, Write};

use super::header::{BLOCK, encode, padding};
use super::{Entry, Frame};

/// Writes the canonical tar, entry by entry, to anything that takes bytes.
pub struct ArchiveWriter<W> {
    output: W,
    frame: Frame,
}

impl<W: Write> ArchiveWriter<W> {
    pub fn new(output: W, frame: Frame) -> Self {
        Self { output, frame }
    }

    /// Adds a file whose content is at hand.
    ///
    /// # Errors
    /// Those of the output.
    pub fn append(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let entry = Entry { path, size: content.len() as u64, executable: false };
        self.append_from(&entry, &mut &*content).map(|_| ())
    }

    /// Adds a file; returns how many bytes `content` had, at most one more than `entry` says.
    ///
    /// Only if the two are equal is the archive a whole one: the caller decides what a file is whose
    /// size has changed.
    ///
    /// # Errors
    /// Those of the content and of the output.
    pub fn append_from(&mut self, entry: &Entry<'_>, content: &mut dyn Read) -> io::Result<u64> {
        self.output.write_all(&encode(&self.frame, entry))?;
        let copied = io::copy(&mut (&mut *content).take(entry.size), &mut self.output)?;
        if copied < entry.size {
            return Ok(copied);
        }
        self.output.write_all(&[0; BLOCK][..padding(entry.size)])?;
        let beyond = io::copy(&mut content.take(1), &mut io::sink())?;
        Ok(copied + beyond)
    }

    /// Ends the archive with two blocks of zeros.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        Ok(self.output)
    }
}
