//! A rule: one question that a policy can ask of a release, with everything that belongs to it.
//!
//! A rule defines which keys of `gate.toml` it reads, how to word its demands, how it judges, what `policy init` writes
//! for it, and which faults `drill` plants to test it.

mod evidence;
mod fault;
mod section;

use std::fmt;

pub use evidence::{Evidence, Previous};
pub use fault::{Fault, Healthy, Plant, Rebuilt};
pub use section::{Section, SectionError};

use crate::report::{Check, CheckKind};
use modelseal_format::manifest::Manifest;

/// Where in a policy the keys of a rule are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// At the top level, such as `origin`. A table such as `[code]` counts as one key.
    Top,
    /// In each table of a group, as `[data.NAME]` is one of the group `data`.
    Each(&'static str),
}

/// One question that a policy can ask of a release.
pub trait Rule: Sync {
    /// The kinds of its checks. The first one represents the rule if a check cannot be made at all.
    fn kinds(&self) -> &'static [CheckKind];

    /// Where in a policy its keys are.
    fn table(&self) -> Table;

    /// The names of its keys in that table.
    fn keys(&self) -> &'static [&'static str];

    /// Reads its keys. `None` if the policy does not ask this question.
    ///
    /// # Errors
    /// A mistake, with its place in the file.
    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError>;

    /// The lines of a strict policy for releases like this one, with a comment. Empty if there are none. The subject of
    /// the proposal is the data source or probe.
    fn propose(&self, _proposal: &Proposal<'_>) -> String {
        String::new()
    }

    /// Ways to break a good release that this rule must detect.
    fn faults(&self, _healthy: &Healthy<'_>) -> Vec<Fault> {
        Vec::new()
    }
}

/// A question with its limits, as a policy asks it.
pub trait Demand: fmt::Debug + Send + Sync {
    /// What is demanded, in a phrase such as `at most 60 days old`. `None` if it is obvious.
    fn words(&self) -> Option<String>;

    /// Whether what this judges may be missing from a release.
    fn is_optional(&self) -> bool {
        false
    }

    /// Judges the evidence. The list may be empty if there is nothing to report.
    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check>;
}

/// The good release from which a policy is written.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Proposal<'a> {
    pub manifest: &'a Manifest,
    /// The name of the data source or probe that the table is about. Empty at the top level.
    pub subject: &'a str,
    pub now: jiff::Timestamp,
    /// Whether the release itself meets these lines in the table of the subject.
    pub holds: &'a dyn Fn(&str) -> bool,
}

impl<'a> Proposal<'a> {
    /// A release for which a rule about the whole release proposes lines.
    pub fn new(manifest: &'a Manifest, now: jiff::Timestamp) -> Self {
        Self { manifest, subject: "", now, holds: &|_| false }
    }

    /// The same release, for the table of a data source or probe.
    #[must_use]
    pub fn about(self, subject: &'a str, holds: &'a dyn Fn(&str) -> bool) -> Self {
        Self { subject, holds, ..self }
    }
}
