//! Read buffers.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Size of a cache line in bytes, which is also the alignment of the largest vector instructions.
const ALIGNMENT: usize = 64;

/// A buffer that begins at a cache line.
///
/// Large allocations of the C library begin 16 bytes after a page boundary. Some processors copy to such an address at
/// a sixth of their speed: docs/decisions/0022.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// A buffer of zeros.
    pub(crate) fn new(length: usize) -> Self {
        let bytes = vec![0; length + ALIGNMENT];
        // The offset of bytes is always known. If it were not, only time would be lost.
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { bytes, start, length }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

/// Lends a buffer that this thread keeps, so that not every file allocates one.
pub(super) fn with_buffer<T>(length: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static BUFFER: RefCell<Buffer> = RefCell::default();
    }
    // Taken out of the thread's storage, so that `work` may read another file.
    let mut buffer = BUFFER.take();
    if buffer.len() < length {
        buffer = Buffer::new(length);
    }
    let result = work(&mut buffer[..length]);
    BUFFER.set(buffer);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_begins_at_a_cache_line_for_every_length() {
        for length in [1, 1000, 1 << 16, 1 << 20, (1 << 22) + 1] {
            let mut buffer = Buffer::new(length);
            assert_eq!((buffer.len(), buffer.as_ptr() as usize % ALIGNMENT), (length, 0));
            buffer[length - 1] = 1;
        }
    }
}
