//! Identities certified by Sigstore, without a network. The tests use the public-good instance as it was when this was
//! built, and an instance of their own, run by the client of sigstore-js.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use modelseal_format::sign::{Bundle, read_foreign};
use modelseal_verify::trust::{Accepted, IdentityTrust, Pattern, Refusal, Trust, TrustedSigner, Who, accept};
use serde_json::Value;

use crate::models::model;
use crate::support::Project;
use crate::support::peers;
use crate::support::run::{Outcome, modelseal};

const IDENTITY: &str = "https://github.com/acme/wine/.github/workflows/build.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// Signs the manifests as an identity. Returns the directory with the bundles and the trusted root.
fn keyless(statements: &[&Path]) -> tempfile::TempDir {
    let output = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("node");
    command.current_dir(peers::sigstore()).arg("keyless.mjs").arg(output.path()).args([IDENTITY, ISSUER]);
    command.args(statements);
    let run = command.output().expect("runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    output
}

/// A release that an identity signed, and the trusted root for that identity.
struct Stage {
    project: Project,
    archive: String,
    bundle: PathBuf,
    root: String,
    /// Contains a second manifest that was also signed and logged.
    signed: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let project = Project::new();
        let statement = project.root().join("wine.json");
        let shown = statement.to_string_lossy().into_owned();
        project.modelseal(&["build", "--statement", &shown, "--no-model-signature"]).expect(0);
        let text = fs::read_to_string(&statement).expect("reads").replace("\"wine\"", "\"beer\"");
        let other = project.root().join("other.json");
        fs::write(&other, text).expect("writes");
        let signed = keyless(&[&statement, &other]);
        let bundle = signed.path().join("wine.sigstore.json");
        let root = signed.path().join("trusted_root.json").to_string_lossy().into_owned();
        let archive = project.out("wine.tar").to_string_lossy().into_owned();
        let stage = Self { project, archive, bundle, root, signed };
        stage.pack(&stage.bundle).says("signer   external");
        stage
    }

    fn statement(&self) -> String {
        self.project.root().join("wine.json").to_string_lossy().into_owned()
    }

    fn pack(&self, bundle: &Path) -> Outcome {
        let (statement, bundle) = (self.statement(), bundle.to_string_lossy().into_owned());
        let arguments =
            ["build", "--from-statement", &statement, "--bundle", &bundle, "-o", &self.archive, "--force"];
        self.project.modelseal(&arguments).run()
    }

    fn verify(&self, trusting: &[&str]) -> Outcome {
        let arguments = [&["verify", &self.archive, "--trusted-root", &self.root][..], trusting].concat();
        let json = self.project.modelseal(&[&arguments[..], &["--format", "json"]].concat()).run();
        if json.code != Some(2) {
            json.json();
        }
        self.project.modelseal(&arguments).run()
    }
}

fn trusting<'a>(identity: &'a str, issuer: &'a str) -> [&'a str; 4] {
    ["--identity", identity, "--issuer", issuer]
}

#[test]
#[ignore = "needs sigstore-js"]
fn identity_signature_is_packed_and_accepted_by_each_subcommand() {
    let stage = Stage::new();
    let outcome = stage.verify(&trusting(IDENTITY, ISSUER));
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    outcome.says(&format!("`{IDENTITY}` (issuer `{ISSUER}`), signed at 2"));
    let regexp = ["--identity-regexp", "https://github\\.com/acme/.*", "--issuer", ISSUER];
    assert_eq!(stage.verify(&regexp).code, Some(0));
    let json = stage.project.modelseal(&[
        "verify",
        &stage.archive,
        "--trusted-root",
        &stage.root,
        "--identity",
        IDENTITY,
        "--issuer",
        ISSUER,
        "--format",
        "json",
    ]);
    let signer = json.expect(0).json()["signers"][0].clone();
    assert_eq!((signer["identity"].as_str(), signer["issuer"].as_str()), (Some(IDENTITY), Some(ISSUER)));
    let directory = stage.project.out("model").to_string_lossy().into_owned();
    let unpack = ["unpack", &stage.archive, "-o", &directory, "--trusted-root", &stage.root];
    stage.project.modelseal(&[&unpack[..], &trusting(IDENTITY, ISSUER)].concat()).expect(0);
    let verify = ["verify", &directory, "--trusted-root", &stage.root];
    stage.project.modelseal(&[&verify[..], &trusting(IDENTITY, ISSUER)].concat()).expect(0);
    stage.project.modelseal(&["show", &stage.archive, "--format", "json"]).expect(0).json();
    let gate = stage.project.root().join("init.toml").to_string_lossy().into_owned();
    let init = ["policy", "init", &stage.archive, "-o", &gate, "--trusted-root", &stage.root];
    stage.project.modelseal(&[&init[..], &trusting(IDENTITY, ISSUER)].concat()).expect(0);
    stage.project.modelseal(&["policy", "check", &gate]).expect(0).says(&format!("builder: `{IDENTITY}`"));
    // The policy can express it too. The time of signing comes from the log and is not the current time.
    let policy = stage.project.root().join("gate.toml");
    let signer = |more: &str| {
        let root = &stage.root;
        let text = format!(
            "model = \"wine\"\n[[signer]]\nname = \"ci\"\nidentity = {IDENTITY:?}\nissuer = {ISSUER:?}\ntrusted_root = {root:?}\n{more}"
        );
        fs::write(&policy, text).expect("writes");
        stage.project.modelseal(&["verify", &stage.archive, "--policy", &policy.to_string_lossy()]).run()
    };
    assert_eq!(signer("").code, Some(0));
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let soon = jiff::Timestamp::from_second(soon.as_second()).expect("a time");
    assert_eq!(signer(&format!("not_before = {soon}\n")).says("it is not valid before").code, Some(1));
    assert_eq!(signer("not_after = 2020-01-01T00:00:00Z\n").says("it is not valid after").code, Some(1));
    // The signer's period ended after the signature was made and before now.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let just_now = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1);
    let just_now = jiff::Timestamp::from_second(just_now.as_second()).expect("a time");
    assert_eq!(signer(&format!("not_after = {just_now}\n")).code, Some(0));
}

#[test]
#[ignore = "needs sigstore-js"]
fn verify_refuses_another_identity_or_issuer_or_trusted_root() {
    let stage = Stage::new();
    for (trusting, code, reason) in [
        (
            &trusting("https://github.com/acme/wine", ISSUER)[..],
            1,
            "it was signed by `https://github.com/acme/wine/.github",
        ),
        (&trusting(IDENTITY, "https://accounts.google.com"), 1, "is `https://token.actions"),
        (&["--identity-regexp", "acme", "--issuer", ISSUER], 1, "not by an identity that matches `acme`"),
        (
            &["--identity-regexp", "https://github.com/acme/wine", "--issuer", ISSUER],
            1,
            "not by an identity that matches",
        ),
        (&["--identity-regexp", "a)|(.+", "--issuer", ISSUER], 2, "is not a regular expression"),
        (&["--identity-regexp", "", "--issuer", ISSUER], 2, "matches the empty string"),
        (&["--identity", "", "--issuer", ISSUER], 2, "it is empty"),
        (&["--issuer", ISSUER], 2, "an issuer alone is not enough"),
        (&["--identity", IDENTITY], 2, "--issuer"),
    ] {
        let outcome = stage.verify(trusting);
        assert_eq!(outcome.code, Some(code), "{trusting:?}: {}", outcome.all());
        outcome.says(reason).claims_no_success();
    }
    // The public-good instance does not know this signature, and a key does not apply to it.
    for (arguments, reason) in [
        (trusting(IDENTITY, ISSUER).to_vec(), "log"),
        (
            vec!["--key", &stage.project.public_key()],
            "like a signature by an identity, but no identity is trusted",
        ),
    ] {
        let outcome = stage.project.modelseal(&[&["verify", &stage.archive][..], &arguments].concat()).run();
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        outcome.says("signature        fail").says(reason).claims_no_success();
    }
    fs::write(stage.project.root().join("root.json"), "{}").expect("writes");
    for root in [
        "/nowhere.json",
        &stage.project.root().join("root.json").to_string_lossy(),
        &stage.project.public_key(),
    ] {
        let arguments =
            [&["verify", &stage.archive, "--trusted-root", root][..], &trusting(IDENTITY, ISSUER)].concat();
        let outcome = stage.project.modelseal(&arguments).run();
        assert!(matches!(outcome.code, Some(1 | 2)), "{}", outcome.all());
        outcome.claims_no_success();
    }
}

/// Every piece of evidence is checked. Removed, changed and foreign evidence is noticed.
#[test]
#[ignore = "needs sigstore-js"]
fn verify_refuses_missing_changed_or_foreign_signing_evidence() {
    let stage = Stage::new();
    let good: Value = serde_json::from_slice(&fs::read(&stage.bundle).expect("reads")).expect("is JSON");
    let other = fs::read(stage.signed.path().join("other.sigstore.json")).expect("reads");
    let other: Value = serde_json::from_slice(&other).expect("is JSON");
    let directory = stage.project.out("model").to_string_lossy().into_owned();
    let unpack = ["unpack", &stage.archive, "-o", &directory, "--trusted-root", &stage.root];
    stage.project.modelseal(&[&unpack[..], &trusting(IDENTITY, ISSUER)].concat()).expect(0);
    let seal = Path::new(&directory).join(".modelseal/manifest.sigstore.json");
    let verify = |bundle: &Value, code| {
        fs::write(&seal, bundle.to_string()).expect("writes");
        let arguments = ["verify", &directory, "--trusted-root", &stage.root];
        stage.project.modelseal(&[&arguments[..], &trusting(IDENTITY, ISSUER)].concat()).expect(code)
    };
    verify(&good, 0);
    type Change = fn(&mut Value, &Value);
    let changes: [(&str, &str, Change); 8] = [
        ("another log entry", "log entry does not match the bundle", |bundle, other| {
            bundle["verificationMaterial"]["tlogEntries"] =
                other["verificationMaterial"]["tlogEntries"].clone();
        }),
        ("another certificate", "does not match", |bundle, other| {
            bundle["verificationMaterial"]["certificate"] =
                other["verificationMaterial"]["certificate"].clone();
        }),
        ("another signature", "its content was changed after signing", |bundle, other| {
            bundle["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"].clone();
        }),
        ("no promise", "no trusted time", |bundle, _| {
            let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
            entry.as_object_mut().expect("an entry").remove("inclusionPromise");
        }),
        ("no proof", "inclusion proof", |bundle, _| {
            let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
            entry.as_object_mut().expect("an entry").remove("inclusionProof");
        }),
        ("another time", "log key", |bundle, _| {
            let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
            entry["integratedTime"] = "1700000000".into();
        }),
        ("another body", "inclusion promise", |bundle, other| {
            bundle["verificationMaterial"]["tlogEntries"][0]["canonicalizedBody"] =
                other["verificationMaterial"]["tlogEntries"][0]["canonicalizedBody"].clone();
        }),
        ("no entries", "not in modelseal's canonical form", |bundle, _| {
            bundle["verificationMaterial"]["tlogEntries"] = Value::Array(Vec::new())
        }),
    ];
    for (what, reason, change) in changes {
        let mut changed = good.clone();
        change(&mut changed, &other);
        assert_ne!(changed, good, "{what}");
        verify(&changed, 1).says("  fail  ").says(reason).claims_no_success();
    }
}

#[test]
#[ignore = "needs sigstore-js"]
fn build_packs_only_a_valid_bundle_of_the_same_statement() {
    let stage = Stage::new();
    fs::remove_file(&stage.archive).expect("removes");
    let good = fs::read_to_string(&stage.bundle).expect("reads");
    let bad = stage.project.root().join("bad.json");
    let refused = |text: &str, reason: &str| {
        fs::write(&bad, text).expect("writes");
        let outcome = stage.pack(&bad);
        assert!(matches!(outcome.code, Some(1 | 2)), "{}", outcome.all());
        outcome.says(reason).claims_no_success();
        assert!(!Path::new(&stage.archive).exists());
    };
    let document: Value = serde_json::from_str(&good).expect("is JSON");
    let mut changed = document.clone();
    changed["dsseEnvelope"]["payload"] = "e30=".into();
    refused(&changed.to_string(), "it signs something other than the unsigned manifest");
    let mut changed = document.clone();
    changed["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA".into();
    refused(&changed.to_string(), "cannot pack the bundle");
    refused("{}", "cannot pack the bundle");
    refused("", "cannot pack the bundle");
    let mut by_key = document.clone();
    by_key["verificationMaterial"] = serde_json::json!({"publicKey": {"hint": "x"}, "tlogEntries": []});
    refused(&by_key.to_string(), "hint: give that key with `--key PUB`");
    // A chain that no verifier could ever accept.
    let der = |name: &str| {
        let text = fs::read_to_string(crate::support::authority::path(name)).expect("reads");
        text.lines().filter(|line| !line.starts_with("-----")).collect::<String>()
    };
    let chain = |names: &[&str]| {
        let certificates: Vec<Value> =
            names.iter().map(|name| serde_json::json!({"rawBytes": der(name)})).collect();
        let mut changed = document.clone();
        changed["verificationMaterial"] =
            serde_json::json!({"x509CertificateChain": {"certificates": certificates}});
        changed.to_string()
    };
    refused(&chain(&["web-server.pem"]), "not for signing code");
    refused(&chain(&["leaf-p256.pem", "root.pem"]), "was not issued by");
    refused(&chain(&["leaf-p256.pem"; 20]), "too many certificates");
    // A manifest that promises a signature that cannot be made.
    let statement = stage.statement();
    stage.project.modelseal(&["build", "--statement", &statement]).expect(0);
    refused(&good, "it promises a `model.sig`");
}

/// A bundle that was made with a key elsewhere is packed like a bundle of modelseal.
#[test]
fn build_packs_a_bundle_made_with_a_key_in_canonical_form() {
    let project = Project::new();
    let statement = project.root().join("wine.json").to_string_lossy().into_owned();
    project.modelseal(&["build", "--statement", &statement, "--no-model-signature"]).expect(0);
    let (key, public) = (project.key(), project.public_key());
    let signer: modelseal_format::sign::Signer = modelseal_format::sign::read_private_key(
        &modelseal_format::sign::KeySource::from(key.as_str()),
        &mut |_| Ok(None),
    )
    .expect("reads")
    .into();
    let ours = crate::support::archive::bundle(&fs::read(&statement).expect("reads"), &signer);
    let mut document: Value = serde_json::from_slice(&ours).expect("is JSON");
    document["verificationMaterial"]["publicKey"]["hint"] = "another tool's".into();
    let bundle = project.root().join("bundle.json").to_string_lossy().into_owned();
    fs::write(&bundle, serde_json::to_string_pretty(&document).expect("is JSON")).expect("writes");
    let pack = |key: &str, code| {
        let arguments = [
            "build",
            "--from-statement",
            &statement,
            "--bundle",
            &bundle,
            "--key",
            key,
            "-o",
            "../packed.tar",
        ];
        project.modelseal(&arguments).expect(code)
    };
    let (_, other) = project.other_key("other");
    pack(&other, 1).says("cannot pack the bundle").claims_no_success();
    pack(&public, 0);
    // The canonical form cannot be turned into another one by adding entries that are not checked.
    let unpacked = project.out("model").to_string_lossy().into_owned();
    let packed = project.root().join("packed.tar").to_string_lossy().into_owned();
    project.modelseal(&["unpack", &packed, "-o", &unpacked, "--key", &public]).expect(0);
    let mut other: Value = serde_json::from_slice(&ours).expect("is JSON");
    for entries in [serde_json::json!([{"logIndex": "1"}]), serde_json::json!([1])] {
        other["verificationMaterial"]["tlogEntries"] = entries;
        fs::write(Path::new(&unpacked).join(".modelseal/manifest.sigstore.json"), other.to_string())
            .expect("writes");
        project
            .modelseal(&["verify", &unpacked, "--key", &public])
            .expect(1)
            .says("it is not in modelseal's canonical form");
    }
    let packed = fs::read(project.root().join("packed.tar")).expect("reads");
    assert!(packed.windows(ours.len()).any(|window| window == ours), "canonical");
    let archive = project.root().join("packed.tar").to_string_lossy().into_owned();
    project.modelseal(&["verify", &archive, "--key", &public]).expect(0);
}

/// Model signatures by identities, as the reference tool makes them by default.
#[test]
#[ignore = "needs sigstore-js"]
fn model_verify_accepts_an_identity_signature_and_reports_a_changed_file() {
    let (project, model) = model();
    let directory = model.to_string_lossy();
    modelseal(["sign", &directory, "--key", &project.key()]).expect(0);
    let statement = project.root().join("model.json");
    let signature = fs::read(model.join("model.sig")).expect("reads");
    fs::write(&statement, crate::support::archive::payload(&signature)).expect("writes");
    let signed = keyless(&[&statement]);
    let signature = signed.path().join("model.sigstore.json").to_string_lossy().into_owned();
    let root = signed.path().join("trusted_root.json").to_string_lossy().into_owned();
    let arguments = ["verify", &directory, "--signature", &signature, "--trusted-root", &root];
    let verify = |code| modelseal([&arguments[..], &trusting(IDENTITY, ISSUER)].concat()).expect(code);
    verify(0).says("match the model signature signed by https://github.com/acme");
    fs::write(model.join("sub-x"), "y").expect("writes");
    verify(1).says("`sub-x` differs from the signed file").claims_no_success();
}

fn vector_text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/sigstore").join(name);
    fs::read_to_string(path).expect("reads")
}

fn vector(name: &str) -> Bundle {
    read_foreign(vector_text(name).as_bytes()).expect("is a bundle")
}

/// Real signatures: one made with the public-good instance, and one from a version 2 log.
fn accept_now<'a>(signers: &'a [TrustedSigner], bundle: &Bundle) -> Result<Accepted<'a>, Refusal> {
    accept(signers, bundle, &|key| bundle.verify(key), jiff::Timestamp::now())
}

#[test]
fn public_sigstore_bundles_verify_only_for_their_identity_and_issuer() {
    let now = jiff::Timestamp::now();
    for (name, identity, issuer) in [
        (
            "conda-attestation.sigstore.json",
            "https://github.com/prefix-dev/sigstore-example/.github/workflows/action.yaml@refs/heads/main",
            ISSUER,
        ),
        ("conda-attestation-rekor2.sigstore.json", "jku@goto.fi", "https://github.com/login/oauth"),
    ] {
        // The second bundle was made with the staging instance. Its log provides no time, so the time comes from a
        // timestamp authority.
        let staging = vector_text("trusted_root_staging.json");
        let root = name.contains("rekor2").then_some((staging.as_str(), "staging"));
        let trusting = |identity: &str, issuer: &str| {
            let pattern = Pattern::exact(identity).expect("an identity");
            let trust = IdentityTrust::new(pattern, issuer, root).expect("a root");
            [TrustedSigner::new("ci", Trust::Identity(Box::new(trust)))]
        };
        let bundle = vector(name);
        let signers = trusting(identity, issuer);
        let accepted = accept_now(&signers, &bundle).expect("is accepted");
        assert_eq!(accepted.who, Some(Who::Identity { identity: identity.into(), issuer: issuer.into() }));
        assert!(accepted.time.is_some_and(|time| time < now));
        assert!(accept_now(&trusting("somebody", issuer), &bundle).is_err());
        assert!(accept_now(&trusting(identity, "https://accounts.google.com"), &bundle).is_err());
        let mut changed = bundle.clone();
        changed.payload.as_mut().expect("at hand")[10] ^= 1;
        let refusal = accept_now(&signers, &changed).expect_err("is refused");
        assert!(refusal.message.contains("in more than one way"), "{}", refusal.message);
    }
}
