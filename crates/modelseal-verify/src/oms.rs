//! OpenSSF Model Signing (OMS): signatures over the files of a model, as other tools create and verify them.
//!
//! This module knows the format and the files. It does not decide who may sign. The format is OMS 1.0, and what the
//! reference tool (`model-signing`) has written since its release 0.2.

mod files;
mod sign;
mod statement;

use std::fmt::Display;

use modelseal_format::manifest::PAYLOAD_TYPE;
use modelseal_format::sign::{Bundle, PublicKey, SignatureError};

pub use files::{Compared, Difference, GIT_PATHS, compare};
pub use sign::{SignError, Stated, state};
pub use statement::{Hash, ModelStatement, Order, Resource};

/// Why a signed payload does not describe a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signed content is not a model: {0}")]
pub struct Error(String);

impl Error {
    fn statement(reason: impl Display) -> Self {
        Self(reason.to_string())
    }
}

/// Verifies a signature with a key that the caller trusts.
///
/// # Errors
/// [`SignatureError`].
pub fn verify(bundle: &Bundle, key: &PublicKey) -> Result<(), SignatureError> {
    let wrong = SignatureError::Wrong;
    match key.verify_foreign(&bundle.payload(), &bundle.signature) {
        Err(SignatureError::Wrong) => {}
        other => return other,
    }
    if memchr::memmem::find(bundle.payload(), b"model_signing/Digests/v0.1").is_none() {
        return Err(wrong);
    }
    // Release 0.2 signed the payload in Python's notation for bytes, always with SHA-256, for every kind of key.
    let shown = python_bytes(bundle.payload());
    let message = format!("DSSEV1 {} {PAYLOAD_TYPE} {} {shown}", PAYLOAD_TYPE.len(), bundle.payload().len());
    key.verify_sha256(message.as_bytes(), &bundle.signature).map_err(|_| wrong)
}

/// Formats bytes as Python's `repr` does.
fn python_bytes(bytes: &[u8]) -> String {
    let has = |byte: u8| bytes.contains(&byte);
    let quote = if has(b'\'') && !has(b'"') { '"' } else { '\'' };
    let mut shown = format!("b{quote}");
    for byte in bytes {
        match byte {
            b'\\' => shown += "\\\\",
            b'\t' => shown += "\\t",
            b'\n' => shown += "\\n",
            b'\r' => shown += "\\r",
            byte if char::from(*byte) == quote => shown.extend(['\\', quote]),
            0x20..=0x7e => shown.push(char::from(*byte)),
            _ => shown += &format!("\\x{byte:02x}"),
        }
    }
    shown.push(quote);
    shown
}
