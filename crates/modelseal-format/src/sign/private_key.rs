use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::elliptic_curve::Generate;
use pkcs8::der::Decode;
use pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding, PrivateKeyInfoRef};

use super::pem::{algorithm_name, pem_block};
use super::{AskPassword, KeyError, Password, PublicKey, dsse};
use crate::canonical::Canonical;
use crate::manifest::PAYLOAD_TYPE;

/// A kind of key that modelseal generates and uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyAlgorithm {
    #[default]
    P256,
    P384,
    P521,
    Ed25519,
}

/// A private key that can sign a seal. Every kind signs deterministically.
pub enum PrivateKey {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl PrivateKey {
    /// Generates a new key from the system's random numbers.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let random = |_| KeyError::Random;
        Ok(match algorithm {
            KeyAlgorithm::P256 => {
                PrivateKey::P256(p256::ecdsa::SigningKey::try_generate().map_err(|_| KeyError::Random)?)
            }
            KeyAlgorithm::P384 => {
                PrivateKey::P384(p384::ecdsa::SigningKey::try_generate().map_err(|_| KeyError::Random)?)
            }
            KeyAlgorithm::P521 => {
                PrivateKey::P521(p521::ecdsa::SigningKey::try_generate().map_err(|_| KeyError::Random)?)
            }
            KeyAlgorithm::Ed25519 => {
                let mut seed = zeroize::Zeroizing::new([0u8; 32]);
                getrandom::fill(seed.as_mut()).map_err(random)?;
                PrivateKey::Ed25519(ed25519_dalek::SigningKey::from_bytes(&seed))
            }
        })
    }

    /// Reads PEM: PKCS#8, encrypted or not, or the older `EC PRIVATE KEY`. `shown` names the key in errors.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &str, shown: &str, ask: AskPassword<'_>) -> Result<Self, KeyError> {
        let (label, block) = pem_block(text, shown)?;
        let malformed = |reason: &dyn std::fmt::Display| KeyError::Malformed {
            key: shown.to_string(),
            reason: reason.to_string(),
        };
        match label.as_str() {
            "PRIVATE KEY" => {
                let (_, document) =
                    pkcs8::SecretDocument::from_pem(&block).map_err(|error| malformed(&error))?;
                Self::from_der(document.as_bytes(), shown)
            }
            "ENCRYPTED PRIVATE KEY" => {
                let (_, document) =
                    pkcs8::SecretDocument::from_pem(&block).map_err(|error| malformed(&error))?;
                let opened = decrypt(document.as_bytes(), shown, ask)?;
                // A wrong password can by chance produce valid padding.
                Self::from_der(opened.as_bytes(), shown).map_err(|error| match error {
                    KeyError::Malformed { key, .. } => KeyError::WrongPassword(key),
                    other => other,
                })
            }
            "EC PRIVATE KEY" => {
                if let Ok(key) = p256::SecretKey::from_sec1_pem(&block) {
                    return Ok(PrivateKey::P256(key.into()));
                }
                if let Ok(key) = p384::SecretKey::from_sec1_pem(&block) {
                    return Ok(PrivateKey::P384(key.into()));
                }
                match p521::SecretKey::from_sec1_pem(&block) {
                    Ok(key) => Ok(PrivateKey::P521(key.into())),
                    Err(_) => Err(malformed(
                        &"it is not P-256, P-384 or P-521, or it is encrypted in the legacy PEM format",
                    )),
                }
            }
            label => Err(KeyError::Kind {
                key: shown.to_string(),
                found: match label {
                    "PUBLIC KEY" => "a public key".to_string(),
                    "CERTIFICATE" => "a certificate".to_string(),
                    "RSA PRIVATE KEY" => "an RSA key".to_string(),
                    label => format!("a PEM block {}", crate::display::name(label)),
                },
                expected: "a private key (ECDSA P-256, P-384 or P-521, or Ed25519)",
            }),
        }
    }

    fn from_der(der: &[u8], shown: &str) -> Result<Self, KeyError> {
        let malformed = |reason: &dyn std::fmt::Display| KeyError::Malformed {
            key: shown.to_string(),
            reason: reason.to_string(),
        };
        let info = PrivateKeyInfoRef::from_der(der).map_err(|error| malformed(&error))?;
        let algorithm = algorithm_name(&info.algorithm);
        match algorithm.as_str() {
            "ECDSA P-256" => p256::SecretKey::from_pkcs8_der(der)
                .map(|key| PrivateKey::P256(key.into()))
                .map_err(|error| malformed(&error)),
            "ECDSA P-384" => p384::SecretKey::from_pkcs8_der(der)
                .map(|key| PrivateKey::P384(key.into()))
                .map_err(|error| malformed(&error)),
            "ECDSA P-521" => p521::SecretKey::from_pkcs8_der(der)
                .map(|key| PrivateKey::P521(key.into()))
                .map_err(|error| malformed(&error)),
            "Ed25519" => ed25519_dalek::SigningKey::from_pkcs8_der(der)
                .map(PrivateKey::Ed25519)
                .map_err(|error| malformed(&error)),
            _ => Err(KeyError::Algorithm { key: shown.to_string(), algorithm }),
        }
    }

    /// The key as PKCS#8 PEM. With a password it is encrypted (PBES2: scrypt, AES-256), as `openssl` reads it.
    ///
    /// # Errors
    /// [`KeyError::Random`] if the system provided no salt.
    pub fn to_pem(&self, password: Option<&Password>) -> Result<zeroize::Zeroizing<String>, KeyError> {
        fn write(
            key: &impl EncodePrivateKey,
            password: Option<&Password>,
        ) -> pkcs8::Result<zeroize::Zeroizing<String>> {
            match password {
                #[cfg(feature = "encrypted-keys")]
                Some(password) => key.to_pkcs8_encrypted_pem(password.as_bytes(), LineEnding::LF),
                #[cfg(not(feature = "encrypted-keys"))]
                Some(_) => Err(pkcs8::Error::ParametersMalformed),
                None => key.to_pkcs8_pem(LineEnding::LF),
            }
        }
        let pem = match self {
            PrivateKey::P256(key) => write(key, password),
            PrivateKey::P384(key) => write(key, password),
            PrivateKey::P521(key) => write(key, password),
            // Without the public key inside: OpenSSL 3.0 does not read the file with it.
            PrivateKey::Ed25519(key) => write(
                &ed25519_dalek::pkcs8::KeypairBytes { secret_key: key.to_bytes(), public_key: None },
                password,
            ),
        };
        pem.map_err(|_| KeyError::Random)
    }

    pub fn public_key(&self) -> PublicKey {
        match self {
            PrivateKey::P256(key) => PublicKey::P256(*key.verifying_key()),
            PrivateKey::P384(key) => PublicKey::P384(*key.verifying_key()),
            PrivateKey::P521(key) => PublicKey::P521(*key.verifying_key()),
            PrivateKey::Ed25519(key) => PublicKey::Ed25519(key.verifying_key()),
        }
    }

    /// Signs an in-toto payload as DSSE: RFC 6979 with low S in DER, or Ed25519. The same key and payload always give
    /// the same bytes.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for a key that cannot sign.
    pub fn sign(&self, payload: &impl Canonical) -> Result<Vec<u8>, KeyError> {
        let unusable =
            || KeyError::Malformed { key: "given".to_string(), reason: "it cannot sign".to_string() };
        // The curves share their code but no trait.
        macro_rules! ecdsa {
            ($curve:ident, $hash:ty, $key:expr) => {{
                let hash = dsse::hash::<$hash>(PAYLOAD_TYPE, payload);
                let signature: $curve::ecdsa::Signature = $key.sign_prehash(&hash).map_err(|_| unusable())?;
                Ok(signature.normalize_s().to_der().as_bytes().to_vec())
            }};
        }
        match self {
            PrivateKey::P256(key) => ecdsa!(p256, sha2::Sha256, key),
            PrivateKey::P384(key) => ecdsa!(p384, sha2::Sha384, key),
            PrivateKey::P521(key) => ecdsa!(p521, sha2::Sha512, key),
            PrivateKey::Ed25519(key) => {
                use ed25519_dalek::Signer as _;
                let message = dsse::pre_authentication_encoding(PAYLOAD_TYPE, payload);
                Ok(key.sign(&message).to_bytes().to_vec())
            }
        }
    }
}

/// Decrypts an encrypted private key.
#[cfg(feature = "encrypted-keys")]
fn decrypt(der: &[u8], shown: &str, ask: AskPassword<'_>) -> Result<pkcs8::SecretDocument, KeyError> {
    let encrypted = pkcs8::EncryptedPrivateKeyInfoRef::from_der(der)
        .map_err(|error| KeyError::Malformed { key: shown.to_string(), reason: error.to_string() })?;
    let password = ask(shown)
        .map_err(|source| KeyError::Read { key: shown.to_string(), source })?
        .ok_or_else(|| KeyError::NoPassword(shown.to_string()))?;
    encrypted.decrypt(password.as_bytes()).map_err(|_| KeyError::WrongPassword(shown.to_string()))
}

#[cfg(not(feature = "encrypted-keys"))]
fn decrypt(_: &[u8], shown: &str, _: AskPassword<'_>) -> Result<pkcs8::SecretDocument, KeyError> {
    let reason = "it is encrypted, which this build does not support".to_string();
    Err(KeyError::Malformed { key: shown.to_string(), reason })
}
