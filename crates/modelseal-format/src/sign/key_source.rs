//! Sources of keys.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use etcetera::{AppStrategy, AppStrategyArgs};

use super::{KeyError, Password, PublicKey};
use crate::digest::{self, Symlinks, open_regular};

/// Maximum length of a key in bytes.
const MAXIMUM: u64 = 64 << 10;

/// The value of `--key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    File(PathBuf),
    /// `env://NAME`: the variable's value is the key itself.
    Variable(String),
    /// `-`
    StandardInput,
    /// `local`: this user's own key.
    Local,
}

impl From<&str> for KeySource {
    fn from(text: &str) -> Self {
        match text {
            "-" => KeySource::StandardInput,
            "local" => KeySource::Local,
            _ => match text.strip_prefix("env://") {
                Some(name) => KeySource::Variable(name.to_string()),
                None => KeySource::File(PathBuf::from(text)),
            },
        }
    }
}

impl KeySource {
    /// The name of the key in messages.
    pub fn shown(&self) -> String {
        match self {
            KeySource::File(path) => crate::display::path(path),
            KeySource::Variable(name) => format!("`env://{}`", crate::display::Escaped(name)),
            KeySource::StandardInput => "on standard input".to_string(),
            KeySource::Local => "`local`".to_string(),
        }
    }

    /// The short name of a signer in a report: the file name without its extension.
    pub fn name(&self) -> String {
        match self {
            KeySource::File(path) => {
                path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
            }
            KeySource::Variable(name) => name.clone(),
            KeySource::StandardInput => "stdin".to_string(),
            KeySource::Local => "local".to_string(),
        }
    }
}

/// The path of the user's own private key, in the platform's configuration directory. The file may not exist.
///
/// # Errors
/// [`KeyError::NoHome`].
pub fn local_key_path() -> Result<PathBuf, KeyError> {
    Ok(directories()?.config_dir().join("local.key"))
}

/// The platform's cache directory for this user. It is for data that modelseal can recreate.
///
/// # Errors
/// [`KeyError::NoHome`].
pub fn local_cache_directory() -> Result<PathBuf, KeyError> {
    within_home(directories()?.cache_dir())
}

/// Refuses a directory whose home directory does not exist. Otherwise root could create a home in the root directory.
/// With this check, no command can.
pub(super) fn within_home(directory: PathBuf) -> Result<PathBuf, KeyError> {
    match directory.ancestors().find(|above| above.exists()).and_then(Path::parent) {
        Some(_) => Ok(directory),
        None => Err(KeyError::NoHome),
    }
}

pub(super) fn directories() -> Result<impl AppStrategy, KeyError> {
    etcetera::app_strategy::choose_native_strategy(AppStrategyArgs {
        top_level_domain: "dev".to_string(),
        author: "modelseal".to_string(),
        app_name: "modelseal".to_string(),
    })
    .map_err(|_| KeyError::NoHome)
}

/// Reads a public key.
///
/// # Errors
/// [`KeyError`].
pub fn read_public_key(source: &KeySource) -> Result<PublicKey, KeyError> {
    let shown = source.shown();
    let text = match source {
        KeySource::Local => read_file(&local_key_path()?.with_extension("pub"), &shown, false)?,
        KeySource::File(path) => read_file(path, &shown, false)?,
        other => read_other(other, &shown)?,
    };
    PublicKey::from_pem(&text, &shown)
}

pub(super) fn read_file(path: &Path, shown: &str, private: bool) -> Result<Password, KeyError> {
    read_text(open_file(path, shown, private)?, shown)
}

pub(super) fn open_file(path: &Path, shown: &str, private: bool) -> Result<fs::File, KeyError> {
    let key = || shown.to_string();
    let (file, metadata) = open_regular(path, Symlinks::Follow).map_err(|error| match error {
        digest::Error::NotRegular { kind, .. } => KeyError::NotRegular { key: key(), kind },
        digest::Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            KeyError::Missing(key())
        }
        digest::Error::Io { source, .. } => KeyError::Read { key: key(), source },
        other => KeyError::Read { key: key(), source: io::Error::other(other) },
    })?;
    let mode = metadata.mode() & 0o7777;
    if private && mode & 0o077 != 0 {
        // A public key may be readable by others, so here the error is that it is not a private key.
        let mut text = String::new();
        let _ = file.take(MAXIMUM).read_to_string(&mut text);
        let found = if text.contains("-----BEGIN PUBLIC KEY") {
            Some("a public key")
        } else if text.contains("-----BEGIN CERTIFICATE") {
            Some("a certificate")
        } else {
            None
        };
        return Err(match found {
            Some(found) => KeyError::Kind { key: key(), found: found.into(), expected: "a private key" },
            None => KeyError::Exposed { key: key(), mode },
        });
    }
    Ok(file)
}

pub(super) fn read_other(source: &KeySource, shown: &str) -> Result<Password, KeyError> {
    match source {
        KeySource::Variable(name) => {
            std::env::var(name).map(Password::new).map_err(|_| KeyError::Variable(name.clone()))
        }
        _ => read_text(io::stdin(), shown),
    }
}

fn read_text(source: impl Read, shown: &str) -> Result<Password, KeyError> {
    let mut text = Password::default();
    let read = source.take(MAXIMUM + 1).read_to_string(&mut text);
    let malformed = |reason: &str| KeyError::Malformed { key: shown.to_string(), reason: reason.to_string() };
    match read {
        Ok(length) if length as u64 > MAXIMUM => Err(malformed("it is too long for a key")),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(malformed("it is not text")),
        Err(source) => Err(KeyError::Read { key: shown.to_string(), source }),
    }
}
