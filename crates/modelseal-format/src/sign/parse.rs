//! Reads a bundle. A canonical one is read from front to back and compared with the only text that it can have. Any
//! other one is read as a whole by [`super::third_party`].

use std::io::{self, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr;

use super::bundle::{
    Bundle, BundleError, CERTIFICATE, CHAIN, CHAIN_END, END, HINT, HINT_END, KEY_ID, PAYLOAD, SIGNATURE,
    SIGNATURE_ROOM, START, text_of,
};
use super::third_party::{LONGEST, read_foreign, too_long};
use super::{Form, Material};

/// Maximum length, in bytes, of the part of a canonical bundle before its payload. The longest certificate chain that
/// can be trusted has 700 KiB in base64.
const LONGEST_HEAD: u64 = 1 << 20;

/// Number of bytes read at a time.
const PIECE: u64 = 64 << 10;

/// Maximum length, in bytes, of the part of a bundle after its payload.
const LONGEST_TAIL: u64 = 64 << 10;

/// A bundle that was read from front to back.
pub struct ReadBundle {
    pub bundle: Bundle,
    /// Its text as it was read, if another tool wrote or completed it.
    pub foreign: Option<Vec<u8>>,
}

/// Reads a bundle in memory. It must be exactly as [`super::SignedBundle`] writes it, or another tool must have
/// completed it with evidence for a certificate: log entries or signed times.
///
/// # Errors
/// [`BundleError`], made as precise as possible by a second, lenient reading.
pub fn read_bundle(bytes: &[u8]) -> Result<Bundle, BundleError> {
    let mut payload = Vec::new();
    let mut source = bytes;
    match read_bundle_from(&mut source, &mut payload) {
        Ok(Ok(ReadBundle { bundle, foreign: None })) => Ok(Bundle { payload: Some(payload), ..bundle }),
        Ok(Ok(ReadBundle { bundle, foreign: Some(_) })) => Ok(bundle),
        Ok(Err(error)) => Err(error),
        // Neither the source nor the output can fail here.
        Err(error) => Err(BundleError::NotABundle(error.to_string())),
    }
}

/// Like [`read_bundle`], from front to back. The payload of a canonical bundle goes to `payload` and is not kept.
///
/// # Errors
/// Errors of the source and of `payload`.
pub fn read_bundle_from(
    source: &mut dyn Read,
    payload: &mut dyn Write,
) -> io::Result<Result<ReadBundle, BundleError>> {
    let mut text = Vec::new();
    source.take(LONGEST_HEAD).read_to_end(&mut text)?;
    let Some((material, key_id, start)) = read_head(&text) else {
        source.take(LONGEST as u64).read_to_end(&mut text)?;
        return Ok(read_other(text));
    };
    let head = text[..start].to_vec();
    text.drain(..start);
    let is_decoded = decode_payload(source, &mut text, payload)?;
    source.take(LONGEST_TAIL).read_to_end(&mut text)?;
    Ok(match read_tail(&text, &key_id).filter(|_| is_decoded) {
        Some(signature) => {
            let (timestamps, form) = (Vec::new(), Form::Canonical);
            let bundle = Bundle { material, payload: None, signature, timestamps, form };
            Ok(ReadBundle { bundle, foreign: None })
        }
        // Starts like a canonical seal, then deviates. The lenient reader explains the error, even with part of the
        // payload gone.
        None => Err(match read_foreign(&[head, text].concat()) {
            Ok(_) => BundleError::NotCanonical,
            Err(error) => error,
        }),
    })
}

/// Decodes base64 up to a quotation mark, and leaves in `text` what was read but not decoded. `false` if it is not
/// canonical base64 or does not end.
fn decode_payload(source: &mut dyn Read, text: &mut Vec<u8>, payload: &mut dyn Write) -> io::Result<bool> {
    let mut decoded = Vec::new();
    loop {
        let end = memchr(b'"', text);
        // Until the end is found, the last group may be the padded one, so it is not decoded yet.
        let whole = end.unwrap_or(text.len().saturating_sub(1) / 4 * 4);
        decoded.clear();
        // The decoder accepts only canonical base64. It refuses white space, missing or surplus padding, spare bits
        // that are not zero, and the URL-safe alphabet. Padding ends the text.
        match STANDARD.decode_vec(&text[..whole], &mut decoded) {
            Ok(()) if end.is_some() || decoded.len() == whole / 4 * 3 => payload.write_all(&decoded)?,
            _ => return Ok(false),
        }
        text.drain(..whole);
        if end.is_some() {
            return Ok(true);
        }
        if source.take(PIECE).read_to_end(text)? == 0 {
            return Ok(false);
        }
    }
}

/// Number of bytes after the payload of a canonical bundle with this material. It is the same for every signer.
pub fn tail_length(material: &Material) -> u64 {
    let (_, key_id) = text_of(material);
    let fixed: usize = [SIGNATURE, KEY_ID, &key_id, END].iter().map(|part| part.len()).sum();
    (fixed + SIGNATURE_ROOM) as u64
}

/// The signature in the text after the payload of a canonical bundle with this material. `None` if the layout is
/// different.
pub fn signature_in_tail(tail: &[u8], material: &Material) -> Option<Vec<u8>> {
    read_tail(tail, &text_of(material).1)
}

/// Reads a bundle that does not begin like a canonical one.
fn read_other(text: Vec<u8>) -> Result<ReadBundle, BundleError> {
    if text.len() > LONGEST {
        return Err(too_long());
    }
    let bundle = read_foreign(&text)?;
    let is_vouched_for = match &bundle.material {
        Material::Identity { .. } => true,
        Material::Certificates(_) => !bundle.timestamps.is_empty(),
        // Log entries or signed times of a key prove nothing about it.
        Material::Key { .. } => false,
    };
    if is_vouched_for {
        Ok(ReadBundle { bundle, foreign: Some(text) })
    } else {
        Err(BundleError::NotCanonical)
    }
}

/// Reads the part of a canonical bundle before its payload. Returns the signer, the matching `keyid`, and the offset of
/// the payload.
fn read_head(text: &[u8]) -> Option<(Material, String, usize)> {
    let text = text.utf8_chunks().next()?.valid();
    let (material, key_id, rest) = read_material(text.strip_prefix(START)?)?;
    let rest = rest.strip_prefix(PAYLOAD)?;
    Some((material, key_id.to_string(), text.len() - rest.len()))
}

/// Reads the signature after the payload of a canonical bundle. Checks everything that must follow the signature.
fn read_tail(text: &[u8], key_id: &str) -> Option<Vec<u8>> {
    let rest = std::str::from_utf8(text).ok()?.strip_prefix(SIGNATURE)?;
    let (signature, rest) = rest.split_at(rest.find('"')?);
    let padding = rest.strip_prefix(KEY_ID)?.strip_prefix(key_id)?.strip_prefix(END)?;
    let is_padded = padding.len() == SIGNATURE_ROOM.checked_sub(signature.len())?
        && padding.bytes().all(|byte| byte == b' ');
    is_padded.then(|| STANDARD.decode(signature).ok())?
}

/// Reads the signer at the start of this text. Returns the signer, the matching `keyid`, and the rest of the text.
fn read_material(text: &str) -> Option<(Material, &str, &str)> {
    if let Some(rest) = text.strip_prefix(HINT) {
        let (hint, rest) = rest.split_at_checked(64)?;
        let _: crate::digest::Digest = hint.parse().ok()?;
        return Some((Material::Key { hint: Some(hint.to_string()) }, hint, rest.strip_prefix(HINT_END)?));
    }
    let mut rest = text.strip_prefix(CHAIN)?;
    let mut chain = Vec::new();
    loop {
        let (certificate, after) = rest.strip_prefix(CERTIFICATE)?.split_once('"')?;
        chain.push(STANDARD.decode(certificate).ok()?);
        rest = after.strip_prefix('}')?;
        match rest.strip_prefix(CHAIN_END) {
            Some(rest) => return Some((Material::Certificates(chain), "", rest)),
            None => rest = rest.strip_prefix(',')?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::{Canonical, Counted};
    use crate::sign::{KeyAlgorithm, PrivateKey, SignedBundle, Signer};

    fn key(algorithm: KeyAlgorithm) -> Signer {
        PrivateKey::generate(algorithm).expect("makes a key").into()
    }

    #[test]
    fn bundle_round_trips_and_its_length_depends_only_on_the_payload() {
        let payload = br#"{"_type":"x"}"#;
        let mut lengths = std::collections::HashSet::new();
        for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::P521, KeyAlgorithm::Ed25519] {
            for _ in 0..20 {
                let key = key(algorithm);
                let signed = SignedBundle::sign(Counted::of(payload.as_slice()), &key).expect("signs");
                let bytes = signed.to_vec();
                let again = SignedBundle::sign(Counted::of(payload.as_slice()), &key).expect("signs");
                assert_eq!(bytes, again.to_vec(), "deterministic");
                assert_eq!(bytes.len() as u64, signed.length());
                lengths.insert(bytes.len());
                let bundle = read_bundle(&bytes).expect("reads");
                assert_eq!(bundle.payload(), payload);
                assert_eq!(bundle.material, key.material());
                bundle.verify(key.public_key()).expect("verifies");
                serde_json::from_slice::<serde_json::Value>(&bytes).expect("is JSON");
            }
        }
        assert_eq!(lengths.len(), 1);
    }

    #[test]
    fn bundle_with_the_longest_certificate_chain_round_trips() {
        let material = Material::Certificates(vec![vec![7; 64 << 10]; 8]);
        for length in [0, 5 << 20] {
            let payload = vec![b'x'; length];
            let written = SignedBundle::new(Counted::of(payload.clone()), b"signature", material.clone());
            let bundle = read_bundle(&written.to_vec()).expect("reads");
            assert!(bundle.payload() == payload && bundle.material == material);
        }
    }

    #[test]
    fn bundle_round_trips_at_every_piece_border() {
        for material in [Material::Certificates(vec![vec![0; 300]]), key(KeyAlgorithm::P256).material()] {
            let head = text_of(&material).0.len() + START.len() + PAYLOAD.len();
            for end in [LONGEST_HEAD, LONGEST_HEAD + PIECE] {
                let length = (end as usize - head) / 4 * 3;
                for length in length - 4..length + 4 {
                    let payload = vec![b'x'; length];
                    let written = SignedBundle::new(Counted::of(payload), &[0; 70], material.clone());
                    read_bundle(&written.to_vec()).unwrap_or_else(|error| panic!("{length}: {error}"));
                }
            }
        }
    }

    #[test]
    fn bundle_reader_stops_at_the_size_limit_of_an_unknown_file() {
        let mut source = io::repeat(b' ').take(1 << 30);
        let read = read_bundle_from(&mut source, &mut io::sink()).expect("neither side fails");
        let error = read.err().expect("is no bundle").to_string();
        assert!(error.contains("it is larger than 67108864 bytes"), "{error}");
        assert!(source.limit() >= (1 << 30) - LONGEST as u64 - LONGEST_HEAD, "{} are left", source.limit());
    }

    #[test]
    fn bundle_reader_rejects_every_other_spelling_and_names_the_reason() {
        let bytes = SignedBundle::sign(Counted::of(b"{}".as_slice()), &key(KeyAlgorithm::P256))
            .expect("signs")
            .to_vec();
        let text = String::from_utf8(bytes).expect("is text");
        let trimmed = text.trim_end();
        let not_base64 = || BundleError::NotABundle("its payload is not base64".to_string());
        for (other, expected) in [
            (format!(" {text}"), BundleError::NotCanonical),
            (format!("{text} "), BundleError::NotCanonical),
            (trimmed.to_string(), BundleError::NotCanonical),
            (format!("{trimmed}\n"), BundleError::NotCanonical),
            (text.replace(r#""payload":"e30=""#, r#""payload":"e31=""#), not_base64()),
            (text.replace(r#""payload":"e30=""#, r#""payload":"e30""#), not_base64()),
            (text.replace(r#""keyid":""#, r#""keyid" :""#), BundleError::NotCanonical),
            (text.replace(r#""keyid":""#, r#""keyid":"0"#), BundleError::NotCanonical),
            (text.replace(r#"}]}}"#, r#"},{"sig":""}]}}"#), BundleError::Signatures(2)),
        ] {
            assert_ne!(other, text);
            assert_eq!(read_bundle(other.as_bytes()), Err(expected), "{other}");
        }
        for (other, expected) in [
            ("", "not valid JSON"),
            ("{", "not valid JSON"),
            ("\u{feff}{}", "not valid JSON"),
            (&format!("{trimmed}{trimmed}"), "not valid JSON"),
            (&"[".repeat(100_000), "not a Sigstore bundle"),
            (&format!("{{\"x\":{}", "[".repeat(100_000)), "not a Sigstore bundle"),
            (&format!("{{\"mediaType\":{}", "[".repeat(100_000)), "not a Sigstore bundle"),
            ("{}", "not a Sigstore bundle"),
            ("[]", "not a Sigstore bundle"),
            (&text.replace("bundle.v0.3", "other"), "not a Sigstore bundle"),
            (&text.replace("vnd.in-toto+json", "json"), "payloadType"),
        ] {
            let error = read_bundle(other.as_bytes()).expect_err("is refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
