//! Attestations that another party has rebuilt a release.

use std::fs;
use std::path::{Path, PathBuf};

use modelseal_format::digest::Digest;
use modelseal_format::manifest::{Attestation, Claim, Model, Rung};
use modelseal_format::sign::{KeySource, read_private_key};

use crate::running::{MAKE, project};
use crate::support::project::Project;
use crate::support::run::Outcome;

/// A release, and the keys of a rebuilder.
fn release() -> (Project, PathBuf, String, String) {
    let project = project(MAKE);
    let archive = project.build();
    let (private, public) = project.other_key("rebuilder");
    (project, archive, private, public)
}

fn attest(project: &Project, archive: &Path, private: &str, code: i32) -> Outcome {
    let (key, archive) = (project.public_key(), archive.to_string_lossy());
    project.modelseal(&["reproduce", &archive, "--key", &key, "--attest", private]).expect(code)
}

fn statements(archive: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(archive.parent().expect("a directory")).expect("reads");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.to_string_lossy().contains(".reproduction.")).collect()
}

#[test]
fn verify_reports_reproduced_if_another_trusted_signer_attests_a_rebuild() {
    let (project, archive, private, public) = release();
    attest(&project, &archive, &private, 0).says("wrote the attestation `");
    let [statement] = statements(&archive).try_into().expect("one statement");
    assert!(statement.to_string_lossy().ends_with(".sigstore.json"));

    let outcome = project.verify(&archive, &["--key", &public]);
    assert_eq!(outcome.code, Some(0));
    outcome.says("lineage.origin       pass     reproduced as R0 by ").says("sealed as executed");
    outcome.says("; no policy: origin reproduced accepted");
    let json = project.verify(&archive, &["--key", &public, "--format", "json"]).json();
    assert_eq!(json["origin"], "reproduced");
    assert_eq!(json["signers"].as_array().map(Vec::len), Some(2));

    // A repeated attestation has the same bytes.
    let before = fs::read(&statement).expect("reads");
    attest(&project, &archive, &private, 0);
    assert_eq!(fs::read(&statement).expect("reads"), before);

    // An untrusted attestation adds nothing and removes nothing.
    let outcome = project.verify(&archive, &[]);
    assert_eq!(outcome.code, Some(0));
    outcome.says("lineage.origin       pass     executed");
    let json = project.verify(&archive, &["--format", "json"]).json();
    let check =
        json["checks"].as_array().expect("a list").iter().find(|check| check["id"] == "attestation").cloned();
    let check = check.expect("is listed");
    assert_eq!(check["status"], "skip");
    assert!(check["message"].as_str().expect("a text").contains("none of the trusted keys signed this"));
}

#[test]
fn verify_ignores_an_attestation_signed_by_the_builder() {
    let (project, archive, _, _) = release();
    attest(&project, &archive, &project.key(), 0);
    let json = project.verify(&archive, &["--format", "json"]).json();
    assert_eq!(json["origin"], "executed");
    assert!(json.to_string().contains("cannot vouch for itself"));
}

#[test]
fn verify_ignores_an_attestation_for_another_release() {
    let (project, archive, private, public) = release();
    attest(&project, &archive, &private, 0);
    let [statement] = statements(&archive).try_into().expect("one statement");
    // The same files, under another version.
    project.edit_recipe("1.0.0", "1.0.1");
    project.commit();
    let other = project.build();
    let moved = other.with_file_name("wine-1.0.1.tar.reproduction.00000000.sigstore.json");
    fs::copy(&statement, &moved).expect("copies");
    let json = project.verify(&other, &["--key", &public, "--format", "json"]).json();
    assert_eq!(json["origin"], "executed");
    assert!(json.to_string().contains("it is for another release"));
    // If the caller names the attestation, a mismatch is a warning. A missing file is an error.
    let statement = statement.to_string_lossy().into_owned();
    let outcome = project.verify(&other, &["--key", &public, "--attestation", &statement]);
    assert_eq!(outcome.code, Some(0));
    let json =
        project.verify(&other, &["--key", &public, "--attestation", &statement, "--format", "json"]).json();
    assert!(
        json["checks"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|check| check["id"] == "attestation" && check["status"] == "warn")
    );
    assert_eq!(project.verify(&other, &["--attestation", "nothing"]).code, Some(2));
}

#[test]
fn verify_accepts_an_attestation_given_by_path() {
    let (project, archive, private, public) = release();
    attest(&project, &archive, &private, 0);
    let [statement] = statements(&archive).try_into().expect("one statement");
    let elsewhere = project.out("statement.json");
    fs::rename(&statement, &elsewhere).expect("moves");
    assert_eq!(
        project.verify(&archive, &["--key", &public, "--format", "json"]).json()["origin"],
        "executed"
    );
    let elsewhere = elsewhere.to_string_lossy().into_owned();
    let json =
        project.verify(&archive, &["--key", &public, "--attestation", &elsewhere, "--format", "json"]).json();
    assert_eq!(json["origin"], "reproduced");
}

#[test]
fn verify_ignores_attestations_that_are_damaged_or_tampered_with() {
    let (project, archive, private, public) = release();
    let key = read_private_key(&KeySource::from(private.as_str()), &mut |_| Ok(None)).expect("reads").into();
    let shown = project.modelseal(&["show", &archive.to_string_lossy(), "--format", "json"]).expect(0).json();
    let release: Digest =
        shown["release"].as_str().expect("a text")["sha256:".len()..].parse().expect("a digest");
    let model = Model { name: "wine".into(), version: "1.0.0".into(), release: None };
    let good = crate::support::archive::bundle(
        &Attestation::new(&model, release, Claim::Reproduced(Rung::R0), "0.1.0").payload(),
        &key,
    );
    let path = archive.with_file_name("wine-1.0.0.tar.reproduction.x.sigstore.json");
    let origin = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("writes");
        let outcome = project.verify(&archive, &["--key", &public, "--format", "json"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.all());
        outcome.json()["origin"].as_str().expect("a text").to_string()
    };
    assert_eq!(origin(&good), "reproduced");
    let text = String::from_utf8(good.clone()).expect("is text");
    let mut flipped = good.clone();
    let place = text.find("\"payload\":\"").expect("is there") + 40;
    flipped[place] ^= 1;
    let manifest = fs::read(&archive).expect("reads");
    let seal = crate::support::archive::split(&manifest)[0].content.clone();
    let provenance = crate::support::archive::payload(&seal);
    for bad in [
        flipped,
        text.trim_end().as_bytes().to_vec(),
        format!("{text}{text}").into_bytes(),
        seal.clone(),
        crate::support::archive::bundle(&provenance, &key),
        crate::support::archive::bundle(b"{}", &key),
        "[".repeat(100_000).into_bytes(),
        vec![b' '; 2 << 20],
        Vec::new(),
    ] {
        assert_eq!(origin(&bad), "executed");
    }
    fs::remove_file(&path).expect("removes");
    fs::create_dir(&path).expect("creates");
    for number in 0..100 {
        fs::write(archive.with_file_name(format!("wine-1.0.0.tar.x.{number}.sigstore.json")), "x")
            .expect("writes");
    }
    let outcome = project.verify(&archive, &[]);
    assert_eq!(outcome.code, Some(0));
    outcome.says("37 more attestations next to the release");
}

#[test]
fn reproduce_writes_no_attestation_if_the_rebuild_fails() {
    let project = project(&format!("{MAKE}date +%s%N > model/when\n"));
    let archive = project.build();
    let (private, _) = project.other_key("rebuilder");
    attest(&project, &archive, &private, 1).claims_no_success();
    assert_eq!(statements(&archive), Vec::<PathBuf>::new());
    attest(&project, &archive, "nothing.key", 2).says("does not exist");
    let public = project.public_key();
    project
        .modelseal(&["reproduce", "-", "--key", &public, "--attest", &private])
        .expect(2)
        .says("standard input");
}

/// Equal answers prove little about the bytes, so a policy must say that they are enough.
#[test]
fn verify_accepts_a_reproduction_as_r3_only_if_the_policy_allows_it() {
    let (project, archive, private, _) = release();
    let show = project.modelseal(&["show", &archive.to_string_lossy(), "--format", "json"]).expect(0).json();
    let digest = show["release"].as_str().expect("text").strip_prefix("sha256:").expect("a digest");
    let model = Model { name: "wine".into(), version: "1.0.0".into(), release: None };
    let release: Digest = digest.parse().expect("a digest");
    let key = read_private_key(&KeySource::from(private.as_str()), &mut |_| Ok(None)).expect("reads").into();
    let statement = Attestation::new(&model, release, Claim::Reproduced(Rung::R3), "0.1.0").payload();
    let path = archive.with_file_name(format!(
        "{}.x.sigstore.json",
        archive.file_name().expect("a name").to_string_lossy()
    ));
    fs::write(&path, crate::support::archive::bundle(&statement, &key)).expect("writes");
    let policy = project.root().join("gate.toml");
    let verify = |more: &str, code| {
        let signers = "[[signer]]\nname = \"ci\"\nkey = \"ci.pub\"\n[[signer]]\nname = \"r\"\nkey = \"rebuilder.pub\"\nmay = [\"reproduce\"]\n";
        fs::write(&policy, format!("model = \"wine\"\norigin = \"reproduced\"\n{more}{signers}"))
            .expect("writes");
        let (policy, archive) = (policy.to_string_lossy(), archive.to_string_lossy());
        project.modelseal(&["verify", &archive, "--policy", &policy]).expect(code)
    };
    verify("", 1).says("it was rebuilt as R3, but the policy demands R2");
    verify("reproduced_level = \"R3\"\n", 0).says("reproduced as R3 by r");
}
