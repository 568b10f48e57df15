//! Parquet files by real writers: the same rows give the same evidence, however they are written.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use modelseal_build::inputs::read_source;
use modelseal_build::profile::{Columns, Profile, ProfileError, count_file};
use modelseal_format::context::Context;
use modelseal_format::digest::Symlinks;

use crate::support::{Project, peers};

/// The files of `parquet.py`, made once.
fn files() -> &'static Path {
    static FILES: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = FILES.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/parquet.py");
        let python = peers::python_environment("parquet").join("bin/python");
        let output = Command::new(python).arg(script).arg(directory.path()).output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        directory
    });
    made.path()
}

fn columns(label: Option<&str>, timestamp: Option<&str>) -> Columns {
    Columns { label: label.map(str::to_string), timestamp: timestamp.map(str::to_string) }
}

fn profile(name: &str) -> Profile {
    let columns = columns(Some("class"), Some("when"));
    let facts = read_source(&files().join(name), Symlinks::Refuse, Some(&columns), None, &Context::default());
    facts.unwrap_or_else(|error| panic!("{name}: {error}")).profile.expect("is counted")
}

/// Everything except the rows themselves.
fn counts(profile: &Profile) -> String {
    let Profile { rows, nulls, oldest, newest, unparsed, time_forms, .. } = profile;
    let (labels, timeline) = (profile.labels(), profile.timeline());
    format!("{rows} {nulls} {oldest:?} {newest:?} {unparsed} {time_forms:?} {labels:?} {timeline:?}")
}

#[test]
#[ignore = "needs pyarrow and fastparquet"]
fn parquet_reader_counts_the_same_as_the_csv_reader() {
    let csv = profile("table.csv");
    assert_eq!((csv.rows, csv.nulls, csv.unparsed), (3000, 97, 31));
    assert_eq!(counts(&profile("plain.parquet")), counts(&csv));
}

#[test]
#[ignore = "needs pyarrow and fastparquet"]
fn parquet_profile_is_the_same_for_every_encoding_of_the_same_rows() {
    let plain = profile("plain.parquet");
    let others = [
        "snappy",
        "gzip",
        "zstd",
        "lz4",
        "pages",
        "delta",
        "split",
        "checksums",
        "categories",
        "wider",
        "milliseconds",
        "renamed",
        "required",
        "shuffled",
        "int96",
        "fast",
        "old",
    ];
    for name in others {
        let other = profile(&format!("{name}.parquet"));
        assert_eq!(counts(&other), counts(&plain), "{name}");
        assert_eq!(other.sketch(), plain.sketch(), "{name}");
    }
    let shards = profile("shards");
    assert_eq!((counts(&shards), shards.sketch()), (counts(&plain), plain.sketch()));
}

#[test]
#[ignore = "needs pyarrow and fastparquet"]
fn parquet_sketch_differs_if_one_cell_or_row_differs() {
    let plain = profile("plain.parquet").sketch();
    for name in ["one-cell", "less"] {
        let other = profile(&format!("{name}.parquet")).sketch();
        assert_ne!(other.sum, plain.sum, "{name}");
        let overlap = modelseal_build::profile::overlap(&plain, &other).expect("has rows");
        assert!(overlap.share > 0.99, "{name}: {overlap:?}");
    }
    assert_eq!(profile("empty.parquet").rows, 0);
}

fn kinds(label: Option<&str>, timestamp: Option<&str>) -> Result<Profile, String> {
    let path = files().join("kinds.parquet");
    let file = File::open(&path).expect("opens");
    let counted = count_file("kinds.parquet", file, &columns(label, timestamp)).expect("is Parquet");
    counted.map_err(|error| error.to_string())
}

#[test]
#[ignore = "needs pyarrow and fastparquet"]
fn parquet_reader_counts_labels_or_rejects_their_column_type() {
    for (column, expected, nulls) in [
        ("text", "a 2, b 1", 1),
        ("bytes", "a 2, b 1", 1),
        ("boolean", "false 1, true 2", 1),
        ("unsigned", "0 2, 4294967295 1", 1),
        ("long", "0 2, 18446744073709551615 1", 1),
        ("small", "-1 1, 0 2", 1),
        ("float", "0.1 1, 2.0 1", 2),
        ("struct.label", "a 1, b 1", 2),
    ] {
        let profile = kinds(Some(column), None).expect(column);
        let labels = profile.labels().expect("few classes");
        let labels: Vec<String> = labels.iter().map(|(label, count)| format!("{label} {count}")).collect();
        assert_eq!((labels.join(", ").as_str(), profile.nulls), (expected, nulls), "{column}");
    }
    for (column, found) in [
        ("half", "FIXED_LEN_BYTE_ARRAY"),
        ("decimal", "DECIMAL"),
        ("list.list.element", "LIST"),
        ("date", "DATE"),
        ("clock", "TIME_MICROS"),
        ("nanoseconds", "INT64"),
    ] {
        let error = kinds(Some(column), None).expect_err(column);
        let expected = format!("the column `{column}` is of type {found}, which cannot be read as labels");
        assert_eq!(error, expected);
    }
    assert_eq!(kinds(Some("broken"), None).expect_err("not UTF-8"), "the label of row 2 is not UTF-8");
    let error = kinds(Some("txet"), None).expect_err("no column");
    assert!(error.starts_with("there is no column `txet`; the columns are `text`, `bytes`"), "{error}");
}

#[test]
#[ignore = "needs pyarrow and fastparquet"]
fn parquet_reader_reads_times_or_rejects_their_column_type() {
    for (column, oldest, newest, unparsed) in [
        ("date", "1970-01-01T00:00:00Z", "2024-10-05T00:00:00Z", 1),
        ("nanoseconds", "1970-01-01T00:00:00Z", "2023-11-14T22:13:20.000000001Z", 1),
        ("spelled", "2026-11-01T00:00:00Z", "2026-11-02T10:00:00Z", 2),
        ("epoch", "1970-01-01T00:00:00Z", "2023-11-14T22:13:20Z", 1),
        ("far", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.001Z", 2),
    ] {
        let profile = kinds(None, Some(column)).expect(column);
        let time = |time: Option<jiff::Timestamp>| time.expect("has times").to_string();
        let found = (time(profile.oldest), time(profile.newest), profile.unparsed);
        assert_eq!((found.0.as_str(), found.1.as_str(), found.2), (oldest, newest, unparsed), "{column}");
    }
    for column in ["clock", "decimal", "float", "boolean", "map.key_value.key"] {
        let error = kinds(None, Some(column)).expect_err(column);
        assert!(error.ends_with("which cannot be read as times"), "{column}: {error}");
    }
}

/// A panic of the library is an error like any other. Damage that the file does not reveal is not detected.
#[test]
#[ignore = "needs pyarrow and fastparquet"]
fn parquet_reader_reports_damage_at_any_place_without_a_panic() {
    let path = files().join("kinds.parquet");
    let whole = fs::read(&path).expect("reads");
    let scratch = tempfile::tempdir().expect("a directory");
    let count = |bytes: &[u8]| {
        let path = scratch.path().join("d.parquet");
        fs::write(&path, bytes).expect("writes");
        let file = File::open(&path).expect("opens");
        count_file("d.parquet", file, &columns(Some("text"), Some("date"))).expect("is Parquet")
    };
    let sketch = count(&whole).expect("counts").sketch();
    let (mut refused, mut changed) = (0, 0);
    for place in (0..whole.len()).step_by(5) {
        for bit in [0, 7] {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            match count(&bytes) {
                Err(
                    ProfileError::Parquet(_)
                    | ProfileError::NoColumn { .. }
                    | ProfileError::ColumnType { .. },
                ) => {
                    refused += 1;
                }
                Err(ProfileError::LabelNotUtf8(_)) => changed += 1,
                Err(error) => panic!("{place}: {error}"),
                Ok(profile) if profile.sketch() == sketch => {}
                Ok(_) => changed += 1,
            }
        }
    }
    assert!(refused > 500 && changed > 50, "{refused} refused, {changed} changed");
    for length in (0..whole.len()).step_by(37) {
        assert!(matches!(count(&whole[..length]), Err(ProfileError::Parquet(_))), "{length}");
    }
}

#[test]
#[ignore = "needs pyarrow and fastparquet"]
fn build_seals_parquet_row_counts_and_refuses_a_damaged_file() {
    let project = Project::with_artifact(&[("a", b"a")]);
    let bytes = fs::read(files().join("snappy.parquet")).expect("reads");
    project.append_recipe(
        "[[data]]\nname = \"d\"\npath = \"d.parquet\"\nlabel = \"class\"\ntimestamp = \"when\"\n",
    );
    project.write("d.parquet", &bytes[..bytes.len() - 100]);
    let refused = project.build_refused(&[], 1);
    refused.says("d.parquet").says("the Parquet file is damaged, or uses an unsupported feature");
    // The directory says that there is a page where there is none.
    let mut broken = bytes.clone();
    broken[4..4096].fill(0xff);
    project.write("d.parquet", &broken);
    let refused = project.build_refused(&[], 1);
    refused.says("the Parquet file is damaged");
    assert!(!refused.all().contains("panicked"), "{}", refused.all());
    project.write("d.parquet", &bytes);
    let archive = project.build();
    project.modelseal(&["show", &archive.to_string_lossy()]).expect(0).says("3,000 rows");
}

fn sketch(name: &str) -> Result<u64, String> {
    let file = File::open(files().join(format!("{name}.parquet"))).expect("opens");
    let counted = count_file("d.parquet", file, &Columns::default()).expect("is Parquet");
    counted.map(|profile| profile.sketch().sum).map_err(|error| error.to_string())
}

/// The meaning of the values counts. Whether a value could have been absent does not.
#[test]
#[ignore = "needs pyarrow and fastparquet"]
fn parquet_sketch_differs_for_equal_numbers_of_another_logical_type() {
    for (one, other) in
        [("cents", "euros"), ("unsigned", "negative"), ("micros", "nanos"), ("absent", "split")]
    {
        assert_ne!(sketch(&format!("only-{one}")), sketch(&format!("only-{other}")), "{one} {other}");
    }
    assert_eq!(sketch("only-present"), sketch("only-absent"));
}

#[test]
#[ignore = "needs pyarrow and fastparquet"]
fn parquet_reader_rejects_brotli_long_lists_and_deep_schemas() {
    assert!(
        sketch("brotli")
            .expect_err("Brotli")
            .ends_with("it is compressed with Brotli: write it with zstd or snappy")
    );
    let list = sketch("long-list").expect_err("a long list");
    assert!(list.ends_with("a row has more than a million values in one column"), "{list}");
    // A schema of groups with one child each, in Thrift's compact protocol.
    for (depth, reason) in [(50, None), (100_000, Some("its columns are nested more than 100 levels deep"))] {
        let mut schema = vec![0x48, 1, b'r', 0x15, 2, 0];
        for _ in 0..depth {
            schema.extend([0x35, 2, 0x18, 1, b'g', 0x15, 2, 0]);
        }
        schema.extend([0x15, 2, 0x25, 2, 0x18, 1, b'x', 0]);
        let mut count = depth + 2;
        let mut footer = vec![0x15, 2, 0x19, 0xfc];
        while count > 127 {
            footer.push(count as u8 | 0x80);
            count >>= 7;
        }
        footer.push(count as u8);
        footer.extend(schema);
        footer.extend([0x16, 0, 0x19, 0x0c, 0]);
        let bytes = [b"PAR1", &footer[..], &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat();
        let scratch = tempfile::tempdir().expect("a directory");
        let path = scratch.path().join("d.parquet");
        fs::write(&path, bytes).expect("writes");
        let counted = count_file("d.parquet", File::open(&path).expect("opens"), &Columns::default());
        match (counted.expect("is Parquet"), reason) {
            (Ok(profile), None) => assert_eq!(profile.rows, 0),
            (Err(error), Some(reason)) => assert!(error.to_string().ends_with(reason), "{error}"),
            (other, _) => panic!("{depth}: {other:?}"),
        }
    }
}
