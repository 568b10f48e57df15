//! Any bytes as an archive: never a panic, never more memory than the bytes account for, and whatever is
//! read to its end without a complaint holds exactly the files that its manifest names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use modelseal::archive::ArchiveReader;
use modelseal::digest::Algorithms;
use modelseal::release::{Discard, Seal, read_contents};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = ArchiveReader::new(bytes) else { return };
    let Ok(entry) = reader.read_seal() else { return };
    let Ok((seal, _)) = Seal::read(&entry.content) else { return };
    if entry.check_header(&seal.frame()).is_err() {
        return;
    }
    let contents = read_contents(reader, &seal, Algorithms::BLAKE3, &mut Discard, &|_| {});
    if contents.stopped.is_none() {
        assert_eq!(contents.files.len(), seal.manifest.files().len());
        assert_eq!(contents.model_signature.is_some(), seal.manifest.internal().model_signature);
    }
});
