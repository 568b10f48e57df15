//! The command line: one file a verb.

mod arguments;
mod build;
mod cache;
mod completions;
mod countersign;
mod diff;
mod drill;
mod failure;
mod init;
mod keygen;
mod keys;
mod output;
mod policy;
mod probe;
mod progress;
mod reproduce;
mod rollback;
mod running;
mod show;
mod sign;
mod signals;
mod signing;
mod statement;
mod trusting;
mod unpack;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reproducible machine-learning model builds: hash the inputs, sign the lineage, verify what ships.
#[derive(Debug, Parser)]
#[command(
    name = "modelseal",
    version,
    propagate_version = false,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "\
Examples:
  modelseal init                                      write a recipe for this project
  modelseal build                                     seal the model: dist/NAME-VERSION.tar
  modelseal verify dist/wine-1.0.0.tar --key local    decide whether it may ship
  modelseal unpack wine-1.0.0.tar -o model --key ci.pub
  modelseal policy init wine-1.0.0.tar --key ci.pub   write a strict policy from a good release
  modelseal drill wine-1.0.0.tar --policy gate.toml   see what it would let through
  modelseal reproduce wine-1.0.0.tar --key ci.pub     rebuild it, and compare
  modelseal diff wine-1.0.0.tar wine-1.1.0.tar        what changed

Exit codes: 0 pass; 1 fail; 2 could not run; 3 inconclusive. Only 0 means yes."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say only the result, and what went wrong
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Say more
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Arguments),
    Keygen(keygen::Arguments),
    Build(build::Arguments),
    Verify(verify::Arguments),
    Unpack(unpack::Arguments),
    Show(show::Arguments),
    Sign(sign::Arguments),
    Countersign(countersign::Arguments),
    Rollback(rollback::Arguments),
    Reproduce(reproduce::Arguments),
    Diff(diff::Arguments),
    Policy(policy::Arguments),
    Probe(probe::Arguments),
    Drill(drill::Arguments),
    Completions(completions::Arguments),
}

/// How talkative the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Talk {
    quiet: bool,
    verbose: bool,
}

/// As usual, but for panics that become errors.
fn report_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !crate::profile::panics_are_errors() {
            usual(panic);
        }
    }));
}

/// Parses the arguments, runs the verb and returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data on standard output; a closed pipe there is nobody's mistake.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    report_panics();
    signals::watch();
    crate::run::adopt_orphans();
    let talk = Talk { quiet: cli.quiet, verbose: cli.verbose };
    let result = match cli.command {
        Command::Init(arguments) => init::run(&arguments, talk),
        Command::Keygen(arguments) => keygen::run(&arguments, talk),
        Command::Build(arguments) => build::run(&arguments, talk),
        Command::Verify(arguments) => verify::run(&arguments, talk),
        Command::Unpack(arguments) => unpack::run(&arguments, talk),
        Command::Show(arguments) => show::run(&arguments),
        Command::Sign(arguments) => sign::run(&arguments, talk),
        Command::Countersign(arguments) => countersign::run(&arguments, talk),
        Command::Rollback(arguments) => rollback::run(&arguments, talk),
        Command::Reproduce(arguments) => reproduce::run(&arguments, talk),
        Command::Diff(arguments) => diff::run(&arguments, talk),
        Command::Policy(arguments) => policy::run(&arguments, talk),
        Command::Probe(arguments) => probe::run(&arguments, talk),
        Command::Drill(arguments) => drill::run(&arguments, talk),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    if let Some(code) = signals::exit_code() {
        return ExitCode::from(code);
    }
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => failure::report(&error, talk),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
