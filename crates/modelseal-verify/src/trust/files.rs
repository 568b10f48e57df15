//! Whom the caller trusts, in files: certificates of authorities, and trusted roots of Sigstore.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Authority, IdentityTrust, Pattern, TimeTrust, TrustError};
use modelseal_format::digest::{Symlinks, open_regular};

/// No file of certificates and no trusted root is longer.
const LONGEST: u64 = 4 << 20;

impl Authority {
    /// Reads files of certificates as [`Authority::read`] reads their texts.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn open(paths: &[PathBuf]) -> Result<Self, TrustError> {
        let read = |path: &PathBuf| Ok((modelseal_format::display::path(path), read_text(path)?));
        Self::read(&paths.iter().map(read).collect::<Result<Vec<_>, TrustError>>()?)
    }
}

impl TimeTrust {
    /// The timestamp authorities of a trusted root.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn open(root: &Path) -> Result<Self, TrustError> {
        Self::new(&read_text(root)?, &modelseal_format::display::path(root))
    }
}

impl IdentityTrust {
    /// Trusts these identities as the trusted root of a file vouches for them, or without one as
    /// [`IdentityTrust::new`] says.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn open(identity: Pattern, issuer: &str, root: Option<&Path>) -> Result<Self, TrustError> {
        let Some(path) = root else { return Self::new(identity, issuer, None) };
        Self::new(identity, issuer, Some((&read_text(path)?, &modelseal_format::display::path(path))))
    }
}

/// The text of a file of certificates, or of a trusted root.
///
/// # Errors
/// [`TrustError`]; only a regular file is read, and no more than 4 MiB.
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
