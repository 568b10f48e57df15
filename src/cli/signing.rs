//! The signer that the command line names: a private key, or a command that has one, and its certificate.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;

use super::Verbosity;
use super::keys::{make_local_key, password};
use super::output::warn;
use super::signer::{SignerCommand, SignerStart};
use modelseal_format::digest::{Symlinks, open_regular};
use modelseal_format::display::{self, shell_word};
use modelseal_format::sign::{
    KeyError, KeySource, PublicKey, Signer, check_private_key, local_key_path, read_private_key,
    read_public_key,
};
use modelseal_verify::config::Age;
use modelseal_verify::trust::{certified_key, certified_subject, check_chain, read_certificates, read_text};

/// Default time limit of a signer command.
const PATIENCE: Duration = Duration::from_secs(120);

/// The variable with the password of an encrypted key.
const PASSWORD: &str = "MODELSEAL_PASSWORD";

/// No key or password is longer, in bytes.
const LONGEST_SECRET: u64 = 1 << 20;

/// The value of a variable with at least so many bytes is compared with what git has.
const SHORTEST_SECRET: usize = 16;

#[derive(Debug, Args)]
#[command(next_help_heading = "Signer")]
pub(super) struct Signing {
    /// Sign with this private key: a path, `env://NAME`, `-` for standard input, or `local` for your own key
    /// [default: local]; with --signer, give the signer's public key
    #[arg(long, value_name = "KEY", aliases = ["private-key", "private_key"])]
    pub(super) key: Option<String>,
    /// Read the password of an encrypted key from the first line of this file
    #[arg(long, value_name = "FILE", conflicts_with = "signer")]
    pub(super) password_file: Option<PathBuf>,
    /// Sign with this shell command, which reads the message on standard input and prints the signature
    #[arg(long, value_name = "COMMAND", requires = "key")]
    pub(super) signer: Option<String>,
    /// Hide this file or directory, which the signer uses, from the build's commands
    #[arg(long, value_name = "PATH", requires = "signer")]
    signer_hide: Vec<PathBuf>,
    /// Time limit for the signer [default: 2m]
    #[arg(long, value_name = "TIME", value_parser = age, requires = "signer")]
    signer_timeout: Option<Duration>,
    /// The key's certificate (PEM), which the signature then includes
    #[arg(long, value_name = "LEAF", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificates between --certificate and its root, with or without the root (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_chain: Vec<PathBuf>,
}

fn age(text: &str) -> Result<Duration, String> {
    let age = Age::parse(text).map(|age| age.0);
    age.ok_or_else(|| "expected a duration: a whole number above 0 and a unit, as in 30s or 5m".to_string())
}

/// A signing key that is not opened yet.
pub(super) struct SigningKey {
    source: Source,
    certificates: Vec<Vec<u8>>,
    pub(super) name: String,
    /// The public key that verifiers need, as an argument of `--key`.
    public: String,
    /// The subject of the certificate, for verifiers.
    subject: Option<String>,
}

enum Source {
    Key { source: KeySource, password_file: Option<PathBuf> },
    Command { public: Box<PublicKey>, command: SignerCommand, hidden: Vec<PathBuf> },
}

impl Signing {
    /// Refuses a recipe that is a key or a password file: an error in a recipe shows a line of it.
    pub(super) fn check_differs(&self, recipe: &Path) -> anyhow::Result<()> {
        let keys = self.key.as_ref().filter(|_| self.signer.is_none()).map(PathBuf::from);
        let own = local_key_path().ok();
        let secrets =
            keys.into_iter().chain(self.password_file.clone()).chain(self.signer_hide.clone()).chain(own);
        let same = |path: &PathBuf| {
            recipe.canonicalize().is_ok_and(|recipe| path.canonicalize().is_ok_and(|path| path == recipe))
        };
        match secrets.into_iter().find(same) {
            Some(secret) => {
                bail!("{} is the secret file {}, not a recipe", display::path(recipe), display::path(&secret))
            }
            None => Ok(()),
        }
    }

    /// Finds the signer. Without `--key` this is the user's own key, which is created on first use. A key that is
    /// missing or that others can read is an error here, and not only after a command has run for hours.
    pub(super) fn prepare(&self, verbosity: Verbosity) -> anyhow::Result<SigningKey> {
        let mut certificates = Vec::new();
        for path in self.certificate.iter().chain(&self.certificate_chain) {
            let found = read_certificates(&read_text(path)?, &modelseal_format::display::path(path))?;
            if Some(path) == self.certificate.as_ref() && found.len() > 1 {
                bail!(
                    "{} holds {} certificates: keep only the signer's, and give the rest with \
                     `--certificate-chain`",
                    modelseal_format::display::path(path),
                    found.len()
                );
            }
            certificates.extend(found);
        }
        let mut key = match (&self.signer, &self.key) {
            (Some(command), Some(key)) => self.elsewhere(command, key)?,
            (_, key) => signing_key(key.as_deref(), self.password_file.as_deref(), verbosity)?,
        };
        if let (Some(path), Some(leaf)) = (&self.certificate, certificates.first()) {
            let shown = modelseal_format::display::path(path);
            let failed = |reason: String| anyhow::anyhow!("cannot use the certificate {shown}: {reason}");
            check_chain(&certificates, Some(Timestamp::now())).map_err(failed)?;
            let certified = certified_key(leaf, &shown)?;
            if key.known().is_some_and(|known| known != certified) {
                let key = modelseal_format::display::name(&key.name);
                return Err(failed(format!("it does not belong to the key {key}")));
            }
            key.subject = Some(certified_subject(leaf));
        }
        key.certificates = certificates;
        Ok(key)
    }

    fn elsewhere(&self, command: &str, key: &str) -> anyhow::Result<SigningKey> {
        let source = KeySource::from(key);
        let public = read_public_key(&source)?;
        if let Some(path) = self.signer_hide.iter().find(|path| !path.exists()) {
            bail!("`--signer-hide`: {} does not exist", modelseal_format::display::path(path));
        }
        let timeout = self.signer_timeout.unwrap_or(PATIENCE);
        let command = SignerCommand { line: command.to_string(), timeout };
        Ok(SigningKey {
            source: Source::Command {
                public: Box::new(public),
                command,
                hidden: self.signer_hide.iter().cloned().map(own_name).collect(),
            },
            certificates: Vec::new(),
            name: source.name(),
            public: key.to_string(),
            subject: None,
        })
    }
}

/// Whether a path names an open file descriptor or other state of a process, and not a place in the file system.
fn is_descriptor(path: &Path) -> bool {
    ["/dev/fd", "/dev/stdin", "/proc"].iter().any(|descriptors| path.starts_with(descriptors))
}

/// The file behind a path such as `/dev/fd/3` or `/proc/self/cwd/key`. Commands could reach that file by its real path.
/// `None` for a pipe, which has no path.
fn behind_descriptor(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().filter(|path| !is_descriptor(path) && path.is_file())
}

/// Returns the path itself, or the real path of the file behind a descriptor.
fn own_name(path: PathBuf) -> PathBuf {
    match is_descriptor(&path) {
        true => behind_descriptor(&path).unwrap_or(path),
        false => path,
    }
}

/// The source of the private key. `None` selects the user's own key.
pub(super) fn signing_key(
    given: Option<&str>,
    password_file: Option<&Path>,
    verbosity: Verbosity,
) -> Result<SigningKey, KeyError> {
    let source = match KeySource::from(given.unwrap_or("local")) {
        KeySource::File(path) => KeySource::File(own_name(path)),
        other => other,
    };
    if source == KeySource::Local {
        if given.is_none() && std::env::var_os("CI").is_some() {
            warn(
                verbosity,
                "this looks like a CI job (CI is set) and no `--key` was given: the key is created here \
                 and lost with the job, so its signatures cannot be checked later",
            );
        }
        make_local_key(verbosity)?;
    }
    check_private_key(&source)?;
    let public = match &source {
        KeySource::Local => "local".to_string(),
        KeySource::File(path) if path.with_extension("pub").is_file() => {
            path.with_extension("pub").to_string_lossy().into_owned()
        }
        _ => "KEY.pub".to_string(),
    };
    let name = source.name();
    let source =
        Source::Key { source, password_file: password_file.map(|path| own_name(path.to_path_buf())) };
    Ok(SigningKey { source, certificates: Vec::new(), name, public, subject: None })
}

impl SigningKey {
    /// Reads the key, and asks for its password if it needs one. `start` says how a signer command is started.
    pub(super) fn open(&self, start: &SignerStart) -> Result<Signer, KeyError> {
        let signer = match &self.source {
            Source::Key { source, password_file } => {
                let mut ask = |shown: &str| password(password_file.as_deref(), shown);
                Signer::from(read_private_key(source, &mut ask)?)
            }
            Source::Command { public, command, .. } => {
                let shown = command.shown();
                let (command, start) = (command.clone(), start.clone());
                let sign = move |message: &[u8]| command.sign(message, &start);
                Signer::elsewhere(PublicKey::clone(public), shown, Box::new(sign))
            }
        };
        let Some(certificate) = self.certificates.first() else { return Ok(signer) };
        match certified_key(certificate, "in the certificate") {
            Ok(key) if key == *signer.public_key() => Ok(signer.with_certificates(self.certificates.clone())),
            Ok(_) => Err(KeyError::Certificate { key: self.name.clone() }),
            Err(error) => {
                Err(KeyError::Malformed { key: "in the certificate".into(), reason: error.to_string() })
            }
        }
    }

    /// Opens the key when no command of a project runs. `target` is what the signature is about.
    pub(super) fn open_alone(&self, target: &Path) -> anyhow::Result<Signer> {
        let start = SignerStart::alone(target)?;
        if let Some(command) = self.command() {
            command.check_named(&start)?;
        }
        Ok(self.open(&start)?)
    }

    /// The options to write after `verify ARCHIVE`.
    pub(super) fn verify_with(&self) -> String {
        match &self.subject {
            Some(subject) => format!("--certificate-chain ROOT.pem --subject {}", shell_word(subject)),
            None => format!("--key {}", shell_word(&self.public)),
        }
    }

    /// The public key, if it is known before the private key is opened.
    fn known(&self) -> Option<PublicKey> {
        match &self.source {
            Source::Command { public, .. } => Some(PublicKey::clone(public)),
            Source::Key { source: KeySource::File(path), .. } => {
                read_public_key(&KeySource::File(path.with_extension("pub"))).ok()
            }
            Source::Key { .. } => None,
        }
    }

    /// The signer command, if a command signs.
    pub(super) fn command(&self) -> Option<&SignerCommand> {
        match &self.source {
            Source::Command { command, .. } => Some(command),
            Source::Key { .. } => None,
        }
    }

    /// Environment variables that hold the key, or that the signer command uses.
    pub(super) fn variables(&self) -> Vec<String> {
        match &self.source {
            Source::Key { source: KeySource::Variable(name), .. } => vec![name.clone()],
            Source::Key { .. } => Vec::new(),
            Source::Command { command, .. } => command.variables(),
        }
    }

    /// Files that commands must not see: the key file and its password file, or the files that the caller says a signer
    /// needs.
    pub(super) fn hidden(&self) -> Vec<PathBuf> {
        match &self.source {
            Source::Key { source, password_file } => {
                let file = match source {
                    KeySource::File(path) => Some(path.clone()),
                    KeySource::StandardInput => behind_descriptor(Path::new("/dev/stdin")),
                    KeySource::Variable(_) | KeySource::Local => None,
                };
                // Commands do not inherit pipes.
                let is_pipe = |path: &PathBuf| is_descriptor(path);
                file.into_iter().chain(password_file.clone()).filter(|path| !is_pipe(path)).collect()
            }
            Source::Command { hidden, .. } => hidden.clone(),
        }
    }
    /// What commands must not read: the content of the hidden files, and the values of variables.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let files = self.hidden().into_iter().filter_map(|path| {
            let (file, _) = open_regular(&path, Symlinks::Follow).ok()?;
            let mut content = Vec::new();
            file.take(LONGEST_SECRET).read_to_end(&mut content).ok()?;
            Some((display::path(&path), content))
        });
        let variables = self.variables().into_iter().filter_map(|name| {
            let value = std::env::var_os(&name)?.into_encoded_bytes();
            Some((format!("`{name}`"), value))
        });
        // A short value can be the content of a file by chance.
        let variables = variables.filter(|(_, value)| value.len() >= SHORTEST_SECRET);
        let password = std::env::var_os(PASSWORD).map(OsString::into_encoded_bytes);
        files.chain(variables).chain(password.map(|password| (format!("`{PASSWORD}`"), password)))
    }

    /// Whether it is the user's own key.
    pub(super) fn is_own(key: Option<&str>) -> bool {
        key.is_none_or(|key| key == "local")
    }
}
