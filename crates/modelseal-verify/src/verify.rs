//! Decides whether a received release is the one that was built.
//!
//! The steps are those of `docs/verification.md`. Each one is a file in this directory. Nothing is executed. No network
//! connection is opened unless the caller asks whether the commit can be reached. Only `unpack` writes, and it writes
//! only what it extracts. A failed check is a result, not an error: [`Error`] means that the check could not be made.

mod archive;
mod attestation;
mod contents;
mod directory;
mod files;
mod lineage;
mod model;
mod model_signature;
mod policy;
mod previous;
mod rollback;
mod seal;
mod signature;
mod signatures;
mod unpack;
mod verified;

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::policy::Policy;
use crate::report::{AppliedPolicy, Check, Report, Signer};
use crate::trust::{Accepted, Role, TrustedSigner, Who};
use modelseal_format::context::Context;
use modelseal_format::digest::{self, Algorithms, Digest};
use modelseal_format::manifest::Manifest;
use modelseal_format::release::{Discard, ModelSignature, Seal, SealError};

pub use contents::read_whole;
pub use model::{Model, verify_model};
pub use seal::{Sealed, read_sealed};
pub use unpack::{materialize, unpack};
pub use verified::{Release, Verified};

/// A check that needs more than the release, such as a checkout or the network. The caller makes it, and the policy
/// judges its result together with everything else.
pub trait OutsideCheck {
    /// What the caller demands with this check, in a phrase.
    fn demand(&self) -> Option<String> {
        None
    }

    /// Adds its findings about a release whose seal and signature were accepted.
    ///
    /// # Errors
    /// [`Error::Outside`] or [`Error::Interrupted`] if the check could not be made.
    fn check(&self, manifest: &Manifest, report: &mut Report, context: &Context) -> Result<(), Error>;
}

/// What the caller demands.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options<'a> {
    /// The accepted signers. Any one of them is enough, and there must be at least one.
    pub signers: &'a [TrustedSigner],
    pub release: Option<Digest>,
    /// Which of the sealed digests to compute.
    pub hash: Algorithms,
    /// Attestations about the release, in addition to those next to the target.
    pub attestations: &'a [PathBuf],
    pub outside: &'a [&'a dyn OutsideCheck],
    /// What the deployer demands of the evidence.
    pub policy: Option<&'a Policy>,
    /// The currently deployed release, to compare with.
    pub previous: Option<&'a Target>,
    pub context: Context,
}

impl<'a> Options<'a> {
    /// Demands everything that was sealed, signed by one of these signers, and nothing more.
    pub fn new(signers: &'a [TrustedSigner]) -> Self {
        Self {
            signers,
            release: None,
            hash: Algorithms::ALL,
            attestations: &[],
            outside: &[],
            policy: None,
            previous: None,
            context: Context::default(),
        }
    }
}

/// Why a verification could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read {}", modelseal_format::display::path(path))]
    Io { path: PathBuf, source: io::Error },
    #[error("{} does not exist", modelseal_format::display::path(.0))]
    Missing(PathBuf),
    #[error("{} is {kind}: expected an archive or a directory", modelseal_format::display::path(path))]
    Kind { path: PathBuf, kind: &'static str },
    #[error("no trusted signer was named")]
    NoSigner,
    #[error(transparent)]
    Digest(#[from] digest::Error),
    /// The error of an [`OutsideCheck`].
    #[error(transparent)]
    Outside(Box<dyn std::error::Error + Send + Sync>),
    #[error("{} is a directory: expected an archive", modelseal_format::display::path(.0))]
    NotAnArchive(PathBuf),
    #[error("cannot unpack to {}: it {reason}", modelseal_format::display::path(path))]
    Destination { path: PathBuf, reason: &'static str },
    #[error("cannot write {}", modelseal_format::display::path(path))]
    Write { path: PathBuf, source: io::Error },
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            _ if modelseal_format::context::is_cancelled(&source) => Error::Interrupted,
            io::ErrorKind::NotFound => Error::Missing(path.to_path_buf()),
            _ => Error::Io { path: path.to_path_buf(), source },
        }
    }
}

/// What to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An archive or an unpacked directory.
    Path(PathBuf),
    /// An archive on standard input.
    StandardInput,
}

impl Target {
    /// The target as the caller named it.
    pub fn shown(&self) -> String {
        match self {
            Target::Path(path) => path.to_string_lossy().into_owned(),
            Target::StandardInput => "-".to_string(),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Target::Path(path) => path,
            Target::StandardInput => Path::new("-"),
        }
    }
}

/// Verifies an archive or a directory.
///
/// # Errors
/// [`Error`] if the target cannot be read. Every problem with its content is in the report.
pub fn verify(target: &Target, options: &Options<'_>) -> Result<Verified, Error> {
    let mut verification = Verification::new(target, options)?;
    match seal::open(target)? {
        seal::Opened::Archive(source) => {
            archive::verify(&mut verification, source, &mut Discard)?;
            Ok(verification.end(None))
        }
        seal::Opened::Directory(root) => verify_directory(verification, root),
    }
}

fn verify_directory(mut verification: Verification<'_>, root: PathBuf) -> Result<Verified, Error> {
    directory::verify(&mut verification, &root)?;
    Ok(verification.end(Some(root)))
}

/// A verification in progress.
struct Verification<'a> {
    options: &'a Options<'a>,
    target: &'a Target,
    report: Report,
    /// The accepted signature of the seal.
    accepted: Option<Accepted<'a>>,
    /// Other signers that approve the release. Each is listed once, and the builder is not among them.
    approvals: Vec<Accepted<'a>>,
    /// Approvals of a rollback to this release.
    rollbacks: Vec<rollback::ApprovedRollback>,
    /// The seal, set once everything has been checked.
    seal: Option<Seal>,
}

impl<'a> Verification<'a> {
    fn new(target: &'a Target, options: &'a Options<'a>) -> Result<Self, Error> {
        if options.signers.is_empty() {
            return Err(Error::NoSigner);
        }
        let may_build =
            options.signers.iter().filter(|signer| signer.may_still(Role::Build, options.context.now));
        let signers: Vec<String> = may_build.map(TrustedSigner::demanded).collect();
        let mut demanded = vec![match signers.is_empty() {
            true => "a signature, but no trusted signer may build now".to_string(),
            false => format!("a signature by {}", signers.join(" or ")),
        }];
        if let Some(release) = options.release {
            demanded.push(format!("release sha256:{release}"));
        }
        demanded.extend(options.outside.iter().filter_map(|check| check.demand()));
        demanded.extend(options.policy.into_iter().flat_map(Policy::demands));
        let report = Report {
            target: target.shown(),
            demanded,
            policy: options.policy.map(|policy| AppliedPolicy {
                path: policy.path.to_string_lossy().into_owned(),
                sha256: policy.sha256(),
            }),
            release: None,
            model: None,
            model_digest: None,
            origin: None,
            missing: Vec::new(),
            files: None,
            signers: Vec::new(),
            hash: options.hash.name(),
            evaluated_at: seconds(options.context.now),
            checks: Vec::new(),
            not_checked: Vec::new(),
        };
        Ok(Self {
            options,
            target,
            report,
            accepted: None,
            approvals: Vec::new(),
            rollbacks: Vec::new(),
            seal: None,
        })
    }

    fn add(&mut self, check: Check) {
        self.report.checks.push(check);
    }

    /// Steps 1 and 2, on the seal that was read. `None` if either failed: nothing more is read then.
    fn seal_and_signature(&mut self, read: Result<Seal, SealError>) -> Option<Seal> {
        let seal = seal::check(self, read)?;
        self.accepted = signature::check(self, &seal);
        if let Some(accepted) = &self.accepted {
            self.report.signers.push(signer(accepted));
            return Some(seal);
        }
        self.not_reached("everything in the manifest (its signature was not accepted)");
        None
    }

    /// The result. `directory` contains the verified files.
    fn end(self, directory: Option<PathBuf>) -> Verified {
        Verified::new(self.report, self.seal, directory)
    }

    /// Records what was not examined because an earlier step failed.
    fn not_reached(&mut self, what: &str) {
        self.report.not_checked.push(what.to_string());
    }

    /// Steps 5 to 7, which are the same for archives and directories.
    fn finish(&mut self, seal: Seal, model_signature: Option<&ModelSignature>) -> Result<(), Error> {
        model_signature::check(self, &seal, model_signature);
        self.report.checks.extend(lineage::checks(&seal.manifest));
        for outside in self.options.outside {
            outside.check(&seal.manifest, &mut self.report, &self.options.context)?;
        }
        attestation::check(self, &seal)?;
        policy::check(self, &seal)?;
        self.seal = Some(seal);
        Ok(())
    }
}

/// A signer as reports show it.
fn signer(accepted: &Accepted<'_>) -> Signer {
    let mut signer = Signer::new(accepted.key.hint(), accepted.signer.name.clone());
    match &accepted.who {
        None => {}
        Some(Who::Certified { subject, .. }) => signer.subject = Some(subject.clone()),
        Some(Who::Identity { identity, issuer }) => {
            signer.identity = Some(identity.clone());
            signer.issuer = Some(issuer.clone());
        }
    }
    signer
}

/// RFC 3339, in whole seconds.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}
