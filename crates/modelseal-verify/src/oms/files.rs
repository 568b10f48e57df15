//! The files of a model directory, and the digests that a model signature has of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use blake2::Blake2b512;
use sha2::Digest as _;

use super::statement::{Hash, ModelStatement, Resource};
use modelseal_format::context::Context;
use modelseal_format::digest::{
    self, Algorithms, Consumer, EntryKind, FileRead, Job, Symlinks, hash_files, walk,
};

/// Paths at the root of a model that the reference tool leaves out unless told otherwise.
pub const GIT_PATHS: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// The files of a model, before any of them is read.
#[derive(Debug, Default)]
pub struct Listed {
    /// Relative paths in byte order. `.` is the model itself if it is a single file.
    pub files: Vec<String>,
    /// Entries that cannot be part of a signed model, each with its path and the reason.
    pub refused: Vec<(String, &'static str)>,
    /// Paths that exist but were left out.
    pub ignored: Vec<String>,
}

/// Lists the files below a directory, or the model itself if it is one file.
///
/// `ignored` are relative paths. They are left out with everything in them.
///
/// # Errors
/// [`digest::Error`].
pub fn list(
    root: &Path,
    ignored: &BTreeSet<String>,
    allow_symlinks: bool,
    context: &Context,
) -> Result<Listed, digest::Error> {
    let mut listed = Listed::default();
    if !root.is_dir() {
        digest::open_regular(root, Symlinks::Follow)?;
        listed.files.push(".".to_string());
        return Ok(listed);
    }
    let found = std::sync::Mutex::new(BTreeSet::new());
    let leave_out = |path: &str, _: bool| {
        let is_ignored = ignored.contains(path);
        if is_ignored && let Ok(mut found) = found.lock() {
            found.insert(path.to_string());
        }
        is_ignored
    };
    for entry in walk(root, Symlinks::Refuse, &leave_out, context)?.entries {
        let Some(path) = entry.path().map(str::to_string) else {
            listed.refused.push((entry.shown().to_string(), "its name is not UTF-8"));
            continue;
        };
        match entry.kind {
            EntryKind::File => listed.files.push(path),
            EntryKind::EmptyDirectory => {}
            EntryKind::Special(_) if root.join(&path).is_symlink() => {
                let target = root.join(&path);
                match (allow_symlinks, target.is_file()) {
                    (true, true) => listed.files.push(path),
                    (true, false) => {
                        listed.refused.push((path, "it is a symbolic link that does not lead to a file"))
                    }
                    (false, _) => listed.refused.push((path, "it is a symbolic link")),
                }
            }
            EntryKind::Special(_) => listed.refused.push((path, "it is not a regular file")),
        }
    }
    listed.ignored = found.into_inner().unwrap_or_default().into_iter().collect();
    Ok(listed)
}

/// A file to hash: as a whole, or each of these pieces.
pub struct Wanted {
    pub path: PathBuf,
    pub shards: Option<Vec<(u64, u64)>>,
}

/// Computes the digests of files, several at a time.
///
/// # Errors
/// [`digest::Error`].
pub fn digests(
    files: &[Wanted],
    hash: Hash,
    symlinks: Symlinks,
    context: &Context,
) -> Result<Vec<FileDigests>, digest::Error> {
    let are_whole = files.iter().all(|file| file.shards.is_none());
    let algorithms = match hash {
        Hash::Sha256 if are_whole => Algorithms::SHA256,
        Hash::Blake3 if are_whole => Algorithms::BLAKE3,
        _ => Algorithms::NONE,
    };
    let begin = |file: &Wanted| {
        let pieces = (algorithms == Algorithms::NONE).then(|| Pieces::new(hash, file.shards.as_deref()));
        Digesting { path: file.path.clone(), pieces }
    };
    hash_files(files, algorithms, symlinks, begin, context)
}

struct Digesting {
    path: PathBuf,
    /// Set for digests that the `digest` module does not compute: those of pieces, and BLAKE2b.
    pieces: Option<Pieces>,
}

impl Job for Digesting {
    type Output = FileDigests;
    type Error = digest::Error;

    fn path(&self) -> &Path {
        &self.path
    }

    fn consumer(&mut self) -> Option<&mut dyn Consumer> {
        self.pieces.as_mut().map(|pieces| pieces as &mut dyn Consumer)
    }

    fn finish(self, read: Result<FileRead, digest::Error>) -> Result<FileDigests, digest::Error> {
        let digest::FileDigests { size, sha256, blake3 } = read?.digests;
        let pieces = match self.pieces {
            Some(pieces) => pieces.finish(),
            None => sha256.or(blake3).iter().map(|digest| digest.0.to_vec()).collect(),
        };
        Ok(FileDigests { size, pieces })
    }
}

pub struct FileDigests {
    /// In bytes.
    pub size: u64,
    pub pieces: Vec<Vec<u8>>,
}

enum Hasher {
    Sha256(sha2::Sha256),
    Blake2b(Box<Blake2b512>),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    fn new(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Hash::Blake2b => Hasher::Blake2b(Box::default()),
            Hash::Blake3 => Hasher::Blake3(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Blake2b(hasher) => hasher.update(bytes),
            Hasher::Blake3(hasher) => drop(hasher.update(bytes)),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Hasher::Sha256(hasher) => hasher.finalize().to_vec(),
            Hasher::Blake2b(hasher) => hasher.finalize().to_vec(),
            Hasher::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
        }
    }
}

/// Cuts a file that arrives in chunks into its pieces and hashes each one.
struct Pieces {
    hash: Hash,
    /// Start and end of the pieces not yet begun, with the next one last. `None` if the whole file is one piece.
    rest: Option<Vec<(u64, u64)>>,
    /// Number of bytes of the current piece still to come.
    room: u64,
    current: Hasher,
    done: Vec<Vec<u8>>,
}

impl Pieces {
    /// The pieces must follow each other without a gap, from the start of the file.
    fn new(hash: Hash, shards: Option<&[(u64, u64)]>) -> Self {
        let mut rest: Option<Vec<(u64, u64)>> = shards.map(|shards| shards.iter().rev().copied().collect());
        let first = rest.as_mut().and_then(Vec::pop);
        let room = match (&rest, first) {
            (None, _) => u64::MAX,
            (Some(_), first) => first.map_or(0, |(start, end)| end - start),
        };
        Self { hash, rest, room, current: Hasher::new(hash), done: Vec::new() }
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        // If the file ends early, the digest of its last piece covers the bytes that exist.
        self.done.push(self.current.finish());
        self.done
    }
}

impl Consumer for Pieces {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        let mut chunk = chunk;
        while !chunk.is_empty() {
            if self.room == 0 {
                let Some((start, end)) = self.rest.as_mut().and_then(Vec::pop) else {
                    // The file is longer than its pieces. The comparison of sizes reports that.
                    return Ok(());
                };
                let finished = std::mem::replace(&mut self.current, Hasher::new(self.hash));
                self.done.push(finished.finish());
                self.room = end - start;
            }
            let length = usize::try_from(self.room).unwrap_or(usize::MAX).min(chunk.len());
            let (own, others) = chunk.split_at(length);
            self.current.update(own);
            self.room -= length as u64;
            chunk = others;
        }
        Ok(())
    }
}

/// How a model differs from what was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Missing,
    /// The file exists but was not signed.
    Unsigned,
    /// What was signed, and what was found.
    Content {
        expected: String,
        actual: String,
    },
    /// It cannot be part of a signed model.
    Refused(&'static str),
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Compared {
    /// Number of files that are as they were signed.
    pub same: u64,
    /// By path.
    pub differences: BTreeMap<String, Difference>,
    /// Paths that exist but were left out.
    pub ignored: Vec<String>,
    /// Empty files, which no shard covers.
    pub empty: Vec<String>,
}

/// Compares a model with what was signed.
///
/// The paths in `ignored` are left out in addition to those that the signature leaves out.
///
/// # Errors
/// [`digest::Error`] if something could not be read.
pub fn compare(
    root: &Path,
    statement: &ModelStatement,
    ignored: &BTreeSet<String>,
    context: &Context,
) -> Result<Compared, digest::Error> {
    let stated = statement.ignore_paths.iter().map(|path| path.trim_end_matches('/').to_string());
    let ignored = ignored.iter().cloned().chain(stated).collect();
    let listed = list(root, &ignored, statement.allow_symlinks, context)?;
    let mut compared = Compared { ignored: listed.ignored, ..Compared::default() };
    for (path, reason) in listed.refused {
        compared.differences.insert(path, Difference::Refused(reason));
    }
    let mut signed = signed(statement);
    // A signature lists a model that is one file as `.` or by its name.
    if listed.files == ["."]
        && signed.len() == 1
        && let Some((path, pieces)) = signed.pop_first()
    {
        let is_it = path == "." || root.file_name().is_some_and(|name| name.to_str() == Some(path));
        signed.insert(if is_it { "." } else { path }, pieces);
    }
    let (known, unknown): (Vec<String>, Vec<String>) =
        listed.files.into_iter().partition(|path| signed.contains_key(path.as_str()));
    for path in unknown {
        let is_empty = statement.shard_size.is_some()
            && location(root, &path).metadata().is_ok_and(|metadata| metadata.len() == 0);
        match is_empty {
            true => compared.empty.push(path),
            false => drop(compared.differences.insert(path, Difference::Unsigned)),
        }
    }
    let symlinks = if statement.allow_symlinks { Symlinks::Follow } else { Symlinks::Refuse };
    let wanted: Vec<Wanted> = known
        .iter()
        .map(|path| {
            let shards = signed[path.as_str()].iter().map(|piece| piece.shard).collect();
            Wanted { path: location(root, path), shards }
        })
        .collect();
    let found = digests(&wanted, statement.hash, symlinks, context)?;
    for (path, found) in known.iter().zip(found) {
        match difference(&signed[path.as_str()], &found, statement.hash) {
            None => compared.same += 1,
            Some(difference) => drop(compared.differences.insert(path.clone(), difference)),
        }
    }
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    for path in signed.keys().filter(|path| !known.contains(*path)) {
        compared.differences.entry(path.to_string()).or_insert(Difference::Missing);
    }
    Ok(compared)
}

pub(super) fn location(root: &Path, path: &str) -> PathBuf {
    if path == "." { root.to_path_buf() } else { root.join(path) }
}

/// The pieces of each file, in their order in the file.
fn signed(statement: &ModelStatement) -> BTreeMap<&str, Vec<&Resource>> {
    let mut files: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
    for resource in &statement.resources {
        files.entry(&resource.path).or_default().push(resource);
    }
    files.values_mut().for_each(|pieces| pieces.sort_by_key(|piece| piece.shard));
    files
}

fn difference(signed: &[&Resource], found: &FileDigests, hash: Hash) -> Option<Difference> {
    let hex = |bytes: &[u8]| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:{hex}", hash.name())
    };
    let end = signed.last().and_then(|piece| piece.shard).map(|(_, end)| end);
    if let Some(end) = end.filter(|end| *end != found.size) {
        let bytes = |size: u64| modelseal_format::display::count(size, "byte", "bytes");
        return Some(Difference::Content { expected: bytes(end), actual: bytes(found.size) });
    }
    let pieces = signed.iter().zip(&found.pieces);
    let differing = pieces.clone().find(|(signed, found)| signed.digest != **found);
    let (signed, found) = differing?;
    let place = signed.shard.map_or(String::new(), |(start, end)| format!(" (bytes {start} to {end})"));
    Some(Difference::Content {
        expected: format!("{}{place}", hex(&signed.digest)),
        actual: format!("{}{place}", hex(found)),
    })
}
