//! Evidence about the model's answers: the results of a probe.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Tolerance, is_source_name};
use crate::digest::Digest;

/// A byproduct of the build, next to the artifact: `probe/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Byproduct {
    pub name: String,
    /// Digest of the file with the probe's questions.
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

/// The results of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProbeFacts {
    /// The argument vector of the command that answered.
    pub command: Vec<String>,
    /// Whether the command was isolated: no network, no access to the expected answers, and only read access to the
    /// artifact.
    pub isolated: bool,
    /// The tolerance within which numbers in answers count as the same.
    pub tolerance: Tolerance,
    pub basis: Basis,
    /// Number of different answers.
    pub distinct: u64,
    /// Number of times that the most common answer occurred.
    pub commonest: u64,
    /// Number of answers that are the fallback.
    pub fallbacks: u64,
    /// Questions that were replaced with another question, and how many of their answers changed.
    pub swapped: Tally,
    /// By feature: questions in which only this feature was changed, and how many of their answers changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub influence: BTreeMap<String, Tally>,
    /// Questions with an expected answer, and how many got it.
    pub expected: Tally,
    /// Whether a second run, and the same question under another id, gave the same answers.
    pub deterministic: bool,
    /// In byte order of the question's id.
    pub answers: Vec<SealedAnswer>,
}

/// The scores are validated to be finite.
impl Eq for ProbeFacts {}

impl ProbeFacts {
    /// Number of questions that were answered.
    pub fn inputs(&self) -> u64 {
        self.answers.len() as u64
    }
}

/// Maximum number of scores in a sealed answer. An answer with more numbers is sealed without them and compared
/// exactly.
pub const MOST_SCORES: usize = 4096;
/// The kind of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Every answer has numbers, and some are written with a fraction.
    Scores,
    /// Labels, integers, texts.
    Outputs,
}

/// Number of tries, and how many of them were hits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    pub tried: u64,
    pub hit: u64,
}

impl Tally {
    /// The share of hits, 0 to 1. `None` if nothing was tried.
    pub fn share(self) -> Option<f64> {
        (self.tried > 0).then(|| self.hit as f64 / self.tried as f64)
    }
}

/// One answer without its text. It can be compared with another answer, but the text cannot be recovered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedAnswer {
    pub id: String,
    /// SHA-256 of the answer as JSON without white space, members sorted by name.
    pub digest: Digest,
    /// The same, with every number replaced by null.
    pub shape: Digest,
    /// The numbers, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<f64>,
}

/// Whether the number of different answers and the count of the most common one are possible for this many questions.
fn spread_fits(facts: &ProbeFacts) -> bool {
    let (inputs, distinct, commonest) = (facts.inputs(), facts.distinct, facts.commonest);
    // Neither exceeds the number of questions, so no sum and no product overflows.
    commonest + distinct <= inputs + 1 && inputs <= commonest.saturating_mul(distinct)
}

/// Checks that byproducts are probes, each once, with consistent numbers.
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
