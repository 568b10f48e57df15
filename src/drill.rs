//! Tests whether a policy catches faults: makes copies of a good release, each broken in one way, and runs the real
//! `verify` on them.
//!
//! A temporary key signs everything that needs a signature. During the drill, the policy's demands apply to what this
//! key signs. Large files are represented by their first bytes, because a policy judges only what is sealed about them.
//! The original is only read.

mod bytes;
mod lineage;
mod release;
mod rules;
mod succession;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use modelseal_build::run::Scratch;
use modelseal_format::canonical::{Canonical, Counted};
use modelseal_format::context::Context;
use modelseal_format::manifest::{Attestation, Claim, Origin, Rung};
use modelseal_format::sign::{KeyAlgorithm, KeyError, PrivateKey, SignedBundle, Signer};
use modelseal_verify::policy::Policy;
use modelseal_verify::report::{Report, Status, Verdict};
use modelseal_verify::rule::Rebuilt;
use modelseal_verify::trust::{Role, TrustedSigner};
use modelseal_verify::verify::{self, Sealed, Target, materialize, read_sealed, verify};

use release::Draft;

/// How to drill.
pub struct Options<'a> {
    pub signers: &'a [TrustedSigner],
    pub policy: &'a Policy,
    pub context: &'a Context,
}

/// Why nothing was drilled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Verify(#[from] verify::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot make a copy of the release")]
    Copy(#[source] std::io::Error),
}

/// The outcome of one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The check with this id caught it, with this message.
    Caught { check: String, message: String },
    /// The policy does not catch it. `cure` would.
    LetThrough { cure: String },
    /// This release has nothing that could be broken in this way.
    NotApplicable { reason: String },
}

/// One fault and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub fault: String,
    pub fate: Fate,
}

/// The result of a drill.
#[derive(Debug)]
pub struct Drilled {
    /// The report on the release itself. If it did not pass, nothing was drilled.
    pub original: Report,
    /// The report on a healthy successor. A policy that refuses it raises a false alarm. `None` if the drill did not
    /// get that far.
    pub healthy: Option<Report>,
    pub rows: Vec<Row>,
}

impl Drilled {
    /// Passes if the original and its healthy successor pass and no fault does.
    pub fn verdict(&self) -> Verdict {
        let healthy = self.healthy.as_ref().map_or(Verdict::Fail, Report::verdict);
        let through = self.rows.iter().any(|row| matches!(row.fate, Fate::LetThrough { .. }));
        match (self.original.verdict(), healthy) {
            (Verdict::Pass, Verdict::Pass) if !through => Verdict::Pass,
            _ => Verdict::Fail,
        }
    }
}

/// A way to break a release.
struct Fault {
    name: String,
    /// The line of a policy or recipe that guards against it.
    cure: String,
    /// Breaks a copy. `Err` if this release has nothing to break in this way.
    attempt: Result<Attempt, String>,
}

fn fault(name: String, cure: &str, attempt: Option<Attempt>, lacks: &str) -> Fault {
    Fault { name, cure: cure.to_string(), attempt: attempt.ok_or_else(|| lacks.to_string()) }
}

/// A broken copy, and the attestations that others give for it.
struct Attempt {
    archive: Vec<u8>,
    signer: SignerState,
    rebuilt: Rebuilt,
    /// As many others as the policy demands have approved it.
    approved: bool,
}

impl Attempt {
    /// Correctly signed, and rebuilt and approved if the policy demands that.
    fn trusted(archive: Vec<u8>) -> Self {
        Self { archive, signer: SignerState::Trusted, rebuilt: Rebuilt::Another, approved: true }
    }
}

/// What is known about the key that signed a copy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SignerState {
    /// The drill's key is trusted. The copy itself may be signed by another key.
    Trusted,
    Expired,
    OtherRole,
}

/// Breaks copies of a release in every known way and verifies each by the policy.
///
/// # Errors
/// [`Error`] if the drill could not be run. Its outcome is in the result.
pub fn drill(target: &Target, options: &Options<'_>) -> Result<Drilled, Error> {
    let scratch = Scratch::new(options.context.cancel()).map_err(Error::Copy)?;
    let mut verifying = verify::Options::new(options.signers);
    verifying.context = options.context.clone();
    let verified = materialize(target, &scratch.path().join("original"), &verifying)?;
    let mut drilled = Drilled { original: verified.report().clone(), healthy: None, rows: Vec::new() };
    let Some(release) = verified.accepted() else { return Ok(drilled) };
    let Some(directory) = release.directory() else { return Ok(drilled) };
    let throw_away = PrivateKey::generate(KeyAlgorithm::P256)?.into();
    let (previous, healthy) =
        Draft::pair(release.manifest(), directory, &throw_away, options.context.now).map_err(Error::Copy)?;
    let ground = Ground {
        options,
        key: &throw_away,
        rebuilder: PrivateKey::generate(KeyAlgorithm::P256)?.into(),
        approvers: approvers(options.policy)?,
        place: scratch.path(),
        previous: scratch.path().join("previous.tar"),
    };
    std::fs::write(&ground.previous, previous.archive()?).map_err(Error::Copy)?;
    let report = ground.verify(&Attempt::trusted(healthy.archive()?))?;
    let is_healthy = report.verdict() == Verdict::Pass;
    drilled.healthy = Some(report);
    if !is_healthy {
        return Ok(drilled);
    }
    let mut faults = bytes::faults(&healthy)?;
    faults.extend(lineage::faults(&healthy)?);
    faults.extend(succession::faults(&healthy, &previous, ground.approvers.len())?);
    faults.extend(rules::faults(&healthy, &previous, options)?);
    for fault in faults {
        let fate = match &fault.attempt {
            Err(reason) => Fate::NotApplicable { reason: reason.clone() },
            Ok(attempt) => fate(&ground.verify(attempt)?, fault.cure),
        };
        drilled.rows.push(Row { fault: fault.name, fate });
    }
    Ok(drilled)
}

/// The signers that the policy demands in addition to the builder, one for each further signature.
fn approvers(policy: &Policy) -> Result<Vec<Signer>, Error> {
    let demanded = policy.signatures.as_ref().map_or(1, |signatures| *signatures.get_ref());
    // A limit: no real release has this many signers. A policy that demands more does not pass a healthy successor.
    let keys = (1..demanded.min(64)).map(|_| PrivateKey::generate(KeyAlgorithm::P256).map(Signer::from));
    Ok(keys.collect::<Result<_, _>>()?)
}

fn fate(report: &Report, cure: String) -> Fate {
    if report.verdict() == Verdict::Pass {
        return Fate::LetThrough { cure };
    }
    let first = |status| report.checks.iter().find(|check| check.status == status);
    match first(Status::Fail).or_else(|| first(Status::Unknown)) {
        Some(check) => Fate::Caught { check: check.id.to_string(), message: check.message.clone() },
        None => Fate::Caught { check: "files".to_string(), message: report.summary() },
    }
}

/// The setting in which copies are verified.
struct Ground<'a> {
    options: &'a Options<'a>,
    key: &'a Signer,
    /// Attests that a copy was rebuilt.
    rebuilder: Signer,
    /// Approve a copy in addition to its builder.
    approvers: Vec<Signer>,
    place: &'a Path,
    previous: PathBuf,
}

impl Ground<'_> {
    fn verify(&self, attempt: &Attempt) -> Result<Report, Error> {
        let path = self.place.join("copy.tar");
        std::fs::write(&path, &attempt.archive).map_err(Error::Copy)?;
        let trusted = |name: &str, shown: &str, signer: &Signer| {
            TrustedSigner::key(name, shown, signer.public_key().clone())
        };
        let mut drilled = trusted("drill", "the drill's key", self.key);
        match attempt.signer {
            SignerState::Trusted => {}
            SignerState::Expired => drilled.rights.not_after = Some(Timestamp::UNIX_EPOCH),
            SignerState::OtherRole => drilled.rights.roles.retain(|role| *role != Role::Build),
        }
        let mut rebuilder = trusted("rebuilder", "the drill's rebuilder key", &self.rebuilder);
        rebuilder.rights.roles.retain(|role| *role != Role::Build);
        let approver = |key| {
            let mut approver = trusted("approver", "the drill's approver key", key);
            approver.rights.roles = vec![Role::Approve];
            approver
        };
        let mut signers = self.options.signers.to_vec();
        signers.extend([drilled, rebuilder]);
        signers.extend(self.approvers.iter().map(approver));
        let attestations = self.attest(&path, attempt)?;
        let previous = Target::Path(self.previous.clone());
        let mut options = verify::Options::new(&signers);
        options.policy = Some(self.options.policy);
        options.previous = Some(&previous);
        options.attestations = &attestations;
        options.context = self.options.context.clone();
        Ok(verify(&Target::Path(path), &options)?.into_report())
    }

    /// Writes the attestations by others that the policy demands. There are none if the copy cannot be read.
    fn attest(&self, copy: &Path, attempt: &Attempt) -> Result<Vec<PathBuf>, Error> {
        let rebuilder = match attempt.rebuilt {
            _ if self.options.policy.origin != Some(Origin::Reproduced) => None,
            Rebuilt::Nobody => None,
            Rebuilt::Another => Some(&self.rebuilder),
            Rebuilt::Builder => Some(self.key),
        };
        let approvers = self.approvers.iter().filter(|_| attempt.approved);
        let claims = rebuilder.into_iter().map(|key| (key, Claim::Reproduced(Rung::R0)));
        let claims = claims.chain(approvers.map(|key| (key, Claim::Approved)));
        let Sealed::Read { seal } = read_sealed(&Target::Path(copy.to_path_buf()), self.options.context)?
        else {
            return Ok(Vec::new());
        };
        let mut paths = Vec::new();
        for (index, (key, claim)) in claims.enumerate() {
            let (model, version) = (seal.manifest.model(), env!("CARGO_PKG_VERSION"));
            let payload = Attestation::new(model, seal.release, claim, version).payload();
            let path = self.place.join(format!("statement-{index}.sigstore.json"));
            let bundle = SignedBundle::sign(Counted::of(payload), key)?.to_vec();
            std::fs::write(&path, bundle).map_err(Error::Copy)?;
            paths.push(path);
        }
        Ok(paths)
    }
}
