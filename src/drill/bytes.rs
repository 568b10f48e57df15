//! Faults of bytes and signatures: what a release is refused for whatever the policy says.

use super::release::Draft;
use super::{Attempt, Error, Fault, SignerState};
use crate::manifest::SEAL_PATH;
use crate::sign::{KeyAlgorithm, PrivateKey};

const BLOCK: usize = 512;

pub(super) fn faults(healthy: &Draft<'_>) -> Result<Vec<Fault>, Error> {
    let archive = healthy.archive()?;
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = archive.clone();
        edit(&mut bytes);
        Ok(Attempt { archive: bytes, signer: SignerState::Trusted })
    };
    let last_file = healthy.manifest.files().last().map_or("", |file| &file.name).to_string();
    let always = |name, attempt| Fault { name, cure: "nothing: this must never pass".to_string(), attempt };
    let (start, end) = place(&archive, &last_file);
    let stranger = PrivateKey::generate(KeyAlgorithm::P256)?;
    let as_signer = |signer| Ok(Attempt { archive: archive.clone(), signer });
    let (seal_start, _) = place(&archive, SEAL_PATH);
    let (signature_start, signature_end) = place(&archive, "model.sig");
    Ok(vec![
        always("a byte of a model file changed", edited(&|bytes| bytes[start + BLOCK] ^= 1)),
        always("a byte of the manifest changed", edited(&|bytes| bytes[seal_start + BLOCK + 300] ^= 1)),
        always("the archive cut short", edited(&|bytes| bytes.truncate(bytes.len() - BLOCK))),
        always("bytes behind the archive", edited(&|bytes| bytes.extend_from_slice(b"more"))),
        always("a file missing", edited(&|bytes| drop(bytes.drain(start..end)))),
        always(
            "a file twice",
            edited(&|bytes| {
                let copy = bytes[start..end].to_vec();
                bytes.splice(end..end, copy);
            }),
        ),
        always(
            "a file made executable",
            edited(&|bytes| bytes[start + 100..start + 107].copy_from_slice(b"0000777")),
        ),
        always("`model.sig` removed", edited(&|bytes| drop(bytes.drain(signature_start..signature_end)))),
        always(
            "another model under this seal",
            other_model(healthy).map(|archive| Attempt { archive, signer: SignerState::Trusted }),
        ),
        always(
            "signed by a stranger",
            Ok(Attempt { archive: healthy.archive_by(&stranger)?, signer: SignerState::Trusted }),
        ),
        always("signed with an expired key", as_signer(SignerState::Expired)),
        always("signed by somebody who may not build", as_signer(SignerState::OtherRole)),
    ])
}

/// Where an entry's header begins, and where the next one does. The entries are our own: one header each.
fn place(archive: &[u8], name: &str) -> (usize, usize) {
    let mut offset = 0;
    while let Some(header) = archive.get(offset..offset + BLOCK).filter(|header| header[0] != 0) {
        let size =
            std::str::from_utf8(&header[124..135]).ok().and_then(|size| usize::from_str_radix(size, 8).ok());
        let end = offset + BLOCK + size.unwrap_or(0).div_ceil(BLOCK) * BLOCK;
        let text = String::from_utf8_lossy(&header[..100]);
        if text.trim_end_matches('\0').ends_with(&format!("/{name}")) {
            return (offset, end);
        }
        offset = end;
    }
    (0, BLOCK)
}

/// The seal of this release in front of other files of the same names.
fn other_model(healthy: &Draft<'_>) -> Result<Vec<u8>, String> {
    let mut other = healthy.clone();
    for content in &mut other.contents {
        content.iter_mut().for_each(|byte| *byte ^= 0x55);
    }
    let message = |error: Error| error.to_string();
    let (good, other) = (healthy.archive().map_err(message)?, other.archive().map_err(message)?);
    // Sizes are the same, and so are the places.
    let first = healthy.manifest.files().first().map_or("", |file| &file.name);
    let (start, _) = place(&good, first);
    Ok([&good[..start], &other[start..]].concat())
}
