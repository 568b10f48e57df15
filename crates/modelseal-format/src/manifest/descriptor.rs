//! The inputs of a build, and the evidence about each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::{DataEvidence, Model, RowSketch, TimeForms, Timeline};
use crate::digest::Digest;

/// One input: its name, its source and its digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "WireDescriptor")]
pub struct ResourceDescriptor {
    /// `code`, `recipe`, `data/NAME`, `base/NAME`, `params/PATH` or `environment/PATH`.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    pub digest: DependencyDigest,
    /// Boxed, because most inputs have no evidence and it takes much more memory than the rest.
    #[serde(rename = "annotations", skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Box<Evidence>>,
}

impl ResourceDescriptor {
    /// The kind of the input and its own name: `("data", "train")` for `data/train`, `("code", "")` for `code`.
    pub fn kind_and_name(&self) -> (&str, &str) {
        self.name.split_once('/').unwrap_or((&self.name, ""))
    }

    pub fn code(&self) -> Option<&CodeEvidence> {
        match self.evidence.as_deref() {
            Some(Evidence::Code(code)) => Some(code),
            _ => None,
        }
    }

    pub fn data(&self) -> Option<&DataEvidence> {
        match self.evidence.as_deref() {
            Some(Evidence::Data(data)) => Some(data),
            _ => None,
        }
    }

    /// Mutable access, to change the evidence before it is signed.
    pub fn data_mut(&mut self) -> Option<&mut DataEvidence> {
        match self.evidence.as_deref_mut() {
            Some(Evidence::Data(data)) => Some(data),
            _ => None,
        }
    }

    pub fn base(&self) -> Option<&BaseEvidence> {
        match self.evidence.as_deref() {
            Some(Evidence::Base(base)) => Some(base),
            _ => None,
        }
    }
}

/// The digests of one input. At least one is present.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DependencyDigest {
    /// The digest of a file. For a sealed archive, its release digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// The commit, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// The commit's tree, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_tree: Option<String>,
    /// The digest of a directory, or of the code: see [`crate::digest::directory_hash`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir_hash: Option<Digest>,
}

impl DependencyDigest {
    pub fn file(sha256: Digest) -> Self {
        Self { sha256: Some(sha256), ..Self::default() }
    }

    pub fn directory(dir_hash: Digest) -> Self {
        Self { dir_hash: Some(dir_hash), ..Self::default() }
    }

    /// `algorithm:hex` of the digest by which the content is compared.
    pub fn tagged(&self) -> String {
        match (self.sha256, self.dir_hash) {
            (Some(sha256), _) => format!("sha256:{sha256}"),
            (None, Some(dir_hash)) => format!("dirHash:{dir_hash}"),
            (None, None) => String::new(),
        }
    }
}

/// What was measured of an input, beyond its digests.
// The whole enum is boxed.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    Code(CodeEvidence),
    Data(DataEvidence),
    Base(BaseEvidence),
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Evidence::Code(code) => code.serialize(serializer),
            Evidence::Data(data) => data.serialize(serializer),
            Evidence::Base(base) => base.serialize(serializer),
        }
    }
}

/// Evidence about the code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CodeEvidence {
    /// Paths that differed from the commit.
    pub dirty: Vec<String>,
}

/// Evidence about a base model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BaseEvidence {
    /// The release, if the base model is a sealed archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDescriptor {
    name: String,
    uri: Option<String>,
    digest: DependencyDigest,
    annotations: Option<Box<Annotations>>,
}

/// The evidence about any kind of input. The input's name decides which members are allowed.
#[derive(Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Annotations {
    dirty: Option<Vec<String>>,
    model: Option<Model>,
    bytes: Option<u64>,
    files: Option<u64>,
    rows: Option<u64>,
    label: Option<String>,
    labels: Option<BTreeMap<String, u64>>,
    labels_uncounted: Option<bool>,
    nulls: Option<u64>,
    timestamp: Option<String>,
    oldest: Option<String>,
    newest: Option<String>,
    unparsed: Option<u64>,
    unparsed_examples: Vec<String>,
    time_forms: Option<TimeForms>,
    timeline: Option<Timeline>,
    sketch: Option<RowSketch>,
}

impl TryFrom<WireDescriptor> for ResourceDescriptor {
    type Error = String;

    fn try_from(wire: WireDescriptor) -> Result<Self, String> {
        let WireDescriptor { name, uri, digest, annotations } = wire;
        let kind = name.split_once('/').map_or(name.as_str(), |(kind, _)| kind);
        let evidence = annotations.map(|annotations| annotations.into_evidence(kind)).transpose();
        let evidence =
            evidence.map_err(|()| format!("an input of kind `{kind}` has annotations of another kind"))?;
        Ok(Self { name, uri, digest, evidence: evidence.map(Box::new) })
    }
}

impl Annotations {
    /// Returns an error if there are members that this kind of input does not have.
    fn into_evidence(self, kind: &str) -> Result<Evidence, ()> {
        match kind {
            "code" => {
                let Self { dirty: Some(dirty), .. } = self else { return Err(()) };
                let rest = Self { dirty: None, ..self };
                if rest == Self::default() { Ok(Evidence::Code(CodeEvidence { dirty })) } else { Err(()) }
            }
            "base" => {
                let Self { model, bytes, files, .. } = self;
                let rest = Self { model: None, bytes: None, files: None, ..self };
                let is_alone = rest == Self::default();
                if is_alone { Ok(Evidence::Base(BaseEvidence { model, bytes, files })) } else { Err(()) }
            }
            "data" if self.dirty.is_none() && self.model.is_none() => Ok(Evidence::Data(DataEvidence {
                bytes: self.bytes,
                files: self.files,
                rows: self.rows,
                label: self.label,
                labels: self.labels,
                labels_uncounted: self.labels_uncounted,
                nulls: self.nulls,
                timestamp: self.timestamp,
                oldest: self.oldest,
                newest: self.newest,
                unparsed: self.unparsed,
                unparsed_examples: self.unparsed_examples,
                time_forms: self.time_forms,
                timeline: self.timeline,
                sketch: self.sketch,
            })),
            _ => Err(()),
        }
    }
}
