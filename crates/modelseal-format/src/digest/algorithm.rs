use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A digest algorithm that a modelseal manifest may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Sha256,
    Blake3,
}

impl Algorithm {
    /// The name used in a DigestSet and before the colon of `algorithm:hex`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Blake3 => "blake3",
        }
    }
}

/// The digests that are computed in one read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithms {
    pub sha256: bool,
    pub blake3: bool,
}

impl Algorithms {
    /// For callers that compute another digest in the same read.
    pub const NONE: Self = Self { sha256: false, blake3: false };
    pub const SHA256: Self = Self { sha256: true, blake3: false };
    pub const BLAKE3: Self = Self { sha256: false, blake3: true };
    pub const ALL: Self = Self { sha256: true, blake3: true };

    /// The name of this choice on the command line and in reports.
    pub fn name(self) -> &'static str {
        match (self.sha256, self.blake3) {
            (true, true) => "all",
            (false, true) => "blake3",
            _ => "sha256",
        }
    }
}

/// A digest of 256 bits, the length of both SHA-256 and BLAKE3. Its text form is 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// SHA-256 of bytes in memory.
    pub fn sha256(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// BLAKE3 of bytes in memory.
    pub fn blake3(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }

    /// `algorithm:hex`, as every report shows a digest.
    pub fn tagged(&self, algorithm: Algorithm) -> String {
        format!("{}:{self}", algorithm.name())
    }
}

/// The text of a digest, which is ASCII.
struct Hex([u8; 64]);

impl Hex {
    fn of(digest: &Digest) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0u8; 64];
        for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(digest.0) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        Self(text)
    }

    fn as_str(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(Hex::of(self).as_str().map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The text is not 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower-case hex digits")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        /// The value of each digit, or [`NONE`] if the byte is not a digit. This is a table because the digits are
        /// random, and a processor mispredicts every other branch.
        const VALUES: [u8; 256] = {
            let mut values = [NONE; 256];
            let mut value = 0;
            while value < 16 {
                values[b"0123456789abcdef"[value] as usize] = value as u8;
                value += 1;
            }
            values
        };
        const NONE: u8 = 0xf0;

        let text: &[u8; 64] = text.as_bytes().try_into().map_err(|_| ParseDigestError)?;
        let mut digest = [0u8; 32];
        let mut seen = 0;
        for (byte, [high, low]) in digest.iter_mut().zip(text.as_chunks().0) {
            let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
            seen |= high | low;
            *byte = high << 4 | low;
        }
        if seen & NONE != 0 { Err(ParseDigestError) } else { Ok(Self(digest)) }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Hex::of(self).as_str().map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Digest;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("64 lower-case hex digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_round_trips_through_its_text() {
        let digest = Digest::sha256(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn digest_parser_accepts_only_64_lower_case_hex_digits() {
        let good = Digest::sha256(b"").to_string();
        for bad in [good.to_uppercase(), good[1..].to_string(), format!("{good}0"), good.replace('e', "g")] {
            assert_eq!(bad.parse::<Digest>(), Err(ParseDigestError), "{bad}");
        }
    }
}
