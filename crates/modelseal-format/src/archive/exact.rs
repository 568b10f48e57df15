//! Fills a place of a known length in a file.

use std::io::{self, Write};

/// Accepts exactly `left` bytes. More bytes would overwrite what follows.
pub(super) struct Exact<W> {
    pub(super) output: W,
    pub(super) left: u64,
}

impl<W: Write> Exact<W> {
    /// Checks that all bytes were written.
    pub(super) fn end(self) -> io::Result<()> {
        if self.left == 0 { Ok(()) } else { Err(does_not_fit()) }
    }
}

impl<W: Write> Write for Exact<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(does_not_fit());
        }
        let length = self.output.write(bytes)?;
        self.left -= length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

pub(super) fn does_not_fit() -> io::Error {
    io::Error::other("the content does not fit the space reserved for it")
}
