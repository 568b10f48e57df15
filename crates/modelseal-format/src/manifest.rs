//! The manifest: an in-toto Statement with SLSA provenance, and the OMS model signature's statement.
//!
//! This module contains only the wire types and the rules that apply between them. It opens no file and knows no key.
//! `docs/format.md` is its specification.

mod attestation;
mod behaviour;
mod canonical;
mod descriptor;
mod evidence;
mod inputs;
mod model;
mod model_signature;
mod object;
mod parse;
mod path;
mod provenance;
mod reader;
mod statement;
mod tolerance;
mod validate;
mod value;

pub use attestation::{
    APPROVAL_TYPE, Attestation, AttestationError, Claim, REPRODUCTION_TYPE, ROLLBACK_TYPE, Rollback,
};
pub use behaviour::{Basis, Byproduct, InputsDigest, MOST_SCORES, ProbeFacts, SealedAnswer, Tally};
use canonical::{serialises_to, to_json, write_json};
pub use descriptor::{BaseEvidence, CodeEvidence, DependencyDigest, Evidence, ResourceDescriptor};
pub use evidence::{
    DataEvidence, LONGEST_EXAMPLE, MOST_BUCKETS, MOST_EXAMPLES, RowSketch, SKETCH_SIZE, TimeForms, Timeline,
};
pub use inputs::{InputChange, compare_inputs};
pub use model::{LAST_RELEASE, Model};
pub use model_signature::{ModelSignature, model_signature_payload, sealed_release};
pub use object::Object;
pub use parse::ParseError;
pub use path::{PathError, check_collisions, check_name, check_path, is_git_file, is_name, is_source_name};
pub use provenance::{
    Builder, BuilderVersion, CommandOutput, Demand, ExternalParameters, InternalParameters, Missing, Origin,
    Provenance, RunDetails, Rung,
};
pub use reader::{ManifestReader, ReadManifest, check_predicate, parse};
pub use statement::{Code, ContentHash, FileFacts, Manifest, Subject, SubjectDigest, model_root};
pub use tolerance::Tolerance;
pub use validate::InvalidManifest;
pub use value::Value;

/// DSSE payload type of every statement that modelseal signs.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// `_type` of an in-toto Statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of the manifest: SLSA provenance 1.x.
pub const PROVENANCE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// `buildType`: defines the meaning of modelseal's parameters.
pub const BUILD_TYPE: &str = "https://modelseal.dev/build/v1";
/// `builder.id` of a build on a developer's own machine or in a CI job.
pub const LOCAL_BUILDER: &str = "https://modelseal.dev/builder/local";
/// The newest `internalParameters.format` that this version writes and reads.
pub const FORMAT: u32 = 1;

/// The file inside the artifact that contains the seal.
pub const SEAL_PATH: &str = ".modelseal/manifest.sigstore.json";
/// Maximum size of a seal in bytes: enough for about a million and a half files.
pub const LONGEST_SEAL: u64 = 512 << 20;
/// Maximum size, in bytes, of the part of a manifest that follows its list of files.
pub const LONGEST_PREDICATE: usize = 128 << 20;
/// Maximum number of JSON parts after the list of files, counted in the text. A comma or a colon counts as one, an
/// opening bracket or brace as eight. A part may take a few hundred bytes of memory before the signer is known.
pub const MOST_PARTS: usize = 4 << 20;
/// The directory that contains only the seal.
pub const SEAL_DIRECTORY: &str = ".modelseal";
/// The OMS signature inside the artifact.
pub const MODEL_SIGNATURE_PATH: &str = "model.sig";

/// The latest time that a ustar header can store, in seconds since 1970 (the year 2242).
pub const LAST_EPOCH: u64 = 0o77777777777;
