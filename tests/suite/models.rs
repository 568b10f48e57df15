//! Models without a recipe: signing them, and verifying what others signed (OpenSSF Model Signing).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use modelseal::sign::{KeySource, Signer, read_private_key, write_bundle};

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

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn verify(model: &Path, signature: &str, more: &[&str]) -> Outcome {
    let model = text(model);
    let arguments = [&["verify", &model, "--signature", signature][..], more].concat();
    let json = modelseal(arguments.iter().chain(&["--format", "json"])).run();
    if json.code != Some(2) {
        json.json();
    }
    modelseal(arguments).run()
}

/// What every release of the reference tool wrote: keys with and without a hint, certificates, the form of
/// release 0.2, pieces of files, and every hash that it has.
#[test]
fn signatures_of_every_release_of_the_reference_tool_verify() {
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
        ("1.1.1-shards", &by_key[..], "over 4 files in pieces of 3 bytes, sha256"),
        ("1.1.1-shards-blake2b", &by_key[..], "over 4 files in pieces of 3 bytes, blake2b"),
    ] {
        let signature = vector(&format!("{name}.sig"));
        let outcome = verify(&model, &signature, trusted);
        assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.all());
        outcome.says(says).says("lineage          skip").says("match the model signature signed by");
        if name.contains("shards") {
            outcome.says("1 empty file: a signature over pieces does not cover them");
        }
        for (path, changed, was) in [("sub/a.bin", "b", "a"), ("config.json", "hellp", "hello")] {
            fs::write(model.join(path), changed).expect("writes");
            let outcome = verify(&model, &signature, trusted);
            assert_eq!(outcome.code, Some(1), "{name}");
            outcome.says(&format!("`{path}` is not the file that was signed")).claims_no_success();
            fs::write(model.join(path), was).expect("writes");
        }
    }
}

#[test]
fn what_we_sign_is_reproducible_in_the_order_of_the_specification() {
    let (project, model) = model();
    let key = project.key();
    let sign = |more: &[&str]| {
        let directory = text(&model);
        modelseal([&["sign", &directory, "--key", &key][..], more].concat()).run()
    };
    assert_eq!(sign(&[]).code, Some(0));
    let first = fs::read(model.join("model.sig")).expect("reads");
    sign(&[]).says("was there already");
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
    outcome.says("what lies there and is left out: `.gitignore`");

    fs::write(model.join("config.json"), "other").expect("writes");
    assert_eq!(sign(&[]).says("holds something else").says("`--force` replaces it").code, Some(2));
    assert_eq!(fs::read(model.join("model.sig")).expect("reads"), first);
    assert_eq!(sign(&["--force"]).code, Some(0));
    fs::write(model.join("config.json"), "hello").expect("writes");
    assert_eq!(sign(&["--force"]).code, Some(0));
    assert_eq!(fs::read(model.join("model.sig")).expect("reads"), first, "the same model, the same bytes");
}

#[test]
fn what_is_missing_extra_or_left_out_is_named() {
    let (project, model) = model();
    let (key, public) = (project.key(), project.public_key());
    let directory = text(&model);
    let scratch = text(&model.join("scratch"));
    fs::create_dir(&scratch).expect("creates");
    fs::write(model.join("scratch/log"), "x").expect("writes");
    let signature = text(&project.root().join("outside.sig"));
    modelseal(["sign", &directory, "--key", &key, "--signature", &signature, "--ignore-path", &scratch])
        .expect(0)
        .says("left out, and not signed: `.gitignore`, `scratch`");
    let trusted = ["--key", public.as_str()];
    assert_eq!(verify(&model, &signature, &trusted).code, Some(0));

    fs::rename(model.join("empty"), model.join("renamed")).expect("renames");
    symlink("config.json", model.join("link")).expect("links");
    fs::create_dir(model.join(".git")).expect("creates");
    fs::write(model.join(".git/config"), "x").expect("writes");
    verify(&model, &signature, &trusted)
        .says("`empty` is missing")
        .says("`renamed` is there, and nobody signed it")
        .says("`link`: it is a symbolic link")
        .says("and is left out: `.git`, `.gitignore`, `scratch`")
        .says("fail: 3 of 7 files differ")
        .claims_no_success();
    fs::remove_file(model.join("link")).expect("removes");
    fs::write(model.join("empty"), "").expect("writes");
    let lenient = [&trusted[..], &["--ignore-unsigned-files"]].concat();
    let outcome = verify(&model, &signature, &lenient);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    outcome.says("what lies there that nobody signed: `renamed`");
    let renamed = text(&model.join("renamed"));
    let outcome = verify(&model, &signature, &[&trusted[..], &["--ignore-path", &renamed]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    // What was signed cannot be left out.
    let signed = text(&model.join("sub-x"));
    let outcome = verify(&model, &signature, &[&lenient[..], &["--ignore-path", &signed]].concat());
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("`sub-x` is missing");
    let elsewhere = project.public_key();
    let outcome = verify(&model, &signature, &[&trusted[..], &["--ignore-path", &elsewhere]].concat());
    assert_eq!(outcome.code, Some(2));
    outcome.says("is nothing that lies in the model");
    // As the report names it, too.
    assert_eq!(
        verify(&model, &signature, &[&trusted[..], &["--ignore-path", "renamed"]].concat()).code,
        Some(0)
    );
}

#[test]
fn one_file_is_a_model_too() {
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
    outcome.says("is not the file that was signed").claims_no_success();
}

/// A key that signs what it should not.
#[test]
fn what_is_rightly_signed_and_means_nothing_good_is_refused() {
    let (project, model) = model();
    let (key, public) = (project.key(), project.public_key());
    let signer: Signer =
        read_private_key(&KeySource::from(key.as_str()), &mut |_| Ok(None)).expect("reads").into();
    modelseal(["sign", &text(&model), "--key", &key]).expect(0);
    let good = String::from_utf8(payload(&fs::read(model.join("model.sig")).expect("reads"))).expect("text");
    let signature = text(&project.root().join("bad.sig"));
    let empty = "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"";
    let start = good.find("\"resources\":[").expect("is there") + "\"resources\":[".len();
    let end = good.find("],\"serialization\"").expect("is there");
    let root = &good[good.find("\"sha256\":").expect("is there") + 9..][..66];
    let no_files = format!("{}{}", &good[..start], &good[end..]).replace(root, empty);
    for (statement, reason) in [
        (good.replace("\"name\":\"empty\"", "\"name\":\"config.json\""), "it lists `config.json` twice"),
        (good.replace("\"name\":\"empty\"", "\"name\":\"./empty\""), "`./empty` is not a path of a file"),
        (good.replace("\"name\":\"empty\"", "\"name\":\"../empty\""), "`../empty` is not a path of a file"),
        (good.replace("\"name\":\"empty\"", "\"name\":\"/empty\""), "`/empty` is not a path of a file"),
        (good.replace("\"name\":\"empty\"", "\"name\":\"a//empty\""), "`a//empty` is not a path of a file"),
        (no_files, "it lists no file at all"),
        (good.replace(root, empty), "its root digest is"),
        (good.replace("signature/v1.0", "signature/v1.1"), "not that of a model signature"),
        (
            good.replace("\"subject\":[", "\"subject\":[{\"name\":\"x\",\"digest\":{\"sha256\":\"00\"}},"),
            "2 subjects",
        ),
        ("{}".to_string(), "missing field"),
        ("not json".to_string(), "expected"),
    ] {
        assert_ne!(statement, good);
        fs::write(&signature, write_bundle(statement.as_bytes(), &signer).expect("signs")).expect("writes");
        let outcome = verify(&model, &signature, &["--key", &public]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        outcome.says("seal             fail").says(reason).claims_no_success();
    }
    // A manifest of modelseal is no model signature.
    let sealed = Project::new();
    let unpacked = sealed.unpack(&sealed.build());
    let seal = text(&unpacked.join(".modelseal/manifest.sigstore.json"));
    verify(&model, &seal, &["--key", &sealed.public_key()]).says("not that of a model signature");
}

#[test]
fn bundles_that_are_none_or_say_too_much_are_refused() {
    let (project, model) = model();
    let (key, public) = (project.key(), project.public_key());
    modelseal(["sign", &text(&model), "--key", &key]).expect(0);
    let good = fs::read_to_string(model.join("model.sig")).expect("reads");
    let trimmed = good.trim_end();
    let document: serde_json::Value = serde_json::from_str(trimmed).expect("is JSON");
    let signature = document["dsseEnvelope"]["signatures"][0]["sig"].as_str().expect("a text");
    let content = document["dsseEnvelope"]["payload"].as_str().expect("a text");
    let url_safe = |text: &str| text.replace('+', "-").replace('/', "_");
    let other = text(&project.root().join("other.sig"));
    let attempt = |bundle: &str| {
        fs::write(&other, bundle).expect("writes");
        verify(&model, &other, &["--key", &public])
    };
    // Other spellings of the same are fine: other tools have theirs.
    for bundle in [
        trimmed.to_string(),
        format!("{trimmed}\n"),
        serde_json::to_string_pretty(&document).expect("is JSON"),
        trimmed.replace(content, &url_safe(content)),
        trimmed.replace(signature, &url_safe(signature)),
    ] {
        let outcome = attempt(&bundle);
        assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    }
    let der = STANDARD.decode(signature).expect("is base64");
    let flipped = STANDARD.encode([&der[..der.len() - 1], &[der[der.len() - 1] ^ 1]].concat());
    let certificate = "\"certificate\":{\"rawBytes\":\"AAAA\"},";
    let chain =
        "\"x509CertificateChain\":{\"certificates\":[{\"rawBytes\":\"AAAA\"},{\"rawBytes\":\"AAAA\"}]},";
    for (bundle, id, reason) in [
        (trimmed.replace(signature, &flipped), "signature", "what was signed was changed afterwards"),
        (trimmed.replace(signature, "AAAA"), "signature", "not in canonical form"),
        (trimmed.replace(signature, &format!("{signature}\\n")), "seal", "its signature is not base64"),
        (trimmed.replace(signature, &format!(" {signature}")), "seal", "its signature is not base64"),
        (trimmed.replace(signature, signature.trim_end_matches('=')), "seal", "its signature is not base64"),
        (
            trimmed.replace("\"publicKey\"", &format!("{certificate}\"publicKey\"")),
            "seal",
            "more than one of",
        ),
        (trimmed.replace("\"publicKey\"", &format!("{chain}\"publicKey\"")), "seal", "more than one of"),
        (
            trimmed.replace("\"signatures\":[", "\"signatures\":[{\"sig\":\"\"},"),
            "seal",
            "it has 2 signatures",
        ),
        (trimmed.replace("\"signatures\":[{", "\"signatures\":[],\"x\":[{"), "seal", "unknown field"),
        (trimmed.replace("bundle.v0.3", "bundle.v0.9"), "seal", "its mediaType is"),
        (format!("{trimmed}{trimmed}"), "seal", "trailing characters"),
        (trimmed.replacen('{', "{\"mediaType\":\"x\",", 1), "seal", "duplicate field"),
        (String::new(), "seal", "not valid JSON"),
        ("[".repeat(100_000), "seal", "cannot be read"),
    ] {
        // Only the padding may be missing already.
        if bundle == trimmed && reason == "its signature is not base64" && !signature.ends_with('=') {
            continue;
        }
        assert_ne!(bundle, trimmed, "{reason}");
        let outcome = attempt(&bundle);
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        outcome.says(&format!("{id:<15}  fail")).says(reason).claims_no_success();
    }
}

#[test]
fn a_policy_that_demands_lineage_fails() {
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
    outcome.says("this is the model `m`, and the policy is for `wine`");
}

#[test]
fn what_is_not_there_or_cannot_sign_is_2() {
    let (project, model) = model();
    let public = project.public_key();
    let directory = text(&model);
    verify(&model, "/nowhere.sig", &["--key", &public]).says("`/nowhere.sig` does not exist");
    let outcome = verify(&model, &directory, &["--key", &public]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    modelseal(["sign", &directory, "--key", &project.key()]).expect(0);
    let signature = text(&model.join("model.sig"));
    assert_eq!(verify(&model, &signature, &[]).says("nobody is trusted").code, Some(2));
    // Without `--signature` a seal is looked for; what there is instead is named.
    modelseal(["verify", &directory, "--key", &public]).expect(1).says("`--signature ").says("verifies that");
    fs::remove_file(&signature).expect("removes");
    let prefix = text(&project.root().join("ed"));
    modelseal(["keygen", "-o", &prefix, "--algorithm", "ed25519"]).expect(0);
    let (key, other) = (format!("{prefix}.key"), project.key());
    modelseal(["sign", &directory, "--key", &key]).expect(2).says("an Ed25519 key cannot sign a model");
    let empty = text(&project.root().join("nothing"));
    fs::create_dir(&empty).expect("creates");
    modelseal(["sign", &empty, "--key", &other]).expect(1).says("there is no file to sign");
    symlink("config.json", model.join("link")).expect("links");
    modelseal(["sign", &directory, "--key", &other]).expect(1).says("it is a symbolic link");
    assert!(!model.join("model.sig").exists());
}

/// A received model may have anything in the place of its signature.
#[test]
fn what_lies_in_the_place_of_a_signature_is_not_waited_for_nor_replaced() {
    let (project, model) = model();
    let (key, directory) = (project.key(), text(&model));
    let place = model.join("model.sig");
    rustix::fs::mkfifoat(rustix::fs::CWD, &place, rustix::fs::Mode::RWXU).expect("fifo");
    modelseal(["sign", &directory, "--key", &key]).expect(2).says("is a FIFO");
    fs::remove_file(&place).expect("removes");
    symlink("/dev/zero", &place).expect("links");
    modelseal(["sign", &directory, "--key", &key]).expect(2).says("model.sig");
    assert!(place.is_symlink());
}

/// The model may be named by a link; what lies in it may not be one.
#[test]
fn a_model_that_is_named_by_a_link() {
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

/// What nobody who is trusted signed costs next to nothing, however long it is.
#[test]
fn long_lists_of_strangers_are_not_read() {
    let (project, model) = model();
    let (stranger, _) = project.other_key("stranger");
    let signer: Signer =
        read_private_key(&KeySource::from(stranger.as_str()), &mut |_| Ok(None)).expect("reads").into();
    let resource = |index: usize| {
        let (start, end, zero) = (index, index + 1, "0".repeat(64));
        format!("{{\"algorithm\":\"sha256-sharded-1\",\"digest\":\"{zero}\",\"name\":\".:{start}:{end}\"}}")
    };
    let resources: Vec<String> = (0..100_000).map(resource).collect();
    let statement = format!(
        "{{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[{{\"name\":\"m\",\"digest\":{{\"sha256\":\"{}\"}}}}],\
         \"predicateType\":\"https://model_signing/signature/v1.0\",\"predicate\":{{\"resources\":[{}],\"serialization\":\
         {{\"method\":\"shards\",\"hash_type\":\"sha256\",\"shard_size\":1,\"allow_symlinks\":false}}}}}}",
        "0".repeat(64),
        resources.join(",")
    );
    let signature = text(&project.root().join("long.sig"));
    fs::write(&signature, write_bundle(statement.as_bytes(), &signer).expect("signs")).expect("writes");
    let outcome = verify(&model, &signature, &["--key", &project.public_key()]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("seal             skip     what it says was not read").claims_no_success();
    // Read it is, in time that grows as its length does, where its signer is trusted.
    let outcome =
        verify(&model, &signature, &["--key", &project.root().join("stranger.pub").to_string_lossy()]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("its root digest is").claims_no_success();
    // A bundle has no list that could be long.
    let entries = vec!["1"; 1_000_000].join(",");
    let bundle = fs::read_to_string(&signature).expect("reads");
    let bundle = bundle.replace("\"tlogEntries\":[]", &format!("\"tlogEntries\":[{entries}]"));
    fs::write(&signature, bundle).expect("writes");
    let outcome = verify(&model, &signature, &["--key", &project.public_key()]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("a list has more than 64 entries").claims_no_success();
}
