//! Runs the program of `examples/`.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn custom_signer_example_seals_a_release() {
    let place = tempfile::tempdir().expect("a directory");
    let project = place.path().join("project");
    fs::create_dir_all(project.join("model")).expect("creates");
    fs::write(project.join("model/weights"), "1").expect("writes");
    let recipe =
        "[model]\nname = \"m\"\nversion = \"1\"\n[artifact]\npath = \"model\"\n[code]\nnone = true\n";
    fs::write(project.join("modelseal.toml"), recipe).expect("writes");
    let test = std::env::current_exe().expect("a program");
    let example = test.parent().and_then(Path::parent).expect("a directory").join("examples/custom_signer");
    assert!(example.is_file(), "not built: run `cargo build -p modelseal-build --examples`");
    let archive = place.path().join("m.tar");
    let output = Command::new(example).arg(&project).arg(&archive).output().expect("runs");
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{error}");
    assert!(said.contains("sealed m 1 as sha256:"), "{said}");
    assert!(said.ends_with("\ninconclusive: the code revision was not sealed\n"), "{said}");
    assert!(archive.is_file());
}
