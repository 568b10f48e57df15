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

A policy refuses a release whose number is lower than that of the previous one, or than `min_release`. With \
this statement beside it, by a signer who `may = [\"rollback\"]`, it is accepted until the time is over, and \
the report says why and by whom.
Exit codes: 0 signed; 1 the release is not what its manifest says; 2 could not run.")]
pub(super) struct Arguments {
    /// The release to go back to
    #[arg(value_name = "ARCHIVE")]
    archive: PathBuf,
    /// Why, for whoever reads the report
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Until when it is meant: a time, or a length of time from now
    #[arg(long, value_name = "TIME", default_value = "7d")]
    until: String,
    #[command(flatten)]
    signing: Signing,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    check_written_to(&arguments.archive)?;
    let reason = arguments.reason.trim();
    if reason.is_empty() || reason.len() > 1000 {
        bail!("`--reason` needs a reason, in at most 1,000 bytes");
    }
    let until = end(&arguments.until)?;
    let key = arguments.signing.prepare(verbosity)?;
    let Some(seal) = read_archive(&arguments.archive, verbosity)? else { return Ok(1) };
    if seal.manifest.model().release.is_none() {
        let advice = "`release = N` under `[model]` of its recipe gives the next one a number";
        warn(
            verbosity,
            &format!("this release has no number, by which a policy could tell that it is older: {advice}"),
        );
    }
    let claim = Claim::RolledBack(Rollback { reason: reason.to_string(), until });
    let statement = Attestation::about(&seal.manifest, seal.release, claim);
    let path = SignedStatement::new(&statement, &key.open_alone(&arguments.archive)?)?
        .write_beside(&arguments.archive)?;
    show(&format!("{}  until      {until}\n", signed("going back is meant, to", &seal, &path)))?;
    Ok(0)
}

/// Parses the end of a rollback, rounded down to the second.
fn end(text: &str) -> anyhow::Result<Timestamp> {
    let now = Timestamp::now();
    let end: Option<Timestamp> = match Age::parse(text) {
        Some(age) => {
            let end = SignedDuration::try_from(age.0).ok().and_then(|age| now.checked_add(age).ok());
            Some(end.context("`--until`: no time is so far away")?)
        }
        None => text.parse().ok(),
    };
    match end.and_then(|end| Timestamp::from_second(end.as_second()).ok()) {
        Some(end) if end > now => Ok(end),
        Some(_) => bail!("`--until`: that time is over"),
        None => bail!(
            "`--until` is a time with a zone, as in 2027-06-30T00:00:00Z, or a length of time, as in 7d"
        ),
    }
}
