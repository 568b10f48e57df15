//! `[data.NAME]`: whether the data source is in the release.

use crate::report::id::DATA;
use crate::report::{Check, CheckKind};
use crate::rule::{Demand, Evidence, Fault, Healthy, Rule, Section, SectionError, Table};
use modelseal_format::display::name;
use modelseal_format::manifest::{Manifest, Missing};

pub(super) struct DataRule;

#[derive(Debug)]
struct IsThere(String);

impl Rule for DataRule {
    fn kinds(&self) -> &'static [CheckKind] {
        &[DATA]
    }

    fn table(&self) -> Table {
        Table::Each("data")
    }

    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError> {
        Ok(Some(Box::new(IsThere(section.subject().to_string()))))
    }

    fn faults(&self, healthy: &Healthy<'_>) -> Vec<Fault> {
        let is_there = !healthy.subject.is_empty();
        let forgotten = is_there.then(|| healthy.changed(|manifest| forget(manifest, healthy.subject)));
        vec![Fault::new("a missing data source", "", forgotten, "no data was sealed")]
    }
}

impl Demand for IsThere {
    fn words(&self) -> Option<String> {
        None
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check> {
        match evidence.manifest.data(&self.0) {
            Some(_) => Vec::new(),
            None => {
                let message =
                    format!("the release has no data source {}, which the policy requires", name(&self.0));
                vec![Check::fail(DATA.of(&self.0), message)]
            }
        }
    }
}

/// Removes this data source from the manifest.
fn forget(manifest: &mut Manifest, name: &str) {
    manifest.dependencies_mut().retain(|input| input.kind_and_name() != ("data", name));
    if manifest.inputs("data").next().is_none() {
        let missing = &mut manifest.internal_mut().missing;
        missing.push(Missing::Data);
        missing.sort_unstable();
    }
}
