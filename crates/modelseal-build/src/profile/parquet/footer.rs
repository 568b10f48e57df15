//! Checks the directory (footer) of a Parquet file before the library reads it.
//!
//! The library follows the nesting of columns by recursion, and a stack overflow ends the program.
//!
//! The directory is a Thrift structure in the compact protocol.
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Longest directory, in bytes.
const LONGEST: u64 = 256 << 20;

/// Deepest nesting of columns. No real data is nested deeper.
const DEEPEST: usize = 100;

/// Field numbers: the schema in the directory, and the number of children in an element of the schema.
const SCHEMA: i16 = 2;
const NUM_CHILDREN: i16 = 5;

/// Why the library must not read a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Deep,
    Long,
}

/// Checks the directory. Errors in its format are left to the library, which reports them better.
///
/// # Errors
/// Errors of reading the file. `Ok(Err(_))` says why the library must not read it.
pub(super) fn check(file: &File) -> io::Result<Result<(), Refused>> {
    let size = file.metadata()?.len();
    let mut tail = [0; 8];
    if size < 12 {
        return Ok(Ok(()));
    }
    file.read_exact_at(&mut tail, size - 8)?;
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if &tail[4..] != b"PAR1" || length > size - 8 {
        return Ok(Ok(()));
    }
    if length > LONGEST {
        return Ok(Err(Refused::Long));
    }
    let mut directory = vec![0; length as usize];
    file.read_exact_at(&mut directory, size - 8 - length)?;
    Ok(match depth(&directory) {
        Some(depth) if depth > DEEPEST => Err(Refused::Deep),
        _ => Ok(()),
    })
}

/// How deep the schema is nested. It is stored as a flat list: each element has the number of its children. `None` if
/// it cannot be parsed.
fn depth(directory: &[u8]) -> Option<usize> {
    let mut reader = Reader { bytes: directory };
    let mut field = 0;
    loop {
        let (kind, id) = reader.field(field)?;
        if kind == 0 {
            return None;
        }
        field = id;
        if id == SCHEMA && kind == LIST {
            break;
        }
        reader.skip(kind, 0)?;
    }
    let (count, _) = reader.list()?;
    // For each element above, how many of its children are still to come.
    let mut open: Vec<u64> = Vec::new();
    let mut deepest = 0;
    for _ in 0..count {
        let children = reader.children()?;
        if let Some(rest) = open.last_mut() {
            *rest = rest.saturating_sub(1);
        }
        if children > 0 {
            open.push(children);
        }
        deepest = deepest.max(open.len());
        if deepest > DEEPEST {
            return Some(deepest);
        }
        while open.pop_if(|rest| *rest == 0).is_some() {}
    }
    Some(deepest)
}

const LIST: u8 = 9;
const STRUCT: u8 = 12;

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn drop(&mut self, length: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(length).ok()?..)?;
        Some(())
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The kind and the number of the next field. Kind zero ends a structure.
    fn field(&mut self, last: i16) -> Option<(u8, i16)> {
        let header = self.byte()?;
        let (delta, kind) = (header >> 4, header & 0xf);
        match (kind, delta) {
            (0, _) => Some((0, last)),
            (_, 0) => Some((kind, self.signed()?.try_into().ok()?)),
            _ => Some((kind, last.checked_add(delta.into())?)),
        }
    }

    /// The number of elements, and their kind.
    fn list(&mut self) -> Option<(u64, u8)> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.number()?,
            count => count.into(),
        };
        Some((count, header & 0xf))
    }

    /// Reads one element of the schema, and returns its number of children.
    fn children(&mut self) -> Option<u64> {
        let mut children = 0;
        let mut last = 0;
        loop {
            let (kind, id) = self.field(last)?;
            if kind == 0 {
                return Some(children);
            }
            last = id;
            match id {
                NUM_CHILDREN if (4..=6).contains(&kind) => children = self.signed()?.max(0) as u64,
                _ => self.skip(kind, 0)?,
            }
        }
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        if depth > 16 {
            return None;
        }
        match kind {
            1 | 2 => Some(()),
            3 => self.drop(1),
            4..=6 => self.number().map(|_| ()),
            7 => self.drop(8),
            8 => {
                let length = self.number()?;
                self.drop(length)
            }
            LIST | 10 => {
                let (count, kind) = self.list()?;
                for _ in 0..count {
                    // In a list, a boolean takes one byte.
                    self.skip(if kind <= 2 { 3 } else { kind }, depth + 1)?;
                }
                Some(())
            }
            STRUCT => {
                let mut last = 0;
                loop {
                    let (kind, id) = self.field(last)?;
                    if kind == 0 {
                        return Some(());
                    }
                    last = id;
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => None,
        }
    }
}
