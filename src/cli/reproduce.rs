mod json;
mod text;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Verbosity;
use super::arguments::{DataPath, Format, ReportFormat, data_path, data_paths};
use super::confining::{check_written_to, confine};
use super::output::style;
use super::output::{print, say, show};
use super::progress::Progress;
use super::projects::here;
use super::running::Running;
use super::signer::SignerStart;
use super::signing::signing_key;
use super::targets::{check_standard_input, target};
use super::trust_args::Trusting;
use super::verify::print_report;
use crate::reproduce::{Circumstance, Options, attest, reproduce};
use modelseal_format::manifest::Rung;
use modelseal_verify::report::Verdict;
use modelseal_verify::verify::Target;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal reproduce wine-1.0.0.tar --key keys/ci.pub
  modelseal reproduce wine-1.0.0.tar --key keys/ci.pub --source ~/wine --data train=/mnt/train.csv
  modelseal reproduce wine-1.0.0.tar --key keys/ci.pub --vary all
  modelseal reproduce wine-1.0.0.tar --key keys/ci.pub --level R2

The release is verified first. Then the sealed command runs in a fresh clone of the sealed commit, and its \
result is compared: R0 the same bytes, R1 the same content, R2 the same numbers within the tolerance.
Exit codes: 0 the demanded level is reached; 1 it is not, or the release is not accepted; 2 could not run; 3 \
not tried, because something that the rebuild needs is missing.")]
pub(super) struct Arguments {
    /// An archive, an unpacked directory, or - for an archive on standard input
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    /// Clone this repository: a directory, https://… or ssh://… [default: this clone, or the sealed remote]
    #[arg(long, value_name = "REPO")]
    source: Option<String>,
    /// Path of a data source on this machine
    #[arg(long, value_name = "NAME=PATH", value_parser = data_path)]
    data: Vec<DataPath>,
    /// Demand this level instead of the sealed one
    #[arg(long, value_enum, ignore_case = true)]
    level: Option<Level>,
    /// Rebuild again with one circumstance varied at a time: all, or any of nothing, path, home, user, umask,
    /// timezone, locale, fileorder, cpus, hashseed, threads, time, seed
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = circumstances)]
    vary: Vec<Vary>,
    /// If the level is reached, write an attestation next to the archive, signed with this private key
    #[arg(long, value_name = "KEY")]
    attest: Option<String>,
    /// Read the password of an encrypted key from the first line of this file
    #[arg(long, value_name = "FILE", requires = "attest")]
    password_file: Option<PathBuf>,
    /// Let the command also write to this directory, in addition to its clone
    #[arg(long, value_name = "DIR")]
    allow_write: Vec<PathBuf>,
    /// Run the command without isolation, even if the recipe demands it
    #[arg(long)]
    insecure_no_isolation: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    trusting: Trusting,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    /// The same bytes
    #[value(name = "R0")]
    R0,
    /// The same content in another container
    #[value(name = "R1")]
    R1,
    /// The same numbers within the tolerance
    #[value(name = "R2")]
    R2,
    /// Another model with the same answers to the probes
    #[value(name = "R3")]
    R3,
}

/// One circumstance to vary, or all of them.
#[derive(Debug, Clone, Copy)]
enum Vary {
    All,
    One(Circumstance),
}

fn circumstances(text: &str) -> Result<Vary, String> {
    if text == "all" {
        return Ok(Vary::All);
    }
    let found = Circumstance::ALL.into_iter().find(|circumstance| circumstance.name() == text);
    found.map(Vary::One).ok_or_else(|| {
        let known: Vec<&str> = Circumstance::ALL.iter().map(|circumstance| circumstance.name()).collect();
        format!("expected all, {}", known.join(", "))
    })
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    let target = target(&arguments.target);
    let signers = arguments.trusting.signers()?;
    check_standard_input(&target, &arguments.trusting.key)?;
    let data = data_paths(&arguments.data)?;
    let vary: Vec<Circumstance> = if arguments.vary.iter().any(|vary| matches!(vary, Vary::All)) {
        Circumstance::ALL.to_vec()
    } else {
        arguments
            .vary
            .iter()
            .filter_map(|vary| if let Vary::One(one) = vary { Some(*one) } else { None })
            .collect()
    };
    let signer = match &arguments.attest {
        Some(_) if target == Target::StandardInput => {
            anyhow::bail!(
                "`--attest` writes next to the archive, so the archive cannot come from standard input"
            );
        }
        Some(key) => {
            check_written_to(Path::new(&arguments.target))?;
            Some(signing_key(Some(key), arguments.password_file.as_deref(), verbosity)?)
        }
        None => None,
    };
    let source = arguments.source.as_deref().map(Path::new).filter(|path| path.is_dir());
    let projects: Vec<&Path> = here().into_iter().chain(source).collect();
    let insecure = arguments.insecure_no_isolation;
    let confinement = confine(signer.as_ref(), &projects, &arguments.allow_write, Vec::new(), insecure)?;
    let progress = Progress::new("reading", verbosity);
    let running = Running::new(verbosity);
    let result = reproduce(
        &target,
        &Options {
            signers: &signers,
            source: arguments.source.as_deref(),
            data: &data,
            level: arguments.level.map(|level| match level {
                Level::R0 => Rung::R0,
                Level::R1 => Rung::R1,
                Level::R2 => Rung::R2,
                Level::R3 => Rung::R3,
            }),
            vary: &vary,
            confinement: &confinement,
            announce: &|varied, command| announce(varied, command, verbosity),
            listener: &running,
            context: &progress.context(),
        },
    )?;
    if verbosity.verbose {
        say(verbosity, &progress.summary());
    }
    drop((running, progress));
    if let (Some(signer), Verdict::Pass) = (&signer, result.verdict()) {
        // No process of the command is left. Open the key now, if it has not changed since.
        confinement.check()?;
        let writable = confinement.allowed().iter().map(|allowed| allowed.end().to_path_buf()).collect();
        let start = SignerStart { confinement: confinement.clone(), writable, caches: None };
        let path = attest(&arguments.target, &result, &signer.open(&start)?)?;
        say(verbosity, &format!("wrote the attestation {}", modelseal_format::display::path(&path)));
    }
    if result.report.verdict() != Verdict::Pass && arguments.format == Format::Text {
        return print_report(&result.report, ReportFormat::default(), verbosity);
    }
    match arguments.format {
        Format::Json => print(&json::json(&result, &target.shown())?)?,
        Format::Text if verbosity.quiet => show(&(result.summary() + "\n"))?,
        Format::Text => show(&text::text(&result, style(&std::io::stdout())))?,
    }
    Ok(result.verdict().exit_code())
}

fn announce(varied: Option<Circumstance>, command: &[String], verbosity: Verbosity) {
    let varying = match varied {
        None => String::new(),
        Some(Circumstance::Nothing) => "once more: ".to_string(),
        Some(varied) => format!("varying {}: ", varied.name()),
    };
    say(verbosity, &format!("{varying}running {}", modelseal_format::display::command(command)));
}
