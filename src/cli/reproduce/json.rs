//! The result of a rebuild as one JSON document, described by `docs/schema/reproduce.v1.json`.

use serde::Serialize;

use super::super::hints::spelled;
use crate::reproduce::{Reproduction, Varied, VariedStatus};
use modelseal_format::manifest::Rung;

#[derive(Serialize)]
struct Wire<'a> {
    schema: &'a str,
    verdict: &'a str,
    message: String,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a modelseal_format::manifest::Model>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    demanded: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reached: Option<&'a str>,
    command: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    untrue: Vec<WireChange<'a>>,
    environment: Vec<WireEnvironment<'a>>,
    files: Vec<WireFile<'a>>,
    behaviour: Vec<WireBehaviour<'a>>,
    varied: Vec<WireVaried<'a>>,
    notes: &'a [String],
    tool: &'a str,
}

#[derive(Serialize)]
struct WireChange<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<&'a str>,
}

#[derive(Serialize)]
struct WireEnvironment<'a> {
    command: &'a [String],
    sealed: &'a str,
    found: &'a str,
}

#[derive(Serialize)]
struct WireFile<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reached: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
}

#[derive(Serialize)]
struct WireBehaviour<'a> {
    probe: &'a str,
    same: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<&'a str>,
}

#[derive(Serialize)]
struct WireVaried<'a> {
    varied: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

pub(super) fn json(result: &Reproduction, target: &str) -> anyhow::Result<String> {
    let text = modelseal_format::display::json(&Wire {
        schema: "https://modelseal.dev/reproduce/v1",
        verdict: result.verdict().name(),
        message: result.summary(),
        target,
        release: result.release.map(|release| format!("sha256:{release}")),
        model: result.model.as_ref(),
        origin: result.origin.map(|origin| origin.name()),
        demanded: result.demand.level.name(),
        reached: result.rung.map(Rung::name),
        command: &result.command,
        source: result.source.as_deref(),
        command_seconds: result.command_seconds,
        hint: result.not_tried.as_ref().and_then(|(_, hint)| hint.as_ref()).map(spelled),
        untrue: result
            .untrue
            .iter()
            .map(|change| WireChange {
                name: &change.name,
                sealed: change.sealed.as_deref(),
                found: change.found.as_deref(),
            })
            .collect(),
        environment: result
            .environment
            .iter()
            .map(|(sealed, found)| WireEnvironment {
                command: &sealed.command,
                sealed: &sealed.output,
                found,
            })
            .collect(),
        files: result
            .files
            .iter()
            .map(|file| WireFile {
                path: &file.path,
                reached: file.likeness.rung.map(Rung::name),
                difference: file.likeness.difference.as_deref(),
                cause: file.likeness.cause.map(|cause| cause.explain()),
            })
            .collect(),
        behaviour: result
            .behaviour
            .iter()
            .map(|(probe, same)| WireBehaviour {
                probe,
                same: same.is_ok(),
                difference: same.as_ref().err().map(String::as_str),
            })
            .collect(),
        varied: result.varied.iter().map(wire_varied).collect(),
        notes: &result.notes,
        tool: concat!("modelseal ", env!("CARGO_PKG_VERSION")),
    })?;
    Ok(text + "\n")
}

fn wire_varied(varied: &Varied) -> WireVaried<'_> {
    let mut wire = WireVaried {
        varied: varied.circumstance.name(),
        status: "same",
        path: None,
        difference: None,
        cure: None,
        reason: None,
    };
    match &varied.status {
        VariedStatus::Same => {}
        VariedStatus::AsNothing => wire.status = "as-nothing",
        VariedStatus::Skipped(reason) => (wire.status, wire.reason) = ("skipped", Some(reason.as_str())),
        VariedStatus::Differs { path, difference, cure } => {
            wire.status = "differs";
            (wire.path, wire.difference, wire.cure) =
                (Some(path.as_str()), Some(difference.as_str()), Some(cure.as_str()));
        }
    }
    wire
}
