//! Isolation by bubblewrap: a well-kept program that needs no privileges, instead of our own namespaces.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Seek;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::confinement::{Confinement, Placeholders};
use super::filter::filter;
use super::{Error, NoProgram, Variables};

/// Devices of accelerators; everything else in `/dev` is bubblewrap's own minimum.
const ACCELERATORS: [&str; 8] =
    ["nvidia", "dri", "kfd", "accel", "infiniband", "neuron", "davinci", "habanalabs"];

/// What root keeps inside: to work with files of any owner. Not what could undo the sandbox.
const CAPABILITIES: [&str; 5] = ["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL"];

/// Whether a command runs in a sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Where it cannot be had, the command does not run.
    #[default]
    Demanded,
    WhereItWorks,
    Never,
}

/// What one command can reach. All paths have their links resolved.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {
    pub isolation: Isolation,
    pub network: bool,
    /// The only directories that can be written to. They have to be there.
    pub writable: Vec<PathBuf>,
    /// What can be read although it lies in a home or in a directory that all users share.
    pub readable: Vec<PathBuf>,
    /// Within what can be written to, what can only be read: what the caller runs later. What is not there
    /// cannot be made.
    pub read_only: Vec<PathBuf>,
    /// Files and directories that seem empty to this command.
    pub hidden: Vec<PathBuf>,
    /// Directories below the home of the command, each with where it is kept.
    pub caches: Vec<(PathBuf, PathBuf)>,
    /// Who the command seems to be, by number; `None`: whoever started it.
    pub user: Option<u32>,
}

/// A command as it is started.
#[derive(Default)]
pub(super) struct Wrapped {
    pub(super) command: Vec<OsString>,
    pub(super) isolated: bool,
    /// Why it is not isolated, if it was to be.
    pub(super) reason: Option<String>,
    /// What bubblewrap reads the filter of system calls from.
    pub(super) filter: Option<File>,
    /// Removed when the command has ended.
    pub(super) _placeholders: Placeholders,
}

impl Sandbox {
    /// The argument vector that runs a command inside, or the command's own where there is no sandbox.
    pub(super) fn wrap(
        &self,
        confinement: &Confinement,
        command: &[OsString],
        directory: &Path,
        variables: &Variables,
    ) -> Result<Wrapped, Error> {
        confinement.check()?;
        let plain = |reason| {
            self.link_caches()?;
            Ok(Wrapped { command: command.to_vec(), reason, ..Wrapped::default() })
        };
        let isolation = confinement.isolation(self.isolation);
        if isolation == Isolation::Never {
            return plain(None);
        }
        match confinement.works(self.network) {
            Ok(()) => {}
            Err(reason) if isolation == Isolation::WhereItWorks => return plain(Some(reason.clone())),
            Err(reason) => return Err(Error::NoIsolation(reason.clone())),
        }
        // Inside, a relative path would begin at the root.
        let directory = directory
            .canonicalize()
            .map_err(|source| Error::Directory { path: directory.to_path_buf(), source })?;
        let mut wrapped = self.arguments(confinement)?;
        for (name, value) in &variables.given {
            wrapped.command.extend(["--setenv".into(), name.clone(), value.clone()]);
        }
        wrapped.command.extend(["--chdir".into(), directory.into_os_string(), "--".into()]);
        wrapped.command.extend(command.iter().cloned());
        Ok(wrapped)
    }

    /// bubblewrap with everything but what it is to run.
    fn arguments(&self, confinement: &Confinement) -> Result<Wrapped, Error> {
        let bubblewrap = confinement.programs().find("bwrap").map_err(|error| {
            Error::NoIsolation(match error {
                NoProgram::Missing(name) => format!("bubblewrap (`{name}`) is not installed"),
                other => other.to_string(),
            })
        })?;
        let (view, placeholders) = confinement.view(self)?;
        let filter = open_filter(self.network).map_err(Error::NoIsolation)?;
        let mut arguments: Vec<OsString> = vec![bubblewrap.into()];
        let mut add = |parts: &[&OsStr]| arguments.extend(parts.iter().map(|part| part.to_os_string()));
        add(&["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"].map(OsStr::new));
        for device in accelerators() {
            add(&["--dev-bind".as_ref(), device.as_ref(), device.as_ref()]);
        }
        view.arguments().iter().for_each(|argument| add(&[argument]));
        // A session of its own: nothing can be typed into the caller's terminal.
        let apart = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"];
        add(&apart.map(OsStr::new));
        add(&["--new-session", "--cap-drop", "ALL"].map(OsStr::new));
        if rustix::process::geteuid().is_root() {
            for capability in CAPABILITIES {
                add(&["--cap-add".as_ref(), capability.as_ref()]);
            }
        }
        if let Some(user) = self.user {
            let user = user.to_string();
            add(&["--unshare-user", "--uid", &user, "--gid", &user].map(OsStr::new));
        }
        if !self.network {
            add(&["--unshare-net".as_ref()]);
        }
        add(&["--seccomp".as_ref(), filter.as_raw_fd().to_string().as_ref()]);
        Ok(Wrapped {
            command: arguments,
            isolated: true,
            reason: None,
            filter: Some(filter),
            _placeholders: placeholders,
        })
    }

    /// Without a sandbox, directories that are kept elsewhere are links.
    fn link_caches(&self) -> Result<(), Error> {
        for (at, kept) in &self.caches {
            let made = fs::remove_dir(at).and_then(|()| std::os::unix::fs::symlink(kept, at));
            match made {
                Ok(()) => {}
                // The link that an earlier command of the same build got.
                Err(_) if at.canonicalize().is_ok_and(|leads| leads == *kept) => {}
                Err(source) => return Err(Error::Directory { path: at.clone(), source }),
            }
        }
        Ok(())
    }
}

/// The filter in memory, from its start. No child gets it unless [`inherit`] says so.
fn open_filter(network: bool) -> Result<File, String> {
    let failed = |error: std::io::Error| format!("the filter of system calls cannot be made: {error}");
    let mut file = memory_file().map_err(failed)?;
    file.write_all(&filter(network)?).and_then(|()| file.rewind()).map_err(failed)?;
    Ok(file)
}

#[cfg(target_os = "linux")]
fn memory_file() -> std::io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    Ok(rustix::fs::memfd_create("modelseal-filter", flags)?.into())
}

#[cfg(not(target_os = "linux"))]
fn memory_file() -> std::io::Result<File> {
    tempfile::tempfile()
}

/// Lets the next child have the filter, and only that child: one is started at a time.
pub(super) fn inherit(filter: Option<&File>) -> std::io::Result<()> {
    match filter {
        Some(file) => Ok(rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?),
        None => Ok(()),
    }
}

fn accelerators() -> Vec<PathBuf> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let is_accelerator = |name: &str| ACCELERATORS.iter().any(|prefix| name.starts_with(prefix));
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_accelerator))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Whether a program runs inside; if not, what the system says.
pub(super) fn try_out(confinement: &Confinement, sandbox: &Sandbox) -> Result<(), String> {
    let wrapped = sandbox.arguments(confinement).map_err(|error| match error {
        Error::NoIsolation(reason) => reason,
        other => other.to_string(),
    })?;
    let nothing = confinement.programs().find("true").map_err(|error| error.to_string())?;
    inherit(wrapped.filter.as_ref()).map_err(|error| error.to_string())?;
    let tried = Command::new(&wrapped.command[0])
        .args(&wrapped.command[1..])
        .args(["--chdir", "/", "--"])
        .arg(nothing)
        .env_clear()
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text.lines().next_back().unwrap_or("bubblewrap does not work");
            Err(crate::text::Escaped(line).to_string())
        }
        Err(error) => Err(format!("bubblewrap cannot be started: {error}")),
    }
}
