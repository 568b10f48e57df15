//! What the records of a data set look like: how many, how often each label, how old.
//!
//! One streaming pass that shares the read with hashing, in bounded memory.

mod csv;
mod jsonl;
mod time;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use jiff::Timestamp;

use crate::digest::Consumer;
use csv::CsvRecords;
use jsonl::JsonRecords;

/// Beyond this many classes the label is not one to count.
const MOST_CLASSES: usize = 1000;

/// A label longer than this is not the name of a class.
const LONGEST_LABEL: usize = 256;

/// No record and no header line is longer.
const LONGEST_RECORD: usize = 16 << 20;

/// Which columns to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    pub label: Option<String>,
    pub timestamp: Option<String>,
}

/// Why the records of a file cannot be counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    #[error("there is no column {}; there are {}", crate::text::name(name), list(columns))]
    NoColumn { name: String, columns: Vec<String> },
    #[error("line {line} has {found} fields, the header has {expected}")]
    Ragged { line: u64, found: usize, expected: usize },
    #[error("the record at line {0} is longer than 16 MiB")]
    TooLong(u64),
    #[error("line {0} is not UTF-8")]
    NotUtf8(u64),
    #[error("line {line} is not a JSON object: {reason}")]
    NotAnObject { line: u64, reason: String },
    #[error("the {what} at line {line} is a list or an object")]
    NotAValue { line: u64, what: &'static str },
    #[error("the gzip stream is damaged: {0}")]
    Gzip(String),
}

fn list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(20).map(|name| crate::text::name(name)).collect();
    let more = if names.len() > 20 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// What was counted. Profiles of the parts of a data set merge into the profile of the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    pub rows: u64,
    /// Rows without a label.
    pub nulls: u64,
    labels: HashMap<String, u64>,
    /// There were too many classes, or labels too long for one.
    pub labels_uncounted: bool,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
    /// Rows without a time that could be read.
    pub unparsed: u64,
    /// The first few of those, for messages.
    pub unparsed_examples: Vec<String>,
}

impl Profile {
    /// Rows by class, sorted; empty where counting stopped.
    pub fn labels(&self) -> BTreeMap<String, u64> {
        self.labels.iter().map(|(label, count)| (label.clone(), *count)).collect()
    }

    /// Adds the profile of another part.
    pub fn merge(&mut self, other: Profile) {
        self.rows += other.rows;
        self.nulls += other.nulls;
        self.unparsed += other.unparsed;
        self.labels_uncounted |= other.labels_uncounted;
        for (label, count) in other.labels {
            self.add_label(&label, count);
        }
        for time in [other.oldest, other.newest].into_iter().flatten() {
            self.add_time(time);
        }
        let room = 3usize.saturating_sub(self.unparsed_examples.len());
        self.unparsed_examples.extend(other.unparsed_examples.into_iter().take(room));
        self.drop_labels_if_uncounted();
    }

    /// Pairs of classes that a person would take for one: equal but for case and white space at the ends.
    pub fn lookalikes(&self) -> Vec<(String, String)> {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        let mut pairs = Vec::new();
        let mut labels: Vec<&String> = self.labels.keys().collect();
        labels.sort();
        for label in labels {
            match seen.get(&label.trim().to_lowercase()) {
                Some(other) => pairs.push((other.to_string(), label.clone())),
                None => {
                    seen.insert(label.trim().to_lowercase(), label);
                }
            }
        }
        pairs
    }

    fn count_label(&mut self, label: Option<&str>) {
        match label {
            None | Some("") => self.nulls += 1,
            Some(label) => self.add_label(label, 1),
        }
    }

    fn add_label(&mut self, label: &str, count: u64) {
        if self.labels_uncounted {
            return;
        }
        match self.labels.get_mut(label) {
            Some(counted) => *counted += count,
            None => {
                self.labels_uncounted = self.labels.len() == MOST_CLASSES || label.len() > LONGEST_LABEL;
                self.labels.insert(label.to_string(), count);
                self.drop_labels_if_uncounted();
            }
        }
    }

    fn drop_labels_if_uncounted(&mut self) {
        if self.labels_uncounted {
            self.labels = HashMap::new();
        }
    }

    fn count_time(&mut self, text: Option<&str>) {
        match text.and_then(time::parse) {
            Some(time) => self.add_time(time),
            None => {
                self.unparsed += 1;
                if self.unparsed_examples.len() < 3 {
                    let shown: String = text.unwrap_or_default().chars().take(40).collect();
                    self.unparsed_examples.push(shown);
                }
            }
        }
    }

    fn add_time(&mut self, time: Timestamp) {
        self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        self.newest = Some(self.newest.map_or(time, |newest| newest.max(time)));
    }
}

/// Counts the records of one file while it is hashed.
pub(super) struct Profiler {
    decoder: Decoder,
    /// Found while reading; hashing goes on, so that the file is read to its end either way.
    error: Option<ProfileError>,
}

enum Decoder {
    Plain(Records),
    Gzip(Box<flate2::write::MultiGzDecoder<Records>>),
}

/// Records of one format; takes decompressed text.
enum Records {
    Csv(Box<CsvRecords>),
    Json(Box<JsonRecords>),
}

/// The formats whose records can be counted, by the file's ending, as messages list them.
pub(super) const KNOWN_ENDINGS: &str = "`.csv`, `.jsonl`, `.ndjson`, and these with `.gz`";

impl Profiler {
    /// `None`: the ending of the file's name is not one of [`KNOWN_ENDINGS`].
    pub(super) fn for_file(path: &str, columns: &Columns) -> Option<Self> {
        let lower = path.to_ascii_lowercase();
        let (stem, compressed) = match lower.strip_suffix(".gz") {
            Some(stem) => (stem, true),
            None => (lower.as_str(), false),
        };
        let records = match stem.rsplit_once('.')?.1 {
            "csv" => Records::Csv(Box::new(CsvRecords::new(columns.clone()))),
            "jsonl" | "ndjson" => Records::Json(Box::new(JsonRecords::new(columns.clone()))),
            _ => return None,
        };
        let decoder = if compressed {
            Decoder::Gzip(Box::new(flate2::write::MultiGzDecoder::new(records)))
        } else {
            Decoder::Plain(records)
        };
        Some(Self { decoder, error: None })
    }

    /// Ends the last record.
    pub(super) fn finish(self) -> Result<Profile, ProfileError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let records = match self.decoder {
            Decoder::Plain(records) => records,
            Decoder::Gzip(decoder) => decoder.finish().map_err(|error| profile_error(&error))?,
        };
        match records {
            Records::Csv(records) => records.finish(),
            Records::Json(records) => records.finish(),
        }
    }
}

impl Consumer for Profiler {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        if self.error.is_some() {
            return Ok(());
        }
        let result = match &mut self.decoder {
            Decoder::Plain(records) => records.write_all(chunk),
            Decoder::Gzip(decoder) => decoder.write_all(chunk),
        };
        self.error = result.err().map(|error| profile_error(&error));
        Ok(())
    }
}

impl Write for Records {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self {
            Records::Csv(records) => records.push(text),
            Records::Json(records) => records.push(text),
        }
        .map(|()| text.len())
        .map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Our own error, carried through the decoder, or the decoder's.
fn profile_error(error: &io::Error) -> ProfileError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<ProfileError>()) {
        Some(own) => own.clone(),
        None => ProfileError::Gzip(crate::text::Escaped(&error.to_string()).to_string()),
    }
}

#[cfg(test)]
mod tests;
