//! What changed between two releases, according to their manifests alone.

use std::collections::{BTreeMap, BTreeSet};

use modelseal_build::profile::{Overlap, overlap};
use modelseal_format::manifest::{
    BaseEvidence, DataEvidence, Evidence, InputChange, Manifest, ProbeFacts, Subject, Value, compare_inputs,
};

/// The old and new value under one name. `None` if there is none on that side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed<T> {
    pub name: String,
    pub old: Option<T>,
    pub new: Option<T>,
}

/// All differences, by section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Data sources, with the evidence about each.
    pub data: Vec<Changed<Source>>,
    pub base: Vec<Changed<Source>>,
    /// The `dirHash` of the code, if it differs.
    pub code: Option<Changed<String>>,
    /// The command, if it differs.
    pub command: Option<Changed<Vec<String>>>,
    /// By name. The names of nested values are joined with dots.
    pub hyperparameters: Vec<Changed<String>>,
    /// Lock files, by digest.
    pub lock_files: Vec<Changed<String>>,
    /// Variables, the network, and the output of the commands that describe the environment.
    pub environment: Vec<Changed<String>>,
    /// Files of the artifact.
    pub artifact: Vec<Changed<Subject>>,
    /// Probes that differ, or whose answers differ.
    pub behaviour: Vec<Changed<ProbeFacts>>,
}

/// A data set or base model: its digest and its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub digest: String,
    pub evidence: Option<Evidence>,
}

impl Source {
    pub fn data(&self) -> Option<&DataEvidence> {
        match &self.evidence {
            Some(Evidence::Data(data)) => Some(data),
            _ => None,
        }
    }

    pub fn base(&self) -> Option<&BaseEvidence> {
        match &self.evidence {
            Some(Evidence::Base(base)) => Some(base),
            _ => None,
        }
    }

    /// The number of bytes and of files.
    pub fn size(&self) -> (Option<u64>, Option<u64>) {
        match &self.evidence {
            Some(Evidence::Data(data)) => (data.bytes, data.files),
            Some(Evidence::Base(base)) => (base.bytes, base.files),
            _ => (None, None),
        }
    }
}

/// How many of their rows the two sides of a data source share. `None` if that was not sealed.
pub fn shared_rows(change: &Changed<Source>) -> Option<Overlap> {
    let sketch = |source: &Option<Source>| source.as_ref()?.data()?.sketch.clone();
    overlap(&sketch(&change.old)?, &sketch(&change.new)?)
}

/// How many answers of a probe differ. `None` if the questions differ.
pub fn changed_answers(change: &Changed<ProbeFacts>) -> Option<usize> {
    let (old, new) = (change.old.as_ref()?, change.new.as_ref()?);
    let mut pairs = old.answers.iter().zip(&new.answers);
    let same_questions =
        old.answers.len() == new.answers.len() && pairs.clone().all(|(left, right)| left.id == right.id);
    same_questions.then(|| pairs.by_ref().filter(|(left, right)| left.digest != right.digest).count())
}

/// Compares two manifests.
pub fn compare_manifests(old: &Manifest, new: &Manifest) -> Changes {
    let inputs = compare_inputs(old.dependencies(), new.dependencies());
    let of_kind = |kind: &str| -> Vec<&InputChange> {
        inputs
            .iter()
            .filter(|change| change.name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/')))
            .collect()
    };
    let source = |statement: &Manifest, name: &str| {
        let input = statement.input(name)?;
        Some(Source { digest: input.digest.tagged(), evidence: input.evidence.as_deref().cloned() })
    };
    let sources = |kind: &str| {
        let change = |change: &&InputChange| Changed {
            name: change.name[kind.len() + 1..].to_string(),
            old: source(old, &change.name),
            new: source(new, &change.name),
        };
        of_kind(kind).iter().map(change).collect()
    };
    let code = inputs.iter().find(|change| change.name == "code");
    let (left, right) = (old.external(), new.external());
    Changes {
        data: sources("data"),
        base: sources("base"),
        code: code.map(|change| Changed {
            name: "code".to_string(),
            old: change.sealed.clone(),
            new: change.found.clone(),
        }),
        command: (left.command != right.command).then(|| Changed {
            name: "command".to_string(),
            old: (!left.command.is_empty()).then(|| left.command.clone()),
            new: (!right.command.is_empty()).then(|| right.command.clone()),
        }),
        hyperparameters: changed(&flat(&left.hyperparameters), &flat(&right.hyperparameters)),
        lock_files: of_kind("environment")
            .iter()
            .map(|change| Changed {
                name: change.name["environment/".len()..].to_string(),
                old: change.sealed.clone(),
                new: change.found.clone(),
            })
            .collect(),
        environment: changed(&environment(old), &environment(new)),
        artifact: artifact(old, new),
        behaviour: behaviour(old, new),
    }
}

/// Values by name. The name of a nested value is its path.
fn flat(values: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    fn add(path: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
        match value {
            Value::Table(table) if !table.is_empty() => {
                for (name, value) in table {
                    add(&format!("{path}.{name}"), value, flat);
                }
            }
            other => {
                flat.insert(path.to_string(), other.to_string());
            }
        }
    }
    let mut result = BTreeMap::new();
    for (name, value) in values {
        add(name, value, &mut result);
    }
    result
}

fn environment(statement: &Manifest) -> BTreeMap<String, String> {
    let external = statement.external();
    let variables = external.env.iter().map(|(name, value)| (format!("${name}"), value.clone()));
    let passed = external.pass_env.iter().map(|name| (format!("${name}"), "passed on".to_string()));
    let caches = external.caches.iter().map(|name| (format!("cache {name}"), "kept".to_string()));
    let network = external
        .network
        .map(|network| ("network".to_string(), if network { "reachable" } else { "isolated" }.to_string()));
    let described = statement.internal().environment.iter();
    let described = described.map(|described| (described.command.join(" "), described.output.clone()));
    variables.chain(passed).chain(caches).chain(network).chain(described).collect()
}

fn behaviour(old: &Manifest, new: &Manifest) -> Vec<Changed<ProbeFacts>> {
    let find = |statement: &Manifest, name: &str| {
        let probe = statement.probes().iter().find(|probe| probe.probe() == name)?;
        Some(probe.annotations.clone())
    };
    let names: BTreeSet<&str> = old.probes().iter().chain(new.probes()).map(|probe| probe.probe()).collect();
    let pairs = names.into_iter().map(|name| (name, find(old, name), find(new, name)));
    pairs
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| Changed { name: name.to_string(), old, new })
        .collect()
}

fn artifact(old: &Manifest, new: &Manifest) -> Vec<Changed<Subject>> {
    let index = |statement: &Manifest| -> BTreeMap<String, Subject> {
        statement.files().iter().map(|file| (file.name.clone(), file.clone())).collect()
    };
    changed(&index(old), &index(new))
}

fn changed<T: Clone + PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Vec<Changed<T>> {
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    let mut changes: Vec<Changed<T>> = names
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| Changed { name: name.clone(), old: old.get(name).cloned(), new: new.get(name).cloned() })
        .collect();
    changes.sort_by(|left, right| left.name.cmp(&right.name));
    changes
}
