//! Identities that Sigstore vouches for: with a short-lived certificate, and a public log that recorded the signature
//! in time.
//!
//! This is the only module that uses `sigstore-verify`. Nothing is fetched: the trusted root is the caller's, or that
//! of the public-good instance, which is included in this program.

use std::sync::{Arc, Once};

use jiff::Timestamp;
use regex_automata::meta::Regex;
use serde::Deserialize;
use sigstore_verify::crypto::{self, CryptoProvider, HashContext, SigningScheme};
use sigstore_verify::trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot, TsaAuthority};
use sigstore_verify::tsa;
use sigstore_verify::types::{
    self, HashAlgorithm, Sha256Hash, SignatureBytes, SignatureContent, TimestampToken,
};
use sigstore_verify::{CertificateError, Error, TimestampError, VerificationPolicy, Verifier};

use super::algorithms::{self, Curve, Hash, Scheme};
use super::{Accepted, Refusal, Trust, TrustError, TrustedSigner, Who, also};
use modelseal_format::digest::Digest;
use modelseal_format::display::{Escaped, name};
use modelseal_format::hint::Hint;
use modelseal_format::sign::{Bundle, PublicKey};

/// Trusted identities, for which a trusted root vouches.
#[derive(Clone)]
pub struct IdentityTrust {
    identity: Pattern,
    issuer: String,
    verifier: Arc<Verifier>,
}

impl std::fmt::Debug for IdentityTrust {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "IdentityTrust({})", self.shown())
    }
}

/// The identities to accept.
#[derive(Debug, Clone)]
pub enum Pattern {
    Exact(String),
    /// An expression that must match the whole identity.
    Regexp {
        text: String,
        regexp: Regex,
    },
}

impl Pattern {
    /// Accepts exactly this identity.
    ///
    /// # Errors
    /// [`TrustError::Identity`] if the identity is empty.
    pub fn exact(identity: &str) -> Result<Self, TrustError> {
        match identity.is_empty() {
            true => Err(TrustError::Identity("it is empty".to_string())),
            false => Ok(Pattern::Exact(identity.to_string())),
        }
    }

    /// Accepts identities that a regular expression matches as a whole.
    ///
    /// # Errors
    /// [`TrustError::Identity`].
    pub fn regexp(text: &str) -> Result<Self, TrustError> {
        let failed = |error: &dyn std::error::Error| {
            // The last line of the cause says what is wrong with the expression.
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            let cause = cause.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
            TrustError::Identity(format!("{} is not a regular expression: {}", name(text), Escaped(&cause)))
        };
        // Compiled alone first: `a)|(b` is an expression only between the anchors.
        let alone = Regex::new(text).map_err(|error| failed(&error))?;
        if alone.is_match("") {
            return Err(TrustError::Identity(format!("{} matches the empty string", name(text))));
        }
        let regexp = Regex::new(&format!(r"\A(?:{text})\z")).map_err(|error| failed(&error))?;
        Ok(Pattern::Regexp { text: text.to_string(), regexp })
    }

    fn matches(&self, identity: &str) -> bool {
        match self {
            Pattern::Exact(exact) => exact == identity,
            Pattern::Regexp { regexp, .. } => regexp.is_match(identity),
        }
    }

    fn shown(&self) -> String {
        match self {
            Pattern::Exact(exact) => name(exact),
            Pattern::Regexp { text, .. } => format!("an identity that matches {}", name(text)),
        }
    }
}

impl IdentityTrust {
    /// Trusts these identities if this issuer authenticated them. `root` is the text of a trusted root, and its name in
    /// errors. Without it, the public-good instance of Sigstore vouches, as it was when this program was built.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn new(identity: Pattern, issuer: &str, root: Option<(&str, &str)>) -> Result<Self, TrustError> {
        install_cryptography();
        if issuer.is_empty() {
            return Err(TrustError::Identity("its issuer is empty".to_string()));
        }
        let (text, shown) = root.unwrap_or((SIGSTORE_PRODUCTION_TRUSTED_ROOT, "included in modelseal"));
        let failed = |error: &dyn std::fmt::Display| TrustError::Root {
            shown: shown.to_string(),
            reason: modelseal_format::display::message(error),
        };
        let root = TrustedRoot::from_json(text).map_err(|error| failed(&error))?;
        let verifier = Arc::new(Verifier::new(&root).map_err(|error| failed(&error))?);
        Ok(Self { identity, issuer: issuer.to_string(), verifier })
    }

    /// Whether exactly one identity is accepted.
    pub(super) fn is_one(&self) -> bool {
        matches!(self.identity, Pattern::Exact(_))
    }

    /// Whether this identity is accepted, regardless of which root vouches for it.
    pub(super) fn describes(&self, identity: &str, issuer: &str) -> bool {
        self.issuer == issuer && self.identity.matches(identity)
    }

    /// The accepted identities, for messages.
    pub fn shown(&self) -> String {
        format!("{} (issuer {})", self.identity.shown(), name(&self.issuer))
    }
}

/// Authorities that are trusted to state when something was signed (RFC 3161).
#[derive(Clone)]
pub struct TimeTrust(Arc<Vec<TsaAuthority>>);

impl std::fmt::Debug for TimeTrust {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "TimeTrust({} authorities)", self.0.len())
    }
}

impl TimeTrust {
    /// Reads the timestamp authorities of a trusted root. The arguments are its text, and its name in errors.
    ///
    /// # Errors
    /// [`TrustError::Root`].
    pub fn new(text: &str, shown: &str) -> Result<Self, TrustError> {
        install_cryptography();
        let failed = |reason: String| TrustError::Root { shown: shown.to_string(), reason };
        let root = TrustedRoot::from_json(text)
            .map_err(|error| failed(modelseal_format::display::message(&error)))?;
        let authorities = root.tsa_authorities();
        match authorities.is_empty() {
            true => Err(failed("it has no timestamp authority".to_string())),
            false => Ok(Self(Arc::new(authorities))),
        }
    }

    /// The time of a signature, if one of the authorities vouches for it.
    pub(super) fn time(&self, timestamp: &[u8], signature: &[u8]) -> Result<Timestamp, String> {
        let (token, signature) =
            (TimestampToken::new(timestamp.to_vec()), SignatureBytes::new(signature.to_vec()));
        let mut reason = "no authority vouches for its timestamp".to_string();
        for authority in self.0.iter() {
            match tsa::verify_timestamp_for_authority(&token, &signature, authority) {
                Ok(time) => {
                    let time = Timestamp::from_second(time.as_second());
                    return time.map_err(|_| "cannot read its timestamp".to_string());
                }
                Err(error) => {
                    reason = format!("its timestamp is not accepted: {}", Escaped(&error.to_string()))
                }
            }
        }
        Err(reason)
    }
}

/// Finds the trusted identity that signed a bundle with log entries.
pub(super) fn accept<'a>(
    signers: &'a [TrustedSigner],
    bundle: &Bundle,
    whole: &[u8],
) -> Result<Accepted<'a>, Refusal> {
    let mut reason = None;
    let mut accepted: Option<Accepted<'a>> = None;
    for signer in signers {
        let Trust::Identity(trust) = &signer.trust else { continue };
        match trust.verify(bundle, whole) {
            Ok(Verified { key, identity, issuer, time }) => {
                let who = Some(Who::Identity { identity, issuer });
                also(&mut accepted, Accepted { who, time: Some(time), ..Accepted::new(signer, key) });
            }
            Err(found) => reason = reason.or(Some(found)),
        }
    }
    accepted.ok_or_else(|| match reason {
        Some(reason) => Refusal::new(reason),
        None => Refusal::new(
            "it has one certificate with log entries or timestamps, like a signature by an identity, but no \
             identity is trusted",
        )
        .hint(Hint::NameIdentity),
    })
}

struct Verified {
    key: PublicKey,
    identity: String,
    issuer: String,
    time: Timestamp,
}

impl IdentityTrust {
    fn verify(&self, bundle: &Bundle, whole: &[u8]) -> Result<Verified, String> {
        let text = std::str::from_utf8(whole).map_err(|_| "the bundle is not UTF-8 text".to_string())?;
        let wire = types::Bundle::from_json(text).map_err(|error| reason(&Error::Types(error)))?;
        // What is verified must be exactly what the rest of the program reads.
        let is_same = matches!(&wire.content, SignatureContent::DsseEnvelope(envelope)
            if envelope.payload.as_bytes() == bundle.payload()
                && envelope.payload_type == modelseal_format::manifest::PAYLOAD_TYPE
                && envelope.signature.sig.as_bytes() == bundle.signature);
        if !is_same {
            return Err("the bundle can be read in more than one way".to_string());
        }
        // The caller checks which release the statement is about. Here, it only needs a subject.
        let subject = first_subject(bundle.payload())?;
        let policy = VerificationPolicy::any_identity();
        let result = self.verifier.verify(Sha256Hash::new(subject.0), &wire, &policy);
        let result = result.map_err(|error| reason(&error))?;
        if !(result.certificate_verified() && result.sct_verified() && result.tlog_verified()) {
            return Err("not all of the evidence in the bundle could be checked".to_string());
        }
        let identity = result.identity().map(|identity| identity.as_str().to_string()).unwrap_or_default();
        let issuer = result.issuer().unwrap_or_default().to_string();
        if !self.identity.matches(&identity) {
            return Err(format!("it was signed by {}, not by {}", name(&identity), self.identity.shown()));
        }
        if issuer != self.issuer {
            return Err(format!(
                "the issuer of {} is {}, not {}",
                name(&identity),
                name(&issuer),
                name(&self.issuer)
            ));
        }
        let times = result.verified_timestamps().iter().map(|time| time.as_second());
        let time = times.min().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let time = time.ok_or("the bundle has no trusted time")?;
        let key = result.certificate().ok_or("the bundle has no certificate")?;
        let key = PublicKey::from_der(key.public_key.as_bytes(), "of the certificate");
        let key = key.map_err(|error| error.to_string())?;
        Ok(Verified { key, identity, issuer, time })
    }
}

/// The digest of a statement's first subject.
fn first_subject(payload: &[u8]) -> Result<Digest, String> {
    #[derive(Deserialize)]
    struct Statement {
        subject: Vec<Subject>,
    }
    #[derive(Deserialize)]
    struct Subject {
        digest: SubjectDigest,
    }
    #[derive(Deserialize)]
    struct SubjectDigest {
        sha256: Digest,
    }
    let statement: Option<Statement> = serde_json::from_slice(payload).ok();
    let first = statement.and_then(|statement| statement.subject.into_iter().next());
    first
        .map(|subject| subject.digest.sha256)
        .ok_or_else(|| "the signed statement has no subject".to_string())
}

/// Describes the error for people.
fn reason(error: &Error) -> String {
    match error {
        Error::Certificate(CertificateError::ChainInvalid(_)) => {
            "its certificate was not issued by an authority of the trusted root".to_string()
        }
        Error::SignatureInvalid(_) => "its content was changed after signing".to_string(),
        Error::Timestamp(TimestampError::NoVerifiedTimestamp(_)) => {
            "no trusted timestamp says when it was signed".to_string()
        }
        other => modelseal_format::display::message(&other),
    }
}

/// Installs our cryptography in `sigstore-verify`, which has none.
fn install_cryptography() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // A provider can only be installed already if the caller's program also uses `sigstore-verify`. That provider
        // is then used.
        let _ = crypto::install_default_provider(&PureRust);
    });
}

#[derive(Debug)]
struct PureRust;

/// Hashes a message that arrives in parts. It keeps the whole message, because those of certificates and logs are
/// short.
struct Message(Hash, Vec<u8>);

impl HashContext for Message {
    fn update(&mut self, data: &[u8]) {
        self.1.extend_from_slice(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.of(&self.1)
    }
}

impl CryptoProvider for PureRust {
    fn hash(&self, algorithm: HashAlgorithm) -> crypto::Result<Box<dyn HashContext>> {
        let hash = match algorithm {
            HashAlgorithm::Sha2256 => Hash::Sha256,
            HashAlgorithm::Sha2384 => Hash::Sha384,
            HashAlgorithm::Sha2512 => Hash::Sha512,
            other => return Err(crypto::Error::UnsupportedAlgorithm(format!("{other}"))),
        };
        Ok(Box::new(Message(hash, Vec::new())))
    }

    fn verify_raw(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        data: &[u8],
        signature: &[u8],
    ) -> crypto::Result<()> {
        outcome(algorithms::verify(known(scheme)?, key, data, signature))
    }

    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        digest: &[u8],
        signature: &[u8],
    ) -> crypto::Result<()> {
        outcome(algorithms::verify_hashed(known(scheme)?, key, digest, signature))
    }
}

fn outcome(is_right: bool) -> crypto::Result<()> {
    match is_right {
        true => Ok(()),
        false => Err(crypto::Error::Verification("the signature is wrong".to_string())),
    }
}

fn known(scheme: SigningScheme) -> crypto::Result<Scheme> {
    Ok(match scheme {
        SigningScheme::EcdsaP256Sha256 => Scheme::Ecdsa(Curve::P256, Hash::Sha256),
        SigningScheme::EcdsaP256Sha384 => Scheme::Ecdsa(Curve::P256, Hash::Sha384),
        SigningScheme::EcdsaP384Sha256 => Scheme::Ecdsa(Curve::P384, Hash::Sha256),
        SigningScheme::EcdsaP384Sha384 => Scheme::Ecdsa(Curve::P384, Hash::Sha384),
        SigningScheme::Ed25519 => Scheme::Ed25519,
        SigningScheme::RsaPssSha256 => Scheme::RsaPss(Hash::Sha256),
        SigningScheme::RsaPssSha384 => Scheme::RsaPss(Hash::Sha384),
        SigningScheme::RsaPssSha512 => Scheme::RsaPss(Hash::Sha512),
        SigningScheme::RsaPkcs1Sha256 => Scheme::RsaPkcs1(Hash::Sha256),
        SigningScheme::RsaPkcs1Sha384 => Scheme::RsaPkcs1(Hash::Sha384),
        SigningScheme::RsaPkcs1Sha512 => Scheme::RsaPkcs1(Hash::Sha512),
        other => return Err(crypto::Error::UnsupportedAlgorithm(format!("{other:?}"))),
    })
}
