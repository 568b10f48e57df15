use std::fmt::Write;

use super::id::{BASE, DATA, SIGNATURE};
use super::{Check, Hint, Renderer, Report, Status, Style, Verdict};
use modelseal_format::display::name;

pub(super) struct Text;

impl Renderer for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn about(&self) -> &'static str {
        "Human-readable text"
    }

    fn render(&self, report: &Report, style: Style) -> serde_json::Result<String> {
        Ok(to_text(report, style))
    }

    fn brief(&self, report: &Report) -> Option<String> {
        Some(report.summary() + "\n")
    }
}

/// The report for people: what was demanded, one line per check, the details of failed checks, what was not checked,
/// and the verdict as the last line.
pub fn to_text(report: &Report, style: Style) -> String {
    let mut text = String::new();
    if !report.demanded.is_empty() {
        let _ = writeln!(text, "demanded: {}\n", report.demanded.join("; "));
    }
    let lines = lines(&report.checks);
    let width = lines.iter().map(|line| line.id.len()).max().unwrap_or(0).max(15);
    for line in &lines {
        let status = style.status(line.status, &format!("{:<7}", line.status.name()));
        let _ = writeln!(text, "{:<width$}  {status}  {}", line.id, line.message);
    }
    for check in &report.checks {
        if has_details(check) {
            text.push('\n');
            details(&mut text, check, style);
        }
    }
    for hint in hints(&report.checks) {
        let _ = writeln!(text, "{} {hint}", style.paint("36", "hint:"));
    }
    if !report.not_checked.is_empty() {
        let _ = writeln!(text, "\nnot checked: {}", report.not_checked.join(", "));
    } else {
        text.push('\n');
    }
    let summary = report.summary();
    let colour = match report.verdict() {
        Verdict::Pass => "1;32",
        Verdict::Fail => "1;31",
        Verdict::Inconclusive => "1;33",
    };
    let (verdict, rest) = summary.split_once(':').unwrap_or((&summary, ""));
    let _ = writeln!(text, "{}:{rest}", style.paint(colour, verdict));
    text
}

struct Line {
    id: String,
    status: Status,
    message: String,
}

/// One line per check. Files that failed are counted in one line, and their details follow below. Inputs of the same
/// kind that all pass share a line.
fn lines(checks: &[Check]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for check in checks.iter().filter(|check| check.path.is_none() || check.status != Status::Fail) {
        let is_input = [DATA.rule(), BASE.rule()].contains(&check.id.rule());
        let source = check.id.subject().filter(|_| is_input).map(|source| (check.id.rule(), source));
        match (source, lines.last_mut()) {
            (Some((kind, source)), Some(last))
                if check.status == Status::Pass && last.id == kind && last.status == Status::Pass =>
            {
                let _ = write!(last.message, ", {source}");
            }
            (Some((kind, source)), _) if check.status == Status::Pass => {
                let (id, message) = (kind.to_string(), source.to_string());
                lines.push(Line { id, status: check.status, message });
            }
            _ => lines.push(Line {
                id: check.id.to_string(),
                status: check.status,
                message: check.message.clone(),
            }),
        }
    }
    lines
}

fn has_details(check: &Check) -> bool {
    check.status == Status::Fail && (check.path.is_some() || check.expected.is_some())
}

fn details(text: &mut String, check: &Check, style: Style) {
    match &check.path {
        Some(path) => {
            let _ = writeln!(text, "{}", style.paint("1", &name(path)));
        }
        None => {
            let _ = writeln!(text, "{}", style.paint("1", &check.id.to_string()));
        }
    }
    match (&check.expected, &check.actual) {
        (Some(expected), Some(actual)) => {
            let is_signature = check.id == SIGNATURE;
            let (left, right) = if is_signature { (" trusted", "signed by") } else { ("sealed", " found") };
            let _ = writeln!(text, "  {left}: {expected}");
            let _ = writeln!(text, "  {right}: {actual}");
        }
        _ => {
            let _ = writeln!(text, "  {}", check.message);
        }
    }
}

/// Every hint, without duplicates.
fn hints(checks: &[Check]) -> Vec<&Hint> {
    let mut hints: Vec<&Hint> = Vec::new();
    for hint in checks.iter().filter_map(|check| check.hint.as_ref()) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    hints
}
