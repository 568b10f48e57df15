use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Verbosity;
use super::arguments::{Format, ReportFormat};
use super::output::style;
use super::output::{print, say, show};
use super::progress::Progress;
use super::targets::target;
use super::trust_args::Trusting;
use super::verify::print_report;
use crate::drill::{Drilled, Fate, Options, Row, drill};
use modelseal_verify::report::{Report, Style, Verdict};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal drill wine-1.0.0.tar --policy gate.toml

Each copy gets one fault and is verified as usual. Copies that need a new signature are signed with a \
throw-away key, which counts as a builder during the drill. The release itself is only read.
Exit codes: 0 no fault got through; 1 a fault did, or a healthy release was refused; 2 could not run.")]
pub(super) struct Arguments {
    /// A good release: an archive, or an unpacked directory
    #[arg(value_name = "ARCHIVE")]
    archive: PathBuf,
    /// The policy to test
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    trusting: Trusting,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    let (policy, signers) = arguments.trusting.with_policy(&arguments.policy)?;
    let target = target(&arguments.archive);
    let progress = Progress::new("drilling", verbosity);
    let context = progress.context();
    let options = Options { signers: &signers, policy: &policy, context: &context };
    let drilled = drill(&target, &options)?;
    drop(progress);
    if let Some(refused) = refused(&drilled)
        && arguments.format == Format::Text
    {
        say(
            verbosity,
            match drilled.healthy {
                None => "a drill needs a good release, and this one is not accepted",
                Some(_) => "the policy refuses a healthy successor of this release, so a drill shows nothing",
            },
        );
        print_report(refused, ReportFormat::default(), verbosity)?;
        return Ok(drilled.verdict().exit_code());
    }
    match arguments.format {
        Format::Text => show(&text(&drilled, verbosity, style(&std::io::stdout())))?,
        Format::Json => print(&json(&drilled, &target.shown())?)?,
    }
    Ok(drilled.verdict().exit_code())
}

/// The first report that should have passed but did not: of the original or of its healthy successor.
fn refused(drilled: &Drilled) -> Option<&Report> {
    [Some(&drilled.original), drilled.healthy.as_ref()]
        .into_iter()
        .flatten()
        .find(|report| report.verdict() != Verdict::Pass)
}

fn text(drilled: &Drilled, verbosity: Verbosity, style: Style) -> String {
    let width = drilled.rows.iter().map(|row| row.fault.chars().count()).max().unwrap_or(0);
    let mut lines: Vec<String> = Vec::new();
    for row in &drilled.rows {
        let (status, colour, message) = match &row.fate {
            Fate::Caught { check, message } => ("caught", "32", format!("{check}: {message}")),
            Fate::LetThrough { cure } => ("let through", "1;31", format!("this would catch it: {cure}")),
            Fate::NotApplicable { reason } => ("not tried", "33", reason.clone()),
        };
        if verbosity.quiet && status == "caught" {
            continue;
        }
        let status = style.paint(colour, &format!("{status:<11}"));
        lines.push(format!("{:<width$}  {status}  {message}", row.fault));
    }
    let count =
        |wanted: fn(&Fate) -> bool| drilled.rows.iter().filter(|row| wanted(&row.fate)).count() as u64;
    let through = count(|fate| matches!(fate, Fate::LetThrough { .. }));
    let not_tried = count(|fate| matches!(fate, Fate::NotApplicable { .. }));
    let tried = drilled.rows.len() as u64 - not_tried;
    let rest = match not_tried {
        0 => String::new(),
        count => {
            format!("; {} not tried", modelseal_format::display::count(count, "fault was", "faults were"))
        }
    };
    let verdict = match through {
        0 => format!("{} none of {tried} faults got through{rest}", style.paint("1;32", "pass:")),
        through => format!(
            "{} {} of {tried} got through{rest}",
            style.paint("1;31", "fail:"),
            modelseal_format::display::count(through, "fault", "faults")
        ),
    };
    lines.extend([String::new(), verdict]);
    lines.join("\n") + "\n"
}

#[derive(Serialize)]
struct Wire<'a> {
    schema: &'a str,
    verdict: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    faults: Vec<WireFault<'a>>,
    tool: &'a str,
}

#[derive(Serialize)]
struct WireFault<'a> {
    fault: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<&'a str>,
    message: &'a str,
}

fn json(drilled: &Drilled, target: &str) -> anyhow::Result<String> {
    let text = modelseal_format::display::json(&Wire {
        schema: "https://modelseal.dev/drill/v1",
        verdict: drilled.verdict().name(),
        target,
        refused: refused(drilled).map(Report::summary),
        faults: drilled.rows.iter().map(wire_fault).collect(),
        tool: concat!("modelseal ", env!("CARGO_PKG_VERSION")),
    })?;
    Ok(text + "\n")
}

fn wire_fault(row: &Row) -> WireFault<'_> {
    let (status, check, message) = match &row.fate {
        Fate::Caught { check, message } => ("caught", Some(check.as_str()), message),
        Fate::LetThrough { cure } => ("let-through", None, cure),
        Fate::NotApplicable { reason } => ("not-tried", None, reason),
    };
    WireFault { fault: &row.fault, status, check, message }
}
