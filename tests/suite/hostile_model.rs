//! Invalid model signatures.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use modelseal_format::sign::{KeySource, Signer, read_private_key};

use crate::models::{model, text, verify};
use crate::support::archive::{bundle, payload};
use crate::support::project::Project;
use crate::support::run::modelseal;

/// A trusted key that signs invalid content.
#[test]
fn verify_refuses_an_invalid_statement_signed_by_a_trusted_key() {
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
        (
            good.replace("\"name\":\"empty\"", "\"name\":\"./empty\""),
            "`./empty` is not a valid path inside the model",
        ),
        (
            good.replace("\"name\":\"empty\"", "\"name\":\"../empty\""),
            "`../empty` is not a valid path inside the model",
        ),
        (
            good.replace("\"name\":\"empty\"", "\"name\":\"/empty\""),
            "`/empty` is not a valid path inside the model",
        ),
        (
            good.replace("\"name\":\"empty\"", "\"name\":\"a//empty\""),
            "`a//empty` is not a valid path inside the model",
        ),
        (no_files, "it lists no files"),
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
        fs::write(&signature, bundle(statement.as_bytes(), &signer)).expect("writes");
        let outcome = verify(&model, &signature, &["--key", &public]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        outcome.says("seal             fail").says(reason).claims_no_success();
    }
    // A modelseal manifest is not a model signature.
    let sealed = Project::new();
    let unpacked = sealed.unpack(&sealed.build());
    let seal = text(&unpacked.join(".modelseal/manifest.sigstore.json"));
    verify(&model, &seal, &["--key", &sealed.public_key()]).says("not that of a model signature");
}

#[test]
fn verify_refuses_malformed_bundles_and_accepts_other_json_layouts() {
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
    // Other spellings of the same bundle are valid, because other tools write it differently.
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
    // A list is not an object, regardless of its content.
    let places = [
        "",
        "/verificationMaterial",
        "/verificationMaterial/publicKey",
        "/dsseEnvelope",
        "/dsseEnvelope/signatures/0",
    ];
    for place in places {
        let mut listed = document.clone();
        let object = listed.pointer_mut(place).expect("is there");
        *object = object.as_object().expect("is an object").values().cloned().collect();
        let outcome = attempt(&listed.to_string());
        assert_eq!(outcome.code, Some(1), "{place}: {}", outcome.all());
        outcome.says("expected an object");
    }
    let der = STANDARD.decode(signature).expect("is base64");
    let flipped = STANDARD.encode([&der[..der.len() - 1], &[der[der.len() - 1] ^ 1]].concat());
    let certificate = "\"certificate\":{\"rawBytes\":\"AAAA\"},";
    let chain =
        "\"x509CertificateChain\":{\"certificates\":[{\"rawBytes\":\"AAAA\"},{\"rawBytes\":\"AAAA\"}]},";
    for (bundle, id, reason) in [
        (trimmed.replace(signature, &flipped), "signature", "its content was changed after signing"),
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
        (trimmed.replace("bundle.v0.3", "bundle.v0.2"), "seal", "its mediaType is"),
        (trimmed.replace("bundle.v0.3", "bundle.v0.9"), "seal", "a newer modelseal may be needed"),
        (format!("{trimmed}{trimmed}"), "seal", "trailing characters"),
        (trimmed.replacen('{', "{\"mediaType\":\"x\",", 1), "seal", "duplicate field"),
        (String::new(), "seal", "not valid JSON"),
        ("[".repeat(100_000), "seal", "cannot read the signature"),
    ] {
        // The padding may already be missing.
        if bundle == trimmed && reason == "its signature is not base64" && !signature.ends_with('=') {
            continue;
        }
        assert_ne!(bundle, trimmed, "{reason}");
        let outcome = attempt(&bundle);
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        outcome.says(&format!("{id:<15}  fail")).says(reason).claims_no_success();
    }
}

/// Data that no trusted signer signed costs almost nothing, however long it is.
#[test]
fn verify_does_not_read_a_long_statement_by_an_untrusted_signer() {
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
    fs::write(&signature, bundle(statement.as_bytes(), &signer)).expect("writes");
    let outcome = verify(&model, &signature, &["--key", &project.public_key()]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("seal             skip     not read: no trusted signer").claims_no_success();
    // If the signer is trusted, the data is read, in time proportional to its length.
    let outcome =
        verify(&model, &signature, &["--key", &project.root().join("stranger.pub").to_string_lossy()]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("its root digest is").claims_no_success();
    // No list in a bundle may be long.
    let entries = vec!["1"; 1_000_000].join(",");
    let bundle = fs::read_to_string(&signature).expect("reads");
    let bundle = bundle.replace("\"tlogEntries\":[]", &format!("\"tlogEntries\":[{entries}]"));
    fs::write(&signature, bundle).expect("writes");
    let outcome = verify(&model, &signature, &["--key", &project.public_key()]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("a list has more than 64 entries").claims_no_success();
}
