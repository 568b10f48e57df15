//! Who may have signed: keys, authorities and identities that the caller trusts, and what each of them may do.
//!
//! This module judges signatures and signers. It does not know what was signed.

mod algorithms;
mod authority;
mod certificate;
mod files;
#[cfg_attr(not(feature = "identities"), path = "trust/no_identities.rs")]
mod identity;
mod rights;

use std::path::PathBuf;

use jiff::Timestamp;

use authority::CertificatePath;
use modelseal_format::display::{Escaped, name};
use modelseal_format::hint::Hint;
use modelseal_format::sign::{Bundle, Material, PublicKey, SignatureError};

pub use authority::{Authority, Certified};
pub use certificate::{certified_key, certified_subject, check_chain, read_certificates};
pub use files::read_text;
pub use identity::{IdentityTrust, Pattern, TimeTrust};
pub use rights::{Rights, Role};

/// Why something that the caller named cannot be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    #[error(transparent)]
    Open(#[from] modelseal_format::digest::Error),
    #[error("cannot read {}", modelseal_format::display::path(path))]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is longer than 4 MiB", modelseal_format::display::path(.0))]
    TooLong(PathBuf),
    #[error("cannot use the certificate {shown}: {reason}")]
    Certificate { shown: String, reason: String },
    #[error("cannot use the trusted root {shown}: {reason}")]
    Root { shown: String, reason: String },
    #[error("cannot use the identity: {0}")]
    Identity(String),
}

/// A signer that the caller trusts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrustedSigner {
    /// The short name, for reports.
    pub name: String,
    /// How the caller named the signer, for messages.
    pub shown: String,
    pub trust: Trust,
    pub rights: Rights,
}

/// How a signer is recognised.
#[derive(Debug, Clone)]
pub enum Trust {
    Key(PublicKey),
    Authority(Box<Authority>),
    Identity(Box<IdentityTrust>),
}

impl TrustedSigner {
    /// A signer that is recognised in this way, with all rights. A certificate or an identity says in messages who it
    /// is; for a key, see [`Self::key`].
    pub fn new(name: impl Into<String>, trust: Trust) -> Self {
        Self { name: name.into(), shown: String::new(), trust, rights: Rights::all() }
    }

    /// A signer with this key and all rights. `shown` is how messages name the key.
    pub fn key(name: impl Into<String>, shown: impl Into<String>, key: PublicKey) -> Self {
        Self { shown: shown.into(), ..Self::new(name, Trust::Key(key)) }
    }

    /// Whether this describes exactly one signer, even one with several keys. It does not if it accepts every subject
    /// that an authority certifies, or all identities that match an expression.
    fn is_one(&self) -> bool {
        match &self.trust {
            Trust::Key(_) => true,
            Trust::Authority(authority) => authority.is_one(),
            Trust::Identity(identity) => identity.is_one(),
        }
    }

    /// The signature that this entry demands, for messages.
    pub fn demanded(&self) -> String {
        match &self.trust {
            Trust::Key(_) => self.shown.clone(),
            Trust::Authority(authority) => authority.shown(),
            Trust::Identity(identity) => identity.shown(),
        }
    }

    /// Whether the signer may still act in this role. If its signatures carry a trusted time, the end of its rights is
    /// ignored here: a signature from before the end still counts.
    pub fn may_still(&self, role: Role, now: Timestamp) -> bool {
        match &self.trust {
            Trust::Identity(_) => self.rights.without_end().may(role, now).is_ok(),
            Trust::Authority(authority) if authority.has_times() => {
                self.rights.without_end().may(role, now).is_ok()
            }
            Trust::Key(_) | Trust::Authority(_) => self.rights.may(role, now).is_ok(),
        }
    }

    fn trusted_key(&self) -> Option<&PublicKey> {
        if let Trust::Key(key) = &self.trust { Some(key) } else { None }
    }

    /// Whether this entry describes the signer of a signature, even if it would not accept this particular signature.
    fn describes(&self, accepted: &Accepted<'_>) -> bool {
        match &self.trust {
            // A key remains the same key when it is in a certificate.
            Trust::Key(key) => *key == accepted.key,
            Trust::Authority(authority) => accepted.paths().any(|path| authority.describes(path)),
            Trust::Identity(trust) => match &accepted.who {
                Some(Who::Identity { identity, issuer }) => trust.describes(identity, issuer),
                _ => false,
            },
        }
    }
}

/// A valid signature by a trusted signer. [`Accepted::acting`] decides whether the signer had the right to make it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Accepted<'a> {
    /// The entry by which the signer was recognised.
    pub signer: &'a TrustedSigner,
    /// Other entries that accept the same signature, each with what it says about the signer.
    others: Vec<Accepted<'a>>,
    /// All entries that describe the signer, including those that would not accept this particular signature. What a
    /// bundle omits or adds must not decide how its signer is recognised.
    described: Vec<&'a TrustedSigner>,
    /// The path from the signer's certificate to a root.
    path: Option<CertificatePath>,
    pub key: PublicKey,
    /// The subject or identity of the signer, if it is known by more than its key.
    pub who: Option<Who>,
    /// When the signature was made, if a trusted authority says so.
    pub time: Option<Timestamp>,
    /// The time for which the certificate was judged, if that is not now.
    pub judged_at: Option<Timestamp>,
}

/// The signer, according to an authority or an identity issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Certified { subject: String, authority: String },
    Identity { identity: String, issuer: String },
}

impl<'a> Accepted<'a> {
    fn new(signer: &'a TrustedSigner, key: PublicKey) -> Self {
        Self {
            signer,
            others: Vec::new(),
            described: Vec::new(),
            path: None,
            key,
            who: None,
            time: None,
            judged_at: None,
        }
    }

    fn paths(&self) -> impl Iterator<Item = &CertificatePath> {
        self.path.iter().chain(self.others.iter().flat_map(|other| &other.path))
    }

    /// Checks that the signer has this role at the time of the signature, or now if no trusted time is known. A signer
    /// that is revoked under any entry that describes it has no rights.
    ///
    /// # Errors
    /// Who the signer is, and why its signature does not count.
    pub fn acting(mut self, role: Role, now: Timestamp) -> Result<Self, String> {
        let refused = |one: &Self, reason| Err(format!("{}, which is not accepted: {reason}", one.shown()));
        if let Some(revoked) = self.described.iter().find(|signer| signer.rights.revoked.is_some()) {
            self.signer = revoked;
            let reason = revoked.rights.valid(now).err().unwrap_or_default();
            return refused(&self, reason);
        }
        let described = std::mem::take(&mut self.described);
        let others = std::mem::take(&mut self.others);
        let all: Vec<Self> = std::iter::once(self).chain(others).collect();
        let may = |one: &Self| one.signer.rights.may(role, one.time.unwrap_or(now));
        let chosen = all.iter().position(|one| may(one).is_ok()).unwrap_or(0);
        let one = all.into_iter().nth(chosen).ok_or("no signer")?;
        match may(&one) {
            Ok(()) => Ok(Self { described, ..one }),
            Err(reason) => refused(&one, reason),
        }
    }

    /// The signer, for messages.
    pub fn shown(&self) -> String {
        let signer = &self.signer.shown;
        let prefix = if signer.is_empty() { String::new() } else { format!("{signer}: ") };
        let shown = match &self.who {
            None => signer.clone(),
            Some(Who::Certified { subject, authority }) => {
                format!("{prefix}{}, certified by {}", name(subject), name(authority))
            }
            Some(Who::Identity { identity, issuer }) => {
                format!("{prefix}{} (issuer {})", name(identity), name(issuer))
            }
        };
        let signed = self.time.map(|time| format!(", signed at {time}")).unwrap_or_default();
        let judged = self.judged_at.map(|time| format!(", its certificate checked as of {time}"));
        format!("{shown}{signed}{}", judged.unwrap_or_default())
    }

    /// Whether both are the same signer: the same key, the same subject or identity with another key, or both described
    /// by one entry that describes exactly one signer. Both must have been accepted with the same list of signers.
    pub fn is_same_as(&self, other: &Accepted<'_>) -> bool {
        let describes_other = |one: &TrustedSigner| other.described.iter().any(|two| std::ptr::eq(one, *two));
        let is_same_entry = self.described.iter().any(|one| one.is_one() && describes_other(one));
        self.key == other.key || (self.who.is_some() && self.who == other.who) || is_same_entry
    }
}

/// Why no signature was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub message: String,
    pub expected: Option<String>,
    pub actual: Option<String>,
    pub hint: Option<Hint>,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), expected: None, actual: None, hint: None }
    }

    fn differs(self, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self { expected: Some(expected.into()), actual: Some(actual.into()), ..self }
    }

    fn hint(self, hint: Hint) -> Self {
        Self { hint: Some(hint), ..self }
    }
}

/// Verifies the signature of a bundle with a key, over the bytes that the bundle's format defines.
pub type Check<'a> = &'a dyn Fn(&PublicKey) -> Result<(), SignatureError>;

/// Finds the trusted signer that signed this. What the bundle says about its signer is only ever compared.
///
/// # Errors
/// [`Refusal`].
pub fn accept<'a>(
    signers: &'a [TrustedSigner],
    bundle: &Bundle,
    check: Check<'_>,
    now: Timestamp,
) -> Result<Accepted<'a>, Refusal> {
    let mut accepted = match &bundle.material {
        Material::Key { hint } => accept_key(signers, hint.as_deref(), check),
        Material::Certificates(chain) => accept_certified(signers, bundle, chain, check, now),
        Material::Identity { whole, .. } => identity::accept(signers, bundle, whole),
    }?;
    accepted.described = signers.iter().filter(|signer| signer.describes(&accepted)).collect();
    Ok(accepted)
}

fn accept_key<'a>(
    signers: &'a [TrustedSigner],
    hint: Option<&str>,
    check: Check<'_>,
) -> Result<Accepted<'a>, Refusal> {
    let keys: Vec<(&TrustedSigner, &PublicKey)> =
        signers.iter().filter_map(|signer| Some((signer, signer.trusted_key()?))).collect();
    if keys.is_empty() {
        return Err(Refusal::new("it was signed with a key, but no key is trusted").hint(Hint::NameKey));
    }
    let is_named = |key: &PublicKey| hint.is_none_or(|hint| key.is_named_by(hint));
    let mut wrong = None;
    for (signer, key) in &keys {
        match check(key) {
            Ok(()) if is_named(key) => {
                return Ok(Accepted::new(signer, (*key).clone()));
            }
            Ok(()) => {
                let message = format!("signed by {}, but its bundle names another key", signer.shown);
                return Err(Refusal::new(message).differs(format!("sha256:{}", key.hint()), shown_hint(hint)));
            }
            Err(error) if is_named(key) && wrong.is_none() => wrong = Some((signer, error)),
            Err(_) => {}
        }
    }
    let changed = "its content was changed after signing";
    Err(match (wrong, hint) {
        (Some((signer, SignatureError::NotCanonical)), Some(_)) => {
            Refusal::new(format!("it names {}, but {}", signer.shown, SignatureError::NotCanonical))
        }
        (Some((signer, SignatureError::Wrong)), Some(_)) => {
            Refusal::new(format!("it names {}, but {changed}", signer.shown))
        }
        _ => {
            let expected: Vec<String> =
                keys.iter().map(|(_, key)| format!("sha256:{}", key.hint())).collect();
            let refusal = Refusal::new("none of the trusted keys signed this").hint(Hint::NameAnotherKey);
            match hint {
                Some(_) => refusal.differs(expected.join(" or "), shown_hint(hint)),
                None => refusal,
            }
        }
    })
}

fn shown_hint(hint: Option<&str>) -> String {
    let hint = hint.unwrap_or_default();
    match hint.parse::<modelseal_format::digest::Digest>() {
        Ok(digest) => format!("sha256:{digest}"),
        Err(_) => Escaped(hint).to_string(),
    }
}

/// Adds an acceptance: several entries can recognise one signer.
fn also<'a>(accepted: &mut Option<Accepted<'a>>, found: Accepted<'a>) {
    match accepted {
        Some(accepted) => accepted.others.push(found),
        None => *accepted = Some(found),
    }
}

fn accept_certified<'a>(
    signers: &'a [TrustedSigner],
    bundle: &Bundle,
    chain: &[Vec<u8>],
    check: Check<'_>,
    now: Timestamp,
) -> Result<Accepted<'a>, Refusal> {
    let mut reason = None;
    let mut accepted: Option<Accepted<'a>> = None;
    for signer in signers {
        let Trust::Authority(authority) = &signer.trust else { continue };
        let times = match authority.times(&bundle.timestamps, &bundle.signature) {
            Ok(times) => times,
            Err(found) => {
                reason = reason.or(Some(found));
                continue;
            }
        };
        match authority.certify(chain, if times.is_empty() { vec![now] } else { times.clone() }) {
            Ok(Certified { key, subject, authority: root, path }) => {
                if let Err(error) = check(&key) {
                    let what = match error {
                        SignatureError::Wrong => "its content was changed after signing".to_string(),
                        other => other.to_string(),
                    };
                    return Err(Refusal::new(format!("it names {}, but {what}", name(&subject))));
                }
                let who = Some(Who::Certified { subject, authority: root });
                let time = times.into_iter().min().filter(|_| authority.time().is_none());
                let (path, judged_at) = (Some(path), authority.time());
                let found = Accepted { path, who, time, judged_at, ..Accepted::new(signer, key) };
                also(&mut accepted, found);
            }
            // Any reason is more informative than the message that no authority is trusted. The first one is reported.
            Err(found) => reason = reason.or(Some(found)),
        }
    }
    accepted.ok_or_else(|| match reason {
        Some(reason) => Refusal::new(reason),
        None => Refusal::new("it was signed with a certificate, but no authority is trusted")
            .hint(Hint::NameAuthority),
    })
}
