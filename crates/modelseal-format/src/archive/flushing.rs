use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// How much is written before the disk is told to begin.
const FLUSH: u64 = 8 << 20;

/// A file whose bytes are on their way to the disk while more are written, so that little is left for the
/// end, when they have to be there.
pub struct Flushing {
    file: File,
    written: u64,
    flushed: u64,
}

impl Flushing {
    pub fn new(file: File) -> Self {
        Self { file, written: 0, flushed: 0 }
    }

    /// Finds room on the disk for so many bytes, in one piece if there is one; what is not there is known now
    /// and not after an hour. Where a file system cannot do that, nothing happens.
    ///
    /// # Errors
    /// That there is no room.
    pub fn preallocate(&self, length: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if length >= FLUSH {
            use rustix::fs::{FallocateFlags, fallocate};
            use rustix::io::Errno;
            // The file stays as long as it is: nobody sees a piece of it that was not written.
            let found = fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, length);
            if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) = found {
                return Err(error.into());
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = length;
        Ok(())
    }

    pub fn into_file(self) -> File {
        self.file
    }
}

impl Write for Flushing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.written += length as u64;
        if let Some(range) = std::num::NonZeroU64::new(self.written - self.flushed)
            && range.get() >= FLUSH
        {
            // Advice: on Linux it begins to write, and does not wait. Where it does nothing, nothing is lost.
            #[cfg(target_os = "linux")]
            let _ = rustix::fs::fadvise(&self.file, self.flushed, Some(range), rustix::fs::Advice::DontNeed);
            self.flushed = self.written;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For little that is written again.
impl Seek for Flushing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
