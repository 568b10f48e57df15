//! The purpose and the subject of a certificate.

use jiff::Timestamp;
use x509_cert::Certificate;
use x509_cert::der::oid::{AssociatedOid, ObjectIdentifier};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName,
};

use super::TrustError;
use super::algorithms::ALGORITHMS;
use modelseal_format::sign::PublicKey;

/// 1.3.6.1.5.5.7.3.3, `id-kp-codeSigning` of RFC 5280, 4.2.1.12.
pub(super) const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// `emailAddress` of PKCS#9, which old certificates have in their names.
const EMAIL_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");

/// Maximum number of certificates in a chain: the signer's, as many authorities as `webpki` examines, and a root.
pub(super) const MOST_CERTIFICATES: usize = 8;
/// Maximum length of a certificate in bytes.
pub(super) const LONGEST_CERTIFICATE: usize = 64 << 10;

/// Extensions that this module understands, which may therefore be critical.
const KNOWN: [ObjectIdentifier; 6] = [
    BasicConstraints::OID,
    KeyUsage::OID,
    ExtendedKeyUsage::OID,
    NameConstraints::OID,
    SubjectAltName::OID,
    CertificatePolicies::OID,
];

/// Reads the certificates in a PEM text. `shown` names the text in errors.
///
/// # Errors
/// [`TrustError::Certificate`] if it contains no certificate, or anything else.
pub fn read_certificates(text: &str, shown: &str) -> Result<Vec<Vec<u8>>, TrustError> {
    let failed = |reason: String| TrustError::Certificate { shown: shown.to_string(), reason };
    if text.contains("PRIVATE KEY-----") {
        return Err(failed("it contains a private key instead of certificates".to_string()));
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
        (true, _) => Err(failed("it contains no certificate (`-----BEGIN CERTIFICATE-----`)".to_string())),
        (false, false) => Err(failed("it contains something other than certificates".to_string())),
    }
}

/// The public key of a certificate. `shown` names the certificate in errors.
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

/// The subject of a certificate, as a report names it. Empty if the certificate cannot be read.
pub fn certified_subject(der: &[u8]) -> String {
    Certificate::from_der(der).map(|certificate| subject_of(&certificate)).unwrap_or_default()
}

/// Checks whether a chain could be a signer's, regardless of which authorities are trusted. It must not be too long,
/// each certificate must be issued by the next one, and the first must be for signing code. With a time, all of them
/// must be valid then.
///
/// # Errors
/// Why not, as a sentence.
pub fn check_chain(chain: &[Vec<u8>], at: Option<Timestamp>) -> Result<(), String> {
    if chain.len() > MOST_CERTIFICATES || chain.iter().any(|der| der.len() > LONGEST_CERTIFICATE) {
        return Err("it has too many certificates, or one that is too long".to_string());
    }
    let read = |der: &Vec<u8>| Certificate::from_der(der).map_err(|error| error.to_string());
    let certificates: Vec<Certificate> = chain.iter().map(read).collect::<Result<_, _>>()?;
    let (signer, authorities) = certificates.split_first().ok_or("there is no certificate")?;
    check_signer(signer)?;
    authorities.iter().try_for_each(check_authority)?;
    for (certificate, at) in certificates.iter().zip(at.into_iter().cycle()) {
        let (start, end) = validity(certificate).ok_or("cannot read its validity period")?;
        if at < start || end < at {
            return Err(format!(
                "{} is valid only from {start} to {end}",
                modelseal_format::display::name(&subject_of(certificate))
            ));
        }
    }
    match certificates.windows(2).find(|pair| !is_signed_by(&pair[0], &pair[1])) {
        None => check_path(signer, authorities),
        Some(pair) => {
            let [certificate, next] =
                [&pair[0], &pair[1]].map(|one| modelseal_format::display::name(&subject_of(one)));
            Err(format!("its chain is broken: {certificate} was not issued by {next}, which follows it"))
        }
    }
}

/// The extension, or `None` if there is none. An extension that cannot be read is an error.
fn extension<'a, T: Decode<'a> + AssociatedOid>(certificate: &'a Certificate) -> Result<Option<T>, String> {
    let found = certificate.tbs_certificate().get_extension::<T>();
    let found = found.map_err(|_| "one of its extensions is unreadable or occurs twice".to_string())?;
    Ok(found.map(|(_, value)| value))
}

/// Whether a certificate was signed with its own key.
pub(super) fn is_self_signed(certificate: &Certificate) -> bool {
    is_signed_by(certificate, certificate)
}

/// Whether a certificate names this issuer and was signed with its key.
fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let (content, issuer) = (certificate.tbs_certificate(), issuer.tbs_certificate());
    if content.issuer() != issuer.subject() {
        return false;
    }
    // `webpki` has the identifiers of algorithms without the enclosing sequence.
    let inner = |der: Result<Vec<u8>, _>| der.ok().and_then(|der| der.get(2..).map(<[u8]>::to_vec));
    let key = issuer.subject_public_key_info();
    let (Some(made_by), Some(of), Ok(message), Some(key), Some(signature)) = (
        inner(certificate.signature_algorithm().to_der()),
        inner(key.algorithm.to_der()),
        content.to_der(),
        key.subject_public_key.as_bytes(),
        certificate.signature().as_bytes(),
    ) else {
        return false;
    };
    ALGORITHMS.iter().any(|algorithm| {
        *algorithm.signature_alg_id() == *made_by
            && *algorithm.public_key_alg_id() == *of
            && algorithm.verify_signature(key, &message, signature).is_ok()
    })
}

/// The start and end of a certificate's validity.
pub(super) fn validity(certificate: &Certificate) -> Option<(Timestamp, Timestamp)> {
    let time = |time: &x509_cert::time::Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
        Timestamp::from_second(seconds).ok()
    };
    let validity = certificate.tbs_certificate().validity();
    Some((time(&validity.not_before)?, time(&validity.not_after)?))
}

/// Checks that a certificate may have issued others, and that it has no unknown critical extension.
pub(super) fn check_authority(certificate: &Certificate) -> Result<(), String> {
    if !extension::<BasicConstraints>(certificate)?.is_some_and(|constraints| constraints.ca) {
        return Err("it is not the certificate of an authority (`CA:TRUE`)".to_string());
    }
    if extension::<KeyUsage>(certificate)?.is_some_and(|usage| !usage.key_cert_sign()) {
        return Err("its authority may not issue certificates (key usage)".to_string());
    }
    check_critical(certificate)
}

/// Checks that a certificate is for signing, and for signing code.
pub(super) fn check_signer(certificate: &Certificate) -> Result<(), String> {
    if extension::<BasicConstraints>(certificate)?.is_some_and(|constraints| constraints.ca) {
        return Err("it is an authority, which may sign only certificates".to_string());
    }
    // Authorities need not state what the certificates that they issue are for. The signer's own certificate must.
    let purposes = extension::<ExtendedKeyUsage>(certificate)?.map(|usage| usage.0).unwrap_or_default();
    if !purposes.iter().any(|purpose| purpose.as_bytes() == CODE_SIGNING) {
        return Err(not_for_code());
    }
    if extension::<KeyUsage>(certificate)?.is_some_and(|usage| !usage.digital_signature()) {
        return Err("its certificate is not for signing (key usage)".to_string());
    }
    if subject_of(certificate).is_empty() {
        return Err("its certificate has neither a subject nor an alternative name".to_string());
    }
    check_critical(certificate)
}

/// Checks what `webpki` does not check in a path that it found. The root is the last authority.
pub(super) fn check_path(signer: &Certificate, authorities: &[Certificate]) -> Result<(), String> {
    let mut constrained = false;
    for (below, authority) in authorities.iter().enumerate() {
        check_authority(authority)?;
        let length =
            extension::<BasicConstraints>(authority)?.and_then(|constraints| constraints.path_len_constraint);
        if length.is_some_and(|length| usize::from(length) < below) {
            return Err("its chain is longer than one of its authorities allows".to_string());
        }
        constrained |= extension::<NameConstraints>(authority)?.is_some();
    }
    let names = signer.tbs_certificate().subject();
    let has_email = names.iter().any(|attribute| attribute.oid == EMAIL_ADDRESS);
    match constrained && has_email {
        true => Err(
            "its subject has an email address, which cannot be checked against the name constraints above it"
                .into(),
        ),
        false => Ok(()),
    }
}

fn check_critical(certificate: &Certificate) -> Result<(), String> {
    let extensions = certificate.tbs_certificate().extensions().into_iter().flatten();
    let unknown =
        extensions.into_iter().find(|extension| extension.critical && !KNOWN.contains(&extension.extn_id));
    match unknown {
        Some(extension) => {
            Err(format!("its certificate has an unknown critical extension ({})", extension.extn_id))
        }
        None => Ok(()),
    }
}

/// The name of the subject for people.
pub(super) fn subject_of(certificate: &Certificate) -> String {
    let subject = certificate.tbs_certificate().subject();
    match subject.is_empty() {
        true => alternative_names(certificate).into_iter().next().unwrap_or_default(),
        false => subject.to_string(),
    }
}

/// The alternative names that a caller can name. If there are only others, a text says so.
fn alternative_names(certificate: &Certificate) -> Vec<String> {
    let names =
        extension::<SubjectAltName>(certificate).ok().flatten().map(|names| names.0).unwrap_or_default();
    let shown = names.iter().filter_map(|name| match name {
        GeneralName::Rfc822Name(email) => Some(format!("email:{}", email.as_str())),
        GeneralName::UniformResourceIdentifier(uri) => Some(format!("URI:{}", uri.as_str())),
        GeneralName::DnsName(dns) => Some(format!("DNS:{}", dns.as_str())),
        _ => None,
    });
    let shown: Vec<String> = shown.collect();
    match shown.is_empty() && !names.is_empty() {
        true => vec!["a name of another kind".to_string()],
        false => shown,
    }
}

pub(super) fn is_named(certificate: &Certificate, subject: &str) -> bool {
    let is_alternative = ["email:", "URI:", "DNS:"].iter().any(|kind| subject.starts_with(kind));
    match is_alternative {
        true => alternative_names(certificate).iter().any(|name| name == subject),
        false => {
            let own = certificate.tbs_certificate().subject();
            !own.is_empty() && own.to_string() == subject
        }
    }
}

pub(super) fn not_for_code() -> String {
    "its certificate, or one above it, is not for signing code (extended key usage `codeSigning`)".to_string()
}
