//! The parts of a policy other than its rules: which signers it trusts, what it waives, and how live models are probed.

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
    /// The currently deployed release must be named.
    Required,
    /// A comparison is made if the release is named.
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
    /// The file of a public key, relative to the policy.
    pub key: Option<Spanned<String>>,
    /// A file with the certificates of an authority, including its root, relative to the policy.
    pub certificate: Option<Spanned<String>>,
    /// The subject that the authority must have certified.
    pub subject: Option<Spanned<String>>,
    /// The identity that Sigstore must vouch for.
    pub identity: Option<Spanned<String>>,
    /// A regular expression that must match the whole identity.
    pub identity_regexp: Option<Spanned<String>>,
    /// The issuer that must have authenticated the identity.
    pub issuer: Option<Spanned<String>>,
    /// A Sigstore trusted root, relative to the policy. It vouches for identities; without it, the public-good instance
    /// does. It also vouches for the time of signatures made with certificates.
    pub trusted_root: Option<Spanned<String>>,
    #[serde(default = "may_build")]
    pub may: Spanned<Vec<Role>>,
    #[serde(default, deserialize_with = "optional_time")]
    pub not_before: Option<Timestamp>,
    #[serde(default, deserialize_with = "optional_time")]
    pub not_after: Option<Timestamp>,
    /// If set, no signature by this signer counts, whenever it was made.
    #[serde(default)]
    pub revoked: bool,
    /// Why the signer was revoked.
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

/// How `modelseal probe` asks a release, and what the policy demands of its answers: `[probe.NAME]`.
#[derive(Debug)]
pub struct Probe {
    pub name: String,
    pub limits: ProbeLimits,
    /// Answers that mean that the model gave no answer.
    pub fallback: Vec<Spanned<serde_json::Value>>,
    /// The argument vector.
    pub command: Option<Spanned<Vec<String>>>,
    /// The questions, relative to the policy. They must be the ones asked when the release was built.
    pub inputs: Option<Spanned<String>>,
    /// The directory in which the command runs, relative to the policy. By default, the directory of the policy.
    pub cwd: Option<Spanned<String>>,
    /// Time limit for all answers together, which replaces the default limits.
    pub timeout: Option<Age>,
}

impl Probe {
    /// The keys that it reads in addition to those of the rule.
    pub(super) const KEYS: [&'static str; 5] = ["fallback", "command", "inputs", "cwd", "timeout"];

    /// Takes its keys out of a section after the rule has read its own.
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
            (Some(command), None) => Err(SectionError::at(
                command.span(),
                "a `command` needs `inputs`: the file with the questions",
            )),
            (Some(command), _) if command.get_ref().first().is_none_or(String::is_empty) => {
                let message = "a command is a list: a program and its arguments";
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

/// Reads a date and a time with a zone. Without a zone, the end of the period would be ambiguous.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let written = toml::value::Datetime::deserialize(deserializer)?.to_string();
    written.parse().map_err(|_| {
        de::Error::custom("expected a date, a time and a time zone, such as `2027-06-30T00:00:00Z`")
    })
}

fn optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    time(deserializer).map(Some)
}
