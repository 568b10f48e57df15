use std::collections::BTreeMap;
use std::io::Write;

use super::*;

fn columns() -> Columns {
    Columns { label: Some("class".into()), timestamp: Some("at".into()) }
}

/// Profiles a text in chunks of several sizes, which must not change the result.
fn profile(name: &str, bytes: &[u8]) -> Result<Profile, ProfileError> {
    let mut results = vec![1, 2, 3, 7, 1 << 20]
        .into_iter()
        .map(|piece| {
            let mut profiler = Profiler::for_file(name, &columns()).expect("is a known ending");
            for piece in bytes.chunks(piece) {
                profiler.consume(piece).expect("never fails");
            }
            profiler.finish()
        })
        .collect::<Vec<_>>();
    let sealed = |result: &Result<Profile, ProfileError>| match result {
        Ok(profile) => format!("{} {:?} {:?}", shown(profile), profile.sketch(), profile.timeline()),
        Err(error) => error.to_string(),
    };
    let first = sealed(&results[0]);
    assert!(results.iter().all(|result| sealed(result) == first), "{results:?}");
    results.swap_remove(0)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("writes");
    encoder.finish().expect("finishes")
}

fn shown(profile: &Profile) -> String {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    format!(
        "rows {} nulls {} labels {:?} {}..{} unparsed {}",
        profile.rows,
        profile.nulls,
        profile.labels().unwrap_or_default(),
        time(profile.oldest),
        time(profile.newest),
        profile.unparsed
    )
}

const EXPECTED: &str =
    "rows 4 nulls 1 labels {\"a, b\": 2, \"c\": 1} 2026-11-01T00:00:00Z..2026-11-02T06:00:00Z unparsed 1";

#[test]
fn csv_profile_handles_quotes_line_ends_byte_order_mark_and_gzip() {
    let text = "x,class,at\n1,\"a, b\",2026-11-01\n\"two\nlines\",c,2026-11-02T06:00:00Z\n3,,soon\n4,\"a, b\",1793500000\n";
    for text in [
        text.to_string(),
        format!("\u{feff}{text}"),
        text.trim_end().to_string(),
        text.replace("\n1", "\r\n1"),
        text.replace("3,,soon\n", "3,,soon\n\n\n"),
    ] {
        assert_eq!(shown(&profile("x.csv", text.as_bytes()).expect("counts")), EXPECTED, "{text:?}");
        let compressed = gzip(text.as_bytes());
        assert_eq!(shown(&profile("x.CSV.gz", &compressed).expect("counts")), EXPECTED);
    }
    let (left, right) = text.split_at(40);
    let members = [gzip(left.as_bytes()), gzip(right.as_bytes())].concat();
    assert_eq!(shown(&profile("x.csv.gz", &members).expect("counts")), EXPECTED);
}

#[test]
fn json_lines_profile_counts_labels_and_times() {
    let text = "{\"class\":\"a, b\",\"at\":\"2026-11-01\"}\n{\"at\":\"2026-11-02T06:00:00Z\",\"class\":\"c\",\"x\":[1,{}]}\n\n\
                {\"class\":null,\"at\":\"soon\"}\r\n{\"at\":1793500000,\"class\":\"a, b\"}";
    assert_eq!(shown(&profile("x.jsonl", text.as_bytes()).expect("counts")), EXPECTED);
    assert_eq!(shown(&profile("x.ndjson.gz", &gzip(text.as_bytes())).expect("counts")), EXPECTED);
}

#[test]
fn json_lines_profile_uses_the_text_of_numbers_and_booleans_as_labels() {
    let text = "{\"class\":1}\n{\"class\":true}\n{\"class\":\"\\u0061\"}\n{}\n";
    let profile = profile("x.jsonl", text.as_bytes()).expect("counts");
    let labels: Vec<_> = profile.labels().expect("counted").into_keys().collect();
    assert_eq!((labels, profile.nulls), (vec!["1".into(), "a".into(), "true".into()], 1));
}

#[test]
fn profile_reports_the_line_of_a_damaged_record() {
    let long = format!("class,at\n{}", "x".repeat(LONGEST_RECORD + 2));
    for (name, text, expected) in [
        ("x.csv", &b"class,at\na,1\nb\n"[..], "line 3 has 1 fields, the header has 2"),
        ("x.csv", b"class,at\n\"a\nb\",1\nb,1,2\n", "line 4 has 3 fields, the header has 2"),
        ("x.csv", b"class,at\n\xff,1\n", "line 2 is not UTF-8"),
        ("x.csv", b"class\na\n", "there is no column `at`; the columns are `class`"),
        ("x.csv", b"", "there is no column `class`; the columns are "),
        ("x.csv", long.as_bytes(), "the record at line 2 is longer than 16 MiB"),
        ("x.jsonl", b"{\"class\":1}\n{\"class\":", "line 2 is not a JSON object"),
        ("x.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("x.jsonl", b"{\"class\":[1]}\n", "the label at line 1 is a list or an object"),
        ("x.csv.gz", b"class,at\n", "the gzip stream is damaged"),
    ] {
        let mut profiler = Profiler::for_file(name, &columns()).expect("is a known ending");
        text.chunks(1 << 20).for_each(|piece| profiler.consume(piece).expect("never fails"));
        let error = profiler.finish().expect_err("is refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
    let cut = &gzip(b"class,at\na,1\n")[..20];
    assert!(matches!(profile("x.csv.gz", cut), Err(ProfileError::Gzip(_))));
}

#[test]
fn profile_does_not_count_labels_beyond_a_thousand_classes() {
    let text = |classes: usize| {
        let rows = (0..classes).map(|class| format!("{class},1\n"));
        format!("class,at\n{}", rows.collect::<String>())
    };
    let profile_of = |text: &str| {
        let mut profiler = Profiler::for_file("x.csv", &columns()).expect("is a known ending");
        profiler.consume(text.as_bytes()).expect("never fails");
        profiler.finish().expect("counts")
    };
    let thousand = profile_of(&text(1000));
    assert_eq!(thousand.labels().map(|labels| labels.len()), Some(1000));
    let more = profile_of(&text(1001));
    assert_eq!((more.labels(), more.rows), (None, 1001));
    let long = profile_of(&format!("class,at\n{},1\n", "x".repeat(257)));
    assert_eq!(long.labels(), None);

    let mut merged = profile_of(&text(600));
    merged.merge(profile_of(&text(600)));
    assert_eq!((merged.labels().expect("counted")["7"], merged.rows), (2, 1200));
    merged.merge(profile_of(&text(1001)));
    assert_eq!(merged.labels(), None);
}

#[test]
fn profile_reports_labels_that_look_alike() {
    let mut profiler = Profiler::for_file("x.csv", &columns()).expect("is a known ending");
    profiler.consume(b"class,at\nyes,1\n yes,1\nYES,1\nno,1\n").expect("never fails");
    let pairs = profiler.finish().expect("counts").lookalikes();
    assert_eq!(pairs, [(" yes".into(), "YES".into()), (" yes".into(), "yes".into())]);
}

#[test]
fn profile_sketch_ignores_line_ends_and_row_order() {
    let sketch = |name: &str, text: &str| profile(name, text.as_bytes()).expect("counts").sketch();
    let text = "x,class,at\n1,a,2026-11-01\n\"two\nlines\",b,2026-11-02\n3,c,2026-11-03\n";
    let plain = sketch("x.csv", text);
    assert_eq!(plain.hashes.len(), 3);
    assert_eq!(plain, sketch("x.csv", &text.replace('\n', "\r\n")));
    assert_eq!(plain, sketch("x.csv", text.trim_end()));
    let reordered = "x,class,at\n3,c,2026-11-03\n\"two\nlines\",b,2026-11-02\n1,a,2026-11-01\n";
    assert_eq!(plain, sketch("x.csv", reordered));
    assert_ne!(plain, sketch("x.csv", &text.replace("3,c", "3,d")));
    let json = "{\"class\":1,\"at\":2}\n{\"class\":2,\"at\":3}\n";
    assert_eq!(sketch("x.jsonl", json), sketch("x.jsonl", &json.replace('\n', "\r\n")));
}

#[test]
fn profile_timeline_counts_each_class_over_time() {
    let rows =
        (0..1000).map(|row| format!("{},{}\n", if row < 500 { "a" } else { "b" }, 1_700_000_000 + row * 60));
    let text = format!("class,at\n{}x,never\n", rows.collect::<String>());
    let timeline = profile("x.csv", text.as_bytes()).expect("counts").timeline().expect("has times");
    assert_eq!(timeline.width, 256);
    assert_eq!(timeline.rows.iter().sum::<u64>(), 1000);
    let early = timeline.rows.len() / 2 - 2;
    assert_eq!(timeline.labels["b"][..early].iter().sum::<u64>(), 0);
    assert_eq!(timeline.labels["a"].iter().sum::<u64>(), 500);
    assert_eq!(timeline.labels["x"].iter().sum::<u64>(), 0);
}

#[test]
fn csv_profile_reads_a_million_carriage_returns_without_stack_overflow() {
    let text = format!("class,at\r\n{}", "a,1\r".repeat(1 << 20));
    let mut profiler = Profiler::for_file("x.csv", &columns()).expect("is a known ending");
    profiler.consume(text.as_bytes()).expect("never fails");
    assert_eq!(profiler.finish().expect("counts").rows, 1 << 20);
}

mod oracle {
    use proptest::prelude::*;

    use super::*;

    /// Rows, nulls, and labels with their counts.
    type Found = (u64, u64, Vec<(String, u64)>);

    /// What the full CSV reader finds.
    fn by_the_whole_reader(text: &[u8]) -> Option<Found> {
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        let mut reader = csv_core::Reader::new();
        let (mut fields, mut ends) = (vec![0; 4096], vec![0; 512]);
        let (mut rest, mut records) = (text, Vec::new());
        let (mut filled, mut ended) = (0, 0);
        loop {
            let (result, read, more, more_ends) =
                reader.read_record(rest, &mut fields[filled..], &mut ends[ended..]);
            (rest, filled, ended) = (&rest[read..], filled + more, ended + more_ends);
            match result {
                csv_core::ReadRecordResult::Record => {
                    let starts = std::iter::once(0).chain(ends[..ended].iter().copied());
                    let ranges = starts.zip(&ends[..ended]);
                    records.push(ranges.map(|(start, end)| fields[start..*end].to_vec()).collect::<Vec<_>>());
                    (filled, ended) = (0, 0);
                }
                csv_core::ReadRecordResult::End => break,
                csv_core::ReadRecordResult::InputEmpty => {}
                _ => return None,
            }
        }
        let mut records = records.into_iter();
        let header = records.next()?;
        let label = header.iter().position(|name| name == b"class")?;
        header.iter().position(|name| name == b"at")?;
        let (mut rows, mut nulls, mut labels) = (0, 0, BTreeMap::new());
        for record in records {
            if record.len() != header.len() {
                return None;
            }
            rows += 1;
            match std::str::from_utf8(&record[label]).ok()? {
                "" => nulls += 1,
                label => *labels.entry(label.to_string()).or_insert(0) += 1,
            }
        }
        Some((rows, nulls, labels.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn csv_profile_in_pieces_matches_a_reader_of_the_whole_text(
            records in prop::collection::vec(
                (prop::collection::vec("[ab,\"\r\n]{0,4}|\"([ab,\r\n]|\"\"){0,6}\"", 1..3), "\r\n|\n|\r|\n\n"), 0..12),
            piece in 1usize..9,
        ) {
            let mut text = String::from("class,at\n");
            for (fields, end) in &records {
                text.push_str(&fields.join(","));
                text.push_str(end);
            }
            let mut profiler = Profiler::for_file("x.csv", &columns()).expect("is a known ending");
            text.as_bytes().chunks(piece).for_each(|piece| profiler.consume(piece).expect("never fails"));
            let found = profiler.finish().ok();
            let found = found.map(|found| {
                (found.rows, found.nulls, found.labels().unwrap_or_default().into_iter().collect::<Vec<_>>())
            });
            prop_assert_eq!(found, by_the_whole_reader(text.as_bytes()), "{:?}", text);
        }
    }
}
