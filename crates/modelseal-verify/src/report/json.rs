use serde::Serialize;

use super::Hint;
use super::{Check, Renderer, Report, Style};

pub(super) struct Json;

impl Renderer for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn about(&self) -> &'static str {
        "One JSON document, described by a published schema"
    }

    fn render(&self, report: &Report, _: Style) -> serde_json::Result<String> {
        Ok(to_json(report)? + "\n")
    }
}

/// The report as one JSON document, as described by `docs/schema/report.v1.json`.
pub fn to_json(report: &Report) -> serde_json::Result<String> {
    let tagged = |digest: &modelseal_format::digest::Digest| format!("sha256:{digest}");
    modelseal_format::display::json(&Wire {
        schema: "https://modelseal.dev/report/v1",
        verdict: report.verdict().name(),
        target: &report.target,
        release: report.release.as_ref().map(tagged),
        model: report.model.as_ref().map(|model| WireModel {
            name: &model.name,
            version: &model.version,
            digest: report.model_digest.as_ref().map(tagged).unwrap_or_default(),
        }),
        signers: report
            .signers
            .iter()
            .map(|signer| WireSigner {
                key: tagged(&signer.key),
                name: &signer.name,
                subject: signer.subject.as_deref(),
                identity: signer.identity.as_deref(),
                issuer: signer.issuer.as_deref(),
            })
            .collect(),
        origin: report.origin.map(|origin| origin.name()),
        missing: report.missing.iter().map(|part| part.name()).collect(),
        hash: report.hash,
        policy: report
            .policy
            .as_ref()
            .map(|policy| WirePolicy { path: &policy.path, digest: tagged(&policy.sha256) }),
        tool: concat!("modelseal ", env!("CARGO_PKG_VERSION")),
        evaluated_at: &report.evaluated_at,
        demanded: &report.demanded,
        checks: report.checks.iter().map(WireCheck::from).collect(),
        not_checked: &report.not_checked,
    })
}

#[derive(Serialize)]
struct Wire<'a> {
    schema: &'a str,
    verdict: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<WireModel<'a>>,
    signers: Vec<WireSigner<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    missing: Vec<&'a str>,
    hash: &'a str,
    /// `null` if there is no policy, so that readers can rely on the member.
    policy: Option<WirePolicy<'a>>,
    tool: &'a str,
    evaluated_at: &'a str,
    demanded: &'a [String],
    checks: Vec<WireCheck<'a>>,
    not_checked: &'a [String],
}

#[derive(Serialize)]
struct WireModel<'a> {
    name: &'a str,
    version: &'a str,
    digest: String,
}

#[derive(Serialize)]
struct WirePolicy<'a> {
    path: &'a str,
    digest: String,
}

#[derive(Serialize)]
struct WireSigner<'a> {
    key: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
}

#[derive(Serialize)]
struct WireCheck<'a> {
    id: String,
    rule: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waived: bool,
}

impl<'a> From<&'a Check> for WireCheck<'a> {
    fn from(check: &'a Check) -> Self {
        Self {
            id: check.id.to_string(),
            rule: check.id.rule(),
            subject: check.id.subject(),
            status: check.status.name(),
            path: check.path.as_deref(),
            expected: check.expected.as_deref(),
            actual: check.actual.as_deref(),
            measured: check.measured,
            limit: check.limit,
            message: &check.message,
            hint: check.hint.as_ref().map(Hint::to_string),
            waived: check.is_waived,
        }
    }
}
