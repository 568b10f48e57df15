//! The bytes before a file's content: one ustar header. POSIX pax records are added only for values that ustar cannot
//! store.

use super::{Entry, Frame};

/// A tar archive consists of blocks of this many bytes.
pub(super) const BLOCK: usize = 512;

/// The largest size that eleven octal digits can express.
const LARGEST_USTAR: u64 = 0o77777777777;

/// The name of the entry that contains pax records. Readers that support pax never show it.
const PAX_NAME: &str = "PaxHeader";

/// All header blocks of an entry, byte for byte.
pub(super) fn encode(frame: &Frame, entry: &Entry<'_>) -> Vec<u8> {
    let path = format!("{}/{}", frame.directory, entry.path);
    let mut records = String::new();
    let (prefix, name) = split(&path).unwrap_or_else(|| {
        records.push_str(&record("path", &path));
        ("", shorten(&path))
    });
    let size = if entry.size > LARGEST_USTAR {
        records.push_str(&record("size", &entry.size.to_string()));
        0
    } else {
        entry.size
    };
    let mut blocks = Vec::new();
    if !records.is_empty() {
        let header = ustar("", PAX_NAME, 0o644, records.len() as u64, frame.epoch, b'x');
        blocks.extend_from_slice(&header);
        blocks.extend_from_slice(records.as_bytes());
        blocks.resize(blocks.len() + padding(records.len() as u64), 0);
    }
    let mode = if entry.executable { 0o755 } else { 0o644 };
    blocks.extend_from_slice(&ustar(prefix, name, mode, size, frame.epoch, b'0'));
    blocks
}

/// Minimum length in bytes of an archive with files of these sizes. Some headers take more than one block.
pub fn least_length(sizes: impl Iterator<Item = u64>) -> u64 {
    let whole = |size: u64| size.saturating_add((BLOCK + padding(size)) as u64);
    sizes.map(whole).fold(2 * BLOCK as u64, u64::saturating_add)
}

/// Number of zero bytes after a content of this size.
pub(super) fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// Splits a path between ustar's prefix and name fields. A path that fits into the name is not split. Any other is
/// split at the first slash after which the rest fits. `None` if ustar cannot store it.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    let (prefix, name) = path
        .match_indices('/')
        .map(|(slash, _)| (&path[..slash], &path[slash + 1..]))
        .find(|(_, name)| name.len() <= 100)?;
    (prefix.len() <= 155 && !name.is_empty()).then_some((prefix, name))
}

/// The start of a path that needs a pax record, cut between characters. Readers without pax show this name.
fn shorten(path: &str) -> &str {
    &path[..path.floor_char_boundary(100)]
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

fn ustar(prefix: &str, name: &str, mode: u32, size: u64, epoch: u64, kind: u8) -> [u8; BLOCK] {
    let mut block = [0u8; BLOCK];
    let mut put = |start: usize, bytes: &[u8]| {
        block[start..start + bytes.len()].copy_from_slice(bytes);
    };
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0"); // user
    put(116, b"0000000\0"); // group
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{epoch:011o}\0").as_bytes());
    put(148, b"        "); // the checksum counts as spaces while it is computed
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000000\0"); // device numbers
    put(337, b"0000000\0");
    put(345, prefix.as_bytes());
    let checksum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{checksum:06o}\0 ").as_bytes());
    block
}

/// Reads the path and the size from a ustar header. Used for the one entry that is read before the manifest is known,
/// and for messages. `None` if it is not a regular file's ustar header.
pub(super) fn decode(block: &[u8; BLOCK]) -> Option<(String, u64)> {
    if &block[257..265] != b"ustar\x0000" || block[156] != b'0' {
        return None;
    }
    let size = std::str::from_utf8(&block[124..135]).ok()?;
    let size = u64::from_str_radix(size, 8).ok()?;
    Some((name_of(block), size))
}

/// The name in any tar header, for a message.
pub(super) fn name_of(block: &[u8; BLOCK]) -> String {
    let field = |start: usize, length: usize| {
        let bytes = &block[start..start + length];
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(length);
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let (prefix, name) = (field(345, 155), field(0, 100));
    if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame { directory: "wine-1.0.0".to_string(), epoch: 1_760_000_000 }
    }

    fn entry(path: &str, size: u64) -> Entry<'_> {
        Entry { path, size, executable: false }
    }

    #[test]
    fn archive_least_length_is_the_length_with_short_names() {
        let sizes = [0u64, 1, 512, 513];
        let mut archive = crate::archive::ArchiveWriter::new(Vec::new(), frame());
        for size in sizes {
            archive.append(&entry("a", size), &vec![7; size as usize]).expect("writes");
        }
        let length = archive.finish().expect("ends").len() as u64;
        assert_eq!(least_length(sizes.into_iter()), length);
        assert_eq!(least_length([u64::MAX - 1, 5].into_iter()), u64::MAX);
    }

    /// What the `tar` crate, an independent reader, reads from these headers.
    fn read_back(headers: &[u8]) -> (String, u64, u32, u64) {
        let mut archive = tar::Archive::new(headers);
        let mut entries = archive.entries().expect("reads");
        let entry = entries.next().expect("one entry").expect("is valid");
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("is text");
        let header = entry.header();
        let (mode, epoch) = (header.mode().expect("a mode"), header.mtime().expect("a time"));
        assert_eq!(header.uid().expect("a user") + header.gid().expect("a group"), 0);
        (path, entry.size(), mode, epoch)
    }

    #[test]
    fn archive_header_round_trips_paths_of_every_length() {
        for length in 1..600 {
            for pattern in ["x", "ab/", "é", "directory-of-thirty-characters/"] {
                let path: String = pattern.chars().cycle().take(length).collect();
                let path = path.trim_end_matches('/');
                let headers = encode(&frame(), &entry(path, 5));
                assert_eq!(headers.len() % BLOCK, 0);
                let expected = format!("wine-1.0.0/{path}");
                assert_eq!(read_back(&headers), (expected, 5, 0o644, 1_760_000_000));
            }
        }
    }

    #[test]
    fn archive_header_writes_sizes_beyond_ustar_as_pax_records() {
        let headers = encode(&frame(), &entry("big", LARGEST_USTAR));
        assert_eq!(headers.len(), BLOCK);
        assert_eq!(read_back(&headers).1, LARGEST_USTAR);
        let headers = encode(&frame(), &entry("big", LARGEST_USTAR + 1));
        assert_eq!(headers.len(), 3 * BLOCK);
        assert_eq!(&headers[BLOCK..BLOCK + 19], b"19 size=8589934592\n");
        assert_eq!(read_back(&headers).1, LARGEST_USTAR + 1);
    }

    #[test]
    fn pax_record_length_includes_its_own_digits() {
        assert_eq!(record("path", "x"), "9 path=x\n");
        assert_eq!(record("path", "xx"), "11 path=xx\n");
        assert_eq!(record("path", &"x".repeat(90)).len(), 99);
        assert_eq!(record("path", &"x".repeat(91)).len(), 101);
    }

    #[test]
    fn archive_header_gives_an_executable_mode_0755() {
        let executable = Entry { path: "run", size: 0, executable: true };
        assert_eq!(read_back(&encode(&frame(), &executable)).2, 0o755);
    }
}
