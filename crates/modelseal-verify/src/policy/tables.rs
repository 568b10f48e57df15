//! What a policy says besides its rules: whom it trusts, what it excuses, and how live models are asked.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use crate::config::Age;
use crate::rule::{Section, SectionError};
use crate::rules::probes::ProbeLimits;
use crate::trust::{Rights, Role};

/// `previous`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Previous {
    /// The release that is deployed now must be named.
    Required,
    /// It is compared with if it is named.
    Optional,
}

/// `warnings`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Warnings {
    #[default]
    Allow,
    Fail,
}

/// `[[signer]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    pub name: Spanned<String>,
    /// A public key's file, relative to the policy.
    pub key: Option<Spanned<String>>,
    /// A file with the certificates of an authority, its root among them, relative to the policy.
    pub certificate: Option<Spanned<String>>,
    /// Whom the authority has to have certified.
    pub subject: Option<Spanned<String>>,
    /// Whom Sigstore has to vouch for.
    pub identity: Option<Spanned<String>>,
    /// A regular expression that the whole identity has to match.
    pub identity_regexp: Option<Spanned<String>>,
    /// Who has to have known the identity.
    pub issuer: Option<Spanned<String>>,
    /// A trusted root of Sigstore, relative to the policy: it vouches for identities, without it the
    /// public-good instance does, and for the time of signatures by certificates.
    pub trusted_root: Option<Spanned<String>>,
    #[serde(default = "may_build")]
    pub may: Spanned<Vec<Role>>,
    #[serde(default, deserialize_with = "optional_time")]
    pub not_before: Option<Timestamp>,
    #[serde(default, deserialize_with = "optional_time")]
    pub not_after: Option<Timestamp>,
    /// Nothing that it ever signed counts.
    #[serde(default)]
    pub revoked: bool,
    /// Why it was revoked.
    pub reason: Option<Spanned<String>>,
}

impl Signer {
    pub fn rights(&self) -> Rights {
        Rights {
            roles: self.may.get_ref().clone(),
            not_before: self.not_before,
            not_after: self.not_after,
            revoked: self
                .revoked
                .then(|| self.reason.as_ref().map_or(String::new(), |reason| reason.get_ref().clone())),
        }
    }
}

fn may_build() -> Spanned<Vec<Role>> {
    Spanned::new(0..0, vec![Role::Build])
}

/// How `modelseal probe` asks a release, and what the policy demands of the answers: `[probe.NAME]`.
#[derive(Debug)]
pub struct Probe {
    pub name: String,
    pub limits: ProbeLimits,
    /// Answers that mean that the model did not answer.
    pub fallback: Vec<Spanned<serde_json::Value>>,
    /// The argument vector.
    pub command: Option<Spanned<Vec<String>>>,
    /// The questions, relative to the policy: the same that were asked when it was built.
    pub inputs: Option<Spanned<String>>,
    /// Where the command runs, relative to the policy; by default beside it.
    pub cwd: Option<Spanned<String>>,
    /// How long all answers may take, instead of the usual limits.
    pub timeout: Option<Age>,
}

impl Probe {
    /// The keys that it reads besides those of the rule.
    pub(super) const KEYS: [&'static str; 5] = ["fallback", "command", "inputs", "cwd", "timeout"];

    /// Takes its keys out of a section that the rule has read.
    pub(super) fn read(section: &mut Section<'_>, limits: ProbeLimits) -> Result<Self, SectionError> {
        let probe = Self {
            name: section.subject().to_string(),
            limits,
            fallback: section.take("fallback")?.unwrap_or_default(),
            command: section.take("command")?,
            inputs: section.take("inputs")?,
            cwd: section.take("cwd")?,
            timeout: section.take("timeout")?,
        };
        match (&probe.command, &probe.inputs) {
            (Some(command), None) => {
                Err(SectionError::at(command.span(), "a `command` needs `inputs`: what it is asked"))
            }
            (Some(command), _) if command.get_ref().first().is_none_or(String::is_empty) => {
                let message = "a command is a list of a program and its arguments";
                Err(SectionError::at(command.span(), message))
            }
            _ => Ok(probe),
        }
    }
}

/// `[[waiver]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// The id of the check that may fail.
    pub check: Spanned<String>,
    pub reason: Spanned<String>,
    #[serde(deserialize_with = "time")]
    pub until: Timestamp,
}

/// A date and a time with a zone; without one nobody knows when it is over.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let written = toml::value::Datetime::deserialize(deserializer)?.to_string();
    written
        .parse()
        .map_err(|_| de::Error::custom("this time needs a date, a time and a zone: `2027-06-30T00:00:00Z`"))
}

fn optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    time(deserializer).map(Some)
}
