//! Compares two files: as bytes, as content, and as numbers.
//!
//! Each format is parsed only as far as needed to name the first difference in the terms of its author: a tensor, a
//! member, an attribute, a line. Nothing is ever loaded or unpickled. Memory is bounded: JSON and pickles that would
//! need much of it are compared as text or bytes. The same applies to a file whose content does not match its name.

mod archives;
mod bytes;
mod json;
mod manifests;
mod npy;
mod numbers;
mod pickle;
mod safetensors;
mod text;

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use manifests::{Changed, Changes, Source, changed_answers, compare_manifests, shared_rows};

use modelseal_format::context::Context;
use modelseal_format::digest::{Symlinks, open_regular};
use modelseal_format::manifest::{Demand, Rung};

/// Maximum nesting of archives inside archives that is compared.
const DEEPEST: usize = 4;

/// Why two files could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read {}", modelseal_format::display::path(path))]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot store decompressed files for the comparison")]
    Scratch(#[source] io::Error),
    #[error("interrupted")]
    Interrupted,
}

/// How similar two files are.
#[derive(Debug, Clone, PartialEq)]
pub struct Likeness {
    /// `None` if they differ beyond the tolerance.
    pub rung: Option<Rung>,
    /// The first thing that is not identical byte for byte, in one line.
    pub difference: Option<String>,
    /// The probable cause of the difference.
    pub cause: Option<Cause>,
}

/// Why training produces different bytes, where the bytes show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A number that looks like a memory address.
    Address,
    /// A number or text that looks like a time.
    Clock,
    /// The same items in another order.
    Order,
    /// The number of threads was written to the file.
    Threads,
    /// A path was written to the file.
    Path,
}

impl Cause {
    /// The cause, and what the user can do about it.
    pub fn explain(self) -> &'static str {
        match self {
            Cause::Address => {
                "it looks like a memory address, which changes on every run: leave it out, or use a format \
                 that stores no addresses"
            }
            Cause::Clock => "it looks like a time: take it from SOURCE_DATE_EPOCH, or leave it out",
            Cause::Order => "the same items are in another order: sort them before writing",
            Cause::Threads => "the file contains the number of threads: set it in the parameters",
            Cause::Path => "the file contains a path: make it relative, or leave it out",
        }
    }
}

impl Likeness {
    fn same() -> Self {
        Self { rung: Some(Rung::R0), difference: None, cause: None }
    }

    fn at(rung: Rung, difference: impl Into<String>) -> Self {
        Self { rung: Some(rung), difference: Some(difference.into()), cause: None }
    }

    fn different(difference: impl Into<String>) -> Self {
        Self { rung: None, difference: Some(difference.into()), cause: None }
    }

    fn because(mut self, cause: Option<Cause>) -> Self {
        self.cause = cause;
        self
    }

    /// Combines two parts: the part with the worse rung decides for the whole and gives the reason.
    fn and(self, other: Self) -> Self {
        let order = |likeness: &Self| likeness.rung.map_or(u8::MAX, |rung| rung as u8);
        if order(&other) > order(&self) { other } else { self }
    }
}

/// Two open files to compare.
struct Pair<'a> {
    /// The file's name, used to recognise the format.
    name: &'a str,
    sealed: &'a File,
    rebuilt: &'a File,
    tolerance: &'a Demand,
    context: &'a Context,
    depth: usize,
    /// How many bytes may still be decompressed, over all members and levels.
    budget: &'a Cell<u64>,
}

/// Compares two files. `sealed` is the reference.
///
/// `name` is the file's name in the artifact. Its extension may tell the format.
///
/// # Errors
/// [`Error`]. A defect inside a file is a difference and not an error.
pub fn compare_files(
    name: &str,
    sealed: &Path,
    rebuilt: &Path,
    tolerance: &Demand,
    context: &Context,
) -> Result<Likeness, Error> {
    let open = |path: &Path| {
        let opened = open_regular(path, Symlinks::Refuse);
        let failed = |error| Error::Read { path: path.to_path_buf(), source: io::Error::other(error) };
        opened.map(|(file, _)| file).map_err(failed)
    };
    let (left, right) = (open(sealed)?, open(rebuilt)?);
    let size = |file: &File| file.metadata().map_or(0, |metadata| metadata.len());
    let budget = Cell::new(archives::budget(size(&left).max(size(&right))));
    let pair = Pair { name, sealed: &left, rebuilt: &right, tolerance, context, depth: 0, budget: &budget };
    compare(&pair).map_err(|error| match error {
        Failed::Io(source) if modelseal_format::context::is_cancelled(&source) => Error::Interrupted,
        Failed::Io(source) => Error::Read { path: rebuilt.to_path_buf(), source },
        Failed::Scratch(source) => Error::Scratch(source),
    })
}

/// What stops a comparison.
enum Failed {
    Io(io::Error),
    Scratch(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Io(error)
    }
}

/// The format of a file, by its first bytes and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Safetensors,
    Npy,
    Zip,
    Gzip,
    Pickle,
    Json,
    Text,
    Bytes,
}

fn compare(pair: &Pair<'_>) -> Result<Likeness, Failed> {
    let Some(first) = bytes::first_difference(pair)? else {
        return Ok(Likeness::same());
    };
    let (left, right) = (format(pair.name, pair.sealed)?, format(pair.name, pair.rebuilt)?);
    // A file that cannot be read in its apparent format is compared as bytes.
    let read = match left {
        _ if left != right => None,
        Format::Safetensors => safetensors::compare(pair)?,
        Format::Npy => npy::compare(pair)?,
        Format::Zip if pair.depth < DEEPEST => archives::compare_zip(pair)?,
        Format::Gzip if pair.depth < DEEPEST => archives::compare_gzip(pair)?,
        Format::Pickle => pickle::compare(pair)?,
        Format::Json => json::compare(pair)?,
        Format::Text => text::compare(pair)?,
        Format::Zip | Format::Gzip | Format::Bytes => None,
    };
    match read {
        Some(likeness) => Ok(likeness),
        None => Ok(Likeness::different(bytes::describe(pair, &first)?)),
    }
}

/// How many bytes of a file are read to recognise its format.
const LOOK: usize = 4096;

fn format(name: &str, file: &File) -> io::Result<Format> {
    let start = read_some_at(file, 0, LOOK)?;
    let ending = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    Ok(match (start.as_slice(), ending.as_str()) {
        ([0x93, b'N', b'U', b'M', b'P', b'Y', ..], _) => Format::Npy,
        ([b'P', b'K', 3, 4, ..], _) => Format::Zip,
        ([0x1f, 0x8b, 8, ..], _) => Format::Gzip,
        ([0x80, 2..=5, ..], _) => Format::Pickle,
        (_, "safetensors") => Format::Safetensors,
        (_, "json" | "ipynb") => Format::Json,
        (_, "pkl" | "pickle" | "joblib") => Format::Pickle,
        _ if start.contains(&0) => Format::Bytes,
        _ if std::str::from_utf8(&start).is_ok_and(|_| true) || cut_inside_a_character(&start) => {
            Format::Text
        }
        _ => Format::Bytes,
    })
}

/// Whether the inspected bytes end in the middle of a UTF-8 character.
fn cut_inside_a_character(start: &[u8]) -> bool {
    start.len() == LOOK && std::str::from_utf8(start).is_err_and(|error| error.error_len().is_none())
}

/// Reads up to `length` bytes at an offset; fewer only at the end of the file.
fn read_some_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
