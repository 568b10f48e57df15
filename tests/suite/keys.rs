//! Keys: generated here and by openssl, and refused when they must be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::project::sample;
use crate::support::{Project, peers};

fn openssl(arguments: &[&str]) -> String {
    peers::program("openssl");
    let output = Command::new("openssl").args(arguments).output().expect("openssl runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).expect("writes");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("sets the mode");
}

#[test]
#[ignore = "needs openssl"]
fn keygen_keys_of_every_algorithm_build_and_verify() {
    let project = Project::new();
    for algorithm in ["p256", "p384", "p521", "ed25519"] {
        let prefix = project.out(algorithm).to_string_lossy().into_owned();
        project.modelseal(&["keygen", "-o", &prefix, "--algorithm", algorithm]).expect(0);
        let (private, public) = (format!("{prefix}.key"), format!("{prefix}.pub"));
        let mode = fs::metadata(&private).expect("is there").permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600);
        let (printed, written) = (openssl(&["pkey", "-in", &private, "-pubout"]), fs::read(&public));
        assert_eq!(printed, String::from_utf8_lossy(&written.expect("reads")));
        let archive = format!("{prefix}.tar");
        project.modelseal(&["build", "--key", &private, "-o", &archive]).expect(0);
        let outcome = project.modelseal(&["verify", &archive, "--key", &public]).expect(0);
        let expected = if algorithm == "ed25519" { "none, as sealed" } else { "OMS, same key, same files" };
        outcome.says(expected).says(&format!("signed by {algorithm}"));
    }
}

#[test]
#[ignore = "needs openssl"]
fn build_accepts_plain_and_encrypted_keys_made_by_openssl() {
    let project = Project::new();
    let at = |name: &str| project.out(name).to_string_lossy().into_owned();
    let make: [(&str, &[&str]); 7] = [
        ("pkcs8", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("p384", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("p521", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
        ("ed25519", &["genpkey", "-algorithm", "ED25519"]),
        ("sec1", &["ecparam", "-name", "prime256v1", "-genkey"]),
        ("sec1-384", &["ecparam", "-name", "secp384r1", "-genkey"]),
        ("sec1-521", &["ecparam", "-name", "secp521r1", "-genkey"]),
    ];
    for (name, arguments) in make {
        let (private, public, archive) = (at(name), at(&format!("{name}.pub")), at(&format!("{name}.tar")));
        write_private(Path::new(&private), &openssl(arguments));
        openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]);
        project.modelseal(&["build", "--key", &private, "-o", &archive]).expect(0);
        project.modelseal(&["verify", &archive, "--key", &public]).expect(0);
    }
    let encrypted = at("encrypted");
    openssl(&["pkcs8", "-topk8", "-in", &at("pkcs8"), "-out", &encrypted, "-passout", "pass:horse"]);
    fs::set_permissions(&encrypted, fs::Permissions::from_mode(0o600)).expect("sets the mode");
    let build = |archive: &str| project.modelseal(&["build", "--key", &encrypted, "-o", archive]);
    build(&at("1.tar")).env("MODELSEAL_PASSWORD", "horse").expect(0);
    assert_eq!(fs::read(at("1.tar")).expect("reads"), fs::read(at("pkcs8.tar")).expect("reads"));
    build(&at("2.tar")).env("MODELSEAL_PASSWORD", "cow").expect(2).says("wrong password");
    build(&at("2.tar")).expect(2).says("needs a password").says("--password-file");
    assert!(!Path::new(&at("2.tar")).exists());
}

#[test]
#[ignore = "needs openssl"]
fn openssl_reads_an_encrypted_key_made_by_keygen() {
    let project = Project::new();
    let prefix = project.out("k").to_string_lossy().into_owned();
    fs::write(project.out("password"), "correct horse\n").expect("writes");
    let file = project.out("password").to_string_lossy().into_owned();
    project.modelseal(&["keygen", "-o", &prefix, "--password-file", &file]).expect(0).says("encrypted");
    let private = format!("{prefix}.key");
    let text = openssl(&["pkey", "-in", &private, "-passin", "pass:correct horse", "-pubout"]);
    assert_eq!(text, fs::read_to_string(format!("{prefix}.pub")).expect("reads"));
    project.modelseal(&["build", "--key", &private, "--password-file", &file]).expect(0);
}

#[test]
fn keygen_refuses_to_overwrite_a_key_file() {
    let project = Project::new();
    let prefix = project.out("k").to_string_lossy().into_owned();
    project.modelseal(&["keygen", "-o", &prefix]).expect(0);
    let before = fs::read(format!("{prefix}.key")).expect("reads");
    project.modelseal(&["keygen", "-o", &prefix]).expect(2).says("already exists");
    fs::remove_file(format!("{prefix}.key")).expect("removes");
    project.modelseal(&["keygen", "-o", &prefix]).expect(2).says("keys are never overwritten");
    assert!(!Path::new(&format!("{prefix}.key")).exists());
    assert!(!before.is_empty());
}

#[test]
fn verify_and_unpack_exit_2_without_a_trusted_signer() {
    let sample = sample();
    let file = sample.project.out("no-key.tar");
    fs::write(&file, &sample.bytes).expect("writes");
    let archive = file.to_string_lossy();
    sample
        .project
        .modelseal(&["verify", &archive])
        .expect(2)
        .says("no trusted signer was named")
        .claims_no_success();
    let to = sample.project.out("no-key").to_string_lossy().into_owned();
    sample.project.modelseal(&["unpack", &archive, "-o", &to]).expect(2).claims_no_success();
    assert!(!sample.project.out("no-key").exists());
}

#[test]
fn verify_rejects_another_key_and_accepts_one_match_among_several() {
    let sample = sample();
    let (_, other) = sample.project.other_key("stranger");
    let right = sample.project.public_key();
    let file = sample.project.out("several.tar");
    fs::write(&file, &sample.bytes).expect("writes");
    let archive = file.to_string_lossy();
    let outcome = sample.project.modelseal(&["verify", &archive, "--key", &other]).expect(1);
    outcome.says("none of the trusted keys signed this").claims_no_success();
    sample.project.modelseal(&["verify", &archive, "--key", &other, "--key", &right]).expect(0);
    sample.project.modelseal(&["verify", &archive, "--key", &right, "--key", &right]).expect(0);
}

#[test]
#[ignore = "needs openssl"]
fn verify_exits_2_with_the_reason_for_an_unusable_public_key() {
    let sample = sample();
    let project = &sample.project;
    let at = |name: &str| project.out(&format!("bad-{name}")).to_string_lossy().into_owned();
    let archive = at("archive.tar");
    fs::write(&archive, &sample.bytes).expect("writes");
    let public = |name: &str, arguments: &[&str]| {
        let private = at(&format!("{name}.key"));
        fs::write(&private, openssl(arguments)).expect("writes");
        openssl(&["pkey", "-in", &private, "-pubout", "-out", &at(name)]);
    };
    public("rsa", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    public("brainpool", &["ecparam", "-name", "brainpoolP256r1", "-genkey"]);
    public("koblitz", &["ecparam", "-name", "secp256k1", "-genkey"]);
    public("ed448", &["genpkey", "-algorithm", "ED448"]);
    let private = project.key();
    let certificate = openssl(&["req", "-x509", "-key", &private, "-subj", "/CN=x", "-days", "1"]);
    fs::write(at("certificate"), certificate).expect("writes");
    fs::write(at("garbage"), "Success").expect("writes");
    fs::write(at("binary"), [0xff; 100]).expect("writes");
    fs::write(at("cut"), "-----BEGIN PUBLIC KEY-----\nMFkw").expect("writes");
    let good = fs::read_to_string(project.public_key()).expect("reads");
    fs::write(at("two"), format!("{good}{good}")).expect("writes");
    fs::write(at("damaged"), good.replacen("MFkw", "MFkx", 1)).expect("writes");
    fs::write(at("ssh"), "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ x").expect("writes");
    for (key, expected) in [
        (at("rsa"), "uses RSA; supported are"),
        (at("brainpool"), "uses ECDSA with another curve; supported are"),
        (at("koblitz"), "uses ECDSA secp256k1; supported are"),
        (at("ed448"), "uses Ed448; supported are"),
        (at("certificate"), "is a certificate, but a public key is needed"),
        (private, "is a private key, but a public key is needed"),
        (at("garbage"), "it is not PEM"),
        (at("binary"), "it is not text"),
        (at("cut"), "has no end"),
        (at("two"), "more than one PEM block"),
        (at("damaged"), "cannot be read"),
        (at("ssh"), "it is not PEM"),
        (at("nowhere"), "does not exist"),
        (project.out("").to_string_lossy().into_owned(), "is a directory"),
        ("env://NO_SUCH_VARIABLE".to_string(), "is not set"),
        ("local".to_string(), "does not exist"),
    ] {
        let outcome = project.modelseal(&["verify", &archive, "--key", &key]).expect(2);
        outcome.says(expected).claims_no_success();
        assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
    }
}

#[test]
#[ignore = "needs openssl"]
fn build_exits_2_with_the_reason_for_an_unusable_private_key() {
    let project = Project::new();
    let at = |name: &str| project.out(name).to_string_lossy().into_owned();
    write_private(
        &project.out("rsa"),
        &openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    );
    write_private(
        &project.out("old-rsa"),
        "-----BEGIN RSA PRIVATE KEY-----\nAA==\n-----END RSA PRIVATE KEY-----\n",
    );
    fs::copy(project.key(), project.out("exposed")).expect("copies");
    fs::set_permissions(project.out("exposed"), fs::Permissions::from_mode(0o644)).expect("sets");
    rustix::fs::mkfifoat(rustix::fs::CWD, project.out("fifo"), rustix::fs::Mode::RUSR).expect("makes");
    for (key, expected) in [
        (at("rsa"), "uses RSA"),
        (at("old-rsa"), "is an RSA key"),
        (at("exposed"), "can be read by others (mode 0644)"),
        (at("fifo"), "is a FIFO"),
        (project.public_key(), ""),
        (at("nowhere"), "does not exist"),
    ] {
        project.modelseal(&["build", "--key", &key]).expect(2).says(expected).claims_no_success();
        assert!(!project.at("dist").exists());
    }
    let public = project.public_key();
    fs::set_permissions(&public, fs::Permissions::from_mode(0o600)).expect("sets");
    project.modelseal(&["build", "--key", &public]).expect(2).says("is a public key, but a private key");
}

#[test]
fn build_and_verify_read_keys_from_environment_and_standard_input() {
    let project = Project::new();
    let (private, public) = (include_str!("keys/p256.pem"), include_str!("keys/p256.pub"));
    let archive = project.build();
    let again = |key: &str| project.modelseal(&["build", "--key", key]);
    again("env://KEY").env("KEY", private).expect(0).says("; unchanged)");
    again("-").input(private).expect(0).says("; unchanged)");
    let archive = archive.to_string_lossy();
    let verify = |key: &str| project.modelseal(&["verify", &archive, "--key", key]);
    verify("env://KEY").env("KEY", public).expect(0);
    verify("-").input(public).expect(0);
    verify("-").input("").expect(2);
}

#[test]
fn build_creates_the_local_key_once_and_warns_in_ci() {
    let project = Project::new();
    let first = project.modelseal(&["build"]).expect(0);
    first.says("created your own key: `").says("modelseal verify dist/wine-1.0.0.tar --key local");
    let directory = project.home().join(".config/modelseal");
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o7777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("local.key")), 0o600);
    let second = project.modelseal(&["build"]).expect(0);
    assert!(!second.all().contains("created your own key"));
    project.modelseal(&["verify", "dist/wine-1.0.0.tar", "--key", "local"]).expect(0);
    // A key that is lost with the job deserves a warning. An explicitly named key does not.
    let warning = "CI is set";
    project.modelseal(&["build"]).env("CI", "true").expect(0).says(warning);
    let key = project.key();
    let named = project.modelseal(&["build", "--key", &key, "--force"]).env("CI", "true").expect(0);
    assert!(!named.all().contains(warning));
    let elsewhere = project.out("config");
    project
        .modelseal(&["build", "--force"])
        .env("XDG_CONFIG_HOME", &elsewhere)
        .expect(0)
        .says("created your own key");
    assert!(elsewhere.join("modelseal/local.key").is_file());
}
