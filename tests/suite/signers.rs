//! The signers that a policy requires: several signers, each with its permissions and validity period, and rollbacks.

use std::fs;
use std::path::PathBuf;

use modelseal_format::digest::Digest;
use modelseal_format::manifest::{Attestation, Claim, Model, Rollback};
use modelseal_format::sign::{KeySource, Signer, read_private_key};

use crate::support::Project;
use crate::support::archive::{checksum, join, split};
use crate::support::authority::path;
use crate::support::run::Outcome;

/// A release, and a policy next to it.
pub struct Stage {
    pub project: Project,
    pub archive: String,
    policy: PathBuf,
}

pub const CI: &str = "[[signer]]\nname = \"ci\"\nkey = \"ci.pub\"\n";

impl Stage {
    pub fn new() -> Self {
        let project = Project::new();
        project.public_key();
        let archive = project.build_with(&["-o", "../wine.tar"]).to_string_lossy().into_owned();
        let policy = project.root().join("gate.toml");
        Self { project, archive, policy }
    }

    pub fn policy(&self, text: &str) -> String {
        fs::write(&self.policy, format!("model = \"wine\"\n{text}")).expect("writes");
        self.policy.to_string_lossy().into_owned()
    }

    fn judge(&self, policy: &str, more: &[&str]) -> Outcome {
        let policy = self.policy(policy);
        let arguments = [&["verify", &self.archive, "--policy", &policy][..], more].concat();
        let json = self.project.modelseal(&[&arguments[..], &["--format", "json"]].concat()).run();
        if json.code != Some(2) {
            json.json();
        }
        self.project.modelseal(&arguments).run()
    }

    fn countersign(&self, signing: &[&str]) -> Outcome {
        self.project.modelseal(&[&["countersign", &self.archive][..], signing].concat()).run()
    }

    fn release(&self) -> Digest {
        let shown = self.project.modelseal(&["show", &self.archive, "--format", "json"]).expect(0).json();
        shown["release"].as_str().expect("a text")["sha256:".len()..].parse().expect("a digest")
    }

    /// Puts an attestation next to the release.
    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = PathBuf::from(format!("{}.{name}.sigstore.json", self.archive));
        fs::write(&path, bytes).expect("writes");
        path
    }
}

pub fn signer(path: &str) -> Signer {
    read_private_key(&KeySource::from(path), &mut |_| Ok(None)).expect("reads").into()
}

pub fn model() -> Model {
    Model { name: "wine".into(), version: "1.0.0".into(), release: None }
}

#[test]
#[ignore = "needs cryptography"]
fn policy_rejects_incomplete_contradictory_or_repeated_signers() {
    let stage = Stage::new();
    let root = path("root.pem");
    // The same key with its point compressed.
    let [key, short] = ["ci.pub", "short.pub"].map(|name| stage.project.root().join(name));
    let ec = ["ec", "-pubin", "-pubout", "-conv_form", "compressed", "-in"];
    let made = std::process::Command::new("openssl").args(ec).arg(&key).arg("-out").arg(&short).status();
    assert!(made.expect("runs").success());
    assert_ne!(fs::read(&key).expect("reads"), fs::read(&short).expect("reads"));
    let signer = "[[signer]]\nname = \"a\"\n";
    let both = format!("{CI}certificate = {root:?}\nsubject = \"CN=x\"\n");
    let subject = format!("SIGNER certificate = {root:?}\n");
    for (policy, reason) in [
        ("SIGNER ", "a signer needs a `key`, a"),
        (&both, "a signer needs exactly one of a key, a certificate and an identity"),
        (&subject, "`certificate` needs a `subject`"),
        ("SIGNER key = \"ci.pub\"\nsubject = \"CN=x\"\n", "`subject` needs a `certificate`"),
        ("SIGNER issuer = \"https://x\"\n", "`issuer` needs an `identity`"),
        ("SIGNER identity = \"x\"\n", "an identity needs an `issuer`"),
        ("SIGNER identity = \"x\"\nkey = \"ci.pub\"\n", "an identity needs an `issuer`"),
        (
            "SIGNER identity = \"x\"\nidentity_regexp = \"x\"\nissuer = \"i\"\n",
            "`identity_regexp` cannot be combined",
        ),
        ("SIGNER identity_regexp = \"(\"\nissuer = \"i\"\n", "is not a regular expression"),
        ("SIGNER identity_regexp = \"a)|(b\"\nissuer = \"i\"\n", "is not a regular expression"),
        ("SIGNER identity_regexp = \".*\"\nissuer = \"i\"\n", "matches the empty string"),
        ("SIGNER key = \"ci.pub\"\ntrusted_root = \"x\"\n", "applies only to an identity"),
        ("SIGNER key = \"ci.pub\"\nrevoked = true\n", "a revoked signer needs a `reason`"),
        ("SIGNER key = \"ci.pub\"\nreason = \"x\"\n", "`reason` is only for a signer"),
        ("signatures = 0\nSIGNER key = \"ci.pub\"\n", "at least one signature is required"),
        ("signatures = -1\nSIGNER key = \"ci.pub\"\n", "at least one signature is required"),
        ("signatures = 2\nSIGNER key = \"ci.pub\"\n", "no signer may approve"),
        (
            "SIGNER key = \"ci.pub\"\nnot_before = 2026-02-01T00:00:00Z\nnot_after = 2026-01-01T00:00:00Z\n",
            "`not_after` is before `not_before`",
        ),
        ("SIGNER key = \"none.pub\"\n", "the signer `a` of the policy"),
        ("SIGNER certificate = \"ci.pub\"\nsubject = \"CN=x\"\n", "it contains no certificate"),
        (
            "SIGNER key = \"ci.pub\"\n[[signer]]\nname = \"b\"\nkey = \"ci.pub\"\n",
            "every signer needs its own key",
        ),
        (
            "SIGNER key = \"ci.pub\"\n[[signer]]\nname = \"b\"\nkey = \"short.pub\"\n",
            "every signer needs its own key",
        ),
    ] {
        let outcome = stage.judge(&policy.replace("SIGNER ", signer), &[]);
        assert_eq!(outcome.code, Some(2), "{policy}\n{}", outcome.all());
        outcome.says(reason).claims_no_success();
    }
}

#[test]
fn policy_rejects_a_signer_outside_its_time_or_role_or_revoked() {
    let stage = Stage::new();
    assert_eq!(stage.judge(CI, &[]).code, Some(0));
    for (more, reason) in [
        ("not_before = 2100-01-01T00:00:00Z\n", "it is not valid before 2100-01-01T00:00:00Z"),
        ("not_after = 2020-01-01T00:00:00Z\n", "it is not valid after 2020-01-01T00:00:00Z"),
        ("revoked = true\nreason = \"stolen laptop\"\n", "it was revoked: stolen laptop"),
        (
            "may = [\"approve\"]\n[[signer]]\nname = \"b\"\nkey = \"b.pub\"\n",
            "its `may` in the policy does not list `build`",
        ),
    ] {
        stage.project.other_key("b");
        let outcome = stage.judge(&format!("{CI}{more}"), &[]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        outcome.says("signed by ci, which is not accepted").says(reason).claims_no_success();
        fs::remove_file(stage.project.root().join("b.pub")).expect("removes");
        fs::remove_file(stage.project.root().join("b.key")).expect("removes");
    }
    let outcome = stage
        .judge(&format!("{CI}not_before = 2020-01-01T00:00:00Z\nnot_after = 2100-01-01T00:00:00Z\n"), &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
}

/// A previous release counts if its signer's validity has ended since, but not if its signer was revoked.
#[test]
fn policy_rejects_a_previous_release_by_a_revoked_signer() {
    let stage = Stage::new();
    let (next, _) = stage.project.other_key("next");
    stage.project.set_version("1.1.0");
    stage.project.commit();
    let after = stage.project.out("after.tar").to_string_lossy().into_owned();
    stage.project.modelseal(&["build", "--key", &next, "-o", &after]).expect(0);
    let judge = |more: &str, code| {
        let policy = stage.policy(&format!(
            "previous = \"required\"\n{CI}{more}[[signer]]\nname = \"next\"\nkey = \"next.pub\"\n"
        ));
        stage
            .project
            .modelseal(&["verify", &after, "--policy", &policy, "--previous", &stage.archive])
            .expect(code)
    };
    judge("not_after = 2020-01-01T00:00:00Z\n", 0);
    judge("revoked = true\nreason = \"stolen\"\n", 1)
        .says("is not accepted: signed by ci")
        .says("revoked: stolen");
}

#[test]
#[ignore = "needs cryptography"]
fn policy_counts_each_signer_once_among_required_signatures() {
    let stage = Stage::new();
    let (private, _) = stage.project.other_key("boss");
    let root = path("root.pem");
    let people = format!(
        "signatures = 2\n{CI}may = [\"build\", \"approve\"]\n\
         [[signer]]\nname = \"boss\"\nkey = \"boss.pub\"\nmay = [\"approve\"]\n\
         [[signer]]\nname = \"auditor\"\ncertificate = {root:?}\nsubject = 'CN=leaf-p256,O=Acme\\, Inc.'\nmay = [\"approve\"]\n\
         [[signer]]\nname = \"namesake\"\ncertificate = {root:?}\nsubject = 'CN=second-name,O=Acme\\, Inc.'\nmay = [\"approve\"]\n"
    );
    let refused = |reason: &str| {
        let outcome = stage.judge(&people, &[]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        outcome.says("signatures           fail     1 of 2 required signatures: ci").says(reason);
        outcome.claims_no_success();
    };
    refused("adds a signature with `modelseal countersign`");
    // A second signature by the builder, and one by a stranger.
    let own = stage.project.key();
    assert_eq!(
        stage
            .countersign(&["--key", &own])
            .says("the builder and the inputs of this release were not checked")
            .code,
        Some(0)
    );
    refused("it was signed by the builder, whose signature already counts");
    let (stranger, _) = stage.project.other_key("stranger");
    assert_eq!(stage.countersign(&["--key", &stranger]).code, Some(0));
    refused("none of the trusted keys signed this");
    let approved = stage.countersign(&["--key", &private]);
    assert_eq!(approved.code, Some(0), "{}", approved.all());
    approved.says("approved wine 1.0.0").says(".approval.");
    let outcome = stage.judge(&people, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    outcome
        .says("signatures           pass     2 of 2: ci, boss")
        .says("attestation          pass     approved by boss");
    let signers = stage
        .project
        .modelseal(&[
            "verify",
            &stage.archive,
            "--policy",
            &stage.policy.to_string_lossy(),
            "--format",
            "json",
        ])
        .expect(0)
        .json();
    assert_eq!(signers["signers"].as_array().expect("a list").len(), 2);

    // The same key in two certificates, under two names.
    let three = people.replace("signatures = 2", "signatures = 4");
    let (key, leaf, second) = (path("leaf-p256.key"), path("leaf-p256.pem"), path("second-name.pem"));
    let intermediate = path("intermediate.pem");
    let by = |certificate: &str| {
        let signing = ["--key", &key, "--certificate", certificate, "--certificate-chain", &intermediate];
        assert_eq!(stage.countersign(&signing).code, Some(0));
    };
    by(&leaf);
    let copy = fs::read_dir(stage.project.root()).expect("reads").flatten();
    let first = signer(&key).public_key().hint().to_string();
    let copy = copy.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains(&first[..8]));
    fs::rename(copy.expect("is there"), format!("{}.approval.first.sigstore.json", stage.archive))
        .expect("renames");
    by(&second);
    let outcome = stage.judge(&three, &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("3 of 4 required signatures").says("has already approved").claims_no_success();
}

/// A signer that is described once is one signer, with any number of certificates.
#[test]
#[ignore = "needs cryptography"]
fn policy_counts_one_signer_with_several_certificates_or_keys_once() {
    let project = Project::new();
    let (root, intermediate) = (path("root.pem"), path("intermediate.pem"));
    let archive = project.out("wine.tar").to_string_lossy().into_owned();
    let signing = |name: &str| {
        let (key, leaf) = (path(&format!("{name}.key")), path(&format!("{name}.pem")));
        ["--key", &key, "--certificate", &leaf, "--certificate-chain", &intermediate].map(str::to_string)
    };
    let run = |start: &[&str], name: &str| {
        let signing = signing(name);
        let signing: Vec<&str> = signing.iter().map(String::as_str).collect();
        project.modelseal(&[start, &signing].concat()).expect(0);
    };
    run(&["build", "-o", &archive], "leaf-p256");
    run(&["countersign", &archive], "same-mail");
    let policy = project.root().join("gate.toml");
    let judge = |signers: &str| {
        fs::write(&policy, format!("model = \"wine\"\n{signers}")).expect("writes");
        project.modelseal(&["verify", &archive, "--policy", &policy.to_string_lossy()]).run()
    };
    let entry = |name: &str, subject: &str, more: &str| {
        format!("[[signer]]\nname = \"{name}\"\ncertificate = {root:?}\nsubject = '{subject}'\n{more}\n")
    };
    let both = "may = [\"build\", \"approve\"]";
    let outcome = judge(&format!("signatures = 2\n{}", entry("alice", "email:leaf-p256@acme.test", both)));
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("it was signed by the builder, whose signature already counts").claims_no_success();

    // One subject with two keys, which two tables describe in two ways.
    run(&["countersign", &archive], "second-key");
    let second = entry("bob", "email:second-key@acme.test", "may = [\"approve\"]");
    let outcome =
        judge(&format!("signatures = 2\n{}{second}", entry("alice", "email:leaf-p256@acme.test", "")));
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("1 of 2 required signatures: alice").claims_no_success();
    // One name with two keys and two subjects, which two tables describe, in any order.
    let bob = project.out("bob.tar").to_string_lossy().into_owned();
    run(&["build", "-o", &bob], "same-mail");
    run(&["countersign", &bob], "leaf-p256");
    let [mail, name] = ["email:leaf-p256@acme.test", "CN=leaf-p256,O=Acme\\, Inc."];
    let approve = "may = [\"approve\"]";
    let tables = [
        (entry("one", mail, ""), entry("two", mail, approve)),
        (entry("one", mail, ""), entry("two", name, approve)),
    ];
    for (first, second) in tables {
        for signers in [format!("{first}{second}"), format!("{second}{first}")] {
            fs::write(&policy, format!("model = \"wine\"\nsignatures = 2\n{signers}")).expect("writes");
            let outcome = project.modelseal(&["verify", &bob, "--policy", &policy.to_string_lossy()]).run();
            assert_eq!(outcome.code, Some(1), "{}", outcome.all());
            outcome
                .says("1 of 2 required signatures: one")
                .says("whose signature already counts")
                .claims_no_success();
        }
    }

    // A signer that was revoked under one matching name is revoked, in any order. Otherwise, any matching name is
    // enough.
    let revoked = "revoked = true\nreason = \"stolen\"";
    let mail = |more: &str| entry("mail", "email:leaf-p256@acme.test", more);
    let name = |more: &str| entry("name", "CN=leaf-p256,O=Acme\\, Inc.", more);
    for signers in [mail("") + &name(revoked), name(revoked) + &mail("")] {
        let outcome = judge(&signers);
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        outcome.says("it was revoked: stolen").claims_no_success();
    }
    // Parts that the bundle leaves out, or conditions of the revoked entry, change nothing.
    let short = project.out("short.tar").to_string_lossy().into_owned();
    let (key, leaf) = (path("leaf-p256.key"), path("leaf-p256.pem"));
    project.modelseal(&["build", "-o", &short, "--key", &key, "--certificate", &leaf]).expect(0);
    let chain = project.root().join("chain.pem");
    let read = |file: &str| fs::read_to_string(file).expect("reads");
    fs::write(&chain, read(&root) + &read(&intermediate)).expect("writes");
    let whole = mail("").replace(&root, &chain.to_string_lossy());
    fs::write(&policy, format!("model = \"wine\"\n{whole}{}", name(revoked))).expect("writes");
    let outcome = project.modelseal(&["verify", &short, "--policy", &policy.to_string_lossy()]).run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("it was revoked: stolen").claims_no_success();

    let key = format!("[[signer]]\nname = \"key\"\nkey = {:?}\n{revoked}\n", path("leaf-p256.pub"));
    let outcome = judge(&(mail("") + &key));
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("it was revoked: stolen").claims_no_success();
    let outcome = judge(&(mail("may = [\"approve\"]") + &name("")));
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
}

/// An approval names its release, and no other attestation counts.
#[test]
fn policy_rejects_an_approval_of_another_release_or_with_another_statement() {
    let stage = Stage::new();
    let (private, _) = stage.project.other_key("boss");
    let people =
        format!("signatures = 2\n{CI}[[signer]]\nname = \"boss\"\nkey = \"boss.pub\"\nmay = [\"approve\"]\n");
    let boss = signer(&private);
    let sign = |payload: &[u8]| crate::support::archive::bundle(payload, &boss);
    let approval = |release| Attestation::new(&model(), release, Claim::Approved, "0.1.0").payload();
    let text = |payload: Vec<u8>| String::from_utf8(payload).expect("is text");
    let good = text(approval(stage.release()));
    let until = "2100-01-01T00:00:00Z".parse().expect("a time");
    let rollback = Rollback { reason: "x".into(), until };
    let rollback = Attestation::new(&model(), stage.release(), Claim::RolledBack(rollback), "0.1.0");
    for (statement, reason) in [
        (text(approval(Digest::sha256(b"other"))), "it is for another release"),
        (good.replace("approval/v1", "praise/v1"), "which this version of modelseal does not know"),
        (good.replace("{\"modelseal\"", "{\"more\":1,\"modelseal\""), "not in modelseal's canonical form"),
        (format!("{good} "), "not in modelseal's canonical form"),
        (text(rollback.payload()), "its `may` in the policy does not list `rollback`"),
        ("{}".to_string(), "not in modelseal's canonical form"),
    ] {
        let path = stage.put("approval.x", &sign(statement.as_bytes()));
        let outcome = stage.judge(&people, &[]);
        assert_eq!(outcome.code, Some(1), "{statement}\n{}", outcome.all());
        outcome.says(reason).says("1 of 2 required signatures");
        fs::remove_file(path).expect("removes");
    }
    // A modified attestation, and a manifest in place of one.
    let bundle = String::from_utf8(sign(good.as_bytes())).expect("is text");
    let junk = stage.put("approval.x", bundle.trim_end().as_bytes());
    assert_eq!(stage.judge(&people, &[]).says("not in modelseal's canonical form").code, Some(1));
    fs::remove_file(junk).expect("removes");
    stage.put("approval.x", &sign(good.as_bytes()));
    assert_eq!(stage.judge(&people, &[]).code, Some(0));
}

#[test]
fn countersign_signs_only_an_intact_release_that_the_policy_accepts() {
    let stage = Stage::new();
    let (private, _) = stage.project.other_key("boss");
    let people =
        format!("signatures = 2\n{CI}[[signer]]\nname = \"boss\"\nkey = \"boss.pub\"\nmay = [\"approve\"]\n");
    let policy = stage.policy(&people);
    let outcome = stage.countersign(&["--key", &private, "--policy", &policy]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    assert_eq!(stage.judge(&people, &[]).code, Some(0));
    let statements = || {
        let entries = fs::read_dir(stage.project.root()).expect("reads").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".sigstore.json")).count()
    };
    assert_eq!(statements(), 1);
    let strict = stage.policy(&people.replace("signatures", "origin = \"clean\"\nsignatures"));
    let (other, _) = stage.project.other_key("other");
    let outcome = stage.countersign(&["--key", &private, "--policy", &strict]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("nothing was signed").says("lineage.origin");
    // An inconclusive release is not approved either. The number of signatures is not checked here.
    let unknown = stage.policy(&people.replace("signatures", "previous = \"required\"\nsignatures"));
    let outcome = stage.countersign(&["--key", &private, "--policy", &unknown]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.all());
    outcome.says("inconclusive: the policy demands a comparison");
    // A signature that would not count is not made either.
    let policy = stage.policy(&people);
    let own = stage.project.key();
    for (key, reason) in [(&other, "none of the trusted keys"), (&own, "does not list `approve`")] {
        let outcome = stage.countersign(&["--key", key, "--policy", &policy]);
        assert_eq!(outcome.code, Some(2), "{}", outcome.all());
        outcome.says("would not count this approval").says(reason);
    }
    let both = stage.policy(&people.replace(CI, &format!("{CI}may = [\"build\", \"approve\"]\n")));
    let outcome = stage.countersign(&["--key", &own, "--policy", &both]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("would not count this approval: it was signed by the builder");
    // Damaged archives, with any signatures.
    let good = fs::read(&stage.archive).expect("reads");
    let mut damaged = good.clone();
    let last = damaged.iter().rposition(|byte| *byte == b'w').expect("is there");
    damaged[last] = b'v';
    let mut entries = split(&good);
    entries[0].header[100..107].copy_from_slice(b"0000755");
    checksum(&mut entries[0].header);
    for (bytes, reason) in [
        (join(&entries), "cannot sign"),
        (damaged, "differs from the sealed file"),
        (good[..good.len() - 1024].to_vec(), "cannot sign"),
        (b"no archive".to_vec(), "cannot sign"),
    ] {
        fs::write(&stage.archive, bytes).expect("writes");
        let outcome = stage.countersign(&["--key", &other]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        outcome.says(reason).claims_no_success();
        stage.project.modelseal(&["rollback", &stage.archive, "--reason", "x", "--key", &other]).expect(1);
    }
    assert_eq!(statements(), 1);
    assert_eq!(stage.countersign(&["--key", "/nowhere.key"]).code, Some(2));
}
