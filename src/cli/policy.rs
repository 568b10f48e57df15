use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::Talk;
use super::keys::trusted_keys;
use super::output::print;
use super::verify::target;
use crate::policy::{Policy, Role, Signer};
use crate::sign::{KeySource, read_public_key};
use crate::verify::{Target, TrustedKey};

mod init;

/// Write a policy, or look at one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal policy init wine-1.0.0.tar --key keys/ci.pub     a strict gate.toml from a good release
  modelseal policy check gate.toml                           what it demands, and of whom
  modelseal verify wine-1.1.0.tar --policy gate.toml --previous wine-1.0.0.tar")]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::Arguments),
    Check(CheckArguments),
}

/// Read a policy as verify would, and say what it demands
#[derive(Debug, Args)]
struct CheckArguments {
    #[arg(value_name = "FILE", default_value = "gate.toml")]
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments, talk: Talk) -> anyhow::Result<u8> {
    match &arguments.verb {
        Verb::Init(arguments) => init::run(arguments, talk),
        Verb::Check(arguments) => check(arguments),
    }
}

fn check(arguments: &CheckArguments) -> anyhow::Result<u8> {
    let now = Timestamp::now();
    let policy = Policy::load(&arguments.file)?;
    let signers = signers(&policy, now)?;
    let mut lines = vec![format!("{} can be used", crate::text::path(&arguments.file))];
    lines.extend(policy.demands().into_iter().map(|demand| format!("  demands  {demand}")));
    for (signer, trusted) in policy.tables.signer.iter().zip(&signers) {
        let roles: Vec<&str> = signer.may.get_ref().iter().map(|role| role.name()).collect();
        let ended = match expired(signer, now) {
            Some(reason) => format!("; {reason}"),
            None => String::new(),
        };
        lines.push(format!("  signer   {}, may {}{ended}", trusted.name, roles.join(", ")));
    }
    if signers.is_empty() {
        lines.push("  signer   none: `--key` has to name one".to_string());
    }
    for waiver in &policy.tables.waiver {
        let state = if waiver.until < now { "ended" } else { "until" };
        let reason = crate::text::Escaped(waiver.reason.get_ref()).to_string();
        lines.push(format!("  waived   {} {state} {}: {reason}", waiver.check.get_ref(), waiver.until));
    }
    print(&(lines.join("\n") + "\n"))?;
    Ok(0)
}

/// The policy, if one is named, and the keys that are trusted: those of its signers, or those of the caller.
pub(super) fn trusted(
    path: Option<&Path>,
    given: &[String],
    now: Timestamp,
) -> anyhow::Result<(Option<Policy>, Vec<TrustedKey>)> {
    match path {
        None => Ok((None, trusted_keys(given)?)),
        Some(path) => trusted_by(path, given, now).map(|(policy, keys)| (Some(policy), keys)),
    }
}

/// A policy, and the keys that are trusted: those of its signers, or where it names none those of the caller.
pub(super) fn trusted_by(
    path: &Path,
    given: &[String],
    now: Timestamp,
) -> anyhow::Result<(Policy, Vec<TrustedKey>)> {
    let policy = Policy::load(path)?;
    let signers = signers(&policy, now)?;
    match (signers.is_empty(), given.is_empty()) {
        (false, false) => {
            bail!("`--key` and the signers of {} cannot both say who is trusted", crate::text::path(path))
        }
        (false, true) => Ok((policy, signers)),
        (true, _) => Ok((policy, trusted_keys(given)?)),
    }
}

/// What `--previous` names. Standard input holds the release itself.
pub(super) fn previous(path: Option<&Path>) -> anyhow::Result<Option<Target>> {
    match path.map(target) {
        Some(Target::StandardInput) => bail!("`--previous` cannot be read from standard input"),
        other => Ok(other),
    }
}

/// The keys of a policy's signers, each with what it may do now.
fn signers(policy: &Policy, now: Timestamp) -> anyhow::Result<Vec<TrustedKey>> {
    let mut keys: Vec<TrustedKey> = Vec::new();
    for signer in &policy.tables.signer {
        let path = policy.directory().join(signer.key.get_ref());
        let key = read_public_key(&KeySource::File(path))?;
        if let Some(other) = keys.iter().find(|other| other.key == key) {
            let message = format!("the signer `{}` has this key, too: one key is one signer", other.name);
            return Err(policy.mistake(signer.key.span(), message).into());
        }
        let has_role = |role: Role| match signer.may.get_ref().contains(&role) {
            true => Ok(()),
            false => Err(format!("the policy does not say that it may {}", role.name())),
        };
        let may = |role: Role| expired(signer, now).map_or_else(|| has_role(role), Err);
        let name = signer.name.get_ref().clone();
        keys.push(TrustedKey {
            shown: name.clone(),
            name,
            key,
            may_build: may(Role::Build),
            may_have_built: has_role(Role::Build),
            may_reproduce: may(Role::Reproduce),
        });
    }
    Ok(keys)
}

/// Without a trusted time of signing, what counts is now.
fn expired(signer: &Signer, now: Timestamp) -> Option<String> {
    signer.not_after.filter(|end| *end < now).map(|end| format!("its time ended at {end}"))
}
