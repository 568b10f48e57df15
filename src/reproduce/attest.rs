//! A signed statement beside the archive: this release was rebuilt.

use std::path::{Path, PathBuf};

use super::{Error, Reproduction};
use crate::archive::write_whole;
use crate::manifest::Reproduction as Statement;
use crate::sign::{self, PrivateKey};

/// Signs what was found and writes it beside the target: `TARGET.reproduction.HINT8.sigstore.json`.
///
/// # Errors
/// [`Error::NothingToAttest`] if the demanded level was not reached; [`Error::Key`], [`Error::Attest`].
pub fn attest(target: &Path, result: &Reproduction, key: &PrivateKey) -> Result<PathBuf, Error> {
    let (Some(model), Some(release), Some(level)) = (&result.model, result.release, result.rung) else {
        return Err(Error::NothingToAttest);
    };
    if result.verdict() != crate::report::Verdict::Pass {
        return Err(Error::NothingToAttest);
    }
    let statement = Statement::new(model, release, level, env!("CARGO_PKG_VERSION"));
    let bundle = sign::write_bundle(&statement.payload(), key)?;
    let hint = key.public_key().hint().to_string();
    let target = std::path::absolute(target).map_err(|source| failed(target, source))?;
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let path = target.with_file_name(format!("{name}.reproduction.{}.sigstore.json", &hint[..8]));
    // What the same signer said before is replaced.
    write_whole(&path, &bundle).map_err(|source| failed(&path, source))?;
    Ok(path)
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Attest { path: path.to_path_buf(), source }
}
