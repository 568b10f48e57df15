use csv_core::{ReadRecordResult, Reader};

use super::{Columns, LONGEST_RECORD, Profile, ProfileError};

/// Counts the records of a CSV text (RFC 4180, a header line) that arrives in pieces.
pub(super) struct CsvRecords {
    columns: Columns,
    reader: Reader,
    /// The fields of the record that is being read, one after the other, unquoted.
    fields: Vec<u8>,
    filled: usize,
    /// Where each field ends in `fields`.
    ends: Vec<usize>,
    ended: usize,
    /// What was too short to tell whether it begins with a byte order mark.
    start: Option<Vec<u8>>,
    header: Option<Header>,
    profile: Profile,
}

struct Header {
    width: usize,
    label: Option<usize>,
    timestamp: Option<usize>,
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl CsvRecords {
    pub(super) fn new(columns: Columns) -> Self {
        Self {
            columns,
            reader: Reader::new(),
            fields: vec![0; 1024],
            filled: 0,
            ends: vec![0; 64],
            ended: 0,
            start: Some(Vec::new()),
            header: None,
            profile: Profile::default(),
        }
    }

    pub(super) fn push(&mut self, text: &[u8]) -> Result<(), ProfileError> {
        if let Some(mut start) = self.start.take() {
            start.extend_from_slice(text);
            if start.len() < BYTE_ORDER_MARK.len() {
                self.start = Some(start);
                return Ok(());
            }
            return self.parse(start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&start));
        }
        self.parse(text)
    }

    pub(super) fn finish(mut self) -> Result<Profile, ProfileError> {
        if let Some(start) = self.start.take() {
            self.parse(&start)?;
        }
        // An empty input tells the reader that the text has ended: twice, record and end.
        self.read(&[])?;
        if self.header.is_none() {
            self.read_header(&[])?;
        }
        Ok(self.profile)
    }

    fn parse(&mut self, text: &[u8]) -> Result<(), ProfileError> {
        if text.is_empty() { Ok(()) } else { self.read(text) }
    }

    fn read(&mut self, mut text: &[u8]) -> Result<(), ProfileError> {
        loop {
            let (result, read, written, ended) =
                self.reader.read_record(text, &mut self.fields[self.filled..], &mut self.ends[self.ended..]);
            text = &text[read..];
            self.filled += written;
            self.ended += ended;
            match result {
                ReadRecordResult::InputEmpty => return Ok(()),
                ReadRecordResult::OutputFull => grow(&mut self.fields, self.reader.line())?,
                ReadRecordResult::OutputEndsFull => grow(&mut self.ends, self.reader.line())?,
                ReadRecordResult::Record => self.end_record()?,
                ReadRecordResult::End => return Ok(()),
            }
        }
    }

    fn end_record(&mut self) -> Result<(), ProfileError> {
        let (fields, ends) = (std::mem::take(&mut self.fields), std::mem::take(&mut self.ends));
        let result = match &self.header {
            None => {
                let names = (0..self.ended)
                    .map(|index| String::from_utf8_lossy(field(&fields, &ends, index)).into_owned());
                self.read_header(&names.collect::<Vec<_>>())
            }
            Some(header) => {
                count(&mut self.profile, header, &fields, &ends[..self.ended], self.reader.line())
            }
        };
        (self.fields, self.ends) = (fields, ends);
        (self.filled, self.ended) = (0, 0);
        result
    }

    fn read_header(&mut self, names: &[String]) -> Result<(), ProfileError> {
        let find = |column: &Option<String>| match column {
            None => Ok(None),
            Some(name) => match names.iter().position(|other| other == name) {
                Some(index) => Ok(Some(index)),
                None => Err(ProfileError::NoColumn { name: name.clone(), columns: names.to_vec() }),
            },
        };
        self.header = Some(Header {
            width: names.len(),
            label: find(&self.columns.label)?,
            timestamp: find(&self.columns.timestamp)?,
        });
        Ok(())
    }
}

fn field<'a>(fields: &'a [u8], ends: &[usize], index: usize) -> &'a [u8] {
    let start = if index == 0 { 0 } else { ends[index - 1] };
    &fields[start..ends[index]]
}

fn count(
    profile: &mut Profile,
    header: &Header,
    fields: &[u8],
    ends: &[usize],
    next_line: u64,
) -> Result<(), ProfileError> {
    // The reader stands behind the record's line end already.
    let line = next_line.saturating_sub(1).max(1);
    if ends.len() != header.width {
        return Err(ProfileError::Ragged { line, found: ends.len(), expected: header.width });
    }
    profile.rows += 1;
    let text = |index: usize| {
        std::str::from_utf8(field(fields, ends, index)).map_err(|_| ProfileError::NotUtf8(line))
    };
    if let Some(index) = header.label {
        profile.count_label(Some(text(index)?));
    }
    if let Some(index) = header.timestamp {
        profile.count_time(Some(text(index)?));
    }
    Ok(())
}

fn grow<T: Clone + Default>(buffer: &mut Vec<T>, line: u64) -> Result<(), ProfileError> {
    if buffer.len() >= LONGEST_RECORD {
        return Err(ProfileError::TooLong(line));
    }
    buffer.resize(buffer.len() * 2, T::default());
    Ok(())
}
