//! Signed and sealed content as bytes that are generated whenever they are needed.

use std::io::{self, Write};

use sha2::Digest as _;

use crate::digest::Digest;

/// Size of the write buffer in bytes. JSON and base64 are written in many small pieces, which this buffer collects.
pub const BUFFER: usize = 64 << 10;

/// A byte string that can be written any number of times and is always the same.
///
/// The text of a manifest takes several times the memory of the manifest, so it is never kept (docs/decisions/0026).
pub trait Canonical {
    /// Writes all of it.
    ///
    /// # Errors
    /// Errors of the output.
    fn write_to(&self, output: &mut dyn Write) -> io::Result<()>;

    /// Length in bytes. If the length is not known, all bytes are written to count them.
    fn length(&self) -> u64 {
        let mut count = Count(0);
        // Counting does not fail.
        let _ = self.write_to(&mut count);
        count.0
    }

    fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        let _ = self.write_to(&mut bytes);
        bytes
    }

    fn sha256(&self) -> Digest {
        self.measure().1
    }

    /// The length in bytes and the SHA-256.
    fn measure(&self) -> (u64, Digest) {
        let mut hashing = Hashing { hasher: sha2::Sha256::new(), length: 0 };
        // Hashing does not fail.
        let _ = self.write_to(&mut hashing);
        (hashing.length, Digest(hashing.hasher.finalize().into()))
    }
}

impl Canonical for [u8] {
    fn write_to(&self, output: &mut dyn Write) -> io::Result<()> {
        output.write_all(self)
    }

    fn length(&self) -> u64 {
        self.len() as u64
    }
}

impl Canonical for Vec<u8> {
    fn write_to(&self, output: &mut dyn Write) -> io::Result<()> {
        output.write_all(self)
    }

    fn length(&self) -> u64 {
        self.len() as u64
    }
}

impl<D: Canonical + ?Sized> Canonical for &D {
    fn write_to(&self, output: &mut dyn Write) -> io::Result<()> {
        (**self).write_to(output)
    }

    fn length(&self) -> u64 {
        (**self).length()
    }
}

/// A document together with its known length in bytes.
pub struct Counted<D> {
    pub document: D,
    pub length: u64,
}

impl<D: Canonical> Counted<D> {
    pub fn of(document: D) -> Self {
        Self { length: document.length(), document }
    }
}

impl<D: Canonical> Canonical for Counted<D> {
    fn write_to(&self, output: &mut dyn Write) -> io::Result<()> {
        self.document.write_to(output)
    }

    fn length(&self) -> u64 {
        self.length
    }
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes what is written to it.
pub(crate) struct Hashing<H> {
    pub(crate) hasher: H,
    /// Number of bytes written.
    pub(crate) length: u64,
}

impl<H: sha2::digest::Update> Write for Hashing<H> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same word, repeated this many times.
    struct Words(usize);

    impl Canonical for Words {
        fn write_to(&self, output: &mut dyn Write) -> io::Result<()> {
            (0..self.0).try_for_each(|_| output.write_all(b"word "))
        }
    }

    #[test]
    fn canonical_document_length_and_digest_match_its_written_bytes() {
        for count in [0, 1, 1000] {
            let bytes = b"word ".repeat(count);
            assert_eq!(Words(count).to_vec(), bytes);
            assert_eq!(Words(count).measure(), (bytes.len() as u64, Digest::sha256(&bytes)));
            assert_eq!(Counted::of(Words(count)).length(), bytes.len() as u64);
        }
    }
}
