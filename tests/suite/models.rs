//! Models without a recipe: signing them, and verifying signatures by others (OpenSSF Model Signing).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::archive::payload;
use crate::support::project::Project;
use crate::support::run::{Outcome, modelseal};

/// The model of the vectors, in a directory `m`.
pub fn model() -> (Project, PathBuf) {
    let project = Project::empty();
    project.public_key();
    let model = project.root().join("m");
    fs::create_dir(&model).expect("creates");
    fill(&model);
    (project, model)
}

/// Writes the files of the vectors' model.
pub fn fill(directory: &Path) {
    fs::create_dir(directory.join("sub")).expect("creates");
    for (path, content) in [
        ("config.json", "hello"),
        ("empty", ""),
        ("sub/a.bin", "a"),
        ("sub-x", "x"),
        ("größe.txt", "ü"),
        (".gitignore", "ignored"),
    ] {
        fs::write(directory.join(path), content).expect("writes");
    }
}

fn vector(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/oms").join(name);
    path.to_string_lossy().into_owned()
}

pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

pub fn verify(model: &Path, signature: &str, more: &[&str]) -> Outcome {
    let model = text(model);
    let arguments = [&["verify", &model, "--signature", signature][..], more].concat();
    let json = modelseal(arguments.iter().chain(&["--format", "json"])).run();
    if json.code != Some(2) {
        json.json();
    }
    modelseal(arguments).run()
}

/// Signatures by every release of the reference tool: keys with and without a hint, certificates, the form of release
/// 0.2, files in pieces, and every hash that it supports.
#[test]
fn verify_accepts_signatures_by_every_release_of_model_signing() {
    let (_project, model) = model();
    let signer = vector("signer.pub");
    let root = vector("root.pem");
    let by_key = ["--key", &signer];
    let by_certificate = ["--certificate-chain", &root, "--subject", "CN=signer"];
    for (name, trusted, says) in [
        ("0.2.0-certificate", &by_certificate[..], "over 6 files, sha256; listed in the order of the ref"),
        ("0.3.1-key", &by_key[..], "over 5 files, sha256; listed in the order of the reference tool"),
        ("1.0.1-key", &by_key[..], "over 5 files, sha256"),
        ("1.0.1-certificate", &by_certificate[..], "over 5 files, sha256"),
        ("1.1.1-certificate", &by_certificate[..], "over 5 files, sha256"),
        ("1.1.1-blake2b", &by_key[..], "over 5 files, blake2b"),
        ("1.1.1-blake3", &by_key[..], "over 5 files, blake3"),
        ("1.1.1-shards", &by_key[..], "over 4 files in shards of 3 bytes, sha256"),
        ("1.1.1-shards-blake2b", &by_key[..], "over 4 files in shards of 3 bytes, blake2b"),
    ] {
        let signature = vector(&format!("{name}.sig"));
        let outcome = verify(&model, &signature, trusted);
        assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.all());
        outcome.says(says).says("lineage          skip").says("match the model signature signed by");
        if name.contains("shards") {
            outcome.says("empty files that a sharded signature does not cover (`empty`)");
        }
        for (path, changed, was) in [("sub/a.bin", "b", "a"), ("config.json", "hellp", "hello")] {
            fs::write(model.join(path), changed).expect("writes");
            let outcome = verify(&model, &signature, trusted);
            assert_eq!(outcome.code, Some(1), "{name}");
            outcome.says(&format!("`{path}` differs from the signed file")).claims_no_success();
            fs::write(model.join(path), was).expect("writes");
        }
    }
}

#[test]
fn sign_writes_reproducible_bytes_in_the_order_of_the_specification() {
    let (project, model) = model();
    let key = project.key();
    let sign = |more: &[&str]| {
        let directory = text(&model);
        modelseal([&["sign", &directory, "--key", &key][..], more].concat()).run()
    };
    assert_eq!(sign(&[]).code, Some(0));
    let first = fs::read(model.join("model.sig")).expect("reads");
    sign(&[]).says("is already up to date");
    let statement: serde_json::Value = serde_json::from_slice(&payload(&first)).expect("is JSON");
    let names: Vec<&str> = statement["predicate"]["resources"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|resource| resource["name"].as_str().expect("a text"))
        .collect();
    assert_eq!(names, ["config.json", "empty", "größe.txt", "sub-x", "sub/a.bin"]);
    let ignored = statement["predicate"]["serialization"]["ignore_paths"].to_string();
    assert_eq!(ignored, r#"[".git",".gitattributes",".github",".gitignore","model.sig"]"#);

    let outcome = verify(&model, &text(&model.join("model.sig")), &["--key", &project.public_key()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    assert!(!outcome.stdout.contains("listed in"), "{}", outcome.stdout);
    outcome.says("ignored paths (`.gitignore`)");

    fs::write(model.join("config.json"), "other").expect("writes");
    assert_eq!(
        sign(&[]).says("already exists with other content").says("`--force` replaces it").code,
        Some(2)
    );
    assert_eq!(fs::read(model.join("model.sig")).expect("reads"), first);
    assert_eq!(sign(&["--force"]).code, Some(0));
    fs::write(model.join("config.json"), "hello").expect("writes");
    assert_eq!(sign(&["--force"]).code, Some(0));
    assert_eq!(fs::read(model.join("model.sig")).expect("reads"), first, "the same model, the same bytes");
}

#[test]
fn verify_of_a_signed_model_names_missing_extra_and_ignored_files() {
    let (project, model) = model();
    let (key, public) = (project.key(), project.public_key());
    let directory = text(&model);
    let scratch = text(&model.join("scratch"));
    fs::create_dir(&scratch).expect("creates");
    fs::write(model.join("scratch/log"), "x").expect("writes");
    let signature = text(&project.root().join("outside.sig"));
    modelseal(["sign", &directory, "--key", &key, "--signature", &signature, "--ignore-path", &scratch])
        .expect(0)
        .says("left out and not signed: `.gitignore`, `scratch`");
    let trusted = ["--key", public.as_str()];
    assert_eq!(verify(&model, &signature, &trusted).code, Some(0));

    fs::rename(model.join("empty"), model.join("renamed")).expect("renames");
    symlink("config.json", model.join("link")).expect("links");
    fs::create_dir(model.join(".git")).expect("creates");
    fs::write(model.join(".git/config"), "x").expect("writes");
    verify(&model, &signature, &trusted)
        .says("`empty` is missing")
        .says("`renamed` is not signed")
        .says("`link`: it is a symbolic link")
        .says("ignored paths (`.git`, `.gitignore`, `scratch`)")
        .says("fail: 3 of 7 files differ")
        .claims_no_success();
    fs::remove_file(model.join("link")).expect("removes");
    fs::write(model.join("empty"), "").expect("writes");
    let lenient = [&trusted[..], &["--ignore-unsigned-files"]].concat();
    let outcome = verify(&model, &signature, &lenient);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    outcome.says("unsigned files (`renamed`)");
    let renamed = text(&model.join("renamed"));
    let outcome = verify(&model, &signature, &[&trusted[..], &["--ignore-path", &renamed]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    // A signed file cannot be excluded.
    let signed = text(&model.join("sub-x"));
    let outcome = verify(&model, &signature, &[&lenient[..], &["--ignore-path", &signed]].concat());
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("`sub-x` is missing");
    let elsewhere = project.public_key();
    let outcome = verify(&model, &signature, &[&trusted[..], &["--ignore-path", &elsewhere]].concat());
    assert_eq!(outcome.code, Some(2));
    outcome.says("is not inside the model");
    // The same path as the report names it.
    assert_eq!(
        verify(&model, &signature, &[&trusted[..], &["--ignore-path", "renamed"]].concat()).code,
        Some(0)
    );
}

#[test]
fn sign_and_verify_accept_a_single_file_as_a_model() {
    let (project, model) = model();
    let (key, public) = (project.key(), project.public_key());
    let file = text(&model.join("config.json"));
    modelseal(["sign", &file, "--key", &key]).expect(0);
    let signature = format!("{file}.sig");
    let trusted = ["--key", public.as_str()];
    assert_eq!(verify(Path::new(&file), &signature, &trusted).code, Some(0));
    fs::write(&file, "other").expect("writes");
    let outcome = verify(Path::new(&file), &signature, &trusted);
    assert_eq!(outcome.code, Some(1));
    outcome.says("differs from the signed file").claims_no_success();
}

#[test]
fn verify_fails_a_model_signature_if_the_policy_demands_lineage() {
    let (project, model) = model();
    let (key, public) = (project.key(), project.public_key());
    modelseal(["sign", &text(&model), "--key", &key]).expect(0);
    let signature = text(&model.join("model.sig"));
    let policy = project.root().join("gate.toml");
    let judge = |demands: &str| {
        let signer = format!("[[signer]]\nname = \"ci\"\nkey = {public:?}\n");
        fs::write(&policy, format!("{demands}\n{signer}")).expect("writes");
        verify(&model, &signature, &["--policy", &text(&policy)])
    };
    let outcome = judge("model = \"m\"");
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    for (demand, id) in [
        ("origin = \"adopted\"", "lineage.origin"),
        ("previous = \"required\"", "previous"),
        ("min_release = 1", "gate.rollback"),
        ("[code]\ndirty = false", "lineage.code"),
        ("[data.train]\nmax_age = \"1d\"", "lineage.data.train"),
        ("[refresh]\ninert = \"fail\"", "gate.refresh"),
        ("[probe.golden]", "probe.golden"),
    ] {
        let outcome = judge(&format!("model = \"m\"\n{demand}"));
        assert_eq!(outcome.code, Some(1), "{demand}: {}", outcome.all());
        outcome.says(id).says("a model signature has no lineage").claims_no_success();
    }
    let outcome = judge("model = \"wine\"");
    assert_eq!(outcome.code, Some(1));
    outcome.says("this is the model `m`, but the policy is for `wine`");
}

#[test]
fn sign_and_verify_report_missing_files_and_unusable_keys() {
    let (project, model) = model();
    let public = project.public_key();
    let directory = text(&model);
    verify(&model, "/nowhere.sig", &["--key", &public]).says("`/nowhere.sig` does not exist");
    let outcome = verify(&model, &directory, &["--key", &public]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    modelseal(["sign", &directory, "--key", &project.key()]).expect(0);
    let signature = text(&model.join("model.sig"));
    assert_eq!(verify(&model, &signature, &[]).says("no trusted signer was named").code, Some(2));
    // Without `--signature`, a seal is expected. The message names what is there instead.
    modelseal(["verify", &directory, "--key", &public]).expect(1).says("verify that with `--signature ");
    fs::remove_file(&signature).expect("removes");
    let prefix = text(&project.root().join("ed"));
    modelseal(["keygen", "-o", &prefix, "--algorithm", "ed25519"]).expect(0);
    let (key, other) = (format!("{prefix}.key"), project.key());
    modelseal(["sign", &directory, "--key", &key]).expect(2).says("an Ed25519 key cannot sign a model");
    let empty = text(&project.root().join("nothing"));
    fs::create_dir(&empty).expect("creates");
    modelseal(["sign", &empty, "--key", &other]).expect(1).says("there are no files to sign");
    symlink("config.json", model.join("link")).expect("links");
    modelseal(["sign", &directory, "--key", &other]).expect(1).says("it is a symbolic link");
    assert!(!model.join("model.sig").exists());
}

/// A received model may contain anything in place of its signature.
#[test]
fn sign_refuses_a_fifo_or_a_link_in_place_of_the_signature() {
    let (project, model) = model();
    let (key, directory) = (project.key(), text(&model));
    let place = model.join("model.sig");
    rustix::fs::mkfifoat(rustix::fs::CWD, &place, rustix::fs::Mode::RWXU).expect("fifo");
    modelseal(["sign", &directory, "--key", &key]).expect(2).says("is a FIFO");
    fs::remove_file(&place).expect("removes");
    symlink("/dev/zero", &place).expect("links");
    modelseal(["sign", &directory, "--key", &key]).expect(2).says("model.sig");
    assert!(place.is_symlink());
    // No other kind of file is accepted as a model either.
    let pipe = text(&project.root().join("pipe"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).expect("fifo");
    modelseal(["sign", &pipe, "--key", &key]).expect(2).says("/pipe` is a FIFO, not a regular file");
    let (signature, public) = (vector("1.1.1-p256.sig"), vector("p256.pub"));
    let outcome = modelseal(["verify", &pipe, "--signature", &signature, "--key", &public]);
    outcome.expect(2).says("/pipe` is a FIFO, not a regular file");
}

/// A link may name the model, but its contents may not be links.
#[test]
fn sign_and_verify_accept_a_link_that_names_the_model() {
    let (project, model) = model();
    let (key, public) = (project.key(), project.public_key());
    let link = project.root().join("link");
    symlink("m", &link).expect("links");
    modelseal(["sign", &text(&link), "--key", &key]).expect(0);
    let signature = text(&model.join("model.sig"));
    assert_eq!(verify(&link, &signature, &["--key", &public]).code, Some(0));
    let file = project.root().join("file");
    symlink("m/config.json", &file).expect("links");
    let one = text(&project.root().join("one.sig"));
    modelseal(["sign", &text(&file), "--key", &key, "--signature", &one]).expect(0);
    let nowhere = text(&project.root().join("nowhere/one.sig"));
    modelseal(["sign", &text(&file), "--key", &key, "--signature", &nowhere])
        .expect(2)
        .says("/nowhere` does not exist");
    assert_eq!(verify(&file, &one, &["--key", &public]).code, Some(0));
}
