//! The policy, `gate.toml`: what a deployment demands. It is the deployer's file and is never taken from an archive.

mod parse;
mod settle;
mod signers;
mod tables;

use std::fmt;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub(crate) use settle::merge;
pub use tables::{Previous, Probe, Signer, Waiver, Warnings};

use toml::Spanned;

use crate::config::Mistake;
use crate::report::{About, Check, CheckId};
use crate::rule::{Demand, Evidence, Rule, Table};
use modelseal_format::digest::Digest;
use modelseal_format::manifest::{Origin, Rung};

/// Maximum length of a policy in bytes.
const LONGEST: u64 = 1 << 20;

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the policy {} does not exist", modelseal_format::display::path(.0))]
    Missing(PathBuf),
    #[error("cannot read the policy {}", modelseal_format::display::path(path))]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the policy {} is not {what}", modelseal_format::display::path(path))]
    NotText { path: PathBuf, what: &'static str },
    #[error(transparent)]
    Mistake(Box<Mistake>),
    #[error("cannot use the signer {} of the policy", modelseal_format::display::name(name))]
    Signer { name: String, source: crate::trust::TrustError },
    #[error("cannot use the signer {} of the policy", modelseal_format::display::name(name))]
    SignerKey { name: String, source: modelseal_format::sign::KeyError },
}

/// A policy: which signers it trusts, which questions it asks of a release, and which failures it waives.
#[derive(Debug)]
#[non_exhaustive]
pub struct Policy {
    pub path: PathBuf,
    /// Its text, byte for byte.
    pub text: String,
    /// The name of the only model that this policy is for.
    pub model: Spanned<String>,
    /// The weakest origin that is accepted.
    pub origin: Option<Origin>,
    /// The weakest level at which a rebuild makes a release `reproduced`. By default R2, because equal answers alone do
    /// not.
    pub reproduced_level: Option<Rung>,
    /// How many distinct signers must have signed.
    pub signatures: Option<Spanned<i64>>,
    /// The lowest `release` number that is accepted.
    pub min_release: Option<u64>,
    pub previous: Option<Previous>,
    pub warnings: Warnings,
    pub signer: Vec<Signer>,
    pub waiver: Vec<Waiver>,
    /// How live models are probed, in the order of the names.
    pub probes: Vec<Probe>,
    asked: Vec<Asked>,
}

/// A question that the policy asks.
#[derive(Debug)]
struct Asked {
    rule: &'static dyn Rule,
    /// The name of the data source or probe. Empty for a question about the release.
    subject: String,
    demand: Box<dyn Demand>,
}

impl fmt::Debug for dyn Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kinds().first().map_or("rule", |kind| kind.rule()))
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`Error`]. A mistake in the text shows its line, its column and the nearest known name.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Missing(path.to_path_buf()),
            _ => Error::Io { path: path.to_path_buf(), source },
        };
        let not_text = |what| Error::NotText { path: path.to_path_buf(), what };
        if !fs::metadata(path).map_err(io)?.is_file() {
            return Err(not_text("a regular file"));
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(io)?;
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > LONGEST {
            return Err(not_text("usable: it is longer than 1 MiB"));
        }
        let text = String::from_utf8(bytes).map_err(|_| not_text("UTF-8 text"))?;
        Self::parse(path.to_path_buf(), text)
    }

    /// The directory to which every path in the policy is relative.
    pub fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        }
    }

    pub fn sha256(&self) -> Digest {
        Digest::sha256(self.text.as_bytes())
    }

    /// What the policy demands, one phrase each.
    pub fn demands(&self) -> Vec<String> {
        let mut demands = vec![format!("model {}", self.model.get_ref())];
        if let Some(count) = self.signatures.as_ref().map(Spanned::get_ref).filter(|count| **count > 1) {
            demands.push(format!("{count} signatures"));
        }
        demands.extend(self.min_release.map(|number| format!("release number {number} or higher")));
        demands.extend(self.reproduced_level.map(|level| format!("rebuilt as {} or better", level.name())));
        let is_same =
            |left: &Asked, right: &Asked| left.group() == right.group() && left.subject == right.subject;
        for asked in self.asked.chunk_by(is_same) {
            let words = asked.iter().filter_map(|asked| asked.demand.words());
            match asked[0].group() {
                None => demands.extend(words),
                Some(group) => {
                    let words: Vec<String> = words.collect();
                    let words =
                        if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) };
                    demands.push(format!("{group} {}{words}", asked[0].subject));
                }
            }
        }
        if self.previous == Some(Previous::Required) {
            demands.push("a comparison with the previous release".to_string());
        }
        if self.warnings == Warnings::Fail {
            demands.push("no warnings".to_string());
        }
        demands
    }

    /// Answers every question from the evidence.
    pub fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check> {
        self.asked.iter().flat_map(|asked| asked.demand.judge(evidence)).collect()
    }

    /// The demands that only a manifest can meet: the id of the check, and what is needed.
    pub fn needs(&self) -> Vec<(CheckId, String)> {
        let mut needs: Vec<(CheckId, String)> = Vec::new();
        for asked in self.asked.iter().filter(|asked| !asked.demand.is_optional()) {
            let Some(kind) = asked.rule.kinds().first() else { continue };
            let id =
                if kind.about() == About::Release { CheckId::from(*kind) } else { kind.of(&asked.subject) };
            match asked.group() {
                None => needs.extend(asked.demand.words().map(|words| (id, words))),
                // The first rule of a group needs the subject itself.
                Some(group) => {
                    let needed = format!("the {group} `{}`", asked.subject);
                    if !needs.iter().any(|(_, other)| *other == needed) {
                        needs.push((id, needed));
                    }
                }
            }
        }
        needs
    }

    /// Creates an error for a mistake at a place in this policy.
    pub fn mistake(&self, span: Range<usize>, message: impl Into<String>) -> Error {
        Error::Mistake(Box::new(Mistake::new(&self.path, &self.text, Some(span), message.into())))
    }
}

impl Asked {
    fn group(&self) -> Option<&'static str> {
        match self.rule.table() {
            Table::Top => None,
            Table::Each(group) => Some(group),
        }
    }
}
