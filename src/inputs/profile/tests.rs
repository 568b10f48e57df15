use std::io::Write;

use super::*;

fn columns() -> Columns {
    Columns { label: Some("class".into()), timestamp: Some("at".into()) }
}

/// Profiles a text in pieces of several sizes, which must make no difference.
fn profile(name: &str, bytes: &[u8]) -> Result<Profile, ProfileError> {
    let mut results = [1, 2, 3, 7, 1 << 20].map(|piece| {
        let mut profiler = Profiler::for_file(name, &columns()).expect("is a known ending");
        for piece in bytes.chunks(piece) {
            profiler.consume(piece).expect("never fails");
        }
        profiler.finish()
    });
    results.sort_by_key(|result| format!("{result:?}").len());
    let [first, .., last] = results;
    assert_eq!(first, last);
    first
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
        profile.labels(),
        time(profile.oldest),
        time(profile.newest),
        profile.unparsed
    )
}

const EXPECTED: &str =
    "rows 4 nulls 1 labels {\"a, b\": 2, \"c\": 1} 2026-11-01T00:00:00Z..2026-11-02T06:00:00Z unparsed 1";

#[test]
fn csv_with_quotes_line_ends_and_byte_order_mark_is_counted() {
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
fn json_lines_are_counted() {
    let text = "{\"class\":\"a, b\",\"at\":\"2026-11-01\"}\n{\"at\":\"2026-11-02T06:00:00Z\",\"class\":\"c\",\"x\":[1,{}]}\n\n\
                {\"class\":null,\"at\":\"soon\"}\r\n{\"at\":1793500000,\"class\":\"a, b\"}";
    assert_eq!(shown(&profile("x.jsonl", text.as_bytes()).expect("counts")), EXPECTED);
    assert_eq!(shown(&profile("x.ndjson.gz", &gzip(text.as_bytes())).expect("counts")), EXPECTED);
}

#[test]
fn json_numbers_and_booleans_are_labels_by_their_text() {
    let text = "{\"class\":1}\n{\"class\":true}\n{\"class\":\"\\u0061\"}\n{}\n";
    let profile = profile("x.jsonl", text.as_bytes()).expect("counts");
    let labels: Vec<_> = profile.labels().into_keys().collect();
    assert_eq!((labels, profile.nulls), (vec!["1".into(), "a".into(), "true".into()], 1));
}

#[test]
fn damaged_records_are_named_by_their_line() {
    let long = format!("class,at\n{}", "x".repeat(LONGEST_RECORD + 2));
    for (name, text, expected) in [
        ("x.csv", &b"class,at\na,1\nb\n"[..], "line 3 has 1 fields, the header has 2"),
        ("x.csv", b"class,at\n\"a\nb\",1\nb,1,2\n", "line 4 has 3 fields, the header has 2"),
        ("x.csv", b"class,at\n\xff,1\n", "line 2 is not UTF-8"),
        ("x.csv", b"class\na\n", "there is no column `at`; there are `class`"),
        ("x.csv", b"", "there is no column `class`; there are "),
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
fn more_than_a_thousand_classes_are_not_counted() {
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
    assert_eq!((thousand.labels().len(), thousand.labels_uncounted), (1000, false));
    let more = profile_of(&text(1001));
    assert_eq!((more.labels().len(), more.labels_uncounted, more.rows), (0, true, 1001));
    let long = profile_of(&format!("class,at\n{},1\n", "x".repeat(257)));
    assert!(long.labels_uncounted);

    let mut merged = profile_of(&text(600));
    merged.merge(profile_of(&text(600)));
    assert_eq!((merged.labels()["7"], merged.rows), (2, 1200));
    merged.merge(profile_of(&text(1001)));
    assert!(merged.labels_uncounted && merged.labels().is_empty());
}

#[test]
fn labels_that_look_alike_are_named() {
    let mut profiler = Profiler::for_file("x.csv", &columns()).expect("is a known ending");
    profiler.consume(b"class,at\nyes,1\n yes,1\nYES,1\nno,1\n").expect("never fails");
    let pairs = profiler.finish().expect("counts").lookalikes();
    assert_eq!(pairs, [(" yes".into(), "YES".into()), (" yes".into(), "yes".into())]);
}
