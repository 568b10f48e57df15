//! Properties: any changed byte is detected.

use std::io::Write;

use modelseal_format::context::Context;
use modelseal_format::digest::Algorithms;
use modelseal_format::sign::PublicKey;
use modelseal_verify::report::Verdict;
use modelseal_verify::trust::TrustedSigner;
use modelseal_verify::verify::{Options, Target, verify};
use proptest::prelude::*;

use crate::support::Project;
use crate::support::project::sample;

fn trusted() -> Vec<TrustedSigner> {
    let key = PublicKey::from_pem(include_str!("keys/p256.pub"), "ci").expect("reads");
    vec![TrustedSigner::key("ci", "ci", key)]
}

/// The library's verdict on these bytes. `None` if they could not be judged.
fn verdict(bytes: &[u8], keys: &[TrustedSigner], hash: Algorithms) -> Option<Verdict> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("writes");
    let mut options = Options::new(keys);
    options.hash = hash;
    options.context = Context::at(jiff::Timestamp::UNIX_EPOCH);
    verify(&Target::Path(file.path().to_path_buf()), &options).ok().map(|report| report.verdict())
}

/// Checks every byte of a small archive, not a sample.
#[test]
fn verify_fails_if_one_byte_of_an_archive_changes() {
    let keys = trusted();
    let bytes = sample().bytes.clone();
    assert_eq!(verdict(&bytes, &keys, Algorithms::BLAKE3), Some(Verdict::Pass));
    // A step that divides no size, so that all kinds of positions are covered in bounded time.
    for index in (0..bytes.len()).step_by(3).chain(0..2048) {
        let mut changed = bytes.clone();
        changed[index] ^= 1 << (index % 8);
        assert_eq!(verdict(&changed, &keys, Algorithms::BLAKE3), Some(Verdict::Fail), "byte {index}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn verify_fails_if_any_range_of_an_archive_is_replaced(
        at in any::<prop::sample::Index>(),
        length in 0usize..600,
        replacement in prop::collection::vec(any::<u8>(), 0..600),
        sha256 in any::<bool>(),
    ) {
        let mut bytes = sample().bytes.clone();
        let start = at.index(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, replacement);
        let hash = if sha256 { Algorithms::SHA256 } else { Algorithms::ALL };
        let expected = if bytes == sample().bytes { Verdict::Pass } else { Verdict::Fail };
        prop_assert_eq!(verdict(&bytes, &trusted(), hash), Some(expected));
    }

    #[test]
    fn verify_passes_a_changed_compressed_archive_only_if_the_tar_is_the_same(
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        gzip in any::<bool>(),
    ) {
        let (good, changed) = compressed(gzip, at, bit);
        let decoded = decode(gzip, &changed);
        match verdict(&changed, &trusted(), Algorithms::ALL) {
            Some(Verdict::Pass) => prop_assert!(decoded.as_deref() == Some(&sample().bytes[..])),
            other => prop_assert_eq!(other, Some(Verdict::Fail)),
        }
        prop_assert_eq!(verdict(&good, &trusted(), Algorithms::ALL), Some(Verdict::Pass));
    }

    /// A changed key file verifies nothing, unless it still contains the same key.
    #[test]
    fn verify_passes_with_a_changed_key_file_only_if_the_key_is_the_same(at in any::<prop::sample::Index>(), bit in 0u8..7) {
        let mut text = include_bytes!("keys/p256.pub").to_vec();
        let index = at.index(text.len());
        text[index] ^= 1 << bit;
        let same = PublicKey::from_pem(include_str!("keys/p256.pub"), "ci").expect("reads");
        let read = String::from_utf8(text).ok().and_then(|text| PublicKey::from_pem(&text, "ci").ok());
        if let Some(key) = read {
            let is_same = key == same;
            let keys = [TrustedSigner::key("ci", "ci", key)];
            let passed = verdict(&sample().bytes, &keys, Algorithms::BLAKE3) == Some(Verdict::Pass);
            prop_assert_eq!(passed, is_same);
        }
    }
}

fn compressed(gzip: bool, at: prop::sample::Index, bit: u8) -> (Vec<u8>, Vec<u8>) {
    static ARCHIVES: std::sync::OnceLock<[Vec<u8>; 2]> = std::sync::OnceLock::new();
    let archives = ARCHIVES.get_or_init(|| {
        ["zstd", "gzip"].map(|compression| {
            let project = Project::new();
            std::fs::read(project.build_with(&["--compression", compression])).expect("reads")
        })
    });
    let good = archives[usize::from(gzip)].clone();
    let mut changed = good.clone();
    let index = at.index(changed.len());
    changed[index] ^= 1 << bit;
    (good, changed)
}

/// Decodes the whole stream with another decoder. `None` if anything about it is invalid.
fn decode(gzip: bool, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    if gzip {
        std::io::copy(&mut flate2::read::MultiGzDecoder::new(bytes), &mut decoded).ok()?;
    } else {
        decoded = zstd::decode_all(bytes).ok()?;
    }
    Some(decoded)
}
