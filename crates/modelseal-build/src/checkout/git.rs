//! Runs the `git` program without the user's configuration and environment.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::Error;
use crate::inputs::{History, WorkTree, lfs_pointer};
use crate::run::Programs;
use modelseal_format::context::Context;
use modelseal_format::digest::{Algorithms, Symlinks, hash_file};

/// Environment variables that git and ssh need to reach servers. None of them configures git.
const PASSED: [&str; 2] = ["SSH_AUTH_SOCK", "USER"];

/// Options for ssh: a server that does not respond is abandoned.
const SSH: &str = "-oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4";

const SETTINGS: [&str; 6] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "gc.auto=0",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
];

/// How many tags are fetched at once.
const TAGS: usize = 500;

/// Pause between two checks of whether git has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// No Git LFS pointer is larger than this, in bytes.
const LARGEST_POINTER: u64 = 1024;

/// Where a clone comes from.
#[derive(Debug, Clone, Copy)]
pub enum Repository<'a> {
    /// A work tree or a bare repository on this machine. What git itself does not hold (submodules, the content of Git
    /// LFS) is taken from a work tree, too.
    Directory {
        root: &'a Path,
        /// The URL of `origin` in the clone, instead of a path that means nothing elsewhere.
        remote: Option<&'a str>,
    },
    /// `https://…` or `ssh://…`
    Address(&'a str),
}

impl Repository<'_> {
    fn shown(&self) -> String {
        match self {
            Repository::Directory { root, .. } => root.to_string_lossy().into_owned(),
            Repository::Address(address) => address.to_string(),
        }
    }
}

/// The file with all of git's configuration, next to the home directory of the clone.
const CONFIGURATION: &str = "gitconfig";

/// The program, and the home directory that it uses.
pub(super) struct Git<'a> {
    pub(super) programs: &'a Programs,
    pub(super) home: &'a Path,
    pub(super) context: &'a Context,
}

/// Writes git's configuration: which protocols it may use, and that the directory may belong to another user.
///
/// libgit2 has already accepted that user by the caller's own configuration.
fn configure(repository: &Repository<'_>, home: &Path) -> Result<(), Error> {
    let path = home.with_file_name(CONFIGURATION);
    let allow = |protocols: &[&str]| {
        let allowed = protocols.iter().map(|name| format!("[protocol \"{name}\"]\n\tallow = always\n"));
        format!("[protocol]\n\tallow = never\n{}", allowed.collect::<String>())
    };
    let text = match repository {
        Repository::Directory { root, .. } => {
            let quoted = root.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
            let safe = format!("[safe]\n\tdirectory = \"{quoted}\"\n\tdirectory = \"{quoted}/.git\"\n");
            // The commit is requested by its hash, which git before protocol 2 permits only with this setting.
            allow(&["file"]) + &safe + "[uploadpack]\n\tallowAnySHA1InWant = true\n"
        }
        // A submodule of a remote repository must not lead to a directory of this machine.
        Repository::Address(_) => allow(&["https", "ssh"]),
    };
    fs::write(&path, text).map_err(|source| Error::io(&path, source))
}

/// Clones and checks out one commit. Returns whether a branch or a tag leads to it.
pub(super) fn clone(
    git: &Git<'_>,
    repository: &Repository<'_>,
    commit: &str,
    target: &Path,
) -> Result<bool, Error> {
    let shown = repository.shown();
    if let Repository::Address(address) = repository
        && !["https://", "ssh://"].iter().any(|protocol| address.starts_with(protocol))
    {
        return Err(Error::Protocol(shown));
    }
    if let Repository::Directory { root, .. } = repository {
        // The caller's own configuration decides whether it may belong to another user.
        History::discover(root).map_err(crate::inputs::Error::from)?;
    }
    configure(repository, git.home)?;
    let failed = |reason: String| Error::Clone { repository: shown.clone(), reason };
    let into = target.to_string_lossy().into_owned();
    match repository {
        Repository::Directory { root, .. } => {
            git.run(None, &["init", "--quiet", "--template=", "--", &into])?.map_err(&failed)?;
            git.run(Some(target), &["remote", "add", "origin", &shown])?.map_err(&failed)?;
            // Fetches the commit and its history, with their tags. Other branches are not part of the project, and what
            // looks like a branch can lead to another repository.
            let history = History::discover(root).map_err(crate::inputs::Error::from)?;
            let tags = history.tags_before(commit);
            let tags: Vec<String> = tags.iter().map(|name| format!("+{name}:{name}")).collect();
            let fetch = ["fetch", "--quiet", "--no-tags", "--update-shallow", "origin"];
            // A missing commit is reported below.
            let _ = git.run(Some(target), &[&fetch[..], &[commit]].concat())?;
            for tags in tags.chunks(TAGS) {
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                git.run(Some(target), &[&fetch[..], &tags].concat())?.map_err(&failed)?;
            }
        }
        Repository::Address(address) => {
            // Branches and tags, but not another commit to which the server's `HEAD` leads.
            git.run(None, &["init", "--quiet", "--template=", "--", &into])?.map_err(&failed)?;
            git.run(Some(target), &["remote", "add", "origin", address])?.map_err(&failed)?;
            git.run(Some(target), &["fetch", "--quiet", "--tags", "origin"])?.map_err(&failed)?;
        }
    }
    let has = |commit: &str| {
        let object = format!("{commit}^{{commit}}");
        Ok::<_, Error>(git.run(Some(target), &["cat-file", "-e", &object])?.is_ok())
    };
    let on_a_branch = has(commit)?;
    if !on_a_branch && matches!(repository, Repository::Address(_)) {
        // No branch leads to the commit. Some servers return it to clients that name it.
        let _ = git.run(Some(target), &["fetch", "--quiet", "origin", commit])?;
    }
    if !has(commit)? {
        return Err(Error::NoCommit { repository: shown, commit: commit.to_string() });
    }
    git.run(Some(target), &["checkout", "--quiet", "--detach", commit])?.map_err(failed)?;
    match repository {
        Repository::Directory { root, remote } => {
            match remote {
                Some(remote) => git.run(Some(target), &["remote", "set-url", "origin", remote])?,
                None => git.run(Some(target), &["remote", "remove", "origin"])?,
            }
            .map_err(failed)?;
            clone_submodules(git, root, target)?;
            fill_pointers(git, root, target)?;
        }
        Repository::Address(_) if target.join(".gitmodules").is_file() => {
            let update = ["submodule", "update", "--quiet", "--init", "--recursive"];
            git.run(Some(target), &update)?.map_err(failed)?;
        }
        Repository::Address(_) => {}
    }
    Ok(on_a_branch)
}

/// Checks out the submodules in the clone that are checked out in the original.
fn clone_submodules(git: &Git<'_>, original: &Path, target: &Path) -> Result<(), Error> {
    let work_tree = WorkTree::discover(target).map_err(crate::inputs::Error::from)?;
    for (path, commit) in work_tree.submodules().map_err(crate::inputs::Error::from)? {
        let source = original.join(&path);
        // A link at this path would lead to another repository.
        let is_inside = source.canonicalize().is_ok_and(|source| source.starts_with(original));
        if is_inside && source.join(".git").exists() {
            let repository = Repository::Directory { root: &source, remote: None };
            clone(git, &repository, &commit, &target.join(&path))?;
        }
    }
    Ok(())
}

/// Replaces Git LFS pointers in the clone with their content, where the original has it.
fn fill_pointers(git: &Git<'_>, original: &Path, target: &Path) -> Result<(), Error> {
    let walk = walkdir::WalkDir::new(target).into_iter();
    let entries = walk.filter_entry(|entry| entry.file_name() != ".git").flatten();
    for entry in entries.filter(|entry| entry.file_type().is_file()) {
        if entry.metadata().map_or(true, |metadata| metadata.len() > LARGEST_POINTER) {
            continue;
        }
        let bytes = fs::read(entry.path()).map_err(|source| Error::io(entry.path(), source))?;
        let Some((sha256, size)) = lfs_pointer(&bytes) else { continue };
        let Ok(relative) = entry.path().strip_prefix(target) else { continue };
        let source = original.join(relative);
        let read = hash_file(
            &source,
            Algorithms::SHA256,
            Symlinks::Refuse,
            &mut [],
            &git.context.without_progress(),
        );
        if read.is_ok_and(|read| read.digests.sha256 == Some(sha256) && read.digests.size == size) {
            fs::copy(&source, entry.path()).map_err(|error| Error::io(entry.path(), error))?;
        }
    }
    Ok(())
}

impl Git<'_> {
    /// Runs git. `Ok(Err(_))` contains git's message if git failed.
    fn run(&self, directory: Option<&Path>, arguments: &[&str]) -> Result<Result<(), String>, Error> {
        let home = self.home;
        let mut command = Command::new(self.programs.find("git")?);
        command.env_clear().env("PATH", self.programs.path());
        for name in PASSED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", home)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", home.with_file_name(CONFIGURATION))
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_SSH_COMMAND", self.ssh())
            .env("GIT_LFS_SKIP_SMUDGE", "1");
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        if let Some(directory) = directory {
            command.arg("-C").arg(directory);
        }
        // A version manager that stands in for git looks in the current directory for which git to start.
        command.current_dir("/");
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(Error::NoGit)?;
        let group = Pid::from_child(&child);
        let (succeeded, said) = std::thread::scope(|scope| {
            let errors = child.stderr.take();
            let reader = std::thread::Builder::new().spawn_scoped(scope, || {
                let mut said = Vec::new();
                // The rest of the output is not shown, but it is read, so that git does not wait for a reader.
                if let Some(mut errors) = errors {
                    let _ = errors.by_ref().take(64 << 10).read_to_end(&mut said);
                    let _ = std::io::copy(&mut errors, &mut std::io::sink());
                }
                said
            });
            let succeeded = loop {
                match child.try_wait() {
                    Ok(Some(status)) => break Ok(status.success()),
                    Ok(None) if self.context.cancel().is_requested() => {
                        // Stops git's helpers, too: they may wait for a server that never answers.
                        let _ = kill_process_group(group, Signal::TERM);
                        let _ = child.wait();
                        break Err(Error::Interrupted);
                    }
                    Ok(None) => std::thread::sleep(PAUSE),
                    Err(error) => break Err(Error::NoGit(error)),
                }
            };
            // Without a reader thread, git's messages are lost, and git fails when it writes one.
            let said = reader.map(|reader| reader.join().unwrap_or_default()).unwrap_or_default();
            (succeeded, said)
        });
        if self.context.cancel().is_requested() {
            return Err(Error::Interrupted);
        }
        Ok(if succeeded? { Ok(()) } else { Err(last_line(&said)) })
    }

    /// The ssh command for the shell with which git starts it. If ssh is missing, git reports that when it needs ssh.
    fn ssh(&self) -> String {
        let program = self.programs.find("ssh").unwrap_or(Path::new("/nonexistent/ssh"));
        format!("'{}' {SSH}", program.to_string_lossy().replace('\'', r"'\''"))
    }
}

fn last_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let line = lines.iter().find(|line| line.starts_with("fatal: ")).or(lines.last());
    modelseal_format::display::Escaped(line.map_or("git failed", |line| line.trim_start_matches("fatal: ")))
        .to_string()
}
