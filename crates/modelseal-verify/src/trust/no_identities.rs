//! Replaces `identity` if the feature `identities` is off. No value of these types can exist.

use jiff::Timestamp;

use super::{Accepted, Refusal, TrustError, TrustedSigner};
use modelseal_format::sign::Bundle;

const UNSUPPORTED: &str = "this program was built without support for identities";

fn unsupported() -> TrustError {
    TrustError::Identity(UNSUPPORTED.to_string())
}

/// Trusted identities, for which a trusted root vouches.
#[derive(Debug, Clone)]
pub enum IdentityTrust {}

/// The identities to accept.
#[derive(Debug, Clone)]
pub enum Pattern {}

/// Authorities that are trusted to state when something was signed (RFC 3161).
#[derive(Debug, Clone)]
pub enum TimeTrust {}

impl Pattern {
    /// # Errors
    /// Always.
    pub fn exact(_identity: &str) -> Result<Self, TrustError> {
        Err(unsupported())
    }

    /// # Errors
    /// Always.
    pub fn regexp(_text: &str) -> Result<Self, TrustError> {
        Err(unsupported())
    }
}

impl IdentityTrust {
    /// # Errors
    /// Always, because there is no pattern.
    pub fn new(identity: Pattern, _issuer: &str, _root: Option<(&str, &str)>) -> Result<Self, TrustError> {
        match identity {}
    }

    pub(super) fn is_one(&self) -> bool {
        match *self {}
    }

    pub(super) fn describes(&self, _identity: &str, _issuer: &str) -> bool {
        match *self {}
    }

    /// The accepted identities, for messages.
    pub fn shown(&self) -> String {
        match *self {}
    }
}

impl TimeTrust {
    /// # Errors
    /// Always.
    pub fn new(_text: &str, shown: &str) -> Result<Self, TrustError> {
        Err(TrustError::Root { shown: shown.to_string(), reason: UNSUPPORTED.to_string() })
    }

    pub(super) fn time(&self, _timestamp: &[u8], _signature: &[u8]) -> Result<Timestamp, String> {
        match *self {}
    }
}

/// Refuses every bundle, because no identity can be trusted.
pub(super) fn accept<'a>(
    _signers: &'a [TrustedSigner],
    _bundle: &Bundle,
    _whole: &[u8],
) -> Result<Accepted<'a>, Refusal> {
    Err(Refusal::new(format!(
        "it has one certificate with log entries or timestamps, like a signature by an identity, but \
         {UNSUPPORTED}"
    )))
}
