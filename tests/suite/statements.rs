//! Unsigned manifests that are written in one job and signed in another.

use std::fs;

use crate::running::{MAKE, project};
use crate::support::project::Project;

#[test]
fn build_from_statement_signs_only_a_matching_recipe_commit_and_artifact() {
    let project = project(MAKE);
    let stated =
        project.modelseal(&["build", "--statement", "../wine.json", "--format", "json"]).expect(0).json();
    let payload = fs::read(project.root().join("wine.json")).expect("reads");
    let digest = modelseal_format::digest::Digest::sha256(&payload);
    assert_eq!(stated["release"], format!("sha256:{digest}"));
    assert!(!project.at("dist").exists());
    let key = project.key();
    let sign = |expected| {
        project.modelseal(&["build", "--from-statement", "../wine.json", "--key", &key]).expect(expected)
    };
    // An unsigned manifest may be in the work tree, and it may be written again.
    for _ in 0..2 {
        project.modelseal(&["build", "--statement", "wine.json"]).expect(0);
    }
    fs::remove_file(project.at("wine.json")).expect("removes");
    // Untracked files in the signing job do not matter, because nothing is run there.
    project.write("untracked", "x");
    sign(0).says(&format!("release  sha256:{digest}")).says("origin   executed");
    project.verify(&project.at("dist/wine-1.0.0.tar"), &[]).says("pass: 1 file matches");

    for (from, to) in [
        ("\"version\":\"1.0.0\"", "\"version\":\"9.9.9\""),
        ("\"level\":\"R0\"", "\"level\":\"R2\""),
        ("\"make.sh\"]", "\"make.sh\",\"x\"]"),
    ] {
        let text = String::from_utf8(payload.clone()).expect("is text");
        assert!(text.contains(from));
        fs::write(project.root().join("wine.json"), text.replace(from, to)).expect("writes");
        sign(1).says(" differs from the one in ");
    }
    fs::write(project.root().join("wine.json"), &payload).expect("writes");

    let good = fs::read_to_string(project.at("model/weights.safetensors")).expect("reads");
    fs::remove_dir_all(project.at("dist")).expect("removes");
    project.write("model/weights.safetensors", "other");
    sign(1).says("`weights.safetensors` in the artifact does not match it");
    project.write("model/weights.safetensors", &good);
    project.write("model/more", "x");
    sign(1).says("`more` in the artifact");
    fs::remove_file(project.at("model/more")).expect("removes");
    project.write("make.sh", "other code");
    project.commit();
    sign(1).says("its commit is `").says("`, but this work tree has `");
    project.append_recipe("# x\n");
    sign(1).says("the recipe `modelseal.toml` does not match it");
    fs::write(project.root().join("wine.json"), [&payload[..], b" "].concat()).expect("writes");
    sign(1).says("error: cannot seal the unsigned manifest");
    assert!(!project.at("dist").exists());
}

/// The same files from another repository, or with a tree that is not the commit's, have another lineage.
#[test]
fn build_from_statement_refuses_another_remote_commit_or_tree() {
    let project = Project::new();
    project.git(&["remote", "add", "origin", "https://github.com/acme/wine"]);
    project.modelseal(&["build", "--statement", "../wine.json"]).expect(0);
    let key = project.key();
    let sign = |expected| {
        project.modelseal(&["build", "--from-statement", "../wine.json", "--key", &key]).expect(expected)
    };
    project.git(&["remote", "set-url", "origin", "https://github.com/fork/wine"]);
    sign(1).says("its remote is `https://github.com/acme/wine`").says("has `https://github.com/fork/wine`");
    project.git(&["remote", "remove", "origin"]);
    sign(1).says("its remote is `https://github.com/acme/wine`, but this work tree has none");
    project.git(&["remote", "add", "origin", "git@github.com:acme/wine.git"]);
    let statement = project.root().join("wine.json");
    let text = fs::read_to_string(&statement).expect("reads");
    for (what, object) in [("commit", "HEAD"), ("tree", "HEAD^{tree}")] {
        let object = project.git(&["rev-parse", object]);
        let other = "0123456789abcdef0123456789abcdef01234567";
        fs::write(&statement, text.replace(object.trim(), other)).expect("writes");
        sign(1).says(&format!("its {what} is `{other}`")).claims_no_success();
    }
    assert!(!project.at("dist").exists());
    fs::write(&statement, text).expect("writes");
    sign(0);
}

#[test]
fn build_from_statement_writes_the_same_bytes_as_a_direct_build() {
    let project = Project::new();
    for compression in ["none", "gzip", "zstd"] {
        let at_once = fs::read(project.build_with(&["--compression", compression])).expect("reads");
        project.modelseal(&["build", "--statement", "../wine.json"]).expect(0);
        let key = project.key();
        let pack = ["build", "--from-statement", "../wine.json", "--key", &key, "-o", "../packed"];
        let more = ["--force", "--compression", compression];
        project.modelseal(&[&pack[..], &more].concat()).expect(0);
        assert!(fs::read(project.root().join("packed")).expect("reads") == at_once, "{compression}");
    }
}

#[test]
fn build_from_statement_signs_the_artifact_of_a_clean_statement() {
    let project = project(MAKE);
    project
        .modelseal(&["build", "--clean", "--statement", "../wine.json"])
        .expect(0)
        .says("origin     clean");
    let key = project.key();
    project
        .modelseal(&["build", "--from-statement", "../wine.json", "--key", &key])
        .expect(0)
        .says("origin   clean");
    let (other, _) = project.other_key("other");
    let ed25519 = project.root().join("ed").to_string_lossy().into_owned();
    project.modelseal(&["keygen", "-o", &ed25519, "--algorithm", "ed25519"]).expect(0);
    let ed25519 = format!("{ed25519}.key");
    let refused = project
        .modelseal(&["build", "--from-statement", "../wine.json", "--key", &ed25519, "--force"])
        .expect(1);
    refused.says("it promises a `model.sig`").says("--no-model-signature");
    project.modelseal(&["build", "--from-statement", "../wine.json", "--key", &other, "--force"]).expect(0);
    project.modelseal(&["build", "--statement", "../wine.json", "--no-model-signature"]).expect(0);
    project.modelseal(&["build", "--from-statement", "../wine.json", "--key", &ed25519, "--force"]).expect(0);
}

/// A pipe without a writer is refused at once.
#[test]
fn build_from_statement_refuses_a_fifo_as_statement_or_bundle() {
    let project = project(MAKE);
    let pipe = project.root().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).expect("makes");
    let (pipe, key) = (pipe.to_string_lossy().into_owned(), project.public_key());
    project.modelseal(&["build", "--statement", "../wine.json"]).expect(0);
    let bundle = ["build", "--from-statement", "../wine.json", "--bundle", &pipe, "--key", &key];
    let statement = ["build", "--from-statement", &pipe, "--bundle", "../wine.json", "--key", &key];
    for arguments in [bundle, statement] {
        let outcome = project.modelseal(&arguments).run();
        assert_eq!(outcome.code, Some(2), "{}", outcome.all());
        outcome.says("/pipe` is a FIFO");
    }
}

/// A manifest that the build itself would have refused is not signed. The same applies to a probe that the recipe does
/// not ask.
#[test]
#[ignore = "needs bubblewrap"]
fn build_from_statement_refuses_failed_or_altered_probe_results() {
    let project = crate::probing::healthy();
    let key = project.key();
    project.modelseal(&["build", "--statement", "s.json"]).expect(0);
    let text = fs::read_to_string(project.at("s.json")).expect("reads");
    let seal = |text: &str, code| {
        fs::write(project.at("s.json"), text).expect("writes");
        project.modelseal(&["build", "--from-statement", "s.json", "--key", &key, "--force"]).expect(code)
    };
    seal(&text, 0);
    for (from, to, reason) in [
        ("\"deterministic\":true", "\"deterministic\":false", "its probe `golden` fails on determinism"),
        ("\"fallbacks\":0", "\"fallbacks\":12", "its probe `golden` fails on fallback"),
        (
            "\"influence\":{\"a\":{\"tried\":12,\"hit\":12}},",
            "",
            "its probes differ from those in the recipe",
        ),
        ("\"atol\":1e-8", "\"atol\":100.0", "its probes differ from those in the recipe"),
        (
            "\"distinct\":10,\"commonest\":2",
            "\"distinct\":12,\"commonest\":1",
            "the counts of its probe `golden` do not match its answers",
        ),
        (
            "\"swapped\":{\"tried\":12,\"hit\":10}",
            "\"swapped\":{\"tried\":1,\"hit\":1}",
            "its probes differ from those in the recipe",
        ),
        (
            "\"expected\":{\"tried\":0,\"hit\":0}",
            "\"expected\":{\"tried\":5,\"hit\":5}",
            "its probes differ from those in the recipe",
        ),
        (
            "\"learning_rate\":0.1",
            "\"learning_rate\":0.2",
            "its hyperparameters differ from those of this work tree",
        ),
        ("\"python3\",\"predict.py\"", "\"true\"", "its probes differ from those in the recipe"),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        seal(&text.replace(from, to), 1).says(reason).claims_no_success();
    }
}
