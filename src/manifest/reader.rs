//! Reading a manifest while it arrives: of a million files, the text takes more memory than what it says.

use std::io::{self, Write};

use memchr::memmem;
use sha2::Digest as _;

use super::parse::{explain, judge};
use super::{MOST_PARTS, ParseError, Statement, Subject};
use crate::digest::Digest;
use crate::document::{Document, Hashing};

/// So much text is collected before the files in it are read.
const WINDOW: usize = 1 << 20;

/// What stands between two files, and nowhere else in the list of files: within a string, a quotation mark has
/// a backslash before it. What is not in our form is found at the end, when the manifest is written again.
const BETWEEN: &[u8] = br#"},{"name":""#;

/// What stands behind the list of files.
const BEHIND: &[u8] = br#"],"predicateType":"#;

/// So much text of files may be left at the end: less than is read at once, and the first and the last of them.
const LEFT_OF_FILES: usize = 3 * WINDOW;

/// Takes the text of a manifest, in pieces of any length.
pub struct ManifestReader {
    hashing: Hashing<sha2::Sha256>,
    /// What was not read yet.
    text: Vec<u8>,
    /// So long the text is when files are looked for again.
    enough: usize,
    /// The files that were taken out of the text.
    files: Vec<Subject>,
    failed: Option<serde_json::Error>,
}

/// A manifest that was read.
#[derive(Debug)]
pub struct ReadManifest {
    pub statement: Statement,
    /// Of its text, in bytes.
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
    /// Reads what is left, strictly: no unknown or duplicate member, every rule between its parts, and no other
    /// spelling than ours.
    ///
    /// # Errors
    /// [`ParseError`], with the version that is needed where a newer one wrote it.
    pub fn finish(self) -> Result<ReadManifest, ParseError> {
        let Self { hashing, text, enough: _, mut files, failed } = self;
        if let Some(error) = failed {
            return Err(explain(&text, &error));
        }
        if parts(&text) > MOST_PARTS + LEFT_OF_FILES {
            return Err(ParseError::TooManyParts);
        }
        let mut statement: Statement =
            serde_json::from_slice(&text).map_err(|error| explain(&text, &error))?;
        drop(text);
        if !files.is_empty() {
            // Those that were taken out stood behind the model.
            let rest = statement.subject.split_off(1.min(statement.subject.len()));
            files.splice(..0, std::mem::take(&mut statement.subject));
            files.extend(rest);
            statement.subject = files;
        }
        judge(&statement)?;
        let (length, digest) = (hashing.length, Digest(hashing.hasher.finalize().into()));
        // Written again it has this length and this digest, so it is the same bytes.
        if statement.measure() != (length, digest) {
            return Err(ParseError::NotCanonical);
        }
        Ok(ReadManifest { statement, length, digest })
    }

    /// Reads the files in the text, but for the model before the first one and for the last one, which may not
    /// be there as a whole.
    fn take_files(&mut self) {
        let end = memmem::find(&self.text, BEHIND).unwrap_or(self.text.len());
        let list = &self.text[..end];
        let (Some(first), Some(last)) = (memmem::find(list, BETWEEN), memmem::rfind(list, BETWEEN)) else {
            return;
        };
        if first == last {
            return;
        }
        // From one opening brace to before another one.
        let (first, last) = (first + 2, last + 2);
        let array = [b"[", &list[first..last - 1], b"]"].concat();
        match serde_json::from_slice::<Vec<Subject>>(&array) {
            Ok(files) => self.files.extend(files),
            // What is left of the text may tell why.
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
        self.text.drain(first..last);
    }
}

impl Write for ManifestReader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(WINDOW);
        let _ = self.hashing.write(&bytes[..taken]);
        self.text.extend_from_slice(&bytes[..taken]);
        if self.text.len() >= self.enough {
            self.take_files();
            // A text that holds no files must not be searched again and again.
            self.enough = 2 * self.text.len().max(WINDOW);
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a manifest that says this beside its files can be read again.
///
/// # Errors
/// [`ParseError::TooManyParts`].
pub fn check_parts(without_files: &Statement) -> Result<(), ParseError> {
    if parts(&without_files.to_vec()) > MOST_PARTS {
        return Err(ParseError::TooManyParts);
    }
    Ok(())
}

fn parts(text: &[u8]) -> usize {
    memchr::memchr_iter(b',', text).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{
        ExternalParameters, FORMAT, FileFacts, InternalParameters, Missing, Model, Origin, Subject,
    };

    /// A manifest of files with these names, which are in byte order.
    fn statement(names: impl Iterator<Item = String>) -> Statement {
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
            network: None,
            reproduce: None,
        };
        let internal = InternalParameters {
            format: FORMAT,
            origin: Origin::Adopted,
            source_date_epoch: 0,
            excluded: Vec::new(),
            model_signature: true,
            missing: Missing::ALL.to_vec(),
            environment: Vec::new(),
        };
        Statement::new(files.collect(), external, internal, Vec::new(), Vec::new(), "0.1.0")
    }

    fn read(text: &[u8], piece: usize) -> Result<ReadManifest, ParseError> {
        let mut reader = ManifestReader::default();
        text.chunks(piece).for_each(|piece| reader.write_all(piece).expect("takes everything"));
        reader.finish()
    }

    /// Names with everything that could look like the border between two files.
    fn long() -> Statement {
        let names =
            (0..20_000).map(|number| format!("{number:05} }},{{ \"name\":\" ],\"predicateType\": }},{{"));
        statement(names)
    }

    #[test]
    fn a_manifest_is_the_same_in_whatever_pieces_it_arrives() {
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
    fn whatever_is_changed_in_a_long_manifest_is_found() {
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
    fn what_a_manifest_says_beside_its_files_is_bounded() {
        let mut statement = statement(["a".to_string()].into_iter());
        let excluded = |count: usize| vec![String::new(); count];
        statement.predicate.build_definition.internal_parameters.excluded = excluded(MOST_PARTS / 2);
        check_parts(&statement).expect("is within bounds");
        assert!(read(&statement.to_vec(), WINDOW).is_ok());
        statement.predicate.build_definition.internal_parameters.excluded = excluded(MOST_PARTS + 2);
        assert!(matches!(check_parts(&statement), Err(ParseError::TooManyParts)));
        statement.predicate.build_definition.internal_parameters.excluded = excluded(2 * MOST_PARTS);
        assert!(matches!(read(&statement.to_vec(), WINDOW), Err(ParseError::TooManyParts)));
    }

    #[test]
    fn a_text_without_files_is_not_searched_again_and_again() {
        let mut reader = ManifestReader::default();
        let piece = vec![b' '; WINDOW];
        for _ in 0..64 {
            reader.write_all(&piece).expect("takes everything");
        }
        assert!(reader.enough >= 64 * WINDOW, "{}", reader.enough);
    }
}
