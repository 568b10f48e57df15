use csv_core::{ReadRecordResult, Reader};
use memchr::{memchr, memchr_iter, memchr2};

use super::format::{Reading, RecordFormat, RecordStream};
use super::{Cells, Columns, LONGEST_RECORD, Profile, ProfileError};

pub(super) struct Csv;

impl RecordFormat for Csv {
    fn endings(&self) -> &'static [&'static str] {
        &[".csv"]
    }

    fn reading(&self) -> Reading {
        Reading::Stream(|columns| Box::new(CsvRecords::new(columns.clone())))
    }
}

/// Counts the records of a CSV text (RFC 4180, with a header line) that arrives in chunks.
///
/// A line without quotes is split here, which is several times as fast as the full CSV reader. That reader gets all
/// other lines. A property test checks that both give the same results.
pub(super) struct CsvRecords {
    columns: Columns,
    header: Option<Header>,
    /// The start of a record whose end has not arrived yet.
    rest: Vec<u8>,
    /// Whether the rest was passed to `reader`, which waits for more.
    in_reader: bool,
    reader: QuotedReader,
    /// The line at which the next record begins, from 1.
    line: u64,
    is_start: bool,
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
            header: None,
            rest: Vec::new(),
            in_reader: false,
            reader: QuotedReader::new(),
            line: 1,
            is_start: true,
            profile: Profile::default(),
        }
    }
}

impl RecordStream for CsvRecords {
    fn push(&mut self, mut text: &[u8]) -> Result<(), ProfileError> {
        while !text.is_empty() {
            if self.in_reader {
                text = self.push_to_reader(text)?;
                continue;
            }
            let Some(end) = memchr(b'\n', text) else {
                return self.keep(text);
            };
            let (line, after) = text.split_at(end + 1);
            text = after;
            if self.rest.is_empty() {
                self.read_line(line)?;
            } else {
                self.keep(line)?;
                let line = std::mem::take(&mut self.rest);
                self.read_line(&line)?;
                // Its allocation is reused, unless the reader has taken it over.
                if self.rest.is_empty() {
                    self.rest = line;
                    self.rest.clear();
                }
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Profile, ProfileError> {
        if !self.in_reader {
            let line = std::mem::take(&mut self.rest);
            self.read_line(&line)?;
        }
        if self.in_reader {
            // Tells the reader that the text has ended.
            let record = std::mem::take(&mut self.rest);
            if let Step::Record(_) = self.reader.read(&[], self.line)? {
                self.end_quoted(&record)?;
            }
        }
        if self.header.is_none() {
            self.read_header(Vec::new())?;
        }
        Ok(self.profile)
    }
}

impl CsvRecords {
    fn keep(&mut self, text: &[u8]) -> Result<(), ProfileError> {
        if self.rest.len() + text.len() > LONGEST_RECORD {
            return Err(ProfileError::TooLong(self.line));
        }
        self.rest.extend_from_slice(text);
        Ok(())
    }

    /// Reads one line, with its line ending if it has one.
    fn read_line(&mut self, line: &[u8]) -> Result<(), ProfileError> {
        let mut text = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(after) if self.is_start => after,
            _ => line,
        };
        self.is_start = false;
        // Repeats only where a bare carriage return ends a record.
        while !text.is_empty() {
            if self.in_reader {
                text = self.push_to_reader(text)?;
                continue;
            }
            let content = text.strip_suffix(b"\n").unwrap_or(text);
            let content = content.strip_suffix(b"\r").unwrap_or(content);
            match &self.header {
                Some(header) if memchr2(b'"', b'\r', content).is_none() => {
                    if !content.is_empty() {
                        count_plain(&mut self.profile, header, content, self.line)?;
                    }
                    self.line += 1;
                    return Ok(());
                }
                _ => {
                    self.reader.start();
                    self.in_reader = true;
                }
            }
        }
        Ok(())
    }

    /// Passes text to the reader of quoted records. Returns the text after the record.
    fn push_to_reader<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], ProfileError> {
        match self.reader.read(text, self.line)? {
            Step::More => {
                self.keep(text)?;
                Ok(&[])
            }
            Step::Record(used) => {
                let (record, after) = text.split_at(used);
                self.keep(record)?;
                let record = std::mem::take(&mut self.rest);
                self.end_quoted(&record)?;
                Ok(after)
            }
        }
    }

    fn end_quoted(&mut self, record: &[u8]) -> Result<(), ProfileError> {
        self.in_reader = false;
        // Empty lines may come before the record, which begins after them.
        let is_end = |byte: &&u8| matches!(byte, b'\n' | b'\r');
        let before = record.iter().take_while(is_end).count();
        self.line += memchr_iter(b'\n', &record[..before]).count() as u64;
        let after = record[before..].iter().rev().take_while(is_end).count();
        let content = &record[before..record.len() - after];
        match self.header {
            None => {
                let fields = (0..self.reader.width()).map(|index| self.reader.field(index));
                let names = fields.map(|field| String::from_utf8_lossy(field).into_owned()).collect();
                self.read_header(names)?;
            }
            Some(_) => self.count_quoted(content)?,
        }
        self.line += memchr_iter(b'\n', &record[before..]).count() as u64;
        Ok(())
    }

    fn count_quoted(&mut self, content: &[u8]) -> Result<(), ProfileError> {
        let Some(header) = &self.header else { return Ok(()) };
        check_width(header, self.reader.width(), self.line)?;
        let text =
            |index: Option<usize>| index.map(|index| utf8(self.reader.field(index), self.line)).transpose();
        let cells = Cells { label: text(header.label)?.map(Some), time: text(header.timestamp)?.map(Some) };
        if memchr(b'\r', content).is_some() {
            let normalised = String::from_utf8_lossy(content).replace("\r\n", "\n");
            self.profile.count(normalised.as_bytes(), cells);
        } else {
            self.profile.count(content, cells);
        }
        Ok(())
    }

    fn read_header(&mut self, names: Vec<String>) -> Result<(), ProfileError> {
        let find = |column: &Option<String>| match column {
            None => Ok(None),
            Some(name) => match names.iter().position(|other| other == name) {
                Some(index) if names[index + 1..].contains(name) => {
                    Err(ProfileError::TwoColumns(name.clone()))
                }
                Some(index) => Ok(Some(index)),
                None => Err(ProfileError::NoColumn { name: name.clone(), columns: names.clone() }),
            },
        };
        let (label, timestamp) = (find(&self.columns.label)?, find(&self.columns.timestamp)?);
        self.header = Some(Header { width: names.len(), label, timestamp });
        Ok(())
    }
}

fn check_width(header: &Header, found: usize, line: u64) -> Result<(), ProfileError> {
    if found == header.width {
        return Ok(());
    }
    Err(ProfileError::Ragged { line, found, expected: header.width })
}

fn utf8(bytes: &[u8], line: u64) -> Result<&str, ProfileError> {
    std::str::from_utf8(bytes).map_err(|_| ProfileError::NotUtf8(line))
}

/// Counts a line without quotes: its fields are the text between the commas.
fn count_plain(profile: &mut Profile, header: &Header, line: &[u8], number: u64) -> Result<(), ProfileError> {
    let (mut label, mut time) = (None, None);
    let (mut index, mut start) = (0, 0);
    for comma in memchr_iter(b',', line).chain([line.len()]) {
        if Some(index) == header.label {
            label = Some(Some(utf8(&line[start..comma], number)?));
        }
        if Some(index) == header.timestamp {
            time = Some(Some(utf8(&line[start..comma], number)?));
        }
        (index, start) = (index + 1, comma + 1);
    }
    check_width(header, index, number)?;
    profile.count(line, Cells { label, time });
    Ok(())
}

/// The full CSV reader, which handles quotes, with space for one record.
struct QuotedReader {
    reader: Reader,
    /// The fields, one after the other, unquoted.
    fields: Vec<u8>,
    filled: usize,
    /// Where each field ends in `fields`.
    ends: Vec<usize>,
    ended: usize,
}

enum Step {
    /// The record continues in the next text.
    More,
    /// The record is complete after this many bytes of the text.
    Record(usize),
}

impl QuotedReader {
    fn new() -> Self {
        Self { reader: Reader::new(), fields: vec![0; 1024], filled: 0, ends: vec![0; 64], ended: 0 }
    }

    /// Begins a record.
    fn start(&mut self) {
        self.reader.reset();
        (self.filled, self.ended) = (0, 0);
    }

    /// Reads more of the record. An empty text means that there is no more.
    fn read(&mut self, text: &[u8], line: u64) -> Result<Step, ProfileError> {
        let mut used = 0;
        loop {
            let (result, read, written, ended) = self.reader.read_record(
                &text[used..],
                &mut self.fields[self.filled..],
                &mut self.ends[self.ended..],
            );
            used += read;
            self.filled += written;
            self.ended += ended;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok(Step::More),
                ReadRecordResult::OutputFull => grow(&mut self.fields, line)?,
                ReadRecordResult::OutputEndsFull => grow(&mut self.ends, line)?,
                ReadRecordResult::Record => return Ok(Step::Record(used)),
            }
            if used == text.len() && !text.is_empty() {
                return Ok(Step::More);
            }
        }
    }

    fn width(&self) -> usize {
        self.ended
    }

    fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.fields[start..self.ends[index]]
    }
}

fn grow<T: Clone + Default>(buffer: &mut Vec<T>, line: u64) -> Result<(), ProfileError> {
    if buffer.len() >= LONGEST_RECORD {
        return Err(ProfileError::TooLong(line));
    }
    buffer.resize(buffer.len() * 2, T::default());
    Ok(())
}
