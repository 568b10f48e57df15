//! A third-party rule through the public trait: the instructions in `CONTRIBUTING.md` are enough.

use std::path::PathBuf;

use modelseal_format::context::Context;
use modelseal_format::sign::{KeySource, read_public_key};
use modelseal_verify::policy::Policy;
use modelseal_verify::report::{About, Check, CheckKind, Status};
use modelseal_verify::rule::{Demand, Evidence, Rule, Section, SectionError, Table};
use modelseal_verify::rules::RULES;
use modelseal_verify::trust::TrustedSigner;
use modelseal_verify::verify::{Options, Target, verify};

use crate::support::Project;

/// `max_files`: how many files a release may have.
struct MaxFiles;

const MAX_FILES: CheckKind = CheckKind::waivable("gate.files", About::Release);

#[derive(Debug)]
struct AtMost(u64);

impl Rule for MaxFiles {
    fn kinds(&self) -> &'static [CheckKind] {
        &[MAX_FILES]
    }

    fn table(&self) -> Table {
        Table::Top
    }

    fn keys(&self) -> &'static [&'static str] {
        &["max_files"]
    }

    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError> {
        let most: Option<u64> = section.take("max_files")?;
        Ok(most.map(|most| Box::new(AtMost(most)) as Box<dyn Demand>))
    }
}

impl Demand for AtMost {
    fn words(&self) -> Option<String> {
        Some(format!("at most {} files", self.0))
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check> {
        let found = evidence.manifest.files().len() as u64;
        let status = if found > self.0 { Status::Fail } else { Status::Pass };
        let check = Check::new(MAX_FILES, status, format!("{found} files"));
        vec![check.measured(found as f64, self.0 as f64)]
    }
}

fn policy(text: &str) -> Result<Policy, String> {
    let rules: Vec<&'static dyn Rule> = RULES.into_iter().chain([&MaxFiles as &dyn Rule]).collect();
    let text = format!("model = \"wine\"\n{text}");
    Policy::parse_with(PathBuf::from("gate.toml"), text, &rules).map_err(|error| error.to_string())
}

#[test]
fn policy_supports_a_custom_rule_with_strict_reading_and_waivers() {
    let project = Project::new();
    let archive = project.build();
    let key = read_public_key(&KeySource::from(project.public_key().as_str())).expect("reads");
    let signers = [TrustedSigner::key("ci", "ci", key)];
    let judge = |text: &str| {
        let policy = policy(text).expect("is a policy");
        let mut options = Options::new(&signers);
        options.policy = Some(&policy);
        options.context = Context::at("2026-11-01T00:00:00Z".parse().expect("is a time"));
        let verified = verify(&Target::Path(archive.clone()), &options).expect("verifies");
        let report = verified.report();
        assert!(report.demanded.contains(&text.lines().next().map_or(String::new(), |line| {
            format!("at most {} files", line.rsplit(' ').next().unwrap_or_default())
        })));
        let check = report.checks.iter().find(|check| check.id == MAX_FILES).expect("is judged").clone();
        (check.status, check.measured, check.limit)
    };
    assert_eq!(judge("max_files = 2"), (Status::Pass, Some(2.0), Some(2.0)));
    assert_eq!(judge("max_files = 1"), (Status::Fail, Some(2.0), Some(1.0)));
    let waiver = "[[waiver]]\ncheck = \"gate.files\"\nreason = \"moving\"\nuntil = 2026-12-01T00:00:00Z\n";
    assert_eq!(judge(&format!("max_files = 1\n{waiver}")).0, Status::Warn);
    assert!(policy("max_flies = 1").expect_err("is a mistake").contains("unknown key `max_flies`"));
    let unasked = policy(waiver).expect_err("is a mistake");
    assert!(unasked.contains("cannot be waived"), "{unasked}");
}
