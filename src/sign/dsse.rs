//! Dead Simple Signing Envelope 1.0.2: what exactly is signed.

/// The start of the pre-authentication encoding; the payload follows.
pub(super) fn header(payload_type: &str, payload_length: usize) -> String {
    format!("DSSEv1 {} {payload_type} {payload_length} ", payload_type.len())
}

/// `DSSEv1 LENGTH TYPE LENGTH BODY`: the bytes that a signature covers.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoding = header(payload_type, payload.len()).into_bytes();
    encoding.extend_from_slice(payload);
    encoding
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the DSSE protocol document.
    #[test]
    fn the_encoding_is_that_of_the_specification() {
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }
}
