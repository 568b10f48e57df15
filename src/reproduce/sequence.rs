//! The first rebuild, the probes and the variations, in this order.

use super::circumstance::Conditions;
use super::rebuild::{FIRST, Rebuilder, worst};
use super::source::Source;
use super::stopped::{Stopped, not_tried};
use super::{Error, Reproduction, behaviour, vary};
use modelseal_build::inputs;
use modelseal_format::hint::Hint;
use modelseal_format::manifest::Origin;

/// Rebuilds once and compares. Then rebuilds again for each circumstance that is varied.
pub(super) fn reproduce_all(rebuilder: &Rebuilder<'_>, result: &mut Reproduction) -> Result<(), Stopped> {
    let origin = rebuilder.manifest.internal().origin;
    if origin == Origin::Adopted {
        let reason = "the artifact was adopted: the manifest does not name the command that made it";
        return Err(not_tried(reason, Hint::from("build it with `[run]` in the recipe")));
    }
    let Some(code) = rebuilder.manifest.code() else {
        return Err(not_tried("no code revision was sealed", None));
    };
    let commit = code.commit();
    if let Some(path) = code.dirty().first() {
        let reason =
            format!("the work tree differed from the commit: {}", modelseal_format::display::name(path));
        return Err(not_tried(reason, Hint::BuildFromCommit));
    }
    for name in rebuilder.options.data.keys() {
        let sealed = format!("data/{name}");
        if !rebuilder.manifest.dependencies().iter().any(|input| input.name == sealed) {
            return Err(Error::Input(inputs::Error::UnknownData(name.clone())).into());
        }
    }
    let source = Source::find(rebuilder.manifest, rebuilder.options.source, commit, &mut result.notes)?;
    result.source = Some(source.shown());
    for name in &rebuilder.manifest.external().pass_env {
        if std::env::var_os(name).is_none() {
            result
                .notes
                .push(format!("the variable {} is not set here", modelseal_format::display::name(name)));
        }
    }
    let first = rebuilder.rebuild(&source, commit, &Conditions::default(), FIRST)?;
    result.command_seconds = first.seconds;
    let sealed = &rebuilder.manifest.internal().environment;
    let pairs = sealed.iter().zip(&first.environment);
    result.environment = pairs.map(|(sealed, found)| (sealed.clone(), found.output.clone())).collect();
    result.files = rebuilder.compare(&rebuilder.sealed_files(), &first.files())?;
    result.rung = worst(&result.files);
    if result.rung.is_none() {
        behaviour::ask(rebuilder, &first, result)?;
    }
    result.varied = vary::vary(rebuilder, &source, commit, &first)?;
    Ok(())
}
