//! The ids of checks. They are stable, because waivers, dashboards and scripts use them.

use std::fmt;

/// What the checks of one kind are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// The release as a whole.
    Release,
    /// One data source. The subject is its name in the recipe.
    Data,
    /// One base model. The subject is its name in the recipe.
    Base,
    /// One probe. The subject is its name in the recipe.
    Probe,
}

/// A kind of check: one question, asked about the release or about each of several subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckKind {
    rule: &'static str,
    about: About,
    can_be_waived: bool,
}

impl CheckKind {
    /// A kind that no policy can waive.
    pub const fn new(rule: &'static str, about: About) -> Self {
        Self { rule, about, can_be_waived: false }
    }

    /// A kind that a policy can waive.
    pub const fn waivable(rule: &'static str, about: About) -> Self {
        Self { rule, about, can_be_waived: true }
    }

    /// The part of the id that all checks of this kind share, such as `gate.labels`.
    pub fn rule(self) -> &'static str {
        self.rule
    }

    pub fn about(self) -> About {
        self.about
    }

    pub fn can_be_waived(self) -> bool {
        self.can_be_waived
    }

    /// The id of the check about one subject.
    pub fn of(self, subject: &str) -> CheckId {
        CheckId { rule: self.rule, subject: Some(subject.to_string()) }
    }
}

/// The id of one check: its kind and its subject, such as `gate.labels.train` or `probe.fraud.golden`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckId {
    rule: &'static str,
    subject: Option<String>,
}

impl CheckId {
    /// See [`CheckKind::rule`].
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// The name of the data source, base model or probe. `None` if the check is about the release.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }
}

impl From<CheckKind> for CheckId {
    fn from(kind: CheckKind) -> Self {
        Self { rule: kind.rule, subject: None }
    }
}

impl PartialEq<CheckKind> for CheckId {
    fn eq(&self, kind: &CheckKind) -> bool {
        self.subject.is_none() && self.rule == kind.rule
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.subject, self.rule.strip_prefix("probe.")) {
            (None, _) => formatter.pad(self.rule),
            (Some(subject), Some(aspect)) => formatter.pad(&format!("probe.{subject}.{aspect}")),
            (Some(subject), None) => formatter.pad(&format!("{}.{subject}", self.rule)),
        }
    }
}

pub const SEAL: CheckKind = CheckKind::new("seal", About::Release);
pub const RELEASE: CheckKind = CheckKind::new("release", About::Release);
pub const SIGNATURE: CheckKind = CheckKind::new("signature", About::Release);
pub const ARCHIVE: CheckKind = CheckKind::new("archive", About::Release);
pub const FILES: CheckKind = CheckKind::new("files", About::Release);
pub const MODEL_SIGNATURE: CheckKind = CheckKind::new("model_signature", About::Release);
pub const LINEAGE: CheckKind = CheckKind::new("lineage", About::Release);
pub const CODE: CheckKind = CheckKind::waivable("lineage.code", About::Release);
pub const RECIPE: CheckKind = CheckKind::new("lineage.recipe", About::Release);
pub const NO_DATA: CheckKind = CheckKind::waivable("lineage.data", About::Release);
pub const DATA: CheckKind = CheckKind::waivable("lineage.data", About::Data);
pub const BASE: CheckKind = CheckKind::waivable("lineage.base", About::Base);
pub const PARAMS: CheckKind = CheckKind::waivable("lineage.params", About::Release);
pub const ENVIRONMENT: CheckKind = CheckKind::waivable("lineage.environment", About::Release);
pub const ORIGIN: CheckKind = CheckKind::waivable("lineage.origin", About::Release);
pub const REACHABLE: CheckKind = CheckKind::waivable("lineage.reachable", About::Release);
pub const ATTESTATION: CheckKind = CheckKind::new("attestation", About::Release);
pub const MODEL: CheckKind = CheckKind::new("model", About::Release);
pub const PREVIOUS: CheckKind = CheckKind::new("previous", About::Release);
pub const SIGNATURES: CheckKind = CheckKind::new("signatures", About::Release);
pub const ROLLBACK: CheckKind = CheckKind::new("gate.rollback", About::Release);
pub const VERSION: CheckKind = CheckKind::waivable("gate.version", About::Release);

/// Every kind of check that is made with any set of rules, in the order of the steps.
pub const STEPS: [CheckKind; 22] = [
    SEAL,
    RELEASE,
    SIGNATURE,
    ARCHIVE,
    FILES,
    MODEL_SIGNATURE,
    LINEAGE,
    CODE,
    RECIPE,
    NO_DATA,
    DATA,
    BASE,
    PARAMS,
    ENVIRONMENT,
    ORIGIN,
    REACHABLE,
    ATTESTATION,
    MODEL,
    PREVIOUS,
    SIGNATURES,
    VERSION,
    ROLLBACK,
];
