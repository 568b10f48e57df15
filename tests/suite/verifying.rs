//! The exact output of `verify`, `unpack` and `show`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::project::sample;
use crate::support::{Outcome, Project};

/// Digests and commits depend on the tool's version, so only their first letters are kept.
fn shape(outcome: &Outcome, project: &Project) -> String {
    let text = outcome.stdout.replace(&project.root().to_string_lossy().into_owned(), "ROOT");
    let mut result = String::new();
    let mut word = String::new();
    for character in text.chars().chain(['\n']) {
        if character.is_ascii_hexdigit() && !character.is_ascii_uppercase() {
            word.push(character);
            continue;
        }
        result.push_str(if word.len() == 64 || (word.len() == 8 && character == '…') {
            "HEX"
        } else {
            &word
        });
        word.clear();
        result.push(character);
    }
    result.trim_end_matches('\n').to_string()
}

#[test]
fn verify_passes_a_good_archive_and_prints_every_check() {
    let project = Project::new();
    let archive = project.build();
    let outcome = project.verify(&archive, &[]);
    assert_eq!(outcome.code, Some(0));
    assert_eq!(
        shape(&outcome, &project),
        "\
demanded: a signature by ROOT/ci.pub

seal            pass     release sha256:HEX…
signature       pass     ROOT/ci.pub
archive         pass     2 files, 4,111 bytes
files           pass     2 files
model_signature  pass     OMS, same key, same files
lineage.code    pass     git HEX… without a remote
lineage.recipe  pass     sha256:HEX…
lineage.data    pass     train
lineage.params  pass     2 values
lineage.environment  skip     the environment was not sealed
lineage.origin  pass     adopted

not checked: inputs against a checkout (no --against), the commit at its remote (no --online), policy (none given)
pass: 2 files match release sha256:HEX… signed by ci; no policy: origin adopted accepted"
            .replace("seal            ", "seal                 ")
            .replace("signature       pass", "signature            pass")
            .replace("archive         ", "archive              ")
            .replace("files           ", "files                ")
            .replace("model_signature  pass", "model_signature      pass")
            .replace("lineage.code    ", "lineage.code         ")
            .replace("lineage.recipe  ", "lineage.recipe       ")
            .replace("lineage.data    ", "lineage.data         ")
            .replace("lineage.params  ", "lineage.params       ")
            .replace("lineage.origin  ", "lineage.origin       ")
    );
    assert_eq!(outcome.stderr, "");
}

#[test]
fn verify_reports_a_changed_file_with_both_digests() {
    let project = Project::new();
    let archive = project.build();
    let directory = project.unpack(&archive);
    let weights = directory.join("weights.safetensors");
    fs::write(&weights, "x".repeat(4096)).expect("writes");
    let outcome = project.verify(&directory, &[]);
    assert_eq!(outcome.code, Some(1));
    let text = shape(&outcome, &project);
    assert!(text.contains("files                fail     1 of 2 files differs\n"), "{text}");
    let details = "
`weights.safetensors`
  sealed: blake3:HEX (4,096 bytes)
   found: blake3:HEX (4,096 bytes)
hint: fetch the archive again; if it still fails, do not deploy it

not checked: inputs against a checkout (no --against), the commit at its remote (no --online), policy (none given)
fail: `weights.safetensors` differs from the sealed file";
    assert!(text.ends_with(details), "{text}");
}

#[test]
fn verify_reports_changed_modes_and_missing_and_extra_entries() {
    let project = Project::new();
    project.write("model/run.sh", "#!/bin/sh\n");
    project.write("model/sub/a", "a");
    project.commit();
    let directory = project.unpack(&project.build());
    assert_eq!(project.verify(&directory, &["--hash", "all"]).code, Some(0));

    fs::set_permissions(directory.join("run.sh"), fs::Permissions::from_mode(0o755)).expect("sets");
    fs::remove_file(directory.join("config.json")).expect("removes");
    fs::write(directory.join("extra"), "x").expect("writes");
    fs::write(directory.join(".modelseal/extra"), "x").expect("writes");
    fs::create_dir(directory.join(".git")).expect("creates");
    fs::remove_file(directory.join("sub/a")).expect("removes");
    std::os::unix::fs::symlink("/etc/passwd", directory.join("sub/a")).expect("links");
    let outcome = project.verify(&directory, &[]);
    assert_eq!(outcome.code, Some(1));
    outcome
        .says("`run.sh`\n  sealed: mode 0644\n   found: mode 0755")
        .says("`config.json` is missing")
        .says("`extra` is a file that was not sealed")
        .says("`.modelseal/extra` is a file that was not sealed")
        .says("`.git` is an empty directory that was not sealed")
        .says("`sub/a` is a symbolic link that was not sealed")
        .says("`sub/a` is missing")
        .says(" differ, and 3 entries that were not sealed")
        .claims_no_success();
}

#[test]
fn verify_counts_an_extra_file_apart_from_sealed_files_that_differ() {
    let project = Project::new();
    let directory = project.unpack(&project.build());
    fs::write(directory.join("extra"), "x").expect("writes");
    project
        .verify(&directory, &[])
        .says("files                fail     2 files as sealed, and 1 entry that was not sealed");
}

#[test]
fn verify_reports_special_permission_bits() {
    let project = Project::new();
    let directory = project.unpack(&project.build());
    fs::set_permissions(directory.join("config.json"), fs::Permissions::from_mode(0o4644)).expect("sets");
    let outcome = project.verify(&directory, &[]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("mode 4644");
}

#[test]
fn verify_rejects_a_directory_without_a_seal() {
    let project = Project::new();
    let outcome = project.verify(&project.at("model"), &[]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("there is no seal (`.modelseal/manifest.sigstore.json`)").claims_no_success();
}

#[test]
fn verify_reports_a_fifo_in_place_of_a_file_without_hanging() {
    let project = Project::new();
    let directory = project.unpack(&project.build());
    fs::remove_file(directory.join("config.json")).expect("removes");
    let fifo = directory.join("config.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("makes");
    let outcome = project.verify(&directory, &[]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("`config.json` is a FIFO that was not sealed");
    let seal = directory.join(".modelseal/manifest.sigstore.json");
    fs::remove_file(&seal).expect("removes");
    rustix::fs::mkfifoat(rustix::fs::CWD, &seal, rustix::fs::Mode::RWXU).expect("makes");
    let outcome = project.verify(&directory, &[]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("is a FIFO");
}

#[test]
fn verify_reads_an_archive_from_standard_input() {
    let sample = sample();
    let key = sample.project.public_key();
    let run = || sample.project.modelseal(&["verify", "-", "--key", &key]);
    run().input(sample.bytes.clone()).expect(0).says("signed by ci");
    let mut damaged = sample.bytes.clone();
    let last = damaged.len() - 2048;
    damaged[last] ^= 1;
    run().input(damaged).expect(1).claims_no_success();
    run().input("").expect(1).claims_no_success();
    let both = sample.project.modelseal(&["verify", "-", "--key", "-"]).input("");
    both.expect(2).claims_no_success();
}

#[test]
fn verify_report_as_json_lists_verdict_signers_and_checks() {
    let project = Project::new();
    let archive = project.build();
    let report = project.verify(&archive, &["--format", "json", "--hash", "all"]).json();
    assert_eq!(report["verdict"], "pass");
    assert_eq!(report["hash"], "all");
    assert_eq!(report["origin"], "adopted");
    assert_eq!(report["model"]["name"], "wine");
    assert_eq!(report["signers"][0]["name"], "ci");
    let ids: Vec<&str> = report["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter_map(|check| check["id"].as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "seal",
            "signature",
            "archive",
            "files",
            "model_signature",
            "lineage.code",
            "lineage.recipe",
            "lineage.data.train",
            "lineage.params",
            "lineage.environment",
            "lineage.origin",
        ]
    );
}

#[test]
fn verify_accepts_only_the_release_that_the_option_demands() {
    let project = Project::new();
    let archive = project.build();
    let report = project.verify(&archive, &["--format", "json"]).json();
    let release = report["release"].as_str().expect("a release").to_string();
    let hex = release.trim_start_matches("sha256:");
    for right in [release.as_str(), hex] {
        assert_eq!(project.verify(&archive, &["--release", right]).code, Some(0));
    }
    let other = format!("sha256:{}", "0".repeat(64));
    let outcome = project.verify(&archive, &["--release", &other]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("this is not the demanded release").claims_no_success();
    for bad in ["sha256:abc", "", &hex.to_uppercase(), &format!("blake3:{hex}")] {
        assert_eq!(project.verify(&archive, &["--release", bad]).code, Some(2));
    }
}

#[test]
fn verify_is_inconclusive_if_no_lineage_was_sealed() {
    let project = Project::with_artifact(&[("a", b"a")]);
    project.edit_recipe("[params]\nvalues = { a = 1 }\n", "");
    let key = project.key();
    project
        .modelseal(&["build", "--key", &key])
        .expect(0)
        .says("missing  the code revision, the training data, the hyperparameters");
    let archive = project.at("dist/m-1.tar");
    let outcome = project.verify(&archive, &[]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.all());
    outcome.says("lineage.data         unknown").says("inconclusive: the code revision was not sealed");
    outcome.claims_no_success();
    let report = project.verify(&archive, &["--format", "json"]).json();
    assert_eq!(report["verdict"], "inconclusive");
    assert_eq!(report["missing"], serde_json::json!(["code", "data", "params"]));
    // One part is enough for a verdict. The missing parts are still reported.
    project.append_recipe("[params]\nvalues = { a = 1 }\n");
    let archive = project.build_with(&["--force"]);
    let outcome = project.verify(&archive, &[]);
    assert_eq!(outcome.code, Some(0));
    outcome.says("lineage.code         warn     the code revision was not sealed");
    // Nothing is extracted from an inconclusive release.
    project.edit_recipe("[params]\nvalues = { a = 1 }\n", "");
    let archive = project.build_with(&["--force"]);
    let (from, key) = (archive.to_string_lossy(), project.public_key());
    let to = project.out("never").to_string_lossy().into_owned();
    project.modelseal(&["unpack", &from, "-o", &to, "--key", &key]).expect(3).says("nothing was unpacked");
    assert!(!project.out("never").exists());
}

#[test]
fn unpack_writes_a_directory_that_verify_accepts() {
    let project = Project::new();
    project.write("model/sub/run.sh", "#!/bin/sh\n");
    fs::set_permissions(project.at("model/sub/run.sh"), fs::Permissions::from_mode(0o755)).expect("sets");
    project.commit();
    for compression in ["none", "gzip", "zstd"] {
        let archive = project.build_with(&["--compression", compression]);
        let directory = project.unpack(&archive);
        let outcome = project.verify(&directory, &["--hash", "all"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.all());
        let modified =
            fs::metadata(directory.join("config.json")).expect("is there").modified().expect("a time");
        let seconds = modified.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        assert_eq!(seconds, 1_760_000_000);
        fs::remove_dir_all(&directory).expect("removes");
    }
    let left: Vec<_> = fs::read_dir(project.out("")).expect("reads").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn unpack_refuses_a_destination_that_is_not_an_empty_directory() {
    let project = Project::new();
    let archive = project.build();
    let key = project.public_key();
    let unpack = |to: &str| {
        let from = archive.to_string_lossy().into_owned();
        let to = project.out(to).to_string_lossy().into_owned();
        project.modelseal(&["unpack", &from, "-o", &to, "--key", &key])
    };
    fs::create_dir(project.out("full")).expect("creates");
    fs::write(project.out("full/x"), "x").expect("writes");
    unpack("full").expect(2).says("is not empty").claims_no_success();
    fs::create_dir(project.out("real")).expect("creates");
    std::os::unix::fs::symlink("real", project.out("link")).expect("links");
    unpack("link").expect(2).says("is a symbolic link");
    fs::write(project.out("file"), "x").expect("writes");
    unpack("file").expect(2).says("is not a directory");
    unpack("no/such/parent").expect(2).says("no/such` does not exist");
    unpack("real").expect(0);
    assert!(project.out("real/config.json").is_file());
    // A directory is already unpacked.
    let from = project.out("real").to_string_lossy().into_owned();
    let to = project.out("again").to_string_lossy().into_owned();
    project.modelseal(&["unpack", &from, "-o", &to, "--key", &key]).expect(2);
}

#[test]
fn show_prints_archives_directories_and_seals_as_not_verified() {
    let project = Project::new();
    let archive = project.build();
    let directory = project.unpack(&archive);
    let seal = directory.join(".modelseal/manifest.sigstore.json");
    let mut outputs = Vec::new();
    for target in [&archive, &directory, &seal] {
        let target = target.to_string_lossy();
        let text = project.modelseal(&["show", &target]).expect(0);
        text.says("not verified: this is what the seal says").says("seed = 42").says("labels `a`: 2, `b`: 1");
        let json = project.modelseal(&["show", &target, "--format", "json"]).expect(0).json();
        assert_eq!(json["verified"], false);
        assert_eq!(
            json["statement"]["predicate"]["buildDefinition"]["externalParameters"]["hyperparameters"]["seed"],
            42
        );
        outputs.push(text.stdout);
    }
    assert!(outputs.iter().all(|output| *output == outputs[0]));
    let target = project.at("train.py").to_string_lossy().into_owned();
    project.modelseal(&["show", &target]).expect(1).says("it is not a tar archive");
    let target = project.at("model").to_string_lossy().into_owned();
    project.modelseal(&["show", &target]).expect(1).says("there is no seal");
}

/// The author of an archive chooses its file names. They must not forge a line, an escape sequence or a command.
#[test]
fn verify_report_escapes_file_names() {
    let name = "a\u{202e}gpj.exe `b` ::error::x";
    let project = Project::with_artifact(&[(name, b"x")]);
    let archive = project.build();
    let directory = project.unpack(&archive);
    fs::write(directory.join(name), "y").expect("writes");
    fs::write(directory.join("evil\n\u{1b}[2Jpass: all is well"), "x").expect("writes");
    let outcome = project.verify(&directory, &[]);
    assert_eq!(outcome.code, Some(1));
    outcome
        .says("`a\\u{202e}gpj.exe \\u{60}b\\u{60} ::error::x`")
        .says("`evil\\u{a}\\u{1b}[2Jpass: all is well`");
    let unsafe_characters =
        outcome.stdout.chars().any(|character| character.is_control() && character != '\n');
    assert!(!unsafe_characters && !outcome.stdout.contains('\u{202e}'));
    assert!(!outcome.stdout.lines().any(|line| line.starts_with("pass") || line.starts_with("::")));
}

#[test]
fn verify_quiet_prints_only_the_verdict() {
    let sample = sample();
    let file = sample.project.out("quiet.tar");
    fs::write(&file, &sample.bytes).expect("writes");
    let outcome = sample.project.verify(&file, &["--quiet"]);
    assert_eq!(outcome.stdout.lines().count(), 1);
    assert!(outcome.stdout.starts_with("pass: "));
}
