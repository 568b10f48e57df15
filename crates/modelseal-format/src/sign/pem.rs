//! PEM blocks, and the name of a key's algorithm.

use pkcs8::spki::AlgorithmIdentifierRef;

use super::KeyError;

/// Finds the only key in a PEM text. `openssl ecparam -genkey` puts the curve's parameters before the key.
pub(super) fn pem_block(text: &str, shown: &str) -> Result<(String, String), KeyError> {
    let malformed = |reason: &str| KeyError::Malformed { key: shown.to_string(), reason: reason.to_string() };
    let mut found = None;
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN ") {
        let block = &rest[start..];
        let label = block["-----BEGIN ".len()..].split("-----").next().unwrap_or_default();
        let end = format!("-----END {label}-----");
        let Some(length) = block.find(&end) else {
            return Err(malformed("its PEM block has no end line"));
        };
        let block_end = length + end.len();
        if label != "EC PARAMETERS" {
            if found.is_some() {
                return Err(malformed("it contains more than one PEM block"));
            }
            found = Some((label.to_string(), format!("{}\n", &block[..block_end])));
        }
        rest = &block[block_end..];
    }
    found.ok_or_else(|| malformed("it is not PEM (`-----BEGIN … KEY-----`)"))
}

/// The readable name of a key's algorithm, or the dotted identifier if the algorithm is unknown.
pub(super) fn algorithm_name(algorithm: &AlgorithmIdentifierRef<'_>) -> String {
    let curve = algorithm.parameters_oid().ok().map(|curve| curve.to_string());
    let oid = algorithm.oid.to_string();
    let name = match (oid.as_str(), curve.as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => "ECDSA P-256",
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => "ECDSA P-384",
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => "ECDSA P-521",
        ("1.2.840.10045.2.1", Some("1.3.132.0.10")) => "ECDSA secp256k1",
        ("1.2.840.10045.2.1", _) => "ECDSA with another curve",
        ("1.2.840.113549.1.1.1", _) => "RSA",
        ("1.3.101.112", _) => "Ed25519",
        ("1.3.101.113", _) => "Ed448",
        (other, _) => other,
    };
    name.to_string()
}
