//! A command to run, and who hears of it.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::confinement::Confinement;
use super::sandbox::Sandbox;
use super::variables::Variables;
use modelseal_format::context::Context;

/// The limits of a command.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `None`: no limit.
    pub time: Option<Duration>,
    /// Standard output and standard error together, in bytes.
    pub output: u64,
    /// How long standard output may be silent. `None`: no limit.
    pub silence: Option<Silence>,
}

/// How long a command may print nothing to its standard output.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    pub at_first: Duration,
    /// After its first output, until it has ended.
    pub later: Duration,
}

/// Receives events while a command runs.
pub trait Listener: Sync {
    /// Something was printed.
    fn output(&self, stream: Stream, bytes: &[u8]);

    /// Time has passed since the start.
    fn waiting(&self, elapsed: Duration);

    /// A sandbox was requested if one works, and this is why it does not work.
    fn not_isolated(&self, _reason: &str) {}

    /// Another build works in this directory. This one waits for it to end.
    fn blocked(&self, _directory: &Path) {}

    /// No process of the command is left.
    fn ended(&self) {}
}

/// The stream to which a command printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Output,
    Error,
}

/// A listener that ignores everything.
pub struct Silent;

impl Listener for Silent {
    fn output(&self, _: Stream, _: &[u8]) {}

    fn waiting(&self, _: Duration) {}
}

/// A command and everything that it depends on.
pub struct Job<'a> {
    /// The argument vector. No shell is involved.
    pub command: &'a [String],
    pub directory: &'a Path,
    /// The complete environment of the command.
    pub variables: &'a Variables,
    /// The decisions that were made before the first command.
    pub confinement: &'a Confinement,
    pub sandbox: &'a Sandbox,
    pub limits: Limits,
    /// The standard input. Empty: none at all.
    pub input: &'a [u8],
    /// Keeps everything that is printed.
    pub log: Option<&'a File>,
    pub listener: &'a dyn Listener,
    pub context: &'a Context,
}
