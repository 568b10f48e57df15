//! Keys that are kept elsewhere: a command signs, and its output is checked.

use std::fs;
use std::process::Command;

use crate::models::model;
use crate::support::project::Project;
use crate::support::run::{Outcome, modelseal};
use crate::support::{authority, peers};

/// A build that gets its signature from this shell command.
fn build(project: &Project, command: &str, public: &str, more: &[&str]) -> Outcome {
    let arguments = ["build", "--signer", command, "--key", public, "-o", "../signed.tar", "--force"];
    project.modelseal(&[&arguments[..], more].concat()).run()
}

#[test]
#[ignore = "needs openssl"]
fn signer_command_makes_signatures_that_verify_accepts_in_each_encoding() {
    peers::program("openssl");
    let project = Project::new();
    for (name, hash) in [("p256", "sha256"), ("p384", "sha384"), ("p521", "sha512")] {
        let key = authority::path(&format!("leaf-{name}.key"));
        let public = authority::path(&format!("leaf-{name}.pub"));
        let sign = format!("openssl dgst -{hash} -sign {key}");
        // DER, the two bare numbers, and both in base64. The signatures of openssl differ each time.
        let numbers = format!(
            "{sign} | openssl asn1parse -inform DER | sed -n 's/.*INTEGER *:\\(.*\\)/\\1/p' | \
             python3 -c 'import sys; n = {{\"p256\": 32, \"p384\": 48, \"p521\": 66}}[\"{name}\"]; \
             sys.stdout.buffer.write(b\"\".join(int(line, 16).to_bytes(n, \"big\") for line in sys.stdin))'"
        );
        for command in [
            sign.clone(),
            numbers.clone(),
            format!("{sign} | base64 -w0; echo"),
            format!("{numbers} | base64 -w0 | tr '+/' '-_' | tr -d '='"),
        ] {
            let outcome = build(&project, &command, &public, &[]);
            assert_eq!(outcome.code, Some(0), "{command}: {}", outcome.all());
            let archive = project.root().join("signed.tar").to_string_lossy().into_owned();
            project.modelseal(&["verify", &archive, "--key", &public]).expect(0);
        }
        let certificate = authority::path(&format!("leaf-{name}.pem"));
        let chain = authority::path("intermediate.pem");
        let signing = ["--certificate", &certificate, "--certificate-chain", &chain];
        assert_eq!(build(&project, &sign, &public, &signing).code, Some(0));
        let archive = project.root().join("signed.tar").to_string_lossy().into_owned();
        let root = authority::path("root.pem");
        project.modelseal(&["verify", &archive, "--certificate-chain", &root]).expect(0);
    }
    let (key, public) = (authority::path("leaf-p256.key"), authority::path("leaf-p256.pub"));
    let (_project, model) = model();
    let model = model.to_string_lossy();
    let sign = format!("openssl dgst -sha256 -sign {key}");
    modelseal(["sign", &model, "--signer", &sign, "--key", &public]).expect(0);
    modelseal(["verify", &model, "--signature", &format!("{model}/model.sig"), "--key", &public]).expect(0);
}

#[test]
#[ignore = "needs cryptography"]
fn build_exits_2_and_writes_no_archive_if_the_signer_command_fails() {
    let project = Project::new();
    let public = authority::path("leaf-p256.pub");
    let other = authority::path("direct.key");
    let right = authority::path("leaf-p256.key");
    for (command, reason) in [
        ("true".to_string(), "it printed nothing"),
        ("exit 7".to_string(), "exit code 7"),
        ("no-such-program".to_string(), "exit code 127"),
        ("echo garbage".to_string(), "is not a signature by this kind of key"),
        ("head -c 40000 /dev/urandom".to_string(), "is not a signature by this kind of key"),
        ("yes".to_string(), "printed more than"),
        ("sleep 1000".to_string(), "it did not end within 1 second"),
        ("trap '' TERM; while :; do sleep 0.1; done".to_string(), "it did not end within 1 second"),
        (format!("openssl dgst -sha256 -sign {other}"), "its signature is by another key"),
        (format!("head -c 10 | openssl dgst -sha256 -sign {right}"), "or over other data"),
        (format!("openssl dgst -sha384 -sign {right}"), "or over other data"),
        ("kill -9 $$".to_string(), "signal 9"),
    ] {
        let outcome = build(&project, &command, &public, &["--signer-timeout", "1s"]);
        assert_eq!(outcome.code, Some(2), "{command}: {}", outcome.all());
        outcome.says("did not sign").says(reason).claims_no_success();
        assert!(!project.root().join("signed.tar").exists(), "{command}");
    }
    // The public key is required, and it must be a public key.
    let outcome = build(&project, "true", &right, &[]);
    assert_eq!(outcome.code, Some(2));
    outcome.says("a private key, but a public key is needed");
    project.modelseal(&["build", "--signer", "true"]).expect(2).says("--key");
    let outcome = build(&project, "true", &public, &["--signer-timeout", "0s"]);
    assert_eq!(outcome.code, Some(2));
}

/// A real token: SoftHSM2, through the tool of OpenSC.
#[test]
#[ignore = "needs SoftHSM"]
fn signer_command_signs_with_a_key_on_a_pkcs11_token() {
    peers::program("softhsm2-util");
    peers::program("pkcs11-tool");
    peers::program("openssl");
    let project = Project::new();
    let tokens = project.root().join("tokens");
    fs::create_dir(&tokens).expect("creates");
    let configuration = project.root().join("softhsm2.conf");
    fs::write(&configuration, format!("directories.tokendir = {}\n", tokens.display())).expect("writes");
    let module = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    ]
    .into_iter()
    .find(|path| std::path::Path::new(path).exists())
    .expect("the module of SoftHSM2");
    let run = |script: &str| {
        let output = Command::new("sh")
            .args(["-e", "-c", script])
            .current_dir(project.root())
            .env("SOFTHSM2_CONF", &configuration)
            .output()
            .expect("runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("softhsm2-util --init-token --free --label ci --pin 1234 --so-pin 5678");
    // Debian's pkcs11-tool cannot print a public key on P-384.
    let tool = format!("pkcs11-tool --module {module} --token-label ci --login --pin env:PIN --id 01");
    run(&format!("PIN=1234 {tool} --keypairgen --key-type EC:prime256v1 --label ci"));
    run(&format!(
        "PIN=1234 {tool} --read-object --type pubkey --output-file ci.der && \
         openssl pkey -pubin -inform DER -in ci.der -out token.pub"
    ));
    let public = project.root().join("token.pub").to_string_lossy().into_owned();
    let command = format!(
        "openssl dgst -sha256 -binary | {tool} --sign --mechanism ECDSA --signature-format openssl \
         --input-file /dev/stdin --output-file /dev/stdout"
    );
    let build = |pin: &str, name: &str| {
        let archive = project.root().join(name).to_string_lossy().into_owned();
        let outcome = project
            .modelseal(&["build", "--signer", &command, "--key", &public, "-o", &archive])
            .env("SOFTHSM2_CONF", &configuration)
            .env("PIN", pin)
            .run();
        (outcome, archive)
    };
    let (signed, archive) = build("1234", "token.tar");
    assert_eq!(signed.code, Some(0), "{}", signed.all());
    project.modelseal(&["verify", &archive, "--key", &public]).expect(0);
    let (wrong, archive) = build("4321", "wrong.tar");
    assert_eq!(wrong.code, Some(2), "{}", wrong.all());
    wrong.says("did not sign").claims_no_success();
    assert!(!std::path::Path::new(&archive).exists());
}

/// Key services keep a log, and some ask a person to confirm. Therefore an approval makes one signature.
#[test]
#[ignore = "needs cryptography"]
fn countersign_runs_the_signer_command_once() {
    let project = Project::new();
    let archive = project.out("wine.tar").to_string_lossy().into_owned();
    project.modelseal(&["build", "--key", &project.key(), "-o", &archive]).expect(0);
    let (right, public) = (authority::path("leaf-p256.key"), authority::path("leaf-p256.pub"));
    let (policy, asked) = (project.root().join("gate.toml"), project.root().join("asked"));
    let signers = [("ci", project.public_key(), "build"), ("boss", public.clone(), "approve")];
    let entry = |(name, key, role)| format!("[[signer]]\nname = {name:?}\nkey = {key:?}\nmay = [{role:?}]\n");
    let text = format!("model = \"wine\"\nsignatures = 2\n{}", signers.map(entry).concat());
    fs::write(&policy, text).expect("writes");
    let policy = policy.to_string_lossy();
    let command = format!("echo >> '{}'; openssl dgst -sha256 -sign {right}", asked.display());
    let signing = ["--signer", &command, "--key", &public];
    project.modelseal(&[&["countersign", &archive, "--policy", &policy][..], &signing].concat()).expect(0);
    assert_eq!(fs::read_to_string(&asked).expect("reads").lines().count(), 1);
    project.modelseal(&["verify", &archive, "--policy", &policy]).expect(0);
}
