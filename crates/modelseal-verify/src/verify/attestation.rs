//! Attestations about a release, in files next to it. They can only add to the result: no check needs one to find that
//! something is wrong.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::rollback::ApprovedRollback;
use super::{Error, Target, Verification};
use crate::report::id::{ATTESTATION, ORIGIN};
use crate::report::{Check, Signer, Status};
use crate::trust::{self, Accepted, Role};
use modelseal_format::digest::{Symlinks, open_regular};
use modelseal_format::display::{Escaped, name};
use modelseal_format::manifest::{Attestation, Claim, Origin, Rung};
use modelseal_format::release::Seal;
use modelseal_format::sign::read_bundle;

/// The end of every attestation's file name.
const ENDING: &str = ".sigstore.json";

/// Maximum number of attestations next to the target that are examined.
const MOST: usize = 64;

/// Maximum length of an attestation in bytes. The attestations next to the target are therefore at most 64 MiB
/// together.
const LONGEST: u64 = 1 << 20;

/// Reads the attestations next to the target and those that the caller named, and adds what they state to the report.
pub(super) fn check(verification: &mut Verification<'_>, seal: &Seal) -> Result<(), Error> {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let named: Vec<PathBuf> = verification.options.attestations.iter().map(absolute).collect();
    let beside = beside(verification.target);
    let more = beside.len().saturating_sub(MOST);
    if more > 0 {
        verification.not_reached(&format!("{more} more attestations next to the release"));
    }
    let beside = beside.into_iter().take(MOST).filter(|path| !named.contains(path)).map(|path| (path, false));
    let all: Vec<(PathBuf, bool)> = named.iter().map(|path| (path.clone(), true)).chain(beside).collect();
    for (path, is_named) in all {
        if is_named && path.symlink_metadata().is_err() {
            return Err(Error::Missing(path));
        }
        let shown = path.to_string_lossy().into_owned();
        match judge(verification, seal, &path) {
            Ok((check, effect)) => {
                verification.add(check);
                add(verification, effect);
            }
            Err(reason) => {
                let message = format!("{} is not accepted: {reason}", name(&file_name(&path)));
                let status = if is_named { Status::Warn } else { Status::Skip };
                verification.add(Check::new(ATTESTATION, status, message).path(shown));
            }
        }
    }
    Ok(())
}

/// What an accepted attestation adds.
enum Effect<'a> {
    /// The signer that rebuilt the release, and the new text for the origin.
    Reproduced(Signer, String),
    Approved(Box<Accepted<'a>>),
    RolledBack(ApprovedRollback),
}

/// An accepted attestation and what it adds. The error says why it does not count.
fn judge<'a>(
    verification: &Verification<'a>,
    seal: &Seal,
    path: &Path,
) -> Result<(Check, Effect<'a>), String> {
    let bundle = read_bundle(&read(path)?).map_err(|error| error.to_string())?;
    let options = verification.options;
    let signer = trust::accept(options.signers, &bundle, &|key| bundle.verify(key), options.context.now)
        .map_err(|refusal| refusal.message)?;
    let statement = Attestation::parse(bundle.payload()).map_err(|error| error.to_string())?;
    let role = match statement.claim() {
        Claim::Reproduced(_) => Role::Reproduce,
        Claim::Approved => Role::Approve,
        Claim::RolledBack(_) => Role::Rollback,
    };
    let signer =
        signer.acting(role, options.context.now).map_err(|reason| format!("it was signed by {reason}"))?;
    if statement.release() != seal.release {
        return Err("it is for another release".to_string());
    }
    let (message, effect) = match statement.claim().clone() {
        Claim::Reproduced(level) => judge_reproduction(verification, seal, &signer, level)?,
        Claim::Approved => judge_approval(verification, signer)?,
        Claim::RolledBack(rollback) if rollback.until < options.context.now => {
            return Err(format!("its approval of a rollback expired at {}", rollback.until));
        }
        Claim::RolledBack(rollback) => {
            let (shown, reason) = (signer.shown(), Escaped(&rollback.reason).to_string());
            let message =
                format!("rollback to this release approved until {}: {reason} ({shown})", rollback.until);
            (message, Effect::RolledBack(ApprovedRollback { rollback, signer: shown }))
        }
    };
    Ok((Check::pass(ATTESTATION, message).path(path.to_string_lossy().into_owned()), effect))
}

fn judge_reproduction<'a>(
    verification: &Verification<'a>,
    seal: &Seal,
    signer: &Accepted<'a>,
    level: Rung,
) -> Result<(String, Effect<'a>), String> {
    if verification.accepted.as_ref().is_some_and(|builder| builder.is_same_as(signer)) {
        return Err("it was signed by the builder, which cannot vouch for itself".to_string());
    }
    let sealed = seal.manifest.internal().origin;
    if sealed == Origin::Adopted {
        return Err("the artifact was adopted, so it cannot be rebuilt".to_string());
    }
    if let Some(policy) = verification.options.policy {
        let weakest = policy.reproduced_level.unwrap_or(Rung::R2);
        if level > weakest {
            let (found, weakest) = (level.name(), weakest.name());
            return Err(format!("it was rebuilt as {found}, but the policy demands {weakest}"));
        }
    }
    let (level, shown) = (level.name(), signer.shown());
    let origin = format!("reproduced as {level} by {shown}; sealed as {}", sealed.name());
    Ok((format!("rebuilt as {level} by {shown}"), Effect::Reproduced(super::signer(signer), origin)))
}

/// Each signer is counted once, even with several keys.
fn judge_approval<'a>(
    verification: &Verification<'a>,
    signer: Accepted<'a>,
) -> Result<(String, Effect<'a>), String> {
    if verification.accepted.as_ref().is_some_and(|builder| builder.is_same_as(&signer)) {
        return Err("it was signed by the builder, whose signature already counts".to_string());
    }
    if verification.approvals.iter().any(|other| other.is_same_as(&signer)) {
        return Err(format!("{} has already approved", signer.shown()));
    }
    Ok((format!("approved by {}", signer.shown()), Effect::Approved(Box::new(signer))))
}

fn add<'a>(verification: &mut Verification<'a>, effect: Effect<'a>) {
    match effect {
        Effect::Reproduced(signer, message) => accept(verification, signer, &message),
        Effect::Approved(accepted) => {
            let signer = super::signer(&accepted);
            verification.approvals.push(*accepted);
            if !verification.report.signers.contains(&signer) {
                verification.report.signers.push(signer);
            }
        }
        Effect::RolledBack(rollback) => verification.rollbacks.push(rollback),
    }
}

fn accept(verification: &mut Verification<'_>, signer: Signer, message: &str) {
    let report = &mut verification.report;
    let is_first = report.origin.replace(Origin::Reproduced) != Some(Origin::Reproduced);
    // Several signers may have rebuilt it. The first one is named here, and each has its own check.
    if is_first && let Some(check) = report.checks.iter_mut().find(|check| check.id == ORIGIN) {
        check.message = message.to_string();
    }
    if !report.signers.contains(&signer) {
        report.signers.push(signer);
    }
}

/// Files whose names begin with the target's name and end as an attestation's name does, in byte order.
fn beside(target: &Target) -> Vec<PathBuf> {
    let Target::Path(path) = target else { return Vec::new() };
    let Ok(path) = std::path::absolute(path) else { return Vec::new() };
    let (Some(directory), start) = (path.parent(), format!("{}.", file_name(&path))) else {
        return Vec::new();
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_statement = |name: &str| {
        name.starts_with(&start) && name.ends_with(ENDING) && name.len() > start.len() + ENDING.len()
    };
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_statement))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let (file, metadata) = open_regular(path, Symlinks::Follow).map_err(|error| error.to_string())?;
    if metadata.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
