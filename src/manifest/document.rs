//! What is signed and sealed, as bytes that are written whenever they are needed.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use sha2::Digest as _;

use crate::digest::Digest;

/// JSON and base64 are written in many small pieces; this many bytes of them go on together.
pub const BUFFER: usize = 64 << 10;

/// Bytes that can be written as often as they are needed, always the same.
///
/// The text of a manifest takes several times the memory of the manifest, so nobody keeps it.
pub trait Document {
    /// Writes all of it.
    ///
    /// # Errors
    /// Those of the output.
    fn write_to(&self, output: &mut dyn Write) -> io::Result<()>;

    /// In bytes. Where nobody has counted them, they are written for that.
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

    /// Its length and its SHA-256.
    fn measure(&self) -> (u64, Digest) {
        let mut hashing = Hashing { hasher: sha2::Sha256::new(), length: 0 };
        // Hashing does not fail.
        let _ = self.write_to(&mut hashing);
        (hashing.length, Digest(hashing.hasher.finalize().into()))
    }
}

impl Document for [u8] {
    fn write_to(&self, output: &mut dyn Write) -> io::Result<()> {
        output.write_all(self)
    }

    fn length(&self) -> u64 {
        self.len() as u64
    }
}

impl Document for Vec<u8> {
    fn write_to(&self, output: &mut dyn Write) -> io::Result<()> {
        output.write_all(self)
    }

    fn length(&self) -> u64 {
        self.len() as u64
    }
}

impl<D: Document + ?Sized> Document for &D {
    fn write_to(&self, output: &mut dyn Write) -> io::Result<()> {
        (**self).write_to(output)
    }

    fn length(&self) -> u64 {
        (**self).length()
    }
}

/// A document whose length somebody has counted.
pub struct Counted<D> {
    pub document: D,
    pub length: u64,
}

impl<D: Document> Counted<D> {
    pub fn of(document: D) -> Self {
        Self { length: document.length(), document }
    }
}

impl<D: Document> Document for Counted<D> {
    fn write_to(&self, output: &mut dyn Write) -> io::Result<()> {
        self.document.write_to(output)
    }

    fn length(&self) -> u64 {
        self.length
    }
}

/// Writes our serialisation: compact JSON, members in the order in which `docs/format.md` lists them, map keys
/// in byte order, non-ASCII as it is.
pub(super) fn write_json(value: &impl Serialize, output: &mut dyn Write) -> io::Result<()> {
    let mut buffered = BufWriter::with_capacity(BUFFER, output);
    serde_json::to_writer(&mut buffered, value)?;
    buffered.flush()
}

/// As [`write_json`], at hand.
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail, and our types have no map with keys that are not strings.
    let _ = serde_json::to_writer(&mut bytes, value);
    bytes
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
    /// How many bytes that were.
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

/// Compares what is written to it with bytes at hand, and fails at the first difference.
pub(crate) struct Comparing<'a> {
    /// What has not been compared yet.
    pub(crate) rest: &'a [u8],
}

impl Write for Comparing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => {
                self.rest = rest;
                Ok(bytes.len())
            }
            None => Err(io::Error::other("differs")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a document is exactly these bytes. Nothing is allocated.
pub fn is_exactly(document: &(impl Document + ?Sized), bytes: &[u8]) -> bool {
    let mut comparing = Comparing { rest: bytes };
    document.write_to(&mut comparing).is_ok() && comparing.rest.is_empty()
}

/// Whether `value` is written as exactly these bytes.
pub(super) fn serialises_to(value: &impl Serialize, bytes: &[u8]) -> bool {
    let mut comparing = Comparing { rest: bytes };
    write_json(value, &mut comparing).is_ok() && comparing.rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Json<T>(T);

    impl<T: Serialize> Document for Json<T> {
        fn write_to(&self, output: &mut dyn Write) -> io::Result<()> {
            write_json(&self.0, output)
        }
    }

    #[test]
    fn only_the_very_same_bytes_are_canonical() {
        let value = vec!["a", "ü"];
        let text = "[\"a\",\"ü\"]".as_bytes();
        assert_eq!(to_json(&value), text);
        assert!(serialises_to(&value, text) && is_exactly(&Json(&value), text));
        for other in ["[\"a\",\"ü\"] ", "[\"a\", \"ü\"]", "[\"a\",\"\\u00fc\"]", "[\"a\"", ""] {
            assert!(!serialises_to(&value, other.as_bytes()), "{other}");
            assert!(!is_exactly(&Json(&value), other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_document_is_counted_and_hashed_as_it_is_written() {
        for count in [0, 1, BUFFER / 3, BUFFER] {
            let document = Json(vec!["text"; count]);
            let bytes = document.to_vec();
            assert_eq!(bytes, to_json(&document.0));
            assert_eq!(document.measure(), (bytes.len() as u64, Digest::sha256(&bytes)));
            assert_eq!(document.length(), bytes.len() as u64);
        }
    }
}
