//! One report, rendered for people or machines.
//!
//! A report says what was asked and what was found. It does not know how a check was made.

pub mod id;
mod json;
mod render;
mod renderers;
mod style;
mod text;

use modelseal_format::digest::Digest;
use modelseal_format::manifest::{Missing, Model, Origin};

pub use id::{About, CheckId, CheckKind};
pub use json::to_json;
pub use modelseal_format::hint::Hint;
pub use render::Renderer;
pub use renderers::{RENDERERS, renderer};
pub use style::Style;
pub use text::to_text;

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Pass,
    /// Worth knowing, but it does not stop a deployment.
    Warn,
    Fail,
    /// Not asked or not reached.
    Skip,
    /// Asked, but could not be decided.
    Unknown,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Warn => "warn",
            Status::Fail => "fail",
            Status::Skip => "skip",
            Status::Unknown => "unknown",
        }
    }
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Check {
    pub id: CheckId,
    pub status: Status,
    pub message: String,
    /// The file that the check is about, not escaped.
    pub path: Option<String>,
    pub expected: Option<String>,
    pub actual: Option<String>,
    pub hint: Option<Hint>,
    /// The measured value, and the limit it was compared with, in the unit of the rule.
    pub measured: Option<f64>,
    pub limit: Option<f64>,
    /// The check did not pass, and a waiver of the policy excuses that for now.
    pub is_waived: bool,
}

impl Check {
    pub fn new(id: impl Into<CheckId>, status: Status, message: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            status,
            message: message.into(),
            path: None,
            expected: None,
            actual: None,
            hint: None,
            measured: None,
            limit: None,
            is_waived: false,
        }
    }

    pub fn pass(id: impl Into<CheckId>, message: impl Into<String>) -> Self {
        Self::new(id, Status::Pass, message)
    }

    pub fn warn(id: impl Into<CheckId>, message: impl Into<String>) -> Self {
        Self::new(id, Status::Warn, message)
    }

    pub fn fail(id: impl Into<CheckId>, message: impl Into<String>) -> Self {
        Self::new(id, Status::Fail, message)
    }

    pub fn skip(id: impl Into<CheckId>, message: impl Into<String>) -> Self {
        Self::new(id, Status::Skip, message)
    }

    pub fn unknown(id: impl Into<CheckId>, message: impl Into<String>) -> Self {
        Self::new(id, Status::Unknown, message)
    }

    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    pub fn differs(mut self, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self.actual = Some(actual.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<Hint>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the measured value and the limit it was compared with. Numbers that are not finite are left out.
    pub fn measured(mut self, measured: f64, limit: f64) -> Self {
        (self.measured, self.limit) =
            (Some(measured).filter(|n| n.is_finite()), Some(limit).filter(|n| n.is_finite()));
        self
    }
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
    Inconclusive,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Inconclusive => "inconclusive",
        }
    }

    /// The exit status: 0, 1 or 3. CI jobs depend on these values.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Fail => 1,
            Verdict::Inconclusive => 3,
        }
    }
}

/// A signer whose signature was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signer {
    /// SHA-256 of the key's PEM text.
    pub key: Digest,
    pub name: String,
    /// The subject of the certificate, if an authority vouches for the signer.
    pub subject: Option<String>,
    /// The identity, if an identity issuer vouches for the signer.
    pub identity: Option<String>,
    pub issuer: Option<String>,
}

impl Signer {
    /// A signer known by its key.
    pub fn new(key: Digest, name: impl Into<String>) -> Self {
        Self { key, name: name.into(), subject: None, identity: None, issuer: None }
    }

    /// The signer's name for people.
    fn shown(&self) -> String {
        let who = self.subject.as_ref().or(self.identity.as_ref()).unwrap_or(&self.name);
        modelseal_format::display::Escaped(who).to_string()
    }
}

/// The policy that was applied to a release.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppliedPolicy {
    /// As the caller named it.
    pub path: String,
    pub sha256: Digest,
}

/// Everything that a verification found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// What was verified, as the caller named it, not escaped.
    pub target: String,
    /// What the caller demanded, one phrase each.
    pub demanded: Vec<String>,
    pub policy: Option<AppliedPolicy>,
    pub release: Option<Digest>,
    pub model: Option<Model>,
    pub model_digest: Option<Digest>,
    pub origin: Option<Origin>,
    pub missing: Vec<Missing>,
    pub files: Option<u64>,
    pub signers: Vec<Signer>,
    /// Which algorithms hashed the content of the files.
    pub hash: &'static str,
    /// RFC 3339, UTC.
    pub evaluated_at: String,
    pub checks: Vec<Check>,
    /// What was not asked for or could not be examined.
    pub not_checked: Vec<String>,
}

/// The checks that every release must pass. Without them, no report passes.
const DECISIVE: [CheckKind; 3] = [id::SEAL, id::SIGNATURE, id::FILES];

impl Report {
    /// Puts the caller's words in the place of hints that it has words for.
    pub fn spell_hints(&mut self, spell: impl Fn(&Hint) -> Option<String>) {
        for hint in self.checks.iter_mut().filter_map(|check| check.hint.as_mut()) {
            if let Some(text) = spell(hint) {
                *hint = Hint::Text(text);
            }
        }
    }

    /// Fails if any check failed or a decisive check did not pass. Inconclusive if something that was demanded could
    /// not be decided. Otherwise passes.
    pub fn verdict(&self) -> Verdict {
        let any = |status| self.checks.iter().any(|check| check.status == status);
        let passed = |kind: &CheckKind| {
            self.checks.iter().any(|check| check.id == *kind && check.status == Status::Pass)
        };
        if any(Status::Fail) || !DECISIVE.iter().all(passed) {
            Verdict::Fail
        } else if any(Status::Unknown) {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        }
    }

    /// The verdict in one sentence, which is the last line of the text report.
    pub fn summary(&self) -> String {
        let first = |status| self.checks.iter().filter(move |check| check.status == status);
        match self.verdict() {
            Verdict::Pass => {
                let files =
                    modelseal_format::display::count(self.files.unwrap_or(0), "file matches", "files match");
                let what = match self.release {
                    Some(release) => {
                        format!("release sha256:{}", modelseal_format::display::short(&release.to_string()))
                    }
                    None => "the model signature".to_string(),
                };
                let signers: Vec<String> = self.signers.iter().map(Signer::shown).collect();
                let lineage = match self.origin {
                    Some(origin) => format!("origin {} accepted", origin.name()),
                    None => "no lineage".to_string(),
                };
                let policy = match &self.policy {
                    None => "no policy".to_string(),
                    Some(policy) => format!("policy {}", modelseal_format::display::name(&policy.path)),
                };
                format!("pass: {files} {what} signed by {}; {policy}: {lineage}", signers.join(", "))
            }
            Verdict::Fail => {
                // A check about one file is more informative than the count of all files.
                let mut failed: Vec<&Check> = first(Status::Fail).collect();
                failed.sort_by_key(|check| check.path.is_none());
                let count = first(Status::Fail).filter(|check| check.path.is_some()).count();
                match failed.first() {
                    Some(check) if count > 1 && check.path.is_some() => {
                        let all = first(Status::Fail).find(|other| other.id == check.id);
                        format!("fail: {}", all.map_or(&check.message, |all| &all.message))
                    }
                    Some(check) => format!("fail: {}", check.message),
                    None => "fail: a required check was not made".to_string(),
                }
            }
            Verdict::Inconclusive => {
                let unknown = first(Status::Unknown).next().map_or("", |check| &check.message);
                format!("inconclusive: {unknown}")
            }
        }
    }
}
