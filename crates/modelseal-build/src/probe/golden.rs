use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Error;
use modelseal_format::digest::{Digest, Symlinks, open_regular};

/// Longest file of inputs, in bytes.
const LONGEST: u64 = 16 << 20;

/// Most inputs in one file.
const MOST: usize = 10_000;

/// Longest input, and longest answer, in bytes.
pub(super) const LONGEST_LINE: usize = 1 << 20;

/// One question, and the answer that every release must give, if there is one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    pub id: String,
    /// The input as written, so that numbers keep their digits.
    pub input: Box<RawValue>,
    #[serde(default, deserialize_with = "super::present")]
    pub expected: Option<Value>,
}

impl Golden {
    /// The members of the input, if it is an object.
    pub(super) fn members(&self) -> Option<BTreeMap<String, Box<RawValue>>> {
        serde_json::from_str(self.input.get()).ok()
    }
}

impl Golden {
    pub(super) fn has_member(&self, name: &str) -> bool {
        self.members().is_some_and(|members| members.contains_key(name))
    }
}

/// The questions of a probe.
#[derive(Debug)]
pub struct Goldens {
    /// Sorted by id, in byte order.
    pub inputs: Vec<Golden>,
    /// SHA-256 of the file.
    pub sha256: Digest,
}

impl Goldens {
    /// Reads the questions from a file of JSON Lines.
    ///
    /// # Errors
    /// [`Error`] with the line.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let (file, _): (File, _) = open_regular(path, Symlinks::Follow).map_err(|error| match error {
            modelseal_format::digest::Error::Io { source, .. } => io(source),
            other => io(std::io::Error::other(other.to_string())),
        })?;
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(io)?;
        Self::parse(path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let bad = |reason| Error::Goldens { path: path.to_path_buf(), reason };
        if bytes.len() as u64 > LONGEST {
            return Err(bad("is longer than 16 MiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("is not UTF-8"))?;
        let mut inputs: Vec<Golden> = Vec::new();
        let mut ids = HashSet::new();
        for (index, line) in text.lines().enumerate() {
            let bad = |reason: String| Error::Golden { path: path.to_path_buf(), line: index + 1, reason };
            if line.trim().is_empty() {
                continue;
            }
            if line.len() > LONGEST_LINE {
                return Err(bad("it is longer than 1 MiB".to_string()));
            }
            let golden: Golden = serde_json::from_str(line)
                .map_err(|error| bad(modelseal_format::display::message(&error)))?;
            if !ids.insert(golden.id.clone()) {
                return Err(bad(format!(
                    "the id {} occurs twice",
                    modelseal_format::display::name(&golden.id)
                )));
            }
            inputs.push(golden);
        }
        match inputs.len() {
            0 => return Err(bad("contains no questions")),
            count if count > MOST => return Err(bad("contains more than 10,000 questions")),
            _ => {}
        }
        let mut seen: HashMap<&str, &str> = HashMap::new();
        for golden in &inputs {
            if let Some(other) = seen.insert(golden.input.get(), &golden.id) {
                return Err(Error::SameInput {
                    path: path.to_path_buf(),
                    first: other.to_string(),
                    second: golden.id.clone(),
                });
            }
        }
        inputs.sort_by(|left, right| left.id.cmp(&right.id));
        Ok(Self { inputs, sha256: Digest::sha256(bytes) })
    }
}
