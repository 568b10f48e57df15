//! What is sealed about how the model answers: the results of a probe.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Tolerance, is_source_name};
use crate::digest::Digest;

/// Something that the build made beside the artifact: `probe/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Byproduct {
    pub name: String,
    /// Of the file with the probe's inputs.
    pub digest: InputsDigest,
    pub annotations: ProbeFacts,
}

impl Byproduct {
    /// The name of the probe.
    pub fn probe(&self) -> &str {
        self.name.strip_prefix("probe/").unwrap_or(&self.name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputsDigest {
    pub sha256: Digest,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProbeFacts {
    /// The argument vector that answered.
    pub command: Vec<String>,
    /// Whether it could reach nothing: no network, not the expected answers, and the artifact only to read.
    pub isolated: bool,
    /// Within which numbers in answers count as the same.
    pub tolerance: Tolerance,
    pub basis: Basis,
    /// How many different answers there are.
    pub distinct: u64,
    /// How often the commonest answer came.
    pub commonest: u64,
    /// How many answers are the fallback.
    pub fallbacks: u64,
    /// Inputs in whose place another input was put, and whose answers changed.
    pub swapped: Tally,
    /// By feature: inputs in which only this feature was changed, and whose answers changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub influence: BTreeMap<String, Tally>,
    /// Inputs with an expected answer, and how many got it.
    pub expected: Tally,
    /// Whether a second run, and the same input under another id, gave the same answers.
    pub deterministic: bool,
    /// By id of the input, in byte order.
    pub answers: Vec<SealedAnswer>,
}

/// Validated to have finite scores.
impl Eq for ProbeFacts {}

impl ProbeFacts {
    /// How many inputs were answered.
    pub fn inputs(&self) -> u64 {
        self.answers.len() as u64
    }
}

/// Answers with more numbers are sealed without them, and compared exactly.
pub const MOST_SCORES: usize = 4096;
/// What kind of answers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Every answer has numbers, and some are written with a fraction.
    Scores,
    /// Labels, whole numbers, texts.
    Outputs,
}

/// How many of those that were tried were hit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    pub tried: u64,
    pub hit: u64,
}

impl Tally {
    /// 0 to 1; `None`: nothing was tried.
    pub fn share(self) -> Option<f64> {
        (self.tried > 0).then(|| self.hit as f64 / self.tried as f64)
    }
}

/// One answer, without its text: that it is the same can be seen, what it was cannot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedAnswer {
    pub id: String,
    /// SHA-256 of the answer as JSON without white space, members sorted by name.
    pub digest: Digest,
    /// The same with null in the place of every number.
    pub shape: Digest,
    /// The numbers, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<f64>,
}

/// Whether so many different answers, the commonest so often, can be those to so many inputs.
fn spread_fits(facts: &ProbeFacts) -> bool {
    let (inputs, distinct, commonest) = (facts.inputs(), facts.distinct, facts.commonest);
    // Neither is above the number of inputs: no sum and no product runs over.
    commonest + distinct <= inputs + 1 && inputs <= commonest.saturating_mul(distinct)
}

/// Whether byproducts are probes, each once, whose numbers fit together.
pub(super) fn fits(byproducts: &[Byproduct]) -> Result<(), String> {
    let mut names = HashSet::new();
    for byproduct in byproducts {
        let facts = &byproduct.annotations;
        let known = byproduct.name.strip_prefix("probe/").is_some_and(is_source_name);
        let inputs = facts.inputs();
        let sorted = facts.answers.windows(2).all(|pair| pair[0].id < pair[1].id);
        let few = facts.answers.iter().all(|answer| answer.scores.len() <= MOST_SCORES);
        let finite = facts.answers.iter().flat_map(|answer| &answer.scores).all(|score| score.is_finite());
        let tallies = facts.influence.values().chain([&facts.swapped, &facts.expected]);
        let tolerance = [facts.tolerance.atol, facts.tolerance.rtol];
        let good = tolerance.iter().all(|value| value.is_finite() && *value >= 0.0);
        let counts = facts.commonest <= inputs
            && facts.distinct <= inputs
            && facts.fallbacks <= inputs
            && spread_fits(facts)
            && tallies.into_iter().all(|tally| tally.hit <= tally.tried && tally.tried <= inputs);
        if !(known && names.insert(&byproduct.name) && sorted && few && finite && good && counts) {
            return Err(byproduct.name.clone());
        }
    }
    Ok(())
}
