//! `modelseal drill`: shows that a policy fails where it should.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::gating::{csv, even};
use crate::probing::healthy;
use crate::support::Project;
use crate::support::run::Outcome;

/// A release with everything that can be judged, and the strict policy generated from it.
fn good() -> (Project, String, PathBuf) {
    let project = healthy();
    project.edit_recipe(
        "path = \"data/train.csv\"\nlabel = \"class\"",
        "path = \"data/train.csv\"\nlabel = \"class\"\ntimestamp = \"at\"",
    );
    project.edit_recipe("version = \"1.0.0\"", "version = \"1.0.0\"\nrelease = 3");
    project.append_recipe("[run]\ncommand = [\"sh\", \"-c\", \"mkdir -p model; echo '{\\\"weight\\\": 2}' > model/config.json\"]\n");
    let rows: Vec<_> = even(2000).into_iter().map(|(hours, class)| (hours + 2, class)).collect();
    project.write("data/train.csv", csv(&rows));
    project.git(&["remote", "add", "origin", "https://github.com/acme/wine"]);
    project.commit();
    let archive = project.build_with(&["--clean"]).to_string_lossy().into_owned();
    let policy = project.root().join("gate.toml");
    let key = project.public_key();
    project
        .modelseal(&["policy", "init", &archive, "--key", &key, "-o", &policy.to_string_lossy()])
        .expect(0);
    (project, archive, policy)
}

fn drill(project: &Project, archive: &str, policy: &std::path::Path, more: &[&str]) -> Outcome {
    let policy = policy.to_string_lossy();
    project.modelseal(&[&["drill", archive, "--policy", &policy], more].concat()).run()
}

fn faults(json: &Value, status: &str) -> Vec<String> {
    let faults = json["faults"].as_array().expect("a list").iter().filter(|fault| fault["status"] == status);
    faults.map(|fault| fault["fault"].as_str().expect("a name").to_string()).collect()
}

#[track_caller]
fn caught_by(json: &Value, fault: &str, check: &str) {
    let found = json["faults"].as_array().expect("a list").iter().find(|row| row["fault"] == fault);
    assert_eq!(found.expect(fault)["check"], check, "{fault}");
}

/// If the policy requires several signers, the copies are signed by several signers.
#[test]
#[ignore = "needs bubblewrap"]
fn drill_signs_with_several_signers_if_the_policy_requires_them() {
    let (project, archive, policy) = good();
    project.other_key("boss");
    let text = fs::read_to_string(&policy).expect("reads");
    let text = text.replacen("[[signer]]", "signatures = 2\n\n[[signer]]", 1)
        + "\n[[signer]]\nname = \"boss\"\nkey = \"boss.pub\"\nmay = [\"approve\"]\n";
    fs::write(&policy, text).expect("writes");
    let json = drill(&project, &archive, &policy, &["--format", "json"]).json();
    assert_eq!(faults(&json, "let-through"), Vec::<String>::new(), "{json:#}");
    assert_eq!(faults(&json, "not-tried"), Vec::<String>::new(), "{json:#}");
    caught_by(&json, "signed only by the builder", "signatures");
}

#[test]
#[ignore = "needs bubblewrap"]
fn drill_finds_that_a_strict_policy_catches_every_fault() {
    let (project, archive, policy) = good();
    let before = fs::read(&archive).expect("reads");
    let json = drill(&project, &archive, &policy, &["--format", "json"]).json();
    assert_eq!(faults(&json, "let-through"), Vec::<String>::new(), "{json:#}");
    assert_eq!(faults(&json, "not-tried"), ["signed only by the builder"], "{json:#}");
    caught_by(&json, "an older release", "gate.rollback");
    caught_by(&json, "another release with the same version", "gate.version");
    assert!(faults(&json, "caught").len() >= 35, "{json:#}");
    let outcome = drill(&project, &archive, &policy, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    outcome
        .says("faults got through")
        .says("a class lost")
        .says("gate.labels.train: `train` lost the class ");
    // Each fault is caught by the check that is responsible for it.
    for (fault, check) in [
        ("a byte of a model file changed", "files"),
        ("a byte of the manifest changed", "seal"),
        ("the archive truncated", "archive"),
        ("extra bytes after the archive", "archive"),
        ("a missing file", "archive"),
        ("a duplicate file", "archive"),
        ("a file made executable", "archive"),
        ("`model.sig` removed", "archive"),
        ("the files of another model under this seal", "files"),
        ("signed by an untrusted key", "signature"),
        ("signed with an expired key", "signature"),
        ("signed by a signer who may not build", "signature"),
        ("a release of another model", "model"),
        ("an artifact not built by modelseal", "lineage.origin"),
        ("code with uncommitted changes", "lineage.code"),
        ("code from another remote", "lineage.code"),
        ("no code revision", "lineage.code"),
        ("a missing data source", "lineage.data.train"),
        ("records from ten years ago", "gate.freshness.train"),
        ("new data without a newer record", "gate.freshness.train"),
        ("records from the future", "gate.freshness.train"),
        ("times that cannot be read", "gate.freshness.train"),
        ("a class lost", "gate.labels.train"),
        ("a new class", "gate.labels.train"),
        ("labels shifted to one class", "gate.labels.train"),
        ("labels that shift over time", "gate.slices.train"),
        ("a tenth of the rows", "gate.rows.train"),
        ("ten times the rows", "gate.rows.train"),
        ("the same rows written again", "gate.refresh"),
        ("training that had no effect", "gate.refresh"),
        ("a model without probe results", "probe.golden"),
        ("the same answer to every input", "probe.golden.diversity"),
        ("the fallback for every input", "probe.golden.fallback"),
        ("inputs ignored", "probe.golden.sensitivity"),
        ("one feature ignored", "probe.golden.sensitivity"),
        ("a different answer each time", "probe.golden.determinism"),
        ("wrong answers where answers are expected", "probe.golden.golden"),
        ("a probe that ran without isolation", "probe.golden.isolation"),
        ("a tolerance that accepts any answer", "probe.golden.tolerance"),
        ("fewer questions than before", "probe.golden.questions"),
    ] {
        caught_by(&json, fault, check);
    }
    assert!(fs::read(&archive).expect("reads") == before, "the original changed");
}

#[test]
#[ignore = "needs bubblewrap"]
fn drill_names_the_missing_rule_for_each_fault_that_gets_through() {
    let (project, archive, policy) = good();
    let text = fs::read_to_string(&policy).expect("reads");
    for (line, fault, cure) in [
        ("origin = ", "an artifact not built by modelseal", "origin = \"clean\""),
        ("remote = ", "code from another remote", "[code] remote = \"…\""),
        ("labels = ", "a class lost", "[data.train] labels = { max_js_distance = 0.1 }"),
        ("slices = ", "labels that shift over time", "[data.train] slices = { max_js_distance = 0.2 }"),
        ("rows = ", "ten times the rows", "[data.train] rows = { max_ratio = 2.0 }"),
        ("max_age = ", "records from ten years ago", "[data.train] max_age = \"…\""),
        ("isolated = ", "a probe that ran without isolation", "[probe.golden] isolated = true"),
    ] {
        let loose: String =
            text.lines().filter(|other| !other.starts_with(line)).map(|line| format!("{line}\n")).collect();
        assert_ne!(loose, text, "{line}");
        fs::write(&policy, loose).expect("writes");
        let outcome = drill(&project, &archive, &policy, &[]);
        assert_eq!(outcome.code, Some(1), "{line}: {}", outcome.all());
        outcome.says(&format!("this would catch it: {cure}"));
        let row = outcome.stdout.lines().find(|row| row.starts_with(fault)).expect(fault);
        assert!(row.contains("let through"), "{row}");
    }
    fs::write(&policy, "model = \"wine\"\n[[signer]]\nname = \"ci\"\nkey = \"ci.pub\"\n").expect("writes");
    let json = drill(&project, &archive, &policy, &["--format", "json"]).json();
    assert!(faults(&json, "let-through").len() > 15, "{json:#}");
    // Faults that must never pass do not pass under any policy.
    assert!(
        faults(&json, "caught").iter().any(|fault| fault == "a byte of a model file changed"),
        "{json:#}"
    );
}

#[test]
#[ignore = "needs bubblewrap"]
fn drill_refuses_a_broken_release_and_a_policy_that_fails_a_healthy_one() {
    let (project, archive, policy) = good();
    let mut bytes = fs::read(&archive).expect("reads");
    let last = bytes.len() - 1100;
    bytes[last] ^= 1;
    let broken = project.out("broken.tar").to_string_lossy().into_owned();
    fs::write(&broken, bytes).expect("writes");
    let outcome = drill(&project, &broken, &policy, &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("a drill needs a good release").claims_no_success();
    let text = fs::read_to_string(&policy).expect("reads");
    fs::write(&policy, text.replace("https://github.com/acme/wine", "https://example.com/wine"))
        .expect("writes");
    let outcome = drill(&project, &archive, &policy, &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("the policy refuses a healthy successor of this release");
    let json = drill(&project, &archive, &policy, &["--format", "json"]).json();
    assert!(
        json["refused"].as_str().expect("a reason").contains("the policy demands `https://example.com/wine`"),
        "{json:#}"
    );
}

#[test]
#[ignore = "needs bubblewrap"]
fn drill_tries_unproven_rebuilds_if_the_policy_requires_a_rebuild() {
    let (project, archive, policy) = good();
    let text = fs::read_to_string(&policy).expect("reads");
    fs::write(&policy, text.replace("origin = \"clean\"", "origin = \"reproduced\"")).expect("writes");
    let outcome = drill(&project, &archive, &policy, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    for fault in ["a release that was not rebuilt", "a builder that vouches for itself"] {
        let row = outcome.stdout.lines().find(|row| row.starts_with(fault)).expect(fault);
        assert!(row.contains("caught       lineage.origin: clean"), "{row}");
    }
}

/// Each source and each probe is broken separately, so a policy that omits one is noticed.
#[test]
#[ignore = "needs bubblewrap"]
fn drill_breaks_each_data_source_and_each_probe_separately() {
    let (project, _, policy) = good();
    let rows: Vec<_> = even(2000).into_iter().map(|(hours, class)| (hours + 2, class)).collect();
    project.write("data/more.csv", csv(&rows));
    project.write("data/few.csv", csv(&rows[..30]));
    project.append_recipe(
        "[[data]]\nname = \"few\"\npath = \"data/few.csv\"\nlabel = \"class\"\ntimestamp = \"at\"\n\
         [[data]]\nname = \"more\"\npath = \"data/more.csv\"\nlabel = \"class\"\ntimestamp = \"at\"\n\
         [[probe]]\nname = \"other\"\ncommand = [\"python3\", \"predict.py\"]\ninputs = \"probes/golden.jsonl\"\n",
    );
    project.commit();
    let archive = project.build_with(&["--clean", "--force"]).to_string_lossy().into_owned();
    let outcome = drill(&project, &archive, &policy, &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    for (fault, fate) in [
        ("a class lost, data train", "caught       gate.labels.train"),
        ("a class lost, data more", "let through  this would catch it: [data.more] labels"),
        ("a missing data source, data more", "let through  this would catch it: [data.more]"),
        ("a class lost, data few", "let through  this would catch it: nothing yet, because "),
        ("the same answer to every input, probe golden", "caught       probe.golden.diversity"),
        ("the same answer to every input, probe other", "let through  this would catch it: [probe.other]"),
    ] {
        let row = outcome.stdout.lines().find(|row| row.starts_with(fault)).expect(fault);
        assert!(row.contains(fate), "{row}");
    }
}

/// Entries that need more than one header are not mistaken for other entries.
#[test]
#[ignore = "needs bubblewrap"]
fn drill_applies_its_faults_to_files_with_long_names() {
    let (project, _, policy) = good();
    let long = format!("{}/{}.bin", "d".repeat(60), "f".repeat(60));
    let longer = format!("z{}/{}.bin", "d".repeat(120), "f".repeat(120));
    let make = format!(
        "mkdir -p model/{0} model/z{1}; echo w > model/{long}; echo w > model/{longer}; : > model/zz; \
         echo '{{\\\"weight\\\": 2}}' > model/config.json",
        "d".repeat(60),
        "d".repeat(120)
    );
    project.edit_recipe("mkdir -p model; echo '{\\\"weight\\\": 2}' > model/config.json", &make);
    project.commit();
    let archive = project.build_with(&["--clean", "--force"]).to_string_lossy().into_owned();
    let json = drill(&project, &archive, &policy, &["--format", "json"]).json();
    for (fault, check) in [
        ("a byte of a model file changed", "files"),
        ("a byte of the manifest changed", "seal"),
        ("a missing file", "archive"),
        ("a duplicate file", "archive"),
        ("a file made executable", "archive"),
        ("`model.sig` removed", "archive"),
        ("the files of another model under this seal", "files"),
    ] {
        caught_by(&json, fault, check);
    }
    let outcome = drill(&project, &archive, &policy, &[]);
    outcome.says("a byte of a model file changed").says("1 of 4 files differs");
}
