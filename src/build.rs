//! From a recipe to a signed archive.
//!
//! The statement is complete before the key is used, and the archive appears under its name only when
//! all of it is on the disk.

mod write;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::archive::{ArchiveFile, Compression, Outcome, WriteError};
use crate::digest::{Digest, Progress};
use crate::inputs::{self, Artifact, Change, Inputs};
use crate::manifest::{
    ExternalParameters, FORMAT, InternalParameters, LAST_EPOCH, Missing, Model, Origin, Statement, Subject,
};
use crate::recipe::Recipe;
use crate::sign::{KeyError, PrivateKey};

/// The time of every entry where there is neither SOURCE_DATE_EPOCH nor a commit: 1980-01-01, the oldest
/// that every archive format can hold.
const DEFAULT_EPOCH: u64 = 315_532_800;

/// How to build.
pub struct Options<'a> {
    /// The archive; by default `dist/NAME-VERSION.tar` beside the recipe.
    pub output: Option<PathBuf>,
    /// Where data sources lie on this machine, by name.
    pub data: BTreeMap<String, PathBuf>,
    pub allow_dirty: bool,
    /// Instead of what the recipe says.
    pub compression: Option<Compression>,
    /// Replace an archive that holds something else.
    pub force: bool,
    /// Compute the SHA-256 of the uncompressed archive, which takes another read of it.
    pub tar_digest: bool,
    /// `SOURCE_DATE_EPOCH`.
    pub source_date_epoch: Option<u64>,
    /// Against which the age of data is judged. It is not sealed.
    pub now: Timestamp,
    /// Is told how many bytes were read.
    pub progress: Progress<'a>,
}

/// What a build made.
#[derive(Debug)]
pub struct Built {
    pub archive: PathBuf,
    pub outcome: Outcome,
    pub release: Digest,
    /// SHA-256 of the uncompressed archive, if it was asked for.
    pub tar_digest: Option<Digest>,
    pub model: Model,
    pub origin: Origin,
    pub files: u64,
    /// Of the model files together.
    pub bytes: u64,
    pub missing: Vec<Missing>,
    pub excluded: Vec<String>,
    pub empty_directories: Vec<String>,
    pub changes: Vec<Change>,
    pub warnings: Vec<String>,
    pub model_signature: bool,
}

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Input(#[from] inputs::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("SOURCE_DATE_EPOCH is {0}, which does not fit into an archive (at most {LAST_EPOCH})")]
    Epoch(u64),
    #[error("cannot make the directory {}", crate::text::path(path))]
    Directory { path: PathBuf, source: io::Error },
}

/// Everything that is known before a file of the artifact is read.
struct Plan {
    artifact: Artifact,
    inputs: Inputs,
    external: ExternalParameters,
    internal: InternalParameters,
}

/// Builds, signs and writes.
///
/// # Errors
/// [`Error`]; then there is nothing new under the archive's name.
pub fn build(recipe: &Recipe, key: &PrivateKey, options: &Options<'_>) -> Result<Built, Error> {
    let compression = options.compression.unwrap_or(recipe.tables.archive.compression);
    let output = match &options.output {
        Some(output) => output.clone(),
        None => recipe.default_output(compression),
    };
    let model_signature = key.public_key().is_elliptic_curve();
    let plan = plan(recipe, options, &output, model_signature)?;
    if options.output.is_none() {
        make_directory(&output)?;
    }
    let file = ArchiveFile::create(&output, compression)?;
    let written = match compression {
        Compression::None => write::in_one_pass(&plan, key, file, options.progress)?,
        Compression::Gzip | Compression::Zstd => write::in_two_passes(&plan, key, file, options.progress)?,
    };
    let (outcome, tar_digest) = written.file.finish(options.force, options.tar_digest)?;

    Ok(Built {
        archive: output,
        outcome,
        release: written.release,
        tar_digest,
        model: plan.external.model,
        origin: plan.internal.origin,
        files: plan.artifact.files.len() as u64,
        bytes: plan.artifact.files.iter().map(|file| file.facts.size).sum(),
        missing: plan.inputs.missing,
        excluded: plan.artifact.excluded,
        empty_directories: plan.artifact.empty_directories,
        changes: plan.inputs.changes,
        warnings: plan.inputs.warnings,
        model_signature,
    })
}

fn plan(recipe: &Recipe, options: &Options<'_>, output: &Path, model_signature: bool) -> Result<Plan, Error> {
    let written = written(recipe, output);
    let inputs = inputs::gather(
        recipe,
        &inputs::Options {
            data: &options.data,
            written: &written,
            allow_dirty: options.allow_dirty,
            now: options.now,
            progress: options.progress,
        },
    )?;
    let artifact = inputs::list_artifact(recipe, &written)?;
    let source_date_epoch = match (options.source_date_epoch, inputs.commit_time) {
        (Some(epoch), _) if epoch > LAST_EPOCH => return Err(Error::Epoch(epoch)),
        (None, Some(time)) if time > LAST_EPOCH => {
            return Err(inputs::Error::Time(time as i64).into());
        }
        (Some(epoch), _) | (None, Some(epoch)) => epoch,
        (None, None) => DEFAULT_EPOCH,
    };
    let model = &recipe.tables.model;
    Ok(Plan {
        external: ExternalParameters {
            model: Model { name: model.name.get_ref().clone(), version: model.version.get_ref().clone() },
            hyperparameters: inputs.hyperparameters.clone(),
        },
        internal: InternalParameters {
            format: FORMAT,
            origin: Origin::Adopted,
            source_date_epoch,
            excluded: artifact.excluded.clone(),
            model_signature,
            missing: inputs.missing.clone(),
        },
        artifact,
        inputs,
    })
}

impl Plan {
    /// The manifest of these files.
    fn statement(&self, files: Vec<Subject>) -> Statement {
        Statement::new(
            files,
            self.external.clone(),
            self.internal.clone(),
            self.inputs.dependencies.clone(),
            env!("CARGO_PKG_VERSION"),
        )
    }
}

/// What this build writes, absolute, links resolved as far as they exist.
fn written(recipe: &Recipe, output: &Path) -> Vec<PathBuf> {
    let resolve = |path: &Path| {
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        let directory = directory.canonicalize().or_else(|_| std::path::absolute(directory));
        Some(directory.ok()?.join(path.file_name()?))
    };
    let dist = recipe.directory().join("dist");
    [resolve(&dist), resolve(output)].into_iter().flatten().collect()
}

fn make_directory(output: &Path) -> Result<(), Error> {
    let Some(directory) = output.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(directory)
        .map_err(|source| Error::Directory { path: directory.to_path_buf(), source })
}

impl Error {
    /// Whether the input was looked at and refused (exit 1), rather than the build not possible (exit 2).
    pub fn is_refusal(&self) -> bool {
        matches!(self, Error::Input(error) if error.is_refusal())
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Input(error) => error.hint(),
            Error::Key(error) => error.hint(),
            Error::Write(WriteError::Exists(_)) => {
                Some("raise the version in the recipe, or replace the archive with `--force`".to_string())
            }
            _ => None,
        }
    }
}
