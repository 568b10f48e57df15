//! Runs a command of a project: in a completely specified environment, within limits, and until all its processes have
//! ended.
//!
//! This module works with argument vectors, variables and directories. It does not know which command is run, or why.
//! The command is not trusted: it may hang, flood, leave processes behind or look for keys.

mod bubblewrap;
mod cleanup;
mod confinement;
mod environment;
mod filter;
mod homes;
mod job;
mod mounts;
mod orphans;
mod output;
mod process;
mod programs;
mod sandbox;
mod scratch;
mod set_aside;
mod sockets;
mod toolchain;
mod trail;
mod variables;
mod view;
mod wrap;

use std::time::Duration;

pub use confinement::{Confinement, Scope, Secret, leads_into, link_of_commands};
pub use environment::variables;
pub use job::{Job, Limits, Listener, Silence, Silent, Stream};
use modelseal_format::hint::Hint;
pub use mounts::Mounts;
pub use orphans::adopt_orphans;
pub use process::{Ended, run};
pub use programs::{NoProgram, Programs};
pub use sandbox::{Isolation, Sandbox};
pub use scratch::Scratch;
pub use scratch::remove_all;
pub use set_aside::{make_accessible, set_aside};
pub use sockets::is_open;
pub use trail::{Trail, without_dots};
pub use variables::Variables;

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the command {} cannot be started", modelseal_format::display::command(command))]
    Start { command: Vec<String>, source: std::io::Error },
    #[error("the command {} failed: {how}", modelseal_format::display::command(command))]
    Failed {
        command: Vec<String>,
        how: String,
        /// The command reported a read-only file system, and ran where most of the file system is read-only.
        refused_write: bool,
    },
    #[error("the command {} did not end within {}", modelseal_format::display::command(command), modelseal_format::display::duration(*limit))]
    Timeout { command: Vec<String>, limit: Duration },
    #[error("the command {} said nothing for {}", modelseal_format::display::command(command), modelseal_format::display::duration(*limit))]
    Silent { command: Vec<String>, limit: Duration },
    #[error("the command {} printed more than {} bytes", modelseal_format::display::command(command), modelseal_format::display::number(*limit))]
    TooMuchOutput { command: Vec<String>, limit: u64 },
    #[error("the command {} ended and left processes running: {}", modelseal_format::display::command(command), names.join(", "))]
    Leftovers { command: Vec<String>, names: Vec<String> },
    #[error("the command demands isolation from the network, which cannot be had here: {0}")]
    NoIsolation(String),
    /// The sandbox worked before the first command.
    #[error(
        "the sandbox of the command {} cannot be made: {reason}",
        modelseal_format::display::command(command)
    )]
    Sandbox { command: Vec<String>, reason: String },
    #[error("{}, which commands must not see, is not what it was before the first command", modelseal_format::display::path(.0))]
    Moved(std::path::PathBuf),
    #[error("a command has put something else in the place of {}", modelseal_format::display::path(.0))]
    Replaced(std::path::PathBuf),
    #[error(
        "the command changed the link {}, which leads to what you run or have named",
        modelseal_format::display::path(link)
    )]
    Relinked {
        link: std::path::PathBuf,
        /// The new path of what the command had put there, if it had put anything there.
        aside: Option<std::path::PathBuf>,
        /// The link was restored.
        is_back: bool,
    },
    #[error(
        "the command put a link that leads out of the work tree in the place of {}",
        modelseal_format::display::path(place)
    )]
    LinkedOut {
        /// A directory or file on the way to an input, or to a path where the caller lets modelseal write.
        place: std::path::PathBuf,
        /// The new name of the link. `None`: it is still there.
        aside: Option<std::path::PathBuf>,
    },
    #[error("{} cannot be hidden from the commands", modelseal_format::display::path(path))]
    Hidden { path: std::path::PathBuf, source: std::io::Error },
    #[error("{} is a home directory: commands must not read it, and would have to work in it", modelseal_format::display::path(.0))]
    Home(std::path::PathBuf),
    #[error(
        "the command {} cannot be started: commands do not see {}",
        modelseal_format::display::command(command),
        modelseal_format::display::path(path)
    )]
    OutOfSight { command: Vec<String>, path: std::path::PathBuf },
    #[error("the command cannot run in {}", modelseal_format::display::path(path))]
    Directory { path: std::path::PathBuf, source: std::io::Error },
    #[error("the output of the command {} cannot be kept", modelseal_format::display::command(command))]
    Output { command: Vec<String>, source: std::io::Error },
    #[error("the command's output cannot be kept")]
    Log(#[source] std::io::Error),
    #[error("no temporary directory can be made")]
    Scratch(#[source] std::io::Error),
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Whether the command ran and did something that is not accepted, rather than did not run at all.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Error::Start { .. }
                | Error::Failed { .. }
                | Error::Timeout { .. }
                | Error::Silent { .. }
                | Error::TooMuchOutput { .. }
                | Error::Leftovers { .. }
                | Error::Moved(_)
                | Error::Replaced(_)
                | Error::Relinked { .. }
                | Error::LinkedOut { .. }
                | Error::OutOfSight { .. }
        )
    }

    /// What the user can do about the error.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Error::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("is it installed, and in PATH? No shell is involved: `sh -c` for one".into())
            }
            Error::Failed { refused_write: true, .. } => Some(Hint::AllowWrite),
            Error::Timeout { .. } => {
                Some("raise `timeout` under `[run]`, or find out what it waits for".into())
            }
            Error::TooMuchOutput { .. } => {
                Some("raise `max_output` under `[run]`, or let it say less".into())
            }
            Error::Leftovers { .. } => {
                Some("a command has ended when all that it started has ended: let it wait for them".into())
            }
            Error::NoIsolation(_) => {
                Some("install bubblewrap (`bwrap`), and allow unprivileged user namespaces".into())
            }
            Error::Sandbox { .. } => {
                Some("is something that it needs gone, or are links in a home directory, or repositories in the work tree, very many?".into())
            }
            Error::Moved(_) => Some(
                "an earlier command may have put a decoy in its place: look at it before you build again"
                    .into(),
            ),
            Error::Relinked { is_back: false, .. } => {
                Some("it could not be put back: look at what is there before you run git or a program".into())
            }
            Error::Relinked { aside, .. } => {
                let kept = aside.as_ref().map(|aside| format!("; what was there is {}", modelseal_format::display::path(aside)));
                Some(format!("it was put back{}", kept.unwrap_or_default()).into())
            }
            Error::LinkedOut { aside: Some(aside), .. } => {
                Some(format!("it was set aside as {}", modelseal_format::display::path(aside)).into())
            }
            Error::LinkedOut { aside: None, .. } => {
                Some("it could not be set aside: remove it before you build again".into())
            }
            Error::Home(path) => {
                Some(Hint::AllowHome(modelseal_format::display::shell_word(&path.to_string_lossy())))
            }
            Error::OutOfSight { .. } => Some(Hint::ShowDirectory),
            _ => None,
        }
    }
}
