use jiff::Timestamp;

use modelseal_format::digest::Digest;
use modelseal_format::manifest::{Manifest, Origin};

/// What is judged: the sealed evidence of a release, and of the one before it.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    pub manifest: &'a Manifest,
    pub previous: Option<Previous<'a>>,
    /// After the attestations of others were counted.
    pub origin: Origin,
    pub now: Timestamp,
}

/// The release that is deployed now, accepted by the same signers.
#[derive(Clone, Copy)]
pub struct Previous<'a> {
    pub manifest: &'a Manifest,
    pub release: Digest,
}

impl<'a> Evidence<'a> {
    /// Of a release alone.
    pub fn new(manifest: &'a Manifest, now: Timestamp) -> Self {
        Self { manifest, previous: None, origin: manifest.internal().origin, now }
    }

    /// The manifest of the previous release.
    pub fn before(&self) -> Option<&'a Manifest> {
        self.previous.map(|previous| previous.manifest)
    }
}
