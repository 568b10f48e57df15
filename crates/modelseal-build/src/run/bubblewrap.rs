//! Isolation by bubblewrap, a well-maintained program that needs no privileges. modelseal does not create namespaces
//! itself.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Error;
use super::cleanup::Cleanup;
use super::filter::filter;
use super::programs::{NoProgram, Programs};
use super::sandbox::Sandbox;
use super::variables::Variables;

/// Devices of accelerators. Everything else in `/dev` is bubblewrap's own minimum.
const ACCELERATORS: [&str; 8] =
    ["nvidia", "dri", "kfd", "accel", "infiniband", "neuron", "davinci", "habanalabs"];

/// The capabilities that root keeps inside, to work with files of any owner. None of them could undo the sandbox.
const CAPABILITIES: [&str; 5] = ["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL"];

/// Maximum size of bubblewrap's status, in bytes. It is only a few lines.
const LONGEST_STATUS: u64 = 64 << 10;

/// A command in the form in which it is started.
#[derive(Default)]
pub(super) struct Wrapped {
    pub(super) command: Vec<OsString>,
    pub(super) isolated: bool,
    /// Why it is not isolated, if isolation was requested.
    pub(super) reason: Option<String>,
    /// Files from which bubblewrap reads its options and the filter of system calls, and to which it writes its status.
    pub(super) descriptors: Vec<File>,
    /// What bubblewrap reports about the command. No command can write to it.
    status: Option<File>,
    /// What is repaired after the command has ended.
    pub(super) cleanup: Cleanup,
}

impl Wrapped {
    /// The command as it is. `reason` says why isolation was requested and does not work.
    pub(super) fn plain(command: &[OsString], reason: Option<String>) -> Self {
        Self { command: command.to_vec(), reason, ..Self::default() }
    }

    /// Whether bubblewrap got as far as starting the command. The output of the command cannot prove this.
    pub(super) fn was_started(&mut self) -> bool {
        let Some(status) = &mut self.status else { return true };
        let mut said = String::new();
        let read = status.rewind().and_then(|()| status.take(LONGEST_STATUS).read_to_string(&mut said));
        read.is_ok() && said.contains("\"exit-code\"")
    }
}

/// Prepares bubblewrap with everything that isolates a command.
pub(super) fn start(
    programs: &Programs,
    sandbox: &Sandbox,
    shown: Vec<OsString>,
    command: &[OsString],
) -> Result<Wrapped, Error> {
    let root = rustix::process::geteuid().is_root();
    let filter = memory_file(&filter(sandbox.network, root).map_err(Error::NoIsolation)?)?;
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |parts: &[&OsStr]| arguments.extend(parts.iter().map(|part| part.to_os_string()));
    add(&["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"].map(OsStr::new));
    for device in accelerators() {
        add(&["--dev-bind".as_ref(), device.as_ref(), device.as_ref()]);
    }
    shown.iter().for_each(|argument| add(&[argument]));
    // Otherwise root could change settings of the whole machine: `/proc/sys/kernel/core_pattern` names a program.
    add(&["--remount-ro", "/proc"].map(OsStr::new));
    // In a new session, the command cannot type into the caller's terminal.
    let apart = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"];
    add(&apart.map(OsStr::new));
    add(&["--new-session", "--cap-drop", "ALL"].map(OsStr::new));
    if root {
        for capability in CAPABILITIES {
            add(&["--cap-add".as_ref(), capability.as_ref()]);
        }
    }
    if let Some(user) = sandbox.user {
        let user = user.to_string();
        add(&["--unshare-user", "--uid", &user, "--gid", &user].map(OsStr::new));
    }
    if !sandbox.network {
        add(&["--unshare-net".as_ref()]);
    }
    add(&["--seccomp".as_ref(), filter.as_raw_fd().to_string().as_ref()]);
    let mut wrapped = bubblewrap(programs, arguments, command)?;
    wrapped.descriptors.push(filter);
    Ok(wrapped)
}

/// Prepares bubblewrap with these options and the command. It receives no variable of the caller or the recipe. Its
/// options are not passed as arguments, because others can see those.
pub(super) fn bubblewrap(
    programs: &Programs,
    mut arguments: Vec<OsString>,
    command: &[OsString],
) -> Result<Wrapped, Error> {
    let bubblewrap = programs.find("bwrap").map_err(|error| {
        Error::NoIsolation(match error {
            NoProgram::Missing(name) => format!("bubblewrap (`{name}`) is not installed"),
            other => other.to_string(),
        })
    })?;
    let status = memory_file(&[])?;
    let said = status.try_clone().map_err(no_memory)?;
    arguments.extend(["--json-status-fd".into(), said.as_raw_fd().to_string().into()]);
    let options: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_encoded_bytes()).collect();
    let options = memory_file(&[options.join(&0), vec![0]].concat())?;
    let number = options.as_raw_fd().to_string();
    let start = [bubblewrap.into(), "--args".into(), number.into(), "--".into()];
    Ok(Wrapped {
        command: start.into_iter().chain(command.iter().cloned()).collect(),
        isolated: true,
        descriptors: vec![options, said],
        status: Some(status),
        ..Wrapped::default()
    })
}

pub(super) fn set(variables: &Variables) -> impl Iterator<Item = OsString> {
    variables.all().into_iter().flat_map(|(name, value)| ["--setenv".into(), name, value])
}

/// Creates a file in memory with this content, positioned at its start. No child inherits it without [`inherit`].
fn memory_file(content: &[u8]) -> Result<File, Error> {
    let make = || {
        let mut file = empty_memory_file()?;
        file.write_all(content)?;
        file.rewind()?;
        Ok(file)
    };
    make().map_err(no_memory)
}

fn no_memory(error: std::io::Error) -> Error {
    Error::NoIsolation(format!("cannot create a file in memory: {error}"))
}

#[cfg(target_os = "linux")]
fn empty_memory_file() -> std::io::Result<File> {
    Ok(rustix::fs::memfd_create("modelseal", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

#[cfg(not(target_os = "linux"))]
fn empty_memory_file() -> std::io::Result<File> {
    tempfile::tempfile()
}

/// Lets the next child inherit these files, and only that child, because one is started at a time.
pub(super) fn inherit(descriptors: &[File]) -> std::io::Result<()> {
    for file in descriptors {
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?;
    }
    Ok(())
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

/// Tests whether bubblewrap works for commands like this one. If not, returns the message of the system.
///
/// What a command sees is not part of the test, because a project could make that so large that bubblewrap fails.
pub(super) fn try_out(programs: &Programs, sandbox: &Sandbox) -> Result<(), String> {
    let private = super::homes::shared_directories();
    let mut options: Vec<OsString> =
        private.into_iter().flat_map(|path| ["--tmpfs".into(), path.into_os_string()]).collect();
    options.extend(["--chdir".into(), "/".into()]);
    // If bubblewrap is missing as well as `true`, the error names bubblewrap.
    let nothing = programs.find("true").map_err(|error| error.to_string());
    let command = [nothing.clone().unwrap_or(Path::new("/bin/true")).into()];
    let wrapped = start(programs, sandbox, options, &command).map_err(|error| match error {
        Error::NoIsolation(reason) => reason,
        other => other.to_string(),
    })?;
    nothing?;
    inherit(&wrapped.descriptors).map_err(|error| error.to_string())?;
    let tried = Command::new(&wrapped.command[0])
        .args(&wrapped.command[1..])
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text.lines().next_back().unwrap_or("bubblewrap does not work");
            Err(modelseal_format::display::Escaped(line).to_string())
        }
        Err(error) => Err(format!("cannot start bubblewrap: {error}")),
    }
}
