//! Any bytes as a seal and as a manifest. Reading never panics, and accepted input has only one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use modelseal_format::canonical::Canonical;
use modelseal_format::manifest::parse;
use modelseal_format::release::Seal;

fuzz_target!(|bytes: &[u8]| {
    let mut source = bytes;
    if let Ok(Ok(seal)) = Seal::read(&mut source) {
        assert!(source.is_empty());
        assert_eq!(seal.text().to_vec(), bytes);
        assert_eq!(seal.payload().measure(), (seal.payload().length(), seal.release));
    }
    if let Ok(manifest) = parse(bytes) {
        assert_eq!(manifest.to_vec(), bytes);
    }
});
