//! Compares a `model.sig`, while it is read, with the one that belongs to a release.

use std::io::{self, Write};

use super::Seal;
use crate::canonical::{Canonical, Counted};
use crate::digest::{Algorithms, Consumer, Digest, Hasher};
use crate::manifest::model_signature_payload;
use crate::sign::{self, SignedBundle};

/// A text of at most this many bytes is kept, so that an unexpected `model.sig` can be described.
const KEPT: usize = 4 << 20;

/// The entry at the position of `model.sig`.
#[derive(Debug)]
pub enum ModelSignature {
    /// It covers this release's files and names the signer of the seal. The signature itself is not checked.
    Own {
        signature: Vec<u8>,
        /// Length of the signed payload in bytes.
        payload: u64,
    },
    /// It is something else. `None` if it is too long to be kept.
    Other { text: Option<Vec<u8>> },
}

/// Reads a `model.sig` and compares it with the expected one.
pub struct ModelSignatureReader<'a> {
    seal: &'a Seal,
    /// Length of the signed payload in bytes.
    payload: u64,
    /// Offset of the signature in the expected `model.sig`.
    before: u64,
    /// Length of the expected `model.sig` in bytes.
    expected: u64,
    length: u64,
    hasher: Hasher,
    behind: Vec<u8>,
    text: Option<Vec<u8>>,
}

impl<'a> ModelSignatureReader<'a> {
    pub fn new(seal: &'a Seal) -> Self {
        let payload = model_signature_payload(&seal.manifest, seal.release).length();
        let expected = sign::bundle_length(payload, &seal.bundle.material);
        let before = expected - sign::tail_length(&seal.bundle.material);
        let hasher = Hasher::new(Algorithms::BLAKE3);
        let (behind, text) = (Vec::new(), Some(Vec::new()));
        Self { seal, payload, before, expected, length: 0, hasher, behind, text }
    }

    /// Length of the expected `model.sig` in bytes.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// Returns the result of the comparison.
    pub fn finish(self) -> ModelSignature {
        let other = |text| ModelSignature::Other { text };
        let signature = sign::signature_in_tail(&self.behind, &self.seal.bundle.material);
        let Some(signature) = signature.filter(|_| self.length == self.expected) else {
            return other(self.text);
        };
        let expected = self.hash_before_signature();
        match expected.is_some() && self.hasher.finish().blake3 == expected {
            true => ModelSignature::Own { signature, payload: self.payload },
            false => other(self.text),
        }
    }

    /// BLAKE3 of what precedes the signature in the expected `model.sig`.
    fn hash_before_signature(&self) -> Option<Digest> {
        let payload = self.seal.model_signature_payload(self.payload);
        let expected = SignedBundle::new(payload, &[], self.seal.bundle.material.clone());
        let mut prefix = Prefix { hasher: Hasher::new(Algorithms::BLAKE3), left: self.before };
        // Hashing does not fail.
        let _ = expected.write_to(&mut prefix);
        prefix.hasher.finish().blake3
    }
}

impl Consumer for ModelSignatureReader<'_> {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        let wanted = self.before.saturating_sub(self.length).min(chunk.len() as u64) as usize;
        self.length += chunk.len() as u64;
        let (before, behind) = chunk.split_at(wanted);
        self.hasher.update(before);
        // Anything longer than expected is rejected anyway.
        let room = (self.expected - self.before) as usize - self.behind.len();
        self.behind.extend_from_slice(&behind[..behind.len().min(room)]);
        self.text = self.text.take().filter(|text| text.len() + chunk.len() <= KEPT).map(|mut text| {
            text.extend_from_slice(chunk);
            text
        });
        Ok(())
    }
}

impl Seal {
    /// The payload that `model.sig` must sign. `length` is its length in bytes, counted by the caller.
    pub fn model_signature_payload(&self, length: u64) -> Counted<impl Canonical> {
        Counted { document: model_signature_payload(&self.manifest, self.release), length }
    }
}

/// Hashes only the first `left` bytes that are written to it.
struct Prefix {
    hasher: Hasher,
    left: u64,
}

impl Write for Prefix {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wanted = self.left.min(bytes.len() as u64);
        self.hasher.update(&bytes[..wanted as usize]);
        self.left -= wanted;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
