use jiff::Timestamp;

use modelseal_format::digest::Digest;
use modelseal_format::manifest::{Manifest, Origin};

/// The sealed evidence of a release, and of the one before it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Evidence<'a> {
    pub manifest: &'a Manifest,
    pub previous: Option<Previous<'a>>,
    /// The origin, with accepted attestations taken into account.
    pub origin: Origin,
    pub now: Timestamp,
}

/// The currently deployed release, which the same signers must have signed.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Previous<'a> {
    pub manifest: &'a Manifest,
    pub release: Digest,
}

impl<'a> Evidence<'a> {
    /// The evidence of a release without a previous one.
    pub fn new(manifest: &'a Manifest, now: Timestamp) -> Self {
        Self { manifest, previous: None, origin: manifest.internal().origin, now }
    }

    /// The same evidence, to compare with a previous release.
    #[must_use]
    pub fn after(self, manifest: &'a Manifest, release: Digest) -> Self {
        Self { previous: Some(Previous { manifest, release }), ..self }
    }

    /// The manifest of the previous release.
    pub fn before(&self) -> Option<&'a Manifest> {
        self.previous.map(|previous| previous.manifest)
    }
}
