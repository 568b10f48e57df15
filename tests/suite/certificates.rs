//! Trust in certificate authorities: which signers they certify, when, and for what purpose.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use modelseal_format::sign::{KeySource, Signer, read_private_key};
use modelseal_verify::trust::read_certificates;

use crate::models::model;
use crate::support::Project;
use crate::support::archive::{bundle, payload};
use crate::support::authority::path;
use crate::support::peers;
use crate::support::run::{Outcome, modelseal};

/// Signs the model with a certificate and the chain to its root, then verifies it.
fn judge(name: &str, chain: &[&str], trusted: &[&str]) -> Outcome {
    let (project, model) = model();
    let signature = sign(&project, &model, name, chain);
    let model = model.to_string_lossy();
    let arguments = [&["verify", &model, "--signature", &signature][..], trusted].concat();
    let json = modelseal(arguments.iter().chain(&["--format", "json"])).run();
    if json.code != Some(2) {
        json.json();
    }
    modelseal(arguments).run()
}

/// Writes what `sign` would write, with any certificates. `sign` itself refuses certificates that no verifier could
/// accept.
fn sign(project: &Project, model: &Path, name: &str, chain: &[&str]) -> String {
    let signature = project.root().join("model.sig").to_string_lossy().into_owned();
    let model = model.to_string_lossy();
    modelseal(["sign", &model, "--key", &path("direct.key"), "--signature", &signature, "--force"]).expect(0);
    let statement = payload(&fs::read(&signature).expect("reads"));
    let key = read_private_key(&KeySource::from(path(&format!("{name}.key")).as_str()), &mut |_| Ok(None));
    let certificates = std::iter::once(name).chain(chain.iter().copied()).map(certificate).collect();
    let signer = Signer::from(key.expect("reads")).with_certificates(certificates);
    fs::write(&signature, bundle(&statement, &signer)).expect("writes");
    signature
}

/// A certificate in DER.
fn certificate(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(path(&format!("{name}.pem"))).expect("reads");
    read_certificates(&text, name).expect("is a certificate").remove(0)
}

#[test]
#[ignore = "needs cryptography"]
fn verify_accepts_a_signer_certified_by_a_trusted_authority() {
    let root = path("root.pem");
    let trusted = ["--certificate-chain", root.as_str()];
    for (name, chain) in [
        ("leaf-p256", &["intermediate"][..]),
        ("leaf-p384", &["intermediate"]),
        ("leaf-p521", &["intermediate"]),
        // As the reference tool does: the root comes last in the chain.
        ("leaf-p256", &["intermediate", "root"]),
        ("direct", &[]),
    ] {
        let outcome = judge(name, chain, &trusted);
        assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.all());
        let subject = format!("`CN={name},O=Acme\\, Inc.`, certified by `CN=root,O=Acme\\, Inc.`");
        outcome.says(&subject);
    }
    // A name of a kind that no caller can specify is also a name.
    let outcome = judge("other-name", &["intermediate"], &trusted);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    outcome.says("`a name of another kind`, certified by");
    let rsa = path("rsa-root.pem");
    assert_eq!(judge("by-rsa", &[], &["--certificate-chain", &rsa]).code, Some(0));
    // The verifier may have certificates that the signer left out.
    let intermediate = path("intermediate.pem");
    let both = [&trusted[..], &["--certificate-chain", &intermediate]].concat();
    assert_eq!(judge("leaf-p256", &[], &both).code, Some(0));
    assert_eq!(judge("leaf-p256", &["intermediate"], &both).code, Some(0));
    for subject in
        ["CN=leaf-p256,O=Acme\\, Inc.", "email:leaf-p256@acme.test", "URI:spiffe://acme.test/leaf-p256"]
    {
        let outcome =
            judge("leaf-p256", &["intermediate"], &[&trusted[..], &["--subject", subject]].concat());
        assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    }
}

#[test]
#[ignore = "needs cryptography"]
fn verify_rejects_invalid_certificates_and_gives_the_reason_in_one_line() {
    let root = path("root.pem");
    let ended_root = path("ended-root.pem");
    let short = path("short-root.pem");
    let trusted = ["--certificate-chain", root.as_str()];
    let of = |subject: &'static str| [&trusted[..], &["--subject", subject]].concat();
    for (name, chain, trusted, reason) in [
        ("ended", &["intermediate"][..], trusted.to_vec(), "or one above it, expired at 2"),
        ("not-yet", &["intermediate"], trusted.to_vec(), "or one above it, is not valid before 2"),
        ("by-stranger", &["stranger"], trusted.to_vec(), "does not end in a trusted root"),
        ("by-stranger", &[], trusted.to_vec(), "does not end in a trusted root"),
        ("leaf-p256", &[], trusted.to_vec(), "does not end in a trusted root"),
        (
            "by-ended-root",
            &[],
            vec!["--certificate-chain", &ended_root],
            "does not end in a root that is valid",
        ),
        ("by-ended-intermediate", &["ended-intermediate"], trusted.to_vec(), "or one above it, expired at 2"),
        (
            "by-no-authority",
            &["leaf-p256", "intermediate"],
            trusted.to_vec(),
            "is not the certificate of an authority",
        ),
        ("web-server", &["intermediate"], trusted.to_vec(), "is not for signing code"),
        ("nobody", &["intermediate"], trusted.to_vec(), "neither a subject nor an alternative name"),
        ("no-purpose", &["intermediate"], trusted.to_vec(), "is not for signing code"),
        ("not-for-signing", &["intermediate"], trusted.to_vec(), "is not for signing"),
        ("an-authority", &["intermediate"], trusted.to_vec(), "is an authority, which may sign only"),
        ("leaf-p256", &["root", "intermediate"], trusted.to_vec(), "its certificates are not in order"),
        ("leaf-p256", &["intermediate", "stranger"], trusted.to_vec(), "its certificates are not in order"),
        ("direct", &["intermediate"], trusted.to_vec(), "its certificates are not in order"),
        ("by-no-cert-sign", &["no-cert-sign"], trusted.to_vec(), "may not issue certificates"),
        (
            "too-deep",
            &["below-short-root"],
            vec!["--certificate-chain", &short],
            "longer than one of its authorities",
        ),
        ("odd", &["intermediate"], trusted.to_vec(), "critical"),
        ("bad-usage", &["intermediate"], trusted.to_vec(), "extensions is unreadable"),
        ("mail-in-name", &["limited"], trusted.to_vec(), "its subject has an email address"),
        ("leaf-p256", &["intermediate"], of("CN=leaf-p384,O=Acme\\, Inc."), "not by `CN=leaf-p384"),
        ("leaf-p256", &["intermediate"], of("CN=leaf-p256"), "not by `CN=leaf-p256`"),
        ("leaf-p256", &["intermediate"], of("leaf-p256@acme.test"), "not by `leaf-p256@acme.test`"),
        ("leaf-p256", &["intermediate"], of("email:leaf-p384@acme.test"), "not by `email:leaf-p384"),
        ("leaf-p256", &["intermediate"], of("DNS:leaf-p256@acme.test"), "not by `DNS:leaf-p256"),
    ] {
        let outcome = judge(name, chain, &trusted);
        assert_eq!(outcome.code, Some(1), "{name}: {}", outcome.all());
        outcome.says("signature        fail").says(reason).claims_no_success();
        let lines = outcome.stdout.lines().filter(|line| line.contains("signature        fail"));
        assert_eq!(lines.count(), 1);
    }
}

/// Trust in a key does not apply to a certificate, and trust in a certificate does not apply to a key.
#[test]
#[ignore = "needs cryptography"]
fn verify_does_not_apply_trust_in_a_key_to_a_certificate_or_vice_versa() {
    let public = path("leaf-p256.pub");
    let outcome = judge("leaf-p256", &["intermediate"], &["--key", &public]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("it was signed with a certificate, but no authority is trusted").claims_no_success();
    let (project, model) = model();
    let model = model.to_string_lossy();
    modelseal(["sign", &model, "--key", &project.key()]).expect(0);
    let signature = format!("{model}/model.sig");
    modelseal(["verify", &model, "--signature", &signature, "--certificate-chain", &path("root.pem")])
        .expect(1)
        .says("it was signed with a key, but no key is trusted")
        .claims_no_success();
    // Any one of the trusted signers is enough.
    modelseal(["verify", &model, "--signature", &signature]).expect(2).says("no trusted signer was named");
    let (root, key) = (path("root.pem"), project.public_key());
    modelseal(["verify", &model, "--signature", &signature, "--certificate-chain", &root, "--key", &key])
        .expect(0);
}

#[test]
#[ignore = "needs cryptography"]
fn verify_accepts_an_expired_certificate_only_at_a_time_given_by_the_caller() {
    let root = path("root.pem");
    let ten_days_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(240);
    let then = jiff::Timestamp::from_second(ten_days_ago.as_second()).expect("a time").to_string();
    let trusted = ["--certificate-chain", &root, "--insecure-at", &then];
    let outcome = judge("ended", &["intermediate"], &trusted);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    outcome.says(&format!("its certificate checked as of {then}"));
    let outcome = judge("not-yet", &["intermediate"], &trusted);
    assert_eq!(outcome.code, Some(1));
    outcome.says("is not valid before").claims_no_success();
    let outcome = judge("ended", &["intermediate"], &["--certificate-chain", &root, "--insecure-at", "2020"]);
    assert_eq!(outcome.code, Some(2));
    outcome.says("expected a time with a time zone");
}

#[test]
#[ignore = "needs cryptography"]
fn verify_exits_with_2_for_a_chain_file_without_a_usable_root() {
    let (project, _) = model();
    let junk = project.root().join("junk.pem").to_string_lossy().into_owned();
    let pem = fs::read_to_string(path("root.pem")).expect("reads");
    let key = fs::read_to_string(path("leaf-p256.key")).expect("reads");
    for (text, reason) in [
        (String::new(), "it contains no certificate"),
        (key.clone(), "it contains a private key"),
        (format!("{pem}{key}"), "it contains a private key"),
        (pem.replace("MII", "MIX"), "it is not"),
        (fs::read_to_string(path("leaf-p256.pub")).expect("reads"), "it contains no certificate"),
        (fs::read_to_string(path("odd-root.pem")).expect("reads"), "an unknown critical extension"),
        (fs::read_to_string(path("not-self-signed.pem")).expect("reads"), "there is no root among these"),
        (fs::read_to_string(path("intermediate.pem")).expect("reads"), "there is no root among these"),
        (fs::read_to_string(path("leaf-p256.pem")).expect("reads"), "there is no root among these"),
    ] {
        fs::write(&junk, text).expect("writes");
        let outcome = judge("leaf-p256", &["intermediate"], &["--certificate-chain", &junk]);
        assert_eq!(outcome.code, Some(2), "{}", outcome.all());
        outcome.says(reason).claims_no_success();
    }
    let outcome = judge("leaf-p256", &["intermediate"], &["--certificate-chain", "/nowhere.pem"]);
    assert_eq!(outcome.code, Some(2));
}

/// A certificate that no verifier could accept is refused before anything else is done.
#[test]
#[ignore = "needs cryptography"]
fn sign_refuses_a_certificate_that_verify_could_not_accept() {
    let (project, model) = model();
    let model = model.to_string_lossy();
    let sign = |key: &str, leaf: &str, chain: &[&str]| {
        let (key, leaf) = (path(key), path(leaf));
        let mut arguments = vec!["sign", &model, "--key", &key, "--certificate", &leaf];
        let chain: Vec<String> = chain.iter().map(|name| path(name)).collect();
        chain.iter().for_each(|path| arguments.extend(["--certificate-chain", path]));
        modelseal(arguments).run()
    };
    for (key, leaf, chain, reason) in [
        ("leaf-p256.key", "leaf-p384.pem", &[][..], "it does not belong to the key `leaf-p256`"),
        ("leaf-p256.key", "leaf-p256.key", &[], "private key"),
        ("rsa-leaf.key", "rsa-leaf.pem", &[], "uses RSA; supported are"),
        ("web-server.key", "web-server.pem", &[], "is not for signing code"),
        ("an-authority.key", "an-authority.pem", &[], "is an authority"),
        ("ended.key", "ended.pem", &[], "is valid only from 2"),
        ("leaf-p256.key", "leaf-p256.pem", &["root.pem", "intermediate.pem"], "was not issued by"),
        ("by-impostor.key", "by-impostor.pem", &["root.pem"], "was not issued by"),
        ("nobody.key", "nobody.pem", &[], "neither a subject nor an alternative name"),
        (
            "too-deep.key",
            "too-deep.pem",
            &["below-short-root.pem", "short-root.pem"],
            "longer than one of its",
        ),
        ("leaf-p256.key", "leaf-p256.pem", &["leaf-p384.pem"], "is not the certificate of an authority"),
    ] {
        let outcome = sign(key, leaf, chain);
        assert_eq!(outcome.code, Some(2), "{leaf}: {}", outcome.all());
        outcome.says(reason).claims_no_success();
    }
    assert!(!Path::new(&*model).join("model.sig").exists());
    assert_eq!(sign("leaf-p256.key", "leaf-p256.pem", &["intermediate.pem", "root.pem"]).code, Some(0));
    // The key is not in a file next to its public key, so the mismatch is found only when the key is opened.
    let key = fs::read_to_string(path("leaf-p256.key")).expect("reads");
    let (leaf, output) = (path("leaf-p384.pem"), project.root().join("x.sig").to_string_lossy().into_owned());
    modelseal(["sign", &model, "--key", "env://KEY", "--certificate", &leaf, "--signature", &output])
        .env("KEY", key)
        .expect(2)
        .says("the certificate is not for the key");
    modelseal(["sign", &model, "--key", &path("leaf-p256.pub")])
        .expect(2)
        .says("a public key, but a private");
    modelseal(["sign", &model, "--key", &leaf]).expect(2).says("a certificate, but a private");
}

/// Releases can be signed with certificates as well as keys. This includes their `model.sig`.
#[test]
#[ignore = "needs cryptography"]
fn build_and_verify_accept_a_certificate_instead_of_a_key() {
    let project = Project::new();
    let archive = project.out("wine.tar").to_string_lossy().into_owned();
    let (key, leaf) = (path("leaf-p384.key"), path("leaf-p384.pem"));
    let (intermediate, root) = (path("intermediate.pem"), path("root.pem"));
    let signing = [
        "--key",
        &key,
        "--certificate",
        &leaf,
        "--certificate-chain",
        &intermediate,
        "--certificate-chain",
        &root,
    ];
    project
        .modelseal(&[&["build", "-o", &archive][..], &signing].concat())
        .expect(0)
        .says("--certificate-chain ROOT.pem --subject 'CN=leaf-p384,O=Acme\\, Inc.'");
    let bytes = fs::read(&archive).expect("reads");
    for compression in ["none", "gzip"] {
        let again = project.out(compression).to_string_lossy().into_owned();
        project
            .modelseal(&[&["build", "-o", &again, "--compression", compression][..], &signing].concat())
            .expect(0);
        let outcome = project
            .modelseal(&["verify", &again, "--certificate-chain", &root, "--format", "json"])
            .expect(0);
        let signer = &outcome.json()["signers"][0];
        assert_eq!(signer["subject"], "CN=leaf-p384,O=Acme\\, Inc.");
        if compression == "none" {
            assert_eq!(fs::read(&again).expect("reads"), bytes, "reproducible");
        }
    }
    project.modelseal(&["show", &archive, "--format", "json"]).expect(0).json();
    // A policy generated from the release identifies the signer by the same certificate.
    let gate = project.out("gate.toml").to_string_lossy().into_owned();
    let init = ["policy", "init", &archive, "-o", &gate, "--certificate-chain"];
    project.modelseal(&[&init[..], &[&root]].concat()).expect(0);
    let text = fs::read_to_string(&gate).expect("reads");
    assert!(text.contains("subject = \"CN=leaf-p384,O=Acme\\\\, Inc.\"\n"), "{text}");
    project.modelseal(&["policy", "check", &gate]).expect(0).says("builder: `CN=leaf-p384");
    let public = path("leaf-p384.pub");
    project
        .modelseal(&[&init[..], &[&root, "--key", &public]].concat())
        .expect(2)
        .says("name exactly one signer");
    let directory = project.out("model").to_string_lossy().into_owned();
    project.modelseal(&["unpack", &archive, "-o", &directory, "--certificate-chain", &root]).expect(0);
    project.modelseal(&["verify", &directory, "--certificate-chain", &root]).expect(0).says("OMS, same key");
    // Anyone can verify the model signature alone.
    let signature = format!("{directory}/model.sig");
    project
        .modelseal(&["verify", &directory, "--signature", &signature, "--certificate-chain", &root])
        .expect(0)
        .says("match the model signature");
    project
        .modelseal(&["verify", &archive, "--certificate-chain", &path("stranger.pem")])
        .expect(1)
        .says("does not end in a trusted root")
        .claims_no_success();
    // No byte of the certificates can change without failing a check.
    for index in (0..bytes.len()).step_by(29) {
        let mut changed = bytes.clone();
        changed[index] ^= 1 << (index % 8);
        let path = project.out("changed.tar");
        fs::write(&path, changed).expect("writes");
        let path = path.to_string_lossy().into_owned();
        let outcome = project.modelseal(&["verify", &path, "--certificate-chain", &root]).run();
        assert_eq!(outcome.code, Some(1), "byte {index}: {}", outcome.all());
        outcome.claims_no_success();
    }
}

/// A signed time counts instead of the current time if the caller trusts the timestamp authority. `openssl ts` makes
/// the timestamps, on a past date set by `faketime`.
#[test]
#[ignore = "needs openssl"]
fn verify_judges_a_certificate_at_the_time_in_a_trusted_timestamp() {
    peers::program("openssl");
    peers::program("faketime");
    let (project, model) = model();
    let directory = model.to_string_lossy().into_owned();
    let place = project.root().to_path_buf();
    let run = |script: &str| {
        let output =
            Command::new("sh").args(["-e", "-c", script]).current_dir(&place).output().expect("runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    };
    fs::write(place.join("ts.cnf"), "[t]\ndefault_policy = 1.2.3.4\ndigests = sha256\nserial = serial\nsigner_digest = sha256\n[x]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = critical,timeStamping\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n").expect("writes");
    run("echo 01 > serial; openssl ecparam -name prime256v1 -genkey -noout -out root.key; \
         faketime -f '-400d' openssl req -x509 -new -key root.key -subj '/CN=time root' -days 4000 -out root.pem \
           -addext 'keyUsage=critical,keyCertSign' 2>&1; \
         openssl ecparam -name prime256v1 -genkey -noout -out tsa.key; \
         openssl req -new -key tsa.key -subj '/CN=time' -out tsa.csr 2>&1; \
         faketime -f '-300d' openssl x509 -req -in tsa.csr -CA root.pem -CAkey root.key -CAcreateserial -days 3000 \
           -extfile ts.cnf -extensions x -out tsa.pem 2>&1");
    let der = |name: &str| {
        let text = fs::read_to_string(place.join(name)).expect("reads");
        let lines = text.lines().filter(|line| !line.starts_with("-----"));
        lines.collect::<String>()
    };
    let trusted = |root: &str| {
        serde_json::json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [], "certificateAuthorities": [], "ctlogs": [],
            "timestampAuthorities": [{
                "subject": {"organization": "acme", "commonName": "time"}, "uri": "https://time.test",
                "certChain": {"certificates": [{"rawBytes": der("tsa.pem")}, {"rawBytes": root}]},
                "validFor": {"start": "2020-01-01T00:00:00Z"}
            }]
        })
    };
    let root = place.join("trusted.json").to_string_lossy().into_owned();
    fs::write(&root, trusted(&der("root.pem")).to_string()).expect("writes");
    let signature = sign(&project, &model, "ended", &["intermediate"]);
    let bundle: serde_json::Value =
        serde_json::from_slice(&fs::read(&signature).expect("reads")).expect("is JSON");
    let signed = STANDARD
        .decode(bundle["dsseEnvelope"]["signatures"][0]["sig"].as_str().expect("a text"))
        .expect("is base64");
    fs::write(place.join("signed"), &signed).expect("writes");
    let stamp = |days: &str, what: &str| {
        run(&format!(
            "openssl ts -query -data {what} -sha256 -cert -out query 2>&1; \
             faketime -f '{days}' openssl ts -reply -config ts.cnf -section t -queryfile query -signer tsa.pem -inkey tsa.key -out reply 2>&1"
        ));
        let mut stamped = bundle.clone();
        let token = STANDARD.encode(fs::read(place.join("reply")).expect("reads"));
        stamped["verificationMaterial"]["timestampVerificationData"] =
            serde_json::json!({"rfc3161Timestamps": [{"signedTimestamp": token}]});
        fs::write(&signature, stamped.to_string()).expect("writes");
    };
    let authority = path("root.pem");
    let verify = |more: &[&str], code| {
        let arguments = ["verify", &directory, "--signature", &signature, "--certificate-chain", &authority];
        modelseal([&arguments[..], more].concat()).expect(code)
    };
    let believing = ["--trusted-root", root.as_str()];
    stamp("-50d", "signed");
    verify(&believing, 0).says(", signed at 2");
    verify(&[], 1).says("or one above it, expired at 2").claims_no_success();
    stamp("-0d", "signed");
    verify(&believing, 1).says("or one above it, expired at 2").claims_no_success();
    stamp("-200d", "signed");
    verify(&believing, 1).says("or one above it, is not valid before 2").claims_no_success();
    // A timestamp of another signature, and one from an untrusted authority.
    stamp("-50d", "root.pem");
    verify(&believing, 1).says("its timestamp is not accepted").claims_no_success();
    stamp("-50d", "signed");
    let stranger = fs::read_to_string(path("stranger.pem")).expect("reads");
    let stranger: String = stranger.lines().filter(|line| !line.starts_with("-----")).collect();
    fs::write(&root, trusted(&stranger).to_string()).expect("writes");
    verify(&believing, 1).says("its timestamp is not accepted").claims_no_success();
    let nobody = ["--trusted-root", &path("root.pem")];
    verify(&nobody, 2).says("the trusted root");
}
