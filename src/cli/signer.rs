//! A command that signs: how it is started, and the files and variables it needs, which the build's commands must not
//! see.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::bail;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::progress::context;
use super::projects::project_around;
use super::signals::cancel;
use modelseal_build::run::{
    self, Confinement, Isolation, Job, Limits, Listener, Sandbox, Scope, Scratch, Stream, Trail, Variables,
    leads_into, would_lead_into,
};
use modelseal_format::sign::KeyError;

/// Maximum length of a signer's output in bytes.
const LONGEST: u64 = 64 << 10;

/// Variables that hold no secret.
const HARMLESS: [&str; 7] = ["HOME", "LANG", "PATH", "PWD", "SHELL", "TMPDIR", "USER"];

/// A shell command that receives the message on standard input and prints a signature.
#[derive(Debug, Clone)]
pub(super) struct SignerCommand {
    pub(super) line: String,
    pub(super) timeout: Duration,
}

/// The conditions under which a signer starts.
#[derive(Debug, Clone)]
pub(super) struct SignerStart {
    /// The confinement that was decided before the first command of a project.
    pub(super) confinement: Confinement,
    /// Directories where commands of the project could write, with links resolved. If there are any, the signer starts
    /// in an empty private directory, because many programs load code from their working directory.
    pub(super) writable: Vec<PathBuf>,
    /// The directory of the caches that commands of the project have kept.
    pub(super) caches: Option<PathBuf>,
}

impl SignerStart {
    /// The start of a signer for a signature about `target` when no command of a project runs.
    pub(super) fn alone(target: &Path) -> Result<Self, run::Error> {
        // Commands of an earlier build may have left files in the project that contains the working directory or the
        // target.
        let directory = if target.is_dir() { Some(target) } else { target.parent() };
        let directory = directory.filter(|directory| !directory.as_os_str().is_empty());
        let directories = [Some(Path::new(".")), directory].into_iter().flatten();
        let projects: Vec<PathBuf> = directories.filter_map(project_around).collect();
        let mut scope = Scope::default();
        scope.projects.clone_from(&projects);
        Ok(Self { confinement: Confinement::new(scope)?, writable: projects, caches: None })
    }
}

impl SignerCommand {
    /// The name of the signer in messages.
    pub(super) fn shown(&self) -> String {
        format!("the signer {}", modelseal_format::display::command(std::slice::from_ref(&self.line)))
    }

    /// Checks that the command line names nothing that a command of the recipe can change before the signer reads it.
    ///
    /// # Errors
    /// Names the path and says what to do.
    pub(super) fn check_named(&self, start: &SignerStart) -> anyhow::Result<()> {
        let apart = !start.writable.is_empty();
        for path in self.named() {
            let shown = modelseal_format::display::path(&path);
            if apart && path.is_relative() {
                bail!(
                    "{} names {shown} by a relative path, but the signer starts in another directory, \
                     because commands of a recipe can write to this one: give the absolute path",
                    self.shown(),
                );
            }
            let is_hidden = start
                .confinement
                .hidden()
                .any(|hidden| path.canonicalize().is_ok_and(|path| path.starts_with(hidden)));
            if !is_hidden && leads_into(&path, &start.writable) {
                bail!(
                    "{} names {shown}, which commands of a recipe can change: hide it with `--signer-hide`, \
                     or keep it elsewhere",
                    self.shown(),
                );
            }
        }
        Ok(())
    }

    /// Environment variables that are set and that the command line names, except those that hold no secret.
    pub(super) fn variables(&self) -> Vec<String> {
        let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let words: BTreeSet<&str> = self.line.split(|character| !is_part(character)).collect();
        let is_secret = |name: &&str| !name.is_empty() && !HARMLESS.contains(name);
        let set = words.into_iter().filter(is_secret).filter(|name| std::env::var_os(name).is_some());
        set.map(str::to_string).collect()
    }

    /// Files that the command line names, other than programs. A key may be among them.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let is_program = |path: &Path| {
            path.metadata()
                .is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0 && metadata.is_file())
        };
        let is_device = |path: &Path| path.starts_with("/dev") || path.starts_with("/proc");
        self.named()
            .into_iter()
            .filter(|path| !is_program(path) && !is_device(path) && path.parent().is_some())
            .collect()
    }

    /// The words of the command line, and parts of words, that are paths of existing files.
    fn named(&self) -> BTreeSet<PathBuf> {
        let is_quote = |character: char| matches!(character, '\'' | '"' | '`');
        let ends_word = |character: char| {
            character.is_whitespace() || "|&;()<>$".contains(character) || is_quote(character)
        };
        let ends_part = |character: char| ends_word(character) || "=:,@".contains(character);
        let words =
            self.line.split(ends_word).chain(self.line.split(is_quote)).chain(self.line.split(ends_part));
        let is_path = |word: &&str| !matches!(*word, "" | "." | "..") && Path::new(word).exists();
        words.filter(is_path).map(PathBuf::from).collect()
    }

    /// Runs the signer with the caller's environment, because it is the caller's command. Programs are not looked up
    /// where a command of the project could have put one.
    pub(super) fn sign(&self, message: &[u8], start: &SignerStart) -> Result<Vec<u8>, KeyError> {
        let failed = |reason: String| KeyError::Signer { key: self.shown(), reason };
        let programs = start.confinement.programs();
        let shell = programs.find("sh").map_err(|error| failed(error.to_string()))?;
        let words = [shell.to_string_lossy().into_owned(), "-c".to_string(), self.line.clone()];
        let mut variables = Variables { own: std::env::vars_os().collect(), ..Variables::default() };
        // A program could load code from these paths. A word that is not a path, such as a password, names nothing there.
        let leads_there = |path: &Path| match path.is_absolute() {
            true => would_lead_into(path, &start.writable),
            false => leads_into(path, &start.writable),
        };
        let leads = |value: &std::ffi::OsString| std::env::split_paths(value).any(|path| leads_there(&path));
        variables.own.retain(|_, value| !leads(value));
        variables.own.insert("PATH".into(), programs.path());
        let scratch = (!start.writable.is_empty())
            .then(|| Scratch::new(&cancel()))
            .transpose()
            .map_err(|error| failed(error.to_string()))?;
        let here = std::env::current_dir();
        let directory = match &scratch {
            Some(scratch) => scratch.path().to_path_buf(),
            None => here.map_err(|error| failed(error.to_string()))?,
        };
        // The signer must not read anything there, even if its command line names such a path.
        let covered = start.writable.iter().chain(&start.caches).flat_map(|path| Trail::of(path)).collect();
        let answer = Answer(Mutex::default());
        let ended = run::run(&Job {
            command: &words,
            directory: &directory,
            variables: &variables,
            confinement: &start.confinement,
            sandbox: &Sandbox { isolation: Isolation::Never, covered, ..Sandbox::default() },
            limits: Limits { time: Some(self.timeout), output: LONGEST, silence: None },
            input: message,
            log: None,
            listener: &answer,
            context: &context(),
        });
        match ended {
            // An agent that the signer started may keep running. The signature is verified in any case.
            Ok(_) | Err(run::Error::Leftovers { .. }) => {}
            Err(run::Error::Timeout { limit, .. }) => {
                return Err(failed(format!(
                    "it did not end within {}",
                    modelseal_format::display::duration(limit)
                )));
            }
            Err(run::Error::Failed { how, .. }) => return Err(failed(how)),
            Err(other) => return Err(failed(other.to_string())),
        }
        let answer = answer.0.into_inner().unwrap_or_default();
        match answer.is_empty() {
            true => Err(failed("it printed nothing".to_string())),
            false => Ok(decoded(answer)),
        }
    }
}

/// Collects the standard output of a signer. Its standard error goes to the user.
struct Answer(Mutex<Vec<u8>>);

impl Listener for Answer {
    fn output(&self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Output => {
                if let Ok(mut answer) = self.0.lock() {
                    answer.extend_from_slice(bytes);
                }
            }
            Stream::Error => {
                let _ = std::io::Write::write_all(&mut std::io::stderr(), bytes);
            }
        }
    }

    fn waiting(&self, _: Duration) {}
}

/// Decodes a signature that a signer printed. Cloud tools print base64 with a line ending; other tools print the raw
/// bytes. A DER signature begins with a byte that is not in the base64 alphabet. Two raw numbers hardly ever consist of
/// base64 characters only. The signature is verified in any case.
fn decoded(answer: Vec<u8>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(&answer) else { return answer };
    let text: String = text.split_ascii_whitespace().collect();
    let padded = format!("{text}{}", "=".repeat((4 - text.trim_end_matches('=').len() % 4) % 4));
    let tries = [text.as_str(), padded.as_str()];
    let decode = |text: &&str| STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok();
    tries.iter().find_map(decode).unwrap_or(answer)
}
