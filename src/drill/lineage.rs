//! Faults of the lineage: whole, rightly signed, and from somewhere else.

use super::release::Draft;
use super::{Error, Fault};
use crate::manifest::{Missing, Origin, Statement};

pub(super) fn faults(healthy: &Draft<'_>) -> Result<Vec<Fault>, Error> {
    let origin = healthy.manifest.internal().origin;
    let has_code = healthy.manifest.dependencies().iter().any(|input| input.name == "code");
    let no_code = || "no code was sealed".to_string();
    let code = |change: &dyn Fn(&mut Statement)| match has_code {
        true => healthy.changed(|manifest| change(manifest)).map(Ok),
        false => Ok(Err(no_code())),
    };
    let first_data = healthy
        .manifest
        .dependencies()
        .iter()
        .find_map(|input| input.name.strip_prefix("data/"))
        .map(str::to_string);
    let mut faults = vec![
        Fault {
            name: "the release of another model",
            cure: "model = \"…\"".to_string(),
            attempt: Ok(healthy.changed(|manifest| {
                manifest.external_mut().model.name = "another".to_string();
                manifest.subject[0].name = "another".to_string();
            })?),
        },
        Fault {
            name: "an artifact that nobody watched being made",
            cure: format!("origin = \"{}\"", origin.name()),
            attempt: match origin {
                Origin::Adopted => Err("the release itself was adopted".to_string()),
                _ => Ok(healthy.changed(adopt)?),
            },
        },
        Fault {
            name: "code that was not as committed",
            cure: "[code] dirty = false".to_string(),
            attempt: code(&|manifest| {
                if let Some(facts) = code_facts(manifest) {
                    facts.dirty = Some(vec!["train.py".to_string()]);
                }
            })?,
        },
        Fault {
            name: "code from another remote",
            cure: "[code] remote = \"…\"".to_string(),
            attempt: match has_code
                && healthy
                    .manifest
                    .dependencies()
                    .iter()
                    .any(|input| input.name == "code" && input.uri.is_some())
            {
                false => Err("no remote was sealed".to_string()),
                true => code(&|manifest| {
                    let code = manifest.dependencies_mut().iter_mut().find(|input| input.name == "code");
                    if let Some(code) = code {
                        code.uri = Some("git+https://elsewhere.invalid/fork".to_string());
                    }
                })?,
            },
        },
        Fault {
            name: "no code revision at all",
            cure: "[code] dirty = false".to_string(),
            attempt: code(&|manifest| {
                manifest.dependencies_mut().retain(|input| input.name != "code");
                manifest.internal_mut().missing.insert(0, Missing::Code);
            })?,
        },
        Fault {
            name: "nothing sealed about code, data and hyperparameters",
            cure: "nothing: this must never pass".to_string(),
            attempt: Ok(healthy.changed(|manifest| {
                manifest.dependencies_mut().retain(|input| input.name == "recipe");
                manifest.external_mut().hyperparameters.clear();
                manifest.internal_mut().missing = Missing::ALL.to_vec();
            })?),
        },
    ];
    faults.push(Fault {
        name: "a data source that is not named",
        cure: "[data.NAME] for each source".to_string(),
        attempt: match first_data {
            None => Err("no data was sealed".to_string()),
            Some(name) => Ok(healthy.changed(|manifest| {
                let full = format!("data/{name}");
                let others = manifest
                    .dependencies()
                    .iter()
                    .any(|input| input.name.starts_with("data/") && input.name != full);
                manifest.dependencies_mut().retain(|input| input.name != full);
                let missing = &mut manifest.internal_mut().missing;
                if !others {
                    missing.push(Missing::Data);
                    missing.sort_unstable();
                }
            })?),
        },
    });
    Ok(faults)
}

fn adopt(manifest: &mut Statement) {
    manifest.internal_mut().origin = Origin::Adopted;
    manifest.internal_mut().environment.clear();
    let external = manifest.external_mut();
    external.command.clear();
    external.env.clear();
    external.pass_env.clear();
    (external.network, external.reproduce) = (None, None);
}

fn code_facts(manifest: &mut Statement) -> Option<&mut crate::manifest::Annotations> {
    let code = manifest.dependencies_mut().iter_mut().find(|input| input.name == "code")?;
    code.annotations.as_mut()
}
