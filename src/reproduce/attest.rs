//! A signed statement beside the archive: this release was rebuilt.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Error, Reproduction};
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
    write(&path, &bundle).map_err(|source| failed(&path, source))?;
    Ok(path)
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Attest { path: path.to_path_buf(), source }
}

/// Complete or not at all; what the same signer said before is replaced.
fn write(path: &Path, bundle: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(directory)?;
    file.write_all(bundle)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(directory)?.sync_all()
}
