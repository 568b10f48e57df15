//! Builds a release: from a recipe to a signed archive.
//!
//! The recipe's command has ended before the key is opened. The manifest is complete before the key is used. The
//! archive appears under its name only after all of it is on the disk.

mod backup;
mod behaviour;
mod command;
mod detached_signing;
mod execute;
mod guarded;
mod guarded_path;
mod linked;
mod lock;
mod plan;
mod planted;
mod reach;
mod replaced;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::cache::Cache;
use crate::checkout;
use crate::inputs::{self, Change};
use crate::probe;
use crate::recipe::Recipe;
use crate::run::{self, Confinement, Listener, Silent};
use modelseal_format::archive::{ArchiveFile, Compression, Outcome, WriteError};
use modelseal_format::canonical::Counted;
use modelseal_format::context::Context;
use modelseal_format::digest::Digest;
use modelseal_format::hint::Hint;
use modelseal_format::manifest::{Byproduct, LAST_EPOCH, LONGEST_SEAL, Missing, Model, Origin, ParseError};
use modelseal_format::sign::{KeyError, Signer};

pub use behaviour::Observer;
pub use command::Setting;
pub use detached_signing::{SealedBy, Stated, seal, state};
pub use reach::{CommandPlace, ReachError, check_private, check_secrets, reach};

/// Opens the signing key. Called only when nothing of the recipe's command is left running.
pub type OpenKey<'a> = &'a mut dyn FnMut() -> Result<Signer, KeyError>;

/// How the artifact is produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Making {
    /// Run the recipe's command in the work tree. Without a command, adopt the artifact.
    #[default]
    Run,
    /// Run the recipe's command in a fresh clone of the commit.
    Clean,
    /// Adopt the artifact that already exists.
    Adopt,
}

/// Options of a build.
#[non_exhaustive]
pub struct Options<'a> {
    /// The path of the archive; by default `dist/NAME-VERSION.tar` in the recipe's directory.
    pub output: Option<PathBuf>,
    /// Paths of data sources on this machine, by name.
    pub data: BTreeMap<String, PathBuf>,
    pub allow_dirty: bool,
    /// Overrides the compression that the recipe names.
    pub compression: Option<Compression>,
    /// Replace an existing archive whose content differs.
    pub force: bool,
    /// Compute the SHA-256 of the uncompressed archive, which needs another read of it.
    pub tar_digest: bool,
    /// `SOURCE_DATE_EPOCH`.
    pub source_date_epoch: Option<u64>,
    /// Remembers digests of data files from earlier builds, so that these files are not read again. With `None`, every
    /// file is read.
    pub cache: Option<&'a Cache>,
    /// The age of data is measured against its time, which is not sealed.
    pub context: Context,
    pub making: Making,
    /// Files that the caller writes next to the archive. They do not make the work tree dirty.
    pub writes: Vec<PathBuf>,
    /// The decisions made before the first command runs: which keys are hidden, and where commands may write.
    pub confinement: &'a Confinement,
    /// Where the directories of `[run] caches` are kept between builds. With `None`, they are not kept.
    pub caches: Option<PathBuf>,
    /// Receives what the command prints.
    pub listener: &'a dyn Listener,
}

impl<'a> Options<'a> {
    /// Builds as the recipe says, in its work tree, and replaces no other archive.
    pub fn new(confinement: &'a Confinement) -> Self {
        Self {
            output: None,
            data: BTreeMap::new(),
            allow_dirty: false,
            compression: None,
            force: false,
            tar_digest: false,
            source_date_epoch: None,
            cache: None,
            context: Context::default(),
            making: Making::Run,
            writes: Vec::new(),
            confinement,
            caches: None,
            listener: &Silent,
        }
    }

    /// The compression and the path of the archive: from the options, or else from the recipe.
    fn target(&self, recipe: &Recipe) -> (Compression, PathBuf) {
        let compression = self.compression.unwrap_or(recipe.tables.archive.compression);
        let output = self.output.clone().unwrap_or_else(|| recipe.default_output(compression));
        (compression, output)
    }
}

/// The result of a build.
#[derive(Debug)]
#[non_exhaustive]
pub struct Built {
    pub archive: PathBuf,
    pub outcome: Outcome,
    pub release: Digest,
    /// SHA-256 of the uncompressed archive, if it was requested.
    pub tar_digest: Option<Digest>,
    pub model: Model,
    pub origin: Origin,
    pub files: u64,
    /// Total size of the model files, in bytes.
    pub bytes: u64,
    pub missing: Vec<Missing>,
    pub excluded: Vec<String>,
    pub empty_directories: Vec<String>,
    pub changes: Vec<Change>,
    pub warnings: Vec<String>,
    pub model_signature: bool,
    /// How long the command ran.
    pub command_seconds: Option<f64>,
    /// Files that the command left in addition to the artifact, and that git neither tracks nor ignores.
    pub left: Vec<String>,
    /// The probes that the artifact answered, and how many inputs each has.
    pub probes: Vec<(String, u64)>,
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Input(#[from] inputs::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("cannot pack the bundle: {0}")]
    Bundle(String),
    #[error("cannot pack the bundle: it does not contain the public key of its signer, and no key was given")]
    UnknownKey,
    #[error("SOURCE_DATE_EPOCH is {0}, but an archive can store at most {LAST_EPOCH}")]
    Epoch(u64),
    #[error("cannot create or open {}", modelseal_format::display::path(path))]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Checkout(#[from] checkout::Error),
    /// The command's output is saved, if there is any.
    #[error(transparent)]
    Run(WithSavedOutput<run::Error>),
    #[error("the command did not make the artifact {}", modelseal_format::display::path(.0))]
    NotProduced(PathBuf),
    #[error("cannot move the old artifact aside: {}", modelseal_format::display::path(path))]
    Aside { path: PathBuf, source: io::Error },
    /// The command made an artifact that cannot be sealed.
    #[error(transparent)]
    Rejected(WithSavedOutput<Box<Error>>),
    /// The command failed and blocked restoring the old artifact.
    #[error("{reason}")]
    NotPutBack { reason: Box<Error>, old: PathBuf },
    #[error("{} leads out of the project through a link: modelseal does not write there", modelseal_format::display::path(.0))]
    LeadsOut(PathBuf),
    #[error("git or your shell can run {}: modelseal does not write files from a command there", modelseal_format::display::path(.0))]
    Guarded(PathBuf),
    #[error(
        "the command reads data `{name}` at {}, not at {}",
        modelseal_format::display::path(expected),
        modelseal_format::display::path(given)
    )]
    DataElsewhere { name: String, expected: PathBuf, given: PathBuf },
    #[error(
        "{} contains a git repository, {}, which would be removed with the old artifact",
        modelseal_format::display::path(artifact),
        modelseal_format::display::path(repository)
    )]
    HoldsRepository { artifact: PathBuf, repository: PathBuf },
    #[error("the command redirected {} to another place: modelseal does not write there", modelseal_format::display::path(.0))]
    Redirected(PathBuf),
    #[error(
        "the command made a git repository, {}: git would run programs that it configures",
        modelseal_format::display::path(repository)
    )]
    Planted {
        repository: PathBuf,
        /// The new name of the repository, or of the `HEAD` of a bare one.
        aside: Option<PathBuf>,
    },
    #[error("the recipe has no `[run]`: there is nothing to run in a clean clone")]
    NoCommand,
    #[error("a clean clone needs a code revision, and the recipe has `none = true` under `[code]`")]
    NoCode,
    #[error(transparent)]
    Probe(#[from] probe::Error),
    #[error("the model fails the probe `{probe}`: {}", reasons.join("\n  "))]
    Behaviour { probe: String, reasons: Vec<String> },
    #[error("cannot seal the unsigned manifest: {0}")]
    Statement(String),
    #[error("cannot seal the unsigned manifest: it promises a `model.sig`, which {0}")]
    ModelSignature(&'static str),
    #[error(
        "the seal would be unreadable, because {0}; seal fewer hyperparameters, inputs or probe answers, or \
         commit the changes that git lists"
    )]
    Predicate(ParseError),
    #[error(
        "the seal would have {0} bytes, more than the limit of {LONGEST_SEAL}: ship fewer files, or use \
         shorter names"
    )]
    Seal(u64),
}

/// Builds a release: produces the artifact, signs the manifest and writes the archive.
///
/// # Errors
/// [`Error`]. Then nothing new exists under the archive's name, and the artifact is as it was.
pub fn build(recipe: &Recipe, open_key: OpenKey<'_>, options: &Options<'_>) -> Result<Built, Error> {
    let (compression, output) = options.target(recipe);
    let mut plan = plan::plan(recipe, options, &output)?;
    // The key must not have been replaced.
    options.confinement.check().map_err(Error::run)?;
    let key = open_key()?;
    plan.internal.model_signature = key.public_key().is_elliptic_curve();
    if options.output.is_none() {
        plan::make_directory(&output)?;
    }
    let file = ArchiveFile::create(&output, compression, &options.context)?;
    let written = if file.can_reserve() {
        write::in_one_pass(&mut plan, &key, file, &options.context)?
    } else {
        let statement = plan.statement(plan.artifact.hash(&options.context)?);
        let seals = write::Seals::sign(Counted::of(&statement), &key)?;
        write::sealed(&statement, &plan.artifact, seals, file, &options.context)?
    };
    let (outcome, tar_digest) = written.file.finish(options.force, options.tar_digest)?;

    Ok(Built {
        archive: output,
        outcome,
        release: written.release,
        tar_digest,
        model: plan.external.model,
        origin: plan.internal.origin,
        files: written.files,
        bytes: written.bytes,
        missing: plan.inputs.missing,
        excluded: plan.artifact.excluded,
        empty_directories: plan.artifact.empty_directories,
        changes: plan.inputs.changes,
        warnings: plan.inputs.warnings,
        model_signature: plan.internal.model_signature,
        command_seconds: plan.command_seconds,
        left: plan.left,
        probes: plan.byproducts.iter().map(asked).collect(),
    })
}

fn asked(byproduct: &Byproduct) -> (String, u64) {
    (byproduct.probe().to_string(), byproduct.annotations.inputs())
}

/// An error, and the path of saved output that may explain it or that took long to make.
#[derive(Debug)]
pub struct WithSavedOutput<E> {
    pub reason: E,
    pub kept: Option<PathBuf>,
}

impl<E> WithSavedOutput<E> {
    fn hint(&self, hint: Option<Hint>, what: &str) -> Option<Hint> {
        let kept = self
            .kept
            .as_ref()
            .map(|path| format!("{what} is kept in {}", modelseal_format::display::path(path)).into());
        let parts = [hint, kept].into_iter().flatten().collect::<Vec<_>>();
        (!parts.is_empty()).then_some(Hint::All(parts))
    }
}

impl<E: std::fmt::Display> std::fmt::Display for WithSavedOutput<E> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reason.fmt(formatter)
    }
}

impl<E: std::error::Error> std::error::Error for WithSavedOutput<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.reason.source()
    }
}

impl From<ReachError> for Error {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::Input(error) => Error::Input(error),
            ReachError::Directory { path, source } => Error::Directory { path, source },
        }
    }
}

impl Error {
    fn run(reason: run::Error) -> Self {
        Error::Run(WithSavedOutput { reason, kept: None })
    }

    /// Whether the input was examined and refused (exit status 1), rather than the build not being possible (exit
    /// status 2).
    pub fn is_refusal(&self) -> bool {
        match self {
            Error::Input(error) => error.is_refusal(),
            Error::Run(kept) => kept.reason.is_refusal(),
            // The result of the command was examined: its changes to an input, or the artifact that it made.
            Error::Rejected(kept) => matches!(*kept.reason, Error::Input(_)) || kept.reason.is_refusal(),
            Error::NotPutBack { reason, .. } => reason.is_refusal(),
            Error::Checkout(checkout::Error::Input(error)) => error.is_refusal(),
            Error::Checkout(error) => matches!(error, checkout::Error::Differs { .. }),
            Error::Probe(error) => error.is_refusal(),
            Error::NotProduced(_)
            | Error::Redirected(_)
            | Error::Planted { .. }
            | Error::Guarded(_)
            | Error::HoldsRepository { .. }
            | Error::DataElsewhere { .. }
            | Error::LeadsOut(_)
            | Error::Statement(_)
            | Error::ModelSignature(_)
            | Error::UnknownKey
            | Error::Bundle(_)
            | Error::Behaviour { .. } => true,
            _ => false,
        }
    }

    /// What the user can do about the error.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Error::Input(error) => error.hint(),
            Error::Key(error) => error.hint(),
            Error::Checkout(error) => error.hint(),
            Error::Probe(error) => error.hint(),
            Error::Behaviour { .. } => Some("check the model and the command of the probe".into()),
            Error::Run(kept) => kept.hint(kept.reason.hint(), "its output"),
            Error::NotPutBack { reason, old } => {
                let old = modelseal_format::display::path(old);
                let message = format!("the old artifact could not be restored: it is in {old}");
                Some(Hint::All([message.into()].into_iter().chain(reason.hint()).collect()))
            }
            Error::NotProduced(_) => {
                Some("check that `path` under `[artifact]` is where the command writes".into())
            }
            Error::Rejected(kept) => kept.hint(kept.reason.hint(), "the rejected artifact"),
            Error::Planted { aside: Some(aside), .. } => Some(
                format!(
                    "it is set aside as {}; let the command clone into TMPDIR or HOME instead",
                    modelseal_format::display::path(aside)
                )
                .into(),
            ),
            Error::Planted { aside: None, .. } => {
                Some("remove it before you or your editor run git there".into())
            }
            Error::Guarded(_) => Some(Hint::AnotherPlace),
            Error::DataElsewhere { .. } => Some(Hint::LinkOrClone),
            Error::HoldsRepository { .. } => {
                Some("move the repository elsewhere, or choose another `path` under `[artifact]`".into())
            }
            Error::LeadsOut(_) => Some(Hint::NameOutput),
            Error::ModelSignature(_) => Some(Hint::StateWithoutModelSignature),
            Error::UnknownKey => Some(Hint::SayWhichKey),
            Error::NoCode => Some(Hint::AdoptOrRunHere),
            Error::Write(WriteError::Exists(_)) => Some(Hint::RaiseVersion),
            _ => None,
        }
    }
}
