//! What a format of records has to do.

use std::fs::File;

use super::{Columns, Profile, ProfileError};

/// A file format that has records.
pub(super) trait RecordFormat: Sync {
    /// The endings of such file names, in lower case.
    fn endings(&self) -> &'static [&'static str];

    /// How the records of a file are read.
    fn reading(&self) -> Reading;
}

/// How the records of a file are read.
#[derive(Clone, Copy)]
pub(super) enum Reading {
    /// From front to back while the file is hashed; the file may be compressed with gzip.
    Stream(fn(&Columns) -> Box<dyn RecordStream>),
    /// By a second read of the whole file.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code))]
    File(fn(File, &Columns) -> Result<Profile, ProfileError>),
}

/// Counts the records of a text that arrives in chunks.
pub(super) trait RecordStream: Send {
    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`ProfileError`]
    fn push(&mut self, text: &[u8]) -> Result<(), ProfileError>;

    /// Ends the last record.
    ///
    /// # Errors
    /// [`ProfileError`]
    fn finish(self: Box<Self>) -> Result<Profile, ProfileError>;
}
