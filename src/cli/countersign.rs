use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;

use super::Talk;
use super::arguments::Format;
use super::failure::Hinted;
use super::output::{complain, print, say, warn};
use super::policy::previous;
use super::progress::Progress;
use super::signing::Signing;
use super::trusting::Trusting;
use super::verify::print_report;
use crate::digest::Algorithms;
use crate::manifest::{Attestation, Claim};
use crate::release::{Seal, write_beside};
use crate::report::{self, Report, Verdict};
use crate::sign::{self, Bundle, Signer};
use crate::trust::{self, Accepted, Role};
use crate::verify::{Options, Target, read_whole, verify};

/// Approve a release as a second signer, in a statement beside its archive
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal countersign wine-1.0.0.tar --key keys/release.key --policy gate.toml
  modelseal verify wine-1.0.0.tar --policy gate.toml       with `signatures = 2`, and who may approve

The archive is read to its end first: what is signed is a release whose files are the sealed
ones. With --policy it also has to pass that policy, but for the number of signatures, and the
signer has to be one whose approval counts. The archive itself never changes.
Exit codes: 0 signed; 1 the release is not what its manifest says, or the policy refuses it;
2 could not run; 3 the policy's answer is inconclusive.")]
pub(super) struct Arguments {
    /// The release
    #[arg(value_name = "ARCHIVE")]
    archive: PathBuf,
    /// Sign only what passes this policy
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The release that is deployed now, for the policy
    #[arg(long, value_name = "TARGET", requires = "policy")]
    previous: Option<PathBuf>,
    #[command(flatten)]
    signing: Signing,
}

pub(super) fn run(arguments: &Arguments, talk: Talk) -> anyhow::Result<u8> {
    let key = arguments.signing.prepare(talk)?;
    let Some(seal) = whole(&arguments.archive, talk)? else { return Ok(1) };
    let judged = arguments.policy.as_ref().map(|policy| judge(arguments, policy, &seal)).transpose()?;
    match &judged {
        Some(report) if report.verdict() != Verdict::Pass => {
            say(talk, "nothing was signed: the policy does not accept this release");
            return print_report(report, Format::Text, talk);
        }
        Some(_) => {}
        None => warn(talk, "nobody asked who built it, or what it is made of: `--policy` does"),
    }
    let signer = key.open()?;
    if let (Some(policy), Some(report)) = (&arguments.policy, &judged) {
        may_approve(policy, report, &signer)?;
    }
    let statement = Attestation::about(&seal.manifest, seal.release, Claim::Approved);
    let path = write_beside(&arguments.archive, &statement, &signer)?;
    print(&signed("approved", &seal, &path))?;
    Ok(0)
}

/// What a policy says of the release, whoever else has to sign.
fn judge(arguments: &Arguments, policy: &Path, seal: &Seal) -> anyhow::Result<Report> {
    let (mut policy, signers) = Trusting::default().with_policy(policy)?;
    // That others have to sign, too, is no reason not to.
    policy.tables.signatures = None;
    if signers.is_empty() {
        bail!("{} names no signers: who may have built it?", crate::text::path(&policy.path));
    }
    let previous = previous(arguments.previous.as_deref())?;
    let options = Options {
        policy: Some(&policy),
        previous: previous.as_ref(),
        hash: Algorithms::BLAKE3,
        ..Options::new(&signers, Timestamp::now(), &|_| {})
    };
    let report = verify(&Target::Path(arguments.archive.clone()), &options)?;
    if report.release != Some(seal.release) {
        bail!("{} changed while it was read", crate::text::path(&arguments.archive));
    }
    Ok(report)
}

/// Whether an approval by this signer would count: it may approve, and has not built the release.
fn may_approve(policy: &Path, report: &Report, signer: &Signer) -> anyhow::Result<()> {
    let (_, signers) = Trusting::default().with_policy(policy)?;
    let now = Timestamp::now();
    let bundle = sign::read_bundle(&sign::write_bundle(b"{}", signer)?)?;
    let accepted = trust::accept(&signers, &bundle, Bundle::verify, now).map_err(|refusal| refusal.message);
    let (reason, hint) = match accepted.and_then(|accepted| accepted.acting(Role::Approve, now)) {
        Ok(accepted) => match report.signers.first() {
            Some(builder) if is_builder(&accepted, builder) => {
                ("the builder signed it, and has signed already".to_string(), "somebody else has to approve")
            }
            _ => return Ok(()),
        },
        Err(reason) => (reason, "somebody has to sign whose `[[signer]]` says `may = [\"approve\"]` now"),
    };
    let message = format!("{} would not count this approval: {reason}", crate::text::path(policy));
    Err(Hinted { message, hint: hint.to_string() }.into())
}

/// Whether a report names this signer as the builder: by its key, or as the same entry of the policy.
fn is_builder(accepted: &Accepted<'_>, builder: &report::Signer) -> bool {
    builder.name == accepted.signer.name || builder.key == accepted.key.hint()
}

/// The seal of an archive that holds what its manifest says; `None`: it does not, and that was said.
pub(super) fn whole(archive: &Path, talk: Talk) -> anyhow::Result<Option<Seal>> {
    let progress = Progress::new("reading", talk);
    let read = read_whole(archive, &|bytes| progress.advance(bytes))?;
    drop(progress);
    match read {
        Ok(seal) => Ok(Some(seal)),
        Err(reason) => {
            complain(&format!("{} was not signed: {reason}", crate::text::path(archive)));
            Ok(None)
        }
    }
}

/// What was said about which release, and where.
pub(super) fn signed(what: &str, seal: &Seal, path: &Path) -> String {
    let model = seal.manifest.model();
    format!(
        "{what} {} {}\n  release    sha256:{}\n  statement  {}\n",
        model.name,
        model.version,
        seal.release,
        crate::text::Escaped(&path.to_string_lossy())
    )
}
