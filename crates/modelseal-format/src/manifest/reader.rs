//! Reads a manifest while it arrives. With a million files, its text takes more memory than the parsed manifest.

use std::io::{self, Write};

use memchr::memmem;
use sha2::Digest as _;

use super::parse::{explain, judge, malformed};
use super::{InvalidManifest, LONGEST_PREDICATE, MOST_PARTS, Manifest, ParseError, Subject};
use crate::canonical::{Canonical, Hashing};
use crate::digest::Digest;

/// Number of bytes collected before the files in them are parsed.
const WINDOW: usize = 1 << 20;

/// The text between two files. It occurs nowhere else in the list of files, because a quotation mark within a string
/// follows a backslash. Text that is not canonical is detected at the end, when the manifest is written again.
const BETWEEN: &[u8] = br#"},{"name":""#;

/// The text after the list of files.
const BEHIND: &[u8] = br#"],"predicateType":"#;

/// Maximum length, in bytes, of the text up to the end of that list after the files are removed. It still contains the
/// model and the last file, whose names are paths.
const LONGEST_HEAD: usize = 64 << 10;

/// Receives the text of a manifest in pieces of any length.
pub struct ManifestReader {
    hashing: Hashing<sha2::Sha256>,
    /// The text that is not parsed yet.
    text: Vec<u8>,
    /// The text length at which files are extracted again.
    enough: usize,
    /// The files that were extracted from the text.
    files: Vec<Subject>,
    failed: Option<ParseError>,
}

/// A manifest that was read.
#[derive(Debug)]
pub struct ReadManifest {
    pub statement: Manifest,
    /// Length of its text in bytes.
    pub length: u64,
    /// SHA-256 of its text.
    pub digest: Digest,
}

impl Default for ManifestReader {
    fn default() -> Self {
        let hashing = Hashing { hasher: sha2::Sha256::new(), length: 0 };
        Self { hashing, text: Vec::new(), enough: 2 * WINDOW, files: Vec::new(), failed: None }
    }
}

impl ManifestReader {
    /// Reads the remaining text strictly. Accepts no unknown or duplicate member, enforces every rule between the
    /// parts, and accepts only the canonical form.
    ///
    /// # Errors
    /// [`ParseError`]. If a newer version wrote the manifest, the error names the version that is needed.
    pub fn finish(mut self) -> Result<ReadManifest, ParseError> {
        if self.text.len() > LONGEST_HEAD {
            self.take_files();
        }
        let Self { hashing, text, enough: _, mut files, failed } = self;
        let (head, predicate) = divide(&text);
        let checked = match failed {
            Some(error) => Err(error),
            None if head.len() > LONGEST_HEAD => Err(ParseError::NotCanonical),
            None => check_room(predicate),
        };
        checked.map_err(|error| explain(&text, error))?;
        let mut statement: Manifest =
            serde_json::from_slice(&text).map_err(|error| explain(&text, malformed(&error)))?;
        drop(text);
        if !files.is_empty() {
            // The extracted files follow the model.
            let rest = statement.subject.split_off(1.min(statement.subject.len()));
            files.splice(..0, std::mem::take(&mut statement.subject));
            files.extend(rest);
            statement.subject = files;
        }
        judge(&statement)?;
        let (length, digest) = (hashing.length, Digest(hashing.hasher.finalize().into()));
        // Written again, it has this length and this digest, so the bytes are the same.
        if statement.measure() != (length, digest) {
            return Err(ParseError::NotCanonical);
        }
        Ok(ReadManifest { statement, length, digest })
    }

    /// Extracts the files from the text. Leaves the model before the first file, and the last file, which may be
    /// incomplete.
    fn take_files(&mut self) {
        let (list, predicate) = divide(&self.text);
        let is_at_end = !predicate.is_empty();
        let mut left = list.len();
        if let (Some(first), Some(last)) = (memmem::find(list, BETWEEN), memmem::rfind(list, BETWEEN))
            && first < last
        {
            // From one opening brace to just before another one.
            let (first, last) = (first + 2, last + 2);
            if self.failed.is_none() {
                let array = [b"[", &list[first..last - 1], b"]"].concat();
                match read_files(&array) {
                    Ok(files) => self.files.extend(files),
                    // The remaining text may explain the error.
                    Err(error) => self.failed = Some(error),
                }
            }
            left -= last - first;
            self.text.drain(first..last);
        }
        // Canonical text never leaves this much. Other text is not parsed, and is kept only to explain the error.
        if !is_at_end && left > WINDOW {
            self.failed.get_or_insert(ParseError::NotCanonical);
        }
    }
}

/// Reads a manifest from exactly the bytes that were signed, like [`ManifestReader::finish`].
///
/// # Errors
/// [`ParseError`].
pub fn parse(payload: &[u8]) -> Result<Manifest, ParseError> {
    let mut reader = ManifestReader::default();
    // Writing to the reader does not fail.
    let _ = reader.write_all(payload);
    Ok(reader.finish()?.statement)
}

/// Splits the text at the end of the list of files.
fn divide(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(memmem::find(text, BEHIND).unwrap_or(text.len()))
}

/// Reads files other than the model. Each must have a BLAKE3 digest and annotations.
fn read_files(array: &[u8]) -> Result<Vec<Subject>, ParseError> {
    let files: Vec<Subject> = serde_json::from_slice(array).map_err(|error| malformed(&error))?;
    match files.iter().find(|file| file.digest.blake3.is_none() || file.annotations.is_none()) {
        Some(file) => Err(InvalidManifest::Incomplete(file.name.clone()).into()),
        None => Ok(files),
    }
}

/// Checks that a predicate, and the text around it, needs no more memory than its length suggests.
fn check_room(predicate: &[u8]) -> Result<(), ParseError> {
    let values = memchr::memchr2_iter(b',', b':', predicate).count();
    // An object with one member takes 632 bytes, a number in a list 32.
    let containers = memchr::memchr2_iter(b'[', b'{', predicate).count();
    if predicate.len() > LONGEST_PREDICATE || values + 8 * containers > MOST_PARTS {
        return Err(ParseError::TooMuch);
    }
    Ok(())
}

impl Write for ManifestReader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(WINDOW);
        let _ = self.hashing.write(&bytes[..taken]);
        if self.text.len() > LONGEST_PREDICATE + WINDOW {
            // This text is not parsed any further.
            self.failed.get_or_insert(ParseError::TooMuch);
            return Ok(taken);
        }
        self.text.extend_from_slice(&bytes[..taken]);
        if self.text.len() >= self.enough {
            self.take_files();
            // A text without files must not be searched again and again.
            self.enough = 2 * self.text.len().max(WINDOW);
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks that a manifest with this predicate can be read again.
///
/// # Errors
/// [`ParseError::TooMuch`].
pub fn check_predicate(statement: &Manifest) -> Result<(), ParseError> {
    check_room(divide(&statement.to_vec()).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{
        ExternalParameters, FORMAT, FileFacts, InternalParameters, Missing, Model, Origin, Subject,
    };

    /// A manifest of files with these names, which are in byte order.
    fn statement(names: impl Iterator<Item = String>) -> Manifest {
        let facts = FileFacts { size: 5, executable: false, content: None };
        let digests = |name: &str| (Digest::sha256(name.as_bytes()), Digest::blake3(name.as_bytes()));
        let files = names.map(|name| {
            let (sha256, blake3) = digests(&name);
            Subject::file(name, sha256, blake3, facts)
        });
        let external = ExternalParameters {
            model: Model { name: "m".into(), version: "1".into(), release: None },
            hyperparameters: Default::default(),
            command: Vec::new(),
            env: Default::default(),
            pass_env: Vec::new(),
            caches: Vec::new(),
            network: None,
            reproduce: None,
        };
        let internal = InternalParameters {
            format: FORMAT,
            origin: Origin::Adopted,
            source_date_epoch: 0,
            excluded: Vec::new(),
            outside: Vec::new(),
            model_signature: true,
            missing: Missing::ALL.to_vec(),
            environment: Vec::new(),
        };
        Manifest::new(files.collect(), external, internal, Vec::new(), Vec::new(), "0.1.0")
    }

    fn read(text: &[u8], piece: usize) -> Result<ReadManifest, ParseError> {
        let mut reader = ManifestReader::default();
        text.chunks(piece).for_each(|piece| reader.write_all(piece).expect("takes everything"));
        reader.finish()
    }

    /// Names with everything that could look like the border between two files.
    fn long() -> Manifest {
        let names =
            (0..20_000).map(|number| format!("{number:05} }},{{ \"name\":\" ],\"predicateType\": }},{{"));
        statement(names)
    }

    #[test]
    fn manifest_reader_gives_the_same_result_for_any_piece_size() {
        for statement in [statement(["a".to_string()].into_iter()), long()] {
            let text = statement.to_vec();
            for piece in [text.len(), WINDOW + 1, 4099] {
                let read = read(&text, piece).expect("reads");
                assert!(read.statement == statement);
                assert_eq!((read.length, read.digest), (text.len() as u64, Digest::sha256(&text)));
            }
        }
        assert!(long().to_vec().len() > 4 * WINDOW, "nothing was taken out of the text");
    }

    #[test]
    fn manifest_reader_rejects_every_change_in_a_long_manifest() {
        let good = long().to_vec();
        let text = String::from_utf8(good.clone()).expect("is text");
        let (half, end) = (good.len() / 2, good.len() - 10_000);
        let file = |start: usize| start + text[start..].find(r#"},{"name":""#).expect("a file") + 1;
        for place in [0, half, end] {
            let (this, next) = (file(place), file(file(place)));
            for (other, what) in [
                ([&text[..this], &text[next..]].concat(), "a file less"),
                ([&text[..next], &text[this..]].concat(), "a file twice"),
                ([&text[..this], " ", &text[this..]].concat(), "a space"),
                ([&text[..this], "7,", &text[this..]].concat(), "a number in the list"),
                ([&text[..this], &text[this..].replacen('5', "6", 1)].concat(), "another digit"),
                ([&text[..this], &text[this..].replacen("size", "sizes", 1)].concat(), "an unknown member"),
                (text[..this].to_string(), "cut off"),
            ] {
                assert_ne!(other, text);
                assert!(read(other.as_bytes(), WINDOW).is_err(), "{what} at {place}");
            }
        }
        let newer =
            text.replace("\"size\":", "\"colour\":1,\"size\":").replace("\"format\":1", "\"format\":2");
        assert!(matches!(read(newer.as_bytes(), WINDOW), Err(ParseError::Newer(_))));
    }

    #[test]
    fn manifest_reader_rejects_a_predicate_with_too_many_parts() {
        for (count, is_within) in [(MOST_PARTS - 200, true), (MOST_PARTS, false)] {
            let mut statement = statement(["a".to_string()].into_iter());
            statement.predicate.build_definition.internal_parameters.excluded = vec![String::new(); count];
            assert_eq!(check_predicate(&statement).is_ok(), is_within);
            let found = read(&statement.to_vec(), WINDOW);
            assert_eq!(found.is_ok(), is_within);
            assert!(is_within || matches!(found, Err(ParseError::TooMuch)));
        }
    }

    #[test]
    fn manifest_reader_does_not_store_a_text_that_is_not_canonical() {
        let spaced =
            String::from_utf8(long().to_vec()).expect("is text").replace("},{\"name\":", "}, {\"name\":");
        let mut incomplete = long();
        incomplete.files_mut().iter_mut().for_each(|file| file.digest.blake3 = None);
        for (text, is_spaced) in [(spaced.into_bytes(), true), (incomplete.to_vec(), false)] {
            let mut reader = ManifestReader::default();
            reader.write_all(&text).expect("takes everything");
            assert!(reader.files.is_empty());
            match reader.finish() {
                Err(ParseError::NotCanonical) => assert!(is_spaced),
                Err(ParseError::Invalid(InvalidManifest::Incomplete(_))) => assert!(!is_spaced),
                other => panic!("{other:?}"),
            }
        }
        // Complete files, but written as lists, with borders far apart.
        let zeros = "0".repeat(64);
        let digests = format!(r#""digest":{{"sha256":"{zeros}","blake3":"{zeros}"}}"#);
        let border =
            format!(r#"{{"name":"x",{digests},"annotations":{{"size":0,"executable":false}}}},"#).repeat(2);
        let files = format!(r#"["a",["{zeros}","{zeros}"],[0,false]],"#).repeat(20_000);
        let mut reader = ManifestReader::default();
        reader
            .write_all([r#"{"subject":["#, &border, &files, &border].concat().as_bytes())
            .expect("takes everything");
        reader.take_files();
        assert!(reader.files.is_empty());

        let mut reader = ManifestReader::default();
        let piece = vec![b' '; WINDOW];
        for _ in 0..LONGEST_PREDICATE / WINDOW + 100 {
            reader.write_all(&piece).expect("takes everything");
        }
        assert!(reader.text.len() <= LONGEST_PREDICATE + 2 * WINDOW, "{}", reader.text.len());
    }

    #[test]
    fn manifest_reader_does_not_search_a_text_without_files_repeatedly() {
        let mut reader = ManifestReader::default();
        let piece = vec![b' '; WINDOW];
        for _ in 0..64 {
            reader.write_all(&piece).expect("takes everything");
        }
        assert!(reader.enough >= 64 * WINDOW, "{}", reader.enough);
    }
}
