use jiff::Timestamp;

use modelseal_format::manifest::{DataEvidence, Manifest, Origin, ProbeFacts};

/// A good release and the one before it, which faults are planted in.
#[derive(Clone, Copy)]
pub struct Healthy<'a> {
    pub manifest: &'a Manifest,
    pub previous: &'a Manifest,
    /// The data source or probe to break; empty for a rule about the release.
    pub subject: &'a str,
    /// The weakest origin that the policy accepts, if it says so.
    pub demanded_origin: Option<Origin>,
    pub now: Timestamp,
}

/// One way to break a release.
#[derive(Debug)]
pub struct Fault {
    /// What is wrong then.
    pub name: String,
    /// The lines of a policy that notice it, without the head of the table if that is one of several.
    pub cure: String,
    /// The broken release, or what this release lacks for that.
    pub plant: Result<Plant, String>,
}

impl Fault {
    pub fn new(name: &str, cure: &str, plant: Option<Plant>, lacks: &str) -> Self {
        let plant = plant.ok_or_else(|| lacks.to_string());
        Self { name: name.to_string(), cure: cure.to_string(), plant }
    }
}

/// A broken release: a manifest to seal, and the circumstances.
#[derive(Debug)]
pub struct Plant {
    pub manifest: Manifest,
    /// It has the files of the previous release.
    pub has_previous_files: bool,
    pub rebuilt: Rebuilt,
}

/// Who attests that a release was rebuilt, if the policy demands that.
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

impl Healthy<'_> {
    /// The release after a change of its manifest.
    pub fn changed(&self, change: impl FnOnce(&mut Manifest)) -> Plant {
        let mut manifest = self.manifest.clone();
        change(&mut manifest);
        Plant::new(manifest)
    }

    /// The release after a change of the evidence about the subject, a data source; `None` if it does not have what is
    /// to be changed.
    pub fn changed_data(&self, change: impl FnOnce(&mut DataEvidence) -> bool) -> Option<Plant> {
        let mut manifest = self.manifest.clone();
        let name = format!("data/{}", self.subject);
        let source = manifest.dependencies_mut().iter_mut().find(|input| input.name == name);
        let has_changed = source.and_then(|input| input.data_mut()).is_some_and(change);
        has_changed.then(|| Plant::new(manifest))
    }

    /// The release after a change of what the subject, a probe, found; `None` if there is no such probe.
    pub fn changed_probe(&self, change: impl FnOnce(&mut ProbeFacts)) -> Option<Plant> {
        let mut manifest = self.manifest.clone();
        let probe = manifest.probes_mut().iter_mut().find(|probe| probe.probe() == self.subject)?;
        change(&mut probe.annotations);
        Some(Plant::new(manifest))
    }
}
