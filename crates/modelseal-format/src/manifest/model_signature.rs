//! The statement of `model.sig`: OpenSSF Model Signing (OMS) 1.0, method `files`, SHA-256.
//!
//! It is a pure function of the manifest. To verify it, modelseal generates it again.

use std::io;

use serde::{Deserialize, Serialize, Serializer};

use super::{MODEL_SIGNATURE_PATH, Manifest, SEAL_DIRECTORY, STATEMENT_TYPE, model_root, write_json};
use crate::canonical::Canonical;
use crate::digest::Digest;

const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";

/// The paths that a release's own `model.sig` ignores.
const IGNORED: [&str; 2] = [SEAL_DIRECTORY, MODEL_SIGNATURE_PATH];

/// The payload of a model signature: files by their SHA-256, in byte order of their paths.
pub struct ModelSignature<'a, F> {
    pub model: &'a str,
    pub root: Digest,
    /// Path and SHA-256.
    pub files: F,
    pub ignore_paths: &'a [&'a str],
    pub release: Option<Digest>,
}

/// The payload of `model.sig` for a release.
pub fn model_signature_payload(manifest: &Manifest, release: Digest) -> impl Canonical {
    ModelSignature {
        model: &manifest.model().name,
        root: model_root(manifest.files()),
        files: manifest.files().iter().map(|file| (file.name.as_str(), file.digest.sha256)),
        ignore_paths: &IGNORED,
        release: Some(release),
    }
}

impl<'a, F: Iterator<Item = (&'a str, Digest)> + Clone> Canonical for ModelSignature<'a, F> {
    fn write_to(&self, output: &mut dyn io::Write) -> io::Result<()> {
        let signature = Signature {
            statement_type: STATEMENT_TYPE,
            subject: [Root {
                name: self.model,
                digest: RootDigest { sha256: self.root },
                annotations: self.release.map(|manifest_sha256| RootAnnotations { manifest_sha256 }),
            }],
            predicate_type: PREDICATE_TYPE,
            predicate: Predicate {
                resources: Resources(self.files.clone()),
                serialization: Serialization {
                    method: "files",
                    hash_type: "sha256",
                    allow_symlinks: false,
                    ignore_paths: self.ignore_paths,
                },
            },
        };
        write_json(&signature, output)
    }
}

/// The release that an OMS payload claims to belong to, used to explain a mismatch. Nothing is verified.
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
struct Signature<'a, F: Serialize> {
    #[serde(rename = "_type")]
    statement_type: &'a str,
    subject: [Root<'a>; 1],
    predicate_type: &'a str,
    predicate: Predicate<'a, F>,
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
struct Predicate<'a, F: Serialize> {
    resources: F,
    serialization: Serialization<'a>,
}

/// A list that is generated while it is serialised, and never kept in memory.
struct Resources<F>(F);

impl<'a, F: Iterator<Item = (&'a str, Digest)> + Clone> Serialize for Resources<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone().map(|(name, digest)| Resource {
            algorithm: "sha256",
            digest,
            name,
        }))
    }
}

#[derive(Serialize)]
struct Resource<'a> {
    algorithm: &'a str,
    digest: Digest,
    name: &'a str,
}

#[derive(Serialize)]
struct Serialization<'a> {
    method: &'a str,
    hash_type: &'a str,
    allow_symlinks: bool,
    ignore_paths: &'a [&'a str],
}
