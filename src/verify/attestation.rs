//! Statements about a release that lie beside it. They can only add: none is ever needed to find that
//! something is wrong.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Error, Target, Verification};
use crate::digest::{Symlinks, open_regular};
use crate::manifest::{Origin, Reproduction, Rung};
use crate::release::Seal;
use crate::report::{Check, Signer, Status};
use crate::sign::read_bundle;
use crate::text::name;

/// What the names of statements end in.
const ENDING: &str = ".sigstore.json";

/// More statements than this are not looked at.
const MOST: usize = 64;

/// No statement is longer than this, nor are all of them together than 64 MiB.
const LONGEST: u64 = 1 << 20;

const ID: &str = "attestation";

/// Reads the statements beside the target and those that the caller named, and lets them add to the report.
pub(super) fn check(verification: &mut Verification<'_>, seal: &Seal) -> Result<(), Error> {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let named: Vec<PathBuf> = verification.options.attestations.iter().map(absolute).collect();
    let beside = beside(verification.target);
    let more = beside.len().saturating_sub(MOST);
    if more > 0 {
        verification.not_reached(&format!("{more} more statements beside the release"));
    }
    let beside = beside.into_iter().take(MOST).filter(|path| !named.contains(path)).map(|path| (path, false));
    let all: Vec<(PathBuf, bool)> = named.iter().map(|path| (path.clone(), true)).chain(beside).collect();
    for (path, is_named) in all {
        if is_named && path.symlink_metadata().is_err() {
            return Err(Error::Missing(path));
        }
        let shown = path.to_string_lossy().into_owned();
        match judge(verification, seal, &path) {
            Ok((check, reproduced)) => {
                verification.add(check);
                if let Some((signer, message)) = reproduced {
                    accept(verification, signer, &message);
                }
            }
            Err(reason) => {
                let message = format!("{} does not count: {reason}", name(&file_name(&path)));
                let status = if is_named { Status::Warn } else { Status::Skip };
                verification.add(Check::new(ID, status, message).path(shown));
            }
        }
    }
    Ok(())
}

/// Who rebuilt the release, and how the origin reads then.
type Reproduced = (Signer, String);

/// A statement that counts; or why it does not.
fn judge(
    verification: &Verification<'_>,
    seal: &Seal,
    path: &Path,
) -> Result<(Check, Option<Reproduced>), String> {
    let bundle = read_bundle(&read(path)?).map_err(|error| error.to_string())?;
    let keys = verification.options.keys;
    let signer = keys.iter().find(|trusted| trusted.key.verify(&bundle.payload, &bundle.signature).is_ok());
    let Some(signer) = signer.filter(|signer| signer.key.hint() == bundle.hint) else {
        return Err("none of the trusted keys signed it".to_string());
    };
    if let Err(reason) = &signer.may_reproduce {
        return Err(format!("its signer, {}, does not count: {reason}", signer.shown));
    }
    let statement = Reproduction::parse(&bundle.payload).map_err(|error| error.to_string())?;
    if statement.release() != seal.release {
        return Err("it is about another release".to_string());
    }
    if verification.accepted.is_some_and(|builder| builder.key == signer.key) {
        return Err("the builder signed it, and cannot vouch for itself".to_string());
    }
    let sealed = seal.manifest.internal().origin;
    if sealed == Origin::Adopted {
        return Err("the artifact was adopted: there is nothing to rebuild it with".to_string());
    }
    let level = statement.level();
    if let Some(policy) = verification.options.policy {
        let weakest = policy.tables.reproduced_level.unwrap_or(Rung::R2);
        if level > weakest {
            let (found, weakest) = (level.name(), weakest.name());
            return Err(format!("it was rebuilt as {found}, and the policy demands {weakest}"));
        }
    }
    let message = format!("rebuilt as {} by {}", level.name(), signer.shown);
    let origin = format!("reproduced as {} by {}; sealed as {}", level.name(), signer.shown, sealed.name());
    let path = path.to_string_lossy().into_owned();
    let check = Check::pass(ID, message).path(path);
    Ok((check, Some((Signer { key: signer.key.hint(), name: signer.name.clone() }, origin))))
}

fn accept(verification: &mut Verification<'_>, signer: Signer, message: &str) {
    let report = &mut verification.report;
    let is_first = report.origin.replace(Origin::Reproduced) != Some(Origin::Reproduced);
    // Several may have rebuilt it: the first is named here, and each has a check of its own.
    if is_first && let Some(check) = report.checks.iter_mut().find(|check| check.id == "lineage.origin") {
        check.message = message.to_string();
    }
    if !report.signers.contains(&signer) {
        report.signers.push(signer);
    }
}

/// Files whose names begin with the target's and end like a statement's, in byte order.
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
