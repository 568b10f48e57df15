use jiff::Timestamp;

use modelseal_format::manifest::{DataEvidence, Manifest, Origin, ProbeFacts};

/// A good release and its predecessor, into which faults are planted.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Healthy<'a> {
    pub manifest: &'a Manifest,
    pub previous: &'a Manifest,
    /// The name of the data source or probe to break. Empty for a rule about the release.
    pub subject: &'a str,
    /// The weakest origin that the policy accepts, if it sets one.
    pub demanded_origin: Option<Origin>,
    pub now: Timestamp,
}

/// One way to break a release.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fault {
    /// What is wrong with the broken release.
    pub name: String,
    /// The lines of a policy that detect the fault. They have no table header if the table is one of several.
    pub cure: String,
    /// The broken release. The error says what this release lacks for the fault.
    pub plant: Result<Plant, String>,
}

impl Fault {
    pub fn new(name: &str, cure: &str, plant: Option<Plant>, lacks: &str) -> Self {
        let plant = plant.ok_or_else(|| lacks.to_string());
        Self { name: name.to_string(), cure: cure.to_string(), plant }
    }
}

/// A broken release: the manifest to seal, and how the release is presented.
#[derive(Debug)]
#[non_exhaustive]
pub struct Plant {
    pub manifest: Manifest,
    /// Whether it has the files of the previous release.
    pub has_previous_files: bool,
    pub rebuilt: Rebuilt,
}

/// Who attests that the release was rebuilt, if the policy demands a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuilt {
    Nobody,
    Another,
    Builder,
}

impl Plant {
    pub fn new(manifest: Manifest) -> Self {
        Self { manifest, has_previous_files: false, rebuilt: Rebuilt::Another }
    }
}

impl<'a> Healthy<'a> {
    /// A release and its predecessor, judged now, for a rule about the release and a policy that accepts any origin.
    pub fn new(manifest: &'a Manifest, previous: &'a Manifest, now: Timestamp) -> Self {
        Self { manifest, previous, subject: "", demanded_origin: None, now }
    }

    /// The release with a changed manifest.
    pub fn changed(&self, change: impl FnOnce(&mut Manifest)) -> Plant {
        let mut manifest = self.manifest.clone();
        change(&mut manifest);
        Plant::new(manifest)
    }

    /// The release with changed evidence about the subject, a data source. `None` if the release has no such evidence.
    pub fn changed_data(&self, change: impl FnOnce(&mut DataEvidence) -> bool) -> Option<Plant> {
        let mut manifest = self.manifest.clone();
        let name = format!("data/{}", self.subject);
        let source = manifest.dependencies_mut().iter_mut().find(|input| input.name == name);
        let has_changed = source.and_then(|input| input.data_mut()).is_some_and(change);
        has_changed.then(|| Plant::new(manifest))
    }

    /// The release with changed results of the subject, a probe. `None` if there is no such probe.
    pub fn changed_probe(&self, change: impl FnOnce(&mut ProbeFacts)) -> Option<Plant> {
        let mut manifest = self.manifest.clone();
        let probe = manifest.probes_mut().iter_mut().find(|probe| probe.probe() == self.subject)?;
        change(&mut probe.annotations);
        Some(Plant::new(manifest))
    }
}
