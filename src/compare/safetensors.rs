//! safetensors: a length, a JSON header, the tensors' bytes. <https://github.com/huggingface/safetensors>

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use super::numbers::{self, Array, Kind, Number};
use super::{Cause, Failed, Likeness, Pair, bytes, read_some_at};
use modelseal_build::content::safetensors::{Header, LONGEST_HEADER, Tensor};
use modelseal_format::display::name;
use modelseal_format::manifest::Rung;

struct Tensors {
    header: Header,
    /// The offset of the tensor data.
    start: u64,
}

/// `None` if either file is not safetensors.
pub(super) fn compare(pair: &Pair<'_>) -> Result<Option<Likeness>, Failed> {
    let (Some(left), Some(right)) = (read(pair.sealed)?, read(pair.rebuilt)?) else {
        return Ok(None);
    };
    let mut whole =
        Likeness::at(Rung::R1, "the header is written differently; tensors and metadata are the same")
            .because(Some(Cause::Order));
    if let Some(difference) = compare_metadata(&left.header.metadata, &right.header.metadata) {
        return Ok(Some(difference));
    }
    let only_right = right.header.tensors.keys().filter(|tensor| !left.header.tensors.contains_key(*tensor));
    for tensor in left.header.tensors.keys().chain(only_right) {
        let (sealed, rebuilt) = match (left.header.tensors.get(tensor), right.header.tensors.get(tensor)) {
            (Some(sealed), Some(rebuilt)) => (sealed, rebuilt),
            (Some(_), None) => {
                return Ok(Some(Likeness::different(format!("tensor {} is missing", name(tensor)))));
            }
            (None, _) => return Ok(Some(Likeness::different(format!("tensor {} is new", name(tensor))))),
        };
        if (&sealed.dtype, &sealed.shape) != (&rebuilt.dtype, &rebuilt.shape) {
            let shown = |tensor: &Tensor| format!("{} {:?}", tensor.dtype, tensor.shape);
            let (left, right) = (shown(sealed), shown(rebuilt));
            return Ok(Some(Likeness::different(format!("tensor {}: {left} / {right}", name(tensor)))));
        }
        let length = sealed.data_offsets.1 - sealed.data_offsets.0;
        if length != rebuilt.data_offsets.1 - rebuilt.data_offsets.0 {
            return Ok(None);
        }
        let (left_start, right_start) =
            (left.start + sealed.data_offsets.0, right.start + rebuilt.data_offsets.0);
        let what = format!("tensor {}", name(tensor));
        let likeness = match kind(&sealed.dtype) {
            Some(kind) => {
                let count = length / kind.number.width() as u64;
                let sealed = Array { file: pair.sealed, offset: left_start };
                let rebuilt = Array { file: pair.rebuilt, offset: right_start };
                numbers::compare(&sealed, &rebuilt, count, kind, pair.tolerance, pair.context)?
                    .likeness(&what, count)
            }
            None => {
                let found = bytes::first_difference_in(pair, left_start, right_start, length)?;
                found.map_or(Likeness::same(), |offset| {
                    Likeness::different(format!(
                        "{what} ({}): differs from byte {offset} on",
                        name(&sealed.dtype)
                    ))
                })
            }
        };
        whole = whole.and(likeness);
    }
    Ok(Some(whole))
}

fn compare_metadata(
    sealed: &BTreeMap<String, String>,
    rebuilt: &BTreeMap<String, String>,
) -> Option<Likeness> {
    for key in sealed.keys().chain(rebuilt.keys().filter(|key| !sealed.contains_key(*key))) {
        let (left, right) = (sealed.get(key), rebuilt.get(key));
        if left == right {
            continue;
        }
        let show = |value: Option<&String>| match value {
            Some(value) => name(&value.chars().take(60).collect::<String>()),
            None => "nothing".to_string(),
        };
        let text = format!("metadata {}: {} / {}", name(key), show(left), show(right));
        let cause = left.zip(right).and_then(|(left, right)| super::text::cause(key, left, right));
        return Some(Likeness::different(text).because(cause));
    }
    None
}

fn read(file: &File) -> io::Result<Option<Tensors>> {
    let size = file.metadata()?.len();
    let Ok(length) = <[u8; 8]>::try_from(read_some_at(file, 0, 8)?) else { return Ok(None) };
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER || length + 8 > size {
        return Ok(None);
    }
    let start = length + 8;
    let header = Header::parse(&read_some_at(file, 8, length as usize)?, size - start);
    let fits = |tensor: &Tensor| {
        let (begin, end) = tensor.data_offsets;
        let count = tensor.shape.iter().try_fold(1u64, |count, size| count.checked_mul(*size));
        let width = kind(&tensor.dtype).map(|kind| kind.number.width() as u64);
        width.is_none_or(|width| count.and_then(|count| count.checked_mul(width)) == Some(end - begin))
    };
    let header = header.filter(|header| header.tensors.values().all(fits));
    Ok(header.map(|header| Tensors { header, start }))
}

fn kind(dtype: &str) -> Option<Kind> {
    let number = match dtype {
        "F16" => Number::F16,
        "BF16" => Number::Bf16,
        "F32" => Number::F32,
        "F64" => Number::F64,
        "I8" => Number::Signed(1),
        "I16" => Number::Signed(2),
        "I32" => Number::Signed(4),
        "I64" => Number::Signed(8),
        "BOOL" | "U8" => Number::Unsigned(1),
        "U16" => Number::Unsigned(2),
        "U32" => Number::Unsigned(4),
        "U64" => Number::Unsigned(8),
        _ => return None,
    };
    Some(Kind { number, big_endian: false })
}
