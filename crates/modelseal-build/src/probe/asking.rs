//! What a probe depends on, and what comes of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::golden::Goldens;
use crate::run::{Confinement, Isolation, Listener, Sandbox, Trail, Variables};
use modelseal_format::context::Context;
use modelseal_format::manifest::{ProbeFacts, Tolerance};

/// Everything that a probe depends on.
pub struct Asking<'a> {
    /// The probe's name.
    pub name: &'a str,
    /// The argument vector.
    pub command: &'a [String],
    pub directory: &'a Path,
    /// The directory that contains the artifact, absolute.
    pub artifact: &'a Path,
    pub goldens: &'a Goldens,
    /// The file with the questions and the expected answers, which appears empty to the command.
    pub goldens_path: &'a Path,
    /// Answers that mean that the model did not answer.
    pub fallback: &'a [Value],
    /// Members of the inputs that must make a difference.
    pub must_influence: &'a [String],
    /// The time limit for all answers together, instead of the default limits.
    pub timeout: Option<Duration>,
    pub tolerance: Tolerance,
    pub variables: Variables,
    /// The home of the command. Only this directory and `temporary` can be written to.
    pub home: &'a Path,
    pub temporary: &'a Path,
    /// Files and directories that appear empty, with links resolved.
    pub hidden: &'a [PathBuf],
    /// Paths that can be read although they are in a home directory, with links resolved.
    pub readable: &'a [PathBuf],
    /// The decisions made before the first command runs.
    pub confinement: &'a Confinement,
    pub isolation: Isolation,
    /// Receives what the command prints to standard error.
    pub listener: &'a dyn Listener,
    pub context: &'a Context,
}

/// The result of a probe, with the answers that break a rule for all releases.
#[derive(Debug)]
#[non_exhaustive]
pub struct Asked {
    pub facts: ProbeFacts,
    /// Inputs with a wrong answer: id, expected answer, actual answer.
    pub wrong: Vec<(String, String, String)>,
    /// The first input whose two answers were not the same: id, and both answers.
    pub undecided: Option<(String, String, String)>,
}

impl Asking<'_> {
    pub(super) fn sandbox(&self) -> Sandbox {
        let resolve = |path: &Path| path.canonicalize().ok();
        let hidden = self.hidden.iter().cloned().chain(resolve(self.goldens_path));
        let trails = |paths: &[&Path]| paths.iter().flat_map(|path| Trail::of(path)).collect::<Vec<_>>();
        let readable: Vec<&Path> = self.readable.iter().map(PathBuf::as_path).collect();
        Sandbox {
            isolation: self.isolation,
            network: false,
            writable: trails(&[self.home, self.temporary]),
            readable: trails(&[&readable[..], &[self.directory, self.artifact]].concat()),
            hidden: hidden.collect(),
            ..Sandbox::default()
        }
    }

    pub(super) fn is_isolated(&self) -> bool {
        self.isolation != Isolation::Never && self.confinement.isolates(false)
    }
}
