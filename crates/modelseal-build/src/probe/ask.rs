//! Runs one probe: its command runs twice, with the questions in another order and with other ids.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Error;
use super::asking::{Asked, Asking};
use super::golden::LONGEST_LINE;
use super::statistics::{Answers, Question, statistics};
use crate::run::{self, Job, Limits, Listener, Sandbox, Silence, Stream};
use modelseal_format::digest::Stamp;
use modelseal_format::manifest::Tolerance;

const LIMITS: Limits = Limits {
    time: Some(Duration::from_secs(300)),
    output: 64 << 20,
    silence: Some(Silence { at_first: Duration::from_secs(60), later: Duration::from_secs(10) }),
};

/// The variable with the path of the artifact.
const ARTIFACT: &str = "MODELSEAL_ARTIFACT";

/// Asks a model all questions, twice.
///
/// # Errors
/// [`Error`] if the model cannot be asked, does not keep to the protocol, or answers with an error.
pub fn ask(asking: &Asking<'_>) -> Result<Asked, Error> {
    let has = |feature: &String| asking.goldens.inputs.iter().any(|input| input.has_member(feature));
    if let Some(feature) = asking.must_influence.iter().find(|feature| !has(feature)) {
        return Err(Error::NoFeature { probe: asking.name.to_string(), feature: feature.clone() });
    }
    let before = stamps(asking.artifact);
    let questions = Question::all(asking.goldens, asking.must_influence);
    let first = session(asking, &asking.sandbox(), &questions, None)?;
    // The second run must not find what the first one saved.
    for directory in [asking.home, asking.temporary] {
        run::remove_all(directory);
        std::fs::create_dir_all(directory).map_err(run::Error::Scratch)?;
    }
    let second = session(asking, &asking.sandbox(), &questions, Some("1"))?;
    if stamps(asking.artifact) != before {
        return Err(Error::Changed(asking.name.to_string()));
    }
    Ok(statistics(asking, &questions, &first, &second, asking.is_isolated()))
}

/// Runs the command once.
fn session(
    asking: &Asking<'_>,
    sandbox: &Sandbox,
    questions: &[Question],
    hash_seed: Option<&str>,
) -> Result<Answers, Error> {
    let protocol = |reason: String| Error::Protocol { probe: asking.name.to_string(), reason };
    let ids = random_ids(questions.len())
        .map_err(|error| protocol(format!("cannot generate random ids: {error}")))?;
    let places: HashMap<&str, usize> =
        ids.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    let mut order: Vec<usize> = (0..questions.len()).collect();
    // The ids are random, so their order is, too.
    order.sort_by(|left, right| ids[*left].cmp(&ids[*right]));
    let mut input = String::new();
    for place in order {
        input += &format!("{{\"id\":\"{}\",\"input\":{}}}\n", ids[place], questions[place].input.get());
    }
    let mut variables = asking.variables.clone();
    variables.given.insert(ARTIFACT.into(), asking.artifact.into());
    if let Some(seed) = hash_seed {
        variables.given.insert("PYTHONHASHSEED".into(), seed.into());
    }
    let collected = Collect { lines: Mutex::default(), listener: asking.listener };
    let ended = run::run(&Job {
        command: asking.command,
        directory: asking.directory,
        variables: &variables,
        confinement: asking.confinement,
        sandbox,
        limits: match asking.timeout {
            Some(time) => Limits { time: Some(time), silence: None, ..LIMITS },
            None => LIMITS,
        },
        input: input.as_bytes(),
        log: None,
        listener: &collected,
        context: asking.context,
    });
    let output = collected.lines.into_inner().unwrap_or_default();
    let answers = read(&output, &places, questions.len());
    // What was printed before a failure explains more than the failure itself.
    match (ended, answers) {
        (Err(run::Error::TooMuchOutput { .. }), Err(reason)) => Err(protocol(reason)),
        (Err(error), _) => Err(error.into()),
        (Ok(_), Err(reason)) => Err(protocol(reason)),
        (Ok(_), Ok(answers)) => collect(asking, questions, answers),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireAnswer {
    id: String,
    #[serde(default, deserialize_with = "super::present")]
    output: Option<Box<RawValue>>,
    #[serde(default)]
    fallback: bool,
    #[serde(default)]
    error: Option<String>,
}

/// The answers in the order of the questions, or what is wrong.
fn read(output: &[u8], places: &HashMap<&str, usize>, count: usize) -> Result<Vec<WireAnswer>, String> {
    let mut answers: Vec<Option<WireAnswer>> = (0..count).map(|_| None).collect();
    for line in output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if line.len() > LONGEST_LINE {
            return Err(format!("a line is longer than 1 MiB: {} …", start(line)));
        }
        let answer: WireAnswer =
            serde_json::from_slice(line).map_err(|_| format!("a line is not an answer: {}", start(line)))?;
        let Some(place) = places.get(answer.id.as_str()) else {
            return Err(format!(
                "no question has the id {}",
                modelseal_format::display::name(&shorten(&answer.id))
            ));
        };
        if answer.output.is_some() == answer.error.is_some() {
            return Err(format!("an answer must have either `output` or `error`: {}", start(line)));
        }
        if answers[*place].replace(answer).is_some() {
            return Err(format!("two answers to one question: {}", start(line)));
        }
    }
    let given = answers.iter().flatten().count();
    if given < count {
        return Err(format!("{given} answers to {count} questions"));
    }
    Ok(answers.into_iter().flatten().collect())
}

fn collect(asking: &Asking<'_>, questions: &[Question], wire: Vec<WireAnswer>) -> Result<Answers, Error> {
    let mut answers = Answers::default();
    for (question, wire) in questions.iter().zip(wire) {
        let id = &asking.goldens.inputs[question.golden].id;
        let no_answer =
            |message: String| Error::NoAnswer { probe: asking.name.to_string(), id: id.clone(), message };
        if let Some(error) = wire.error {
            return Err(no_answer(modelseal_format::display::Escaped(&shorten(&error)).to_string()));
        }
        let text = wire.output.as_ref().map_or("null", |output| output.get());
        let value: Value = serde_json::from_str(text)
            .map_err(|error| no_answer(modelseal_format::display::message(&error)))?;
        // Numbers are compared by value, not by spelling.
        let exactly = Tolerance { atol: 0.0, rtol: 0.0 };
        let fallback = wire.fallback || asking.fallback.iter().any(|other| exactly.accepts(other, &value));
        answers.add(value, fallback);
    }
    Ok(answers)
}

/// The start of a line, for a message.
fn start(line: &[u8]) -> String {
    modelseal_format::display::name(&shorten(&String::from_utf8_lossy(&line[..line.len().min(400)])))
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Ids that reveal nothing about the questions.
fn random_ids(count: usize) -> Result<Vec<String>, getrandom::Error> {
    let mut bytes = vec![0; count * 12];
    getrandom::fill(&mut bytes)?;
    let hex = |chunk: &[u8]| chunk.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(bytes.chunks(12).map(hex).collect())
}

/// Every file of the artifact, and when it was last changed.
fn stamps(artifact: &Path) -> BTreeMap<PathBuf, Option<Stamp>> {
    let entries = walkdir::WalkDir::new(artifact).into_iter().flatten();
    let stamp = |path: &Path| path.metadata().ok().map(|metadata| Stamp::of(&metadata));
    entries.map(|entry| (entry.path().to_path_buf(), stamp(entry.path()))).collect()
}

/// Collects standard output, and passes standard error to another listener.
struct Collect<'a> {
    lines: Mutex<Vec<u8>>,
    listener: &'a dyn Listener,
}

impl Listener for Collect<'_> {
    fn output(&self, stream: Stream, bytes: &[u8]) {
        match (stream, self.lines.lock()) {
            (Stream::Output, Ok(mut lines)) => lines.extend_from_slice(bytes),
            _ => self.listener.output(Stream::Error, bytes),
        }
    }

    fn waiting(&self, elapsed: Duration) {
        self.listener.waiting(elapsed);
    }

    fn ended(&self) {
        self.listener.ended();
    }
}
