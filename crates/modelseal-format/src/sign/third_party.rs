//! Reads the Sigstore bundle that other tools write: lenient about its form, strict about its JSON.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::bundle::{Bundle, BundleError};
use super::{Form, Material};
use crate::manifest::{Object, PAYLOAD_TYPE};

/// The only version that a seal or a model signature uses.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Maximum number of entries in any list of a bundle.
const MOST: usize = 64;

/// Maximum size, in bytes, of a seal that another tool wrote or completed. It is kept and read as a whole.
pub(super) const LONGEST: usize = 64 << 20;

/// Reads a bundle written by another tool or by modelseal.
///
/// # Errors
/// [`BundleError`].
pub fn read_foreign(bytes: &[u8]) -> Result<Bundle, BundleError> {
    let Object(wire): Object<Wire> = serde_json::from_slice(bytes).map_err(|error| {
        let text = crate::display::message(&error);
        if error.is_data() { BundleError::NotABundle(text) } else { BundleError::NotJson(text) }
    })?;
    if is_of_newer_bundle(&wire.media_type) {
        return Err(BundleError::Version(crate::display::name(&wire.media_type)));
    }
    if wire.media_type != MEDIA_TYPE {
        return Err(not_a_bundle(format!("its mediaType is {}", crate::display::name(&wire.media_type))));
    }
    let Object(envelope) = wire.dsse_envelope;
    if envelope.payload_type != PAYLOAD_TYPE {
        let found = crate::display::name(&envelope.payload_type);
        return Err(not_a_bundle(format!("its payloadType is {found}")));
    }
    let [signature] = <[Object<WireSignature>; 1]>::try_from(envelope.signatures)
        .map_err(|signatures| BundleError::Signatures(signatures.len()))?;
    let timestamps = wire.verification_material.timestamps()?;
    Ok(Bundle {
        material: wire.verification_material.0.read(bytes)?,
        payload: Some(decode(&envelope.payload, "payload")?),
        signature: decode(&signature.sig, "signature")?,
        timestamps,
        form: Form::Foreign,
    })
}

pub(super) fn too_long() -> BundleError {
    not_a_bundle(format!("it is larger than {LONGEST} bytes, the limit for bundles of other tools"))
}

/// Whether a media type names a Sigstore bundle later than 0.3, the version that this module reads.
fn is_of_newer_bundle(media_type: &str) -> bool {
    let version = media_type.strip_prefix("application/vnd.dev.sigstore.bundle.v");
    let version = version.and_then(|rest| rest.strip_suffix("+json"));
    let numbers = version
        .and_then(|version| version.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>());
    numbers.is_some_and(|numbers| numbers > vec![0, 3])
}

fn not_a_bundle(reason: impl Into<String>) -> BundleError {
    BundleError::NotABundle(reason.into())
}

/// Decodes base64 in either alphabet, as DSSE 1.0.2 requires of readers. Padding is required and nothing else is
/// accepted.
fn decode(text: &str, what: &str) -> Result<Vec<u8>, BundleError> {
    STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .map_err(|_| not_a_bundle(format!("its {what} is not base64")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    media_type: String,
    verification_material: Object<WireMaterial>,
    dsse_envelope: Object<WireEnvelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireMaterial {
    public_key: Option<Object<WireKey>>,
    x509_certificate_chain: Option<Object<WireChain>>,
    certificate: Option<Object<WireCertificate>>,
    #[serde(default, deserialize_with = "few")]
    tlog_entries: Vec<Box<RawValue>>,
    timestamp_verification_data: Option<Object<WireTimestamps>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireTimestamps {
    #[serde(default, deserialize_with = "few")]
    rfc3161_timestamps: Vec<Object<WireTimestamp>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireTimestamp {
    signed_timestamp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireKey {
    hint: Option<String>,
    // Releases before 1.1 wrote these instead. A key that comes with the signature proves nothing.
    #[expect(dead_code)]
    raw_bytes: Option<String>,
    #[expect(dead_code)]
    key_details: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireChain {
    #[serde(deserialize_with = "few")]
    certificates: Vec<Object<WireCertificate>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireCertificate {
    raw_bytes: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireEnvelope {
    payload: String,
    payload_type: String,
    #[serde(deserialize_with = "few")]
    signatures: Vec<Object<WireSignature>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    sig: String,
    // Only ever a hint.
    #[expect(dead_code)]
    #[serde(default)]
    keyid: Option<String>,
}

/// Reads a list of at most `MOST` entries. No bundle needs more, and more entries only take memory. `null` is an
/// empty list, as in protocol buffers.
fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Few<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
        type Value = Vec<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "a list of at most {MOST} entries")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(entry) = list.next_element()? {
                if found.len() == MOST {
                    return Err(de::Error::custom(format!("a list has more than {MOST} entries")));
                }
                found.push(entry);
            }
            Ok(found)
        }
    }

    deserializer.deserialize_any(Few(PhantomData))
}

impl WireMaterial {
    fn timestamps(&self) -> Result<Vec<Vec<u8>>, BundleError> {
        let all = self.timestamp_verification_data.iter().flat_map(|data| &data.rfc3161_timestamps);
        all.map(|timestamp| decode(&timestamp.signed_timestamp, "timestamp")).collect()
    }

    /// `whole` is the text of the bundle itself.
    fn read(self, whole: &[u8]) -> Result<Material, BundleError> {
        let has_log = !self.tlog_entries.is_empty();
        let times = self.timestamp_verification_data.as_ref();
        let has_times = times.is_some_and(|data| !data.rfc3161_timestamps.is_empty());
        match (self.public_key, self.x509_certificate_chain, self.certificate) {
            // Log entries add nothing for a key: the verifier has the key.
            (Some(key), None, None) => Ok(Material::Key { hint: key.0.hint.filter(|hint| !hint.is_empty()) }),
            (None, Some(chain), None) if !has_log => {
                let certificates = chain.certificates.iter();
                let certificates: Vec<Vec<u8>> = certificates
                    .map(|certificate| decode(&certificate.raw_bytes, "certificate"))
                    .collect::<Result<_, _>>()?;
                match certificates.is_empty() {
                    true => Err(not_a_bundle("its certificate chain is empty")),
                    false => Ok(Material::Certificates(certificates)),
                }
            }
            (None, None, Some(certificate)) if !has_log && !has_times => {
                Ok(Material::Certificates(vec![decode(&certificate.raw_bytes, "certificate")?]))
            }
            (None, None, Some(_)) if whole.len() > LONGEST => Err(too_long()),
            (None, None, Some(certificate)) => Ok(Material::Identity {
                certificate: decode(&certificate.raw_bytes, "certificate")?,
                whole: whole.to_vec(),
            }),
            (None, None, None) => Err(not_a_bundle("it names neither a key nor a certificate")),
            (None, Some(_), None) => Err(not_a_bundle(
                "it has a certificate chain and log entries: version 0.3 allows log entries only with a \
                 single certificate",
            )),
            _ => Err(not_a_bundle("it names more than one of a key, a certificate and a certificate chain")),
        }
    }
}
