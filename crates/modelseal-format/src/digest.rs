//! Digests: SHA-256 and BLAKE3 of a file in one read, and the walk over a directory.
//!
//! This room knows nothing of manifests, keys or archives. It opens files without following links,
//! never blocks on a FIFO, and notices when a file changes while it is read.

mod ahead;
mod algorithm;
mod buffer;
mod fan_out;
mod file;
mod lanes;
mod parallel;
mod pieces;
mod together;
mod tree;

use std::path::PathBuf;

pub use ahead::{Walked, walk_meanwhile};
pub use algorithm::{Algorithm, Algorithms, Digest, ParseDigestError};
pub use fan_out::{Consumer, read_through};
pub use fan_out::{Memory, fill};
pub use file::{FileDigests, FileRead, Hasher, Stamp, hash_file, open_regular};
pub use lanes::sha256_of_both;
pub use parallel::map_files;
pub(crate) use pieces::{PIECE, hash_stream};
pub use together::{Job, hash_files};
pub use tree::{EntryKind, Symlinks, Tree, TreeEntry, directory_hash, walk};

/// Why a file or a directory could not be read as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot read {}", crate::text::path(path))]
    Io { path: PathBuf, source: std::io::Error },
    /// A FIFO, socket, device, directory or link where a regular file is needed.
    #[error("{} is {kind}, not a regular file", crate::text::path(path))]
    NotRegular { path: PathBuf, kind: &'static str },
    /// The file was written to, replaced or cut while it was being read.
    #[error("{} changed while it was being read", crate::text::path(path))]
    Changed { path: PathBuf },
    /// A chain of links that leads back into itself.
    #[error("{} is a link that leads back to a directory above it", crate::text::path(path))]
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
