mod json;

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Verbosity;
use super::output::style;
use super::output::{print, show};
use super::progress::Progress;
use super::targets::target;
use crate::diff::{Difference, Options, Section, State, diff};
use modelseal_format::display::{Escaped, short};
use modelseal_verify::report::Style;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal diff wine-1.0.0.tar wine-1.1.0.tar
  modelseal diff old.sigstore.json new.sigstore.json        two seal files are enough
  modelseal diff wine-1.0.0.tar wine-1.1.0.tar --format markdown >> \"$GITHUB_STEP_SUMMARY\"
  modelseal diff wine-1.0.0.tar wine-1.1.0.tar --exit-code && echo the same

If only one thing changed, the first line names it. Works offline; nothing is verified.
Exit codes: 0 compared; 1 not a release or, with --exit-code, any difference; 2 could not run.")]
pub(super) struct Arguments {
    /// The old release: an archive, an unpacked directory, or a seal file
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The new release, in any of these forms
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// A clone with both commits, for the log and the package changes between them
    #[arg(long, value_name = "DIR", default_value = ".")]
    repository: PathBuf,
    /// Exit 1 if anything differs
    #[arg(long)]
    exit_code: bool,
    /// How to print the difference
    #[arg(long, value_enum, default_value_t)]
    format: DiffFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum DiffFormat {
    /// Human-readable text
    #[default]
    Text,
    /// One JSON document, described by a published schema
    Json,
    /// Markdown for a pull request
    Markdown,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    let progress = Progress::new("comparing", verbosity);
    let difference = diff(
        &target(&arguments.old),
        &target(&arguments.new),
        &Options { repository: &arguments.repository, context: &progress.context() },
    )?;
    drop(progress);
    match arguments.format {
        DiffFormat::Text if verbosity.quiet => show(&(difference.headline() + "\n"))?,
        DiffFormat::Text => show(&text(&difference, style(&std::io::stdout())))?,
        DiffFormat::Json => print(&json::json(&difference)?)?,
        DiffFormat::Markdown => print(&markdown(&difference))?,
    }
    Ok(u8::from(arguments.exit_code && difference.is_different()))
}

fn text(difference: &Difference, style: Style) -> String {
    let mut text = format!("{}\n\n", style.paint("1", &difference.headline()));
    for (label, side) in [("old", &difference.old), ("new", &difference.new)] {
        let release = short(&side.release.to_string());
        let target = Escaped(&side.target).to_string();
        let _ =
            writeln!(text, "{label}  {} {}  sha256:{release}  {target}", side.model.name, side.model.version);
    }
    text.push('\n');
    for section in difference.sections() {
        let state = match section.state {
            State::Changed => style.paint("33", "changed"),
            State::Same => style.paint("32", "same"),
            State::NotSealed => style.paint("2", "not sealed"),
        };
        let _ = writeln!(text, "{:<15}  {state}", section.name);
        for line in &section.details {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn markdown(difference: &Difference) -> String {
    // Escapes characters that have a meaning in Markdown. Inside back-ticks, only a bar has one.
    let plain = |text: &str| -> String {
        let mut in_code = false;
        let escape = |character: char| {
            in_code ^= character == '`';
            let special = if in_code { "|" } else { "|<>*_[]#@\\" };
            if special.contains(character) { vec!['\\', character] } else { vec![character] }
        };
        text.chars().flat_map(escape).collect()
    };
    let mut text = format!("**{}**\n\n", plain(&difference.headline()));
    let side = |side: &crate::diff::Side| {
        format!(
            "{} {} (`sha256:{}`)",
            plain(&side.model.name),
            plain(&side.model.version),
            short(&side.release.to_string())
        )
    };
    let _ = writeln!(text, "{} → {}\n", side(&difference.old), side(&difference.new));
    text.push_str("| | | |\n|---|---|---|\n");
    for Section { name, state, details } in difference.sections() {
        let details: Vec<String> = details.iter().map(|line| plain(line.trim())).collect();
        let _ = writeln!(text, "| {name} | {} | {} |", state.name(), details.join("<br>"));
    }
    text
}
