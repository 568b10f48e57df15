//! The predicate: the part of SLSA provenance 1.x that modelseal writes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Byproduct, Model, ResourceDescriptor, Tolerance, Value};

/// The predicate of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Provenance {
    pub build_definition: BuildDefinition,
    pub run_details: RunDetails,
}

/// The inputs and parameters of the build.
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
    /// By name. From the parameter files and the recipe together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hyperparameters: Hyperparameters,
    /// The command that made the artifact, as an argument vector. Empty if the artifact was adopted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Environment variables set for the command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Names of the builder's own environment variables that were passed to the command unchanged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass_env: Vec<String>,
    /// Directories in the command's home that contained what earlier builds had left there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<String>,
    /// Whether the command could reach the network. Present if there is a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
    /// When a rebuild counts as the same. Present if there is a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproduce: Option<Demand>,
}

/// Hyperparameters by name.
pub type Hyperparameters = BTreeMap<String, Value>;

/// How the build used these inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InternalParameters {
    pub format: u32,
    pub origin: Origin,
    /// The modification time of every entry of the archive, in seconds since 1970.
    pub source_date_epoch: u64,
    /// The recipe's globs, then git's own files at the artifact's root that were not included.
    pub excluded: Vec<String>,
    /// Whether the artifact must contain `model.sig`.
    pub model_signature: bool,
    /// The parts of the lineage that this manifest does not have.
    pub missing: Vec<Missing>,
    /// What commands printed about the environment, in the recipe's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<CommandOutput>,
    /// Files that links brought into the artifact from outside of the work tree, in byte order. `.` alone if a link
    /// brought the whole artifact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<String>,
}

/// A command of the recipe that describes the environment, and its output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandOutput {
    pub command: Vec<String>,
    /// Standard output and standard error, without white space at the ends.
    pub output: String,
}

/// How the artifact was made, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It existed when the build began. modelseal did not see it being made.
    Adopted,
    /// It was moved away, and the sealed command made it again in the builder's work tree.
    Executed,
    /// The sealed command made it in a fresh clone of the commit.
    Clean,
    /// Another signer rebuilt it. Only an attestation can say this, never a manifest.
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

    /// What the origin means, for a person.
    pub fn description(self) -> &'static str {
        match self {
            Origin::Adopted => "not built by modelseal",
            Origin::Executed => "made by the sealed command in the builder's work tree",
            Origin::Clean => "made by the sealed command in a fresh clone of the commit",
            Origin::Reproduced => "rebuilt by another trusted signer",
        }
    }
}

/// How similar two artifacts are, most similar first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rung {
    /// The same bytes.
    #[default]
    R0,
    /// The same content in another container.
    R1,
    /// Numbers equal within the sealed tolerance.
    R2,
    /// Another model whose answers to the sealed probes are the same within the tolerance.
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

    /// What the level means, for a person.
    pub fn description(self) -> &'static str {
        match self {
            Rung::R0 => "the same bytes",
            Rung::R1 => "the same content in another container",
            Rung::R2 => "the same numbers within the tolerance",
            Rung::R3 => "another model with the same answers to the probes",
        }
    }
}

/// The level that a rebuild must reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    pub level: Rung,
    /// Numbers differ if they are further apart than `atol + rtol * |sealed|`.
    pub atol: f64,
    pub rtol: f64,
}

/// The numbers are validated to be finite.
impl Eq for Demand {}

impl Default for Demand {
    fn default() -> Self {
        Self { level: Rung::R0, atol: 1e-8, rtol: 1e-5 }
    }
}

impl From<Demand> for Tolerance {
    fn from(demand: Demand) -> Self {
        Self { atol: demand.atol, rtol: demand.rtol }
    }
}

impl Default for Tolerance {
    fn default() -> Self {
        Demand::default().into()
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

/// The builder and its version.
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
