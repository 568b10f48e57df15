//! The inputs of a build. Each becomes a `ResourceDescriptor` of the manifest.
//!
//! Nothing here is trusted, because every input comes from outside. An input that cannot be sealed truthfully is
//! refused. The error says what it is and what to do.

mod artifact;
mod base;
mod code;
mod data_set;
mod gather;
mod params;
mod paths;
mod pointer;
mod remote;
mod source;
mod unchanged;

use std::path::PathBuf;

pub use artifact::{Artifact, ListedFile, SecondRead, list_artifact};
pub use base::{BaseFacts, read_base};
pub use code::{
    Change, ChangeKind, Code, CodeError, Contents, Exempt, GitPlaces, History, WorkTree, git_places,
    holds_secret, is_in_git_directory,
};
pub use gather::{Inputs, Options, gather, gather_settings, hash_small_file};
pub use params::ParamsError;
pub use paths::{exempt, work_tree};
pub use pointer::{Pointer, lfs_pointer};
pub use source::{SourceFacts, read_source};
pub use unchanged::check_unchanged;

use crate::profile::ProfileError;
use crate::recipe;
use modelseal_format::digest;
use modelseal_format::hint::Hint;
use modelseal_format::manifest::PathError;
use modelseal_verify::config::Age;

/// Why an input cannot be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Recipe(#[from] recipe::Error),
    #[error(transparent)]
    Digest(#[from] digest::Error),
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The work tree differs from the commit.
    #[error(
        "the work tree differs from commit {}{}",
        modelseal_format::display::short(commit),
        list_changes(changes)
    )]
    Dirty { commit: String, changes: Vec<Change> },
    /// The recipe selects the work tree around its own repository.
    #[error(
        "`path` under `[code]` selects the work tree {}, which contains the recipe's own repository, {}",
        modelseal_format::display::path(outer),
        modelseal_format::display::path(own)
    )]
    OuterWorkTree { own: PathBuf, outer: PathBuf },
    /// A secret that a repository has, which commands see.
    #[error(
        "git stores the content of {name}: commands can read it in {}, and so can everyone with a clone",
        modelseal_format::display::path(repository)
    )]
    Committed { name: String, repository: PathBuf },
    /// A key in the work tree that git does not ignore.
    #[error("the key {} is in the work tree, and git does not ignore it", modelseal_format::display::name(.0))]
    Key(String),
    #[error("{} is {}", modelseal_format::display::path(path), pointer.description())]
    Pointer { path: PathBuf, pointer: Pointer },
    #[error(
        "the input {} overlaps {}, which must not reach commands or archives",
        modelseal_format::display::path(path),
        modelseal_format::display::path(hidden)
    )]
    Private { path: PathBuf, hidden: PathBuf },
    #[error("{} is {kind}", modelseal_format::display::path(path))]
    Special {
        path: PathBuf,
        kind: &'static str,
        /// Whether `symlinks = "follow"` could help.
        may_follow: bool,
    },
    #[error("the name {} cannot be sealed: it {reason}", modelseal_format::display::path(path))]
    Name { path: PathBuf, reason: PathError },
    #[error("the artifact {} contains no files", modelseal_format::display::path(.0))]
    EmptyArtifact(PathBuf),
    #[error(
        "cannot count the records of {}: supported file extensions are {known}",
        modelseal_format::display::path(path)
    )]
    NoRecords { path: PathBuf, known: String },
    #[error("cannot count the records of {}: {reason}", modelseal_format::display::path(path))]
    Records { path: PathBuf, reason: ProfileError },
    #[error("data `{name}` is stale: its newest record, {newest}, is {age} old (limit {limit})")]
    TooOld { name: String, newest: String, age: Age, limit: Age },
    #[error("cannot tell the age of data `{name}`: {reason}")]
    NoAge { name: String, reason: String },
    #[error("the hyperparameters of {} cannot be sealed: {reason}", modelseal_format::display::path(path))]
    Params { path: PathBuf, reason: ParamsError },
    #[error(
        "the hyperparameter {} is given twice: in {first} and in {second}",
        modelseal_format::display::name(name)
    )]
    TwoValues { name: String, first: String, second: String },
    #[error("the base model {} is damaged: {reason}", modelseal_format::display::path(path))]
    BadBase { path: PathBuf, reason: String },
    #[error("the recipe has no data source {}", modelseal_format::display::name(.0))]
    UnknownData(String),
    #[error("the command changed {}, which is an input", modelseal_format::display::name(.0))]
    ChangedByCommand(String),
    #[error("an archive cannot store the commit's time, {0} seconds since 1970")]
    Time(i64),
}

/// Maximum number of changes that are listed. The others are only counted.
const SHOWN_CHANGES: usize = 20;

fn list_changes(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes.iter().take(SHOWN_CHANGES) {
        let kind = format!("{}:", change.kind.name());
        text.push_str(&format!("\n  {kind:<10} {}", modelseal_format::display::name(&change.path)));
    }
    if changes.len() > SHOWN_CHANGES {
        text.push_str(&format!("\n  and {} more", changes.len() - SHOWN_CHANGES));
    }
    text
}

impl Error {
    /// Whether the input was read and refused (exit 1), rather than unreadable (exit 2).
    pub fn is_refusal(&self) -> bool {
        match self {
            Error::Recipe(_) | Error::Code(_) | Error::UnknownData(_) | Error::Time(_) => false,
            Error::Committed { .. } => false,
            Error::Digest(error) => !matches!(error, digest::Error::Io { .. } | digest::Error::Interrupted),
            _ => true,
        }
    }

    /// What the user can do about the error.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Error::Code(error) => error.hint(),
            Error::Dirty { changes, .. } => {
                let paths: Vec<String> = changes
                    .iter()
                    .take(5)
                    .map(|change| modelseal_format::display::shell_word(&change.path))
                    .collect();
                let more = if changes.len() > 5 { " …" } else { "" };
                Some(Hint::Commit(paths.join(" ") + more))
            }
            Error::OuterWorkTree { outer, .. } => {
                Some(Hint::AllowOuter(modelseal_format::display::shell_word(&outer.to_string_lossy())))
            }
            Error::Committed { .. } => Some(
                "do not use it again: create another key outside of the repository with `modelseal keygen`, \
                 and revoke this one in the policies that name it"
                    .into(),
            ),
            Error::Key(path) => Some(
                format!(
                    "move it out of the work tree, or add {} to `.gitignore` and commit that",
                    modelseal_format::display::name(path)
                )
                .into(),
            ),
            Error::Pointer { pointer, .. } => Some(pointer.hint().into()),
            Error::Special { kind, may_follow: true, .. } if kind.contains("link") => {
                Some("set `symlinks = \"follow\"` to seal the file that a link leads to".into())
            }
            Error::Name { reason: PathError::Reserved, .. } => Some(
                "it came from another tool or an earlier release: add it to `exclude` under `[artifact]`"
                    .into(),
            ),
            Error::TooOld { .. } => {
                Some("the pipeline that produces it may have stopped, or this is the wrong file".into())
            }
            Error::Digest(digest::Error::Changed { .. }) => {
                Some("another program is writing to it: wait until it has finished, then build again".into())
            }
            Error::ChangedByCommand(_) => Some(
                "a command must not change its inputs: let it write to the artifact, or somewhere else"
                    .into(),
            ),
            Error::Time(_) => Some("set the variable SOURCE_DATE_EPOCH".into()),
            _ => None,
        }
    }
}
