//! How much work a command does. Its duration is never tested here; `benches/compare.py` measures that.

use std::fs;

use crate::support::{Outcome, Project};

/// The number of bytes that a command with `-v` reports as read.
#[track_caller]
fn read_bytes(outcome: &Outcome) -> u64 {
    let line = outcome.stderr.lines().find_map(|line| line.strip_prefix("read "));
    let line = line.unwrap_or_else(|| panic!("no word of what was read: {}", outcome.all()));
    let number = line.split(' ').next().expect("a number").replace(',', "");
    number.parse().expect("a number")
}

#[test]
fn build_and_verify_read_every_byte_as_often_as_documented() {
    let files = [("large.bin", 5 << 20), ("medium.bin", 70_000), ("small.bin", 9), ("empty.bin", 0)];
    let contents: Vec<(&str, Vec<u8>)> = files
        .into_iter()
        .map(|(name, length): (&str, usize)| (name, (0..length).map(|byte| (byte % 251) as u8).collect()))
        .collect();
    let contents: Vec<(&str, &[u8])> =
        contents.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let project = Project::with_artifact(&contents);
    let bytes: u64 = contents.iter().map(|(_, content)| content.len() as u64).sum();
    let (key, public) = (project.key(), project.public_key());
    for (compression, times) in [("none", 1), ("gzip", 1), ("zstd", 2)] {
        let archive = project.out(compression).to_string_lossy().into_owned();
        let build = ["build", "--key", &key, "-o", &archive, "--compression", compression, "-v"];
        assert_eq!(read_bytes(&project.modelseal(&build).expect(0)), times * bytes, "{compression}");

        let directory = project.unpack(project.out(compression).as_path());
        let signature = fs::metadata(directory.join("model.sig")).expect("is there").len();
        for hash in ["blake3", "sha256", "all"] {
            let verify = |target: &str| {
                project.modelseal(&["verify", target, "--key", &public, "--hash", hash, "-v"]).expect(0)
            };
            assert_eq!(read_bytes(&verify(&archive)), bytes + signature, "{compression}, {hash}");
            let unpacked = directory.to_string_lossy();
            assert_eq!(read_bytes(&verify(&unpacked)), bytes, "{compression}, {hash}, unpacked");
        }
        fs::remove_dir_all(&directory).expect("removes");
    }
}
