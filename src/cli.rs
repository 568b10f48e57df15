//! The command line: one file per subcommand.

mod arguments;
mod build;
mod cache;
mod completions;
mod confining;
mod countersign;
mod diff;
mod drill;
mod error;
mod hints;
mod init;
mod keygen;
mod keys;
mod notes;
mod output;
mod outside;
mod policy;
mod probe;
mod progress;
mod projects;
mod reproduce;
mod rollback;
mod running;
mod show;
mod sign;
mod signals;
mod signer;
mod signing;
mod statement;
mod targets;
mod trust_args;
mod unpack;
mod verify;
mod wrap;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reproducible machine-learning model builds: hash the inputs, sign the lineage, verify what ships.
#[derive(Debug, Parser)]
#[command(
    name = "modelseal",
    version,
    propagate_version = false,
    max_term_width = 100,
    after_help = "\
Examples:
  modelseal init                                      write a recipe for this project
  modelseal build                                     seal the model: dist/NAME-VERSION.tar
  modelseal verify dist/wine-1.0.0.tar --key local    check it before it ships
  modelseal unpack wine-1.0.0.tar -o model --key ci.pub
  modelseal policy init wine-1.0.0.tar --key ci.pub   write a strict policy from a good release
  modelseal drill wine-1.0.0.tar --policy gate.toml   see which faults the policy misses
  modelseal reproduce wine-1.0.0.tar --key ci.pub     rebuild it and compare the result
  modelseal diff wine-1.0.0.tar wine-1.1.0.tar        show what changed

Exit codes: 0 pass; 1 fail; 2 could not run; 3 inconclusive. Only 0 means yes."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print only the result and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Print more detail
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    verbose: bool,
}

// Clap builds only the arguments of the subcommand that runs: building all of them took a sixth of the startup time.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    /// Write a commented recipe (modelseal.toml) for this project
    Init(init::Arguments),
    /// Create a key pair: PREFIX.key for signing, PREFIX.pub for verifying
    Keygen(keygen::Arguments),
    /// Seal a model in a signed archive, as its recipe describes
    Build(build::Arguments),
    /// Verify that a release is what a trusted signer sealed
    Verify(verify::Arguments),
    /// Verify an archive while extracting it
    Unpack(unpack::Arguments),
    /// Print the manifest of a release without verifying it
    Show(show::Arguments),
    /// Sign the files of a model that has no recipe (OpenSSF Model Signing)
    Sign(sign::Arguments),
    /// Approve a release as a second signer, in an attestation next to its archive
    Countersign(countersign::Arguments),
    /// Authorise a rollback to a release, in an attestation next to its archive
    Rollback(rollback::Arguments),
    /// Rebuild a release from its manifest and compare the result
    Reproduce(reproduce::Arguments),
    /// Show what changed between two releases, such as data, code, hyperparameters or environment
    Diff(diff::Arguments),
    /// Write or check a policy
    Policy(policy::Arguments),
    /// Run the policy's probes on a verified release and compare its answers with the sealed ones
    Probe(probe::Arguments),
    /// Test a policy: put known faults into copies of a good release and show which ones get through
    Drill(drill::Arguments),
    /// Print shell completions
    Completions(completions::Arguments),
    /// Print the version
    Version,
}

/// How much a run prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verbosity {
    quiet: bool,
    verbose: bool,
}

/// Installs a panic hook that stays silent for panics that become errors. For other panics it calls the previous hook.
fn report_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !modelseal_build::profile::panics_are_errors() {
            usual(panic);
        }
    }));
}

/// Parses the arguments, runs the subcommand and returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data on standard output. If the pipe is closed, that is not an error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    report_panics();
    // Child processes must not inherit file descriptors that this process received from its parent.
    close_fds::set_fds_cloexec(3, &[]);
    signals::watch();
    modelseal_build::run::adopt_orphans();
    let verbosity = Verbosity { quiet: cli.quiet, verbose: cli.verbose };
    let result = match cli.command {
        Command::Init(arguments) => init::run(&arguments, verbosity),
        Command::Keygen(arguments) => keygen::run(&arguments, verbosity),
        Command::Build(arguments) => build::run(&arguments, verbosity),
        Command::Verify(arguments) => verify::run(&arguments, verbosity),
        Command::Unpack(arguments) => unpack::run(&arguments, verbosity),
        Command::Show(arguments) => show::run(&arguments),
        Command::Sign(arguments) => sign::run(&arguments, verbosity),
        Command::Countersign(arguments) => countersign::run(&arguments, verbosity),
        Command::Rollback(arguments) => rollback::run(&arguments, verbosity),
        Command::Reproduce(arguments) => reproduce::run(&arguments, verbosity),
        Command::Diff(arguments) => diff::run(&arguments, verbosity),
        Command::Policy(arguments) => policy::run(&arguments, verbosity),
        Command::Probe(arguments) => probe::run(&arguments, verbosity),
        Command::Drill(arguments) => drill::run(&arguments, verbosity),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Version => output::print(concat!("modelseal ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| 0),
    };
    if let Some(code) = signals::exit_code() {
        return ExitCode::from(code);
    }
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => error::report(&error, verbosity),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn cli_definition_passes_the_debug_assertions_of_clap() {
        super::Cli::command().debug_assert();
    }

    /// A doc comment on the argument struct of a subcommand would replace this description, and the help would begin
    /// with the wrong text.
    #[test]
    fn help_of_a_subcommand_has_the_same_description_as_the_list() {
        let listed = super::Cli::command();
        let mut built = listed.clone();
        built.build();
        for verb in listed.get_subcommands() {
            let name = verb.get_name();
            let about = built.find_subcommand(name).and_then(|verb| verb.get_about());
            assert_eq!(verb.get_about(), about, "{name}");
            assert!(about.is_some(), "{name}");
        }
    }
}
