use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::Verbosity;
use super::confining::check_written_to;
use super::countersign::{read_archive, signed};
use super::output::{show, warn};
use super::signing::Signing;
use modelseal_format::manifest::{Attestation, Claim, Rollback};
use modelseal_format::release::SignedStatement;
use modelseal_verify::config::Age;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal rollback wine-1.0.0.tar --reason 'OPS-1423: 1.1.0 answers wrongly' --key keys/oncall.key
  modelseal verify wine-1.0.0.tar --policy gate.toml --previous wine-1.1.0.tar

A policy refuses a release whose number is lower than that of the previous release, or than `min_release`. \
With this attestation next to the archive, by a signer with `may = [\"rollback\"]`, the policy accepts it \
until the given time, and the report names the reason and the signer.
Exit codes: 0 signed; 1 the release does not match its manifest; 2 could not run.")]
pub(super) struct Arguments {
    /// The archive of the release to roll back to
    #[arg(value_name = "ARCHIVE")]
    archive: PathBuf,
    /// The reason, which reports show
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// When the authorisation ends: a time, or a duration from now
    #[arg(long, value_name = "TIME", default_value = "7d")]
    until: String,
    #[command(flatten)]
    signing: Signing,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    check_written_to(&arguments.archive)?;
    let reason = arguments.reason.trim();
    if reason.is_empty() || reason.len() > 1000 {
        bail!("`--reason` needs a text of at most 1,000 bytes");
    }
    let until = end(&arguments.until)?;
    let key = arguments.signing.prepare(verbosity)?;
    let Some(seal) = read_archive(&arguments.archive, verbosity)? else { return Ok(1) };
    if seal.manifest.model().release.is_none() {
        let advice = "set `release = N` under `[model]` in its recipe for the next one";
        warn(
            verbosity,
            &format!("this release has no number, so a policy cannot tell that it is older: {advice}"),
        );
    }
    let claim = Claim::RolledBack(Rollback { reason: reason.to_string(), until });
    let statement = Attestation::about(&seal.manifest, seal.release, claim);
    let path = SignedStatement::new(&statement, &key.open_alone(&arguments.archive)?)?
        .write_beside(&arguments.archive)?;
    show(&format!("{}  until        {until}\n", signed("authorised a rollback to", &seal, &path)))?;
    Ok(0)
}

/// Parses the end of a rollback, rounded down to the second.
fn end(text: &str) -> anyhow::Result<Timestamp> {
    let now = Timestamp::now();
    let end: Option<Timestamp> = match Age::parse(text) {
        Some(age) => {
            let end = SignedDuration::try_from(age.0).ok().and_then(|age| now.checked_add(age).ok());
            Some(end.context("`--until` is too far in the future")?)
        }
        None => text.parse().ok(),
    };
    match end.and_then(|end| Timestamp::from_second(end.as_second()).ok()) {
        Some(end) if end > now => Ok(end),
        Some(_) => bail!("`--until` is in the past"),
        None => bail!(
            "`--until` needs a time with a time zone, as in 2027-06-30T00:00:00Z, or a duration, as in 7d"
        ),
    }
}
