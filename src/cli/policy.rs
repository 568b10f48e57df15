use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::Verbosity;
use super::output::show;
use modelseal_verify::policy::Policy;
use modelseal_verify::trust::Trust;

mod init;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal policy init wine-1.0.0.tar --key keys/ci.pub     write a strict gate.toml from a good release
  modelseal policy check gate.toml                           check it, and show its rules and signers
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

/// Check that a policy is valid, and show its rules and signers
#[derive(Debug, Args)]
struct CheckArguments {
    /// The policy
    #[arg(value_name = "FILE", default_value = "gate.toml")]
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    match &arguments.verb {
        Verb::Init(arguments) => init::run(arguments, verbosity),
        Verb::Check(arguments) => check(arguments),
    }
}

fn check(arguments: &CheckArguments) -> anyhow::Result<u8> {
    let now = Timestamp::now();
    let policy = Policy::load(&arguments.file)?;
    let signers = policy.signers()?;
    let mut lines = vec![format!("{} is valid", modelseal_format::display::path(&arguments.file))];
    lines.extend(policy.demands().into_iter().map(|demand| format!("  demands  {demand}")));
    for (signer, trusted) in policy.signer.iter().zip(&signers) {
        let roles: Vec<&str> = signer.may.get_ref().iter().map(|role| role.name()).collect();
        let ended = trusted.rights.valid(now).err().map(|reason| format!("; {reason}")).unwrap_or_default();
        let who = match &trusted.trust {
            Trust::Key(_) => trusted.name.clone(),
            _ => format!("{}: {}", trusted.name, trusted.demanded()),
        };
        lines.push(format!("  signer   {who}, may {}{ended}", roles.join(", ")));
    }
    if signers.is_empty() {
        lines.push("  signer   none: name one with `--key`".to_string());
    }
    for waiver in &policy.waiver {
        let state = if waiver.until < now { "ended" } else { "until" };
        let reason = modelseal_format::display::Escaped(waiver.reason.get_ref()).to_string();
        lines.push(format!("  waived   {} {state} {}: {reason}", waiver.check.get_ref(), waiver.until));
    }
    show(&(lines.join("\n") + "\n"))?;
    Ok(0)
}
