use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use toml::Spanned;

use super::Talk;
use super::output::print;
use super::trusting::{authority, identity, times};
use super::verify::target;
use crate::policy::{Policy, Signer};
use crate::sign::{KeySource, read_public_key};
use crate::trust::{Pattern, Trust, TrustedSigner};
use crate::verify::Target;

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
    Init(Box<init::Arguments>),
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
    let signers = signers(&policy)?;
    let mut lines = vec![format!("{} can be used", crate::text::path(&arguments.file))];
    lines.extend(policy.demands().into_iter().map(|demand| format!("  demands  {demand}")));
    for (signer, trusted) in policy.tables.signer.iter().zip(&signers) {
        let roles: Vec<&str> = signer.may.get_ref().iter().map(|role| role.name()).collect();
        let ended = trusted.rights.valid(now).err().map(|reason| format!("; {reason}")).unwrap_or_default();
        let who = match &trusted.trust {
            Trust::Key(_) => trusted.name.clone(),
            _ => format!("{}: {}", trusted.name, trusted.demanded()),
        };
        lines.push(format!("  signer   {who}, may {}{ended}", roles.join(", ")));
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

/// What `--previous` names. Standard input holds the release itself.
pub(super) fn previous(path: Option<&Path>) -> anyhow::Result<Option<Target>> {
    match path.map(target) {
        Some(Target::StandardInput) => bail!("`--previous` cannot be read from standard input"),
        other => Ok(other),
    }
}

/// A policy's signers, each with what it may do.
pub(super) fn signers(policy: &Policy) -> anyhow::Result<Vec<TrustedSigner>> {
    let mut signers: Vec<TrustedSigner> = Vec::new();
    for signer in &policy.tables.signer {
        let of = || format!("the signer {} of the policy", crate::text::name(signer.name.get_ref()));
        let trust = trust(policy, signer).with_context(of)?;
        if let Trust::Key(key) = &trust {
            let is_it = |other: &&TrustedSigner| matches!(&other.trust, Trust::Key(known) if known == key);
            if let Some(other) = signers.iter().find(is_it) {
                let message = format!("the signer `{}` has this key, too: one key is one signer", other.name);
                return Err(policy.mistake(signer.name.span(), message).into());
            }
        }
        let name = signer.name.get_ref().clone();
        signers.push(TrustedSigner { shown: name.clone(), name, trust, rights: signer.rights() });
    }
    Ok(signers)
}

/// By what a policy knows a signer.
fn trust(policy: &Policy, signer: &Signer) -> anyhow::Result<Trust> {
    let at = |path: &Spanned<String>| policy.directory().join(path.get_ref());
    if let Some(key) = &signer.key {
        return Ok(Trust::Key(read_public_key(&KeySource::File(at(key)))?));
    }
    if let Some(certificate) = &signer.certificate {
        let subject = signer.subject.as_ref().map(|subject| subject.get_ref().clone());
        let times = times(signer.trusted_root.as_ref().map(at).as_deref())?;
        let authority = authority(&[at(certificate)])?.only(subject).at_times_of(times);
        return Ok(Trust::Authority(Box::new(authority)));
    }
    let pattern = match (&signer.identity, &signer.identity_regexp) {
        (Some(identity), _) => Pattern::exact(identity.get_ref()),
        (None, regexp) => Pattern::regexp(regexp.as_ref().map_or("", |regexp| regexp.get_ref())),
    };
    let span = signer.identity_regexp.as_ref().map_or(signer.name.span(), Spanned::span);
    let pattern = pattern.map_err(|error| policy.mistake(span, error.to_string()))?;
    let issuer = signer.issuer.as_ref().map_or("", |issuer| issuer.get_ref());
    let root = signer.trusted_root.as_ref().map(at);
    Ok(Trust::Identity(Box::new(identity(pattern, issuer, root.as_deref())?)))
}
