//! Faults in the order of releases, and in the number of signers of a release.

use super::release::Draft;
use super::{Attempt, Error, Fault, fault};

/// `approvers` is how many others must sign in addition to the builder.
pub(super) fn faults(
    healthy: &Draft<'_>,
    previous: &Draft<'_>,
    approvers: usize,
) -> Result<Vec<Fault>, Error> {
    let before = previous.manifest.model().clone();
    let same = healthy.changed(|manifest| {
        manifest.external_mut().model.version.clone_from(&before.version);
    })?;
    let older = match before.release {
        Some(number) if number > 1 => Some(healthy.changed(|manifest| {
            manifest.external_mut().model.release = Some(number - 1);
        })?),
        _ => None,
    };
    let alone = match approvers {
        0 => None,
        _ => Some(Attempt { approved: false, ..Attempt::trusted(healthy.archive()?) }),
    };
    Ok(vec![
        fault(
            "another release with the same version".to_string(),
            "nothing in the policy: modelseal itself must reject this",
            Some(same),
            "every release has a version",
        ),
        fault(
            "an older release".to_string(),
            "a comparison with the previous release, and `min_release = N`",
            older,
            "the release has no number: set `release = N` under `[model]` in the recipe",
        ),
        fault(
            "signed only by the builder".to_string(),
            "`signatures = 2`, and a `[[signer]]` who may approve",
            alone,
            "the policy demands only one signature",
        ),
    ])
}
