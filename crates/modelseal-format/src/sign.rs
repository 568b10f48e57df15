//! Signatures: DSSE, keys, and the Sigstore bundle that carries both.
//!
//! This module signs and verifies bytes. It does not know what they mean.

mod bundle;
mod dsse;
#[cfg(feature = "signing")]
mod key_file;
mod key_source;
mod material;
mod parse;
mod pem;
#[cfg(feature = "signing")]
mod private_key;
mod public_key;
#[cfg(feature = "signing")]
mod signer;
mod third_party;

use std::path::PathBuf;

use crate::hint::Hint;

pub use bundle::{Bundle, BundleError, SignedBundle, bundle_length};
pub use dsse::pre_authentication_encoding;
#[cfg(feature = "signing")]
pub use key_file::{check_private_key, local_key_directory, read_private_key, write_key_pair};
pub use key_source::{KeySource, local_cache_directory, local_key_path, read_public_key};
pub use material::{Form, Material};
pub use parse::{ReadBundle, read_bundle, read_bundle_from, signature_in_tail, tail_length};
#[cfg(feature = "signing")]
pub use private_key::{KeyAlgorithm, PrivateKey};
pub use public_key::{PublicKey, SignatureError};
#[cfg(feature = "signing")]
pub use signer::{SignElsewhere, Signer};
pub use third_party::read_foreign;

/// A password, wiped from memory when it is no longer needed.
pub type Password = zeroize::Zeroizing<String>;

/// Asks for the password of the key that the argument names. `None` if there is no user to ask.
pub type AskPassword<'a> = &'a mut dyn FnMut(&str) -> std::io::Result<Option<Password>>;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    #[error("cannot read the key {key}")]
    Read { key: String, source: std::io::Error },
    #[error("cannot write the key {}", crate::display::path(path))]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the key {key} is {kind}, not a regular file")]
    NotRegular { key: String, kind: &'static str },
    #[error("the key {0} does not exist")]
    Missing(String),
    #[error("the key `env://{0}` needs the environment variable {0}, which is not set")]
    Variable(String),
    #[error("the private key {key} can be read by others (mode {mode:04o})")]
    Exposed { key: String, mode: u32 },
    #[error("the key {key} is {found}, but {expected} is needed")]
    Kind { key: String, found: String, expected: &'static str },
    #[error("the key {key} uses {algorithm}; supported are ECDSA P-256, P-384 and P-521, and Ed25519")]
    Algorithm { key: String, algorithm: String },
    #[error("the key {key} cannot be read: {reason}")]
    Malformed { key: String, reason: String },
    #[error("the private key {0} needs a password")]
    NoPassword(String),
    #[error("wrong password for the private key {0}")]
    WrongPassword(String),
    #[error("{} already exists", crate::display::path(.0))]
    Exists(PathBuf),
    #[error("cannot find the configuration directory of this user")]
    NoHome,
    #[error("the certificate is not for the key {key}")]
    Certificate { key: String },
    #[error("{key} did not sign: {reason}")]
    Signer { key: String, reason: String },
    #[error("the system provided no random numbers")]
    Random,
}

impl KeyError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            KeyError::Exposed { key, .. } => Some(format!("`chmod 600 {}`", key.replace('`', "")).into()),
            KeyError::NoPassword(_) => Some(Hint::GivePassword),
            KeyError::Exists(_) => Some(Hint::NameNewKey),
            KeyError::Kind { expected, found, .. }
                if expected.contains("public") && found.contains("certificate") =>
            {
                Some("to extract its public key: `openssl x509 -pubkey -noout -in CERTIFICATE`".into())
            }
            KeyError::Kind { expected, .. } if expected.contains("public") => Some(
                "give the `.pub` file; to extract it from a private key: `openssl pkey -pubout -in KEY`"
                    .into(),
            ),
            KeyError::Kind { .. } => Some(Hint::GivePrivateKey),
            KeyError::NoHome => Some(Hint::SetHome),
            _ => None,
        }
    }
}
