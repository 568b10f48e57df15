//! Modified seals and signatures.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use modelseal_format::digest::Digest;
use modelseal_format::sign::{KeyAlgorithm, PrivateKey};

use crate::support::archive::{Entry, bundle, join, payload, private_key, reseal, set_content, split};
use crate::support::project::sample;
use crate::support::{Outcome, Project};

fn entries() -> Vec<Entry> {
    split(&sample().bytes)
}

fn seal_text() -> String {
    String::from_utf8(entries()[0].content.clone()).expect("is text")
}

/// Puts another seal into the sample archive.
fn with_seal(seal: impl Into<Vec<u8>>) -> Vec<u8> {
    let mut damaged = entries();
    set_content(&mut damaged[0], seal.into());
    join(&damaged)
}

/// Checks that exactly the named check fails.
#[track_caller]
fn refused(bytes: &[u8], check: &str) -> Outcome {
    let json = sample().verify_bytes(bytes, &["--format", "json"]);
    assert_eq!(json.code, Some(1), "{}", json.all());
    let report = json.json();
    let failed: Vec<String> = report["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["status"] == "fail")
        .map(|check| check["id"].as_str().expect("an id").to_string())
        .collect();
    assert_eq!(failed, [check], "{}", json.stdout);
    let text = sample().verify_bytes(bytes, &[]);
    text.claims_no_success();
    text
}

/// The payload as text, modified and signed again with the right key.
#[track_caller]
fn resealed(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(payload(&entries()[0].content)).expect("is text");
    assert!(text.contains(from), "{from} is not in {text}");
    reseal(&sample().bytes, text.replace(from, to).as_bytes())
}

#[test]
fn verify_refuses_a_changed_payload_or_signature_byte() {
    let seal = seal_text();
    let text = String::from_utf8(payload(seal.as_bytes())).expect("is text");
    let changed = text.replace("\"seed\":42", "\"seed\":43");
    let other = seal.replace(&STANDARD.encode(&text), &STANDARD.encode(&changed));
    refused(&with_seal(other), "signature").says("its content was changed after signing");

    let json: serde_json::Value = serde_json::from_str(&seal).expect("is JSON");
    let signature = json["dsseEnvelope"]["signatures"][0]["sig"].as_str().expect("a signature");
    let mut raw = STANDARD.decode(signature).expect("is base64");
    let last = raw.len() - 1;
    raw[last] ^= 1;
    refused(&with_seal(seal.replace(signature, &STANDARD.encode(&raw))), "signature");
}

#[test]
fn verify_refuses_a_seal_that_is_not_canonical() {
    let seal = seal_text();
    for other in [
        format!(" {seal}"),
        format!("{seal} "),
        seal.trim_end().to_string(),
        format!("{}\n", &seal[..seal.len() - 1]),
        seal.replacen(',', ", ", 1),
        seal.replace(r#""tlogEntries":[]},"#, r#""tlogEntries":[ ]},"#),
        seal.replace(r#"{"mediaType""#, r#"{"extra":1,"mediaType""#),
        seal.replace(
            r#"{"mediaType""#,
            r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","mediaType""#,
        ),
    ] {
        assert_ne!(other, seal);
        refused(&with_seal(other), "seal");
    }
    let compact: serde_json::Value = serde_json::from_str(&seal).expect("is JSON");
    refused(&with_seal(compact.to_string()), "seal").says("not in modelseal's canonical form");
}

/// Every ECDSA signature has two forms, (r, s) and (r, n - s). modelseal writes only the one with the low s.
#[test]
fn verify_refuses_a_signature_with_high_s() {
    let seal = seal_text();
    let payload = payload(seal.as_bytes());
    let PrivateKey::P256(key) = private_key() else { panic!("another key") };
    let message =
        modelseal_format::sign::pre_authentication_encoding("application/vnd.in-toto+json", &payload);
    let low: p256::ecdsa::Signature = p256::ecdsa::signature::Signer::sign(&key, &message);
    let low = low.normalize_s();
    let (r, s) = low.split_scalars();
    let high = p256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).expect("is one");
    p256::ecdsa::signature::Verifier::verify(key.verifying_key(), &message, &high).expect("is valid");
    let replaced = replace_signature(&seal, high.to_der().as_bytes());
    refused(&with_seal(replaced), "signature").says("not in canonical form");
}

/// Puts in another signature, with the padding for its length.
fn replace_signature(seal: &str, signature: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_str(seal).expect("is JSON");
    let old = json["dsseEnvelope"]["signatures"][0]["sig"].as_str().expect("a signature");
    let new = STANDARD.encode(signature);
    let text = seal.trim_end().replace(old, &new);
    format!("{text}{}", " ".repeat(192 - new.len()))
}

#[test]
fn verify_refuses_a_seal_without_a_signature_or_with_several() {
    let seal = seal_text();
    let start = seal.find("\"signatures\":[").expect("signatures") + "\"signatures\":[".len();
    let end = seal.find("]}}").expect("an end");
    let one = &seal[start..end];
    refused(&with_seal(seal.replace(one, "")), "seal").says("it has 0 signatures");
    refused(&with_seal(seal.replace(one, &format!("{one},{one}"))), "seal").says("it has 2 signatures");
}

#[test]
fn verify_refuses_a_seal_with_the_hint_or_keyid_of_another_key() {
    let seal = seal_text();
    let hint = private_key().public_key().hint().to_string();
    let other = Digest::sha256(b"other").to_string();
    refused(&with_seal(seal.replace(&hint, &other)), "signature").says("but its bundle names another key");
    refused(&with_seal(seal.replacen(&hint, &other, 1)), "seal");
}

#[test]
fn verify_refuses_a_payload_in_base64_that_is_not_canonical() {
    let seal = seal_text();
    let payload = payload(seal.as_bytes());
    let encoded = STANDARD.encode(&payload);
    let mut spare = encoded.clone().into_bytes();
    let last = spare.iter().rposition(|byte| *byte != b'=').expect("a digit");
    for other in [
        URL_SAFE.encode([&payload[..], b"\xfb\xff"].concat()),
        encoded.trim_end_matches('=').to_string() + "\\n",
        format!("{} {}", &encoded[..8], &encoded[8..]),
        format!("{encoded}="),
    ] {
        refused(&with_seal(seal.replace(&encoded, &other)), "seal");
    }
    if encoded.ends_with('=') {
        spare[last] += 1;
        let spare = String::from_utf8(spare).expect("is text");
        refused(&with_seal(seal.replace(&encoded, &spare)), "seal");
    }
}

#[test]
fn verify_refuses_a_second_document_after_the_seal() {
    let seal = seal_text();
    refused(&with_seal(format!("{}{{}}", seal.trim_end())), "seal").says("not valid JSON");
}

#[test]
fn verify_refuses_a_seal_entry_that_is_no_bundle() {
    for seal in [
        String::new(),
        "null".into(),
        "\u{feff}{}".into(),
        "{\"a\":NaN}".into(),
        "[".repeat(200),
        "{\"a\":".repeat(100_000),
        "\"\\ud800\"".into(),
        "\0".into(),
    ] {
        refused(&with_seal(seal), "seal");
    }
    let utf16: Vec<u8> = seal_text().encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused(&with_seal(utf16), "seal");
}

#[test]
fn verify_refuses_another_predicate_signed_by_a_trusted_key() {
    for (from, to) in [
        ("https://slsa.dev/provenance/v1", "https://model_signing/signature/v1.0"),
        ("https://slsa.dev/provenance/v1", "https://cyclonedx.org/bom"),
    ] {
        refused(&resealed(from, to), "seal").says("the signed statement is").says("not a manifest");
    }
    let oms = payload(&entries()[1].content);
    refused(&reseal(&sample().bytes, &oms), "seal").says("the signed statement is");
    refused(&reseal(&sample().bytes, b"{}"), "seal");
    refused(&reseal(&sample().bytes, b""), "seal");
}

#[test]
fn verify_names_the_newer_version_that_made_an_unknown_manifest() {
    let newer = resealed("\"modelseal\":\"0.1.0\"", "\"modelseal\":\"7.3.0\"");
    assert_eq!(sample().verify_bytes(&newer, &[]).code, Some(1));
    let text = String::from_utf8(payload(&entries()[0].content)).expect("is text");
    let text = text.replace("\"modelseal\":\"0.1.0\"", "\"modelseal\":\"7.3.0\"");
    for changed in [
        text.replace("\"format\":1", "\"format\":2"),
        text.replace("\"format\":1", "\"format\":2,\"shape\":\"round\""),
        text.replace("\"origin\":\"adopted\"", "\"origin\":\"adopted\",\"moon\":\"full\""),
        text.replace("\"origin\":\"adopted\"", "\"origin\":\"dreamt\""),
        text.replace("\"externalParameters\":{", "\"externalParameters\":{\"wheel\":[],"),
    ] {
        assert_ne!(changed, text);
        refused(&reseal(&sample().bytes, changed.as_bytes()), "seal")
            .says("made by a newer modelseal (`7.3.0`)");
    }
}

#[test]
fn verify_refuses_a_manifest_with_invalid_or_contradictory_content() {
    let config = "\"name\":\"config.json\"";
    for (from, to) in [
        (config, "\"name\":\"../x\""),
        (config, "\"name\":\"/etc/passwd\""),
        (config, "\"name\":\"a\\\\b\""),
        (config, "\"name\":\"zz\""),
        (config, "\"name\":\"model.sig\""),
        (config, "\"name\":\".modelseal/x\""),
        (config, "\"name\":\".git/hooks/post-checkout\""),
        (config, "\"name\":\"Weights.safetensors\""),
        (config, "\"name\":\"a\\u0000b\""),
        ("\"name\":\"wine\",\"digest\"", "\"name\":\"beer\",\"digest\""),
        ("\"name\":\"wine\",\"version\"", "\"name\":\"../wine\",\"version\""),
        ("\"format\":1", "\"format\":0"),
        ("\"missing\":[]", "\"missing\":[\"data\"]"),
        ("\"name\":\"data/train\"", "\"name\":\"moon/train\""),
        ("\"annotations\":{\"dirty\":[]}", "\"annotations\":{\"dirty\":[],\"rows\":3}"),
        ("\"annotations\":{\"bytes\"", "\"annotations\":{\"dirty\":[],\"bytes\""),
        ("\"name\":\"code\",", "\"name\":\"code\",\"uri\":\"https://example.com/wine\","),
        ("\"size\":4096", "\"size\":18446744073709551615"),
        ("\"size\":4096", "\"size\":-1"),
        ("\"size\":4096", "\"size\":4096.0"),
        ("\"size\":4096", "\"size\":1e400"),
        ("\"size\":4096", "\"size\":-0"),
        ("\"sourceDateEpoch\":1760000000", "\"sourceDateEpoch\":8589934592"),
        ("\"seed\":42", "\"seed\":42,\"seed\":42"),
        ("\"seed\":42", "\"seed\":NaN"),
        ("\"seed\":42", "\"seed\": 42"),
        ("\"seed\":42", "\"seed\":42.0"),
        ("\"seed\":42", "\"seed\":9007199254740993"),
        ("\"a\":2,\"b\":1", "\"b\":1,\"a\":2"),
        ("\"_type\":\"https://in-toto.io/Statement/v1\"", "\"_type\":\"https://in-toto.io/Statement/v0.1\""),
    ] {
        refused(&resealed(from, to), "seal");
    }
    let text = String::from_utf8(payload(&entries()[0].content)).expect("is text");
    refused(&reseal(&sample().bytes, format!("{text}\n").as_bytes()), "seal")
        .says("not in modelseal's canonical form");
    refused(&reseal(&sample().bytes, format!("\u{feff}{text}").as_bytes()), "seal");
}

/// Every few bytes of this text would take hundreds of bytes of memory, before the signer is known.
#[test]
fn verify_refuses_a_manifest_that_would_be_huge_in_memory() {
    let list = |element: &str, count: usize| format!("\"seed\":[{}", vec![element; count].join(","));
    let inputs = |input: &str| format!("\"resolvedDependencies\":[{}", input.repeat(600_000));
    let nested = "{\"\":".repeat(100) + "0" + &"}".repeat(100);
    for (from, to) in [
        ("\"resolvedDependencies\":[", inputs(r#"["",null,[]],"#)),
        ("\"resolvedDependencies\":[", inputs(r#"{"name":"","digest":[],"annotations":[]},"#)),
        ("\"seed\":42", list(&nested, 10_000) + "]"),
        ("\"seed\":42", list("[0]", 1_000_000) + "]"),
        ("\"seed\":42", list("0", 5_000_000) + "]"),
    ] {
        refused(&resealed(from, &to), "seal").says("the manifest is too large, not counting its files");
    }
    let long = format!("\"seed\":\"{}\"", "7".repeat(128 << 20));
    refused(&resealed("\"seed\":42", &long), "seal")
        .says("the manifest is too large, not counting its files");
}

/// The right key signed the manifest of other files, so the file digests do not match.
#[test]
fn verify_refuses_the_manifest_of_another_artifact() {
    let other = Project::new();
    other.write("model/config.json", "{\"classes\": 3}\n");
    other.commit();
    let other = std::fs::read(other.build()).expect("reads");
    let mut mixed = entries();
    mixed[0] = split(&other)[0].clone();
    let outcome = sample().verify_bytes(&join(&mixed), &["--format", "json"]);
    assert_eq!(outcome.code, Some(1));
    let checks = outcome.json()["checks"].to_string();
    assert!(checks.contains("`config.json` differs from the sealed file"), "{checks}");
    assert!(checks.contains("it belongs to another release"), "{checks}");
}

#[test]
fn verify_refuses_a_missing_or_foreign_or_mismatched_model_sig() {
    let signature = |payload: &[u8], key: PrivateKey| {
        let mut damaged = entries();
        damaged[1].content = bundle(payload, &key.into());
        join(&damaged)
    };
    let right = payload(&entries()[1].content);
    let stranger = PrivateKey::generate(KeyAlgorithm::P256).expect("makes a key");
    refused(&signature(&right, stranger), "model_signature").says("its key differs from the key of the seal");

    let text = String::from_utf8(right).expect("is text");
    let release = Digest::sha256(&payload(&entries()[0].content)).to_string();
    let other = text.replace(&release, &Digest::sha256(b"other").to_string());
    refused(&signature(other.as_bytes(), private_key()), "model_signature").says("another release");
    let files = text.replace("\"config.json\"", "\"confib.json\"");
    refused(&signature(files.as_bytes(), private_key()), "model_signature").says("its file list differs");

    let mut damaged = entries();
    let last = damaged[1].content.len() - 1;
    damaged[1].content[last] = b'\n';
    refused(&join(&damaged), "model_signature").says("cannot read `model.sig`");
    let mut stripped = entries();
    stripped.remove(1);
    let outcome = sample().verify_bytes(&join(&stripped), &[]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("should be that of `model.sig`");
}

/// A seal by another trusted signer and the `model.sig` of the first. Each is trusted, but they do not belong together.
#[test]
fn verify_refuses_a_model_sig_by_another_trusted_key() {
    let project = &sample().project;
    let (other_key, other_public) = project.other_key("second");
    let output = project.out("second.tar");
    let path = output.to_string_lossy().into_owned();
    project.modelseal(&["build", "--key", &other_key, "-o", &path, "--force"]).expect(0);
    let mut mixed = split(&std::fs::read(&output).expect("reads"));
    mixed[1] = entries()[1].clone();
    let outcome = sample().verify_bytes(&join(&mixed), &["--key", &other_public]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("its key differs from the key of the seal").claims_no_success();
}
