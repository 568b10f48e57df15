use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// Number of bytes written before the system is asked to start writing them to disk.
const FLUSH: u64 = 8 << 20;

/// A file that starts writing to disk while more bytes are added. Little is left to write when the file is synced at
/// the end.
pub struct Flushing {
    file: File,
    written: u64,
    flushed: u64,
}

impl Flushing {
    pub fn new(file: File) -> Self {
        Self { file, written: 0, flushed: 0 }
    }

    /// Allocates disk space for `length` bytes, in one piece if possible. A full disk is reported now and not after an
    /// hour. Does nothing if the file system does not support it.
    ///
    /// # Errors
    /// There is not enough space.
    pub fn preallocate(&self, length: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if length >= FLUSH {
            use rustix::fs::{FallocateFlags, fallocate};
            use rustix::io::Errno;
            // The file's length does not change, so no reader sees a part that was not written.
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
            // This is only advice: on Linux it starts writing and does not wait. If it has no effect, nothing is lost.
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

/// Seeking is only for small parts that are overwritten.
impl Seek for Flushing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
