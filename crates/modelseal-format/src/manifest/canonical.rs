//! The canonical form of the JSON that modelseal writes: compact, with members in the order in which `docs/format.md`
//! lists them, map keys in byte order, and non-ASCII characters unescaped.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::canonical::BUFFER;

/// Writes a value.
pub(super) fn write_json(value: &impl Serialize, output: &mut dyn Write) -> io::Result<()> {
    let mut buffered = BufWriter::with_capacity(BUFFER, output);
    serde_json::to_writer(&mut buffered, value)?;
    buffered.flush()
}

/// Like [`write_json`], in memory.
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail, and no map in these types has keys that are not strings.
    let _ = serde_json::to_writer(&mut bytes, value);
    bytes
}

/// Whether `value` is written as exactly these bytes.
pub(super) fn serialises_to(value: &impl Serialize, bytes: &[u8]) -> bool {
    let mut comparing = Comparing { rest: bytes };
    write_json(value, &mut comparing).is_ok() && comparing.rest.is_empty()
}

/// Compares what is written to it with known bytes, and fails at the first difference.
struct Comparing<'a> {
    /// The bytes that are not compared yet.
    rest: &'a [u8],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_accepts_only_identical_bytes() {
        let value = vec!["a", "ü"];
        let text = "[\"a\",\"ü\"]".as_bytes();
        assert_eq!(to_json(&value), text);
        assert!(serialises_to(&value, text));
        for other in ["[\"a\",\"ü\"] ", "[\"a\", \"ü\"]", "[\"a\",\"\\u00fc\"]", "[\"a\"", ""] {
            assert!(!serialises_to(&value, other.as_bytes()), "{other}");
        }
        // More than the buffer holds.
        let long = vec!["text"; BUFFER / 3];
        assert!(serialises_to(&long, &to_json(&long)));
    }
}
