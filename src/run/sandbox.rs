//! Isolation by bubblewrap: a well-kept program that needs no privileges, instead of our own namespaces.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Error, Variables};

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

impl Isolation {
    /// None at all, if the caller gives it up.
    pub fn unless(self, insecure: bool) -> Self {
        if insecure { Isolation::Never } else { self }
    }
}

/// What a command can reach.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {
    pub isolation: Isolation,
    pub network: bool,
    /// The only directories that can be written to, links resolved. They have to be there.
    pub writable: Vec<PathBuf>,
    /// Within those, what can only be read, links resolved.
    pub read_only: Vec<PathBuf>,
    /// Files and directories that seem empty, links resolved: keys. They have to be there.
    pub hidden: Vec<PathBuf>,
    /// Who the command seems to be, by number; `None`: whoever started it.
    pub user: Option<u32>,
}

impl Sandbox {
    /// Whether a command would run inside, rather than without a sandbox.
    pub fn works(&self, directory: &Path, variables: &Variables) -> bool {
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
        let arguments = self.arguments(&directory, variables);
        self.isolation != Isolation::Never
            && arguments.is_ok_and(|arguments| try_out(&arguments, variables).is_ok())
    }

    /// The argument vector that runs a command inside, or the command's own where there is no sandbox.
    pub(super) fn wrap(
        &self,
        command: &[OsString],
        directory: &Path,
        variables: &Variables,
    ) -> Result<Wrapped, Error> {
        let plain = |reason| Wrapped { command: command.to_vec(), isolated: false, reason };
        if self.isolation == Isolation::Never {
            return Ok(plain(None));
        }
        // Inside, a relative path would begin at the root.
        let directory = directory
            .canonicalize()
            .map_err(|source| Error::Directory { path: directory.to_path_buf(), source })?;
        let arguments = self.arguments(&directory, variables)?;
        match try_out(&arguments, variables) {
            Ok(()) => {
                let command = arguments.into_iter().chain(command.iter().cloned()).collect();
                Ok(Wrapped { command, isolated: true, reason: None })
            }
            Err(reason) if self.isolation == Isolation::WhereItWorks => Ok(plain(Some(reason))),
            Err(reason) => Err(Error::NoIsolation(reason)),
        }
    }

    fn arguments(&self, directory: &Path, variables: &Variables) -> Result<Vec<OsString>, Error> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |parts: &[&OsStr]| arguments.extend(parts.iter().map(|part| part.to_os_string()));
        add(&["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"].map(OsStr::new));
        for device in accelerators() {
            add(&["--dev-bind".as_ref(), device.as_ref(), device.as_ref()]);
        }
        for path in &self.writable {
            add(&["--bind".as_ref(), path.as_ref(), path.as_ref()]);
        }
        for path in &self.read_only {
            add(&["--ro-bind".as_ref(), path.as_ref(), path.as_ref()]);
        }
        for path in &self.hidden {
            // It was there when the first command began: one that is gone lies somewhere else now.
            if path.symlink_metadata().is_err() {
                return Err(Error::Moved(path.clone()));
            }
            match path.is_dir() {
                true => add(&["--tmpfs".as_ref(), path.as_ref()]),
                false => add(&["--ro-bind".as_ref(), "/dev/null".as_ref(), path.as_ref()]),
            }
        }
        // A session of its own: nothing can be typed into the caller's terminal.
        add(&["--unshare-pid", "--new-session", "--cap-drop", "ALL"].map(OsStr::new));
        if rustix::process::geteuid().is_root() {
            for capability in CAPABILITIES {
                add(&["--cap-add".as_ref(), capability.as_ref()]);
            }
        }
        if let Some(user) = self.user {
            let user = user.to_string();
            let who = ["--unshare-user", "--uid", &user, "--gid", &user];
            add(&who.map(OsStr::new));
        }
        if !self.network {
            add(&["--unshare-net".as_ref()]);
        }
        for (name, value) in &variables.given {
            add(&["--setenv".as_ref(), name, value]);
        }
        add(&["--chdir".as_ref(), directory.as_ref(), "--".as_ref()]);
        Ok(arguments)
    }
}

/// A command as it is started.
pub(super) struct Wrapped {
    pub(super) command: Vec<OsString>,
    pub(super) isolated: bool,
    /// Why it is not isolated, if it was to be.
    pub(super) reason: Option<String>,
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
fn try_out(arguments: &[OsString], variables: &Variables) -> Result<(), String> {
    let tried = Command::new(&arguments[0])
        .args(&arguments[1..])
        .arg("true")
        .env_clear()
        .envs(&variables.own)
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text.lines().next_back().unwrap_or("bubblewrap does not work");
            Err(crate::text::Escaped(line).to_string())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err("bubblewrap (`bwrap`) is not installed".to_string())
        }
        Err(error) => Err(format!("bubblewrap cannot be started: {error}")),
    }
}
