//! Authorities whose certificates say who a key belongs to.
//!
//! The path to a root and the times are checked by `webpki`; what it leaves to its users is checked here: the
//! order of the chain, the roots' own validity, that the signer may sign, and who the signer is.

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage as KeyUsageBits, SubjectAltName};

use super::TrustError;
use super::algorithms::ALGORITHMS;
use crate::sign::PublicKey;
use crate::text::{Escaped, name};

/// 1.3.6.1.5.5.7.3.3, `id-kp-codeSigning` of RFC 5280, 4.2.1.12.
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// No chain is longer, and no certificate.
const MOST_CERTIFICATES: usize = 16;
const LONGEST_CERTIFICATE: usize = 64 << 10;

/// What a path has to be beside valid.
type PathCheck<'a> = dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error> + 'a;

/// Authorities that the caller trusts to say who somebody is.
#[derive(Debug, Clone)]
pub struct Authority {
    roots: Vec<Root>,
    /// What leads from a signer's certificate to a root, where the bundle does not bring it.
    intermediates: Vec<Vec<u8>>,
    /// The only one who is trusted, of all whom the authority certifies.
    subject: Option<String>,
    /// As of when certificates are judged, instead of now.
    at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Root {
    der: Vec<u8>,
    subject: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Whose certificate was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    pub key: PublicKey,
    /// The distinguished name as in RFC 4514, or where it is empty the first alternative name.
    pub subject: String,
    /// Of the root.
    pub authority: String,
}

impl Authority {
    /// Reads the certificates of authorities: PEM texts, each with the name that errors give it. Those that
    /// certify themselves are roots; the others only help to reach one.
    ///
    /// # Errors
    /// [`TrustError::Certificate`].
    pub fn read(texts: &[(String, String)]) -> Result<Self, TrustError> {
        let mut authority = Self { roots: Vec::new(), intermediates: Vec::new(), subject: None, at: None };
        for (shown, text) in texts {
            for der in read_certificates(text, shown)? {
                authority.add(der, shown)?;
            }
        }
        match authority.roots.is_empty() {
            true => Err(TrustError::Certificate {
                shown: texts.first().map(|(shown, _)| shown.clone()).unwrap_or_default(),
                reason: "there is no root among these certificates: one that an authority gave itself".into(),
            }),
            false => Ok(authority),
        }
    }

    fn add(&mut self, der: Vec<u8>, shown: &str) -> Result<(), TrustError> {
        let failed =
            |reason: &str| TrustError::Certificate { shown: shown.to_string(), reason: reason.into() };
        let certificate = Certificate::from_der(&der).map_err(|_| failed("it is not a certificate"))?;
        let content = certificate.tbs_certificate();
        if content.subject() != content.issuer() {
            self.intermediates.push(der);
            return Ok(());
        }
        if !is_authority(&certificate) {
            return Err(failed("it is not the certificate of an authority (`CA:TRUE`)"));
        }
        let time = |time: &x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok();
            seconds.and_then(|seconds| Timestamp::from_second(seconds).ok())
        };
        let validity = content.validity();
        let (Some(not_before), Some(not_after)) = (time(&validity.not_before), time(&validity.not_after))
        else {
            return Err(failed("its times cannot be read"));
        };
        let subject = content.subject().to_string();
        self.roots.push(Root { der, subject, not_before, not_after });
        Ok(())
    }

    /// Trusts only this subject: a distinguished name as in RFC 4514, or an alternative name after `email:`,
    /// `URI:` or `DNS:`.
    #[must_use]
    pub fn only(self, subject: Option<String>) -> Self {
        Self { subject, ..self }
    }

    /// Judges certificates as of this time instead of now.
    #[must_use]
    pub fn as_of(self, at: Option<Timestamp>) -> Self {
        Self { at, ..self }
    }

    /// As of when certificates are judged, where that is not now.
    pub fn time(&self) -> Option<Timestamp> {
        self.at
    }

    /// The subjects of the roots, and who alone is trusted, for messages.
    pub fn shown(&self) -> String {
        let roots: Vec<String> = self.roots.iter().map(|root| name(&root.subject)).collect();
        match &self.subject {
            Some(subject) => format!("{}, certified by {}", name(subject), roots.join(" or ")),
            None => format!("anyone certified by {}", roots.join(" or ")),
        }
    }

    /// Judges the chain of a bundle, the signer's certificate first.
    ///
    /// # Errors
    /// Why it is not accepted, as the end of a sentence.
    pub fn certify(&self, chain: &[Vec<u8>], now: Timestamp) -> Result<Certified, String> {
        let time = self.at.unwrap_or(now);
        let (leaf, others) = chain.split_first().ok_or("there is no certificate")?;
        if chain.len() > MOST_CERTIFICATES || chain.iter().any(|der| der.len() > LONGEST_CERTIFICATE) {
            return Err("its certificates are too many or too long".to_string());
        }
        let certificate =
            Certificate::from_der(leaf).map_err(|_| "its certificate cannot be read".to_string())?;
        let subject = subject_of(&certificate);
        if is_authority(&certificate) {
            return Err(format!("{} is an authority, and signs nothing but certificates", name(&subject)));
        }
        // The root may stand at the end, where the reference tool of OMS puts it.
        let others = match others.split_last() {
            Some((last, rest)) if self.roots.iter().any(|root| root.der == *last) => rest,
            _ => others,
        };
        let path = self.find_path(leaf, others, time, &subject)?;
        // Authorities need not say what those whom they certify are for; the signer's own certificate has to.
        let purposes = extension::<ExtendedKeyUsage>(&certificate).map(|usage| usage.0).unwrap_or_default();
        if !purposes.iter().any(|purpose| purpose.as_bytes() == CODE_SIGNING) {
            return Err(not_for_code(&subject));
        }
        if let Some(bits) = extension::<KeyUsageBits>(&certificate)
            && !bits.digital_signature()
        {
            return Err(format!("the certificate of {} is not for signing", name(&subject)));
        }
        if let Some(only) = &self.subject
            && !is_named(&certificate, only)
        {
            return Err(format!("it was signed by {}, not by {}", name(&subject), name(only)));
        }
        let spki = certificate.tbs_certificate().subject_public_key_info().to_der();
        let spki = spki.map_err(|_| "its key cannot be read".to_string())?;
        let key = PublicKey::from_der(&spki, &format!("of {}", name(&subject))).map_err(|e| e.to_string())?;
        Ok(Certified { key, subject, authority: path })
    }

    /// The subject of the root that a certificate leads to.
    fn find_path(
        &self,
        leaf: &[u8],
        others: &[Vec<u8>],
        time: Timestamp,
        subject: &str,
    ) -> Result<String, String> {
        let (valid, ended): (Vec<&Root>, Vec<&Root>) =
            self.roots.iter().partition(|root| root.not_before <= time && time <= root.not_after);
        let roots: Vec<CertificateDer<'_>> =
            valid.iter().map(|root| CertificateDer::from(root.der.as_slice())).collect();
        let anchors: Vec<TrustAnchor<'_>> =
            roots.iter().filter_map(|root| webpki::anchor_from_trusted_cert(root).ok()).collect();
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
                .map(|path| path.anchor().subject.to_vec())
        };
        let anchor = match verify(Some(&in_order)) {
            Ok(anchor) => anchor,
            Err(webpki::Error::UnknownIssuer) if verify(None).is_ok() => {
                return Err(
                    "its certificates are not in order: each has to be followed by its issuer's, and \
                            none may stand there that does not belong to the chain"
                        .to_string(),
                );
            }
            Err(webpki::Error::UnknownIssuer) if !ended.is_empty() => {
                let root = ended.iter().map(|root| {
                    format!("{} ({} to {})", name(&root.subject), root.not_before, root.not_after)
                });
                let root: Vec<String> = root.collect();
                return Err(format!(
                    "the chain of {} does not end in a root that is valid at {time}: {} is not",
                    name(subject),
                    root.join(", ")
                ));
            }
            Err(error) => return Err(reason(&error, subject)),
        };
        let found = valid.iter().zip(&anchors).find(|(_, candidate)| *candidate.subject == *anchor);
        Ok(found.map_or_else(String::new, |(root, _)| root.subject.clone()))
    }
}

/// Reads the certificates of a PEM text. `shown` names it in errors.
///
/// # Errors
/// [`TrustError::Certificate`]: it holds none, or something else.
pub fn read_certificates(text: &str, shown: &str) -> Result<Vec<Vec<u8>>, TrustError> {
    let failed = |reason: String| TrustError::Certificate { shown: shown.to_string(), reason };
    if text.contains("PRIVATE KEY-----") {
        return Err(failed("it holds a private key, where certificates are needed".to_string()));
    }
    let mut found = Vec::new();
    for block in text.split_inclusive("-----END CERTIFICATE-----") {
        let Some(start) = block.find("-----BEGIN CERTIFICATE-----") else { continue };
        let document = x509_cert::der::Document::from_pem(&block[start..]);
        let (_, document) = document.map_err(|error| failed(format!("it is not PEM: {error}")))?;
        let der = document.as_bytes();
        Certificate::from_der(der).map_err(|error| failed(format!("it is not a certificate: {error}")))?;
        found.push(der.to_vec());
    }
    match (found.is_empty(), text.matches("-----BEGIN ").count() == found.len()) {
        (false, true) => Ok(found),
        (true, _) => Err(failed("it holds no certificate (`-----BEGIN CERTIFICATE-----`)".to_string())),
        (false, false) => Err(failed("it holds something else beside certificates".to_string())),
    }
}

/// The public key that a certificate is for. `shown` names it in errors.
///
/// # Errors
/// [`TrustError::Certificate`].
pub fn certified_key(der: &[u8], shown: &str) -> Result<PublicKey, TrustError> {
    let failed = |reason: String| TrustError::Certificate { shown: shown.to_string(), reason };
    let certificate = Certificate::from_der(der).map_err(|error| failed(error.to_string()))?;
    let spki = certificate.tbs_certificate().subject_public_key_info().to_der();
    let spki = spki.map_err(|error| failed(error.to_string()))?;
    PublicKey::from_der(&spki, shown).map_err(|error| failed(error.to_string()))
}

fn extension<'a, T: Decode<'a> + x509_cert::der::oid::AssociatedOid>(
    certificate: &'a Certificate,
) -> Option<T> {
    // One that cannot be read is refused by webpki.
    certificate.tbs_certificate().get_extension::<T>().ok().flatten().map(|(_, value)| value)
}

fn is_authority(certificate: &Certificate) -> bool {
    extension::<BasicConstraints>(certificate).is_some_and(|constraints| constraints.ca)
}

/// As a person names it.
fn subject_of(certificate: &Certificate) -> String {
    let subject = certificate.tbs_certificate().subject();
    match subject.is_empty() {
        true => alternative_names(certificate).into_iter().next().unwrap_or_default(),
        false => subject.to_string(),
    }
}

fn alternative_names(certificate: &Certificate) -> Vec<String> {
    let names = extension::<SubjectAltName>(certificate).map(|names| names.0).unwrap_or_default();
    let shown = names.iter().filter_map(|name| match name {
        GeneralName::Rfc822Name(email) => Some(format!("email:{}", email.as_str())),
        GeneralName::UniformResourceIdentifier(uri) => Some(format!("URI:{}", uri.as_str())),
        GeneralName::DnsName(dns) => Some(format!("DNS:{}", dns.as_str())),
        _ => None,
    });
    shown.collect()
}

fn is_named(certificate: &Certificate, subject: &str) -> bool {
    let is_alternative = ["email:", "URI:", "DNS:"].iter().any(|kind| subject.starts_with(kind));
    match is_alternative {
        true => alternative_names(certificate).iter().any(|name| name == subject),
        false => {
            let own = certificate.tbs_certificate().subject();
            !own.is_empty() && own.to_string() == subject
        }
    }
}

fn not_for_code(subject: &str) -> String {
    let of = name(subject);
    format!(
        "the certificate of {of}, or one above it, is not for signing code (extended key usage `codeSigning`)"
    )
}

/// What is wrong, for a person.
fn reason(error: &webpki::Error, subject: &str) -> String {
    let of = name(subject);
    let time = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
    };
    match error {
        webpki::Error::CertExpired { not_after, .. } => {
            format!("the certificate of {of}, or one above it, ended at {}", time(not_after))
        }
        webpki::Error::CertNotValidYet { not_before, .. } => {
            format!("the certificate of {of}, or one above it, begins at {}", time(not_before))
        }
        webpki::Error::UnknownIssuer => format!("the chain of {of} does not end in a root that is trusted"),
        webpki::Error::RequiredEkuNotFoundContext(_) | webpki::Error::EmptyEkuExtension => {
            not_for_code(subject)
        }
        webpki::Error::EndEntityUsedAsCa => {
            format!("a certificate in the chain of {of} is not an authority's")
        }
        webpki::Error::InvalidSignatureForPublicKey => {
            format!("a certificate in the chain of {of} was not signed by its issuer")
        }
        other => format!("the certificate of {of} is not accepted: {}", Escaped(&format!("{other:?}"))),
    }
}
