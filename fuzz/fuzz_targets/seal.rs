//! Any bytes as a seal, and as a manifest: never a panic, and what is accepted has one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use modelseal::manifest::parse;
use modelseal::release::Seal;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((seal, bundle)) = Seal::read(bytes) {
        assert_eq!(seal.manifest.payload(), bundle.payload);
    }
    if let Ok(manifest) = parse(bytes) {
        assert_eq!(manifest.payload(), bytes);
    }
});
