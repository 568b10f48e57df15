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

pub use confinement::{Confinement, Scope, Secret, leads_into, link_of_commands, would_lead_into};
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
    #[error("cannot start the command {}", modelseal_format::display::command(command))]
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
    #[error("the command {} printed nothing for {}", modelseal_format::display::command(command), modelseal_format::display::duration(*limit))]
    Silent { command: Vec<String>, limit: Duration },
    #[error("the command {} printed more than {} bytes", modelseal_format::display::command(command), modelseal_format::display::number(*limit))]
    TooMuchOutput { command: Vec<String>, limit: u64 },
    #[error("the command {} ended and left processes running: {}", modelseal_format::display::command(command), names.join(", "))]
    Leftovers { command: Vec<String>, names: Vec<String> },
    #[error("the command must be isolated from the network, which is not possible here: {0}")]
    NoIsolation(String),
    /// The sandbox worked before the first command.
    #[error(
        "cannot create the sandbox for the command {}: {reason}",
        modelseal_format::display::command(command)
    )]
    Sandbox { command: Vec<String>, reason: String },
    #[error("{}, which is hidden from commands, was moved or replaced after the first command started", modelseal_format::display::path(.0))]
    Moved(std::path::PathBuf),
    #[error("a command replaced {}", modelseal_format::display::path(.0))]
    Replaced(std::path::PathBuf),
    #[error(
        "the command changed the link {}, which leads to a program that you run or a path that you named",
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
        "the command replaced {} with a link that leads out of the work tree",
        modelseal_format::display::path(place)
    )]
    LinkedOut {
        /// A directory or file on the way to an input, or to a path where the caller lets modelseal write.
        place: std::path::PathBuf,
        /// The new name of the link. `None`: it is still there.
        aside: Option<std::path::PathBuf>,
    },
    #[error("cannot hide {} from the commands", modelseal_format::display::path(path))]
    Hidden { path: std::path::PathBuf, source: std::io::Error },
    #[error("{} is a home directory: commands would need access to it, but must not read home directories", modelseal_format::display::path(.0))]
    Home(std::path::PathBuf),
    #[error(
        "cannot start the command {}: commands cannot see {}",
        modelseal_format::display::command(command),
        modelseal_format::display::path(path)
    )]
    OutOfSight { command: Vec<String>, path: std::path::PathBuf },
    #[error("cannot run the command in {}", modelseal_format::display::path(path))]
    Directory { path: std::path::PathBuf, source: std::io::Error },
    #[error("cannot save the output of the command {}", modelseal_format::display::command(command))]
    Output { command: Vec<String>, source: std::io::Error },
    #[error("cannot save the command's output")]
    Log(#[source] std::io::Error),
    #[error("cannot create a temporary directory")]
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
            Error::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Some(
                "check that it is installed and in PATH; commands run without a shell: use `sh -c` if you \
                     need one"
                    .into(),
            ),
            Error::Failed { refused_write: true, .. } => Some(Hint::AllowWrite),
            Error::Timeout { .. } => {
                Some("raise `timeout` under `[run]`, or find out what it waits for".into())
            }
            Error::TooMuchOutput { .. } => {
                Some("raise `max_output` under `[run]`, or let the command print less".into())
            }
            Error::Leftovers { .. } => {
                Some("let the command wait until all processes that it started have ended".into())
            }
            Error::NoIsolation(_) => {
                Some("install bubblewrap (`bwrap`), and allow unprivileged user namespaces".into())
            }
            Error::Sandbox { .. } => Some(
                "a file that the sandbox needs may be missing, or there may be too many links in a home \
                     directory or repositories in the work tree"
                    .into(),
            ),
            Error::Moved(_) => Some(
                "an earlier command may have replaced it with a decoy: inspect it before you build again"
                    .into(),
            ),
            Error::Relinked { is_back: false, .. } => {
                Some("the link could not be restored: inspect it before you run git or a program".into())
            }
            Error::Relinked { aside, .. } => {
                let kept = aside.as_ref().map(|aside| {
                    format!("; what the command put there is now {}", modelseal_format::display::path(aside))
                });
                Some(format!("the link was restored{}", kept.unwrap_or_default()).into())
            }
            Error::LinkedOut { aside: Some(aside), .. } => {
                Some(format!("the link was set aside as {}", modelseal_format::display::path(aside)).into())
            }
            Error::LinkedOut { aside: None, .. } => {
                Some("the link could not be set aside: remove it before you build again".into())
            }
            Error::Home(path) => {
                Some(Hint::AllowHome(modelseal_format::display::shell_word(&path.to_string_lossy())))
            }
            Error::OutOfSight { .. } => Some(Hint::ShowDirectory),
            _ => None,
        }
    }
}
