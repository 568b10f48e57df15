//! The statement of `model.sig`: OpenSSF Model Signing (OMS) 1.0, method `files`, SHA-256.
//!
//! It is a pure function of the manifest, so verifying it means writing it again.

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::{MODEL_SIGNATURE_PATH, SEAL_DIRECTORY, STATEMENT_TYPE, Statement, Subject, to_json};
use crate::digest::Digest;

const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";

/// SHA-256 over the concatenated raw SHA-256 digests of the files, in byte order of their paths
/// (OMS 1.0, 5.2.1 and 6.4).
pub fn model_root(files: &[Subject]) -> Digest {
    let mut hasher = sha2::Sha256::new();
    for file in files {
        hasher.update(file.digest.sha256.0);
    }
    Digest(hasher.finalize().into())
}

/// The payload of `model.sig` for a release.
pub fn model_signature_payload(manifest: &Statement, release: &Digest) -> Vec<u8> {
    let files = manifest.files().iter().map(|file| (file.name.as_str(), &file.digest.sha256));
    let root = model_root(manifest.files());
    write_model_signature(&manifest.model().name, root, files, &IGNORED, Some(release))
}

/// What a release's own `model.sig` leaves out.
const IGNORED: [&str; 2] = [SEAL_DIRECTORY, MODEL_SIGNATURE_PATH];

/// The payload of a model signature: files by their SHA-256, in byte order of their paths.
pub fn write_model_signature<'a>(
    model: &str,
    root: Digest,
    files: impl Iterator<Item = (&'a str, &'a Digest)>,
    ignore_paths: &[&str],
    release: Option<&Digest>,
) -> Vec<u8> {
    let resources = files.map(|(name, digest)| Resource { algorithm: "sha256", digest, name });
    to_json(&Signature {
        statement_type: STATEMENT_TYPE,
        subject: [Root {
            name: model,
            digest: RootDigest { sha256: root },
            annotations: release.map(|release| RootAnnotations { manifest_sha256: *release }),
        }],
        predicate_type: PREDICATE_TYPE,
        predicate: Predicate {
            resources: resources.collect(),
            serialization: Serialization {
                method: "files",
                hash_type: "sha256",
                allow_symlinks: false,
                ignore_paths,
            },
        },
    })
}

/// The release that an OMS payload says it belongs to, to explain a mismatch. Nothing is checked.
pub fn sealed_release(payload: &[u8]) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Lenient {
        subject: Vec<LenientRoot>,
    }
    #[derive(Deserialize)]
    struct LenientRoot {
        annotations: RootAnnotations,
    }
    let lenient: Lenient = serde_json::from_slice(payload).ok()?;
    Some(lenient.subject.first()?.annotations.manifest_sha256)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signature<'a> {
    #[serde(rename = "_type")]
    statement_type: &'a str,
    subject: [Root<'a>; 1],
    predicate_type: &'a str,
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
struct Root<'a> {
    name: &'a str,
    digest: RootDigest,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<RootAnnotations>,
}

#[derive(Serialize)]
struct RootDigest {
    sha256: Digest,
}

#[derive(Serialize, Deserialize)]
struct RootAnnotations {
    #[serde(rename = "https://modelseal.dev/manifest-sha256")]
    manifest_sha256: Digest,
}

#[derive(Serialize)]
struct Predicate<'a> {
    resources: Vec<Resource<'a>>,
    serialization: Serialization<'a>,
}

#[derive(Serialize)]
struct Resource<'a> {
    algorithm: &'a str,
    digest: &'a Digest,
    name: &'a str,
}

#[derive(Serialize)]
struct Serialization<'a> {
    method: &'a str,
    hash_type: &'a str,
    allow_symlinks: bool,
    ignore_paths: &'a [&'a str],
}
