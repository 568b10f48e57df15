//! The programs that modelseal itself starts, found before anything of a project runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::trail::Trail;

/// All programs that are started outside of a sandbox.
const NAMES: [&str; 10] =
    ["bwrap", "disorderfs", "faketime", "fusermount", "git", "locale", "sh", "ssh", "taskset", "true"];

/// The search path if PATH is not set, the same as that of the system's own programs.
pub(super) const USUAL: &str = "/usr/bin:/bin";

/// Programs by name, each with its absolute path.
///
/// A command that can write to a directory on PATH can put its own `git` there. The next step would then start that one
/// outside of the sandbox.
#[derive(Debug, Clone)]
pub struct Programs {
    found: BTreeMap<&'static str, PathBuf>,
    /// Programs that exist only in directories that are not trusted.
    refused: BTreeMap<&'static str, PathBuf>,
    directories: Vec<PathBuf>,
}

/// Why a program cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoProgram {
    #[error("`{0}` is not installed")]
    Missing(&'static str),
    #[error(
        "the only `{name}` in PATH is {}, where the project's commands can write",
        modelseal_format::display::path(path)
    )]
    Untrusted { name: &'static str, path: PathBuf },
}

impl Programs {
    /// Searches PATH, but never in or below the `untrusted` directories, and never in a relative one.
    pub fn new(untrusted: &[PathBuf]) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL.into());
        let (mut trusted, mut others) = (Vec::new(), Vec::new());
        for directory in std::env::split_paths(&path) {
            match Trail::of(&directory) {
                Ok(trail) if directory.is_absolute() && is_trusted(&trail, untrusted) => {
                    trusted.push(directory);
                }
                Ok(_) => others.push(directory),
                Err(_) => {}
            }
        }
        let (mut found, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for name in NAMES {
            let candidates = trusted.iter().chain(&others).map(|directory| directory.join(name));
            for candidate in candidates.filter(|candidate| is_executable(candidate)) {
                let trail = Trail::of(&candidate);
                if candidate.is_absolute() && trail.is_ok_and(|trail| is_trusted(&trail, untrusted)) {
                    found.insert(name, candidate);
                    break;
                }
                refused.entry(name).or_insert(candidate);
            }
        }
        Self { found, refused, directories: trusted }
    }

    /// The absolute path of a program.
    ///
    /// # Errors
    /// [`NoProgram`].
    pub fn find(&self, name: &'static str) -> Result<&Path, NoProgram> {
        match (self.found.get(name), self.refused.get(name)) {
            (Some(path), _) => Ok(path),
            (None, Some(path)) => Err(NoProgram::Untrusted { name, path: path.clone() }),
            (None, None) => Err(NoProgram::Missing(name)),
        }
    }

    /// PATH without the directories that are not trusted, for the programs that these programs start.
    pub fn path(&self) -> OsString {
        std::env::join_paths(&self.directories).unwrap_or_else(|_| USUAL.into())
    }
}

fn is_trusted(trail: &Trail, untrusted: &[PathBuf]) -> bool {
    !untrusted.iter().any(|directory| trail.enters(directory))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
