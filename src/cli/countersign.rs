use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;

use super::Verbosity;
use super::arguments::ReportFormat;
use super::confining::check_written_to;
use super::hints::Hinted;
use super::output::{complain, say, show, warn};
use super::progress::Progress;
use super::signing::Signing;
use super::targets::previous;
use super::trust_args::Trusting;
use super::verify::print_report;
use modelseal_format::manifest::{Attestation, Claim};
use modelseal_format::release::{Seal, SignedStatement};
use modelseal_format::sign::{self, Bundle};
use modelseal_verify::policy::Policy;
use modelseal_verify::trust::{self, Role, TrustedSigner};
use modelseal_verify::verify::{Error, Options, Target, Verified, read_whole, verify};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal countersign wine-1.0.0.tar --key keys/release.key --policy gate.toml
  modelseal verify wine-1.0.0.tar --policy gate.toml       needs `signatures = 2` and an approver

The whole archive is read first, and a release is signed only if its files match the manifest. With \
--policy, it must also pass that policy, except for the number of signatures, and the signer must be \
allowed to approve. The archive itself never changes.
Exit codes: 0 signed; 1 the release does not match its manifest, or the policy refuses it; 2 could not run; \
3 the policy's verdict is inconclusive.")]
pub(super) struct Arguments {
    /// The archive of the release
    #[arg(value_name = "ARCHIVE")]
    archive: PathBuf,
    /// Sign only if the release passes this policy
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The release that is deployed now, for the policy to compare with
    #[arg(long, value_name = "TARGET", requires = "policy")]
    previous: Option<PathBuf>,
    #[command(flatten)]
    signing: Signing,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    check_written_to(&arguments.archive)?;
    let key = arguments.signing.prepare(verbosity)?;
    let trusting = Trusting::default();
    let mut policy = arguments.policy.as_ref().map(|path| trusting.with_policy(path)).transpose()?;
    if let Some((policy, _)) = &mut policy {
        // The signature quorum does not apply here.
        policy.signatures = None;
    }
    let (verified, whole);
    let seal = match &policy {
        Some((policy, signers)) => {
            verified = judge(arguments, policy, signers, verbosity)?;
            let Some(release) = verified.accepted() else {
                say(verbosity, "nothing was signed: the policy does not accept this release");
                return print_report(verified.report(), ReportFormat::default(), verbosity);
            };
            release.seal()
        }
        None => {
            let Some(read) = read_archive(&arguments.archive, verbosity)? else { return Ok(1) };
            warn(
                verbosity,
                "the builder and the inputs of this release were not checked: `--policy` checks them",
            );
            whole = read;
            &whole
        }
    };
    let statement = Attestation::about(&seal.manifest, seal.release, Claim::Approved);
    let statement = SignedStatement::new(&statement, &key.open_alone(&arguments.archive)?)?;
    if let Some((policy, signers)) = &policy {
        counts(signers, seal, &sign::read_bundle(&statement.bytes)?).map_err(|(reason, hint)| {
            let policy = modelseal_format::display::path(&policy.path);
            let message = format!("{policy} would not count this approval: {reason}");
            Hinted { message, hint: hint.to_string() }
        })?;
    }
    let path = statement.write_beside(&arguments.archive)?;
    show(&signed("approved", seal, &path))?;
    Ok(0)
}

/// Verifies the release by the policy, without the signature quorum.
fn judge(
    arguments: &Arguments,
    policy: &Policy,
    signers: &[TrustedSigner],
    verbosity: Verbosity,
) -> anyhow::Result<Verified> {
    if signers.is_empty() {
        bail!("{} names no signers, so no builder is trusted", modelseal_format::display::path(&policy.path));
    }
    if arguments.archive.is_dir() {
        return Err(Error::NotAnArchive(arguments.archive.clone()).into());
    }
    let previous = previous(arguments.previous.as_deref())?;
    let progress = Progress::new("reading", verbosity);
    let mut options = Options::new(signers);
    options.policy = Some(policy);
    options.previous = previous.as_ref();
    options.context = progress.context();
    Ok(verify(&Target::Path(arguments.archive.clone()), &options)?)
}

/// Checks that the signer of an approval has the right to approve and is not the builder. The error is the reason and a
/// hint.
fn counts(signers: &[TrustedSigner], seal: &Seal, approval: &Bundle) -> Result<(), (String, &'static str)> {
    let now = Timestamp::now();
    let acting = |bundle, check: trust::Check<'_>, role| {
        let accepted = trust::accept(signers, bundle, check, now);
        accepted.map_err(|refusal| refusal.message)?.acting(role, now)
    };
    let nobody =
        |reason| (reason, "sign as a signer that may approve now: `may = [\"approve\"]` in its `[[signer]]`");
    let approver = acting(approval, &|key| approval.verify(key), Role::Approve).map_err(nobody)?;
    let builder = acting(&seal.bundle, &|key| seal.verify(key), Role::Build).map_err(nobody)?;
    match builder.is_same_as(&approver) {
        true => Err((
            "it was signed by the builder, whose signature already counts".to_string(),
            "another signer must approve",
        )),
        false => Ok(()),
    }
}

/// Reads an archive completely and returns its seal. `None` if the contents do not match the manifest; the reason has
/// then been printed.
pub(super) fn read_archive(archive: &Path, verbosity: Verbosity) -> anyhow::Result<Option<Seal>> {
    let progress = Progress::new("reading", verbosity);
    let read = read_whole(archive, &progress.context())?;
    drop(progress);
    match read {
        Ok(read) => Ok(Some(read)),
        Err(reason) => {
            complain(&format!("cannot sign {}: {reason}", modelseal_format::display::path(archive)));
            Ok(None)
        }
    }
}

/// The message that states what was signed about which release, and the file that holds it.
pub(super) fn signed(what: &str, seal: &Seal, path: &Path) -> String {
    let model = seal.manifest.model();
    format!(
        "{what} {} {}\n  release      sha256:{}\n  attestation  {}\n",
        model.name,
        model.version,
        seal.release,
        modelseal_format::display::Escaped(&path.to_string_lossy())
    )
}
