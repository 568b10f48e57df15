//! `origin`: how the artifact was made.

use crate::report::id::ORIGIN;
use crate::report::{Check, CheckKind};
use crate::rule::{
    Demand, Evidence, Fault, Healthy, Plant, Proposal, Rebuilt, Rule, Section, SectionError, Table,
};
use modelseal_format::hint::Hint;
use modelseal_format::manifest::{Manifest, Origin};

pub(super) struct OriginRule;

#[derive(Debug)]
struct AtLeast(Origin);

impl Rule for OriginRule {
    fn kinds(&self) -> &'static [CheckKind] {
        &[ORIGIN]
    }

    fn table(&self) -> Table {
        Table::Top
    }

    fn keys(&self) -> &'static [&'static str] {
        &["origin"]
    }

    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError> {
        let origin = section.take("origin")?;
        Ok(origin.map(|origin| Box::new(AtLeast(origin)) as Box<dyn Demand>))
    }

    fn propose(&self, proposal: &Proposal<'_>) -> String {
        let origin = proposal.manifest.internal().origin.name();
        format!("origin = \"{origin}\"             # at least: adopted < executed < clean < reproduced\n")
    }

    fn faults(&self, healthy: &Healthy<'_>) -> Vec<Fault> {
        let origin = healthy.manifest.internal().origin;
        let adopted = (origin != Origin::Adopted).then(|| healthy.changed(adopt));
        let mut faults = vec![Fault::new(
            "an artifact not built by modelseal",
            &format!("origin = \"{}\"", origin.name()),
            adopted,
            "the release itself was adopted",
        )];
        if healthy.demanded_origin == Some(Origin::Reproduced) {
            for (name, rebuilt) in [
                ("a release that was not rebuilt", Rebuilt::Nobody),
                ("a builder that vouches for itself", Rebuilt::Builder),
            ] {
                let plant = Plant { rebuilt, ..Plant::new(healthy.manifest.clone()) };
                faults.push(Fault::new(name, "origin = \"reproduced\"", Some(plant), ""));
            }
        }
        faults
    }
}

impl Demand for AtLeast {
    fn words(&self) -> Option<String> {
        Some(format!("origin at least {}", self.0.name()))
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check> {
        let (demanded, found) = (self.0, evidence.origin);
        if found >= demanded {
            return Vec::new();
        }
        let message =
            format!("{}: {}, but the policy demands {}", found.name(), found.description(), demanded.name());
        let hint = match demanded {
            Origin::Reproduced => Hint::Reproduce,
            _ => Hint::RunCommand,
        };
        vec![Check::fail(ORIGIN, message).hint(hint)]
    }
}

fn adopt(manifest: &mut Manifest) {
    manifest.internal_mut().origin = Origin::Adopted;
    manifest.internal_mut().environment.clear();
    let external = manifest.external_mut();
    external.command.clear();
    external.env.clear();
    external.pass_env.clear();
    external.caches.clear();
    (external.network, external.reproduce) = (None, None);
}
