//! Faults of bytes and signatures, for which a release is refused under any policy.

use std::ops::Range;

use super::release::Draft;
use super::{Attempt, Error, Fault, SignerState};
use modelseal_format::manifest::{MODEL_SIGNATURE_PATH, SEAL_PATH};
use modelseal_format::sign::{KeyAlgorithm, PrivateKey};

const BLOCK: usize = 512;

/// The position of the mode in a header.
const MODE: Range<usize> = 100..107;

pub(super) fn faults(healthy: &Draft<'_>) -> Result<Vec<Fault>, Error> {
    let archive = healthy.archive()?;
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = archive.clone();
        edit(&mut bytes);
        Attempt::trusted(bytes)
    };
    let always = |name: &str, attempt| Fault {
        name: name.to_string(),
        cure: "nothing in the policy: modelseal itself must reject this".to_string(),
        attempt,
    };
    let stranger = PrivateKey::generate(KeyAlgorithm::P256)?.into();
    let as_signer = |signer| Ok(Attempt { signer, ..Attempt::trusted(archive.clone()) });
    // A file whose entry is only a header and its content.
    let plain = healthy.manifest.files().iter().rev().filter(|file| file.size() > 0);
    let file = plain.filter_map(|file| place(&archive, &file.name)).next();
    let on_file = |edit: &dyn Fn(&mut Vec<u8>, Range<usize>)| match file.clone() {
        Some(file) => Ok(edited(&|bytes| edit(bytes, file.clone()))),
        None => Err("every file is empty or has a name of more than 100 bytes".to_string()),
    };
    let on_seal = |name: &str, edit: &dyn Fn(&mut Vec<u8>, Range<usize>)| match place(&archive, name) {
        Some(entry) => Ok(edited(&|bytes| edit(bytes, entry.clone()))),
        None => Err("the model's name is too long".to_string()),
    };
    Ok(vec![
        always("a byte of a model file changed", on_file(&|bytes, file| bytes[file.start + BLOCK] ^= 1)),
        always(
            "a byte of the manifest changed",
            on_seal(SEAL_PATH, &|bytes, seal| bytes[seal.start + BLOCK + 300] ^= 1),
        ),
        always("the archive truncated", Ok(edited(&|bytes| bytes.truncate(bytes.len() - BLOCK)))),
        always("extra bytes after the archive", Ok(edited(&|bytes| bytes.extend_from_slice(b"more")))),
        always("a missing file", on_file(&|bytes, file| drop(bytes.drain(file)))),
        always(
            "a duplicate file",
            on_file(&|bytes, file| {
                let copy = bytes[file.clone()].to_vec();
                bytes.splice(file.end..file.end, copy);
            }),
        ),
        always(
            "a file made executable",
            on_file(&|bytes, file| {
                let other: &[u8] =
                    if &bytes[file.start..][MODE] == b"0000755" { b"0000644" } else { b"0000755" };
                bytes[file.start..][MODE].copy_from_slice(other);
            }),
        ),
        always(
            "`model.sig` removed",
            on_seal(MODEL_SIGNATURE_PATH, &|bytes, signature| drop(bytes.drain(signature))),
        ),
        always("the files of another model under this seal", other_model(healthy, &archive)),
        always("signed by an untrusted key", Ok(Attempt::trusted(healthy.archive_by(&stranger)?))),
        always("signed with an expired key", as_signer(SignerState::Expired)),
        always("signed by a signer who may not build", as_signer(SignerState::OtherRole)),
    ])
}

/// The range from the start of a file's header to the end of its padding. `None` if the name does not fit into the
/// header's first field. Further headers or another field then belong to the file.
fn place(archive: &[u8], name: &str) -> Option<Range<usize>> {
    let mut offset = 0;
    let mut is_described = false;
    while let Some(header) = archive.get(offset..offset + BLOCK).filter(|header| header[0] != 0) {
        let size =
            std::str::from_utf8(&header[124..135]).ok().and_then(|size| usize::from_str_radix(size, 8).ok());
        let end = offset + BLOCK + size.unwrap_or(0).div_ceil(BLOCK) * BLOCK;
        let own = String::from_utf8_lossy(&header[..100]);
        let has_prefix = header[345] != 0;
        let path = own.trim_end_matches('\0').split_once('/').map(|(_, path)| path);
        if path == Some(name) && !has_prefix && !is_described {
            return Some(offset..end);
        }
        is_described = header[156] == b'x';
        offset = end;
    }
    None
}

/// Puts the seal of this release in front of different files with the same names.
fn other_model(healthy: &Draft<'_>, good: &[u8]) -> Result<Attempt, String> {
    let mut other = healthy.clone();
    for content in &mut other.contents {
        content.iter_mut().for_each(|byte| *byte ^= 0x55);
    }
    let other = other.archive().map_err(|error| error.to_string())?;
    // The sizes are the same, and so are the offsets. The seals come first.
    let seals = place(good, MODEL_SIGNATURE_PATH).ok_or("the model's name is too long")?;
    Ok(Attempt::trusted([&good[..seals.end], &other[seals.end..]].concat()))
}
