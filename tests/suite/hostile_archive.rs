//! Modified archives. Each must fail the named check and write nothing.

use std::fs;

use crate::support::archive::{Entry, checksum, filter, header, join, split};
use crate::support::project::sample;
use crate::support::{Outcome, Project};

/// Verifies and unpacks damaged bytes. Both must fail this check, and nothing may be extracted.
#[track_caller]
fn refused(bytes: &[u8], check: &str) -> Outcome {
    let sample = sample();
    let file = tempfile::Builder::new().suffix(".tar").tempfile().expect("a file");
    fs::write(file.path(), bytes).expect("writes");
    let outcome = sample.project.verify(file.path(), &["--format", "json"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    let report = outcome.json();
    assert_eq!(report["verdict"], "fail");
    let failed: Vec<&str> = report["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["status"] == "fail")
        .filter_map(|check| check["id"].as_str())
        .collect();
    assert!(failed.contains(&check), "{failed:?}\n{}", outcome.stdout);

    let directory = tempfile::tempdir().expect("a directory");
    let output = directory.path().join("extracted");
    let (from, to) = (file.path().to_string_lossy(), output.to_string_lossy());
    let key = sample.project.public_key();
    let unpacked = sample.project.modelseal(&["unpack", &from, "-o", &to, "--key", &key]).run();
    assert_eq!(unpacked.code, Some(1), "{}", unpacked.all());
    unpacked.claims_no_success();
    let left: Vec<_> = fs::read_dir(directory.path()).expect("reads").collect();
    assert!(left.is_empty(), "{left:?}");

    let text = sample.verify_bytes(bytes, &[]);
    assert_eq!(text.code, Some(1));
    text.claims_no_success();
    text
}

fn entries() -> Vec<Entry> {
    split(&sample().bytes)
}

#[test]
fn archive_test_helpers_restore_the_same_bytes() {
    assert!(join(&entries()) == sample().bytes);
    assert_eq!(sample().verify_bytes(&sample().bytes, &[]).code, Some(0));
}

#[test]
fn verify_refuses_an_archive_entry_with_another_name() {
    for name in [
        "../x",
        "/abs",
        "wine-1.0.0/a/../../x",
        "wine-1.0.0/a//b",
        "",
        "..\\x",
        "C:x",
        "wine-1.0.0/CONFIG.JSON",
    ] {
        let mut damaged = entries();
        damaged[2].header[..100].fill(0);
        damaged[2].header[..name.len()].copy_from_slice(name.as_bytes());
        checksum(&mut damaged[2].header);
        refused(&join(&damaged), "archive").says("should be that of `config.json`");
    }
}

#[test]
fn verify_refuses_an_archive_entry_that_is_not_a_regular_file() {
    for kind in [b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'x', b'g', b'L', b'K', b'S', 0] {
        let mut damaged = entries();
        damaged[3].header[156] = kind;
        damaged[3].header[157..160].copy_from_slice(b"/et");
        checksum(&mut damaged[3].header);
        refused(&join(&damaged), "archive");
    }
}

#[test]
fn verify_refuses_any_changed_field_of_an_archive_header() {
    for (start, field) in [
        (100, &b"0004755\0"[..]),
        (100, b"0000777\0"),
        (108, b"0001750\0"),
        (116, b"0001750\0"),
        (136, b"00000000001\0"),
        (157, b"link"),
        (257, b"ustar  \0"),
        (265, b"root"),
        (297, b"wheel"),
        (345, b"prefix"),
        (500, b"x"),
    ] {
        let mut damaged = entries();
        damaged[3].header[start..start + field.len()].copy_from_slice(field);
        checksum(&mut damaged[3].header);
        refused(&join(&damaged), "archive");
    }
    let mut damaged = entries();
    damaged[3].header[148] = b'7';
    refused(&join(&damaged), "archive");
}

#[test]
fn verify_refuses_an_archive_with_a_link_entry_and_a_file_below_it() {
    let mut damaged = entries();
    let mut link = header("wine-1.0.0/sub", 0, b'2');
    link[157..161].copy_from_slice(b"/tmp");
    checksum(&mut link);
    damaged.insert(2, Entry { header: link, content: Vec::new() });
    let through = header("wine-1.0.0/sub/x", 1, b'0');
    damaged.insert(3, Entry { header: through, content: b"x".to_vec() });
    refused(&join(&damaged), "archive").says("names `wine-1.0.0/sub`");
}

#[test]
fn verify_refuses_duplicate_and_reordered_archive_entries() {
    let mut twice = entries();
    twice.insert(3, twice[2].clone());
    refused(&join(&twice), "archive");
    let mut last = entries();
    last.push(last[2].clone());
    refused(&join(&last), "archive").says("the end of the archive");
    let mut swapped = entries();
    swapped.swap(2, 3);
    refused(&join(&swapped), "archive");
    let mut seals = entries();
    seals.insert(1, seals[0].clone());
    refused(&join(&seals), "archive");
}

#[test]
fn verify_refuses_unneeded_pax_and_gnu_records() {
    let records = b"20 path=../../evil\n\n".to_vec();
    let size = b"18 size=4294967296".to_vec();
    for content in [records, size] {
        let mut damaged = entries();
        let pax = header("PaxHeader", content.len() as u64, b'x');
        damaged.insert(3, Entry { header: pax, content });
        refused(&join(&damaged), "archive");
    }
    let mut damaged = entries();
    let long = Entry { header: header("././@LongLink", 5, b'L'), content: b"evil\0".to_vec() };
    let pax = Entry { header: header("PaxHeader", 13, b'x'), content: b"13 size=1000\n".to_vec() };
    damaged.insert(3, long);
    damaged.insert(3, pax);
    refused(&join(&damaged), "archive");
}

#[test]
fn verify_refuses_missing_and_extra_archive_entries() {
    for index in 1..4 {
        let mut damaged = entries();
        damaged.remove(index);
        refused(&join(&damaged), "archive");
    }
    let mut extra = entries();
    extra.push(Entry { header: header("wine-1.0.0/zz", 1, b'0'), content: b"x".to_vec() });
    refused(&join(&extra), "archive").says("names `wine-1.0.0/zz`");
    let mut no_seal = entries();
    no_seal.remove(0);
    refused(&join(&no_seal), "seal").says("it is not sealed");
}

#[test]
fn verify_lists_every_file_with_changed_content() {
    let mut damaged = entries();
    damaged[2].content[0] ^= 1;
    damaged[3].content[4095] ^= 1;
    refused(&join(&damaged), "files")
        .says("2 of 2 files differ")
        .says("`config.json`\n  sealed: blake3:")
        .says("`weights.safetensors`\n  sealed: blake3:")
        .says("(4,096 bytes)");
}

#[test]
fn verify_refuses_an_archive_truncated_at_any_length() {
    let bytes = &sample().bytes;
    for length in (0..bytes.len()).step_by(512).chain([1, 700, bytes.len() - 1, bytes.len() - 700]) {
        let check = if length < 5120 { "seal" } else { "archive" };
        let outcome = sample().verify_bytes(&bytes[..length], &["--format", "json"]);
        assert_eq!(outcome.code, Some(1), "{length}: {}", outcome.all());
        let failed = outcome.json()["checks"].to_string();
        assert!(failed.contains("seal") && failed.contains("fail"), "{length} {check} {failed}");
    }
    refused(&bytes[..bytes.len() - 512], "archive").says("does not end with two blocks of zeros");
    refused(&bytes[..bytes.len() - 1536], "archive");
}

#[test]
fn verify_refuses_data_after_the_end_of_the_archive() {
    for tail in [&b"\0"[..], &[0; 512], b"x", &sample().bytes] {
        let bytes = [&sample().bytes, tail].concat();
        refused(&bytes, "archive").says("there is data after the end of the archive");
    }
    let mut padding = sample().bytes.clone();
    let end = padding.len();
    padding[end - 1] = 1;
    refused(&padding, "archive");
}

#[test]
fn verify_refuses_archive_padding_that_is_not_zero() {
    let mut damaged = sample().bytes.clone();
    let seal = entries()[0].content.len();
    damaged[512 + seal] = b'x';
    let outcome = sample().verify_bytes(&damaged, &[]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("the padding at byte").claims_no_success();
}

#[test]
fn verify_exits_1_for_a_file_that_is_no_archive_and_2_for_a_missing_one() {
    for bytes in [&b""[..], b"x", &[0; 10_000], b"PK\x03\x04", &[0xff; 600]] {
        refused(bytes, "seal").says("it is not a tar archive");
    }
    let sample = sample();
    let outcome = sample.project.verify(&sample.project.at("nowhere.tar"), &[]);
    assert_eq!(outcome.code, Some(2));
    outcome.says("does not exist").claims_no_success();
    let fifo = sample.project.out("fifo");
    let _ = rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU);
    let outcome = sample.project.verify(&fifo, &[]);
    assert_eq!(outcome.code, Some(2));
    outcome.says("is a FIFO").claims_no_success();
}

fn compressed(compression: &str) -> Vec<u8> {
    let project = Project::new();
    fs::read(project.build_with(&["--compression", compression])).expect("reads")
}

#[test]
fn verify_refuses_gzip_with_another_header_trailing_data_or_damage() {
    let good = compressed("gzip");
    assert_eq!(sample().verify_bytes(&good, &[]).code, Some(0));
    let member = filter("gzip", &["-c"], b"more");
    for tail in [&member[..], b"\0\0\0\0", b"garbage", &good] {
        let bytes = [&good, tail].concat();
        refused(&bytes, "archive").says("there is data after its end");
    }
    // Any other header: a name, a time, another level or another system.
    let with_name = {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), &sample().bytes).expect("writes");
        filter("gzip", &["-c", "-N", &file.path().to_string_lossy()], b"")
    };
    refused(&with_name, "seal").says("its gzip header is not the one that modelseal writes");
    for index in 3..10 {
        let mut bytes = good.clone();
        bytes[index] ^= 1;
        refused(&bytes, "seal");
    }
    let mut checksum = good.clone();
    let end = checksum.len();
    checksum[end - 6] ^= 1;
    refused(&checksum, "archive");
    for length in [5, 11, 500, end - 9, end - 1] {
        let outcome = sample().verify_bytes(&good[..length], &[]);
        assert_eq!(outcome.code, Some(1), "{length}: {}", outcome.all());
        outcome.claims_no_success();
    }
}

#[test]
fn verify_refuses_zstd_with_extra_frames_trailing_data_or_damage() {
    let good = compressed("zstd");
    assert_eq!(sample().verify_bytes(&good, &[]).code, Some(0));
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd";
    let frame = zstd::encode_all(&b"more"[..], 1).expect("compresses");
    for tail in [&frame[..], skippable, b"\0", &good] {
        refused(&[&good, tail].concat(), "archive").says("there is data after its end");
    }
    refused(&[skippable, &good[..]].concat(), "seal").says("skippable frame");
    let mut checksum = good.clone();
    let end = checksum.len();
    checksum[end - 1] ^= 1;
    refused(&checksum, "archive");
    for length in [3, 4, 9, 200, end - 1] {
        let outcome = sample().verify_bytes(&good[..length], &[]);
        assert_eq!(outcome.code, Some(1), "{length}: {}", outcome.all());
        outcome.claims_no_success();
    }
}

/// A stream that decodes to the same tar is valid, whichever program compressed it.
#[test]
fn verify_accepts_the_same_content_from_other_compressors() {
    let mut bytes = filter("gzip", &["-n", "-1", "-c"], &sample().bytes);
    bytes[8] = 0;
    bytes[9] = 255;
    assert_eq!(sample().verify_bytes(&bytes, &[]).code, Some(0));
    let bytes = zstd::encode_all(sample().bytes.as_slice(), 1).expect("compresses");
    assert_eq!(sample().verify_bytes(&bytes, &[]).code, Some(0));
}

/// Reading stops at the first byte that was not signed, so a decompression bomb costs nothing.
#[test]
fn verify_refuses_decompression_bombs() {
    let mut damaged = entries();
    damaged[3].header = header("wine-1.0.0/weights.safetensors", 0o77777777777, b'0');
    damaged.truncate(4);
    damaged[3].content = Vec::new();
    let mut bytes = join(&damaged);
    bytes.truncate(bytes.len() - 1024);
    bytes.resize(bytes.len() + (64 << 20), 0);
    let zstd = zstd::encode_all(bytes.as_slice(), 1).expect("compresses");
    refused(&zstd, "archive");
    let mut gzip = filter("gzip", &["-n", "-1", "-c"], &bytes);
    gzip[8] = 0;
    gzip[9] = 255;
    refused(&gzip, "archive");
    // Zeros after a valid archive: only one of these bytes is read.
    let mut long = sample().bytes.clone();
    long.resize(long.len() + (64 << 20), 0);
    refused(&zstd::encode_all(long.as_slice(), 1).expect("compresses"), "archive");
}

#[test]
fn verify_refuses_a_zstd_window_above_the_limit() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("begins");
    encoder.window_log(27).expect("sets the window");
    std::io::Write::write_all(&mut encoder, &sample().bytes).expect("writes");
    let bytes = encoder.finish().expect("finishes");
    let outcome = sample().verify_bytes(&bytes, &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.claims_no_success();
}

#[test]
fn verify_refuses_a_seal_entry_that_claims_a_huge_size() {
    let mut damaged = entries();
    damaged[0].header[124..136].copy_from_slice(b"77777777777\0");
    checksum(&mut damaged[0].header);
    refused(&join(&damaged), "seal").says("the limit is");
    damaged[0].header[124..136].copy_from_slice(b"00400000000\0");
    checksum(&mut damaged[0].header);
    refused(&join(&damaged), "seal").says("it ends at byte");
}

#[test]
fn verify_refuses_a_million_extra_empty_archive_entries() {
    let mut bytes = join(&entries()[..1]);
    bytes.truncate(bytes.len() - 1024);
    let empty = header("wine-1.0.0/x", 0, b'0');
    bytes.extend(std::iter::repeat_n(empty, 1_000_000).flatten());
    refused(&zstd::encode_all(bytes.as_slice(), 1).expect("compresses"), "archive");
}

#[test]
fn verify_accepts_a_tar_file_inside_the_archive() {
    let project = Project::new();
    project.write("model/inner.tar", &sample().bytes);
    project.commit();
    let archive = project.build();
    assert_eq!(project.verify(&archive, &[]).code, Some(0));
}
