//! The statement that somebody has rebuilt a release. `docs/format.md` is its specification.

use serde::{Deserialize, Serialize};

use super::{Model, Rung, STATEMENT_TYPE, serialises_to, to_json};
use crate::digest::Digest;

/// `predicateType` of a reproduction.
pub const REPRODUCTION_TYPE: &str = "https://modelseal.dev/reproduction/v1";

/// That a release was rebuilt, and how alike the result was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reproduction {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: [ReleaseSubject; 1],
    predicate_type: String,
    predicate: Predicate,
}

/// The release, by its digest: nothing else identifies it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseSubject {
    name: String,
    digest: ReleaseDigest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseDigest {
    sha256: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Predicate {
    level: Rung,
    modelseal: String,
}

/// Why a signed payload is not a reproduction that this version understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReproductionError {
    #[error("it is {}, not a reproduction", crate::text::name(.0))]
    OtherPredicate(String),
    #[error("it is not in the form in which modelseal writes it")]
    Malformed,
}

impl Reproduction {
    pub fn new(model: &Model, release: Digest, level: Rung, version: &str) -> Self {
        Self {
            statement_type: STATEMENT_TYPE.to_string(),
            subject: [ReleaseSubject { name: model.directory(), digest: ReleaseDigest { sha256: release } }],
            predicate_type: REPRODUCTION_TYPE.to_string(),
            predicate: Predicate { level, modelseal: version.to_string() },
        }
    }

    /// Byte for byte what is signed.
    pub fn payload(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Reads a reproduction strictly, from exactly the bytes that were signed.
    ///
    /// # Errors
    /// [`ReproductionError`].
    pub fn parse(payload: &[u8]) -> Result<Self, ReproductionError> {
        #[derive(Deserialize)]
        struct Lenient {
            #[serde(rename = "predicateType")]
            predicate_type: String,
        }
        let lenient: Lenient = serde_json::from_slice(payload).map_err(|_| ReproductionError::Malformed)?;
        if lenient.predicate_type != REPRODUCTION_TYPE {
            return Err(ReproductionError::OtherPredicate(lenient.predicate_type));
        }
        let statement: Self = serde_json::from_slice(payload).map_err(|_| ReproductionError::Malformed)?;
        if statement.statement_type != STATEMENT_TYPE || !serialises_to(&statement, payload) {
            return Err(ReproductionError::Malformed);
        }
        Ok(statement)
    }

    /// Which release was rebuilt.
    pub fn release(&self) -> Digest {
        self.subject[0].digest.sha256
    }

    /// How alike the result was.
    pub fn level(&self) -> Rung {
        self.predicate.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_spelling_is_read_back() {
        let model = Model { name: "wine".into(), version: "1.0.0".into() };
        let statement = Reproduction::new(&model, Digest::sha256(b"x"), Rung::R1, "0.1.0");
        let payload = statement.payload();
        assert_eq!(Reproduction::parse(&payload), Ok(statement));
        let text = String::from_utf8(payload).expect("is text");
        for (other, expected) in [
            (format!("{text} "), ReproductionError::Malformed),
            (text.replace("\"R1\"", "\"R9\""), ReproductionError::Malformed),
            (text.replace("\"level\"", "\"x\":1,\"level\""), ReproductionError::Malformed),
            (
                text.replace("reproduction/v1", "rollback/v1"),
                ReproductionError::OtherPredicate("https://modelseal.dev/rollback/v1".into()),
            ),
            (String::new(), ReproductionError::Malformed),
        ] {
            assert_eq!(Reproduction::parse(other.as_bytes()), Err(expected), "{other}");
        }
    }
}
