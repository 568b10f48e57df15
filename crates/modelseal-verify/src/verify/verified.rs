//! The result of a verification.

use std::path::{Path, PathBuf};

use crate::report::{Report, Verdict};
use modelseal_format::digest::Digest;
use modelseal_format::manifest::{Manifest, Origin};
use modelseal_format::release::Seal;

/// The result of a verification. It provides the release only if the report does not refuse it.
#[must_use]
#[derive(Debug)]
pub struct Verified {
    report: Report,
    /// The seal, if its signature was accepted and everything after it was read.
    seal: Option<Box<Seal>>,
    /// The directory of the verified files on disk.
    directory: Option<PathBuf>,
}

impl Verified {
    pub(super) fn new(report: Report, seal: Option<Seal>, directory: Option<PathBuf>) -> Self {
        Self { report, seal: seal.map(Box::new), directory }
    }

    /// Every check and the verdict.
    pub fn report(&self) -> &Report {
        &self.report
    }

    pub fn verdict(&self) -> Verdict {
        self.report.verdict()
    }

    /// The report alone, without the release.
    pub fn into_report(self) -> Report {
        self.report
    }

    /// The release, if the verdict is [`Verdict::Pass`].
    pub fn accepted(&self) -> Option<Release<'_>> {
        self.release().filter(|_| self.verdict() == Verdict::Pass)
    }

    /// The release, unless the verdict is [`Verdict::Fail`]. An inconclusive release may be examined further; only
    /// an [accepted](Self::accepted) one may be deployed.
    pub fn not_refused(&self) -> Option<Release<'_>> {
        self.release().filter(|_| self.verdict() != Verdict::Fail)
    }

    fn release(&self) -> Option<Release<'_>> {
        let seal = self.seal.as_deref()?;
        let origin = self.report.origin.unwrap_or(seal.manifest.internal().origin);
        Some(Release { seal, origin, directory: self.directory.as_deref() })
    }
}

/// A verified release. Only [`Verified`] creates one.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    seal: &'a Seal,
    origin: Origin,
    directory: Option<&'a Path>,
}

impl<'a> Release<'a> {
    pub fn seal(&self) -> &'a Seal {
        self.seal
    }

    pub fn manifest(&self) -> &'a Manifest {
        &self.seal.manifest
    }

    /// The release digest.
    pub fn digest(&self) -> Digest {
        self.seal.release
    }

    /// The sealed origin, or [`Origin::Reproduced`] if an accepted attestation says so.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The directory of the verified files on disk. `None` if an archive was only read.
    pub fn directory(&self) -> Option<&'a Path> {
        self.directory
    }
}
