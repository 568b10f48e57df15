//! Shared by the rules about data sources.

use crate::report::{Check, CheckId, CheckKind};
use crate::rule::{Evidence, SectionError};
use modelseal_format::display::name;
use modelseal_format::hint::Hint;
use modelseal_format::manifest::{DataEvidence, Manifest};
use toml::Spanned;

/// The data source that is judged.
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) data: &'a DataEvidence,
    /// The same source in the previous release.
    pub(super) previous: Option<&'a DataEvidence>,
    pub(super) evidence: &'a Evidence<'a>,
    kind: CheckKind,
}

impl<'a> Source<'a> {
    /// Finds the source. `None` if the release has no such source, which another rule judges.
    pub(super) fn find(evidence: &'a Evidence<'a>, name: &'a str, kind: CheckKind) -> Option<Self> {
        let data = evidence.manifest.data(name)?;
        let previous = evidence.before().and_then(|manifest| manifest.data(name));
        Some(Self { name, data, previous, evidence, kind })
    }

    pub(super) fn id(&self) -> CheckId {
        self.kind.of(self.name)
    }

    /// Whether the previous release has exactly the same data.
    pub(super) fn is_same_as_before(&self) -> bool {
        let digest = |manifest: &Manifest| {
            let mut sources = manifest.inputs("data");
            sources.find(|(name, _)| *name == self.name).map(|(_, input)| input.digest.tagged())
        };
        self.evidence.before().and_then(digest) == digest(self.evidence.manifest)
    }

    /// The check for a question that needs a previous release.
    pub(super) fn no_previous(&self) -> Check {
        let message = match self.evidence.previous {
            None => "there is no previous release to compare with".to_string(),
            Some(_) => format!("the previous release has no data source {}", name(self.name)),
        };
        Check::unknown(self.id(), message).hint(Hint::NamePrevious)
    }
}

/// Checks that a limit is a number above 0 and at most `most`.
pub(super) fn check_within(limit: &Spanned<f64>, most: f64) -> Result<(), SectionError> {
    let value = *limit.get_ref();
    if value.is_finite() && value > 0.0 && value <= most {
        return Ok(());
    }
    let message = match most {
        f64::MAX => "a limit must be a number above 0".to_string(),
        most => format!("this limit must be a number above 0 and at most {most}"),
    };
    Err(SectionError::at(limit.span(), message))
}
