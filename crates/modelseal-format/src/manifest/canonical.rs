//! The one spelling of what we write: compact JSON, members in the order in which `docs/format.md` lists them, map
//! keys in byte order, non-ASCII as it is.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::canonical::BUFFER;

/// Writes a value.
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

/// Whether `value` is written as exactly these bytes.
pub(super) fn serialises_to(value: &impl Serialize, bytes: &[u8]) -> bool {
    let mut comparing = Comparing { rest: bytes };
    write_json(value, &mut comparing).is_ok() && comparing.rest.is_empty()
}

/// Compares what is written to it with bytes at hand, and fails at the first difference.
struct Comparing<'a> {
    /// What has not been compared yet.
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
    fn only_the_very_same_bytes_are_canonical() {
        let value = vec!["a", "ü"];
        let text = "[\"a\",\"ü\"]".as_bytes();
        assert_eq!(to_json(&value), text);
        assert!(serialises_to(&value, text));
        for other in ["[\"a\",\"ü\"] ", "[\"a\", \"ü\"]", "[\"a\",\"\\u00fc\"]", "[\"a\"", ""] {
            assert!(!serialises_to(&value, other.as_bytes()), "{other}");
        }
        // More than is buffered.
        let long = vec!["text"; BUFFER / 3];
        assert!(serialises_to(&long, &to_json(&long)));
    }
}
