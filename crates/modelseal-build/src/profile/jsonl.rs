use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::format::{Reading, RecordFormat, RecordStream};
use super::{Cells, Columns, LONGEST_RECORD, Profile, ProfileError};

pub(super) struct JsonLines;

impl RecordFormat for JsonLines {
    fn endings(&self) -> &'static [&'static str] {
        &[".jsonl", ".ndjson"]
    }

    fn reading(&self) -> Reading {
        Reading::Stream(|columns| Box::new(JsonRecords::new(columns.clone())))
    }
}

/// Counts the records of JSON Lines, one object per line, that arrive in chunks.
pub(super) struct JsonRecords {
    columns: Columns,
    /// The start of a line whose end has not arrived yet.
    rest: Vec<u8>,
    line: u64,
    profile: Profile,
}

impl JsonRecords {
    pub(super) fn new(columns: Columns) -> Self {
        Self { columns, rest: Vec::new(), line: 0, profile: Profile::default() }
    }
}

impl RecordStream for JsonRecords {
    fn push(&mut self, text: &[u8]) -> Result<(), ProfileError> {
        let mut text = text;
        while let Some(end) = memchr::memchr(b'\n', text) {
            let (line, rest) = (&text[..end], &text[end + 1..]);
            if self.rest.is_empty() {
                self.count(line)?;
            } else {
                self.rest.extend_from_slice(line);
                let line = std::mem::take(&mut self.rest);
                self.count(&line)?;
            }
            text = rest;
        }
        if self.rest.len() + text.len() > LONGEST_RECORD {
            return Err(ProfileError::TooLong(self.line + 1));
        }
        self.rest.extend_from_slice(text);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Profile, ProfileError> {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.count(&rest)?;
        }
        Ok(self.profile)
    }
}

impl JsonRecords {
    fn count(&mut self, text: &[u8]) -> Result<(), ProfileError> {
        self.line += 1;
        let line = self.line;
        let text = std::str::from_utf8(text).map_err(|_| ProfileError::NotUtf8(line))?;
        let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.trim().is_empty() {
            return Ok(());
        }
        let record: BTreeMap<std::borrow::Cow<'_, str>, &RawValue> =
            serde_json::from_str(text).map_err(|error| ProfileError::NotAnObject {
                line,
                reason: modelseal_format::display::message(&error),
            })?;
        let value = |column: &Option<String>, what| match column {
            None => Ok(None),
            Some(column) => match record.get(column.as_str()) {
                None => Ok(Some(None)),
                Some(raw) => scalar(raw).map(Some).map_err(|()| ProfileError::NotAValue { line, what }),
            },
        };
        let label = value(&self.columns.label, "label")?;
        let time = value(&self.columns.timestamp, "timestamp")?;
        let cells =
            Cells { label: label.as_ref().map(Option::as_deref), time: time.as_ref().map(Option::as_deref) };
        self.profile.count(text.as_bytes(), cells);
        Ok(())
    }
}

/// The text of a string, number or boolean; `None` for null.
fn scalar(raw: &RawValue) -> Result<Option<String>, ()> {
    match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw.get()).map(Some).map_err(|_| ()),
        Some(b'n') | None => Ok(None),
        Some(b'{' | b'[') => Err(()),
        Some(_) => Ok(Some(raw.get().to_string())),
    }
}
