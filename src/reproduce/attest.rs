//! A signed attestation, next to the archive, that this release was rebuilt.

use std::path::{Path, PathBuf};

use super::{Error, Reproduction};
use modelseal_format::manifest::{Attestation, Claim};
use modelseal_format::release::SignedStatement;
use modelseal_format::sign::Signer;

/// Signs the result and writes it next to the target: `TARGET.reproduction.HINT8.sigstore.json`.
///
/// # Errors
/// [`Error::NothingToAttest`] if the demanded level was not reached; [`Error::Attest`].
pub fn attest(target: &Path, result: &Reproduction, key: &Signer) -> Result<PathBuf, Error> {
    let (Some(model), Some(release), Some(level)) = (&result.model, result.release, result.rung) else {
        return Err(Error::NothingToAttest);
    };
    if result.verdict() != modelseal_verify::report::Verdict::Pass {
        return Err(Error::NothingToAttest);
    }
    let statement = Attestation::new(model, release, Claim::Reproduced(level), env!("CARGO_PKG_VERSION"));
    Ok(SignedStatement::new(&statement, key)?.write_beside(target)?)
}
