//! The in-toto Statement around the predicate.

use std::io;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

use super::{
    BUILD_TYPE, ExternalParameters, LOCAL_BUILDER, PROVENANCE_TYPE, Provenance, STATEMENT_TYPE, write_json,
};
use super::{
    Builder, BuilderVersion, Byproduct, DataEvidence, InternalParameters, Model, ResourceDescriptor,
    RunDetails, provenance::BuildDefinition,
};
use crate::canonical::Canonical;
use crate::digest::Digest;

/// The manifest. [`parse`](super::parse()) returns only manifests whose parts are consistent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Manifest {
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// The model first, then its files in byte order of their paths.
    pub subject: Vec<Subject>,
    pub predicate_type: String,
    pub predicate: Provenance,
}

/// The model, or one of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    pub name: String,
    pub digest: SubjectDigest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<FileFacts>,
}

/// The digests of a subject. The model has only `sha256`, its OMS root. A file has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectDigest {
    pub sha256: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Digest>,
}

/// Properties of a file beyond its digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    /// In bytes.
    pub size: u64,
    /// Has mode 0755 in the archive rather than 0644.
    pub executable: bool,
    /// Hash of what a container holds, without its times, order and notes. `None` if the file's digest already
    /// identifies its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentHash>,
}

/// XXH3 with 128 bits. It detects accidents, not attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHash([u8; 16]);

impl From<u128> for ContentHash {
    fn from(hash: u128) -> Self {
        Self(hash.to_be_bytes())
    }
}

const CONTENT_PREFIX: &str = "xxh3:";

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{CONTENT_PREFIX}{:032x}", u128::from_be_bytes(self.0)))
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Any other spelling is detected when the manifest is written again.
        let hex = text.strip_prefix(CONTENT_PREFIX).filter(|hex| hex.len() == 32);
        let hash = hex.and_then(|hex| u128::from_str_radix(hex, 16).ok());
        hash.map(ContentHash::from).ok_or_else(|| de::Error::custom("this is not a content hash"))
    }
}

impl Manifest {
    /// Assembles a manifest. `files` must be sorted by path.
    pub fn new(
        files: Vec<Subject>,
        external_parameters: ExternalParameters,
        internal_parameters: InternalParameters,
        resolved_dependencies: Vec<ResourceDescriptor>,
        byproducts: Vec<Byproduct>,
        version: &str,
    ) -> Self {
        let model = Subject {
            name: external_parameters.model.name.clone(),
            digest: SubjectDigest { sha256: model_root(&files), blake3: None },
            annotations: None,
        };
        let mut subject = files;
        subject.insert(0, model);
        Self {
            statement_type: STATEMENT_TYPE.to_string(),
            subject,
            predicate_type: PROVENANCE_TYPE.to_string(),
            predicate: Provenance {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE.to_string(),
                    external_parameters,
                    internal_parameters,
                    resolved_dependencies,
                },
                run_details: RunDetails {
                    builder: Builder {
                        id: LOCAL_BUILDER.to_string(),
                        version: BuilderVersion { modelseal: version.to_string() },
                    },
                    byproducts,
                },
            },
        }
    }

    pub fn model(&self) -> &Model {
        &self.predicate.build_definition.external_parameters.model
    }

    /// The OMS root digest over the files. It does not cover file names, so it is never an identity.
    pub fn model_digest(&self) -> Option<Digest> {
        self.subject.first().map(|model| model.digest.sha256)
    }

    /// The files of the artifact, in byte order of their paths.
    pub fn files(&self) -> &[Subject] {
        self.subject.get(1..).unwrap_or_default()
    }

    /// Mutable access, to complete the entries of files as they are read. Call [`Self::files_are_known`] afterwards.
    pub fn files_mut(&mut self) -> &mut [Subject] {
        self.subject.get_mut(1..).unwrap_or_default()
    }

    /// Updates the values of the model that depend on its files.
    pub fn files_are_known(&mut self) {
        let root = model_root(self.files());
        if let Some(model) = self.subject.first_mut() {
            model.digest.sha256 = root;
        }
    }

    pub fn internal(&self) -> &InternalParameters {
        &self.predicate.build_definition.internal_parameters
    }

    pub fn external(&self) -> &ExternalParameters {
        &self.predicate.build_definition.external_parameters
    }

    pub fn dependencies(&self) -> &[ResourceDescriptor] {
        &self.predicate.build_definition.resolved_dependencies
    }

    /// The input with this name, such as `data/train`.
    pub fn input(&self, name: &str) -> Option<&ResourceDescriptor> {
        self.dependencies().iter().find(|input| input.name == name)
    }

    /// The inputs of a kind, such as `data`, with their own names.
    pub fn inputs<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a ResourceDescriptor)> {
        let inputs = self.dependencies().iter().map(|input| (input.kind_and_name(), input));
        inputs
            .filter(move |((other, name), _)| *other == kind && !name.is_empty())
            .map(|((_, name), input)| (name, input))
    }

    /// The code revision, if one was sealed.
    pub fn code(&self) -> Option<Code<'_>> {
        self.input("code").map(Code)
    }

    /// The recipe, if one was sealed.
    pub fn recipe(&self) -> Option<&ResourceDescriptor> {
        self.input("recipe")
    }

    /// The evidence about the data source with this name.
    pub fn data(&self, name: &str) -> Option<&DataEvidence> {
        self.inputs("data").find(|(other, _)| *other == name)?.1.data()
    }

    /// The results of the probe with this name.
    pub fn probe(&self, name: &str) -> Option<&Byproduct> {
        self.probes().iter().find(|probe| probe.probe() == name)
    }

    /// Mutable access, to change the manifest before it is signed.
    pub fn internal_mut(&mut self) -> &mut InternalParameters {
        &mut self.predicate.build_definition.internal_parameters
    }

    /// Mutable access, to change the manifest before it is signed.
    pub fn external_mut(&mut self) -> &mut ExternalParameters {
        &mut self.predicate.build_definition.external_parameters
    }

    /// Mutable access, to change the manifest before it is signed.
    pub fn dependencies_mut(&mut self) -> &mut Vec<ResourceDescriptor> {
        &mut self.predicate.build_definition.resolved_dependencies
    }

    /// Mutable access, to change the manifest before it is signed.
    pub fn probes_mut(&mut self) -> &mut Vec<Byproduct> {
        &mut self.predicate.run_details.byproducts
    }

    /// The results of the probes.
    pub fn probes(&self) -> &[Byproduct] {
        &self.predicate.run_details.byproducts
    }

    /// The version of modelseal that made this manifest.
    pub fn made_by(&self) -> &str {
        &self.predicate.run_details.builder.version.modelseal
    }
}

/// The code revision of a release.
#[derive(Debug, Clone, Copy)]
pub struct Code<'a>(&'a ResourceDescriptor);

impl<'a> Code<'a> {
    /// The commit, in hex.
    pub fn commit(&self) -> &'a str {
        self.0.digest.git_commit.as_deref().unwrap_or_default()
    }

    /// The commit's tree, in hex.
    pub fn tree(&self) -> &'a str {
        self.0.digest.git_tree.as_deref().unwrap_or_default()
    }

    /// The digest over the files of the code, see [`crate::digest::directory_hash`].
    pub fn directory_hash(&self) -> Option<Digest> {
        self.0.digest.dir_hash
    }

    /// The address from which others can fetch the commit, if there is one.
    pub fn remote(&self) -> Option<&'a str> {
        self.0.uri.as_deref()?.strip_prefix("git+")
    }

    /// Paths that differed from the commit.
    pub fn dirty(&self) -> &'a [String] {
        self.0.code().map_or(&[], |code| &code.dirty)
    }
}

/// The signed payload is the manifest itself, byte for byte.
impl Canonical for Manifest {
    fn write_to(&self, output: &mut dyn io::Write) -> io::Result<()> {
        write_json(self, output)
    }
}

/// SHA-256 over the concatenated raw SHA-256 digests of the files, in byte order of their paths (OMS 1.0, 5.2.1 and
/// 6.4).
pub fn model_root(files: &[Subject]) -> Digest {
    let mut hasher = sha2::Sha256::new();
    for file in files {
        hasher.update(file.digest.sha256.0);
    }
    Digest(hasher.finalize().into())
}

impl Subject {
    /// A file of the artifact.
    pub fn file(path: String, sha256: Digest, blake3: Digest, facts: FileFacts) -> Self {
        Self { name: path, digest: SubjectDigest { sha256, blake3: Some(blake3) }, annotations: Some(facts) }
    }

    /// In bytes. Zero for the model itself.
    pub fn size(&self) -> u64 {
        self.annotations.map_or(0, |facts| facts.size)
    }

    /// Whether two files have the same content, even in different containers.
    pub fn has_content_of(&self, other: &Subject) -> bool {
        let content = |file: &Subject| file.annotations.and_then(|facts| facts.content);
        self.digest == other.digest
            || content(self).zip(content(other)).is_some_and(|(own, other)| own == other)
    }

    pub fn executable(&self) -> bool {
        self.annotations.is_some_and(|facts| facts.executable)
    }
}
