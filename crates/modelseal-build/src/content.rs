//! The content of a model file, apart from its container: tensors, members of archives, or decompressed data.
//!
//! A container has times, an order and space for notes. Two files that differ only in these have the same content. The
//! content is identified by an XXH3 hash, which is computed while the file is hashed. The hash finds accidents, such as
//! a training that had no effect, but not attacks.

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

/// Whether a file of this name is a container, whose content has a separate hash.
pub fn has_content(path: &str) -> bool {
    Container::of(path).is_some()
}

/// Hashes the content of one file while the file is read.
pub struct ContentReader(Inside);

/// Only the header of tensors tells early whether a file is what its name says. Otherwise this is known at the end, so
/// all bytes are hashed as well.
enum Inside {
    Tensors(safetensors::Reader),
    /// The directory of a zip archive is at its end, with a checksum for each member.
    Zip {
        bytes: Xxh3,
    },
    Gzip {
        bytes: Xxh3,
        decoder: Box<Option<flate2::write::MultiGzDecoder<Inflated>>>,
    },
}

/// Hashes the decompressed bytes.
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
    /// `size` is in bytes. Returns `None` if a file of this name is not a container: its digest is also that of its
    /// content.
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

    /// The hash of the content, after all bytes were read. `file` is the same file again.
    ///
    /// # Errors
    /// Errors of reading the file; [`io::ErrorKind::UnexpectedEof`] if fewer bytes than its size were read.
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
    fn safetensors_content_ignores_tensor_order_and_metadata() {
        let a = "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[1,3],\"data_offsets\":[2,5]}}";
        let b = "{\"__metadata__\":{\"time\":\"now\"},\"b\":{\"dtype\":\"U8\",\"shape\":[1,3],\"data_offsets\":[0,3]},\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]}}  ";
        let same = content("w.safetensors", &tensors(a, &[1, 2, 3, 4, 5]));
        assert_eq!(content("w.safetensors", &tensors(b, &[3, 4, 5, 1, 2])), same);
        for (header, data) in [
            (a.to_string(), [1, 2, 3, 4, 6]),
            (a.replace("[1,3]", "[3,1]"), [1, 2, 3, 4, 5]),
            (a.replace("\"b\"", "\"c\""), [1, 2, 3, 4, 5]),
            (a.replace("U8\",\"shape\":[2]", "I8\",\"shape\":[2]"), [1, 2, 3, 4, 5]),
            // Not a valid file: a byte belongs to no tensor.
            (a.replace("[2,5]", "[2,4]"), [1, 2, 3, 4, 5]),
        ] {
            assert_ne!(content("w.safetensors", &tensors(&header, &data)), same, "{header}");
        }
    }

    #[test]
    fn gzip_content_ignores_compression_level_and_time() {
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
    fn content_of_a_file_in_another_format_is_the_hash_of_its_bytes() {
        // In the last one, a byte belongs to no tensor.
        for other in [&b"no container"[..], b"short", b"", &tensors("{}", b"x")] {
            for name in ["w.safetensors", "w.npz", "w.pt", "w.gz"] {
                assert_eq!(content(name, other), Some(Xxh3::oneshot(other).into()), "{name}");
            }
        }
        assert_eq!(content("w.bin", b"x"), None);
        assert_eq!(content("weights", b"x"), None);
    }
}
