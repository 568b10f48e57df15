//! Digests: SHA-256 and BLAKE3 of a file in one read, and the walk over a directory.
//!
//! This module knows nothing of manifests, keys or archives. It opens files without following links, never blocks on a
//! FIFO, and detects when a file changes while it is being read.

mod algorithm;
mod batch;
mod blake3_tree;
mod buffer;
mod file;
mod parallel;
mod prefetch;
mod sha256_x2;
mod tee;
mod tree;

use std::path::PathBuf;

pub use algorithm::{Algorithm, Algorithms, Digest, ParseDigestError};
pub use batch::{Job, hash_files};
pub(crate) use blake3_tree::{PIECE, hash_stream};
pub use file::{FileDigests, FileRead, Hasher, Stamp, hash_file, open_regular};
pub use parallel::map_files;
pub use prefetch::{Walked, walk_meanwhile};
pub use sha256_x2::sha256_of_both;
pub use tee::{Consumer, read_through};
pub use tee::{Memory, fill};
pub use tree::{EntryKind, Symlinks, Tree, TreeEntry, directory_hash, walk};

/// Why a file or a directory could not be read as required.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system returned an error.
    #[error("cannot read {}", crate::display::path(path))]
    Io { path: PathBuf, source: std::io::Error },
    /// A FIFO, socket, device, directory or link where a regular file is needed.
    #[error("{} is {kind}, not a regular file", crate::display::path(path))]
    NotRegular { path: PathBuf, kind: &'static str },
    /// The file was modified, replaced or truncated while it was being read.
    #[error("{} changed while it was being read", crate::display::path(path))]
    Changed { path: PathBuf },
    /// A chain of links that leads back into itself.
    #[error("{} is a symbolic link to a directory that contains it", crate::display::path(path))]
    Loop { path: PathBuf },
    /// SIGINT or SIGTERM arrived.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        if crate::context::is_cancelled(&source) {
            return Error::Interrupted;
        }
        Error::Io { path: path.to_path_buf(), source }
    }
}
