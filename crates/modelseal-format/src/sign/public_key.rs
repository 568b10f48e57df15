use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use pkcs8::der::Decode;
use pkcs8::spki::{EncodePublicKey, SubjectPublicKeyInfoRef};
use pkcs8::{DecodePublicKey, LineEnding};
use sha2::Digest as _;

use super::pem::{algorithm_name, pem_block};
use super::{Form, KeyError, dsse};
use crate::canonical::Canonical;
use crate::digest::Digest;
use crate::manifest::PAYLOAD_TYPE;

/// A public key that can verify a seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// Why a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Not a signature of the key's kind, or not in its one canonical form (DER, low S).
    #[error("the signature is not in canonical form")]
    NotCanonical,
    #[error("the signature does not match the content and the key")]
    Wrong,
}

/// One macro for the types of all curves: the crates share their code but no trait.
macro_rules! ecdsa {
    ($curve:ident, $key:expr, $hash:expr, $signature:expr, $form:expr) => {{
        let parsed =
            $curve::ecdsa::Signature::from_der($signature).map_err(|_| SignatureError::NotCanonical)?;
        let is_der = parsed.to_der().as_bytes() == $signature;
        if !is_der || ($form == Form::Canonical && parsed.normalize_s() != parsed) {
            return Err(SignatureError::NotCanonical);
        }
        $key.verify_prehash($hash, &parsed).map_err(|_| SignatureError::Wrong)
    }};
}

impl PublicKey {
    /// Reads a PEM `PUBLIC KEY`. `shown` names the key in errors.
    ///
    /// # Errors
    /// [`KeyError`] for anything else. The error names what was found.
    pub fn from_pem(text: &str, shown: &str) -> Result<Self, KeyError> {
        let (label, block) = pem_block(text, shown)?;
        if label != "PUBLIC KEY" {
            let found = match label.as_str() {
                "CERTIFICATE" => "a certificate".to_string(),
                label if label.ends_with("PRIVATE KEY") => "a private key".to_string(),
                label => format!("a PEM block {}", crate::display::name(label)),
            };
            let expected = "a public key";
            return Err(KeyError::Kind { key: shown.to_string(), found, expected });
        }
        let malformed = |reason: &dyn std::fmt::Display| KeyError::Malformed {
            key: shown.to_string(),
            reason: reason.to_string(),
        };
        let document = pkcs8::Document::from_pem(&block).map_err(|error| malformed(&error))?.1;
        Self::from_der(document.as_bytes(), shown)
    }

    /// Reads a DER `SubjectPublicKeyInfo`. `shown` names the key in errors.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_der(der: &[u8], shown: &str) -> Result<Self, KeyError> {
        let malformed = |reason: &dyn std::fmt::Display| KeyError::Malformed {
            key: shown.to_string(),
            reason: reason.to_string(),
        };
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|error| malformed(&error))?;
        let algorithm = algorithm_name(&info.algorithm);
        match algorithm.as_str() {
            "ECDSA P-256" => p256::PublicKey::from_public_key_der(der)
                .map(|key| PublicKey::P256(key.into()))
                .map_err(|error| malformed(&error)),
            "ECDSA P-384" => p384::PublicKey::from_public_key_der(der)
                .map(|key| PublicKey::P384(key.into()))
                .map_err(|error| malformed(&error)),
            "ECDSA P-521" => p521::PublicKey::from_public_key_der(der)
                .map(|key| PublicKey::P521(key.into()))
                .map_err(|error| malformed(&error)),
            "Ed25519" => match ed25519_dalek::VerifyingKey::from_public_key_der(der) {
                // A point of small order would accept one signature for many messages.
                Ok(key) if key.is_weak() => Err(malformed(&"it is a weak key")),
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
            PublicKey::P521(key) => key.to_public_key_pem(LineEnding::LF),
            PublicKey::Ed25519(key) => key.to_public_key_pem(LineEnding::LF),
        };
        // A key that was read or generated can always be written: no input of the encoding can be refused.
        pem.unwrap_or_default()
    }

    /// DER `SubjectPublicKeyInfo`.
    pub fn to_der(&self) -> Vec<u8> {
        let document = match self {
            PublicKey::P256(key) => key.to_public_key_der(),
            PublicKey::P384(key) => key.to_public_key_der(),
            PublicKey::P521(key) => key.to_public_key_der(),
            PublicKey::Ed25519(key) => key.to_public_key_der(),
        };
        document.map(|document| document.into_vec()).unwrap_or_default()
    }

    /// The identity of a key, used as its `hint` and `keyid`: SHA-256 of the PEM text, as OMS defines it.
    pub fn hint(&self) -> Digest {
        Digest::sha256(self.to_pem().as_bytes())
    }

    /// Whether the OMS reference tool can check signatures of this key.
    pub fn is_elliptic_curve(&self) -> bool {
        !matches!(self, PublicKey::Ed25519(_))
    }

    /// Whether a bundle's hint names this key. The hint may follow modelseal and OMS, or cosign (SHA-256 of the DER in
    /// base64).
    pub fn is_named_by(&self, hint: &str) -> bool {
        hint == self.hint().to_string() || hint == STANDARD.encode(Digest::sha256(&self.to_der()).0)
    }

    /// Converts a signature to the one form that modelseal writes. The input is DER, or `r` followed by `s`. `None` if
    /// it is neither. The signature is not verified.
    pub fn canonical_signature(&self, signature: &[u8]) -> Option<Vec<u8>> {
        macro_rules! canonical {
            ($curve:ident) => {{
                let parsed = $curve::ecdsa::Signature::from_der(signature)
                    .or_else(|_| $curve::ecdsa::Signature::from_slice(signature));
                Some(parsed.ok()?.normalize_s().to_der().as_bytes().to_vec())
            }};
        }
        match self {
            PublicKey::P256(_) => canonical!(p256),
            PublicKey::P384(_) => canonical!(p384),
            PublicKey::P521(_) => canonical!(p521),
            PublicKey::Ed25519(_) => (signature.len() == 64).then(|| signature.to_vec()),
        }
    }

    /// Verifies a DSSE signature over an in-toto payload.
    ///
    /// # Errors
    /// [`SignatureError`], also for a valid signature in another encoding.
    pub fn verify(&self, payload: &impl Canonical, signature: &[u8]) -> Result<(), SignatureError> {
        self.check(payload, signature, Form::Canonical)
    }

    /// Verifies a signature made by another tool. The larger S of an ECDSA signature is also accepted.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_foreign(&self, payload: &impl Canonical, signature: &[u8]) -> Result<(), SignatureError> {
        self.check(payload, signature, Form::Foreign)
    }

    fn check(&self, payload: &impl Canonical, signature: &[u8], form: Form) -> Result<(), SignatureError> {
        macro_rules! hash {
            ($hash:ty) => {
                &dsse::hash::<$hash>(PAYLOAD_TYPE, payload)
            };
        }
        match self {
            PublicKey::P256(key) => ecdsa!(p256, key, hash!(sha2::Sha256), signature, form),
            PublicKey::P384(key) => ecdsa!(p384, key, hash!(sha2::Sha384), signature, form),
            PublicKey::P521(key) => ecdsa!(p521, key, hash!(sha2::Sha512), signature, form),
            PublicKey::Ed25519(key) => {
                let parsed = ed25519_dalek::Signature::from_slice(signature)
                    .map_err(|_| SignatureError::NotCanonical)?;
                let message = dsse::pre_authentication_encoding(PAYLOAD_TYPE, payload);
                key.verify_strict(&message, &parsed).map_err(|_| SignatureError::Wrong)
            }
        }
    }

    /// Verifies an ECDSA signature over SHA-256 of a message, for any curve. Release 0.2 of the OMS reference tool used
    /// no other hash.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_sha256(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        // As wide as the widest curve: a shorter hash is a smaller number.
        let mut wide = [0; 66];
        wide[34..].copy_from_slice(&sha2::Sha256::digest(message));
        match self {
            PublicKey::P256(key) => ecdsa!(p256, key, &wide[34..], signature, Form::Foreign),
            PublicKey::P384(key) => ecdsa!(p384, key, &wide[34..], signature, Form::Foreign),
            PublicKey::P521(key) => ecdsa!(p521, key, &wide, signature, Form::Foreign),
            PublicKey::Ed25519(_) => Err(SignatureError::Wrong),
        }
    }
}
