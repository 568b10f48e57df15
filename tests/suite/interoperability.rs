//! What other people's tools make of our archives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Project, peers};

fn model_signing(directory: &Path, key: &str) -> Output {
    Command::new(peers::model_signing())
        .args(["verify", "key"])
        .arg(directory)
        .arg("--signature")
        .arg(directory.join("model.sig"))
        .args(["--public_key", key])
        .output()
        .expect("runs")
}

fn project() -> Project {
    let project = Project::new();
    for name in ["sub/a.bin", "sub-x", "sub.bin", "größe.txt", "with space", "sub/.git/HEAD"] {
        project.write(&format!("model/{name}"), name);
    }
    project.write("model/empty", "");
    fs::remove_dir_all(project.at(".git")).expect("removes");
    project.append_recipe("[code]\nnone = true\n");
    project
}

fn unpacked(project: &Project, key: &str, public: &str, name: &str) -> PathBuf {
    let archive = project.out(&format!("{name}.tar")).to_string_lossy().into_owned();
    let directory = project.out(name);
    project.modelseal(&["build", "--key", key, "-o", &archive]).expect(0);
    let to = directory.to_string_lossy().into_owned();
    project.modelseal(&["unpack", &archive, "-o", &to, "--key", public]).expect(0);
    directory
}

#[test]
fn model_signing_verifies_what_we_sealed_and_notices_what_was_changed() {
    let project = project();
    for algorithm in ["p256", "p384", "p521"] {
        let prefix = project.root().join(algorithm).to_string_lossy().into_owned();
        project.modelseal(&["keygen", "-o", &prefix, "--algorithm", algorithm]).expect(0);
        let public = format!("{prefix}.pub");
        let directory = unpacked(&project, &format!("{prefix}.key"), &public, algorithm);
        let output = model_signing(&directory, &public);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("Verification succeeded"), "{text}");

        fs::write(directory.join("sub-x"), "changed").expect("writes");
        let output = model_signing(&directory, &public);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("Hash mismatch for 'sub-x'"));
    }
}

/// `docs/format.md` shows the same steps in a shell.
#[test]
fn openssl_verifies_the_manifest_over_the_pre_authentication_encoding() {
    peers::program("openssl", "openssl");
    let project = project();
    let key = project.key();
    let public = project.public_key();
    let directory = unpacked(&project, &key, &public, "plain");
    for file in [".modelseal/manifest.sigstore.json", "model.sig"] {
        let seal: serde_json::Value =
            serde_json::from_slice(&fs::read(directory.join(file)).expect("reads")).expect("is JSON");
        let envelope = &seal["dsseEnvelope"];
        let payload = STANDARD.decode(envelope["payload"].as_str().expect("a payload")).expect("is base64");
        let signature = envelope["signatures"][0]["sig"].as_str().expect("a signature");
        let kind = envelope["payloadType"].as_str().expect("a type");
        let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
        signed.extend_from_slice(&payload);
        fs::write(project.out("signed"), &signed).expect("writes");
        fs::write(project.out("signature"), STANDARD.decode(signature).expect("is base64")).expect("writes");
        let verify = || {
            Command::new("openssl")
                .args(["dgst", "-sha256", "-verify", &public, "-signature"])
                .args([project.out("signature"), project.out("signed")])
                .output()
                .expect("openssl runs")
        };
        assert_eq!(String::from_utf8_lossy(&verify().stdout).trim(), "Verified OK");
        signed[40] ^= 1;
        fs::write(project.out("signed"), &signed).expect("writes");
        assert!(!verify().status.success());
    }
}

/// The key's identity is what `sha256sum KEY.pub` prints.
#[test]
fn the_hint_is_the_digest_of_the_public_key_file() {
    let project = project();
    let directory = unpacked(&project, &project.key(), &project.public_key(), "hint");
    let seal = fs::read_to_string(directory.join(".modelseal/manifest.sigstore.json")).expect("reads");
    let output = Command::new("sha256sum").arg(project.public_key()).output().expect("runs");
    let hint = String::from_utf8_lossy(&output.stdout).split(' ').next().expect("a digest").to_string();
    assert_eq!(seal.matches(&hint).count(), 2, "as hint and as keyid");
}
