//! The operations of a pickle and their arguments, protocols 0 to 5.

use std::fs::File;
use std::io;

use crate::compare::read_some_at;

/// Longer arguments are not loaded from the file.
const LONGEST: u64 = 64 << 10;

/// Maximum length of a line in a text argument.
const LONGEST_LINE: usize = 64 << 10;

/// How many bytes are read ahead.
const AHEAD: usize = 256 << 10;

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub(super) code: u8,
    pub(super) argument: Argument,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Argument {
    None,
    /// An integer, or a memo index.
    Integer(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Module and name.
    Global(String),
    /// The position of a long argument in the file.
    Region {
        offset: u64,
        length: u64,
    },
}

impl Operation {
    /// Whether the operation only divides the stream, which does not affect its meaning.
    pub(super) fn is_framing(&self) -> bool {
        matches!(self.code, 0x80 | 0x95)
    }

    pub(super) fn is_stop(&self) -> bool {
        self.code == b'.'
    }

    pub(super) fn is_region(&self) -> bool {
        matches!(self.argument, Argument::Region { .. })
    }

    /// The argument as text for messages.
    pub(super) fn shown(&self) -> String {
        match &self.argument {
            Argument::None => match self.code {
                b'N' => "None".to_string(),
                0x88 => "True".to_string(),
                0x89 => "False".to_string(),
                code => label(code).to_string(),
            },
            Argument::Integer(value) => value.to_string(),
            Argument::Float(value) => value.to_string(),
            Argument::Text(text) | Argument::Global(text) => text.chars().take(60).collect(),
            Argument::Bytes(bytes) => {
                bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
            }
            Argument::Region { length, .. } => format!("{length} bytes"),
        }
    }
}

/// An array whose bytes follow the operation that described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawArray {
    /// NumPy's type string.
    pub(super) descr: String,
    pub(super) count: u64,
    /// Padding precedes the bytes.
    pub(super) is_aligned: bool,
}

/// The operations of a file, read ahead in blocks.
pub(super) struct Stream<'a> {
    file: &'a File,
    size: u64,
    /// The offset of the next byte.
    position: u64,
    ahead: Vec<u8>,
    /// The offset of `ahead` in the file.
    start: u64,
}

impl<'a> Stream<'a> {
    pub(super) fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, size: file.metadata()?.len(), position: 0, ahead: Vec::new(), start: 0 })
    }

    /// The offset of the next byte, and how many bytes are left.
    pub(super) fn rest(&self) -> (u64, u64) {
        (self.position, self.size - self.position)
    }

    /// The next operation. `None` if the bytes are not a pickle operation or are cut off.
    pub(super) fn next(&mut self) -> io::Result<Option<Operation>> {
        let Some(code) = self.take(1)?.map(|bytes| bytes[0]) else { return Ok(None) };
        let argument = self.argument(code)?;
        Ok(argument.map(|argument| Operation { code, argument }))
    }

    fn argument(&mut self, code: u8) -> io::Result<Option<Argument>> {
        let unsigned =
            |bytes: &[u8]| bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        Ok(match code {
            b'('
            | b'.'
            | b'0'
            | b'1'
            | b'2'
            | b'N'
            | b'R'
            | b'a'
            | b'b'
            | b'd'
            | b'e'
            | b'l'
            | b'o'
            | b's'
            | b't'
            | b'u'
            | b']'
            | b'}'
            | b')'
            | b'Q'
            | 0x81
            | 0x85..=0x89
            | 0x8f
            | 0x90
            | 0x91
            | 0x92
            | 0x93
            | 0x94
            | 0x97
            | 0x98 => Some(Argument::None),
            b'K' | b'h' | b'q' | 0x80 | 0x82 => self.take(1)?.map(|b| Argument::Integer(unsigned(b) as i64)),
            b'M' | 0x83 => self.take(2)?.map(|b| Argument::Integer(unsigned(b) as i64)),
            b'J' => self.take(4)?.map(|b| Argument::Integer(i64::from(unsigned(b) as u32 as i32))),
            b'j' | b'r' | 0x84 => self.take(4)?.map(|b| Argument::Integer(unsigned(b) as i64)),
            0x95 => self.take(8)?.map(|b| Argument::Integer(unsigned(b) as i64)),
            b'G' => self.take(8)?.map(|b| Argument::Float(f64::from_bits(unsigned(b).swap_bytes()))),
            b'I' | b'L' | b'F' | b'g' | b'p' | b'S' | b'V' | b'P' => self.line()?.map(Argument::Text),
            b'c' | b'i' => {
                let (Some(module), Some(name)) = (self.line()?, self.line()?) else { return Ok(None) };
                Some(Argument::Global(format!("{module}.{name}")))
            }
            b'U' | b'C' | 0x8a | 0x8c => self.counted(1, code)?,
            b'T' | b'B' | b'X' | 0x8b => self.counted(4, code)?,
            0x8d | 0x8e | 0x96 => self.counted(8, code)?,
            _ => None,
        })
    }

    /// An argument that follows its length.
    fn counted(&mut self, width: usize, code: u8) -> io::Result<Option<Argument>> {
        let Some(length) = self.take(width)? else { return Ok(None) };
        let length = length.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        if length > self.size - self.position {
            return Ok(None);
        }
        if length > LONGEST {
            let offset = self.position;
            self.position += length;
            return Ok(Some(Argument::Region { offset, length }));
        }
        let Some(bytes) = self.take(length as usize)?.map(<[u8]>::to_vec) else { return Ok(None) };
        let is_text = matches!(code, b'X' | 0x8c | 0x8d | b'T' | b'U');
        Ok(Some(match (code, String::from_utf8(bytes)) {
            (_, Ok(text)) if is_text => Argument::Text(text),
            (0x8a | 0x8b, bytes) => whole(&into_bytes(bytes)),
            (_, bytes) => Argument::Bytes(into_bytes(bytes)),
        }))
    }

    /// Text up to a line feed.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        while let Some(byte) = self.take(1)?.map(|bytes| bytes[0]) {
            if byte == b'\n' {
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if line.len() == LONGEST_LINE {
                break;
            }
            line.push(byte);
        }
        Ok(None)
    }

    fn take(&mut self, length: usize) -> io::Result<Option<&[u8]>> {
        let within = self.position.checked_sub(self.start).map(|place| place as usize);
        let has = within.is_some_and(|place| place + length <= self.ahead.len());
        if !has {
            self.ahead = read_some_at(self.file, self.position, length.max(AHEAD))?;
            self.start = self.position;
        }
        let place = (self.position - self.start) as usize;
        if place + length > self.ahead.len() {
            return Ok(None);
        }
        self.position += length as u64;
        Ok(Some(&self.ahead[place..place + length]))
    }

    /// Skips the bytes of an array and returns their offset. `None` if they are cut off.
    pub(super) fn skip_array(&mut self, array: &RawArray, length: u64) -> io::Result<Option<u64>> {
        if array.is_aligned {
            // joblib writes one byte with the length of the padding that follows.
            let Some(padding) = self.take(1)?.map(|bytes| u64::from(bytes[0])) else { return Ok(None) };
            self.position = (self.position + padding).min(self.size);
        }
        if length > self.size - self.position {
            return Ok(None);
        }
        let start = self.position;
        self.position += length;
        Ok(Some(start))
    }
}

fn into_bytes(bytes: Result<String, std::string::FromUtf8Error>) -> Vec<u8> {
    bytes.map_or_else(std::string::FromUtf8Error::into_bytes, String::into_bytes)
}

/// An integer of any length, little-endian, in two's complement.
fn whole(bytes: &[u8]) -> Argument {
    if bytes.len() > 8 {
        return Argument::Bytes(bytes.to_vec());
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Argument::Integer(i64::from_le_bytes(wide))
}

/// The name of an operation, as Python's `pickletools` gives it.
pub(super) fn label(code: u8) -> &'static str {
    match code {
        b'(' => "MARK",
        b'.' => "STOP",
        b'0' => "POP",
        b'1' => "POP_MARK",
        b'2' => "DUP",
        b'F' => "FLOAT",
        b'G' => "BINFLOAT",
        b'I' => "INT",
        b'J' => "BININT",
        b'K' => "BININT1",
        b'L' => "LONG",
        b'M' => "BININT2",
        b'N' => "NONE",
        b'R' => "REDUCE",
        b'T' | b'U' | b'S' => "STRING",
        b'B' | b'C' | 0x8e => "BINBYTES",
        b'X' | 0x8c | 0x8d | b'V' => "UNICODE",
        b'a' => "APPEND",
        b'b' => "BUILD",
        b'c' | 0x93 => "GLOBAL",
        b'd' => "DICT",
        b'}' => "EMPTY_DICT",
        b'e' => "APPENDS",
        b'g' | b'h' | b'j' => "GET",
        b'p' | b'q' | b'r' | 0x94 => "PUT",
        b's' => "SETITEM",
        b'u' => "SETITEMS",
        b']' => "EMPTY_LIST",
        b'l' => "LIST",
        b')' => "EMPTY_TUPLE",
        b't' | 0x85..=0x87 => "TUPLE",
        0x81 | 0x92 => "NEWOBJ",
        0x88 => "NEWTRUE",
        0x89 => "NEWFALSE",
        0x8a | 0x8b => "LONG1",
        0x8f => "EMPTY_SET",
        0x90 => "ADDITEMS",
        0x91 => "FROZENSET",
        0x96 => "BYTEARRAY8",
        _ => "operation",
    }
}
