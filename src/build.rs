//! From a recipe to a signed archive.
//!
//! The statement is complete before the key is used, and the archive appears under its name only when
//! all of it is on the disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::archive::{ArchiveFile, ArchiveWriter, Compression, Outcome, WriteError};
use crate::digest::{Digest, Progress};
use crate::inputs::{self, Artifact, Change, Inputs};
use crate::manifest::{
    ExternalParameters, FORMAT, InternalParameters, LAST_EPOCH, MODEL_SIGNATURE_PATH, Missing, Model, Origin,
    SEAL_PATH, Statement, model_signature_payload,
};
use crate::recipe::Recipe;
use crate::release;
use crate::sign::{self, KeyError, PrivateKey};

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
    /// SHA-256 of the uncompressed archive.
    pub tar_digest: Digest,
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

/// Everything that is known before a key is used.
struct Prepared {
    statement: Statement,
    artifact: Artifact,
    inputs: Inputs,
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
    let prepared = prepare(recipe, options, &output, model_signature)?;
    if options.output.is_none() {
        make_directory(&output)?;
    }
    let file = ArchiveFile::create(&output, compression)?;
    let (release, file) = write(&prepared, key, file, options)?;
    let (outcome, tar_digest) = file.finish(options.force)?;

    let Prepared { statement, artifact, inputs } = prepared;
    Ok(Built {
        archive: output,
        outcome,
        release,
        tar_digest,
        model: statement.model().clone(),
        origin: statement.internal().origin,
        files: statement.files().len() as u64,
        bytes: statement.files().iter().map(|file| file.size()).sum(),
        missing: inputs.missing,
        excluded: artifact.excluded,
        empty_directories: artifact.empty_directories,
        changes: inputs.changes,
        warnings: inputs.warnings,
        model_signature,
    })
}

fn prepare(
    recipe: &Recipe,
    options: &Options<'_>,
    output: &Path,
    model_signature: bool,
) -> Result<Prepared, Error> {
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
    let mut artifact = inputs::read_artifact(recipe, &written, options.progress)?;
    let source_date_epoch = match (options.source_date_epoch, inputs.commit_time) {
        (Some(epoch), _) if epoch > LAST_EPOCH => return Err(Error::Epoch(epoch)),
        (None, Some(time)) if time > LAST_EPOCH => {
            return Err(inputs::Error::Time(time as i64).into());
        }
        (Some(epoch), _) | (None, Some(epoch)) => epoch,
        (None, None) => DEFAULT_EPOCH,
    };
    let model = &recipe.tables.model;
    let statement = Statement::new(
        std::mem::take(&mut artifact.files),
        ExternalParameters {
            model: Model { name: model.name.get_ref().clone(), version: model.version.get_ref().clone() },
            hyperparameters: inputs.hyperparameters.clone(),
        },
        InternalParameters {
            format: FORMAT,
            origin: Origin::Adopted,
            source_date_epoch,
            excluded: artifact.excluded.clone(),
            model_signature,
            missing: inputs.missing.clone(),
        },
        inputs.dependencies.clone(),
        env!("CARGO_PKG_VERSION"),
    );
    Ok(Prepared { statement, artifact, inputs })
}

/// Writes all entries. What is large is made, written and dropped one after the other.
fn write(
    prepared: &Prepared,
    key: &PrivateKey,
    file: ArchiveFile,
    options: &Options<'_>,
) -> Result<(Digest, ArchiveFile), Error> {
    let statement = &prepared.statement;
    let path = file.path().to_path_buf();
    let failed = |source: io::Error| Error::Write(WriteError::io(&path, source));
    let mut archive = ArchiveWriter::new(file, release::frame(statement));
    let payload = statement.payload();
    let release = Digest::sha256(&payload);
    let seal = sign::write_bundle(&payload, key)?;
    drop(payload);
    archive.append(SEAL_PATH, &seal).map_err(failed)?;
    drop(seal);
    if statement.internal().model_signature {
        let signature = sign::write_bundle(&model_signature_payload(statement, &release), key)?;
        archive.append(MODEL_SIGNATURE_PATH, &signature).map_err(failed)?;
    }
    for sealed in statement.files() {
        let mut content = prepared.artifact.open(sealed).map_err(inputs::Error::from)?;
        let copied = archive.append_from(&release::entry(sealed), &mut content);
        let copied = copied.map_err(|source| match content.error() {
            Some(error) => Error::Input(error.into()),
            None => failed(source),
        })?;
        (options.progress)(copied);
        content.finish(sealed).map_err(inputs::Error::from)?;
    }
    Ok((release, archive.finish().map_err(failed)?))
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
