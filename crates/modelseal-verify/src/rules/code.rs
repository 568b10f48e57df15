//! `[code]`: where the code comes from, and whether it matched its commit.

use serde::Deserialize;

use crate::report::id::CODE;
use crate::report::{Check, CheckKind};
use crate::rule::{Demand, Evidence, Fault, Healthy, Plant, Proposal, Rule, Section, SectionError, Table};
use modelseal_format::display::{name, toml_string};
use modelseal_format::manifest::{CodeEvidence, Evidence as InputEvidence, Missing, ResourceDescriptor};

pub(super) struct CodeRule;

/// `[code]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    /// The remote from which the code must have come.
    remote: Option<String>,
    /// `false` demands that everything was as committed.
    dirty: Option<bool>,
}

const NO_CODE: &str = "no code was sealed";

impl Rule for CodeRule {
    fn kinds(&self) -> &'static [CheckKind] {
        &[CODE]
    }

    fn table(&self) -> Table {
        Table::Top
    }

    fn keys(&self) -> &'static [&'static str] {
        &["code"]
    }

    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError> {
        let code: Option<Code> = section.take("code")?;
        Ok(code.map(|code| Box::new(code) as Box<dyn Demand>))
    }

    fn propose(&self, proposal: &Proposal<'_>) -> String {
        let Some(code) = proposal.manifest.code() else { return String::new() };
        let remote = match code.remote() {
            Some(remote) => format!("remote = {}\n", toml_string(remote)),
            None => "# remote = \"https://…\"       # no remote was sealed: others cannot fetch this code\n"
                .into(),
        };
        let dirty = match code.dirty().is_empty() {
            false => "# dirty = false             # this release had uncommitted changes\n",
            true => "dirty = false\n",
        };
        format!("\n[code]\n{remote}{dirty}")
    }

    fn faults(&self, healthy: &Healthy<'_>) -> Vec<Fault> {
        let code = |change: &dyn Fn(&mut ResourceDescriptor) -> bool| -> Option<Plant> {
            let mut has_changed = false;
            let plant = healthy.changed(|manifest| {
                let code = manifest.dependencies_mut().iter_mut().find(|input| input.name == "code");
                has_changed = code.is_some_and(change);
            });
            has_changed.then_some(plant)
        };
        let dirty = code(&|code| {
            let dirty = vec!["train.py".to_string()];
            code.evidence = Some(Box::new(InputEvidence::Code(CodeEvidence { dirty })));
            true
        });
        let elsewhere = code(&|code| {
            let elsewhere = || "git+https://elsewhere.invalid/fork".to_string();
            code.uri.is_some() && code.uri.replace(elsewhere()).is_some()
        });
        let none = code(&|_| true).map(|_| {
            healthy.changed(|manifest| {
                manifest.dependencies_mut().retain(|input| input.name != "code");
                let missing = &mut manifest.internal_mut().missing;
                missing.push(Missing::Code);
                missing.sort_unstable();
                missing.dedup();
            })
        });
        vec![
            Fault::new("code with uncommitted changes", "[code] dirty = false", dirty, NO_CODE),
            Fault::new(
                "code from another remote",
                "[code] remote = \"…\"",
                elsewhere,
                "no remote was sealed",
            ),
            Fault::new("no code revision", "[code] dirty = false", none, NO_CODE),
        ]
    }
}

impl Demand for Code {
    fn words(&self) -> Option<String> {
        let remote = self.remote.as_ref().map(|remote| format!("code at {}", name(remote)));
        let clean = (self.dirty == Some(false)).then(|| "code without uncommitted changes".to_string());
        let words: Vec<String> = remote.into_iter().chain(clean).collect();
        Some(if words.is_empty() { "a code revision".to_string() } else { words.join("; ") })
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check> {
        let fail = |message: String| vec![Check::fail(CODE, message)];
        let Some(sealed) = evidence.manifest.code() else {
            return fail("no code revision was sealed, but the policy demands one".to_string());
        };
        if let Some(remote) = &self.remote
            && sealed.remote() != Some(remote)
        {
            let found = sealed.remote().map_or("no remote".to_string(), name);
            return fail(format!("the code is at {found}, but the policy demands {}", name(remote)));
        }
        match (self.dirty, sealed.dirty().first()) {
            (Some(false), Some(path)) => {
                fail(format!("{} differed from the commit, but the policy says `dirty = false`", name(path)))
            }
            _ => Vec::new(),
        }
    }
}
