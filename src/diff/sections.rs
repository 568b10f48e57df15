//! The difference as text: one section for each factor and for each result.

use super::{Difference, Factor, State};
use crate::compare::{Changed, Source, changed_answers, shared_rows};
use modelseal_format::display::{Escaped, name, number, short};
use modelseal_format::manifest::{Model, ProbeFacts};

/// A section with its details, one per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub name: &'static str,
    pub state: State,
    pub details: Vec<String>,
}

/// Maximum number of details to list. The rest are only counted.
const SHOWN: usize = 30;

impl Difference {
    /// All sections, in order.
    pub fn sections(&self) -> Vec<Section> {
        let mut sections: Vec<Section> = self
            .factors
            .iter()
            .map(|(factor, state)| Section {
                name: factor.name(),
                state: *state,
                details: limited(match factor {
                    Factor::Data => self.changes.data.iter().flat_map(source).collect(),
                    Factor::Base => self.changes.base.iter().flat_map(source).collect(),
                    Factor::Code => self.code(),
                    Factor::Hyperparameters => self.changes.hyperparameters.iter().map(value).collect(),
                    Factor::Environment => self.environment(),
                }),
            })
            .collect();
        sections.push(Section {
            name: "artifact",
            state: self.artifact,
            details: limited(self.artifact_details()),
        });
        sections.push(Section {
            name: "behaviour",
            state: self.behaviour,
            details: limited(self.changes.behaviour.iter().flat_map(probe).collect()),
        });
        sections
    }

    fn code(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(command) = &self.changes.command {
            let shown = |command: &Option<Vec<String>>| match command {
                Some(words) => modelseal_format::display::command(words),
                None => "none: the artifact was adopted".to_string(),
            };
            lines.push(format!("command  {} → {}", shown(&command.old), shown(&command.new)));
        }
        if let (Some(old), Some(new)) = (&self.old.commit, &self.new.commit)
            && old != new
        {
            let note = if self.changes.code.is_none() { ", with the same code" } else { "" };
            lines.push(format!("git {} → {}{note}", short(old), short(new)));
        }
        if let Some(history) = &self.history {
            lines.extend(
                history.added.iter().map(|(id, subject)| format!("  {} {}", &id[..8], Escaped(subject))),
            );
            let more = history.added_count - history.added.len();
            if more > 0 {
                lines.push(format!("  and {} more", number(more as u64)));
            }
            if history.removed_count > 0 {
                let commits =
                    modelseal_format::display::count(history.removed_count as u64, "commit", "commits");
                lines.push(format!("  without {commits} of the old release"));
            }
        }
        lines
    }

    fn environment(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for file in &self.changes.lock_files {
            let packages: Vec<_> = self.packages.iter().filter(|package| package.file == file.name).collect();
            lines.push(match (&file.old, &file.new) {
                (None, _) => format!("{} is new", name(&file.name)),
                (_, None) => format!("{} is gone", name(&file.name)),
                _ if packages.is_empty() => format!("{} differs", name(&file.name)),
                _ => name(&file.name),
            });
            for package in packages {
                let shown = |version: &Option<String>| {
                    version.as_ref().map_or("none".to_string(), |version| Escaped(version).to_string())
                };
                lines.push(format!(
                    "  {}  {} → {}",
                    Escaped(&package.name),
                    shown(&package.old),
                    shown(&package.new)
                ));
            }
        }
        lines.extend(self.changes.environment.iter().map(value));
        lines
    }

    fn artifact_details(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for file in &self.changes.artifact {
            let size = |file: &modelseal_format::manifest::Subject| format!("{} bytes", number(file.size()));
            lines.push(match (&file.old, &file.new) {
                (None, Some(new)) => format!("{} is new, {}", name(&file.name), size(new)),
                (Some(_), None) | (None, None) => format!("{} is gone", name(&file.name)),
                (Some(old), Some(new)) if old.size() != new.size() => {
                    format!("{}  {} → {}", name(&file.name), size(old), size(new))
                }
                (Some(_), Some(_)) => name(&file.name),
            });
            let compared = self.files.iter().find(|compared| compared.path == file.name);
            lines.extend(
                compared.and_then(|found| found.likeness.difference.as_ref()).map(|text| format!("  {text}")),
            );
        }
        lines
    }
}

fn limited(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > SHOWN {
        let more = lines.len() - SHOWN;
        lines.truncate(SHOWN);
        lines.push(format!("and {} more lines", number(more as u64)));
    }
    lines
}

fn value(change: &Changed<String>) -> String {
    let shown = |value: &Option<String>| {
        let first =
            |text: &String| text.lines().next().unwrap_or_default().chars().take(80).collect::<String>();
        value.as_ref().map_or("nothing".to_string(), |value| Escaped(&first(value)).to_string())
    };
    format!("{}  {} → {}", Escaped(&change.name), shown(&change.old), shown(&change.new))
}

/// The lines about a data set or base model.
fn source(change: &Changed<Source>) -> Vec<String> {
    let (old, new) = match (&change.old, &change.new) {
        (Some(old), Some(new)) => (old, new),
        (None, _) => return vec![format!("{} is new", name(&change.name))],
        (_, None) => return vec![format!("{} is gone", name(&change.name))],
    };
    let digest = |source: &Source| {
        source.digest.split_once(':').map_or(String::new(), |(kind, hex)| format!("{kind}:{}", short(hex)))
    };
    let mut lines = vec![format!("{}  {} → {}", name(&change.name), digest(old), digest(new))];
    let ((left_bytes, left_files), (right_bytes, right_files)) = (old.size(), new.size());
    lines.extend(moved("files", left_files, right_files));
    lines.extend(moved("bytes", left_bytes, right_bytes));
    if let (Some(left), Some(right)) = (old.data(), new.data()) {
        lines.extend(moved("rows", left.rows, right.rows));
        lines.extend(moved("rows without a label", left.nulls, right.nulls));
        lines.extend(shared_rows(change).map(|overlap| {
            let about = if overlap.is_exact { "" } else { "about " };
            format!("  distinct rows in both  {about}{:.1} %", 100.0 * overlap.share)
        }));
        if left.newest != right.newest {
            let shown = |newest: &Option<String>| newest.clone().unwrap_or_else(|| "none".to_string());
            let (left, right) = (shown(&left.newest), shown(&right.newest));
            lines.push(format!("  newest record  {} → {}", Escaped(&left), Escaped(&right)));
        }
        lines.extend(labels(left.labels.as_ref(), right.labels.as_ref()));
    }
    let model = |source: &Source| source.base().and_then(|base| base.model.as_ref()).map(Model::directory);
    if let (Some(left), Some(right)) = (model(old), model(new))
        && left != right
    {
        lines.push(format!("  release  {} → {}", Escaped(&left), Escaped(&right)));
    }
    lines
}

/// A count that is sealed in both releases and differs.
fn moved(what: &str, left: Option<u64>, right: Option<u64>) -> Option<String> {
    let (left, right) = (left?, right?);
    (left != right).then(|| format!("  {what}  {} → {}", number(left), number(right)))
}

/// How many answers differ, and how many distinct answers there are.
fn probe(change: &Changed<ProbeFacts>) -> Vec<String> {
    let (old, new) = match (&change.old, &change.new) {
        (Some(old), Some(new)) => (old, new),
        (None, _) => return vec![format!("{} is new", name(&change.name))],
        (_, None) => return vec![format!("{} is gone", name(&change.name))],
    };
    let mut lines = vec![match changed_answers(change) {
        Some(changed) => format!("{}  {changed} of {} answers differ", name(&change.name), old.inputs()),
        None => format!("{}  different questions", name(&change.name)),
    }];
    let mut count = |what: &str, left: u64, right: u64| {
        if left != right {
            lines.push(format!("  {what}  {} → {}", number(left), number(right)));
        }
    };
    count("questions", old.inputs(), new.inputs());
    count("different answers", old.distinct, new.distinct);
    count("times the most common answer", old.commonest, new.commonest);
    count("fallback answers", old.fallbacks, new.fallbacks);
    if old.command != new.command {
        let shown = modelseal_format::display::command;
        lines.push(format!("  command  {} → {}", shown(&old.command), shown(&new.command)));
    }
    lines
}

type Labels = std::collections::BTreeMap<String, u64>;

/// The share of each class, if it differs to a tenth of a percent.
fn labels(old: Option<&Labels>, new: Option<&Labels>) -> Vec<String> {
    let (Some(old), Some(new)) = (old, new) else { return Vec::new() };
    let share = |labels: &Labels, label: &str| {
        let total: u64 = labels.values().sum();
        let count = labels.get(label).copied().unwrap_or(0);
        if total == 0 { 0.0 } else { 100.0 * count as f64 / total as f64 }
    };
    let known = old.keys().chain(new.keys().filter(|label| !old.contains_key(*label)));
    let shares = known.map(|label| (label, share(old, label), share(new, label)));
    shares
        .filter(|(_, left, right)| (left - right).abs() >= 0.05)
        .map(|(label, left, right)| format!("  label {}  {left:.1} % → {right:.1} %", name(label)))
        .collect()
}
