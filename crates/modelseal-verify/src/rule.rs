//! What a rule is: one question that a policy can ask of a release, with everything that belongs to it.
//!
//! A rule says which keys of `gate.toml` it reads, what they demand in words, how it judges, what `policy init` writes
//! for it, and which faults `drill` plants to see it work.

mod evidence;
mod fault;
mod section;

use std::fmt;

pub use evidence::{Evidence, Previous};
pub use fault::{Fault, Healthy, Plant, Rebuilt};
pub use section::{Section, SectionError};

use crate::report::{Check, CheckKind};
use modelseal_format::manifest::Manifest;

/// Where a policy has the keys of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// At the top level, as `origin`; a table of its own, such as `[code]`, is one key.
    Top,
    /// In each table of a group, as `[data.NAME]` is of the group `data`.
    Each(&'static str),
}

/// One question that a policy can ask of a release.
pub trait Rule: Sync {
    /// The kinds of its checks. The first stands for the rule where a check cannot be made at all.
    fn kinds(&self) -> &'static [CheckKind];

    /// Where a policy has its keys.
    fn table(&self) -> Table;

    /// Its keys there.
    fn keys(&self) -> &'static [&'static str];

    /// Reads its keys; `None` if the policy does not ask this question.
    ///
    /// # Errors
    /// A mistake, with its place in the file.
    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError>;

    /// The lines that a strict policy for releases like this one has, with a comment; empty if there are none.
    /// `subject` is the data source or probe.
    fn propose(&self, _proposal: &Proposal<'_>) -> String {
        String::new()
    }

    /// Ways to break a good release that this rule is there to notice.
    fn faults(&self, _healthy: &Healthy<'_>) -> Vec<Fault> {
        Vec::new()
    }
}

/// A question with its limits, as a policy asks it.
pub trait Demand: fmt::Debug + Send + Sync {
    /// What is demanded, in a phrase: `at most 60 days old`. `None` if it goes without saying.
    fn words(&self) -> Option<String>;

    /// Whether a release may lack what is judged.
    fn is_optional(&self) -> bool {
        false
    }

    /// Judges the evidence. There may be no check if nothing is to be said.
    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check>;
}

/// The good release that a policy is written from.
pub struct Proposal<'a> {
    pub manifest: &'a Manifest,
    /// The data source or probe that the table is about; empty at the top level.
    pub subject: &'a str,
    pub now: jiff::Timestamp,
    /// Whether the release itself meets these lines in the table of the subject.
    pub holds: &'a dyn Fn(&str) -> bool,
}
