//! Formats of records, by the ending of a file's name.

/// The formats whose records can be counted, by the file's ending, as messages list them.
#[cfg(not(feature = "parquet"))]
pub const KNOWN_ENDINGS: &str = "`.csv`, `.jsonl`, `.ndjson`, and these with `.gz`";
#[cfg(feature = "parquet")]
pub const KNOWN_ENDINGS: &str = "`.csv`, `.jsonl`, `.ndjson`, these with `.gz`, and `.parquet`";

/// A format whose records are counted while the file is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Json,
}

impl Format {
    /// The format, and whether it is compressed with gzip; `None`: the ending is not known.
    pub(super) fn of(path: &str) -> Option<(Self, bool)> {
        let (stem, compressed) = match without_ending(path, ".gz") {
            Some(stem) => (stem, true),
            None => (path, false),
        };
        let formats = [(".csv", Self::Csv), (".jsonl", Self::Json), (".ndjson", Self::Json)];
        let found = formats.into_iter().find(|(ending, _)| without_ending(stem, ending).is_some());
        found.map(|(_, format)| (format, compressed))
    }
}

/// Whether the records of a file can be counted.
pub fn is_counted(path: &str) -> bool {
    needs_second_read(path) || Format::of(path).is_some()
}

/// Whether the records of a file cannot be counted while it is hashed, but need a second read.
pub fn needs_second_read(path: &str) -> bool {
    cfg!(feature = "parquet") && without_ending(path, ".parquet").is_some()
}

/// The name before an ending, which may be in upper case.
fn without_ending<'a>(path: &'a str, ending: &str) -> Option<&'a str> {
    let (stem, found) = path.split_at_checked(path.len().checked_sub(ending.len())?)?;
    found.eq_ignore_ascii_case(ending).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_known_in_any_case_and_within_gzip() {
        assert_eq!(Format::of("a/é.csv"), Some((Format::Csv, false)));
        assert_eq!(Format::of("B.JSONL.Gz"), Some((Format::Json, true)));
        assert_eq!(Format::of(".ndjson"), Some((Format::Json, false)));
        for unknown in ["", "csv", "a.csvé", "é", "a.gz", "a.csv.zst", "a.parquet"] {
            assert_eq!(Format::of(unknown), None, "{unknown}");
        }
        assert_eq!(is_counted("a.Parquet"), cfg!(feature = "parquet"));
    }
}
