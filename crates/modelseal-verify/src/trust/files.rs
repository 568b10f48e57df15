//! Reads the files with what the caller trusts: certificates of authorities, and Sigstore trusted roots.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Authority, IdentityTrust, Pattern, TimeTrust, TrustError};
use modelseal_format::digest::{Symlinks, open_regular};

/// Maximum length, in bytes, of a file of certificates or a trusted root.
const LONGEST: u64 = 4 << 20;

impl Authority {
    /// Reads certificates from files, as [`Authority::read`] does from texts.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn open(paths: &[PathBuf]) -> Result<Self, TrustError> {
        let read = |path: &PathBuf| Ok((modelseal_format::display::path(path), read_text(path)?));
        Self::read(&paths.iter().map(read).collect::<Result<Vec<_>, TrustError>>()?)
    }
}

impl TimeTrust {
    /// Reads the timestamp authorities of a trusted root.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn open(root: &Path) -> Result<Self, TrustError> {
        Self::new(&read_text(root)?, &modelseal_format::display::path(root))
    }
}

impl IdentityTrust {
    /// Trusts these identities if the trusted root in a file vouches for them. Without a file, see
    /// [`IdentityTrust::new`].
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn open(identity: Pattern, issuer: &str, root: Option<&Path>) -> Result<Self, TrustError> {
        let Some(path) = root else { return Self::new(identity, issuer, None) };
        Self::new(identity, issuer, Some((&read_text(path)?, &modelseal_format::display::path(path))))
    }
}

/// Reads the text of a file of certificates or of a trusted root.
///
/// # Errors
/// [`TrustError`]. Only a regular file is read, and no more than 4 MiB.
pub fn read_text(path: &Path) -> Result<String, TrustError> {
    let (file, _) = open_regular(path, Symlinks::Follow)?;
    let mut text = String::new();
    let read = file.take(LONGEST + 1).read_to_string(&mut text);
    read.map_err(|source| TrustError::Read { path: path.to_path_buf(), source })?;
    match text.len() as u64 > LONGEST {
        true => Err(TrustError::TooLong(path.to_path_buf())),
        false => Ok(text),
    }
}
