use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::arguments::{DataPath, Hash, Rendering, ReportFormat, data_path, data_paths, release};
use super::output::{print, say, show, style};
use super::outside::{against, online};
use super::progress::Progress;
use super::targets::previous;
use super::targets::{check_standard_input, target};
use super::trust_args::Trusting;
use super::{Verbosity, hints};
use modelseal_format::digest::Digest;
use modelseal_verify::report::Report;
use modelseal_verify::verify::{Model, Options, OutsideCheck, verify, verify_model};

const SIGNED_MODELS: &str = "Any signed model";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal verify wine-1.0.0.tar --key keys/ci.pub
  modelseal verify models/wine --key keys/ci.pub              an unpacked directory
  curl -s https://… | modelseal verify - --key keys/ci.pub
  modelseal verify wine-1.0.0.tar --key keys/ci.pub --against . --format json
  modelseal verify wine-1.1.0.tar --policy gate.toml --previous wine-1.0.0.tar
  modelseal verify models/wine --signature model.sig --key acme.pub      any signed model

Trusts only what signers you name have signed. Executes nothing, writes nothing, and uses the network only \
for --online.
Exit codes: 0 pass; 1 fail; 2 could not run; 3 inconclusive. Only 0 means yes.")]
pub(super) struct Arguments {
    /// An archive, an unpacked directory, or - for an archive on standard input
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    /// Judge the release by this policy, which may name the trusted signers
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The release that is deployed now, to compare with: an archive, a directory or a seal file
    #[arg(long, value_name = "TARGET", requires = "policy")]
    previous: Option<PathBuf>,
    /// Accept only the release with this digest
    #[arg(long, value_name = "DIGEST", value_parser = release)]
    release: Option<Digest>,
    /// Compare the sealed inputs with a checkout, given by the directory of its recipe
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Path of a data source on this machine, for --against
    #[arg(long, value_name = "NAME=PATH", value_parser = data_path, requires = "against")]
    data: Vec<DataPath>,
    /// Which of the sealed digests to check
    #[arg(long, value_enum, default_value_t)]
    hash: Hash,
    /// An attestation of the release, in addition to those next to it
    #[arg(long, value_name = "FILE")]
    attestation: Vec<PathBuf>,
    /// Check that the sealed remote has the commit, so that others can rebuild it (uses git and the network)
    #[arg(long)]
    online: bool,
    /// Verify a model by this signature of its files (OpenSSF Model Signing), with or without a seal
    #[arg(
        long,
        value_name = "FILE",
        help_heading = SIGNED_MODELS,
        conflicts_with_all = ["previous", "release", "against", "hash", "attestation", "online"]
    )]
    signature: Option<PathBuf>,
    /// Leave out this file or directory of the model
    #[arg(long, value_name = "PATH", requires = "signature", help_heading = SIGNED_MODELS)]
    ignore_path: Vec<PathBuf>,
    /// Accept files that are not signed
    #[arg(long, requires = "signature", help_heading = SIGNED_MODELS)]
    ignore_unsigned_files: bool,
    #[command(flatten)]
    rendering: Rendering,
    #[command(flatten)]
    trusting: Trusting,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    let target = target(&arguments.target);
    let (policy, signers) = arguments.trusting.with_any_policy(arguments.policy.as_deref())?;
    let previous = previous(arguments.previous.as_deref())?;
    check_standard_input(&target, &arguments.trusting.key)?;
    let data = data_paths(&arguments.data)?;
    let (checkout, remote) = (against(arguments.against.clone(), data), online(arguments.online));
    let progress = Progress::new("verifying", verbosity);
    let mut options = Options::new(&signers);
    options.release = arguments.release;
    options.hash = arguments.hash.into();
    options.attestations = &arguments.attestation;
    let outside: [&dyn OutsideCheck; 2] = [&*checkout, &*remote];
    options.outside = &outside;
    options.policy = policy.as_ref();
    options.previous = previous.as_ref();
    options.context = progress.context();
    let report = match &arguments.signature {
        None => verify(&target, &options)?.into_report(),
        Some(signature) => verify_model(&model(arguments, signature)?, &options)?,
    };
    if verbosity.verbose {
        say(verbosity, &progress.summary());
    }
    drop(progress);
    print_report(&report, arguments.rendering.format, verbosity)
}

/// The model and signature that the command line names.
fn model(arguments: &Arguments, signature: &Path) -> anyhow::Result<Model> {
    let mut model = Model::new(&arguments.target, signature);
    model.ignored = ignored(&arguments.target, &arguments.ignore_path)?;
    model.ignore_unsigned = arguments.ignore_unsigned_files;
    Ok(model)
}

/// Converts ignored paths to paths relative to the model. The caller may give them relative to the working directory or
/// to the model.
pub(super) fn ignored(model: &Path, paths: &[PathBuf]) -> anyhow::Result<BTreeSet<String>> {
    let model = model
        .canonicalize()
        .with_context(|| format!("cannot find {}", modelseal_format::display::path(model)))?;
    let below = |path: &Path| {
        let whole = path.canonicalize().ok()?;
        let relative = whole.strip_prefix(&model).ok()?.to_str()?.to_string();
        (!relative.is_empty()).then_some(relative)
    };
    let find = |path: &PathBuf| {
        below(path).or_else(|| below(&model.join(path))).with_context(|| {
            format!("`--ignore-path`: {} is not inside the model", modelseal_format::display::path(path))
        })
    };
    paths.iter().map(find).collect()
}

/// Prints a report and returns the exit code of its verdict. With `--quiet`, prints the verdict alone.
pub(super) fn print_report(
    report: &Report,
    ReportFormat(renderer): ReportFormat,
    verbosity: Verbosity,
) -> anyhow::Result<u8> {
    let mut report = report.clone();
    report.spell_hints(hints::spell);
    let brief = if verbosity.quiet { renderer.brief(&report) } else { None };
    let text = match brief {
        Some(brief) => brief,
        None => renderer.render(&report, style(&std::io::stdout()))?,
    };
    if renderer.name() == "text" {
        show(&text)?
    } else {
        print(&text)?
    }
    Ok(report.verdict().exit_code())
}
