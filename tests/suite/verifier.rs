//! The crates that a program links when it embeds the verifier.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The crates in the normal dependency tree of `modelseal-verify`, itself included, by name and version.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--locked", "--offline", "-p", "modelseal-verify", "-e", "normal"]);
    command.args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none"]);
    let output = command
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("starts cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("is text");
    let crates = text.lines().map(|line| line.split(" (").next().unwrap_or(line).to_string());
    crates.filter(|name| !name.is_empty()).collect()
}

#[test]
fn verifier_dependencies_are_few_and_exclude_git_and_data_readers() {
    for (arguments, most) in [(&[][..], 135), (&["--no-default-features"], 105)] {
        let crates = tree(arguments);
        assert!(crates.len() <= most, "{} crates: {crates:?}", crates.len());
        assert!(crates.iter().any(|name| name.starts_with("modelseal-format ")), "{crates:?}");
        for absent in
            ["git2", "libgit2-sys", "parquet", "saphyr-parser", "clap", "seccompiler", "ignore", "tokio"]
        {
            let found = crates.iter().find(|name| name.split(' ').next() == Some(absent));
            assert_eq!(found, None, "{arguments:?}");
        }
    }
}
