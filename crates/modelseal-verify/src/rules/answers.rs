//! Judges the answers to a probe, by the same rules when a model is built and when it is deployed.

use modelseal_format::display::{count, name};
use modelseal_format::manifest::{Basis, ProbeFacts, Tolerance};

/// The aspect that is judged. Its name is the last part of the check's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// Whether the answers that must be right in every release are right.
    Golden,
    /// Whether different inputs get different answers.
    Diversity,
    /// Whether few inputs get the answer that means "no answer".
    Fallback,
    /// Whether a change of the input changes the answer.
    Sensitivity,
    /// Whether the same input always gets the same answer.
    Determinism,
}

impl Aspect {
    pub const ALL: [Self; 5] =
        [Aspect::Golden, Aspect::Diversity, Aspect::Fallback, Aspect::Sensitivity, Aspect::Determinism];

    pub fn name(self) -> &'static str {
        match self {
            Aspect::Golden => "golden",
            Aspect::Diversity => "diversity",
            Aspect::Fallback => "fallback",
            Aspect::Sensitivity => "sensitivity",
            Aspect::Determinism => "determinism",
        }
    }
}

/// The result for one aspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
    /// These inputs cannot answer the question.
    Unknown,
}

/// One judged aspect.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub aspect: Aspect,
    pub verdict: Verdict,
    pub message: String,
    /// The measured share and its limit, each from 0 to 1.
    pub measured: Option<(f64, f64)>,
}

/// The limits to apply. Shares are from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Largest share of the most common answer. `None`: 0.95, or the share in the previous release plus 0.1 if that is
    /// larger, because labels may be imbalanced.
    pub max_commonest: Option<f64>,
    pub max_fallback: f64,
    /// Smallest share of answers that must change when the input changes. `None`: a fifth, if the answers have scores.
    pub min_sensitivity: Option<f64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_commonest: None, max_fallback: 0.05, min_sensitivity: None }
    }
}

/// Default for the largest share of the most common answer.
const MAX_COMMONEST: f64 = 0.95;

/// Largest increase in the share of the most common answer since the previous release.
const MORE_COMMONEST: f64 = 0.10;

/// Largest increase in the share of the fallback since the previous release.
const MORE_FALLBACK: f64 = 0.02;

/// Smallest share of scores that must change with the input. The lowest value of sixteen real models was 0.64. A
/// decision stump has 0.02, and a constant model has none.
const MIN_SENSITIVITY: f64 = 0.20;

/// Judges a probe, and compares it with that of the previous release if there is one.
pub fn judge_answers(facts: &ProbeFacts, previous: Option<&ProbeFacts>, bounds: Bounds) -> Vec<Finding> {
    let finding =
        |aspect, Judgement { verdict, message, measured }| Finding { aspect, verdict, message, measured };
    vec![
        finding(Aspect::Golden, golden(facts)),
        finding(Aspect::Diversity, diversity(facts, previous, bounds)),
        finding(Aspect::Fallback, fallback(facts, previous, bounds)),
        finding(Aspect::Sensitivity, sensitivity(facts, bounds)),
        finding(Aspect::Determinism, determinism(facts)),
    ]
}

struct Judgement {
    verdict: Verdict,
    message: String,
    measured: Option<(f64, f64)>,
}

impl Judgement {
    fn new(verdict: Verdict, message: String) -> Self {
        Self { verdict, message, measured: None }
    }

    fn measured(verdict: Verdict, message: String, share: f64, limit: f64) -> Self {
        Self { verdict, message, measured: Some((share, limit)) }
    }
}

fn golden(facts: &ProbeFacts) -> Judgement {
    let expected = facts.expected;
    let answers = count(expected.tried, "expected answer", "expected answers");
    let (verdict, message) = match expected.tried - expected.hit {
        0 if expected.tried == 0 => (Verdict::Pass, "no expected answers".to_string()),
        0 => (Verdict::Pass, format!("all {answers} given")),
        wrong => (Verdict::Fail, format!("{wrong} of {answers} not given")),
    };
    Judgement::new(verdict, message)
}

fn diversity(facts: &ProbeFacts, previous: Option<&ProbeFacts>, bounds: Bounds) -> Judgement {
    let (inputs, commonest) = (facts.inputs(), facts.commonest);
    if inputs < 2 {
        return Judgement::new(
            Verdict::Unknown,
            "there are too few inputs: at least 2 are needed".to_string(),
        );
    }
    if facts.distinct == 1 {
        let message = format!("all {inputs} inputs get the same answer{}", within(facts));
        return Judgement::new(Verdict::Fail, message);
    }
    let before = previous.filter(|previous| previous.inputs() > 0 && previous.basis == facts.basis);
    let before = before.map(|previous| previous.commonest as f64 / previous.inputs() as f64);
    let usual = || before.map_or(MAX_COMMONEST, |before| MAX_COMMONEST.max(before + MORE_COMMONEST));
    let limit = bounds.max_commonest.unwrap_or_else(usual);
    let share = commonest as f64 / inputs as f64;
    let answers = count(facts.distinct, "different answer", "different answers");
    let message = match commonest {
        1 => format!("{inputs} inputs, all answers different"),
        times => format!("{answers} to {inputs} inputs, the most common {times} times"),
    };
    let verdict = if share > limit { Verdict::Fail } else { Verdict::Pass };
    Judgement::measured(verdict, format!("{message}{}", beyond(verdict, share, limit)), share, limit)
}

/// The tolerance, for a message, if answers that are not identical count as the same.
fn within(facts: &ProbeFacts) -> String {
    let Tolerance { atol, rtol } = facts.tolerance;
    match facts.answers.windows(2).all(|pair| pair[0].digest == pair[1].digest) {
        true => String::new(),
        false => format!(" (within the tolerance: atol {atol:?}, rtol {rtol:?})"),
    }
}

fn fallback(facts: &ProbeFacts, previous: Option<&ProbeFacts>, bounds: Bounds) -> Judgement {
    let share = |facts: &ProbeFacts| facts.fallbacks as f64 / facts.inputs().max(1) as f64;
    let found = share(facts);
    let limit = previous.map_or(bounds.max_fallback, |previous| {
        // The absolute limit applies, and so does the limit on the increase.
        bounds.max_fallback.min(share(previous) + MORE_FALLBACK)
    });
    let message = format!("{} of {} inputs get the fallback", facts.fallbacks, facts.inputs());
    let verdict = if found > limit { Verdict::Fail } else { Verdict::Pass };
    Judgement::measured(verdict, format!("{message}{}", beyond(verdict, found, limit)), found, limit)
}

fn beyond(verdict: Verdict, share: f64, limit: f64) -> String {
    match verdict {
        Verdict::Fail => format!(": {:.1} % (limit {:.1} %)", share * 100.0, limit * 100.0),
        _ => String::new(),
    }
}

fn sensitivity(facts: &ProbeFacts, bounds: Bounds) -> Judgement {
    for (feature, tally) in &facts.influence {
        if tally.tried == 0 {
            let message =
                format!("no two inputs differ in {}, so its influence cannot be tested", name(feature));
            return Judgement::new(Verdict::Unknown, message);
        }
        if tally.hit == 0 {
            let message =
                format!("changing {} changes none of {} answers: it is ignored", name(feature), tally.tried);
            return Judgement::new(Verdict::Fail, message);
        }
    }
    let tally = facts.swapped;
    let Some(share) = tally.share() else {
        return Judgement::new(Verdict::Unknown, "no two inputs differ".to_string());
    };
    let limit = match (bounds.min_sensitivity, facts.basis) {
        (Some(limit), _) => limit,
        (None, Basis::Scores) => MIN_SENSITIVITY,
        (None, Basis::Outputs) => {
            let message = "the answers are labels without scores: set `min_sensitivity` in the policy";
            return Judgement::new(Verdict::Unknown, message.to_string());
        }
    };
    let message = format!("{} of {} answers change with the input", tally.hit, tally.tried);
    let (verdict, message) = match share < limit {
        true => (
            Verdict::Fail,
            format!("{message} (at least {:.0} % required): inputs are ignored", limit * 100.0),
        ),
        false => (Verdict::Pass, message),
    };
    Judgement::measured(verdict, message, share, limit)
}

fn determinism(facts: &ProbeFacts) -> Judgement {
    let (verdict, message) = match facts.deterministic {
        true => (Verdict::Pass, "same answers when asked again"),
        false => (Verdict::Fail, "different answers when asked again"),
    };
    Judgement::new(verdict, message.to_string())
}
