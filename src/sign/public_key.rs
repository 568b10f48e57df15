use p256::ecdsa::signature::hazmat::PrehashVerifier;
use pkcs8::der::Decode;
use pkcs8::spki::{EncodePublicKey, SubjectPublicKeyInfoRef};
use pkcs8::{DecodePublicKey, LineEnding};
use sha2::Digest as _;

use super::private_key::{algorithm_name, pem_block};
use super::{KeyError, dsse};
use crate::digest::Digest;
use crate::manifest::PAYLOAD_TYPE;

/// A public key that can check a seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// Why a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Not a signature of the key's kind, or not in its one canonical form (DER, low S).
    #[error("the signature is not in canonical form")]
    NotCanonical,
    #[error("the signature does not fit the content and the key")]
    Wrong,
}

impl PublicKey {
    /// Reads a PEM `PUBLIC KEY`. `shown` names it in errors.
    ///
    /// # Errors
    /// [`KeyError`] for anything else, saying what it is.
    pub fn from_pem(text: &str, shown: &str) -> Result<Self, KeyError> {
        let (label, block) = pem_block(text, shown)?;
        if label != "PUBLIC KEY" {
            let found = match label.as_str() {
                "CERTIFICATE" => "a certificate".to_string(),
                label if label.ends_with("PRIVATE KEY") => "a private key".to_string(),
                label => format!("a PEM block {}", crate::text::name(label)),
            };
            let expected = "a public key";
            return Err(KeyError::Kind { key: shown.to_string(), found, expected });
        }
        let malformed = |reason: &dyn std::fmt::Display| KeyError::Malformed {
            key: shown.to_string(),
            reason: reason.to_string(),
        };
        let document = pkcs8::Document::from_pem(&block).map_err(|error| malformed(&error))?.1;
        let der = document.as_bytes();
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|error| malformed(&error))?;
        let algorithm = algorithm_name(&info.algorithm);
        match algorithm.as_str() {
            "ECDSA P-256" => p256::PublicKey::from_public_key_der(der)
                .map(|key| PublicKey::P256(key.into()))
                .map_err(|error| malformed(&error)),
            "ECDSA P-384" => p384::PublicKey::from_public_key_der(der)
                .map(|key| PublicKey::P384(key.into()))
                .map_err(|error| malformed(&error)),
            "Ed25519" => match ed25519_dalek::VerifyingKey::from_public_key_der(der) {
                // A point of small order would accept one signature for many messages.
                Ok(key) if key.is_weak() => Err(malformed(&"it is a weak point of the curve")),
                Ok(key) => Ok(PublicKey::Ed25519(key)),
                Err(error) => Err(malformed(&error)),
            },
            _ => Err(KeyError::Algorithm { key: shown.to_string(), algorithm }),
        }
    }

    /// PEM as `openssl` writes it: 64 columns, line feeds, one at the end.
    pub fn to_pem(&self) -> String {
        let pem = match self {
            PublicKey::P256(key) => key.to_public_key_pem(LineEnding::LF),
            PublicKey::P384(key) => key.to_public_key_pem(LineEnding::LF),
            PublicKey::Ed25519(key) => key.to_public_key_pem(LineEnding::LF),
        };
        // A key that was read or made can be written: the encoding has no input that could be refused.
        pem.unwrap_or_default()
    }

    /// The identity of a key, its `hint` and `keyid`: SHA-256 of the PEM text, as OMS defines it.
    pub fn hint(&self) -> Digest {
        Digest::sha256(self.to_pem().as_bytes())
    }

    /// Whether the OMS reference tool can check signatures of this key.
    pub fn is_elliptic_curve(&self) -> bool {
        !matches!(self, PublicKey::Ed25519(_))
    }

    /// Checks a DSSE signature over an in-toto payload.
    ///
    /// # Errors
    /// [`SignatureError`]; a signature that is right in another spelling is refused as well.
    pub fn verify(&self, payload: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let header = dsse::header(PAYLOAD_TYPE, payload.len());
        match self {
            PublicKey::P256(key) => {
                let parsed =
                    p256::ecdsa::Signature::from_der(signature).map_err(|_| SignatureError::NotCanonical)?;
                if parsed.normalize_s() != parsed || parsed.to_der().as_bytes() != signature {
                    return Err(SignatureError::NotCanonical);
                }
                let hash = sha2::Sha256::new().chain_update(header).chain_update(payload).finalize();
                key.verify_prehash(&hash, &parsed).map_err(|_| SignatureError::Wrong)
            }
            PublicKey::P384(key) => {
                let parsed =
                    p384::ecdsa::Signature::from_der(signature).map_err(|_| SignatureError::NotCanonical)?;
                if parsed.normalize_s() != parsed || parsed.to_der().as_bytes() != signature {
                    return Err(SignatureError::NotCanonical);
                }
                let hash = sha2::Sha384::new().chain_update(header).chain_update(payload).finalize();
                key.verify_prehash(&hash, &parsed).map_err(|_| SignatureError::Wrong)
            }
            PublicKey::Ed25519(key) => {
                let parsed = ed25519_dalek::Signature::from_slice(signature)
                    .map_err(|_| SignatureError::NotCanonical)?;
                let message = dsse::pre_authentication_encoding(PAYLOAD_TYPE, payload);
                key.verify_strict(&message, &parsed).map_err(|_| SignatureError::Wrong)
            }
        }
    }
}
