//! Reads the directory of a zip archive (`.pt`, `.npz`, skops, Keras).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder};
use twox_hash::XxHash3_128 as Xxh3;

/// Archives with more members than this are not examined.
const MOST_MEMBERS: usize = 1_000_000;

/// A member as the directory describes it.
pub struct Member {
    /// The name as written in the directory.
    pub name: Vec<u8>,
    pub wayfinder: ZipArchiveEntryWayfinder,
    pub method: CompressionMethod,
    /// Decompressed size, in bytes.
    pub size: u64,
    /// CRC-32 of the decompressed data.
    pub crc32: u32,
}

/// The members by name; `None` if the file is not a zip archive, or if two members have the same name.
///
/// # Errors
/// The file cannot be read.
pub fn members(file: &File) -> io::Result<Option<BTreeMap<String, Member>>> {
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    let Ok(archive) = ZipArchive::from_file(file.try_clone()?, &mut buffer) else { return Ok(None) };
    let mut members = BTreeMap::new();
    let mut entries = archive.entries(&mut buffer);
    loop {
        let entry = match entries.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(Some(members)),
            Err(_) => return Ok(None),
        };
        if entry.is_dir() && entry.uncompressed_size_hint() == 0 {
            continue;
        }
        let name = entry.file_path().as_ref().to_vec();
        let path = String::from_utf8_lossy(&name).into_owned();
        let member = Member {
            name,
            wayfinder: entry.wayfinder(),
            method: entry.compression_method(),
            size: entry.uncompressed_size_hint(),
            crc32: entry.crc32(),
        };
        if members.insert(path, member).is_some() || members.len() > MOST_MEMBERS {
            return Ok(None);
        }
    }
}

/// Hashes names, sizes and checksums, but not times, order and compression. `None` if the checksums were not computed,
/// which PyTorch can omit.
pub(super) fn hash(members: &BTreeMap<String, Member>) -> Option<u128> {
    let mut hasher = Xxh3::new();
    for member in members.values() {
        if member.size > 0 && member.crc32 == 0 {
            return None;
        }
        hasher.write(&(member.name.len() as u64).to_le_bytes());
        hasher.write(&member.name);
        hasher.write(&member.size.to_le_bytes());
        hasher.write(&member.crc32.to_le_bytes());
    }
    Some(hasher.finish_128())
}
