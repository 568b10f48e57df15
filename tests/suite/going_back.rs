//! Older releases in place of newer ones, and deliberate rollbacks.

use std::fs;
use std::path::Path;

use modelseal_format::digest::Digest;
use modelseal_format::manifest::{Attestation, Claim, Rollback};

use crate::signers::{CI, Stage, model, signer};
use crate::support::Project;
use crate::support::run::Outcome;

/// Releases with numbers, newest first.
fn numbered(numbers: &[u64]) -> (Stage, Vec<String>) {
    let stage = Stage::new();
    stage.project.edit_recipe("version = \"1.0.0\"", "version = \"1.0.0\"\nrelease = 1");
    let build = |number: &u64| {
        let recipe = fs::read_to_string(stage.project.at("modelseal.toml")).expect("reads");
        let line = recipe.lines().find(|line| line.starts_with("release = ")).expect("a number").to_string();
        stage.project.edit_recipe(&line, &format!("release = {number}"));
        stage.project.set_version(&format!("1.{number}.0"));
        stage.project.commit();
        let path = stage.project.out(&format!("{number}.tar")).to_string_lossy().into_owned();
        stage.project.build_with(&["-o", &path]);
        path
    };
    let archives = numbers.iter().map(build).collect();
    (stage, archives)
}

#[test]
fn policy_refuses_an_older_release_without_an_approved_rollback() {
    let (stage, archives) = numbered(&[7, 12]);
    let (older, newer) = (archives[0].clone(), archives[1].clone());
    let (private, _) = stage.project.other_key("oncall");
    let people = format!("{CI}[[signer]]\nname = \"oncall\"\nkey = \"oncall.pub\"\nmay = [\"rollback\"]\n");
    let judge = |target: &str, previous: Option<&str>, more: &str| {
        let policy = stage.policy(&format!("{more}{people}"));
        let mut arguments = vec!["verify", target, "--policy", &policy];
        arguments.extend(previous.into_iter().flat_map(|previous| ["--previous", previous]));
        stage.project.modelseal(&[&arguments[..], &["--format", "json"]].concat()).run().json();
        stage.project.modelseal(&arguments).run()
    };
    let passes = |outcome: Outcome, text: &str| {
        assert_eq!(outcome.code, Some(0), "{}", outcome.all());
        outcome.says(text);
    };
    let fails = |outcome: Outcome, code: i32, text: &str| {
        assert_eq!(outcome.code, Some(code), "{}", outcome.all());
        outcome.says(text).claims_no_success();
    };
    passes(judge(&newer, Some(&older), ""), "gate.rollback        pass     release 12, after 7");
    fails(judge(&older, Some(&newer), ""), 1, "release 7 is older than 12, the previous release");
    passes(judge(&newer, None, "min_release = 12\n"), "gate.rollback        pass     release 12");
    fails(
        judge(&older, None, "min_release = 8\n"),
        1,
        "release 7 is older than 8, the oldest that the policy",
    );
    // A release without a number cannot be compared.
    fails(judge(&stage.archive, Some(&newer), ""), 3, "cannot tell which is newer");
    fails(judge(&stage.archive, None, "min_release = 1\n"), 3, "it has no `release` number");
    passes(judge(&newer, Some(&stage.archive), ""), "previous             pass");

    // A number or a version that is used by two releases.
    stage.project.write("model/config.json", "{}\n");
    stage.project.commit();
    let twin = stage.project.out("twin.tar").to_string_lossy().into_owned();
    stage.project.build_with(&["-o", &twin]);
    fails(judge(&twin, Some(&newer), ""), 1, "the previous release and this one both have the number 12");
    fails(
        judge(&twin, Some(&newer), ""),
        1,
        "two releases are called wine-1.12.0: the previous release (sha256:",
    );

    // A deliberate rollback.
    let rollback = |more: &[&str]| {
        let arguments = ["rollback", &older, "--reason", "OPS-1423: wrong answers", "--key", &private];
        stage.project.modelseal(&[&arguments[..], more].concat()).run()
    };
    assert_eq!(rollback(&["--until", "2020-01-01T00:00:00Z"]).says("is in the past").code, Some(2));
    assert_eq!(rollback(&["--until", "soon"]).says("needs a time with a time zone").code, Some(2));
    assert_eq!(rollback(&["--until", "2d"]).says("authorised a rollback to wine 1.7.0").code, Some(0));
    let outcome = judge(&older, Some(&newer), "");
    outcome.says("release 7 is older than 12, the previous release; rollback approved until 2");
    passes(outcome, "OPS-1423: wrong answers (oncall)");
    passes(judge(&older, None, "min_release = 8\n"), "OPS-1423: wrong answers (oncall)");
    // A rollback by an unauthorised signer, for another release, and after its end.
    let outcome = stage.policy(&people.replace("may = [\"rollback\"]", "may = [\"approve\"]"));
    stage
        .project
        .modelseal(&["verify", &older, "--policy", &outcome, "--previous", &newer])
        .expect(1)
        .says("its `may` in the policy does not list `rollback`");
    let statement =
        format!("{older}.rollback.{}.sigstore.json", &signer(&private).public_key().hint().to_string()[..8]);
    assert!(Path::new(&statement).exists(), "{statement}");
    let boss = signer(&private);
    let put = |release: Digest, until: &str| {
        let until = until.parse().expect("a time");
        let claim = Claim::RolledBack(Rollback { reason: "x".into(), until });
        let payload = Attestation::new(&model(), release, claim, "0.1.0").payload();
        fs::write(&statement, crate::support::archive::bundle(&payload, &boss)).expect("writes");
    };
    let shown = stage.project.modelseal(&["show", &older, "--format", "json"]).expect(0).json();
    let release = shown["release"].as_str().expect("text")["sha256:".len()..].parse().expect("a digest");
    put(Digest::sha256(b"other"), "2100-01-01T00:00:00Z");
    fails(judge(&older, Some(&newer), ""), 1, "it is for another release");
    put(release, "2020-01-01T00:00:00Z");
    fails(judge(&older, Some(&newer), ""), 1, "its approval of a rollback expired at 2020-01-01T00:00:00Z");
    // A time has only one valid spelling.
    let claim = Claim::RolledBack(Rollback {
        reason: "x".into(),
        until: "2100-01-01T00:00:00Z".parse().expect("a time"),
    });
    let payload =
        String::from_utf8(Attestation::new(&model(), release, claim, "0.1.0").payload()).expect("is text");
    for until in ["for ever", "2100-01-01T00:00:00+00:00", "2100-01-01 00:00:00Z"] {
        let payload = payload.replace("2100-01-01T00:00:00Z", until);
        fs::write(&statement, crate::support::archive::bundle(payload.as_bytes(), &boss)).expect("writes");
        fails(judge(&older, Some(&newer), ""), 1, "not in modelseal's canonical form");
    }
    stage
        .project
        .modelseal(&["rollback", &older, "--reason", " ", "--key", &private])
        .expect(2)
        .says("needs a text");
    stage
        .project
        .modelseal(&["rollback", &stage.archive, "--reason", "x", "--key", &private])
        .expect(0)
        .says("this release has no number");
}

#[test]
fn build_refuses_a_recipe_with_an_invalid_release_number() {
    for number in ["0", "-1", "9007199254740992", "1.5", "\"1\""] {
        let project = Project::new();
        project.edit_recipe("version = \"1.0.0\"", &format!("version = \"1.0.0\"\nrelease = {number}"));
        project.commit();
        project.build_refused(&[], 2).says("modelseal.toml");
    }
}
