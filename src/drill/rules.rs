//! The faults that each rule must notice. The release is complete and signed by the right key, but wrong.

use std::path::PathBuf;

use super::release::Draft;
use super::{Attempt, Error, Fault, Options};
use modelseal_format::canonical::Canonical;
use modelseal_verify::policy::Policy;
use modelseal_verify::report::Status;
use modelseal_verify::rule::{self, Evidence, Healthy, Plant, Rule, Table};
use modelseal_verify::rules::RULES;

/// The faults for every rule, and for every data source and probe.
pub(super) fn faults(
    healthy: &Draft<'_>,
    previous: &Draft<'_>,
    options: &Options<'_>,
) -> Result<Vec<Fault>, Error> {
    let planter = Planter { healthy, previous, options };
    let mut faults = Vec::new();
    for rules in RULES.chunk_by(|left, right| left.table() == right.table()) {
        let Table::Each(group) = rules[0].table() else {
            faults.extend(planter.of(rules, None)?);
            continue;
        };
        let subjects = subjects(healthy, group);
        if subjects.is_empty() {
            // A single row says that there are none.
            faults.extend(planter.of(&rules[..1], Some((group, "")))?);
        }
        for subject in &subjects {
            for mut fault in planter.of(rules, Some((group, subject)))? {
                if subjects.len() > 1 {
                    fault.name = format!("{}, {group} {subject}", fault.name);
                }
                faults.push(fault);
            }
        }
    }
    Ok(faults)
}

/// The names of the data sources, base models or probes of the release, by table group.
fn subjects(healthy: &Draft<'_>, group: &str) -> Vec<String> {
    match group {
        "probe" => healthy.manifest.probes().iter().map(|probe| probe.probe().to_string()).collect(),
        kind => healthy.manifest.inputs(kind).map(|(name, _)| name.to_string()).collect(),
    }
}

struct Planter<'a> {
    healthy: &'a Draft<'a>,
    previous: &'a Draft<'a>,
    options: &'a Options<'a>,
}

impl Planter<'_> {
    fn of(&self, rules: &[&dyn Rule], place: Option<(&str, &str)>) -> Result<Vec<Fault>, Error> {
        let (manifest, previous) = (&self.healthy.manifest, &self.previous.manifest);
        let mut healthy = Healthy::new(manifest, previous, self.options.context.now);
        healthy.subject = place.map_or("", |(_, subject)| subject);
        healthy.demanded_origin = self.options.policy.origin;
        let faults = rules.iter().flat_map(|rule| rule.faults(&healthy));
        faults.map(|fault| self.plant(fault, place)).collect()
    }

    fn plant(&self, fault: rule::Fault, place: Option<(&str, &str)>) -> Result<Fault, Error> {
        let cure = match place {
            None => fault.cure,
            Some((group, "")) => format!("[{group}.NAME]"),
            Some((group, subject)) => {
                let table = format!("[{group}.{subject}]");
                match self.undecided(&table, &fault.cure) {
                    // With this line, the policy would refuse a healthy successor as well.
                    Some(reason) => format!("nothing yet, because {reason}"),
                    None => format!("{table} {}", fault.cure).trim_end().to_string(),
                }
            }
        };
        let attempt = match fault.plant {
            Ok(plant) => Ok(self.attempt(plant)?),
            Err(lacks) => Err(lacks),
        };
        Ok(Fault { name: fault.name, cure, attempt })
    }

    fn attempt(&self, plant: Plant) -> Result<Attempt, Error> {
        let mut draft = self.healthy.clone();
        draft.manifest = plant.manifest;
        if plant.has_previous_files {
            draft.contents.clone_from(&self.previous.contents);
            draft.seal_files();
        }
        Ok(Attempt { rebuilt: plant.rebuilt, ..Attempt::trusted(draft.archive()?) })
    }

    /// Why a demand could not be decided for a healthy successor. `None` if it could.
    fn undecided(&self, table: &str, demand: &str) -> Option<String> {
        let manifest = &self.healthy.manifest;
        let text = format!("model = \"{}\"\n{table}\n{demand}\n", manifest.model().name);
        let policy = Policy::parse(PathBuf::from("gate.toml"), text).ok()?;
        let previous = &self.previous.manifest;
        let evidence = Evidence::new(manifest, self.options.context.now).after(previous, previous.sha256());
        let unknown = policy.judge(&evidence).into_iter().find(|check| check.status == Status::Unknown)?;
        Some(unknown.message)
    }
}
