//! The last rung: the rebuilt model differs, but gives the same answers to the sealed probes.

use super::rebuild::{Rebuilder, Rebuilt};
use super::stopped::{Stopped, with_causes};
use super::{Error, Reproduction};
use modelseal_build::build::Observer;
use modelseal_build::probe::{self, agree};
use modelseal_build::run::{self, Isolation, Silent};
use modelseal_format::manifest::Rung;

/// Runs the sealed probes on the rebuilt model. It may be another model that behaves the same.
pub(super) fn ask(
    rebuilder: &Rebuilder<'_>,
    rebuilt: &Rebuilt,
    result: &mut Reproduction,
) -> Result<(), Stopped> {
    for sealed in rebuilder.manifest.probes() {
        let name = sealed.probe();
        let probes = &rebuilt.recipe.tables.probe;
        let Some(probe) = probes.iter().find(|probe| probe.name.get_ref() == name) else {
            result
                .behaviour
                .push((name.to_string(), Err("the recipe in the commit has no such probe".to_string())));
            continue;
        };
        (rebuilder.options.announce)(None, probe.command.get_ref());
        let observer = Observer {
            recipe: &rebuilt.recipe,
            epoch: rebuilder.manifest.internal().source_date_epoch,
            hidden: rebuilder.hidden(),
            confinement: rebuilder.options.confinement,
            isolation: match sealed.annotations.isolated {
                true => Isolation::Demanded,
                false => Isolation::WhereItWorks,
            },
            listener: &Silent,
            context: rebuilder.options.context,
        };
        let same = match observer.ask(probe, &rebuilt.artifact) {
            Ok((_, questions)) if questions != sealed.digest.sha256 => {
                Err("the questions differ from the sealed ones".to_string())
            }
            Ok((asked, _)) => agree(&sealed.annotations, &asked.facts),
            Err(probe::Error::Run(run::Error::Interrupted)) => return Err(Error::Interrupted.into()),
            Err(error) => Err(with_causes(&error)),
        };
        result.behaviour.push((name.to_string(), same));
    }
    let all_same = result.behaviour.iter().all(|(_, same)| same.is_ok());
    if all_same && !result.behaviour.is_empty() && result.behaviour.len() == rebuilder.manifest.probes().len()
    {
        result.rung = Some(Rung::R3);
    }
    Ok(())
}
