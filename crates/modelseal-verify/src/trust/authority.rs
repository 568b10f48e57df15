//! Authorities whose certificates state who owns a key.
//!
//! `webpki` checks the path to a root and the times. This module checks what `webpki` leaves to its callers: the order
//! of the chain, the roots themselves, whether the signer may sign, and who the signer is.

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::TrustError;
use super::algorithms::ALGORITHMS;
use super::certificate::{
    CODE_SIGNING, LONGEST_CERTIFICATE, MOST_CERTIFICATES, certified_key, check_authority, check_path,
    check_signer, is_named, is_self_signed, not_for_code, read_certificates, subject_of, validity,
};
use super::identity::TimeTrust;
use modelseal_format::display::{Escaped, name};
use modelseal_format::sign::PublicKey;

/// The accepted signature algorithms of certificates, for messages.
const ACCEPTED: &str =
    "ECDSA on P-256, P-384 or P-521, Ed25519, RSA of 2048 to 8192 bits, with SHA-256 or longer";

/// A condition for a valid path.
type PathCheck<'a> = dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error> + 'a;

/// Authorities that the caller trusts to certify signers.
#[derive(Debug, Clone)]
pub struct Authority {
    roots: Vec<Root>,
    /// Certificates between a signer's certificate and a root, for bundles that do not include them.
    intermediates: Vec<Vec<u8>>,
    /// The only trusted subject of all those that the authority certifies.
    subject: Option<String>,
    /// The time for which certificates are judged, instead of now.
    at: Option<Timestamp>,
    /// Timestamp authorities. The time that they state for a signature is used instead of now.
    times: Option<TimeTrust>,
}

#[derive(Debug, Clone)]
struct Root {
    der: Vec<u8>,
    subject: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// A signer's certificate and its path to a root.
#[derive(Debug, Clone)]
pub(super) struct CertificatePath {
    signer: Certificate,
    /// From the signer's issuer up to the root.
    authorities: Vec<Certificate>,
    /// The subject of the root.
    root: String,
}

/// The signer of an accepted certificate.
#[derive(Debug, Clone)]
pub struct Certified {
    pub key: PublicKey,
    /// The distinguished name as in RFC 4514. If that is empty, the first alternative name.
    pub subject: String,
    /// The subject of the root.
    pub authority: String,
    pub(super) path: CertificatePath,
}

impl Authority {
    /// Reads the certificates of authorities. Each PEM text comes with its name for errors. Self-signed certificates
    /// are roots, and the others are only used to reach a root.
    ///
    /// # Errors
    /// [`TrustError::Certificate`].
    pub fn read(texts: &[(String, String)]) -> Result<Self, TrustError> {
        let mut authority =
            Self { roots: Vec::new(), intermediates: Vec::new(), subject: None, at: None, times: None };
        for (shown, text) in texts {
            for der in read_certificates(text, shown)? {
                authority.add(der, shown)?;
            }
        }
        match authority.roots.is_empty() {
            true => Err(TrustError::Certificate {
                shown: texts.first().map(|(shown, _)| shown.clone()).unwrap_or_default(),
                reason: format!(
                    "there is no root among these certificates: add the self-signed certificate of the \
                     authority, signed with an accepted algorithm ({ACCEPTED})"
                ),
            }),
            false => Ok(authority),
        }
    }

    fn add(&mut self, der: Vec<u8>, shown: &str) -> Result<(), TrustError> {
        let failed =
            |reason: &str| TrustError::Certificate { shown: shown.to_string(), reason: reason.into() };
        let certificate = Certificate::from_der(&der).map_err(|_| failed("it is not a certificate"))?;
        if !is_self_signed(&certificate) {
            self.intermediates.push(der);
            return Ok(());
        }
        check_authority(&certificate).map_err(|reason| failed(&reason))?;
        let (not_before, not_after) =
            validity(&certificate).ok_or_else(|| failed("cannot read its validity period"))?;
        let is_usable = webpki::anchor_from_trusted_cert(&CertificateDer::from(der.as_slice())).is_ok();
        if !is_usable {
            return Err(failed("it cannot be used as a root"));
        }
        let subject = subject_of(&certificate);
        self.roots.push(Root { der, subject, not_before, not_after });
        Ok(())
    }

    /// Trusts only this subject. It is a distinguished name as in RFC 4514, or an alternative name after `email:`,
    /// `URI:` or `DNS:`.
    #[must_use]
    pub fn only(self, subject: Option<String>) -> Self {
        Self { subject, ..self }
    }

    /// Judges certificates for this time instead of now.
    #[must_use]
    pub fn as_of(self, at: Option<Timestamp>) -> Self {
        Self { at, ..self }
    }

    /// Trusts these timestamp authorities to state when something was signed.
    #[must_use]
    pub fn at_times_of(self, times: Option<TimeTrust>) -> Self {
        Self { times, ..self }
    }

    pub(super) fn has_times(&self) -> bool {
        self.times.is_some()
    }

    /// The times of a signature according to the trusted timestamp authorities. Empty if there are no such authorities
    /// or no timestamps.
    pub(super) fn times(&self, timestamps: &[Vec<u8>], signature: &[u8]) -> Result<Vec<Timestamp>, String> {
        let Some(trust) = &self.times else { return Ok(Vec::new()) };
        timestamps.iter().map(|timestamp| trust.time(timestamp, signature)).collect()
    }

    /// Whether exactly one subject is trusted.
    pub(super) fn is_one(&self) -> bool {
        self.subject.is_some()
    }

    /// The time for which certificates are judged, if it is not now.
    pub fn time(&self) -> Option<Timestamp> {
        self.at
    }

    /// The subjects of the roots, and the only trusted subject if there is one, for messages.
    pub fn shown(&self) -> String {
        let roots: Vec<String> = self.roots.iter().map(|root| name(&root.subject)).collect();
        match &self.subject {
            Some(subject) => format!("{}, certified by {}", name(subject), roots.join(" or ")),
            None => format!("anyone certified by {}", roots.join(" or ")),
        }
    }

    /// Judges the chain of a bundle at each of these times. The signer's certificate comes first.
    ///
    /// # Errors
    /// Why the chain is not accepted, as the end of a sentence.
    pub(super) fn certify(&self, chain: &[Vec<u8>], times: Vec<Timestamp>) -> Result<Certified, String> {
        let times = self.at.map_or(times, |time| vec![time]);
        let certified = times.into_iter().map(|time| self.certify_at(chain, time));
        certified
            .reduce(|first, other| first.and(other))
            .unwrap_or_else(|| Err("no time is known".to_string()))
    }

    fn certify_at(&self, chain: &[Vec<u8>], time: Timestamp) -> Result<Certified, String> {
        let (leaf, others) = chain.split_first().ok_or("there is no certificate")?;
        if chain.len() > MOST_CERTIFICATES || chain.iter().any(|der| der.len() > LONGEST_CERTIFICATE) {
            return Err("it has too many certificates, or one that is too long".to_string());
        }
        let certificate =
            Certificate::from_der(leaf).map_err(|_| "cannot read its certificate".to_string())?;
        let subject = subject_of(&certificate);
        // The root may be the last certificate, where the OMS reference tool puts it.
        let others = match others.split_last() {
            Some((last, rest)) if self.roots.iter().any(|root| root.der == *last) => rest,
            _ => others,
        };
        let wrong = |reason: String| format!("{}: {reason}", name(&subject));
        check_signer(&certificate).map_err(wrong)?;
        let path = self.find_path(leaf, others, time, &subject)?;
        check_path(&path.signer, &path.authorities).map_err(wrong)?;
        if let Some(only) = &self.subject
            && !is_named(&path.signer, only)
        {
            return Err(format!("it was signed by {}, not by {}", name(&subject), name(only)));
        }
        let key =
            certified_key(leaf, &format!("of {}", name(&subject))).map_err(|error| error.to_string())?;
        Ok(Certified { key, subject, authority: path.root.clone(), path })
    }

    /// Whether this names the signer of a path: by its subject, and by an authority above it. The certificates that
    /// lead to a root here and the time do not matter, because the bundle can choose them.
    pub(super) fn describes(&self, path: &CertificatePath) -> bool {
        let is_named = self.subject.as_ref().is_none_or(|subject| is_named(&path.signer, subject));
        let own = self.roots.iter().map(|root| &root.der).chain(&self.intermediates);
        let mut own = own.filter_map(|der| Certificate::from_der(der).ok());
        is_named && own.any(|own| path.authorities.iter().any(|above| is_same_authority(&own, above)))
    }

    /// Finds a path from a certificate to a root.
    fn find_path(
        &self,
        leaf: &[u8],
        others: &[Vec<u8>],
        time: Timestamp,
        subject: &str,
    ) -> Result<CertificatePath, String> {
        let (valid, ended): (Vec<&Root>, Vec<&Root>) =
            self.roots.iter().partition(|root| root.not_before <= time && time <= root.not_after);
        let ders: Vec<CertificateDer<'_>> =
            valid.iter().map(|root| CertificateDer::from(root.der.as_slice())).collect();
        // This succeeded for each root when it was read.
        let anchor = |(root, der)| Some((root, webpki::anchor_from_trusted_cert(der).ok()?));
        let (roots, anchors): (Vec<&Root>, Vec<TrustAnchor<'_>>) =
            valid.iter().copied().zip(&ders).filter_map(anchor).unzip();
        let intermediates: Vec<CertificateDer<'_>> = others
            .iter()
            .chain(&self.intermediates)
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let leaf = CertificateDer::from(leaf);
        let end_entity = EndEntityCert::try_from(&leaf).map_err(|error| reason(&error, subject))?;
        let seconds = u64::try_from(time.as_second()).unwrap_or(0);
        let in_order = |path: &VerifiedPath<'_>| {
            let used = path.intermediate_certificates().map(|certificate| certificate.der());
            match used.map(|der| der.to_vec()).take(others.len()).eq(others.iter().cloned()) {
                true => Ok(()),
                false => Err(webpki::Error::UnknownIssuer),
            }
        };
        let verify = |check: Option<&PathCheck<'_>>| {
            end_entity
                .verify_for_usage(
                    &ALGORITHMS,
                    &anchors,
                    &intermediates,
                    UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
                    KeyUsage::required_if_present(CODE_SIGNING),
                    None,
                    check,
                )
                .map(|path| {
                    let used = path.intermediate_certificates().map(|used| used.der().to_vec());
                    (used.collect::<Vec<_>>(), path.anchor().clone())
                })
        };
        let (used, anchor) = match verify(Some(&in_order)) {
            Ok(found) => found,
            Err(webpki::Error::UnknownIssuer) if verify(None).is_ok() => {
                return Err(
                    "its certificates are not in order: each must be followed by its issuer's, and all \
                            must belong to the chain"
                        .to_string(),
                );
            }
            Err(webpki::Error::UnknownIssuer) if !ended.is_empty() => {
                let root = ended.iter().map(|root| {
                    format!("{} ({} to {})", name(&root.subject), root.not_before, root.not_after)
                });
                let root: Vec<String> = root.collect();
                return Err(format!(
                    "the chain of {} does not end in a root that is valid at {time} (not valid then: {})",
                    name(subject),
                    root.join(", ")
                ));
            }
            Err(error) => return Err(reason(&error, subject)),
        };
        let is_it = |candidate: &TrustAnchor<'_>| {
            candidate.subject == anchor.subject
                && candidate.subject_public_key_info == anchor.subject_public_key_info
        };
        let root = roots.iter().zip(&anchors).find(|(_, candidate)| is_it(candidate)).map(|(root, _)| *root);
        let root = root.ok_or_else(|| format!("cannot determine the root of {}", name(subject)))?;
        let authorities = used.iter().chain([&root.der]).map(|der| Certificate::from_der(der));
        let authorities = authorities
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| format!("cannot read a certificate in the chain of {}", name(subject)))?;
        let signer = Certificate::from_der(&leaf).map_err(|_| "cannot read its certificate".to_string())?;
        Ok(CertificatePath { signer, authorities, root: root.subject.clone() })
    }
}

/// Compares name and key, because one authority may have several certificates.
fn is_same_authority(one: &Certificate, other: &Certificate) -> bool {
    let [one, other] = [one, other].map(Certificate::tbs_certificate);
    one.subject() == other.subject() && one.subject_public_key_info() == other.subject_public_key_info()
}

/// Describes the error for people.
fn reason(error: &webpki::Error, subject: &str) -> String {
    let of = name(subject);
    let time = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
    };
    match error {
        webpki::Error::CertExpired { not_after, .. } => {
            format!("the certificate of {of}, or one above it, expired at {}", time(not_after))
        }
        webpki::Error::CertNotValidYet { not_before, .. } => {
            format!("the certificate of {of}, or one above it, is not valid before {}", time(not_before))
        }
        webpki::Error::UnknownIssuer => format!("the chain of {of} does not end in a trusted root"),
        webpki::Error::RequiredEkuNotFoundContext(_) | webpki::Error::EmptyEkuExtension => {
            format!("{of}: {}", not_for_code())
        }
        webpki::Error::NameConstraintViolation => {
            format!(
                "the authorities above {of} may not certify this name, or they limit names in a way that is \
                 not supported (only limits on DNS names and IP addresses are)"
            )
        }
        webpki::Error::PathLenConstraintViolated | webpki::Error::MaximumPathDepthExceeded => {
            format!(
                "the chain of {of} is longer than one of its authorities allows, or has more than six \
                 authorities"
            )
        }
        webpki::Error::UnsupportedSignatureAlgorithmContext(_)
        | webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            format!("a certificate in the chain of {of} has a signature that is not accepted: use {ACCEPTED}")
        }
        webpki::Error::EndEntityUsedAsCa => {
            format!("a certificate in the chain of {of} is not the certificate of an authority")
        }
        webpki::Error::InvalidSignatureForPublicKey => {
            format!(
                "a certificate in the chain of {of} was not signed by its issuer, or the issuer's key is too \
                 weak"
            )
        }
        other => {
            let error = Escaped(&format!("{other:?}")).to_string();
            format!("the chain of {of} is not accepted ({error})")
        }
    }
}
