//! Attestations about a release: reproductions, approvals and rollbacks. `docs/format.md` is their specification.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Manifest, Model, Rung, STATEMENT_TYPE, serialises_to, to_json};
use crate::digest::Digest;

/// `predicateType` of a reproduction.
pub const REPRODUCTION_TYPE: &str = "https://modelseal.dev/reproduction/v1";
/// `predicateType` of an approval.
pub const APPROVAL_TYPE: &str = "https://modelseal.dev/approval/v1";
/// `predicateType` of a rollback.
pub const ROLLBACK_TYPE: &str = "https://modelseal.dev/rollback/v1";

/// An attestation about a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The name of the release, only for people.
    name: String,
    release: Digest,
    claim: Claim,
    /// The version of modelseal that wrote it.
    modelseal: String,
}

/// What an attestation says about a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The release was rebuilt, and the result reached this level of similarity.
    Reproduced(Rung),
    /// A signer other than its builder approves the release.
    Approved,
    /// A rollback to the release is authorised.
    RolledBack(Rollback),
}

impl Claim {
    /// The word for this kind of attestation in its file name.
    pub fn word(&self) -> &'static str {
        match self {
            Claim::Reproduced(_) => "reproduction",
            Claim::Approved => "approval",
            Claim::RolledBack(_) => "rollback",
        }
    }
}

/// Why a rollback to a release is authorised, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    pub reason: String,
    /// To the second. It limits how long an old attestation next to an old release is accepted.
    pub until: Timestamp,
}

/// Why a signed payload is not an attestation that this version understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    #[error("its type is {}, which this version of modelseal does not know", crate::display::name(.0))]
    OtherPredicate(String),
    #[error("it is not in modelseal's canonical form")]
    Malformed,
}

impl Attestation {
    pub fn new(model: &Model, release: Digest, claim: Claim, version: &str) -> Self {
        Self { name: model.directory(), release, claim, modelseal: version.to_string() }
    }

    /// An attestation about the release of this manifest, written by this version.
    pub fn about(manifest: &Manifest, release: Digest, claim: Claim) -> Self {
        Self::new(manifest.model(), release, claim, env!("CARGO_PKG_VERSION"))
    }

    /// The signed bytes.
    pub fn payload(&self) -> Vec<u8> {
        let modelseal = self.modelseal.clone();
        match &self.claim {
            Claim::Reproduced(level) => {
                to_json(&self.wire(REPRODUCTION_TYPE, WireReproduction { level: *level, modelseal }))
            }
            Claim::Approved => to_json(&self.wire(APPROVAL_TYPE, WireApproval { modelseal })),
            Claim::RolledBack(Rollback { reason, until }) => {
                let (reason, until) = (reason.clone(), until.to_string());
                to_json(&self.wire(ROLLBACK_TYPE, WireRollback { reason, until, modelseal }))
            }
        }
    }

    fn wire<P>(&self, predicate_type: &str, predicate: P) -> Wire<P> {
        Wire {
            statement_type: STATEMENT_TYPE.to_string(),
            subject: [ReleaseSubject {
                name: self.name.clone(),
                digest: ReleaseDigest { sha256: self.release },
            }],
            predicate_type: predicate_type.to_string(),
            predicate,
        }
    }

    /// Reads an attestation strictly, from exactly the bytes that were signed.
    ///
    /// # Errors
    /// [`AttestationError`].
    pub fn parse(payload: &[u8]) -> Result<Self, AttestationError> {
        #[derive(Deserialize)]
        struct Lenient {
            #[serde(rename = "predicateType")]
            predicate_type: String,
        }
        let lenient: Lenient = serde_json::from_slice(payload).map_err(|_| AttestationError::Malformed)?;
        match lenient.predicate_type.as_str() {
            REPRODUCTION_TYPE => read(payload, |predicate: WireReproduction| {
                Some((Claim::Reproduced(predicate.level), predicate.modelseal))
            }),
            APPROVAL_TYPE => {
                read(payload, |predicate: WireApproval| Some((Claim::Approved, predicate.modelseal)))
            }
            ROLLBACK_TYPE => read(payload, |predicate: WireRollback| {
                let WireRollback { reason, until, modelseal } = predicate;
                // A time also has only one accepted spelling.
                let time: Timestamp =
                    until.parse().ok().filter(|time: &Timestamp| time.to_string() == until)?;
                Some((Claim::RolledBack(Rollback { reason, until: time }), modelseal))
            }),
            _ => Err(AttestationError::OtherPredicate(lenient.predicate_type)),
        }
    }

    /// The release that the attestation is about. Only this digest identifies it.
    pub fn release(&self) -> Digest {
        self.release
    }

    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

fn read<P: Serialize + DeserializeOwned>(
    payload: &[u8],
    claim: impl FnOnce(P) -> Option<(Claim, String)>,
) -> Result<Attestation, AttestationError> {
    let wire: Wire<P> = serde_json::from_slice(payload).map_err(|_| AttestationError::Malformed)?;
    if wire.statement_type != STATEMENT_TYPE || !serialises_to(&wire, payload) {
        return Err(AttestationError::Malformed);
    }
    let [subject] = wire.subject;
    let (claim, modelseal) = claim(wire.predicate).ok_or(AttestationError::Malformed)?;
    Ok(Attestation { name: subject.name, release: subject.digest.sha256, claim, modelseal })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wire<P> {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: [ReleaseSubject; 1],
    predicate_type: String,
    predicate: P,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseSubject {
    name: String,
    digest: ReleaseDigest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseDigest {
    sha256: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireReproduction {
    level: Rung,
    modelseal: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireApproval {
    modelseal: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRollback {
    reason: String,
    until: String,
    modelseal: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(claim: Claim) -> Attestation {
        let model = Model { name: "wine".into(), version: "1.0.0".into(), release: None };
        Attestation::new(&model, Digest::sha256(b"x"), claim, "0.1.0")
    }

    #[test]
    fn attestation_round_trips_for_every_claim() {
        let rollback = Rollback {
            reason: "ticket \"7\"\n".into(),
            until: "2026-12-01T00:00:00Z".parse().expect("a time"),
        };
        for claim in [Claim::Reproduced(Rung::R1), Claim::Approved, Claim::RolledBack(rollback)] {
            let statement = statement(claim);
            assert_eq!(Attestation::parse(&statement.payload()), Ok(statement));
        }
    }

    #[test]
    fn attestation_parser_rejects_every_other_spelling() {
        let text = String::from_utf8(statement(Claim::Reproduced(Rung::R1)).payload()).expect("is text");
        for (other, expected) in [
            (format!("{text} "), AttestationError::Malformed),
            (text.replace("\"R1\"", "\"R9\""), AttestationError::Malformed),
            (text.replace("\"level\"", "\"x\":1,\"level\""), AttestationError::Malformed),
            (text.replace("reproduction/v1", "approval/v1"), AttestationError::Malformed),
            (
                text.replace("reproduction/v1", "praise/v1"),
                AttestationError::OtherPredicate("https://modelseal.dev/praise/v1".into()),
            ),
            (String::new(), AttestationError::Malformed),
        ] {
            assert_eq!(Attestation::parse(other.as_bytes()), Err(expected), "{other}");
        }
    }
}
