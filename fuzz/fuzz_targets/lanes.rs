//! Two SHA-256 digests that are computed together equal those of each message alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use modelseal_format::digest::{Digest, sha256_of_both};

fuzz_target!(|messages: (&[u8], &[u8])| {
    let (first, second) = messages;
    assert_eq!(sha256_of_both([first, second]), [Digest::sha256(first), Digest::sha256(second)]);
});
