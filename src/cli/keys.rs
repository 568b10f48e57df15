//! Keys, as command-line arguments name them.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use super::Verbosity;
use super::output::say;
use modelseal_format::sign::{
    KeyAlgorithm, KeyError, KeySource, Password, PrivateKey, local_key_path, read_public_key, write_key_pair,
};
use modelseal_verify::trust::{Trust, TrustedSigner};

/// Reads the password of a private key from the file, the environment variable, or a prompt.
pub(super) fn password(file: Option<&Path>, shown: &str) -> io::Result<Option<Password>> {
    if let Some(path) = file {
        return read_password_file(path).map(Some);
    }
    if let Ok(password) = std::env::var("MODELSEAL_PASSWORD") {
        return Ok(Some(Password::new(password)));
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    rpassword::prompt_password(format!("password for the key {shown}: "))
        .map(|text| Some(Password::new(text)))
}

/// Reads a password: the first line of the file, without its line ending.
pub(super) fn read_password_file(path: &Path) -> io::Result<Password> {
    let text = Password::new(std::fs::read_to_string(path).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot read the password file {}: {error}", modelseal_format::display::path(path)),
        )
    })?);
    Ok(Password::new(text.lines().next().unwrap_or_default().to_string()))
}

/// Creates the user's own key if it does not exist, and says so.
pub(super) fn make_local_key(verbosity: Verbosity) -> Result<(), KeyError> {
    let path = local_key_path()?;
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let key = PrivateKey::generate(KeyAlgorithm::P256)?;
    match write_key_pair(&key, &path, &path.with_extension("pub"), None) {
        // A concurrent build created the key first. That key serves as well.
        Err(KeyError::Exists(existing)) if existing == path => return Ok(()),
        other => other?,
    }
    say(
        verbosity,
        &format!(
            "created your own key: {}\n  verifiers need the public key: {}",
            modelseal_format::display::path(&path),
            modelseal_format::display::path(&path.with_extension("pub"))
        ),
    );
    Ok(())
}

/// Reads the public keys that the caller trusts.
pub(super) fn trusted_keys(given: &[String]) -> Result<Vec<TrustedSigner>, KeyError> {
    let mut keys: Vec<TrustedSigner> = Vec::new();
    for text in given {
        let source = KeySource::from(text.as_str());
        let key = read_public_key(&source).map_err(|error| match error {
            KeyError::Missing(_) if source == KeySource::Local => {
                KeyError::Missing("`local`, which the first `modelseal build` creates,".to_string())
            }
            other => other,
        })?;
        let is_known = |other: &TrustedSigner| matches!(&other.trust, Trust::Key(known) if *known == key);
        if !keys.iter().any(is_known) {
            let shown = source.shown().trim_matches('`').to_string();
            keys.push(TrustedSigner::key(source.name(), shown, key));
        }
    }
    Ok(keys)
}

/// The paths `PREFIX.key` and `PREFIX.pub`.
pub(super) fn key_paths(prefix: &Path) -> (PathBuf, PathBuf) {
    let with = |ending: &str| {
        let mut path = prefix.as_os_str().to_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    (with(".key"), with(".pub"))
}
