//! The difference as one JSON document, described by `docs/schema/diff.v1.json`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::compare::{Changed, Source, changed_answers, shared_rows};
use crate::diff::{Difference, Side, State};
use modelseal_format::manifest::{DataEvidence, Evidence, ProbeFacts};

#[derive(Serialize)]
struct Wire<'a> {
    schema: &'a str,
    message: String,
    different: bool,
    old: WireSide<'a>,
    new: WireSide<'a>,
    sections: BTreeMap<&'a str, &'a str>,
    data: Vec<WireSource<'a>>,
    base: Vec<WireSource<'a>>,
    hyperparameters: Vec<WireValue<'a>>,
    environment: Vec<WireValue<'a>>,
    lock_files: Vec<WireValue<'a>>,
    packages: Vec<WirePackage<'a>>,
    artifact: Vec<WireFile<'a>>,
    behaviour: Vec<WireProbe<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<WireCommand<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<WireHistory<'a>>,
    tool: &'a str,
}

#[derive(Serialize)]
struct WireSide<'a> {
    target: &'a str,
    release: String,
    model: &'a modelseal_format::manifest::Model,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
}

#[derive(Serialize)]
struct WireSource<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<WireFacts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<WireFacts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<WireOverlap>,
}

#[derive(Serialize)]
struct WireOverlap {
    share: f64,
    exact: bool,
}

#[derive(Serialize)]
struct WireFacts<'a> {
    digest: &'a str,
    /// Without the parts that only programs read: the sketch and the timeline.
    facts: Evidence,
}

#[derive(Serialize)]
struct WireValue<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<&'a str>,
}

#[derive(Serialize)]
struct WirePackage<'a> {
    file: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<&'a str>,
}

#[derive(Serialize)]
struct WireFile<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<&'a str>,
}

#[derive(Serialize)]
struct WireProbe<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<WireBehaviour>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<WireBehaviour>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_answers: Option<usize>,
}

#[derive(Serialize)]
struct WireBehaviour {
    inputs: u64,
    distinct: u64,
    commonest: u64,
    fallbacks: u64,
}

#[derive(Serialize)]
struct WireCommand<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<&'a [String]>,
}

#[derive(Serialize)]
struct WireHistory<'a> {
    added: Vec<WireCommit<'a>>,
    added_count: usize,
    removed_count: usize,
}

#[derive(Serialize)]
struct WireCommit<'a> {
    commit: &'a str,
    subject: &'a str,
}

pub(super) fn json(difference: &Difference) -> anyhow::Result<String> {
    let changes = &difference.changes;
    let compared = |path: &str| {
        let found = difference.files.iter().find(|file| file.path == path)?;
        found.likeness.difference.as_deref()
    };
    let state = |state: State| match state {
        State::NotSealed => "not-sealed",
        other => other.name(),
    };
    let sections = difference.sections();
    let text = modelseal_format::display::json(&Wire {
        schema: "https://modelseal.dev/diff/v1",
        message: difference.headline(),
        different: difference.is_different(),
        old: side(&difference.old),
        new: side(&difference.new),
        sections: sections.iter().map(|section| (section.name, state(section.state))).collect(),
        data: changes.data.iter().map(source).collect(),
        base: changes.base.iter().map(source).collect(),
        hyperparameters: changes.hyperparameters.iter().map(value).collect(),
        environment: changes.environment.iter().map(value).collect(),
        lock_files: changes.lock_files.iter().map(value).collect(),
        packages: difference
            .packages
            .iter()
            .map(|package| WirePackage {
                file: &package.file,
                name: &package.name,
                old: package.old.as_deref(),
                new: package.new.as_deref(),
            })
            .collect(),
        artifact: changes
            .artifact
            .iter()
            .map(|file| WireFile {
                path: &file.name,
                old: file.old.as_ref().map(|file| format!("sha256:{}", file.digest.sha256)),
                new: file.new.as_ref().map(|file| format!("sha256:{}", file.digest.sha256)),
                difference: compared(&file.name),
            })
            .collect(),
        behaviour: changes.behaviour.iter().map(probe).collect(),
        command: changes
            .command
            .as_ref()
            .map(|command| WireCommand { old: command.old.as_deref(), new: command.new.as_deref() }),
        history: difference.history.as_ref().map(|history| WireHistory {
            added: history.added.iter().map(|(commit, subject)| WireCommit { commit, subject }).collect(),
            added_count: history.added_count,
            removed_count: history.removed_count,
        }),
        tool: concat!("modelseal ", env!("CARGO_PKG_VERSION")),
    })?;
    Ok(text + "\n")
}

fn side(side: &Side) -> WireSide<'_> {
    WireSide {
        target: &side.target,
        release: format!("sha256:{}", side.release),
        model: &side.model,
        commit: side.commit.as_deref(),
    }
}

fn source(change: &Changed<Source>) -> WireSource<'_> {
    fn facts(source: &Source) -> WireFacts<'_> {
        let evidence = match &source.evidence {
            Some(Evidence::Data(data)) => {
                Evidence::Data(DataEvidence { sketch: None, timeline: None, ..data.clone() })
            }
            Some(other) => other.clone(),
            None => Evidence::Data(DataEvidence::default()),
        };
        WireFacts { digest: &source.digest, facts: evidence }
    }
    WireSource {
        name: &change.name,
        old: change.old.as_ref().map(facts),
        new: change.new.as_ref().map(facts),
        overlap: shared_rows(change)
            .map(|overlap| WireOverlap { share: overlap.share, exact: overlap.is_exact }),
    }
}

fn probe(change: &Changed<ProbeFacts>) -> WireProbe<'_> {
    let behaviour = |facts: &ProbeFacts| WireBehaviour {
        inputs: facts.inputs(),
        distinct: facts.distinct,
        commonest: facts.commonest,
        fallbacks: facts.fallbacks,
    };
    WireProbe {
        name: &change.name,
        old: change.old.as_ref().map(behaviour),
        new: change.new.as_ref().map(behaviour),
        changed_answers: changed_answers(change),
    }
}

fn value(change: &Changed<String>) -> WireValue<'_> {
    WireValue { name: &change.name, old: change.old.as_deref(), new: change.new.as_deref() }
}
