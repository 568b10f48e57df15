use serde::Deserialize;

use super::{FORMAT, InvalidManifest, LONGEST_PREDICATE, MOST_PARTS, Manifest, PROVENANCE_TYPE, validate};

/// Why a signed payload is not a manifest that this version can verify.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    #[error("the manifest is not valid JSON of the expected shape: {0}")]
    Malformed(String),
    #[error(
        "the manifest was made by a newer modelseal{}: this version reads format {FORMAT}",
        .0.as_ref().map(|version| format!(" ({version})")).unwrap_or_default()
    )]
    Newer(Option<String>),
    #[error("the signed statement is {}, not a manifest ({PROVENANCE_TYPE})", crate::display::name(.0))]
    OtherPredicate(String),
    #[error("the manifest contradicts itself: {0}")]
    Invalid(#[from] InvalidManifest),
    #[error("the manifest is not in modelseal's canonical form")]
    NotCanonical,
    #[error(
        "the manifest is too large, not counting its files: more than {LONGEST_PREDICATE} bytes or \
         {MOST_PARTS} parts"
    )]
    TooMuch,
}

/// Checks everything about a parsed manifest except that its text is canonical.
pub(super) fn judge(statement: &Manifest) -> Result<(), ParseError> {
    if statement.predicate_type != PROVENANCE_TYPE {
        return Err(ParseError::OtherPredicate(statement.predicate_type.clone()));
    }
    if statement.internal().format > FORMAT {
        return Err(ParseError::Newer(Some(crate::display::name(statement.made_by()))));
    }
    Ok(validate::validate(statement)?)
}

/// Explains why strict reading failed. If a lenient reading finds another kind of statement, or a newer one, that is
/// the better explanation.
pub(super) fn explain(payload: &[u8], failed: ParseError) -> ParseError {
    let lenient: Option<Lenient> = serde_json::from_slice(payload).ok();
    if let Some(other) = lenient.as_ref().and_then(|lenient| lenient.predicate_type.as_ref())
        && other != PROVENANCE_TYPE
    {
        return ParseError::OtherPredicate(other.clone());
    }
    let predicate = lenient.and_then(|lenient| lenient.predicate);
    let format = predicate
        .as_ref()
        .and_then(|predicate| predicate.build_definition.as_ref()?.internal_parameters.as_ref()?.format);
    let unknown = matches!(&failed, ParseError::Malformed(reason) if reason.starts_with("unknown "));
    if format.is_some_and(|format| format > FORMAT) || (format.is_some() && unknown) {
        let version = predicate
            .and_then(|predicate| predicate.run_details?.builder?.version?.modelseal)
            .map(|version| crate::display::name(&version));
        return ParseError::Newer(version);
    }
    failed
}

pub(super) fn malformed(error: &serde_json::Error) -> ParseError {
    ParseError::Malformed(crate::display::message(error))
}

#[derive(Deserialize)]
struct Lenient {
    #[serde(rename = "predicateType")]
    predicate_type: Option<String>,
    predicate: Option<LenientPredicate>,
}

#[derive(Deserialize)]
struct LenientPredicate {
    #[serde(rename = "buildDefinition")]
    build_definition: Option<LenientDefinition>,
    #[serde(rename = "runDetails")]
    run_details: Option<LenientRunDetails>,
}

#[derive(Deserialize)]
struct LenientDefinition {
    #[serde(rename = "internalParameters")]
    internal_parameters: Option<LenientInternal>,
}

#[derive(Deserialize)]
struct LenientInternal {
    format: Option<u32>,
}

#[derive(Deserialize)]
struct LenientRunDetails {
    builder: Option<LenientBuilder>,
}

#[derive(Deserialize)]
struct LenientBuilder {
    version: Option<LenientVersion>,
}

#[derive(Deserialize)]
struct LenientVersion {
    modelseal: Option<String>,
}
