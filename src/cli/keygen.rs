use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Verbosity;
use super::confining::check_written_to;
use super::keys::{key_paths, read_password_file};
use super::output::{print, say, warn};
use modelseal_build::inputs::WorkTree;
use modelseal_format::sign::{KeyAlgorithm, Password, PrivateKey, write_key_pair};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal keygen -o ~/keys/ci
  modelseal keygen -o ~/keys/release --algorithm p384 --password-file password.txt

Only the owner can read the private key. It is encrypted if a password is given (--password-file, or the \
variable MODELSEAL_PASSWORD). Keys are never overwritten.")]
pub(super) struct Arguments {
    /// Write the keys to PREFIX.key and PREFIX.pub
    #[arg(long, short, value_name = "PREFIX", default_value = "modelseal")]
    output: PathBuf,
    /// The key algorithm; Ed25519 keys cannot make a `model.sig`, which supports only NIST curves
    #[arg(long, value_enum, default_value_t)]
    algorithm: Algorithm,
    /// Encrypt the private key with the first line of this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Algorithm {
    #[default]
    P256,
    P384,
    P521,
    Ed25519,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    let password = match &arguments.password_file {
        Some(path) => Some(read_password_file(path)?),
        None => std::env::var("MODELSEAL_PASSWORD").ok().map(Password::new),
    };
    if password.as_ref().is_some_and(|password| password.is_empty()) {
        anyhow::bail!("the password is empty");
    }
    let key = PrivateKey::generate(match arguments.algorithm {
        Algorithm::P256 => KeyAlgorithm::P256,
        Algorithm::P384 => KeyAlgorithm::P384,
        Algorithm::P521 => KeyAlgorithm::P521,
        Algorithm::Ed25519 => KeyAlgorithm::Ed25519,
    })?;
    let (private, public) = key_paths(&arguments.output);
    check_written_to(&private)?;
    write_key_pair(&key, &private, &public, password.as_ref())?;
    let directory =
        private.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if WorkTree::discover(directory).is_ok() {
        let message = "commands of this project can read it in any build with another key; keep it elsewhere";
        warn(
            verbosity,
            &format!("{} is in a git work tree: {message}", modelseal_format::display::path(&private)),
        );
    }
    let kind = if password.is_some() { "encrypted" } else { "not encrypted" };
    say(
        verbosity,
        &format!(
            "created {} ({kind}; keep it secret) and {}",
            modelseal_format::display::path(&private),
            modelseal_format::display::path(&public)
        ),
    );
    print(&format!("sha256:{}\n", key.public_key().hint()))?;
    Ok(0)
}
