//! Isolation by bubblewrap, a well-maintained program that needs no privileges. modelseal does not create namespaces
//! itself.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cleanup::Cleanup;
use super::confinement::Confinement;
use super::filter::filter;
use super::trail::Trail;
use super::{Error, NoProgram, Variables};

/// Devices of accelerators. Everything else in `/dev` is bubblewrap's own minimum.
const ACCELERATORS: [&str; 8] =
    ["nvidia", "dri", "kfd", "accel", "infiniband", "neuron", "davinci", "habanalabs"];

/// The capabilities that root keeps inside, to work with files of any owner. None of them could undo the sandbox.
const CAPABILITIES: [&str; 5] = ["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL"];

/// Maximum size of bubblewrap's status, in bytes. It is only a few lines.
const LONGEST_STATUS: u64 = 64 << 10;

/// Whether a command runs in a sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// If isolation is not available, the command does not run.
    #[default]
    Demanded,
    WhereItWorks,
    Never,
}

/// What one command can reach. The paths where it works and that it reads are recorded as they were before the first
/// command, because bubblewrap looks up their names every time.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {
    pub isolation: Isolation,
    pub network: bool,
    /// The only directories that can be written to. They must exist.
    pub writable: Vec<Trail>,
    /// Readable paths in a home or in a directory that all users share.
    pub readable: Vec<Trail>,
    /// Inputs in writable directories. The next build finds them there.
    pub own_inputs: Vec<Trail>,
    /// Paths in writable directories that are read-only: what the caller runs later. Missing paths cannot be created.
    pub read_only: Vec<PathBuf>,
    /// The same for files that git reads. git fails if a directory is there.
    pub read_only_files: Vec<PathBuf>,
    /// Files and directories that appear empty to this command.
    pub hidden: Vec<PathBuf>,
    /// Directories of which only the other paths listed here are visible.
    pub emptied: Vec<PathBuf>,
    /// Directories below the home of the command, each with the place where it is kept.
    pub caches: Vec<(Trail, Trail)>,
    /// Directories that appear empty to a command that is not isolated, because isolated commands have written to them.
    /// Paths in them that are hidden from commands stay visible. Without a sandbox, nothing is covered.
    pub covered: Vec<Trail>,
    /// The numeric ID of the user that the command appears to be. `None`: the user who started it.
    pub user: Option<u32>,
}

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
    /// Whether bubblewrap got as far as starting the command. The output of the command cannot prove this.
    pub(super) fn was_started(&mut self) -> bool {
        let Some(status) = &mut self.status else { return true };
        let mut said = String::new();
        let read = status.rewind().and_then(|()| status.take(LONGEST_STATUS).read_to_string(&mut said));
        read.is_ok() && said.contains("\"exit-code\"")
    }
}

impl Sandbox {
    /// Returns the argument vector that runs a command inside, or the command itself if there is no sandbox.
    pub(super) fn wrap(
        &self,
        confinement: &Confinement,
        command: &[OsString],
        directory: &Path,
        variables: &Variables,
    ) -> Result<Wrapped, Error> {
        confinement.check()?;
        self.check()?;
        let plain = |reason| {
            self.link_caches()?;
            Ok(Wrapped { command: command.to_vec(), reason, ..Wrapped::default() })
        };
        let isolation = confinement.isolation(self.isolation);
        if isolation == Isolation::Never {
            let is_covered = !self.covered.is_empty() && confinement.isolates(true);
            return if is_covered {
                self.cover(confinement, command, directory, variables)
            } else {
                plain(None)
            };
        }
        match confinement.works(self.network) {
            Ok(()) => {}
            Err(reason) if isolation == Isolation::WhereItWorks => return plain(Some(reason.clone())),
            Err(reason) => return Err(Error::NoIsolation(reason.clone())),
        }
        // Inside, a relative path would start at the root.
        let directory = directory
            .canonicalize()
            .map_err(|source| Error::Directory { path: directory.to_path_buf(), source })?;
        let mut view = confinement.view(self)?;
        let cleanup = confinement.guard(&mut view, self)?;
        let mut options = view.arguments();
        options.extend(set(variables));
        options.extend(["--chdir".into(), directory.into_os_string()]);
        let wrapped = self.start(confinement, options, command)?;
        Ok(Wrapped { cleanup, ..wrapped })
    }

    /// Prepares bubblewrap with everything that isolates a command.
    fn start(
        &self,
        confinement: &Confinement,
        shown: Vec<OsString>,
        command: &[OsString],
    ) -> Result<Wrapped, Error> {
        let root = rustix::process::geteuid().is_root();
        let filter = memory_file(&filter(self.network, root).map_err(Error::NoIsolation)?)?;
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
        if let Some(user) = self.user {
            let user = user.to_string();
            add(&["--unshare-user", "--uid", &user, "--gid", &user].map(OsStr::new));
        }
        if !self.network {
            add(&["--unshare-net".as_ref()]);
        }
        add(&["--seccomp".as_ref(), filter.as_raw_fd().to_string().as_ref()]);
        let mut wrapped = bubblewrap(confinement, arguments, command)?;
        wrapped.descriptors.push(filter);
        Ok(wrapped)
    }

    /// Prepares bubblewrap for a command that sees and does everything, except in the covered directories.
    fn cover(
        &self,
        confinement: &Confinement,
        command: &[OsString],
        directory: &Path,
        variables: &Variables,
    ) -> Result<Wrapped, Error> {
        let mut arguments: Vec<OsString> = vec!["--dev-bind".into(), "/".into(), "/".into()];
        let mut add = |option: &str, paths: &[&Path]| {
            arguments.push(option.into());
            arguments.extend(paths.iter().map(|path| path.into()));
        };
        let covered: Vec<&Path> = self.covered.iter().map(Trail::end).collect();
        let others: Vec<PathBuf> =
            covered.iter().flat_map(|path| confinement.mounts().other_names(path)).collect();
        let covered = || covered.iter().copied().chain(others.iter().map(PathBuf::as_path));
        covered().for_each(|path| add("--tmpfs", &[path]));
        // Commands could neither read nor change what is hidden from them, so it stays visible here.
        let is_covered = |path: &&Path| covered().any(|covered| path.starts_with(covered));
        confinement.hidden().filter(is_covered).for_each(|path| add("--bind", &[path, path]));
        // It is new, and the command starts there.
        if is_covered(&directory) {
            add("--bind", &[directory, directory]);
        }
        covered().for_each(|path| add("--remount-ro", &[path]));
        add("--chdir", &[directory]);
        arguments.extend(set(variables));
        bubblewrap(confinement, arguments, command)
    }

    /// Checks that everything that is shown is unchanged and in the same place.
    pub(super) fn check(&self) -> Result<(), Error> {
        let caches = self.caches.iter().flat_map(|(at, kept)| [at, kept]);
        let mut places = self.writable.iter().chain(caches).filter(|place| !place.is_unchanged());
        // The owner of an input may rewrite it. Only its location matters.
        let mut moved = self.readable.iter().filter(|place| !place.leads_where_it_led());
        match places.next().or_else(|| moved.next()) {
            Some(place) => Err(Error::Replaced(place.path().to_path_buf())),
            None => Ok(()),
        }
    }

    /// Replaces directories that are kept elsewhere by links, for a command without a sandbox.
    fn link_caches(&self) -> Result<(), Error> {
        for (at, kept) in &self.caches {
            let (at, kept) = (at.path(), kept.end());
            let made = fs::remove_dir(at).and_then(|()| std::os::unix::fs::symlink(kept, at));
            match made {
                Ok(()) => {}
                // An earlier command of the same build created this link.
                Err(_) if at.canonicalize().is_ok_and(|leads| leads == kept) => {}
                Err(source) => return Err(Error::Directory { path: at.to_path_buf(), source }),
            }
        }
        Ok(())
    }
}

/// Prepares bubblewrap with these options and the command. It receives no variable of the caller or the recipe. Its
/// options are not passed as arguments, because others can see those.
fn bubblewrap(
    confinement: &Confinement,
    mut arguments: Vec<OsString>,
    command: &[OsString],
) -> Result<Wrapped, Error> {
    let bubblewrap = confinement.programs().find("bwrap").map_err(|error| {
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

fn set(variables: &Variables) -> impl Iterator<Item = OsString> {
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
    Error::NoIsolation(format!("no file in memory: {error}"))
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
pub(super) fn try_out(confinement: &Confinement, sandbox: &Sandbox) -> Result<(), String> {
    let private = super::homes::shared_directories();
    let mut options: Vec<OsString> =
        private.into_iter().flat_map(|path| ["--tmpfs".into(), path.into_os_string()]).collect();
    options.extend(["--chdir".into(), "/".into()]);
    // If bubblewrap is missing as well as `true`, the error names bubblewrap.
    let nothing = confinement.programs().find("true").map_err(|error| error.to_string());
    let command = [nothing.clone().unwrap_or(Path::new("/bin/true")).into()];
    let wrapped = sandbox.start(confinement, options, &command).map_err(|error| match error {
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
        Err(error) => Err(format!("bubblewrap cannot be started: {error}")),
    }
}
