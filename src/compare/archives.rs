//! Files inside files: zip (`.pt`, `.npz`, skops, Keras) and gzip.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use rawzip::{CompressionMethod, ZipArchive};

use super::{Cause, Failed, Likeness, Pair, compare, text};
use modelseal_build::content::zip::{Member, members};
use modelseal_format::display::name;
use modelseal_format::manifest::Rung;

/// To compare two files, at most `LARGEST` bytes are decompressed, or `EXPANSION` times the size of the larger file if
/// that is more.
const LARGEST: u64 = 1 << 30;
const EXPANSION: u64 = 64;

/// How many bytes may be decompressed to compare two files. `size` is the size of the larger file.
pub(super) fn budget(size: u64) -> u64 {
    size.saturating_mul(EXPANSION).max(LARGEST)
}

/// `None` if either file is not gzip or cannot be decompressed.
pub(super) fn compare_gzip(pair: &Pair<'_>) -> Result<Option<Likeness>, Failed> {
    let decompress = |file: &File| -> Result<Option<File>, Failed> {
        let mut file = BufReader::new(file);
        file.seek(SeekFrom::Start(0))?;
        keep(&mut flate2::bufread::MultiGzDecoder::new(file), pair)
    };
    let (Some(sealed), Some(rebuilt)) = (decompress(pair.sealed)?, decompress(pair.rebuilt)?) else {
        return Ok(None);
    };
    let inner = pair.name.strip_suffix(".gz").unwrap_or(pair.name);
    let likeness = inside(pair, inner, &sealed, &rebuilt)?;
    let container = "the gzip header or compression differs; the content is the same";
    Ok(Some(Likeness::at(Rung::R1, container).because(Some(Cause::Clock)).and(below_bytes(likeness, ""))))
}

/// `None` if either file is not a zip archive or cannot be decompressed.
pub(super) fn compare_zip(pair: &Pair<'_>) -> Result<Option<Likeness>, Failed> {
    let (Some(left), Some(right)) = (members(pair.sealed)?, members(pair.rebuilt)?) else {
        return Ok(None);
    };
    let container = "times, order or compression of the members differ; their content is the same";
    let mut whole = Likeness::at(Rung::R1, container).because(Some(Cause::Clock));
    for member in left.keys().chain(right.keys().filter(|member| !left.contains_key(*member))) {
        let (sealed, rebuilt) = match (left.get(member), right.get(member)) {
            (Some(sealed), Some(rebuilt)) => (sealed, rebuilt),
            (Some(_), None) => return Ok(Some(alone(member, "is missing"))),
            (None, _) => return Ok(Some(alone(member, "is new"))),
        };
        let (Some(left), Some(right)) =
            (extract(pair.sealed, sealed, pair)?, extract(pair.rebuilt, rebuilt, pair)?)
        else {
            return Ok(None);
        };
        let likeness = inside(pair, member, &left, &right)?;
        whole = whole.and(below_bytes(likeness, &format!("member {}: ", name(member))));
        if whole.rung.is_none() {
            break;
        }
    }
    Ok(Some(whole))
}

/// The result for a member that only one archive has. skops names members after memory addresses.
fn alone(member: &str, how: &str) -> Likeness {
    let stem = member.rsplit('/').next().unwrap_or(member).split('.').next().unwrap_or_default();
    let cause = text::is_address(stem).then_some(Cause::Address);
    Likeness::different(format!("member {} {how}", name(member))).because(cause)
}

fn inside(pair: &Pair<'_>, name: &str, sealed: &File, rebuilt: &File) -> Result<Likeness, Failed> {
    compare(&Pair { name, sealed, rebuilt, depth: pair.depth + 1, ..*pair })
}

/// Limits a member's rung to R1: if the containers differ, an identical member is the same content, but not the same
/// bytes.
fn below_bytes(likeness: Likeness, place: &str) -> Likeness {
    let rung = likeness.rung.map(|rung| rung.max(Rung::R1));
    Likeness { rung, difference: likeness.difference.map(|text| format!("{place}{text}")), ..likeness }
}

fn extract(file: &File, member: &Member, pair: &Pair<'_>) -> Result<Option<File>, Failed> {
    if member.size > pair.budget.get() {
        return Ok(None);
    }
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    let Ok(archive) = ZipArchive::from_file(file.try_clone()?, &mut buffer) else { return Ok(None) };
    let Ok(entry) = archive.get_entry(member.wayfinder) else { return Ok(None) };
    let raw = BufReader::new(entry.reader());
    let kept = match member.method {
        CompressionMethod::STORE => keep(&mut { raw }, pair)?,
        CompressionMethod::DEFLATE => keep(&mut flate2::bufread::DeflateDecoder::new(raw), pair)?,
        CompressionMethod::ZSTD => match zstd::stream::read::Decoder::with_buffer(raw) {
            Ok(mut decoder) => keep(&mut decoder, pair)?,
            Err(_) => None,
        },
        _ => None,
    };
    let Some(kept) = kept else { return Ok(None) };
    Ok((kept.metadata()?.len() == member.size && checksum(&kept)? == member.crc32).then_some(kept))
}

/// Decompresses into an unnamed temporary file. `None` if the data is damaged or exceeds the budget.
fn keep(source: &mut dyn Read, pair: &Pair<'_>) -> Result<Option<File>, Failed> {
    let mut kept = tempfile::tempfile().map_err(Failed::Scratch)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        pair.context.check()?;
        let length = match source.read(&mut buffer) {
            Ok(0) => return Ok(Some(kept)),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(None),
        };
        match pair.budget.get().checked_sub(length as u64) {
            Some(rest) => pair.budget.set(rest),
            None => return Ok(None),
        }
        kept.write_all(&buffer[..length]).map_err(Failed::Scratch)?;
    }
}

fn checksum(file: &File) -> io::Result<u32> {
    let mut file = BufReader::with_capacity(1 << 20, file);
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            length => hasher.update(&buffer[..length]),
        }
    }
}
