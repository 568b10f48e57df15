use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::Verbosity;
use super::arguments::{Rendering, release};
use super::confining::check_written_to;
use super::output::say;
use super::outside::{against, online};
use super::progress::Progress;
use super::targets::{check_standard_input, previous, target};
use super::trust_args::Trusting;
use super::verify::print_report;
use modelseal_format::digest::{Algorithms, Digest};
use modelseal_verify::verify::{Options, OutsideCheck, unpack};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal unpack wine-1.0.0.tar -o models/wine --key keys/ci.pub
  curl -s https://… | modelseal unpack - -o models/wine --key keys/ci.pub

The directory appears only after every check has passed.
Exit codes: as for verify.")]
pub(super) struct Arguments {
    /// An archive, or - for an archive on standard input
    #[arg(value_name = "ARCHIVE")]
    archive: PathBuf,
    /// Unpack the artifact to this directory, which must be empty or not exist yet
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Judge the release by this policy, which may name the trusted signers
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The release that is deployed now, to compare with: an archive, a directory or a seal file
    #[arg(long, value_name = "TARGET", requires = "policy")]
    previous: Option<PathBuf>,
    /// Accept only the release with this digest
    #[arg(long, value_name = "DIGEST", value_parser = release)]
    release: Option<Digest>,
    /// An attestation of the release, in addition to those next to it
    #[arg(long, value_name = "FILE")]
    attestation: Vec<PathBuf>,
    /// Check that the sealed remote has the commit, so that others can rebuild it (uses git and the network)
    #[arg(long)]
    online: bool,
    #[command(flatten)]
    rendering: Rendering,
    #[command(flatten)]
    trusting: Trusting,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    let target = target(&arguments.archive);
    let (policy, signers) = arguments.trusting.with_any_policy(arguments.policy.as_deref())?;
    let previous = previous(arguments.previous.as_deref())?;
    check_standard_input(&target, &arguments.trusting.key)?;
    let (checkout, remote) = (against(None, BTreeMap::new()), online(arguments.online));
    let progress = Progress::new("unpacking", verbosity);
    let mut options = Options::new(&signers);
    options.release = arguments.release;
    // Files that stay on the disk are checked with every digest.
    options.hash = Algorithms::ALL;
    options.attestations = &arguments.attestation;
    let outside: [&dyn OutsideCheck; 2] = [&*checkout, &*remote];
    options.outside = &outside;
    options.policy = policy.as_ref();
    options.previous = previous.as_ref();
    options.context = progress.context();
    check_written_to(&arguments.output)?;
    let verified = unpack(&target, &arguments.output, &options)?;
    drop(progress);
    let code = print_report(verified.report(), arguments.rendering.format, verbosity)?;
    let output = modelseal_format::display::path(&arguments.output);
    if verified.accepted().is_some() {
        say(verbosity, &format!("unpacked to {output}"));
    } else {
        say(verbosity, &format!("nothing was unpacked to {output}"));
    }
    Ok(code)
}
