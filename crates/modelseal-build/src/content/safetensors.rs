//! The safetensors format: a length, a JSON header, and the tensors' bytes.
//! <https://github.com/huggingface/safetensors>

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;
use twox_hash::XxHash3_128 as Xxh3;

/// Longest header, in bytes: the limit of the reference implementation.
pub const LONGEST_HEADER: u64 = 100_000_000;

/// Longest header that is kept in memory while a file is only hashed, in bytes.
const LONGEST_KEPT: u64 = 16 << 20;

/// The header of a file.
pub struct Header {
    /// Sorted by name.
    pub tensors: BTreeMap<String, Tensor>,
    pub metadata: BTreeMap<String, String>,
}

/// A tensor. Unknown fields are refused, because they could be part of its meaning.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    pub dtype: String,
    pub shape: Vec<u64>,
    /// Begin and end, in bytes from the end of the header.
    pub data_offsets: (u64, u64),
}

impl Header {
    /// Parses the header of a file with `data` bytes of data; `None` if it is not such a header. Every byte must belong
    /// to one tensor, as the format requires.
    pub fn parse(text: &[u8], data: u64) -> Option<Self> {
        let mut entries = serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(text).ok()?;
        let metadata = match entries.remove("__metadata__") {
            None => BTreeMap::new(),
            Some(metadata) => serde_json::from_value(metadata).ok()?,
        };
        let tensor = |(name, entry)| Some((name, serde_json::from_value::<Tensor>(entry).ok()?));
        let tensors: BTreeMap<String, Tensor> = entries.into_iter().map(tensor).collect::<Option<_>>()?;
        let header = Self { tensors, metadata };
        let mut end = 0;
        for (_, (begin, next)) in header.places() {
            if begin != end || next < begin {
                return None;
            }
            end = next;
        }
        (end == data).then_some(header)
    }

    /// The tensors in the order of their data.
    fn places(&self) -> Vec<(&str, (u64, u64))> {
        let mut places: Vec<_> =
            self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.data_offsets)).collect();
        places.sort_by_key(|(_, place)| *place);
        places
    }
}

/// Hashes the tensors of a file that arrives in chunks.
pub(super) struct Reader {
    /// Size of the file, in bytes.
    size: u64,
    state: State,
}

enum State {
    /// Eight bytes of length and then the header, as far as they have arrived.
    Header(Vec<u8>),
    Data(Box<Tensors>),
    /// Not a safetensors file: the hash of all its bytes.
    Other(Box<Xxh3>),
}

impl Reader {
    pub(super) fn new(size: u64) -> Self {
        Self { size, state: State::Header(Vec::new()) }
    }

    pub(super) fn consume(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !rest.is_empty() {
            match &mut self.state {
                State::Other(bytes) => return bytes.write(rest),
                State::Data(tensors) => return tensors.consume(rest),
                State::Header(head) => {
                    let length = head.first_chunk::<8>().map_or(0, |length| u64::from_le_bytes(*length));
                    let wanted = (8 + length as usize - head.len()).min(rest.len());
                    head.extend_from_slice(&rest[..wanted]);
                    rest = &rest[wanted..];
                    if let Some(next) = next(head, self.size) {
                        self.state = next;
                    }
                }
            }
        }
    }

    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if fewer bytes than expected arrived.
    pub(super) fn finish(self) -> io::Result<u128> {
        match self.state {
            State::Data(tensors) => tensors.finish().ok_or(io::ErrorKind::UnexpectedEof.into()),
            State::Header(head) => Ok(Xxh3::oneshot(&head)),
            State::Other(bytes) => Ok(bytes.finish_128()),
        }
    }
}

/// The state for a file that begins with `head` and is not a safetensors file.
fn other(head: &[u8]) -> State {
    let mut bytes = Xxh3::new();
    bytes.write(head);
    State::Other(Box::new(bytes))
}

/// The state after this much of the header; `None` if more of it is needed.
fn next(head: &[u8], size: u64) -> Option<State> {
    let (length, text) = head.split_first_chunk::<8>()?;
    let length = u64::from_le_bytes(*length);
    if length == 0 || length > LONGEST_KEPT || length + 8 > size {
        return Some(other(head));
    }
    if (text.len() as u64) < length {
        return None;
    }
    let header = Header::parse(text, size - 8 - length);
    Some(header.map_or_else(|| other(head), |header| State::Data(Box::new(Tensors::new(header)))))
}

struct Tensors {
    header: Header,
    /// The tensors that have not arrived completely, the next one last: the name, and how many bytes are missing.
    rest: Vec<(String, u64)>,
    /// The hash of the tensor that is arriving.
    hasher: Xxh3,
    hashes: BTreeMap<String, u128>,
}

impl Tensors {
    fn new(header: Header) -> Self {
        let places = header.places().into_iter().rev();
        let rest = places.map(|(name, (begin, end))| (name.to_string(), end - begin)).collect();
        let mut tensors = Self { header, rest, hasher: Xxh3::new(), hashes: BTreeMap::new() };
        tensors.end_complete();
        tensors
    }

    fn consume(&mut self, chunk: &[u8]) {
        let mut chunk = chunk;
        while let Some((_, rest)) = self.rest.last_mut() {
            let length = (*rest).min(chunk.len() as u64);
            let (own, others) = chunk.split_at(length as usize);
            self.hasher.write(own);
            *rest -= length;
            chunk = others;
            self.end_complete();
            if chunk.is_empty() {
                return;
            }
        }
    }

    fn end_complete(&mut self) {
        while let Some((name, _)) = self.rest.pop_if(|(_, rest)| *rest == 0) {
            let hasher = std::mem::replace(&mut self.hasher, Xxh3::new());
            self.hashes.insert(name, hasher.finish_128());
        }
    }

    /// `None` if data is missing.
    fn finish(self) -> Option<u128> {
        if !self.rest.is_empty() {
            return None;
        }
        let mut whole = Xxh3::new();
        for (name, tensor) in &self.header.tensors {
            for text in [name, &tensor.dtype] {
                whole.write(&(text.len() as u64).to_le_bytes());
                whole.write(text.as_bytes());
            }
            whole.write(&(tensor.shape.len() as u64).to_le_bytes());
            tensor.shape.iter().for_each(|size| whole.write(&size.to_le_bytes()));
            whole.write(&self.hashes.get(name)?.to_le_bytes());
        }
        Some(whole.finish_128())
    }
}
