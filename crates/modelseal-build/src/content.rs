//! What a model file holds, apart from its container: tensors, members of archives, what was compressed.
//!
//! A container has times, an order, room for notes. Two files that differ in nothing else have the same
//! content. It is recognised by XXH3, while the file is hashed: that finds accidents, such as a training that
//! had no effect, not attackers.

pub mod safetensors;
pub mod zip;

use std::fs::File;
use std::io::{self, Write};

use twox_hash::XxHash3_128 as Xxh3;

use modelseal_format::digest::Consumer;
use modelseal_format::manifest::ContentHash;

enum Container {
    Safetensors,
    Zip,
    Gzip,
}

impl Container {
    fn of(path: &str) -> Option<Self> {
        let lower = path.to_ascii_lowercase();
        match lower.rsplit_once('.')?.1 {
            "safetensors" => Some(Container::Safetensors),
            "zip" | "npz" | "pt" | "pth" | "ckpt" | "keras" | "skops" => Some(Container::Zip),
            "gz" => Some(Container::Gzip),
            _ => None,
        }
    }
}

/// Whether a file of this name is a container, whose content has a hash of its own.
pub fn has_content(path: &str) -> bool {
    Container::of(path).is_some()
}

/// Looks into one file while it is read.
pub struct ContentReader(Inside);

/// Whether a file is what its name says is known in the end, where the header of tensors does not tell; so all
/// bytes are hashed as well.
enum Inside {
    Tensors(safetensors::Reader),
    /// Its directory stands at the end, with a checksum for each member.
    Zip {
        bytes: Xxh3,
    },
    Gzip {
        bytes: Xxh3,
        decoder: Box<Option<flate2::write::MultiGzDecoder<Inflated>>>,
    },
}

/// Hashes what is decompressed.
struct Inflated(Xxh3);

impl Write for Inflated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ContentReader {
    /// `size` in bytes. `None`: a file of this name is no container, and its digest is that of its content.
    pub fn for_file(path: &str, size: u64) -> Option<Self> {
        let inside = match Container::of(path)? {
            Container::Safetensors => Inside::Tensors(safetensors::Reader::new(size)),
            Container::Zip => Inside::Zip { bytes: Xxh3::new() },
            Container::Gzip => {
                let decoder = flate2::write::MultiGzDecoder::new(Inflated(Xxh3::new()));
                Inside::Gzip { bytes: Xxh3::new(), decoder: Box::new(Some(decoder)) }
            }
        };
        Some(Self(inside))
    }

    /// The content, after all was read. `file` is the file once more.
    ///
    /// # Errors
    /// Those of reading the file; [`io::ErrorKind::UnexpectedEof`] if less than its size was shown.
    pub fn finish(self, file: &File) -> io::Result<ContentHash> {
        let (inside, bytes) = match self.0 {
            Inside::Tensors(reader) => return Ok(reader.finish()?.into()),
            Inside::Zip { bytes } => (zip::members(file)?.and_then(|members| zip::hash(&members)), bytes),
            Inside::Gzip { bytes, decoder } => {
                ((*decoder).and_then(|decoder| Some(decoder.finish().ok()?.0.finish_128())), bytes)
            }
        };
        Ok(inside.unwrap_or_else(|| bytes.finish_128()).into())
    }
}

impl Consumer for ContentReader {
    fn is_slow(&self) -> bool {
        matches!(self.0, Inside::Gzip { .. })
    }

    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Inside::Tensors(reader) => reader.consume(chunk),
            Inside::Zip { bytes } => bytes.write(chunk),
            Inside::Gzip { bytes, decoder } => {
                bytes.write(chunk);
                if decoder.as_mut().as_mut().is_some_and(|decoder| decoder.write_all(chunk).is_err()) {
                    **decoder = None;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(name: &str, bytes: &[u8]) -> Option<ContentHash> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("writes");
        let found = [1, 7, 1000].map(|length| {
            let mut reader = ContentReader::for_file(name, bytes.len() as u64)?;
            bytes.chunks(length).for_each(|chunk| reader.consume(chunk).expect("reads"));
            Some(reader.finish(&file).expect("reads"))
        });
        assert!(found.iter().all(|content| *content == found[0]), "the pieces make a difference");
        found[0]
    }

    fn tensors(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn tensors_are_the_same_in_any_order_and_with_any_notes() {
        let a = "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[1,3],\"data_offsets\":[2,5]}}";
        let b = "{\"__metadata__\":{\"time\":\"now\"},\"b\":{\"dtype\":\"U8\",\"shape\":[1,3],\"data_offsets\":[0,3]},\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]}}  ";
        let same = content("w.safetensors", &tensors(a, &[1, 2, 3, 4, 5]));
        assert_eq!(content("w.safetensors", &tensors(b, &[3, 4, 5, 1, 2])), same);
        for (header, data) in [
            (a.to_string(), [1, 2, 3, 4, 6]),
            (a.replace("[1,3]", "[3,1]"), [1, 2, 3, 4, 5]),
            (a.replace("\"b\"", "\"c\""), [1, 2, 3, 4, 5]),
            (a.replace("U8\",\"shape\":[2]", "I8\",\"shape\":[2]"), [1, 2, 3, 4, 5]),
            // Not such a file: a byte belongs to no tensor.
            (a.replace("[2,5]", "[2,4]"), [1, 2, 3, 4, 5]),
        ] {
            assert_ne!(content("w.safetensors", &tensors(&header, &data)), same, "{header}");
        }
    }

    #[test]
    fn what_was_compressed_is_the_same_however_it_was() {
        let compress = |level, time| {
            let encoder = flate2::GzBuilder::new().mtime(time);
            let mut encoder = encoder.write(Vec::new(), flate2::Compression::new(level));
            encoder.write_all(&[7; 5000]).expect("compresses");
            encoder.finish().expect("compresses")
        };
        assert_eq!(content("w.pkl.gz", &compress(1, 1)), content("w.pkl.gz", &compress(9, 2)));
        let mut damaged = compress(1, 1);
        let length = damaged.len();
        damaged[length - 8] ^= 1;
        assert_ne!(content("w.pkl.gz", &damaged), content("w.pkl.gz", &compress(1, 1)));
    }

    #[test]
    fn a_file_that_is_not_what_its_name_says_is_its_bytes() {
        // Of the last one, a byte belongs to no tensor.
        for other in [&b"no container"[..], b"short", b"", &tensors("{}", b"x")] {
            for name in ["w.safetensors", "w.npz", "w.pt", "w.gz"] {
                assert_eq!(content(name, other), Some(Xxh3::oneshot(other).into()), "{name}");
            }
        }
        assert_eq!(content("w.bin", b"x"), None);
        assert_eq!(content("weights", b"x"), None);
    }
}
