//! Computes what is sealed about answers.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::answer::{canonical, has_fraction, scores, seal, shape};
use super::asking::{Asked, Asking};
use super::golden::Goldens;
use modelseal_format::manifest::{Basis, ProbeFacts, SealedAnswer, Tally, Tolerance};

/// A question: an input as written, the same input again, or an input with one member from another input.
pub(super) struct Question {
    pub(super) input: Box<RawValue>,
    /// The index of the input that it comes from.
    pub(super) golden: usize,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Plain,
    Again,
    /// With this member from another input.
    Swapped(String),
}

impl Question {
    /// All questions of a run: each input; the first input again; and, for each member that must make a difference,
    /// each input that has it, with the value from another input.
    pub(super) fn all(goldens: &Goldens, must_influence: &[String]) -> Vec<Question> {
        let plain = goldens.inputs.iter().enumerate().map(|(golden, input)| Question {
            input: input.input.clone(),
            golden,
            kind: Kind::Plain,
        });
        let again = goldens.inputs.first().map(|input| Question {
            input: input.input.clone(),
            golden: 0,
            kind: Kind::Again,
        });
        let mut questions: Vec<Question> = plain.chain(again).collect();
        let members: Vec<_> = goldens.inputs.iter().map(|input| input.members()).collect();
        for feature in must_influence {
            for (golden, own) in members.iter().enumerate() {
                let Some((own, value)) = own.as_ref().and_then(|own| Some((own, own.get(feature)?))) else {
                    continue;
                };
                // The next input with another value.
                let others = members[golden + 1..].iter().chain(&members[..golden]).flatten();
                let other =
                    others.filter_map(|other| other.get(feature)).find(|other| other.get() != value.get());
                let Some(other) = other else { continue };
                let mut changed = own.clone();
                changed.insert(feature.clone(), other.clone());
                let Ok(input) = serde_json::value::to_raw_value(&changed) else { continue };
                questions.push(Question { input, golden, kind: Kind::Swapped(feature.clone()) });
            }
        }
        questions
    }
}

/// The answers of one run, in the order of the questions.
#[derive(Default)]
pub(super) struct Answers {
    values: Vec<Value>,
    fallback: Vec<bool>,
}

impl Answers {
    pub(super) fn add(&mut self, value: Value, fallback: bool) {
        self.values.push(value);
        self.fallback.push(fallback);
    }
}

pub(super) fn statistics(
    asking: &Asking<'_>,
    questions: &[Question],
    first: &Answers,
    second: &Answers,
    isolated: bool,
) -> Asked {
    let inputs = &asking.goldens.inputs;
    let plain = &first.values[..inputs.len()];
    let is_scored = plain.iter().all(|answer| !scores(answer).is_empty()) && plain.iter().any(has_fraction);
    let basis = if is_scored { Basis::Scores } else { Basis::Outputs };
    let measured: Vec<Measured> = plain.iter().map(Measured::of).collect();
    let sizes = groups(&measured, asking.tolerance);
    let wrong = wrong(asking, plain);
    let undecided = undecided(asking, questions, first, second);
    let with_expected = inputs.iter().filter(|input| input.expected.is_some()).count() as u64;
    let facts = ProbeFacts {
        command: asking.command.to_vec(),
        isolated,
        tolerance: asking.tolerance,
        basis,
        distinct: sizes.len() as u64,
        commonest: sizes.into_iter().max().unwrap_or(0),
        fallbacks: first.fallback[..inputs.len()].iter().filter(|fallback| **fallback).count() as u64,
        swapped: swapped(asking.goldens, &measured, asking.tolerance),
        influence: influence(asking, questions, first),
        expected: Tally { tried: with_expected, hit: with_expected - wrong.len() as u64 },
        deterministic: undecided.is_none(),
        answers: inputs.iter().zip(plain).map(|(input, answer)| seal(&input.id, answer)).collect(),
    };
    Asked { facts, wrong, undecided }
}

/// An answer in two parts: what must be equal, and the numbers that may differ slightly.
struct Measured {
    shape: String,
    scores: Vec<f64>,
}

impl Measured {
    fn of(answer: &Value) -> Self {
        Self { shape: shape(answer), scores: scores(answer) }
    }

    /// Differences within the tolerance do not count.
    fn is_same(&self, other: &Measured, tolerance: Tolerance) -> bool {
        self.shape == other.shape && tolerance.allows_all(&self.scores, &other.scores)
    }

    fn first(&self) -> f64 {
        self.scores.first().copied().unwrap_or(0.0)
    }
}

/// How many different answers there are, and how often the most common one occurs, by the sealed answers. `None` if an
/// answer has too many numbers to be sealed with them.
pub fn spread(facts: &ProbeFacts) -> Option<(u64, u64)> {
    if facts.basis == Basis::Scores && facts.answers.iter().any(|answer| answer.scores.is_empty()) {
        return None;
    }
    let measure =
        |answer: &SealedAnswer| Measured { shape: answer.shape.to_string(), scores: answer.scores.clone() };
    let measured: Vec<Measured> = facts.answers.iter().map(measure).collect();
    let sizes = groups(&measured, facts.tolerance);
    Some((sizes.len() as u64, sizes.into_iter().max().unwrap_or(0)))
}

/// How often each different answer occurs.
fn groups(answers: &[Measured], tolerance: Tolerance) -> Vec<u64> {
    // In this order, equal answers are close to each other.
    let mut sorted: Vec<&Measured> = answers.iter().collect();
    sorted.sort_by(|left, right| {
        let scores = || left.scores.partial_cmp(&right.scores).unwrap_or(Ordering::Equal);
        left.shape.cmp(&right.shape).then_with(scores)
    });
    let mut groups: Vec<(&Measured, u64)> = Vec::new();
    let mut near = 0;
    for own in sorted {
        let is_far =
            |other: &Measured| other.shape != own.shape || !tolerance.allows(other.first(), own.first());
        while groups.get(near).is_some_and(|(other, _)| is_far(other)) {
            near += 1;
        }
        match groups[near..].iter_mut().find(|(other, _)| own.is_same(other, tolerance)) {
            Some((_, size)) => *size += 1,
            None => groups.push((own, 1)),
        }
    }
    groups.into_iter().map(|(_, size)| size).collect()
}

/// Compares each input with the next one that differs, and counts how often the answers differ, too.
fn swapped(goldens: &Goldens, measured: &[Measured], tolerance: Tolerance) -> Tally {
    let mut tally = Tally::default();
    let inputs = &goldens.inputs;
    for place in 0..inputs.len() {
        let others = (place + 1..inputs.len()).chain(0..place);
        let other = others.into_iter().find(|other| inputs[*other].input.get() != inputs[place].input.get());
        if let Some(other) = other {
            tally.tried += 1;
            tally.hit += u64::from(!measured[other].is_same(&measured[place], tolerance));
        }
    }
    tally
}

fn influence(asking: &Asking<'_>, questions: &[Question], answers: &Answers) -> BTreeMap<String, Tally> {
    let mut tallies: BTreeMap<String, Tally> =
        asking.must_influence.iter().map(|feature| (feature.clone(), Tally::default())).collect();
    for (question, answer) in questions.iter().zip(&answers.values) {
        let Kind::Swapped(feature) = &question.kind else { continue };
        let tally = tallies.entry(feature.clone()).or_default();
        tally.tried += 1;
        let own = Measured::of(&answers.values[question.golden]);
        tally.hit += u64::from(!own.is_same(&Measured::of(answer), asking.tolerance));
    }
    tallies
}

fn wrong(asking: &Asking<'_>, plain: &[Value]) -> Vec<(String, String, String)> {
    let pairs = asking.goldens.inputs.iter().zip(plain);
    let wrong = pairs.filter_map(|(input, found)| {
        let expected = input.expected.as_ref()?;
        let same = asking.tolerance.accepts(expected, found);
        (!same).then(|| (input.id.clone(), canonical(expected), canonical(found)))
    });
    wrong.collect()
}

/// The first question whose answer was not the same in the other run, or under another id.
fn undecided(
    asking: &Asking<'_>,
    questions: &[Question],
    first: &Answers,
    second: &Answers,
) -> Option<(String, String, String)> {
    let id = |question: &Question| asking.goldens.inputs[question.golden].id.clone();
    let differ = |left: &Value, right: &Value| !asking.tolerance.accepts(left, right);
    let runs = questions.iter().zip(first.values.iter().zip(&second.values));
    let by_run = runs.clone().find(|(_, (left, right))| differ(left, right));
    let again = || {
        let mut again = runs.clone().filter(|(question, _)| question.kind == Kind::Again);
        let original = |question: &Question| &first.values[question.golden];
        again
            .find(|(question, (answer, _))| differ(original(question), answer))
            .map(|(question, (answer, _))| (question, (original(question), answer)))
    };
    by_run.or_else(again).map(|(question, (left, right))| (id(question), canonical(left), canonical(right)))
}
