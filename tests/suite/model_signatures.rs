//! Model signatures by other tools, read by the library. Releases of the OMS reference tool (`model-signing`) wrote the
//! vectors, over the model that [`model`] makes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use modelseal_format::context::Context;
use modelseal_format::sign::{Bundle, Material, PublicKey, read_foreign};
use modelseal_verify::oms::{Difference, GIT_PATHS, Hash, ModelStatement, Order, compare, verify};

fn vector(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/oms").join(name)).expect("reads")
}

fn key(name: &str) -> PublicKey {
    let text = String::from_utf8(vector(&format!("{name}.pub"))).expect("is text");
    PublicKey::from_pem(&text, name).expect("is a key")
}

fn read(name: &str) -> Bundle {
    read_foreign(&vector(name)).expect("is a bundle")
}

/// The model that the vectors sign.
fn model() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    crate::models::fill(directory.path());
    directory
}

fn git_paths() -> BTreeSet<String> {
    GIT_PATHS.map(str::to_string).into()
}

#[test]
fn model_signature_by_released_tools_verifies_and_rejects_a_changed_payload() {
    for curve in ["p256", "p521"] {
        for release in ["0.2.0", "1.1.1"] {
            let name = format!("{release}-{curve}.sig");
            let mut bundle = read(&name);
            assert!(
                matches!(&bundle.material, Material::Key { hint } if hint.is_some() == (release == "1.1.1"))
            );
            verify(&bundle, &key(curve)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let other = if curve == "p256" { "p521" } else { "p256" };
            assert!(verify(&bundle, &key(other)).is_err(), "{name}");
            bundle.payload.as_mut().expect("at hand")[100] ^= 1;
            assert!(verify(&bundle, &key(curve)).is_err(), "{name}");
        }
    }
}

#[test]
fn model_comparison_reports_changed_missing_and_unsigned_files() {
    let directory = model();
    let root = directory.path();
    for release in ["0.2.0", "1.1.1"] {
        let bundle = read(&format!("{release}-p256.sig"));
        let statement = ModelStatement::read(bundle.payload()).expect("is a statement");
        assert_eq!((statement.hash, statement.shard_size), (Hash::Sha256, None));
        // Release 0.2 excludes nothing by itself.
        let ignored = if release == "0.2.0" { BTreeSet::new() } else { git_paths() };
        let compared = compare(root, &statement, &ignored, &Context::default()).expect("reads");
        assert!(compared.differences.is_empty(), "{release}: {:?}", compared.differences);
        assert_eq!(compared.same, if release == "0.2.0" { 6 } else { 5 });

        fs::write(root.join("sub-x"), "y").expect("writes");
        fs::write(root.join("more"), "").expect("writes");
        fs::rename(root.join("empty"), root.join("renamed")).expect("renames");
        let compared = compare(root, &statement, &ignored, &Context::default()).expect("reads");
        let found: Vec<(&str, bool)> = compared
            .differences
            .iter()
            .map(|(path, difference)| (path.as_str(), matches!(difference, Difference::Content { .. })))
            .collect();
        assert_eq!(found, [("empty", false), ("more", false), ("renamed", false), ("sub-x", true)]);
        assert_eq!(compared.differences["empty"], Difference::Missing);
        assert_eq!(compared.differences["more"], Difference::Unsigned);
        fs::write(root.join("sub-x"), "x").expect("writes");
        fs::remove_file(root.join("more")).expect("removes");
        fs::rename(root.join("renamed"), root.join("empty")).expect("renames");
    }
    let reference = read("1.1.1-p256.sig");
    let statement = ModelStatement::read(reference.payload()).expect("is a statement");
    assert_eq!(statement.order, Order::Reference, "`sub/a.bin` stands before `sub-x`");
}

/// Invalid content that the reference tool accepts, but should not.
#[test]
fn model_signature_reader_rejects_invalid_statements_and_bundles() {
    let bundle = read("1.1.1-p256.sig");
    let payload = String::from_utf8(bundle.payload().to_vec()).expect("is text");
    for (from, to, reason) in [
        ("\"name\": \"empty\"", "\"name\": \"config.json\"", "it lists `config.json` twice"),
        ("\"name\": \"empty\"", "\"name\": \"./empty\"", "is not a valid path inside the model"),
        ("\"name\": \"empty\"", "\"name\": \"../m/x\"", "is not a valid path inside the model"),
        ("\"name\": \"empty\"", "\"name\": \"/etc/passwd\"", "is not a valid path inside the model"),
        ("2cf24dba5fb0a30e", "3cf24dba5fb0a30e", "its root digest is"),
        ("\"sha256\",", "\"md5\",", "the model with sha256"),
        ("signature/v1.0", "signature/v9", "not that of a model signature"),
        ("\"method\": \"files\"", "\"method\": \"magic\"", "unknown method `magic`"),
        ("\"method\": \"files\"", "\"more\": 1, \"method\": \"files\"", "unknown field `more`"),
    ] {
        assert!(payload.contains(from), "{from} is not in {payload}");
        let error =
            ModelStatement::read(payload.replacen(from, to, 1).as_bytes()).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    }
    let text = String::from_utf8(vector("1.1.1-p256.sig")).expect("is text");
    let empty = STANDARD.encode("{}");
    for (other, reason) in [
        (text.replacen("bundle.v0.3", "bundle.v0.1", 1), "its mediaType is"),
        (text.replacen("bundle.v0.3", "bundle.v0.10", 1), "a newer modelseal may be needed"),
        (text.replacen("bundle.v0.3", "bundle.v1.0", 1), "a newer modelseal may be needed"),
        (text.replacen("vnd.in-toto+json", "json", 1), "its payloadType is"),
        (text.replacen("\"signatures\":", "\"signatures\":[],\"x\":", 1), "unknown field"),
        (
            text.replacen("\"publicKey\"", "\"certificate\":{\"rawBytes\":\"\"},\"publicKey\"", 1),
            "more than one of",
        ),
        (text.replacen("\"tlogEntries\":", "\"tlogEntries\":[{}],\"y\":", 1), "unknown field"),
        (format!("{text}{text}"), "trailing characters"),
        (empty, "expected value"),
    ] {
        assert_ne!(other, text);
        let error = read_foreign(other.as_bytes()).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    }
}
