//! Rebuilds a release from its manifest and compares the results.
//!
//! The release is verified first. Nothing from the release is run: the command comes from the commit that the manifest
//! names, and must be the sealed one. A release with untrue provenance and a release whose bytes come out differently
//! are always reported as different results.

mod attest;
mod behaviour;
mod circumstance;
mod rebuild;
mod seed;
mod sequence;
mod source;
mod stopped;
mod vary;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::compare::{self, Likeness};
use modelseal_build::build::ReachError;
use modelseal_build::inputs;
use modelseal_build::run::{Confinement, Listener, Scratch};
use modelseal_format::context::Context;
use modelseal_format::digest::Digest;
use modelseal_format::hint::Hint;
use modelseal_format::manifest::{CommandOutput, Demand, InputChange, Model, Origin, Rung};
use modelseal_format::release::StatementError;
use modelseal_verify::report::{Report, Verdict};
use modelseal_verify::trust::TrustedSigner;
use modelseal_verify::verify::{self, Target, materialize};

pub use attest::attest;
pub use circumstance::Circumstance;
use rebuild::Rebuilder;
use stopped::Stopped;
pub use vary::{Varied, VariedStatus};

/// How to rebuild.
pub struct Options<'a> {
    /// The trusted signers, at least one. Any one of them must have signed the release.
    pub signers: &'a [TrustedSigner],
    /// A clone on this machine or an address, used instead of the sealed remote.
    pub source: Option<&'a str>,
    /// The paths of data sources on this machine, by name.
    pub data: &'a BTreeMap<String, PathBuf>,
    /// Used instead of the sealed level.
    pub level: Option<Rung>,
    /// What is varied, one circumstance at a time.
    pub vary: &'a [Circumstance],
    /// The confinement that was decided before the first command.
    pub confinement: &'a Confinement,
    /// Called before a command runs, with what is varied and the command.
    pub announce: &'a dyn Fn(Option<Circumstance>, &[String]),
    pub listener: &'a dyn Listener,
    pub context: &'a Context,
}

/// Why nothing could be rebuilt or compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Verify(#[from] verify::Error),
    #[error(transparent)]
    Input(#[from] inputs::Error),
    #[error(transparent)]
    Compare(#[from] compare::Error),
    #[error("cannot create a temporary directory")]
    Scratch(#[source] io::Error),
    #[error("the rebuild did not reach the demanded level: there is nothing to attest")]
    NothingToAttest,
    #[error(transparent)]
    Attest(#[from] StatementError),
    #[error("interrupted")]
    Interrupted,
}

impl From<ReachError> for Error {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::Input(error) => Error::Input(error),
            ReachError::Directory { source, .. } => Error::Scratch(source),
        }
    }
}

/// The result for one file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileResult {
    pub path: String,
    pub likeness: Likeness,
}

/// The result of a rebuild.
#[derive(Debug)]
pub struct Reproduction {
    /// The verification of the release. If it did not pass, nothing else was done.
    pub report: Report,
    pub release: Option<Digest>,
    pub model: Option<Model>,
    pub origin: Option<Origin>,
    pub command: Vec<String>,
    /// The source of the code.
    pub source: Option<String>,
    pub demand: Demand,
    /// Why the rebuild was not tried or could not be finished, and what the user can do about it.
    pub not_tried: Option<(String, Option<Hint>)>,
    /// Inputs of the commit that differ from the sealed ones. If there are any, the provenance is not true.
    pub untrue: Vec<InputChange>,
    /// The description of the environment: the sealed one, and the one found here.
    pub environment: Vec<(CommandOutput, String)>,
    /// Every file of either artifact, in byte order.
    pub files: Vec<FileResult>,
    /// How the rebuilt model answers the sealed probes, if it was asked. `Err` says what differs.
    pub behaviour: Vec<(String, Result<(), String>)>,
    /// The rung that all files have reached. `None` if they were not compared or differ beyond the tolerance.
    pub rung: Option<Rung>,
    pub command_seconds: Option<f64>,
    pub varied: Vec<Varied>,
    pub notes: Vec<String>,
}

impl Reproduction {
    fn new(report: Report) -> Self {
        Self {
            report,
            release: None,
            model: None,
            origin: None,
            command: Vec::new(),
            source: None,
            demand: Demand::default(),
            not_tried: None,
            untrue: Vec::new(),
            environment: Vec::new(),
            files: Vec::new(),
            behaviour: Vec::new(),
            rung: None,
            command_seconds: None,
            varied: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Fails if the release is not accepted, its provenance is not true, or the level is not reached. Inconclusive if
    /// the rebuild was not tried, or if the control of the comparison did not differ.
    pub fn verdict(&self) -> Verdict {
        match self.report.verdict() {
            Verdict::Pass => {}
            other => return other,
        }
        if !self.untrue.is_empty() {
            return Verdict::Fail;
        }
        if self.not_tried.is_some() {
            return Verdict::Inconclusive;
        }
        match self.rung {
            Some(rung) if rung <= self.demand.level => {}
            _ => return Verdict::Fail,
        }
        let control_failed = self.varied.iter().any(Varied::is_failed_control);
        if control_failed { Verdict::Inconclusive } else { Verdict::Pass }
    }

    /// The verdict in one sentence.
    pub fn summary(&self) -> String {
        let verdict = self.verdict();
        if self.report.verdict() != Verdict::Pass {
            return self.report.summary();
        }
        let name = verdict.name();
        let demanded = self.demand.level.name();
        match (&self.not_tried, self.rung) {
            _ if !self.untrue.is_empty() => {
                format!("{name}: the provenance is not true: {}", self.describe_untrue())
            }
            (Some((reason, _)), _) => format!("{name}: {reason}"),
            (None, Some(rung)) if verdict == Verdict::Pass => {
                format!("{name}: rebuilt as {}, {} (demanded {demanded})", rung.name(), rung.description())
            }
            (None, Some(_)) if verdict == Verdict::Inconclusive => {
                format!(
                    "{name}: another seed gives the same model, so nothing shows that the comparison detects \
                     differences"
                )
            }
            (None, Some(rung)) => format!(
                "{name}: rebuilt only as {}, {} (demanded {demanded}): the provenance is true, the bytes differ",
                rung.name(),
                rung.description()
            ),
            (None, None) => {
                format!("{name}: the rebuilt model is different: the provenance is true, the bytes differ")
            }
        }
    }

    fn describe_untrue(&self) -> String {
        let names: Vec<String> =
            self.untrue.iter().map(|change| modelseal_format::display::name(&change.name)).collect();
        format!(
            "{} in the commit {} from the seal",
            names.join(", "),
            if names.len() == 1 { "differs" } else { "differ" }
        )
    }
}

/// Verifies a release, rebuilds it and compares the results.
///
/// # Errors
/// [`Error`]. Problems of the release, the commit or the rebuild are in the result.
pub fn reproduce(target: &Target, options: &Options<'_>) -> Result<Reproduction, Error> {
    let scratch = Scratch::new(options.context.cancel()).map_err(Error::Scratch)?;
    let mut verifying = verify::Options::new(options.signers);
    verifying.context = options.context.clone();
    let verified = materialize(target, &scratch.path().join("sealed"), &verifying)?;
    let mut result = Reproduction::new(verified.report().clone());
    let Some(release) = verified.accepted() else { return Ok(result) };
    let Some(sealed) = release.directory() else { return Ok(result) };
    let manifest = release.manifest();
    result.release = Some(release.digest());
    result.model = Some(manifest.model().clone());
    result.origin = Some(manifest.internal().origin);
    let external = manifest.external();
    result.command = external.command.clone();
    result.demand = external.reproduce.unwrap_or_default();
    if let Some(level) = options.level {
        result.demand.level = level;
    }
    let archive = match target {
        Target::Path(path) => Some(path.clone()),
        Target::StandardInput => None,
    };
    let rebuilder = Rebuilder { manifest, sealed, archive, scratch: scratch.path(), options };
    match sequence::reproduce_all(&rebuilder, &mut result) {
        Ok(()) => {}
        Err(Stopped::NotTried(reason, hint)) => result.not_tried = Some((reason, hint)),
        Err(Stopped::Untrue(changes)) => result.untrue = changes,
        Err(Stopped::Error(error)) => return Err(error),
    }
    Ok(result)
}
