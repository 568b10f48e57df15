//! Keys as the command line names them.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use super::Talk;
use super::output::{say, warn};
use crate::sign::{
    KeyAlgorithm, KeyError, KeySource, Password, PrivateKey, check_private_key, local_key_path,
    read_private_key, read_public_key, write_key_pair,
};
use crate::verify::TrustedKey;

/// Where the password of a private key comes from: the file, the variable, a prompt.
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
    rpassword::prompt_password(format!("password of the key {shown}: ")).map(|text| Some(Password::new(text)))
}

/// The first line, without its line end.
pub(super) fn read_password_file(path: &Path) -> io::Result<Password> {
    let text = Password::new(std::fs::read_to_string(path).map_err(|error| {
        io::Error::new(error.kind(), format!("the password file {}: {error}", crate::text::path(path)))
    })?);
    Ok(Password::new(text.lines().next().unwrap_or_default().to_string()))
}

/// A private key that is not opened yet.
pub(super) struct SigningKey {
    source: KeySource,
    password_file: Option<PathBuf>,
    pub(super) name: String,
    /// What to write after `verify … --key`.
    pub(super) verify_with: String,
}

/// Finds the key of `--key`; without it the user's own, which is made on first use. A key that is not there,
/// or that others can read, is an error now: not when a command has run for hours.
pub(super) fn signing_key(
    given: Option<&str>,
    password_file: Option<&Path>,
    talk: Talk,
) -> Result<SigningKey, KeyError> {
    let source = KeySource::from(given.unwrap_or("local"));
    if source == KeySource::Local {
        if given.is_none() && std::env::var_os("CI").is_some() {
            warn(
                talk,
                "this looks like a CI job (CI is set) and no `--key` was given: the key that is made here dies \
                 with the job, and then nobody can verify what it signed",
            );
        }
        make_local_key(talk)?;
    }
    check_private_key(&source)?;
    let verify_with = match &source {
        KeySource::Local => "local".to_string(),
        KeySource::File(path) if path.with_extension("pub").is_file() => {
            path.with_extension("pub").to_string_lossy().into_owned()
        }
        _ => "KEY.pub".to_string(),
    };
    let name = source.name();
    Ok(SigningKey { source, password_file: password_file.map(Path::to_path_buf), name, verify_with })
}

impl SigningKey {
    /// Reads the key, and asks for its password where it needs one.
    pub(super) fn open(&self) -> Result<PrivateKey, KeyError> {
        let mut ask = |shown: &str| password(self.password_file.as_deref(), shown);
        read_private_key(&self.source, &mut ask)
    }

    /// The variable that holds the key.
    pub(super) fn variable(&self) -> Option<&str> {
        match &self.source {
            KeySource::Variable(name) => Some(name),
            _ => None,
        }
    }

    /// What a command must not see: the key's file, its password's, and the directory of the user's own key.
    pub(super) fn hidden(&self) -> Vec<PathBuf> {
        let file = match &self.source {
            KeySource::File(path) => Some(path.clone()),
            _ => None,
        };
        let files = file.into_iter().chain(self.password_file.clone());
        files.filter_map(|path| path.canonicalize().ok()).chain(own_key()).collect()
    }
}

/// The directory of the user's own key, which no command must see, whoever signs.
pub(super) fn own_key() -> Vec<PathBuf> {
    let path = local_key_path().ok();
    path.and_then(|path| path.parent()?.canonicalize().ok()).into_iter().collect()
}

/// Makes the user's own key if there is none, and says so.
fn make_local_key(talk: Talk) -> Result<(), KeyError> {
    let path = local_key_path()?;
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let key = PrivateKey::generate(KeyAlgorithm::P256)?;
    match write_key_pair(&key, &path, &path.with_extension("pub"), None) {
        // Another build was faster: its key is as good.
        Err(KeyError::Exists(existing)) if existing == path => return Ok(()),
        other => other?,
    }
    say(
        talk,
        &format!(
            "made a key for you: {}\n  give others {} to verify with",
            crate::text::path(&path),
            crate::text::path(&path.with_extension("pub"))
        ),
    );
    Ok(())
}

/// Reads the keys that are trusted to have signed.
pub(super) fn trusted_keys(given: &[String]) -> Result<Vec<TrustedKey>, KeyError> {
    let mut keys: Vec<TrustedKey> = Vec::new();
    for text in given {
        let source = KeySource::from(text.as_str());
        let key = read_public_key(&source).map_err(|error| match error {
            KeyError::Missing(_) if source == KeySource::Local => {
                KeyError::Missing("`local`, which the first `modelseal build` makes,".to_string())
            }
            other => other,
        })?;
        if keys.iter().all(|other| other.key != key) {
            let shown = source.shown().trim_matches('`').to_string();
            keys.push(TrustedKey::new(source.name(), shown, key));
        }
    }
    Ok(keys)
}

/// `PREFIX.key` and `PREFIX.pub`.
pub(super) fn key_paths(prefix: &Path) -> (PathBuf, PathBuf) {
    let with = |ending: &str| {
        let mut path = prefix.as_os_str().to_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    (with(".key"), with(".pub"))
}
