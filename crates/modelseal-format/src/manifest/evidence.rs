//! Evidence about the records of a data set, beyond their number. It is checked at deploy time.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Number of row hashes in a sketch.
pub const SKETCH_SIZE: usize = 1024;

/// Maximum number of buckets in a timeline.
pub const MOST_BUCKETS: usize = 256;

/// Maximum number of unreadable times that are kept, and maximum number of characters of each.
pub const MOST_EXAMPLES: usize = 3;
pub const LONGEST_EXAMPLE: usize = 40;

/// The smallest distinct hashes of a data set's rows, independent of the order of rows and of repeated rows. Two
/// sketches estimate how much two data sets share. A sketch detects accidents. The digest of the data remains the
/// identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowSketch {
    /// Ascending, at most [`SKETCH_SIZE`]. If there are fewer, they are the hashes of all distinct rows.
    pub hashes: Vec<u64>,
    /// The wrapping sum of the hashes of all rows. Apart from chance, two sums are equal if and only if the same rows
    /// occur equally often, in any order.
    pub sum: u64,
}

impl RowSketch {
    /// Whether the sketch has the hash of every distinct row.
    pub fn is_complete(&self) -> bool {
        self.hashes.len() < SKETCH_SIZE
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSketch {
    /// Base64 of the hashes, eight bytes each, most significant byte first.
    hashes: String,
    /// 16 hex digits.
    sum: String,
}

impl Serialize for RowSketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect();
        WireSketch { hashes: STANDARD.encode(bytes), sum: format!("{:016x}", self.sum) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowSketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireSketch::deserialize(deserializer)?;
        let bad = || de::Error::custom("a row sketch is damaged");
        let bytes = STANDARD.decode(&wire.hashes).map_err(|_| bad())?;
        let (chunks, rest) = bytes.as_chunks::<8>();
        let hashes: Vec<u64> = chunks.iter().map(|chunk| u64::from_be_bytes(*chunk)).collect();
        let ascending = hashes.windows(2).all(|pair| pair[0] < pair[1]);
        let digits =
            wire.sum.len() == 16 && wire.sum.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if !rest.is_empty() || !ascending || hashes.len() > SKETCH_SIZE || !digits {
            return Err(bad());
        }
        Ok(Self { hashes, sum: u64::from_str_radix(&wire.sum, 16).map_err(|_| bad())? })
    }
}

/// Number of rows, in total and by class, in equal intervals of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeline {
    /// The start of the first bucket, in seconds since 1970. It is a multiple of the width.
    pub start: i64,
    /// The width of each bucket in seconds. It is a power of two.
    pub width: u64,
    /// Rows with a readable time, by bucket. At most [`MOST_BUCKETS`].
    pub rows: Vec<u64>,
    /// The same by class. Absent if labels are not counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Vec<u64>>,
}

/// Number of rows by the notation of their time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeForms {
    /// Numbers of seconds since 1970.
    pub seconds: u64,
    /// Numbers of milliseconds since 1970.
    pub milliseconds: u64,
    /// Dates, or dates and times.
    pub dates: u64,
}

impl TimeForms {
    /// Whether one column contains numbers of different units.
    pub fn are_mixed(&self) -> bool {
        self.seconds > 0 && self.milliseconds > 0
    }
}

/// Evidence about a data source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataEvidence {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Number of records, without a header line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The label column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Rows by class. Absent if there were too many classes to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, u64>>,
    /// `Some(true)` if there were too many classes to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels_uncounted: Option<bool>,
    /// Rows without a label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nulls: Option<u64>,
    /// The timestamp column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    /// Rows without a readable time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unparsed: Option<u64>,
    /// The first unreadable times, cut to 40 characters each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unparsed_examples: Vec<String>,
    /// Rows by the notation of their time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_forms: Option<TimeForms>,
    /// Rows and classes by interval of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// A sample of the row hashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sketch: Option<RowSketch>,
}

/// Checks that the counts of a data set are consistent. A trusted builder's counts always are. Sums that overflow, or
/// shares above one, would make the checks at deploy time meaningless.
pub(super) fn fits(facts: &DataEvidence) -> bool {
    let Some(rows) = facts.rows else {
        let counted = facts.labels.is_some() || facts.nulls.is_some() || facts.unparsed.is_some();
        return !counted && facts.timeline.is_none() && facts.sketch.is_none() && facts.time_forms.is_none();
    };
    let labelled = match (&facts.labels, facts.nulls) {
        (None, _) => facts.nulls.is_none_or(|nulls| nulls <= rows),
        (Some(labels), nulls) => total(labels.values().copied().chain(nulls)) == Some(rows),
    };
    let timed = match (&facts.timeline, facts.unparsed) {
        (None, unparsed) => unparsed.is_none_or(|unparsed| unparsed == rows),
        (Some(timeline), unparsed) => {
            total(timeline.rows.iter().copied().chain(unparsed)) == Some(rows)
                && timeline_fits(timeline, facts.labels.as_ref())
        }
    };
    labelled && timed && times_fit(facts, rows)
}

/// Checks that the evidence about the times of `rows` rows is consistent.
fn times_fit(facts: &DataEvidence, rows: u64) -> bool {
    let time = |text: &Option<String>| text.as_deref().map(str::parse::<jiff::Timestamp>).transpose();
    let ordered = match (time(&facts.oldest), time(&facts.newest)) {
        (Ok(oldest), Ok(newest)) => oldest.is_some() == newest.is_some() && oldest <= newest,
        _ => false,
    };
    let parsed = rows.saturating_sub(facts.unparsed.unwrap_or(0));
    let forms = facts.time_forms.is_none_or(|forms| {
        total([forms.seconds, forms.milliseconds, forms.dates].into_iter()) == Some(parsed)
    });
    let examples = &facts.unparsed_examples;
    let examples_fit = examples.len() <= MOST_EXAMPLES
        && examples.len() as u64 <= facts.unparsed.unwrap_or(0)
        && examples.iter().all(|example| example.chars().count() <= LONGEST_EXAMPLE);
    ordered && forms && examples_fit
}

fn total(mut counts: impl Iterator<Item = u64>) -> Option<u64> {
    counts.try_fold(0, u64::checked_add)
}

fn timeline_fits(timeline: &Timeline, labels: Option<&BTreeMap<String, u64>>) -> bool {
    let aligned = i64::try_from(timeline.width).is_ok_and(|width| width > 0 && timeline.start % width == 0);
    let shape =
        (1..=MOST_BUCKETS).contains(&timeline.rows.len()) && timeline.width.is_power_of_two() && aligned;
    let span = i64::try_from(timeline.width)
        .ok()
        .and_then(|width| width.checked_mul(MOST_BUCKETS as i64)?.checked_add(timeline.start));
    if !shape || span.is_none() {
        return false;
    }
    let by_class = timeline.labels.iter().all(|(label, counts)| {
        let known = labels.and_then(|labels| labels.get(label).copied()).unwrap_or(0);
        let sum = total(counts.iter().copied());
        counts.len() == timeline.rows.len() && sum.is_some_and(|sum| sum <= known)
    });
    let by_bucket = timeline.rows.iter().enumerate().all(|(index, rows)| {
        let counts = timeline.labels.values().filter_map(|counts| counts.get(index));
        total(counts.copied()).is_some_and(|labelled| labelled <= *rows)
    });
    by_class && by_bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inconsistent evidence is refused before its counts are compared. Otherwise, this test would make one comparison
    /// for each row and label.
    #[test]
    fn evidence_check_rejects_a_huge_inconsistent_timeline_quickly() {
        let many = 1_000_000;
        let labels = (0..many).map(|label| (label.to_string(), Vec::new())).collect();
        let timeline = Timeline { start: 0, width: 1, rows: vec![0; many], labels };
        assert!(!timeline_fits(&timeline, None));
        let labels = BTreeMap::from([("a".to_string(), vec![1])]);
        let timeline = Timeline { start: 0, width: 1, rows: vec![1], labels: labels.clone() };
        assert!(timeline_fits(&timeline, Some(&BTreeMap::from([("a".to_string(), 1)]))));
        assert!(!timeline_fits(&timeline, None), "more of a class than there are");
    }
}
