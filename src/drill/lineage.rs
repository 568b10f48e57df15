//! Faults that need no rule: the release of another model, and a manifest that seals no code, data or hyperparameters.

use super::release::Draft;
use super::{Error, Fault, fault};
use modelseal_format::manifest::Missing;

pub(super) fn faults(healthy: &Draft<'_>) -> Result<Vec<Fault>, Error> {
    let another = healthy.changed(|manifest| {
        manifest.external_mut().model.name = "another".to_string();
        manifest.subject[0].name = "another".to_string();
    })?;
    let nothing = healthy.changed(|manifest| {
        manifest.dependencies_mut().retain(|input| input.name == "recipe");
        manifest.external_mut().hyperparameters.clear();
        manifest.internal_mut().missing = Missing::ALL.to_vec();
    })?;
    Ok(vec![
        fault(
            "a release of another model".to_string(),
            "model = \"…\"",
            Some(another),
            "every release has a model",
        ),
        fault(
            "code, data and hyperparameters not sealed".to_string(),
            "nothing in the policy: modelseal itself must reject this",
            Some(nothing),
            "the lineage can always be missing",
        ),
    ])
}
