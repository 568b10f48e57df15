//! Finds the code for a rebuild.

use std::path::{Path, PathBuf};

use super::Error;
use super::stopped::{Stopped, not_tried};
use modelseal_build::checkout::Repository;
use modelseal_build::inputs::{self, History};
use modelseal_format::digest;
use modelseal_format::hint::Hint;
use modelseal_format::manifest::Manifest;

/// The name of the clone around the working directory.
const HERE: &str = "this clone";

/// The source of the code.
pub(super) enum Source {
    Directory {
        root: PathBuf,
        remote: Option<String>,
        /// As the caller named it.
        shown: String,
    },
    Address(String),
}

impl Source {
    /// Finds the source: the one that the caller names, or the clone around the working directory if it holds the
    /// commit, or the sealed remote.
    pub(super) fn find(
        manifest: &Manifest,
        named: Option<&str>,
        commit: &str,
        notes: &mut Vec<String>,
    ) -> Result<Self, Stopped> {
        let remote = manifest.code().and_then(|code| code.remote());
        let remote = remote.map(str::to_string);
        match named {
            Some(source) if source.contains("://") => return Ok(Source::Address(source.to_string())),
            Some(source) => {
                let root = repository_root(Path::new(source))?;
                return Ok(Source::Directory { root, remote, shown: source.to_string() });
            }
            None => {}
        }
        let here = repository_root(Path::new(".")).ok().filter(|root| holds(root, commit));
        match (remote, here) {
            (Some(remote), Some(here)) => {
                // Others can reach the remote. The local clone works without a network.
                notes.push(format!(
                    "the code comes from the clone in this directory; others clone {}",
                    modelseal_format::display::Escaped(&remote)
                ));
                Ok(Source::Directory { root: here, remote: Some(remote), shown: HERE.to_string() })
            }
            (Some(remote), None) => Ok(Source::Address(remote)),
            (None, Some(root)) => Ok(Source::Directory { root, remote: None, shown: HERE.to_string() }),
            (None, None) => Err(not_tried(
                "no remote was sealed, and this directory is not in a clone that contains the commit",
                Hint::NameRepository,
            )),
        }
    }

    pub(super) fn as_repository(&self) -> Repository<'_> {
        match self {
            Source::Directory { root, remote, .. } => {
                Repository::Directory { root, remote: remote.as_deref() }
            }
            Source::Address(address) => Repository::Address(address),
        }
    }

    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Source::Directory { root, .. } => Some(root),
            Source::Address(_) => None,
        }
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Source::Directory { shown, .. } => shown.clone(),
            Source::Address(address) => address.clone(),
        }
    }
}

fn repository_root(path: &Path) -> Result<PathBuf, Error> {
    if !path.exists() {
        let absent = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(inputs::Error::from(digest::Error::io(path, absent)).into());
    }
    let history = History::discover(path).map_err(inputs::Error::from)?;
    Ok(history.root().to_path_buf())
}

fn holds(root: &Path, commit: &str) -> bool {
    History::discover(root).is_ok_and(|history| history.holds(commit))
}
