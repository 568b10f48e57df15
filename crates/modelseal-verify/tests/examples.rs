//! Runs the programs of `examples/`.

#![expect(
    clippy::disallowed_methods,
    reason = "the library starts no processes; its tests start the examples"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// The program of an example. `cargo test` builds it, unless it is told to build this test alone.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("a program");
    let built = test.parent().and_then(Path::parent).expect("a directory").join("examples").join(name);
    assert!(built.is_file(), "not built: run `cargo build -p modelseal-verify --examples`");
    Command::new(built)
}

fn release() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/release")
}

/// Runs the admission check on a pod with this annotation. The directory has the archive of one release.
fn admit(releases: &Path, annotation: Option<&str>) -> Value {
    let annotations =
        annotation.map_or(json!({}), |release| json!({ "modelseal.example.com/release": release }));
    let pod = json!({ "kind": "Pod", "metadata": { "name": "wine", "annotations": annotations } });
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": { "uid": "705ab4f5", "object": pod },
    });
    let mut child = example("admission")
        .args([&release().join("gate.toml"), releases])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("an input").write_all(review.to_string().as_bytes()).expect("writes");
    let Output { status, stdout, .. } = child.wait_with_output().expect("ends");
    assert!(status.success());
    let answer: Value = serde_json::from_slice(&stdout).expect("JSON");
    assert_eq!(answer["response"]["uid"], "705ab4f5");
    answer["response"].clone()
}

#[test]
fn admission_example_admits_a_pod_only_with_the_release_it_names() {
    let releases = tempfile::tempdir().expect("a directory");
    let archive = release().join("wine-1.0.0.tar");
    let digest = "e7f2ece4fba8d026cf10c754b1f1451ca80e4624749e8a6979c034029e98ef20";
    fs::copy(&archive, releases.path().join(format!("{digest}.tar"))).expect("copies");
    let named = format!("sha256:{digest}");
    assert_eq!(admit(releases.path(), Some(&named)), json!({ "uid": "705ab4f5", "allowed": true }));

    let refused = |annotation: Option<&str>, reason: &str| {
        let response = admit(releases.path(), annotation);
        assert_eq!(response["allowed"], false, "{response}");
        let message = response["status"]["message"].as_str().expect("a message");
        assert!(message.contains(reason), "{message}");
    };
    refused(None, "the pod has no annotation");
    refused(Some("sha256:../../etc/passwd"), "is not `sha256:` and 64 hexadecimal digits");
    let other = "0".repeat(64);
    refused(Some(&format!("sha256:{other}")), "does not exist");
    // Another release under the name of the one that is demanded.
    fs::copy(&archive, releases.path().join(format!("{other}.tar"))).expect("copies");
    refused(Some(&format!("sha256:{other}")), "release");
}

#[test]
fn serve_example_reports_its_release_and_refuses_a_changed_archive() {
    let mut child = example("serve")
        .args(["wine-1.0.0.tar", "gate.toml", "127.0.0.1:0"])
        .current_dir(release())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("an output")).read_line(&mut line).expect("reads");
    let address = line.trim().rsplit(' ').next().expect("an address");
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: wine\r\n\r\n").expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    child.kill().expect("ends");
    child.wait().expect("has ended");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\"release\":\"sha256:e7f2ece4"), "{answer}");

    let place = tempfile::tempdir().expect("a directory");
    let mut bytes = fs::read(release().join("wine-1.0.0.tar")).expect("reads");
    let last = bytes.iter().rposition(|byte| *byte != 0).expect("a byte");
    bytes[last] ^= 1;
    let changed = place.path().join("changed.tar");
    fs::write(&changed, bytes).expect("writes");
    let output = example("serve")
        .arg(&changed)
        .args(["gate.toml", "127.0.0.1:0"])
        .current_dir(release())
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("not serving") && said.contains("fail"), "{said}");
}
