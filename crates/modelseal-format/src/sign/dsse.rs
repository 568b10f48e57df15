//! Dead Simple Signing Envelope 1.0.2: the exact bytes that are signed.

use std::io::Write;

use sha2::digest::{FixedOutput, Output, Update};

use crate::canonical::{Canonical, Hashing};

/// The start of the pre-authentication encoding. The payload follows.
fn header(payload_type: &str, payload_length: u64) -> String {
    format!("DSSEv1 {} {payload_type} {payload_length} ", payload_type.len())
}

/// `DSSEv1 LENGTH TYPE LENGTH BODY`: the bytes that a signature covers.
pub fn pre_authentication_encoding(payload_type: &str, payload: &impl Canonical) -> Vec<u8> {
    let mut encoding = header(payload_type, payload.length()).into_bytes();
    // Writing to memory does not fail.
    let _ = payload.write_to(&mut encoding);
    encoding
}

/// The hash of the pre-authentication encoding, which is never in memory as a whole.
pub(super) fn hash<H: Default + Update + FixedOutput>(
    payload_type: &str,
    payload: &impl Canonical,
) -> Output<H> {
    let mut hashing = Hashing { hasher: H::default(), length: 0 };
    // Hashing does not fail.
    let _ = hashing.write_all(header(payload_type, payload.length()).as_bytes());
    let _ = payload.write_to(&mut hashing);
    hashing.hasher.finalize_fixed()
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    /// The example in the DSSE protocol document.
    #[test]
    fn dsse_encoding_matches_the_example_in_the_specification() {
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", &b"hello world".as_slice()),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        let expected: [u8; 32] = sha2::Sha256::digest(b"DSSEv1 1 t 11 hello world").into();
        assert_eq!(<[u8; 32]>::from(hash::<sha2::Sha256>("t", &b"hello world".as_slice())), expected);
    }
}
