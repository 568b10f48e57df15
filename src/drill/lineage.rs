//! Faults of the lineage: whole, rightly signed, and from somewhere else.

use super::release::Draft;
use super::{Attempt, Error, Fault, Rebuilt, fault};
use modelseal_format::manifest::{CodeEvidence, Evidence, Missing, Origin, ResourceDescriptor, Statement};

const NO_CODE: &str = "no code was sealed";

/// `demanded` is the origin that the policy demands.
pub(super) fn faults(healthy: &Draft<'_>, demanded: Option<Origin>) -> Result<Vec<Fault>, Error> {
    let another = healthy.changed(|manifest| {
        manifest.external_mut().model.name = "another".to_string();
        manifest.subject[0].name = "another".to_string();
    })?;
    let mut faults = vec![fault(
        "the release of another model".to_string(),
        "model = \"…\"",
        Some(another),
        "every release has a model",
    )];
    faults.extend(origin(healthy, demanded)?);
    faults.extend(code(healthy)?);
    let nothing = healthy.changed(|manifest| {
        manifest.dependencies_mut().retain(|input| input.name == "recipe");
        manifest.external_mut().hyperparameters.clear();
        manifest.internal_mut().missing = Missing::ALL.to_vec();
    })?;
    faults.push(fault(
        "nothing sealed about code, data and hyperparameters".to_string(),
        "nothing: this must never pass",
        Some(nothing),
        "there is always nothing",
    ));
    for name in healthy.sources() {
        faults.push(fault(
            healthy.named("a data source that is not named", "data", &name),
            &format!("[data.{name}]"),
            Some(healthy.changed(|manifest| forget(manifest, &name))?),
            "no data was sealed",
        ));
    }
    if healthy.sources().is_empty() {
        faults.push(fault(
            "a data source that is not named".to_string(),
            "[data.NAME]",
            None,
            "no data was sealed",
        ));
    }
    Ok(faults)
}

fn origin(healthy: &Draft<'_>, demanded: Option<Origin>) -> Result<Vec<Fault>, Error> {
    let origin = healthy.manifest.internal().origin;
    let adopted = match origin {
        Origin::Adopted => None,
        _ => Some(healthy.changed(adopt)?),
    };
    let mut faults = vec![fault(
        "an artifact that nobody watched being made".to_string(),
        &format!("origin = \"{}\"", origin.name()),
        adopted,
        "the release itself was adopted",
    )];
    if demanded == Some(Origin::Reproduced) {
        for (name, rebuilt) in [
            ("a release that nobody rebuilt", Rebuilt::Nobody),
            ("a builder who vouches for itself", Rebuilt::Builder),
        ] {
            let attempt = Attempt { rebuilt, ..Attempt::trusted(healthy.archive()?) };
            faults.push(fault(name.to_string(), "origin = \"reproduced\"", Some(attempt), ""));
        }
    }
    Ok(faults)
}

fn code(healthy: &Draft<'_>) -> Result<Vec<Fault>, Error> {
    let code = |change: &dyn Fn(&mut ResourceDescriptor) -> bool| {
        let mut changed = false;
        let attempt = healthy.changed(|manifest| {
            let code = manifest.dependencies_mut().iter_mut().find(|input| input.name == "code");
            changed = code.is_some_and(change);
        })?;
        Ok::<_, Error>(changed.then_some(attempt))
    };
    let dirty = code(&|code| {
        let dirty = vec!["train.py".to_string()];
        code.evidence = Some(Box::new(Evidence::Code(CodeEvidence { dirty })));
        true
    })?;
    let elsewhere = code(&|code| {
        let elsewhere = || "git+https://elsewhere.invalid/fork".to_string();
        code.uri.is_some() && code.uri.replace(elsewhere()).is_some()
    })?;
    let has_code = code(&|_| true)?.is_some();
    let none = healthy.changed(|manifest| {
        manifest.dependencies_mut().retain(|input| input.name != "code");
        let missing = &mut manifest.internal_mut().missing;
        missing.push(Missing::Code);
        missing.sort_unstable();
        missing.dedup();
    })?;
    Ok(vec![
        fault("code that was not as committed".to_string(), "[code] dirty = false", dirty, NO_CODE),
        fault(
            "code from another remote".to_string(),
            "[code] remote = \"…\"",
            elsewhere,
            "no remote was sealed",
        ),
        fault(
            "no code revision at all".to_string(),
            "[code] dirty = false",
            has_code.then_some(none),
            NO_CODE,
        ),
    ])
}

/// The manifest without this data source.
fn forget(manifest: &mut Statement, name: &str) {
    manifest.dependencies_mut().retain(|input| input.name.strip_prefix("data/") != Some(name));
    if !manifest.dependencies().iter().any(|input| input.name.starts_with("data/")) {
        let missing = &mut manifest.internal_mut().missing;
        missing.push(Missing::Data);
        missing.sort_unstable();
    }
}

fn adopt(manifest: &mut Statement) {
    manifest.internal_mut().origin = Origin::Adopted;
    manifest.internal_mut().environment.clear();
    let external = manifest.external_mut();
    external.command.clear();
    external.env.clear();
    external.pass_env.clear();
    external.caches.clear();
    (external.network, external.reproduce) = (None, None);
}
