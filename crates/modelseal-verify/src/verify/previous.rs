//! The currently deployed release, to compare with. The same signers must have signed it, and it must be complete.

use std::io::Read;

use super::{Error, Options, Target, Verification, archive, directory, seal};
use crate::policy::{Policy, Previous};
use crate::report::id::{ARCHIVE, FILES, MODEL_SIGNATURE, PREVIOUS, SEAL, SIGNATURE};
use crate::report::{Check, CheckKind, Status};
use crate::trust::TrustedSigner;
use modelseal_format::digest::{Symlinks, open_regular};
use modelseal_format::hint::Hint;
use modelseal_format::manifest::LONGEST_SEAL;
use modelseal_format::release::{Discard, Seal, SealError};

/// The checks that a previous release must pass. A bare seal has only the first two.
const STEPS: [CheckKind; 5] = [SEAL, SIGNATURE, ARCHIVE, FILES, MODEL_SIGNATURE];

/// The previous release, if one was named and is accepted.
pub(super) fn check(
    verification: &mut Verification<'_>,
    policy: &Policy,
    seal: &Seal,
) -> Result<Option<Seal>, Error> {
    let options = verification.options;
    let Some(target) = options.previous else {
        if policy.previous == Some(Previous::Required) {
            let message = "the policy demands a comparison with the previous release";
            verification.add(Check::unknown(PREVIOUS, message).hint(Hint::NamePrevious));
        }
        return Ok(None);
    };
    let shown = modelseal_format::display::name(&target.shown());
    let previous = match accept(target, options)? {
        Ok(previous) => previous,
        Err(reason) => {
            let message = format!("the previous release {shown} is not accepted: {reason}");
            verification.add(Check::fail(PREVIOUS, message).hint("name the release that is deployed now"));
            return Ok(None);
        }
    };
    let model = previous.manifest.model();
    verification.add(if model.name != seal.manifest.model().name {
        Check::fail(
            PREVIOUS,
            format!("the previous release {shown} belongs to another model, `{}`", model.name),
        )
    } else if previous.release == seal.release {
        Check::warn(PREVIOUS, format!("{} {}: the same release as this one", model.name, model.version))
    } else {
        let digest = modelseal_format::display::short(&previous.release.to_string());
        Check::pass(PREVIOUS, format!("{} {}, release sha256:{digest}", model.name, model.version))
    });
    Ok(Some(previous))
}

/// The accepted seal, which is read once. The inner error says why it is not accepted.
fn accept(target: &Target, options: &Options<'_>) -> Result<Result<Seal, String>, Error> {
    // A signature still counts if the rights of its signer have ended since then.
    let then =
        |signer: &TrustedSigner| TrustedSigner { rights: signer.rights.without_end(), ..signer.clone() };
    let signers: Vec<TrustedSigner> = options.signers.iter().map(then).collect();
    let options = Options { hash: options.hash, context: options.context.clone(), ..Options::new(&signers) };
    let mut verification = Verification::new(target, &options)?;
    let seal = match seal::open(target)? {
        seal::Opened::Directory(root) => {
            directory::verify(&mut verification, &root)?;
            verification.seal.take()
        }
        seal::Opened::Archive(source) => match bare_seal(target)? {
            Some(read) => verification.seal_and_signature(read),
            None => {
                archive::verify(&mut verification, source, &mut Discard)?;
                verification.seal.take()
            }
        },
    };
    let failed = verification.report.checks.iter().find(|check| {
        STEPS.iter().any(|kind| check.id == *kind) && !matches!(check.status, Status::Pass | Status::Warn)
    });
    Ok(match (seal, failed) {
        (Some(seal), None) => Ok(seal),
        (_, Some(check)) => Err(check.message.clone()),
        (None, None) => Err("it cannot be read to the end".to_string()),
    })
}

/// Reads a bare seal file. `None` if the target is something else.
fn bare_seal(target: &Target) -> Result<Option<Result<Seal, SealError>>, Error> {
    let Target::Path(path) = target else { return Ok(None) };
    let io = |source| Error::io(path, source);
    let (file, _) = open_regular(path, Symlinks::Follow)?;
    let mut reader = file.take(LONGEST_SEAL);
    let mut first = [0];
    if reader.read(&mut first).map_err(io)? == 0 || first != *b"{" {
        return Ok(None);
    }
    Ok(Some(Seal::read(&mut first.as_slice().chain(reader)).map_err(io)?))
}
