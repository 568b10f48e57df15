use std::io::{self, Write};

use serde::Serialize;

/// Our serialisation: compact JSON, members in the order in which `docs/format.md` lists them,
/// map keys in byte order, non-ASCII as it is.
pub fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail, and our types have no map with keys that are not strings.
    let _ = serde_json::to_writer(&mut bytes, value);
    bytes
}

/// Whether `value` is written as exactly these bytes. Nothing is allocated.
pub fn serialises_to(value: &impl Serialize, bytes: &[u8]) -> bool {
    let mut comparison = Comparison { rest: bytes };
    serde_json::to_writer(&mut comparison, value).is_ok() && comparison.rest.is_empty()
}

struct Comparison<'a> {
    rest: &'a [u8],
}

impl Write for Comparison<'_> {
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
        assert_eq!(to_json(&value), "[\"a\",\"ü\"]".as_bytes());
        assert!(serialises_to(&value, "[\"a\",\"ü\"]".as_bytes()));
        for other in ["[\"a\",\"ü\"] ", "[\"a\", \"ü\"]", "[\"a\",\"\\u00fc\"]", "[\"a\"", ""] {
            assert!(!serialises_to(&value, other.as_bytes()), "{other}");
        }
    }
}
