//! The formats of records, by the ending of a file's name. To add one, write its file and list it in [`FORMATS`].

use std::fs::File;

use super::csv::Csv;
use super::format::{Reading, RecordFormat};
use super::jsonl::JsonLines;
#[cfg(feature = "parquet")]
use super::parquet::Parquet;
use super::{Columns, Profile, ProfileError};

/// Every format whose records can be counted.
#[cfg(feature = "parquet")]
const FORMATS: [&dyn RecordFormat; 3] = [&Csv, &JsonLines, &Parquet];
#[cfg(not(feature = "parquet"))]
const FORMATS: [&dyn RecordFormat; 2] = [&Csv, &JsonLines];

const GZIP: &str = ".gz";

/// How the records of a file are read, and whether it is compressed with gzip; `None` if its ending is unknown.
pub(super) fn reading_of(path: &str) -> Option<(Reading, bool)> {
    let find = |path: &str| {
        let has_ending = |format: &&&dyn RecordFormat| {
            format.endings().iter().any(|ending| without_ending(path, ending).is_some())
        };
        FORMATS.iter().find(has_ending).map(|format| format.reading())
    };
    match without_ending(path, GZIP) {
        None => find(path).map(|reading| (reading, false)),
        Some(stem) => {
            find(stem).filter(|reading| matches!(reading, Reading::Stream(_))).map(|reading| (reading, true))
        }
    }
}

/// The known endings, for messages.
pub fn known_endings() -> String {
    let endings = |is_stream: bool| {
        let formats =
            FORMATS.iter().filter(move |format| matches!(format.reading(), Reading::Stream(_)) == is_stream);
        let endings = formats.flat_map(|format| format.endings());
        endings.map(|ending| format!("`{ending}`")).collect::<Vec<_>>().join(", ")
    };
    let (streams, files) = (endings(true), endings(false));
    match files.is_empty() {
        true => format!("{streams}, each also with `{GZIP}`"),
        false => format!("{streams}, each also with `{GZIP}`, and {files}"),
    }
}

/// Whether the records of a file can be counted.
pub fn is_counted(path: &str) -> bool {
    reading_of(path).is_some()
}

/// Counts the records of a file whose format needs a second read of the whole file; `None` for any other format.
pub fn count_file(path: &str, file: File, columns: &Columns) -> Option<Result<Profile, ProfileError>> {
    match reading_of(path) {
        Some((Reading::File(count), _)) => Some(count(file, columns)),
        _ => None,
    }
}

/// Whether the records of a file need a second read.
pub fn needs_second_read(path: &str) -> bool {
    matches!(reading_of(path), Some((Reading::File(_), _)))
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
    fn profile_recognises_file_endings_in_any_case_and_with_gzip() {
        for (path, is_compressed) in [("a/é.csv", false), ("B.JSONL.Gz", true), (".ndjson", false)] {
            let found = reading_of(path);
            assert!(matches!(found, Some((Reading::Stream(_), found)) if found == is_compressed), "{path}");
        }
        for unknown in ["", "csv", "a.csvé", "é", "a.gz", "a.csv.zst", "a.parquet.gz"] {
            assert!(!is_counted(unknown), "{unknown}");
        }
        assert_eq!(is_counted("a.Parquet"), cfg!(feature = "parquet"));
        assert!(known_endings().starts_with("`.csv`, `.jsonl`, `.ndjson`, "));
    }
}
