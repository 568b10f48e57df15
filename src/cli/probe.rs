use std::path::{Path, PathBuf};

use clap::Args;

use super::Verbosity;
use super::arguments::Rendering;
use super::confining::confine;
use super::output::say;
use super::progress::Progress;
use super::projects::here;
use super::running::Running;
use super::targets::{check_standard_input, previous, target};
use super::trust_args::Trusting;
use super::verify::print_report;
use crate::live_probe::{Options, accept};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal probe wine-1.0.0.tar --policy gate.toml

Runs the command of every [probe.NAME] in the policy, with its `inputs` and `cwd`. The release is verified \
first, as by `verify --policy`, and is read-only for the command. Its answers must match the sealed ones. \
Isolation is required.
Exit codes: 0 pass; 1 fail; 2 could not run; 3 inconclusive: the command hung, failed or could not start.")]
pub(super) struct Arguments {
    /// An archive, an unpacked directory, or - for an archive on standard input
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    /// The policy, with the commands of the probes
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The release that is deployed now, to compare with: an archive, a directory or a seal file
    #[arg(long, value_name = "TARGET")]
    previous: Option<PathBuf>,
    /// Run the commands without isolation
    #[arg(long)]
    insecure_no_isolation: bool,
    #[command(flatten)]
    rendering: Rendering,
    #[command(flatten)]
    trusting: Trusting,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    let target = target(&arguments.target);
    let (policy, signers) = arguments.trusting.with_policy(&arguments.policy)?;
    check_standard_input(&target, &arguments.trusting.key)?;
    let previous = previous(arguments.previous.as_deref())?;
    let projects: Vec<&Path> = [policy.directory()].into_iter().chain(here()).collect();
    let confinement = confine(None, &projects, &[], Vec::new(), arguments.insecure_no_isolation)?;
    let progress = Progress::new("verifying", verbosity);
    let running = Running::new(verbosity);
    let report = accept(
        &target,
        &Options {
            signers: &signers,
            policy: &policy,
            previous: previous.as_ref(),
            confinement: &confinement,
            announce: &|name, command| {
                say(
                    verbosity,
                    &format!("running probe {name}: {}", modelseal_format::display::command(command)),
                );
            },
            listener: &running,
            context: &progress.context(),
        },
    )?;
    drop((running, progress));
    print_report(&report, arguments.rendering.format, verbosity)
}
