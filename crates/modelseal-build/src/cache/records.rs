//! The cache file of one data set: sorted records of fixed size, so that a million of them need no parsing.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use modelseal_format::digest::{Digest, Stamp};

/// The first bytes of a file of records.
const BEGIN: [u8; 16] = *b"modelseal-hash-1";

/// The identity of a file and its state, its SHA-256, and the authentication code of both.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Record([u8; LENGTH]);

const IDENTITY: usize = 16;
const SHA256: usize = 32;
const CODE: usize = 16;
const LENGTH: usize = IDENTITY + SHA256 + CODE;

/// The key of the authentication codes.
pub(super) struct Key([u8; 32]);

impl Key {
    /// Derives the key from a secret, and from what must not change while any record is trusted.
    pub(super) fn new(secret: &[u8; 32], validity: &[u8]) -> Self {
        Self(*blake3::keyed_hash(secret, validity).as_bytes())
    }

    /// Identifies the file and its state.
    fn identity(&self, path: &str, stamp: &Stamp) -> [u8; IDENTITY] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"file").update(&stamp.to_bytes()).update(path.as_bytes());
        first(hasher.finalize())
    }

    fn code(&self, identity: &[u8; IDENTITY], sha256: &[u8; SHA256]) -> [u8; CODE] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"hash").update(identity).update(sha256);
        first(hasher.finalize())
    }
}

fn first(hash: blake3::Hash) -> [u8; 16] {
    let (first, _) = hash.as_bytes().as_chunks();
    first[0]
}

impl Record {
    pub(super) fn new(key: &Key, path: &str, stamp: &Stamp, sha256: &Digest) -> Self {
        let identity = key.identity(path, stamp);
        let mut record = [0; LENGTH];
        record[..IDENTITY].copy_from_slice(&identity);
        record[IDENTITY..IDENTITY + SHA256].copy_from_slice(&sha256.0);
        record[IDENTITY + SHA256..].copy_from_slice(&key.code(&identity, &sha256.0));
        Self(record)
    }

    /// The sort key of a record: its identity as a big-endian number.
    pub(super) fn order(&self) -> u128 {
        let (first, _) = self.0.as_chunks();
        u128::from_be_bytes(first[0])
    }
}

/// The records of a file, in the order of the file.
#[derive(Default)]
pub(super) struct Records(Vec<Record>);

impl Records {
    /// Reads the records of a data set with this many files. Returns none if there are many more, or if the file does
    /// not contain records.
    pub(super) fn read(mut file: File, files: usize) -> io::Result<Self> {
        let mut begin = [0; BEGIN.len()];
        file.read_exact(&mut begin)?;
        let most = 2 * files + 1024;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let count = length.saturating_sub(BEGIN.len()) / LENGTH;
        if begin != BEGIN || count > most {
            return Ok(Self::default());
        }
        let mut records = vec![[0; LENGTH]; count];
        file.read_exact(records.as_flattened_mut())?;
        Ok(Self(records.into_iter().map(Record).collect()))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Record> {
        self.0.iter().copied()
    }

    /// The index of the record of exactly this file, and the digest in it.
    pub(super) fn find(&self, key: &Key, path: &str, stamp: &Stamp) -> Option<(usize, Digest)> {
        let identity = u128::from_be_bytes(key.identity(path, stamp));
        let index = self.0.binary_search_by_key(&identity, Record::order).ok()?;
        let found = self.0[index];
        let mut sha256 = Digest([0; SHA256]);
        sha256.0.copy_from_slice(&found.0[IDENTITY..IDENTITY + SHA256]);
        (found == Record::new(key, path, stamp, &sha256)).then_some((index, sha256))
    }

    /// Writes sorted records in the format that [`Records::read`] expects.
    pub(super) fn write(records: &[Record], file: &File) -> io::Result<()> {
        let mut writer = BufWriter::with_capacity(1 << 16, file);
        writer.write_all(&BEGIN)?;
        for record in records {
            writer.write_all(&record.0)?;
        }
        writer.flush()
    }
}
