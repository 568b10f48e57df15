//! Any bytes as an archive. Reading never panics and never uses more memory than the input justifies. If an archive is
//! read to its end without an error, it contains exactly the files that its manifest names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use modelseal_format::archive::ArchiveReader;
use modelseal_format::context::Context;
use modelseal_format::digest::{Algorithms, FileDigests};
use modelseal_format::manifest::Subject;
use modelseal_format::release::{Discard, Seal, read_contents};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = ArchiveReader::new(bytes, &Context::default()) else { return };
    let Ok((entry, Ok(seal))) = reader.read_seal(Seal::read) else { return };
    if entry.check_header(&seal.frame()).is_err() {
        return;
    }
    let mut found = Vec::new();
    let mut note = |file: &Subject, digests: &FileDigests| found.push((file.name.clone(), digests.size));
    let contents = read_contents(reader, &seal, Algorithms::BLAKE3, &mut Discard, &mut note);
    assert_eq!(contents.reached, found.len());
    if contents.stopped.is_none() {
        assert!(found.iter().zip(seal.manifest.files()).all(|(found, file)| *found == (file.name.clone(), file.size())));
        assert_eq!(found.len(), seal.manifest.files().len());
        assert_eq!(contents.model_signature.is_some(), seal.manifest.internal().model_signature);
    }
});
