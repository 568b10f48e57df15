//! How the tools of other projects handle modelseal's archives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::models::model;
use crate::support::run::modelseal;
use crate::support::{Project, authority, peers};

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
#[ignore = "needs model-signing and sigstore"]
fn model_signing_verifies_an_unpacked_release_and_detects_a_changed_file() {
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
#[ignore = "needs openssl"]
fn openssl_verifies_both_seal_signatures_over_the_dsse_encoding() {
    peers::program("openssl");
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
fn seal_key_hint_equals_the_sha256_of_the_public_key_file() {
    let project = project();
    let directory = unpacked(&project, &project.key(), &project.public_key(), "hint");
    let seal = fs::read_to_string(directory.join(".modelseal/manifest.sigstore.json")).expect("reads");
    let output = Command::new("sha256sum").arg(project.public_key()).output().expect("runs");
    let hint = String::from_utf8_lossy(&output.stdout).split(' ').next().expect("a digest").to_string();
    assert_eq!(seal.matches(&hint).count(), 2, "as hint and as keyid");
}

/// Runs the reference tool in a directory and checks its result.
#[track_caller]
fn reference(directory: &Path, arguments: &[&str], accepts: bool) -> String {
    let output =
        Command::new(peers::model_signing()).args(arguments).current_dir(directory).output().expect("runs");
    let all =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_eq!(output.status.success(), accepts, "{arguments:?}: {all}");
    all
}

/// A model with an excluded file, and its signer.
struct Scene {
    _project: Project,
    root: PathBuf,
    model: PathBuf,
    key: String,
    public: String,
    certificate: String,
}

impl Scene {
    fn new(curve: &str) -> Self {
        let (project, model) = model();
        fs::write(model.join("notes.txt"), "not signed").expect("writes");
        let leaf = |ending: &str| authority::path(&format!("leaf-{curve}.{ending}"));
        let root = project.root().to_path_buf();
        let (key, public, certificate) = (leaf("key"), leaf("pub"), leaf("pem"));
        Self { _project: project, root, model, key, public, certificate }
    }
}

/// Every curve, by key and by certificate, with an excluded path. Then the same with a changed byte.
#[test]
#[ignore = "needs model-signing and sigstore"]
fn model_signing_verifies_key_and_certificate_signatures_by_modelseal() {
    for curve in ["p256", "p384", "p521"] {
        let scene = Scene::new(curve);
        let Scene { root, model, key, public, certificate, .. } = &scene;
        let (chain, trusted) = (authority::path("intermediate.pem"), authority::path("root.pem"));
        let sign = |more: &[&str]| {
            let arguments = ["sign", "m", "--key", key, "--ignore-path", "m/notes.txt", "--signature"];
            modelseal([&arguments[..], more].concat()).current_dir(root).expect(0);
        };
        sign(&["key.sig"]);
        sign(&["certificate.sig", "--certificate", certificate, "--certificate-chain", &chain]);
        let by_key = ["verify", "key", "m", "--signature", "key.sig", "--public_key", public];
        let by_certificate =
            ["verify", "certificate", "m", "--signature", "certificate.sig", "--certificate_chain", &trusted];
        for arguments in [by_key, by_certificate] {
            let said = reference(root, &arguments, true);
            assert!(said.contains("Verification succeeded"), "{said}");
        }
        fs::write(model.join("sub-x"), "changed").expect("writes");
        for arguments in [by_key, by_certificate] {
            assert!(reference(root, &arguments, false).contains("Hash mismatch for 'sub-x'"));
        }
        fs::write(model.join("sub-x"), "x").expect("writes");
        let other = authority::path("direct.pub");
        reference(root, &[&by_key[..6], &[&other]].concat(), false);
        let stranger = authority::path("stranger.pem");
        reference(root, &[&by_certificate[..6], &[&stranger]].concat(), false);
    }
}

/// The opposite direction, with the options of the reference tool.
#[test]
#[ignore = "needs model-signing and sigstore"]
fn verify_accepts_key_and_certificate_signatures_by_model_signing() {
    for curve in ["p256", "p384", "p521"] {
        let scene = Scene::new(curve);
        let Scene { root, model, key, public, certificate, .. } = &scene;
        let (chain, trusted) = (authority::path("intermediate.pem"), authority::path("root.pem"));
        let signing = ["--private_key", key, "--ignore-paths", "m/notes.txt"];
        reference(root, &[&["sign", "key", "m", "--signature", "key.sig"][..], &signing].concat(), true);
        let certified = ["--signing_certificate", certificate, "--certificate_chain", &chain];
        let arguments =
            [&["sign", "certificate", "m", "--signature", "c.sig"][..], &signing, &certified].concat();
        reference(root, &arguments, true);
        // With the options that include links to files and git's own files.
        std::os::unix::fs::symlink("config.json", model.join("link")).expect("links");
        let liberal =
            ["sign", "key", "m", "--signature", "l.sig", "--allow_symlinks", "--no-ignore-git-paths"];
        reference(root, &[&liberal[..], &signing[..2]].concat(), true);
        let by_key = ["--key", public.as_str()];
        let by_certificate = ["--certificate-chain", trusted.as_str()];
        let verify = |signature: &str, trusting: &[&str], code: i32| {
            let arguments = ["verify", "m", "--signature", signature];
            modelseal([&arguments[..], trusting].concat()).current_dir(root).expect(code)
        };
        verify("l.sig", &by_key, 0).says("over 8 files");
        fs::remove_file(model.join("link")).expect("removes");
        for (signature, trusting) in [("key.sig", by_key), ("c.sig", by_certificate)] {
            verify(signature, &trusting, 0).says("over 5 files").says("in the order of the reference tool");
        }
        fs::write(model.join("sub-x"), "changed").expect("writes");
        for (signature, trusting) in [("key.sig", by_key), ("c.sig", by_certificate), ("l.sig", by_key)] {
            verify(signature, &trusting, 1).says("\n`sub-x`\n  sealed: sha256:").claims_no_success();
        }
        let (other, stranger) = (authority::path("direct.pub"), authority::path("stranger.pem"));
        verify("key.sig", &["--key", &other], 1).says("none of the trusted keys signed this");
        verify("c.sig", &["--certificate-chain", &stranger], 1).says("does not end in a trusted root");
        verify("c.sig", &by_key, 1).says("no authority is trusted");
        verify("key.sig", &by_certificate, 1).says("no key is trusted");
    }
}

/// Either tool signs one file, and either tool verifies it.
#[test]
#[ignore = "needs model-signing and sigstore"]
fn sign_and_verify_of_one_file_interoperate_with_model_signing() {
    let (_project, model) = model();
    let (key, public) = (authority::path("leaf-p256.key"), authority::path("leaf-p256.pub"));
    let ours = ["sign", "config.json", "--key", &key, "--signature", "../ours.sig"];
    modelseal(ours).current_dir(&model).expect(0);
    let theirs = ["sign", "key", "config.json", "--private_key", &key, "--signature", "../theirs.sig"];
    reference(&model, &theirs, true);
    for signature in ["../ours.sig", "../theirs.sig"] {
        let verify = ["verify", "key", "config.json", "--signature", signature, "--public_key", &public];
        reference(&model, &verify, true);
        let arguments = ["verify", "config.json", "--signature", signature, "--key", &public];
        modelseal(arguments).current_dir(&model).expect(0);
    }
}

/// The seal follows DSSE, in-toto and Sigstore.
#[test]
#[ignore = "needs model-signing and sigstore"]
fn sigstore_and_dsse_clients_verify_the_seal_and_reject_a_changed_payload() {
    let project = project();
    let python = peers::python_environment("requirements").join("bin/python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/verify.py");
    let javascript = peers::sigstore();
    for algorithm in ["p256", "p384", "p521", "ed25519"] {
        let prefix = project.root().join(algorithm).to_string_lossy().into_owned();
        project.modelseal(&["keygen", "-o", &prefix, "--algorithm", algorithm]).expect(0);
        let (key, public) = (format!("{prefix}.key"), format!("{prefix}.pub"));
        let directory = unpacked(&project, &key, &public, algorithm);
        let archive = project.out(&format!("{algorithm}.tar")).to_string_lossy().into_owned();
        project.modelseal(&["countersign", &archive, "--key", &key]).expect(0);
        let hint = modelseal_format::sign::read_public_key(&public.as_str().into())
            .expect("reads")
            .hint()
            .to_string();
        let approval = project.out(&format!("{algorithm}.tar.approval.{}.sigstore.json", &hint[..8]));
        let mut files = vec![directory.join(".modelseal/manifest.sigstore.json"), approval];
        if algorithm != "ed25519" {
            files.push(directory.join("model.sig"));
        }
        for file in files {
            let by_python =
                || Command::new(&python).arg(script).arg(&file).arg(&public).output().expect("runs");
            let by_javascript = || {
                let mut command = Command::new("node");
                command.current_dir(&javascript).arg("verify.mjs").arg(&file).arg(&public);
                command.output().expect("runs")
            };
            // If the hash for the curve is not SHA-256, that client expects another kind of signature.
            let knows = matches!(algorithm, "p256" | "ed25519");
            let output = by_python();
            assert!(output.status.success(), "{file:?}: {}", String::from_utf8_lossy(&output.stderr));
            let output = by_javascript();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.success(), knows, "{file:?}: {said}");
            let good = fs::read_to_string(&file).expect("reads");
            let payload = good.split("\"payload\":\"").nth(1).expect("a payload");
            let changed = good.replacen(&payload[..12], &STANDARD.encode("{\"_typf\":"), 1);
            assert_ne!(changed, good);
            fs::write(&file, changed).expect("writes");
            assert!(!by_python().status.success(), "{file:?}");
            assert!(!by_javascript().status.success(), "{file:?}");
        }
    }
}
