//! The tables of a policy, as written: types and defaults.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::Bounds;
use crate::config::Age;
use crate::trust::{Rights, Role};
use modelseal_format::manifest::{Origin, Rung};

/// The tables of a policy, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    /// The name of the only model that this policy is for.
    pub model: Spanned<String>,
    /// The weakest origin that is accepted.
    pub origin: Option<Origin>,
    /// The weakest level at which a rebuild makes a release `reproduced`; without it R2: answers alone do
    /// not.
    pub reproduced_level: Option<Rung>,
    /// How many distinct signers must have signed.
    pub signatures: Option<Spanned<i64>>,
    /// The lowest `release` number that is accepted.
    pub min_release: Option<u64>,
    pub previous: Option<Previous>,
    #[serde(default)]
    pub warnings: Warnings,
    #[serde(default)]
    pub signer: Vec<Signer>,
    pub code: Option<Code>,
    #[serde(default)]
    pub data: BTreeMap<String, Data>,
    pub refresh: Option<Refresh>,
    #[serde(default)]
    pub probe: BTreeMap<String, Probe>,
    #[serde(default)]
    pub waiver: Vec<Waiver>,
}

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

/// `[code]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// Where the code must have come from.
    pub remote: Option<String>,
    /// `false`: everything was as committed.
    pub dirty: Option<bool>,
}

/// `[data.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Of the newest record, judged when the release is verified.
    pub max_age: Option<Spanned<Age>>,
    /// Labels against those of the previous release.
    pub labels: Option<Distance>,
    /// Labels of the oldest quarter against those of the newest.
    pub slices: Option<Distance>,
    /// Rows against those of the previous release.
    pub rows: Option<Spanned<Ratio>>,
}

/// How far two distributions of labels may be apart.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distance {
    /// Jensen-Shannon distance with the natural logarithm, 0 to 0.83; by default 0.1.
    pub max_js_distance: Option<Spanned<f64>>,
}

impl Distance {
    pub fn limit(&self) -> f64 {
        self.max_js_distance.as_ref().map_or(0.1, |limit| *limit.get_ref())
    }
}

/// How many times the rows of the previous release.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    pub min_ratio: Option<Spanned<f64>>,
    pub max_ratio: Option<Spanned<f64>>,
}

/// `[refresh]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// What becomes of a release whose inputs changed while the model did not, or whose data has nothing new.
    pub inert: Inert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Inert {
    Fail,
    Warn,
}

/// `[probe.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Whether the sealed result must be there.
    #[serde(default = "yes")]
    pub required: bool,
    /// Whether it must have been isolated.
    #[serde(default)]
    pub isolated: bool,
    /// What share the commonest answer may be.
    pub max_commonest: Option<Spanned<f64>>,
    /// What share the fallback may be.
    pub max_fallback: Option<Spanned<f64>>,
    /// What share of answers must change with the input.
    pub min_sensitivity: Option<Spanned<f64>>,
    /// Within which numbers of answers may count as the same.
    pub max_atol: Option<Spanned<f64>>,
    pub max_rtol: Option<Spanned<f64>>,
    /// Answers to `modelseal probe` that mean that the model did not answer.
    #[serde(default)]
    pub fallback: Vec<Spanned<serde_json::Value>>,
    /// The argument vector by which `modelseal probe` asks a release.
    pub command: Option<Spanned<Vec<String>>>,
    /// The questions, relative to the policy: the same that were asked when it was built.
    pub inputs: Option<Spanned<String>>,
    /// Where the command runs, relative to the policy; by default beside it.
    pub cwd: Option<Spanned<String>>,
    /// How long all answers may take, instead of the usual limits.
    pub timeout: Option<Age>,
}

impl Probe {
    pub fn bounds(&self) -> Bounds {
        let value = |limit: &Option<Spanned<f64>>| limit.as_ref().map(|limit| *limit.get_ref());
        let standard = Bounds::default();
        Bounds {
            max_commonest: value(&self.max_commonest),
            max_fallback: value(&self.max_fallback).unwrap_or(standard.max_fallback),
            min_sensitivity: value(&self.min_sensitivity),
        }
    }
}

fn yes() -> bool {
    true
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
