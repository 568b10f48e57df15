//! What is signed for a model without a recipe: its files and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use sha2::Digest as _;

use super::files::{Wanted, digests, list, location};
use super::statement::Hash;
use modelseal_format::canonical::Canonical;
use modelseal_format::context::Context;
use modelseal_format::digest::{self, Digest, Symlinks};
use modelseal_format::manifest::ModelSignature;

/// The payload to sign, and what it covers.
#[derive(Debug)]
pub struct Stated {
    pub payload: Vec<u8>,
    /// SHA-256 of all digests in the order of the paths. It does not cover the names.
    pub root: Digest,
    pub files: u64,
    /// Paths that exist but are left out.
    pub ignored: Vec<String>,
}

/// Why a model cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    #[error(transparent)]
    Read(#[from] digest::Error),
    #[error("cannot sign {}: {reason}", modelseal_format::display::path(path))]
    Refused { path: std::path::PathBuf, reason: &'static str },
    #[error("there are no files to sign in {}", modelseal_format::display::path(.0))]
    Empty(std::path::PathBuf),
    #[error("cannot sign {}: it has no usable name", modelseal_format::display::path(.0))]
    Name(std::path::PathBuf),
}

impl SignError {
    /// Whether the model is refused. Otherwise it could not be read.
    pub fn is_refusal(&self) -> bool {
        matches!(self, SignError::Refused { .. } | SignError::Empty(_))
    }
}

/// Hashes a model, which is a directory or one file, for a signature. It computes SHA-256 of whole files, in the order
/// of the specification (OMS 1.0, 6.4: by the code points of the path), so that the same model always gives the same
/// bytes.
///
/// # Errors
/// [`SignError`].
pub fn state(root: &Path, ignored: &BTreeSet<String>, context: &Context) -> Result<Stated, SignError> {
    let whole = std::fs::canonicalize(root)
        .map_err(|source| digest::Error::Io { path: root.to_path_buf(), source })?;
    let name = whole.file_name().and_then(|name| name.to_str());
    let model = name.ok_or_else(|| SignError::Name(root.to_path_buf()))?;
    let shown = root;
    let root = whole.as_path();
    let listed = list(root, ignored, false, context)?;
    if let Some((path, reason)) = listed.refused.into_iter().next() {
        return Err(SignError::Refused { path: shown.join(path), reason });
    }
    if listed.files.is_empty() {
        return Err(SignError::Empty(shown.to_path_buf()));
    }
    let wanted: Vec<Wanted> =
        listed.files.iter().map(|path| Wanted { path: location(root, path), shards: None }).collect();
    let found = digests(&wanted, Hash::Sha256, Symlinks::Refuse, context)?;
    let hashed = found.iter().map(|found| found.pieces.concat().try_into().map(Digest));
    let hashed: Vec<Digest> =
        hashed.collect::<Result<_, _>>().map_err(|_| SignError::Name(shown.to_path_buf()))?;
    let mut hasher = sha2::Sha256::new();
    hashed.iter().for_each(|digest| hasher.update(digest.0));
    let root = Digest(hasher.finalize().into());
    let files = listed.files.iter().map(String::as_str).zip(hashed.iter().copied());
    let ignore_paths: Vec<&str> = ignored.iter().map(String::as_str).collect();
    let signature = ModelSignature { model, root, files, ignore_paths: &ignore_paths, release: None };
    Ok(Stated { payload: signature.to_vec(), root, files: hashed.len() as u64, ignored: listed.ignored })
}
