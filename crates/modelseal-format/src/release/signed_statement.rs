//! Signed attestations about a release, written next to its archive.

use std::io;
use std::path::{Path, PathBuf};

use crate::archive::write_whole;
use crate::canonical::{Canonical, Counted};
use crate::hint::Hint;
use crate::manifest::Attestation;
use crate::sign::{KeyError, SignedBundle, Signer};

/// Why an attestation about a release could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot write the attestation {}", crate::display::path(path))]
    Write { path: PathBuf, source: io::Error },
}

impl StatementError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<Hint> {
        if let StatementError::Key(error) = self { error.hint() } else { None }
    }
}

/// A signed attestation about a release that is not written yet.
pub struct SignedStatement {
    /// The Sigstore bundle.
    pub bytes: Vec<u8>,
    /// The suffix of its file name: `WHAT.HINT8.sigstore.json`.
    ending: String,
}

impl SignedStatement {
    /// # Errors
    /// [`StatementError::Key`].
    pub fn new(statement: &Attestation, signer: &Signer) -> Result<Self, StatementError> {
        let bytes = SignedBundle::sign(Counted::of(statement.payload()), signer)?.to_vec();
        let hint = signer.public_key().hint().to_string();
        let ending = format!("{}.{}.sigstore.json", statement.claim().word(), &hint[..8]);
        Ok(Self { bytes, ending })
    }

    /// Writes the attestation next to `archive`. Replaces an earlier attestation of the same kind by the same signer.
    ///
    /// # Errors
    /// [`StatementError::Write`].
    pub fn write_beside(&self, archive: &Path) -> Result<PathBuf, StatementError> {
        let archive = std::path::absolute(archive).unwrap_or_else(|_| archive.to_path_buf());
        let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = archive.with_file_name(format!("{name}.{}", self.ending));
        match write_whole(&path, &self.bytes) {
            Ok(()) => Ok(path),
            Err(source) => Err(StatementError::Write { path, source }),
        }
    }
}
