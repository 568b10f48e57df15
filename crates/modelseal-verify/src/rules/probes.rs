//! `[probe.NAME]`: what the sealed answers show about the model.

use std::fmt::Write;

use toml::Spanned;

use super::answers::{Aspect, Bounds, Verdict, judge_answers};
use super::source::check_within;
use crate::report::{About, Check, CheckKind, Status};
use crate::rule::{Demand, Evidence, Fault, Healthy, Plant, Proposal, Rule, Section, SectionError, Table};
use modelseal_format::display;
use modelseal_format::manifest::{Basis, Byproduct, ProbeFacts, Tally};

pub(super) struct Probes;

/// Whether there are any results.
pub const PRESENT: CheckKind = CheckKind::waivable("probe", About::Probe);
/// For a live model: whether it answers as the sealed one did.
pub const ANSWERS: CheckKind = CheckKind::waivable("probe.answers", About::Probe);
const ISOLATION: CheckKind = CheckKind::waivable("probe.isolation", About::Probe);
const TOLERANCE: CheckKind = CheckKind::waivable("probe.tolerance", About::Probe);
const QUESTIONS: CheckKind = CheckKind::waivable("probe.questions", About::Probe);
const GOLDEN: CheckKind = CheckKind::waivable("probe.golden", About::Probe);
const DIVERSITY: CheckKind = CheckKind::waivable("probe.diversity", About::Probe);
const FALLBACK: CheckKind = CheckKind::waivable("probe.fallback", About::Probe);
const SENSITIVITY: CheckKind = CheckKind::waivable("probe.sensitivity", About::Probe);
const DETERMINISM: CheckKind = CheckKind::waivable("probe.determinism", About::Probe);

const NO_PROBES: &str = "no probe was sealed: add `[[probe]]` to the recipe";

fn kind(aspect: Aspect) -> CheckKind {
    match aspect {
        Aspect::Golden => GOLDEN,
        Aspect::Diversity => DIVERSITY,
        Aspect::Fallback => FALLBACK,
        Aspect::Sensitivity => SENSITIVITY,
        Aspect::Determinism => DETERMINISM,
    }
}

/// What a policy demands of the answers to one probe.
#[derive(Debug, Clone)]
pub struct ProbeLimits {
    /// Whether the sealed result is required.
    pub required: bool,
    /// Whether the probe must have been isolated.
    pub isolated: bool,
    /// Largest share of the most common answer.
    pub max_commonest: Option<f64>,
    /// Largest share of the fallback.
    pub max_fallback: Option<f64>,
    /// Smallest share of answers that must change with the input.
    pub min_sensitivity: Option<f64>,
    /// The largest tolerance that the policy accepts for numbers that count as the same.
    pub max_atol: Option<f64>,
    pub max_rtol: Option<f64>,
}

#[derive(Debug)]
struct SealedAnswers {
    probe: String,
    limits: ProbeLimits,
}

impl ProbeLimits {
    /// Takes its keys out of `[probe.NAME]`.
    ///
    /// # Errors
    /// A value is not a valid limit.
    pub fn read(section: &mut Section<'_>) -> Result<Self, SectionError> {
        let share = |section: &mut Section<'_>, key: &str| {
            let share: Option<Spanned<f64>> = section.take(key)?;
            share.iter().try_for_each(|share| check_within(share, 1.0))?;
            Ok::<_, SectionError>(share.map(Spanned::into_inner))
        };
        let tolerance = |section: &mut Section<'_>, key: &str| {
            let tolerance: Option<Spanned<f64>> = section.take(key)?;
            match tolerance {
                Some(tolerance) if !(tolerance.get_ref().is_finite() && *tolerance.get_ref() >= 0.0) => {
                    Err(SectionError::at(tolerance.span(), "a tolerance must be a number of at least 0"))
                }
                tolerance => Ok(tolerance.map(Spanned::into_inner)),
            }
        };
        Ok(Self {
            required: section.take("required")?.unwrap_or(true),
            isolated: section.take("isolated")?.unwrap_or(false),
            max_commonest: share(section, "max_commonest")?,
            max_fallback: share(section, "max_fallback")?,
            min_sensitivity: share(section, "min_sensitivity")?,
            max_atol: tolerance(section, "max_atol")?,
            max_rtol: tolerance(section, "max_rtol")?,
        })
    }

    fn bounds(&self) -> Bounds {
        let standard = Bounds::default();
        Bounds {
            max_commonest: self.max_commonest,
            max_fallback: self.max_fallback.unwrap_or(standard.max_fallback),
            min_sensitivity: self.min_sensitivity,
        }
    }
}

impl Rule for Probes {
    fn kinds(&self) -> &'static [CheckKind] {
        &[
            PRESENT,
            ANSWERS,
            QUESTIONS,
            ISOLATION,
            TOLERANCE,
            GOLDEN,
            DIVERSITY,
            FALLBACK,
            SENSITIVITY,
            DETERMINISM,
        ]
    }

    fn table(&self) -> Table {
        Table::Each("probe")
    }

    fn keys(&self) -> &'static [&'static str] {
        &["required", "isolated", "max_commonest", "max_fallback", "min_sensitivity", "max_atol", "max_rtol"]
    }

    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError> {
        let limits = ProbeLimits::read(section)?;
        Ok(Some(Box::new(SealedAnswers { probe: section.subject().to_string(), limits })))
    }

    fn propose(&self, proposal: &Proposal<'_>) -> String {
        let Some(probe) = proposal.manifest.probe(proposal.subject) else { return String::new() };
        let facts = &probe.annotations;
        let mut text = format!(
            "required = true             # the sealed result must exist and pass\nisolated = {}\n",
            facts.isolated
        );
        for (key, value) in [("max_atol", facts.tolerance.atol), ("max_rtol", facts.tolerance.rtol)] {
            let line = format!("{key} = {value:?}");
            let _ = writeln!(text, "{line:<27} # answers further apart count as different");
        }
        let swapped = facts.swapped.share().filter(|share| *share > 0.0);
        if let (Basis::Outputs, Some(share)) = (facts.basis, swapped) {
            let least = (share / 2.0).max(0.01);
            let _ = writeln!(
                text,
                "min_sensitivity = {least:.2}      # labels without scores: half of this release's value"
            );
        }
        text
    }

    fn faults(&self, healthy: &Healthy<'_>) -> Vec<Fault> {
        let fault = |name: &str, cure: &str, plant: Option<Plant>| Fault::new(name, cure, plant, NO_PROBES);
        let changed = |change: &dyn Fn(&mut ProbeFacts)| healthy.changed_probe(change);
        let Some(probe) = healthy.manifest.probe(healthy.subject) else {
            return vec![fault("a model without probe results", "", None)];
        };
        let unasked = healthy.changed(|manifest| {
            manifest.probes_mut().retain(|other| other.probe() != healthy.subject);
        });
        let has_influence = !probe.annotations.influence.is_empty();
        let ignored = changed(&|facts| {
            let ignored = |tally: &Tally| Tally { tried: tally.tried.max(1), hit: 0 };
            facts.influence.values_mut().for_each(|tally| *tally = ignored(tally));
        });
        vec![
            fault("a model without probe results", "", Some(unasked)),
            fault(
                "the same answer to every input",
                "",
                changed(&|facts| (facts.distinct, facts.commonest) = (1, facts.inputs())),
            ),
            fault("the fallback for every input", "", changed(&|facts| facts.fallbacks = facts.inputs())),
            fault("inputs ignored", "", changed(&|facts| facts.swapped.hit = 0)),
            Fault::new(
                "one feature ignored",
                "",
                ignored.filter(|_| has_influence),
                "the recipe lists no feature in `must_influence`",
            ),
            fault("a different answer each time", "", changed(&|facts| facts.deterministic = false)),
            fault(
                "wrong answers where answers are expected",
                "",
                changed(&|facts| facts.expected = Tally { tried: facts.inputs(), hit: 0 }),
            ),
            fault(
                "a probe that ran without isolation",
                "isolated = true",
                changed(&|facts| facts.isolated = false),
            ),
            fault(
                "a tolerance that accepts any answer",
                "max_atol = …",
                changed(&|facts| facts.tolerance.atol = 1e9),
            ),
            fault("fewer questions than before", "", changed(&halve)),
        ]
    }
}

impl Demand for SealedAnswers {
    fn words(&self) -> Option<String> {
        None
    }

    fn is_optional(&self) -> bool {
        !self.limits.required
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check> {
        let (name, limits) = (&self.probe, &self.limits);
        let Some(sealed) = evidence.manifest.probe(name) else {
            let message = format!("no results of the probe `{name}` were sealed");
            let status = if limits.required { Status::Fail } else { Status::Skip };
            let check = Check::new(PRESENT.of(name), status, message);
            return vec![check.hint("add `[[probe]]` to the recipe to ask the model when it is built")];
        };
        let previous = evidence.before().and_then(|previous| previous.probe(name));
        let mut checks = Vec::new();
        checks.extend(previous.map(|previous| questions(name, sealed, previous)));
        // Other questions get other answers, so these results are not compared.
        let previous = previous.filter(|previous| previous.digest == sealed.digest);
        let previous = previous.map(|previous| &previous.annotations);
        checks.extend(judge_probe(name, limits, &sealed.annotations, previous));
        checks
    }
}

/// Compares the questions with those of the previous release. A probe that asks less than before detects less.
fn questions(name: &str, sealed: &Byproduct, other: &Byproduct) -> Check {
    let (facts, previous) = (&sealed.annotations, &other.annotations);
    let id = QUESTIONS.of(name);
    let lost = |what: &str, before: u64, now: u64| {
        (now < before).then(|| format!("{before} {what} before, {now} now"))
    };
    let feature = previous.influence.keys().find(|feature| !facts.influence.contains_key(*feature));
    let less = lost("inputs", previous.inputs(), facts.inputs())
        .or_else(|| lost("expected answers", previous.expected.tried, facts.expected.tried))
        .or_else(|| {
            feature.map(|feature| format!("{} no longer has to change the answer", display::name(feature)))
        });
    let other_questions = sealed.digest != other.digest;
    match less {
        None if other_questions || facts.command != previous.command => {
            let message = match other_questions {
                true => "the questions differ from the previous release, so the answers are not compared",
                false => "the command differs from the previous release",
            };
            Check::warn(id, message)
                .hint("check what changed in the inputs, the expected answers and the command")
        }
        Some(less) => Check::fail(id, format!("the probe asks less than in the previous release: {less}"))
            .hint("to accept a smaller probe once, waive this check"),
        None => {
            Check::pass(id, format!("same as before: {}", display::count(facts.inputs(), "input", "inputs")))
        }
    }
}

/// Compares the results of a probe with the limits of a policy. `previous` are its results in the previous release.
pub fn judge_probe(
    name: &str,
    limits: &ProbeLimits,
    facts: &ProbeFacts,
    previous: Option<&ProbeFacts>,
) -> Vec<Check> {
    let mut checks = Vec::new();
    if limits.isolated && !facts.isolated {
        let message = "not isolated: the model could have read the expected answers or used the network";
        checks.push(Check::fail(ISOLATION.of(name), message));
    }
    for (what, most, found) in [
        ("max_atol", limits.max_atol, facts.tolerance.atol),
        ("max_rtol", limits.max_rtol, facts.tolerance.rtol),
    ] {
        if let Some(most) = most.filter(|most| found > *most) {
            let message = format!(
                "answers were compared with a tolerance of {found:?}, but the policy says `{what} = {most:?}`"
            );
            checks.push(Check::fail(TOLERANCE.of(name), message).measured(found, most));
        }
    }
    checks.extend(judge_answers(facts, previous, limits.bounds()).into_iter().map(|finding| {
        let status = match finding.verdict {
            Verdict::Pass => Status::Pass,
            Verdict::Fail => Status::Fail,
            Verdict::Unknown => Status::Unknown,
        };
        let check = Check::new(kind(finding.aspect).of(name), status, finding.message);
        match finding.measured {
            Some((measured, limit)) => check.measured(measured, limit),
            None => check,
        }
    }));
    checks
}

/// Keeps half of the questions, with good answers to them.
fn halve(facts: &mut ProbeFacts) {
    let rest = facts.inputs().div_ceil(2);
    facts.answers.truncate(rest as usize);
    (facts.distinct, facts.commonest) = (rest, 1);
    facts.fallbacks = facts.fallbacks.min(rest);
    let tallies = facts.influence.values_mut().chain([&mut facts.swapped, &mut facts.expected]);
    for tally in tallies {
        tally.tried = tally.tried.min(rest);
        tally.hit = tally.hit.min(rest);
    }
}
