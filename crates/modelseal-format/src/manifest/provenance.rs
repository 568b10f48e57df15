//! The predicate: SLSA provenance 1.x, as far as we write it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Byproduct, ResourceDescriptor, Value};

/// The predicate of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Provenance {
    pub build_definition: BuildDefinition,
    pub run_details: RunDetails,
}

/// What went in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BuildDefinition {
    pub build_type: String,
    pub external_parameters: ExternalParameters,
    pub internal_parameters: InternalParameters,
    pub resolved_dependencies: Vec<ResourceDescriptor>,
}

/// What the builder chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExternalParameters {
    pub model: Model,
    /// By name; from the parameter files and the recipe together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hyperparameters: Hyperparameters,
    /// The command that made the artifact, as an argument vector; empty if the artifact was adopted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Variables that the command was given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Names of the builder's own variables that the command was given as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass_env: Vec<String>,
    /// Directories of its home that the command found as earlier builds had left them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<String>,
    /// Whether the command could reach the network; there is an answer if there is a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
    /// When a rebuild counts as the same; it is there if there is a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproduce: Option<Demand>,
}

/// Hyperparameters by name.
pub type Hyperparameters = BTreeMap<String, Value>;

/// Which model and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: String,
    pub version: String,
    /// A number that rises with every release, where the builder keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
}

/// No release has a higher number: every reader of JSON can tell two up to here apart (RFC 8259, 6).
pub const LAST_RELEASE: u64 = (1 << 53) - 1;

impl Model {
    /// The directory inside the archive, and the archive's name without its ending.
    pub fn directory(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// What the build did with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InternalParameters {
    pub format: u32,
    pub origin: Origin,
    /// Seconds since 1970: the modification time of every entry of the archive.
    pub source_date_epoch: u64,
    /// The recipe's globs, then git's own files at the artifact's root that did not ship.
    pub excluded: Vec<String>,
    /// Whether `model.sig` belongs into the artifact.
    pub model_signature: bool,
    /// The parts of the lineage that this manifest does not have.
    pub missing: Vec<Missing>,
    /// What commands said about the environment, in the recipe's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<CommandOutput>,
    /// Files that links brought into the artifact from outside of the work tree, in byte order; `.` alone if a link
    /// brought the whole artifact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<String>,
}

/// A command of the recipe that describes the environment, and what it printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandOutput {
    pub command: Vec<String>,
    /// Standard output and standard error, white space at the ends removed.
    pub output: String,
}

/// How the artifact came to be, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It was there when the build began; nobody saw it being made.
    Adopted,
    /// It was moved aside, and the sealed command made it anew in the builder's work tree.
    Executed,
    /// The sealed command made it in a fresh clone of the commit.
    Clean,
    /// Somebody else rebuilt it. Never the word of a manifest, only of a statement about it.
    Reproduced,
}

impl Origin {
    pub fn name(self) -> &'static str {
        match self {
            Origin::Adopted => "adopted",
            Origin::Executed => "executed",
            Origin::Clean => "clean",
            Origin::Reproduced => "reproduced",
        }
    }

    /// What that means, for a person.
    pub fn description(self) -> &'static str {
        match self {
            Origin::Adopted => "nobody watched it being made",
            Origin::Executed => "made by the sealed command in the builder's work tree",
            Origin::Clean => "made by the sealed command in a fresh clone of the commit",
            Origin::Reproduced => "rebuilt by another signer that is trusted to say so",
        }
    }
}

/// How alike two artifacts are, most alike first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rung {
    /// The same bytes.
    #[default]
    R0,
    /// The same content in another container.
    R1,
    /// Numbers equal within the sealed tolerance.
    R2,
    /// Another model, whose answers to the sealed probes are the same within the tolerance.
    R3,
}

impl Rung {
    pub fn name(self) -> &'static str {
        match self {
            Rung::R0 => "R0",
            Rung::R1 => "R1",
            Rung::R2 => "R2",
            Rung::R3 => "R3",
        }
    }

    /// What that means, for a person.
    pub fn description(self) -> &'static str {
        match self {
            Rung::R0 => "the same bytes",
            Rung::R1 => "the same content in another container",
            Rung::R2 => "the same numbers within the tolerance",
            Rung::R3 => "another model that answers the probes the same",
        }
    }
}

/// What a rebuild must reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    pub level: Rung,
    /// Numbers differ if they are further apart than `atol + rtol * |sealed|`.
    pub atol: f64,
    pub rtol: f64,
}

/// Validated to be finite.
impl Eq for Demand {}

impl Default for Demand {
    fn default() -> Self {
        Self { level: Rung::R0, atol: 1e-8, rtol: 1e-5 }
    }
}

/// A part of the lineage that can be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    Code,
    Data,
    Params,
}

impl Missing {
    pub const ALL: [Missing; 3] = [Missing::Code, Missing::Data, Missing::Params];

    /// The name in the manifest and in `build --format json`.
    pub fn name(self) -> &'static str {
        match self {
            Missing::Code => "code",
            Missing::Data => "data",
            Missing::Params => "params",
        }
    }

    /// The name for a person.
    pub fn description(self) -> &'static str {
        match self {
            Missing::Code => "the code revision",
            Missing::Data => "the training data",
            Missing::Params => "the hyperparameters",
        }
    }

    /// The name for a person, with the verb.
    pub fn was(self) -> String {
        let verb = if self == Missing::Params { "were" } else { "was" };
        format!("{} {verb}", self.description())
    }
}

/// Who built, and with which version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDetails {
    pub builder: Builder,
    /// The results of the probes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub byproducts: Vec<Byproduct>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Builder {
    pub id: String,
    pub version: BuilderVersion,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuilderVersion {
    pub modelseal: String,
}
