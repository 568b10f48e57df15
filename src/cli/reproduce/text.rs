//! The result of a rebuild as text.

use super::super::hints::spelled;
use crate::reproduce::{Circumstance, Reproduction, Varied, VariedStatus};
use modelseal_format::display::{Escaped, name};
use modelseal_format::manifest::Rung;
use modelseal_verify::report::{Style, Verdict};

pub(super) fn text(result: &Reproduction, style: Style) -> String {
    let mut lines = Vec::new();
    let mut line = |label: &str, value: String| lines.push(format!("{label:<9} {value}"));
    let release = result.release.map(|release| release.to_string()).unwrap_or_default();
    if let Some(model) = &result.model {
        line(
            "release",
            format!(
                "{} {}, sha256:{}",
                model.name,
                model.version,
                modelseal_format::display::short(&release)
            ),
        );
    }
    line("demanded", format!("{}, {}", result.demand.level.name(), result.demand.level.description()));
    if !result.command.is_empty() {
        line("command", modelseal_format::display::command(&result.command));
    }
    if let Some(source) = &result.source {
        line("source", Escaped(source).to_string());
    }
    for note in &result.notes {
        line("note", note.clone());
    }
    for (sealed, found) in &result.environment {
        let command = modelseal_format::display::command(&sealed.command);
        let first = |text: &str| name(text.lines().next().unwrap_or_default());
        match sealed.output == *found {
            true => line("same", format!("{command}: {}", first(found))),
            false => {
                line("differs", format!("{command}: sealed {}, here {}", first(&sealed.output), first(found)))
            }
        }
    }
    for change in &result.untrue {
        lines.push(String::new());
        lines.push(style.paint("1", &name(&change.name)));
        if let (Some(sealed), Some(found)) = (&change.sealed, &change.found) {
            lines.push(format!("  sealed: {sealed}"));
            lines.push(format!("   found: {found}"));
        }
    }
    if !result.files.is_empty() {
        lines.push(String::new());
        lines.extend(files(result, style));
    }
    for (probe, same) in &result.behaviour {
        let (shown, message) = match same {
            Ok(()) => (style.paint("32", "same     "), "the same answers".to_string()),
            Err(reason) => (style.paint("1;31", "different"), reason.clone()),
        };
        lines.push(format!("{shown}  probe `{probe}`: {message}"));
    }
    if !result.varied.is_empty() {
        lines.push(String::new());
        lines.extend(result.varied.iter().flat_map(|varied| table_row(varied, style)));
    }
    if let Some((_, Some(hint))) = &result.not_tried {
        lines.push(format!("{} {}", style.paint("36", "hint:"), spelled(hint)));
    }
    lines.push(String::new());
    let summary = result.summary();
    let colour = match result.verdict() {
        Verdict::Pass => "1;32",
        Verdict::Fail => "1;31",
        Verdict::Inconclusive => "1;33",
    };
    let (verdict, rest) = summary.split_once(':').unwrap_or((&summary, ""));
    lines.push(format!("{}:{rest}", style.paint(colour, verdict)));
    lines.join("\n") + "\n"
}

/// Maximum number of identical files to list. The rest are only counted.
const SHOWN: usize = 20;

fn files(result: &Reproduction, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    let same = result.files.iter().filter(|file| file.likeness.difference.is_none());
    let count = same.clone().count();
    for file in same.take(if count > SHOWN { 0 } else { SHOWN }) {
        lines.push(format!("{}  {}", style.paint("32", "R0       "), name(&file.path)));
    }
    if count > SHOWN {
        lines.push(format!("{}  {count} files", style.paint("32", "R0       ")));
    }
    for file in result.files.iter().filter(|file| file.likeness.difference.is_some()) {
        let rung = file.likeness.rung.map_or("different", Rung::name);
        let colour = if file.likeness.rung.is_some() { "33" } else { "1;31" };
        lines.push(format!("{}  {}", style.paint(colour, &format!("{rung:<9}")), name(&file.path)));
        lines.extend(file.likeness.difference.iter().map(|text| format!("           {text}")));
        lines.extend(file.likeness.cause.iter().map(|cause| format!("           {}", cause.explain())));
    }
    lines
}

fn table_row(varied: &Varied, style: Style) -> Vec<String> {
    let label = varied.circumstance.name();
    let control = varied.circumstance == Circumstance::Seed;
    match &varied.status {
        VariedStatus::Same if control => {
            vec![format!(
                "{label:<10} {}  another seed gives the same model: is the seed used?",
                style.paint("1;31", "same   ")
            )]
        }
        VariedStatus::Same => vec![format!("{label:<10} {}", style.paint("32", "same"))],
        VariedStatus::AsNothing => {
            vec![format!("{label:<10} {}  as it does when nothing is varied", style.paint("2", "differs"))]
        }
        VariedStatus::Skipped(reason) => {
            vec![format!("{label:<10} {}  {reason}", style.paint("2", "skipped"))]
        }
        VariedStatus::Differs { path, difference, cure } => {
            let colour = if control { "32" } else { "1;31" };
            vec![
                format!("{label:<10} {}  {}: {difference}", style.paint(colour, "differs"), name(path)),
                format!("                    {cure}"),
            ]
        }
    }
}
