//! The canonical archive: exactly one tar byte string for each sealed content.
//!
//! This module knows paths, sizes and bytes. It does not know what they mean or who signed them. It trusts no tar
//! parser: the reader compares every header with the one that the writer would have produced.

mod deflate;
mod exact;
mod flushing;
mod gzip;
mod header;
mod ordered_pool;
mod output;
mod read;
mod source;
mod write;

use std::path::PathBuf;

pub use flushing::Flushing;
pub use header::least_length;
pub use output::{ArchiveFile, Outcome, Reservation, write_new, write_whole};
pub use read::{ArchiveReader, SealEntry};
pub use write::ArchiveWriter;

/// How the archive's bytes are compressed for transport. The identity of a release does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// The suffix added to `NAME-VERSION.tar`.
    pub fn ending(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        }
    }
}

/// One file of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Relative to the archive's single top-level directory.
    pub path: &'a str,
    /// In bytes.
    pub size: u64,
    pub executable: bool,
}

/// The values that all entries of one archive share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// `NAME-VERSION`.
    pub directory: String,
    /// The modification time of every entry, in seconds since 1970.
    pub epoch: u64,
}

/// Why bytes are not an archive that modelseal writes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    #[error("it is not a tar archive, plain or compressed with gzip or zstd")]
    NotAnArchive,
    #[error("it is not sealed: its first entry is {}", crate::display::name(.0))]
    NoSeal(String),
    #[error("the seal claims to be {0} bytes long; the limit is {1}")]
    SealTooLarge(u64, u64),
    #[error("it ends at byte {0}, in the middle of an entry")]
    Truncated(u64),
    #[error(
        "the header at byte {offset} should be that of {}, but it {}",
        crate::display::name(expected),
        describe_found(found)
    )]
    Header { offset: u64, expected: String, found: Found },
    #[error("the padding at byte {0} is not zero")]
    Padding(u64),
    #[error("the archive does not end with two blocks of zeros at byte {0}")]
    End(u64),
    #[error("there is data after the end of the archive at byte {0}")]
    Trailing(u64),
    #[error("modelseal does not accept its compressed data: {0}")]
    Compression(String),
    #[error("cannot read the archive")]
    Io(#[source] std::io::Error),
}

/// What the reader found where it expected a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A header with another name.
    Name(String),
    /// The right name with other fields.
    Fields,
    /// The zeros that end an archive.
    End,
}

fn describe_found(found: &Found) -> String {
    match found {
        Found::Name(name) => format!("names {}", crate::display::name(name)),
        Found::Fields => "differs from what modelseal writes".to_string(),
        Found::End => "marks the end of the archive".to_string(),
    }
}

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    #[error("cannot write {}", crate::display::path(path))]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} already exists with other content", crate::display::path(.0))]
    Exists(PathBuf),
    #[error("the directory {} does not exist", crate::display::path(.0))]
    NoDirectory(PathBuf),
    #[error("interrupted")]
    Interrupted,
}

impl WriteError {
    pub fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        if crate::context::is_cancelled(&source) {
            return WriteError::Interrupted;
        }
        WriteError::Io { path: path.to_path_buf(), source }
    }
}
