//! The architecture: a module uses only the modules above it.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules in their order of use, as `src/lib.rs` lists them.
const ROOMS: [&str; 32] = [
    "display",
    "context",
    "digest",
    "canonical",
    "manifest",
    "sign",
    "archive",
    "release",
    "config",
    "trust",
    "oms",
    "report",
    "rule",
    "rules",
    "policy",
    "verify",
    "recipe",
    "run",
    "cache",
    "profile",
    "content",
    "inputs",
    "probe",
    "checkout",
    "build",
    "compare",
    "reproduce",
    "diff",
    "live_probe",
    "drill",
    "ops",
    "cli",
];

#[test]
fn a_room_uses_only_the_rooms_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = ["crates/modelseal-format", "crates/modelseal-verify", "crates/modelseal-build", "."];
    let sources = crates.map(|name| root.join(name).join("src"));
    let libraries = sources.iter().map(|source| fs::read_to_string(source.join("lib.rs")).expect("reads"));
    let library: String = libraries.collect();
    for room in ROOMS {
        assert!(library.contains(&format!("pub mod {room};")), "{room} is not a room");
    }
    assert_eq!(library.matches("pub mod ").count(), ROOMS.len(), "a room is missing in this test");
    for (index, room) in ROOMS.iter().enumerate() {
        let is_there = |source: &&PathBuf| source.join(format!("{room}.rs")).is_file();
        let source = sources.iter().find(is_there).expect("is there");
        for file in files_of(source, room) {
            let text = fs::read_to_string(&file).expect("reads");
            let below = ROOMS.iter().skip(index + 1).find(|used| uses(&text, used));
            assert_eq!(below, None, "{} uses a room below it", file.display());
        }
    }
}

fn files_of(source: &Path, room: &str) -> Vec<PathBuf> {
    let mut files = vec![source.join(format!("{room}.rs"))];
    if source.join(room).is_dir() {
        let walk = walkdir::WalkDir::new(source.join(room));
        files.extend(
            walk.into_iter().map(|entry| entry.expect("walks").into_path()).filter(|path| path.is_file()),
        );
    }
    files
}

/// Finds `crate::room` alone, in a list of imports, or in a path.
fn uses(text: &str, room: &str) -> bool {
    text.split("crate::").skip(1).any(|rest| match rest.strip_prefix('{') {
        Some(list) => {
            let list = list.split("};").next().unwrap_or_default();
            list.split(',').any(|item| item.trim().split("::").next() == Some(room))
        }
        None => {
            rest.split(|character: char| !character.is_alphanumeric() && character != '_').next()
                == Some(room)
        }
    })
}

#[test]
fn no_file_is_too_long_to_take_in_at_one_sitting() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["src", "crates", "tests"] {
        for entry in walkdir::WalkDir::new(root.join(directory)) {
            let path = entry.expect("walks").into_path();
            if path.extension().is_some_and(|ending| ending == "rs") {
                let lines = fs::read_to_string(&path).expect("reads").lines().count();
                assert!(lines <= 450, "{} has {lines} lines", path.display());
            }
        }
    }
}
