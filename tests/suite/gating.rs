//! What the gate says about the evidence in complete releases with valid signatures.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::support::Project;
use crate::support::archive::{payload, reseal, split};
use crate::support::run::Outcome;

const RECIPE: &str = r#"[model]
name = "clicks"
version = "1"
[artifact]
path = "model"
[[data]]
name = "train"
path = "data.csv"
label = "class"
timestamp = "at"
[params]
values = { rate = 0.1 }
[code]
none = true
"#;

pub const SIGNER: &str = "[[signer]]\nname = \"ci\"\nkey = \"ci.pub\"\n";

/// One row: its age in hours, and its class.
pub type Row = (i64, &'static str);

pub fn project() -> Project {
    let project = Project::with_artifact(&[("weights", b"1")]);
    project.write("modelseal.toml", RECIPE);
    project.public_key();
    project
}

/// Rows of two classes, one row an hour. The newest row is one hour old.
pub fn even(rows: i64) -> Vec<Row> {
    (0..rows).map(|row| (row + 1, if row % 2 == 0 { "yes" } else { "no" })).collect()
}

pub fn csv(rows: &[Row]) -> String {
    let now = Timestamp::now().as_second() / 3600 * 3600;
    let row = |(number, (hours, class)): (usize, &Row)| {
        let at = Timestamp::from_second(now - hours * 3600).expect("a time");
        format!("{number},{class},{at}\n")
    };
    format!("x,class,at\n{}", rows.iter().enumerate().map(row).collect::<String>())
}

/// Builds a release from this data and model content.
#[track_caller]
pub fn release(project: &Project, name: &str, data: &str, weights: &str) -> PathBuf {
    project.write("data.csv", data);
    project.write("model/weights", weights);
    project.set_version(name);
    let path = project.out(&format!("{name}.tar"));
    project.build_with(&["-o", &path.to_string_lossy(), "--force"]);
    path
}

/// Verifies with a policy that trusts the usual signer.
pub fn judge(project: &Project, target: &Path, previous: Option<&Path>, policy: &str) -> Outcome {
    judge_by(project, target, previous, &format!("model = \"clicks\"\n{policy}\n{SIGNER}"))
}

pub fn judge_by(project: &Project, target: &Path, previous: Option<&Path>, policy: &str) -> Outcome {
    let path = project.root().join("gate.toml");
    fs::write(&path, policy).expect("writes");
    let (target, path) = (target.to_string_lossy(), path.to_string_lossy());
    let mut arguments = vec!["verify", &target, "--policy", &path];
    let previous = previous.map(|previous| previous.to_string_lossy().into_owned());
    if let Some(previous) = &previous {
        arguments.extend(["--previous", previous]);
    }
    let json = project.modelseal(&[&arguments[..], &["--format", "json"]].concat()).run();
    if json.code != Some(2) {
        json.json();
    }
    project.modelseal(&arguments).run()
}

impl Outcome {
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.all());
        self
    }
}

#[test]
fn policy_refuses_stale_data_by_its_newest_record() {
    let project = project();
    let policy = "[data.train]\nmax_age = \"2d\"\n";
    let shifted =
        |hours: i64| -> Vec<Row> { even(200).into_iter().map(|(at, class)| (at + hours, class)).collect() };
    let fresh = release(&project, "fresh", &csv(&shifted(0)), "1");
    judge(&project, &fresh, None, policy).ends(0).says("gate.freshness.train  pass     newest record 2");
    let old = release(&project, "old", &csv(&shifted(21 * 24)), "2");
    let outcome = judge(&project, &old, None, policy).ends(1);
    outcome.says("fail: source `train`: newest record 2").says("Z is 21 days old (limit 2 days)");
    outcome.says("hint: check whether upstream stopped or the wrong partition was read");
    let stuck = release(&project, "stuck", &csv(&shifted(21 * 24)[..199]), "3");
    judge(&project, &stuck, Some(&old), policy)
        .ends(1)
        .says("(limit 2 days), and the previous release had the same newest record");
    // Within the limit, but the newest record does not advance.
    let same = release(&project, "same", &csv(&shifted(0)[..150]), "4");
    judge(&project, &same, Some(&fresh), policy)
        .ends(1)
        .says("source `train`: the data changed, but its newest record is still 2");
    let back = release(&project, "back", &csv(&shifted(5)), "5");
    judge(&project, &back, Some(&fresh), policy).ends(1).says("is older than that of the previous release");
    judge(&project, &fresh, Some(&back), policy).ends(0);
    // Another release of the same data has no newer record to reach.
    let again = release(&project, "again", &csv(&shifted(0)), "6");
    judge(&project, &again, Some(&fresh), policy).ends(0);

    // What cannot be judged neither fails nor passes.
    let rows = csv(&shifted(0));
    for (data, reason) in [
        (rows.replace("T", "_"), "200 of 200 rows have no readable time, such as `2"),
        (
            format!("{rows}7,yes,1793599200\n8,no,1793599200000\n"),
            "one column mixes seconds and milliseconds, in 1 and 1 rows",
        ),
        (csv(&shifted(-1000)), "all records are in the future"),
        (csv(&shifted(-100)), "is in the future"),
        ("x,class,at\n".to_string(), "no record has a readable time"),
    ] {
        let archive = release(&project, "odd", &data, "7");
        judge(&project, &archive, None, policy)
            .ends(3)
            .says("the age of `train` cannot be judged: ")
            .says(reason);
    }
    judge(&project, &fresh, None, "[data.other]\nmax_age = \"2d\"\n")
        .ends(1)
        .says("the release has no data source `other`, which the policy requires");
    project.edit_recipe("timestamp = \"at\"\n", "");
    let without = release(&project, "without", &rows, "8");
    judge(&project, &without, None, policy)
        .ends(3)
        .says("no times were sealed: the recipe names no `timestamp`");
}

#[test]
fn policy_refuses_shifted_labels_and_accepts_noise() {
    let project = project();
    let policy = "[data.train]\nlabels = {}\n";
    let share = |yes: i64, no: i64| -> Vec<Row> {
        (0..yes + no).map(|row| (row % 50 + 1, if row < yes { "yes" } else { "no" })).collect()
    };
    let before = release(&project, "before", &csv(&share(500, 500)), "1");
    judge(&project, &before, None, policy).ends(3).says("there is no previous release to compare with");
    let healthy = release(&project, "healthy", &csv(&share(520, 490)), "2");
    judge(&project, &healthy, Some(&before), policy)
        .ends(0)
        .says("gate.labels.train    pass     distance 0.0");
    let drifting = release(&project, "drifting", &csv(&share(610, 390)), "3");
    judge(&project, &drifting, Some(&before), policy)
        .ends(0)
        .says("gate.labels.train    warn     the labels of `train` are shifting");
    let moved = release(&project, "moved", &csv(&share(900, 100)), "4");
    judge(&project, &moved, Some(&before), policy).ends(1).says(
        "fail: the labels of `train` shifted: `yes` was 50.0 % in the previous release and is 90.0 % now (distance 0.319, limit 0.1)",
    );
    let lost = release(&project, "lost", &csv(&share(1000, 0)), "5");
    judge(&project, &lost, Some(&before), policy)
        .ends(1)
        .says("fail: `train` lost the class `no`: 500 rows in the previous release, none now");
    let mut rows = share(500, 500);
    rows.extend((0..40).map(|row| (row + 1, "maybe")));
    let new = release(&project, "new", &csv(&rows), "6");
    judge(&project, &new, Some(&before), policy)
        .ends(1)
        .says("fail: `train` has a new class `maybe`: none in the previous release, 40 rows now");
    let mut rows = share(500, 500);
    rows.extend((0..100).map(|row| (row + 1, "")));
    let unlabelled = release(&project, "unlabelled", &csv(&rows), "7");
    judge(&project, &unlabelled, Some(&before), policy).ends(1).says("a new class (no label)");
    let few = release(&project, "few", &csv(&share(9, 11)), "8");
    judge(&project, &few, Some(&few), policy)
        .ends(3)
        .says("`train` has too few rows to compare: about 379 are needed");
    project.edit_recipe("label = \"class\"\n", "");
    let without = release(&project, "without", &csv(&share(5, 5)), "9");
    judge(&project, &without, Some(&before), policy)
        .ends(3)
        .says("no labels were sealed: the recipe names no `label`");
}

#[test]
fn policy_refuses_labels_that_shift_over_time_within_a_release() {
    let project = project();
    let policy = "[data.train]\nslices = { max_js_distance = 0.2 }\n";
    let stable = release(&project, "stable", &csv(&even(2000)), "1");
    judge(&project, &stable, None, policy).ends(0);
    let drifts: Vec<Row> = (0..2000).map(|row| (row + 1, if row < 900 { "yes" } else { "no" })).collect();
    let unstable = release(&project, "unstable", &csv(&drifts), "2");
    judge(&project, &unstable, None, policy)
        .ends(1)
        .says("fail: `train` lost the class `no`: ")
        .says("rows in the oldest quarter of the rows, none in the newest");
    // No rows on weekends, and a backfill of a whole week at a single moment.
    let weekdays: Vec<Row> = even(3000).into_iter().filter(|(hours, _)| hours / 24 % 7 < 5).collect();
    let weekdays = release(&project, "weekdays", &csv(&weekdays), "3");
    judge(&project, &weekdays, None, policy).ends(0);
    let moment: Vec<Row> = even(500).into_iter().map(|(_, class)| (5, class)).collect();
    let moment = release(&project, "moment", &csv(&moment), "4");
    judge(&project, &moment, None, policy).ends(3).says("the rows are not spread over time");
}

#[test]
fn policy_refuses_a_row_count_outside_of_its_limits() {
    let project = project();
    let policy = "[data.train]\nrows = { min_ratio = 0.5, max_ratio = 2.0 }\n";
    let before = release(&project, "before", &csv(&even(1000)), "1");
    let by = |name: &str, rows: i64| {
        let archive = release(&project, name, &csv(&even(rows)), name);
        judge(&project, &archive, Some(&before), policy)
    };
    by("same", 1100).ends(0).says("1,000 → 1,100 rows, 1.10 times");
    by("half", 500).ends(0);
    by("less", 499).ends(1).says("fail: `train` shrank: 1,000 → 499 rows, 0.50 times (at least 0.5)");
    by("more", 2001).ends(1).says("fail: `train` grew: 1,000 → 2,001 rows");
    judge(&project, &before, None, policy).ends(3);
}

#[test]
fn refresh_check_fails_without_new_rows_or_a_changed_model() {
    let project = project();
    let policy = "[refresh]\ninert = \"fail\"\n";
    let data = csv(&even(300));
    let before = release(&project, "before", &data, "1");
    judge(&project, &before, None, policy).ends(3);
    let more = csv(&even(330));
    let healthy = release(&project, "healthy", &more, "2");
    judge(&project, &healthy, Some(&before), policy).ends(0).says("1 input changed, and so did the model");
    let inert = release(&project, "inert", &more, "1");
    judge(&project, &inert, Some(&before), policy)
        .ends(1)
        .says("fail: training had no effect: `data/train` changed, but the model did not");
    judge(&project, &inert, Some(&before), "[refresh]\ninert = \"warn\"\n")
        .ends(0)
        .says("training had no effect");
    let mut lines: Vec<&str> = data.lines().collect();
    lines[1..].reverse();
    let repeated = format!("{data}{}", data.split_once('\n').expect("a header").1);
    for (name, rewritten) in
        [("order", lines.join("\n")), ("ends", data.replace('\n', "\r\n")), ("twice", repeated)]
    {
        let archive = release(&project, name, &rewritten, name);
        judge(&project, &archive, Some(&before), policy)
            .ends(1)
            .says("fail: nothing new in `train`: its bytes changed, but its rows are the same");
    }
    let same = release(&project, "same", &data, "3");
    judge(&project, &same, Some(&before), policy).ends(0).says("no input changed since the previous release");
}

#[test]
fn refresh_check_accepts_a_single_new_row_among_many() {
    let project = project();
    let policy = "[refresh]\ninert = \"fail\"\n";
    let many = csv(&even(20_000));
    let before = release(&project, "before", &many, "1");
    let one_more = release(&project, "more", &format!("{many}x,yes,2026-01-01\n"), "2");
    judge(&project, &one_more, Some(&before), policy).ends(0);
    let mut lines: Vec<&str> = many.lines().collect();
    lines[1..].reverse();
    let reordered = release(&project, "reordered", &lines.join("\n"), "3");
    judge(&project, &reordered, Some(&before), policy).ends(1).says("nothing new in `train`");
}

#[test]
fn verify_refuses_signed_evidence_with_inconsistent_counts_or_bad_names() {
    let project = project();
    let archive = release(&project, "a", &csv(&even(40)), "1");
    let bytes = fs::read(&archive).expect("reads");
    let text = String::from_utf8(payload(&split(&bytes)[0].content)).expect("is text");
    let hostile = project.out("hostile.tar");
    let judge_text = |text: String| {
        fs::write(&hostile, reseal(&bytes, text.as_bytes())).expect("writes");
        judge(&project, &hostile, None, "[data.train]\nlabels = {}\n")
    };
    judge_text(text.clone()).ends(3);
    for (from, to) in [
        ("\"rows\":40", "\"rows\":41"),
        ("\"rows\":40", "\"rows\":18446744073709551615"),
        ("\"no\":20", "\"no\":18446744073709551615"),
        ("\"nulls\":0", "\"nulls\":1"),
        ("\"unparsed\":0", "\"unparsed\":1"),
        ("\"width\":1024", "\"width\":1023"),
        ("\"width\":1024", "\"width\":9223372036854775808"),
        ("\"timeline\":{\"start\":1", "\"timeline\":{\"start\":-922337203685477580"),
        ("\"timeline\":{\"start\":1", "\"timeline\":{\"start\":2"),
        ("\"dates\":40", "\"dates\":41"),
        ("\"oldest\":\"20", "\"oldest\":\"40"),
        ("\"oldest\":\"20", "\"oldest\":\"x"),
        ("\"unparsed\":0", "\"unparsed\":0,\"unparsedExamples\":[\"never\"]"),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        judge_text(text.replacen(from, to, 1)).ends(1).says("seal  ").claims_no_success();
    }
    // A name is used in messages, in check ids and in the policy that is generated from a release.
    for name in ["a\\nb", "a.b", "A", "\\u001b[31m", "a]\\n[[waiver]]", ""] {
        judge_text(text.replacen("\"data/train\"", &format!("\"data/{name}\""), 1))
            .ends(1)
            .says("is unknown to this version");
    }
    let sum = text.split("\"sum\":\"").nth(1).expect("a sketch").split('"').next().expect("a sum");
    for other in ["", "0123456789ABCDEF", "0123456789abcdef0"] {
        judge_text(text.replacen(sum, other, 1)).ends(1).says("a row sketch is damaged");
    }
}

/// Rewriting a container does not change its content. Its timestamps, member order and metadata do not count as an
/// effect of training.
#[test]
fn refresh_check_ignores_the_metadata_of_model_containers() {
    let project = project();
    let policy = "[refresh]\ninert = \"fail\"\n";
    let write = "import sys, zipfile, gzip, json, struct\n\
        name, year, value = sys.argv[1], int(sys.argv[2]), bytes([int(sys.argv[3])])\n\
        members = [('a.npy', value * 5000), ('b.npy', b'b' * 10)]\n\
        if name.endswith('.gz'):\n    gzip.GzipFile(name, 'wb', mtime=year).write(value * 5000)\n\
        elif name.endswith('.safetensors'):\n    \
            header = json.dumps({'__metadata__': {'year': str(year)}, 'w': {'dtype': 'U8', 'shape': [5000], 'data_offsets': [0, 5000]}})\n    \
            open(name, 'wb').write(struct.pack('<Q', len(header)) + header.encode() + value * 5000)\n\
        else:\n    \
            archive = zipfile.ZipFile(name, 'w')\n    \
            order = members if year < 2001 else members[::-1]\n    \
            [archive.writestr(zipfile.ZipInfo(n, (year, 1, 1, 0, 0, 0)), d, year % 2 * 8) for n, d in order]\n    \
            archive.close()\n";
    for name in ["w.npz", "w.pt", "w.skops", "w.pkl.gz", "w.safetensors"] {
        let build = |archive: &str, rows: i64, year: &str, value: &str| {
            let output = std::process::Command::new("python3")
                .args(["-c", write, name, year, value])
                .current_dir(project.at("model"))
                .output()
                .expect("runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            release(&project, archive, &csv(&even(rows)), "1")
        };
        let before = build("before", 300, "2000", "7");
        let inert = build("inert", 310, "2001", "7");
        let healthy = build("healthy", 310, "2001", "8");
        assert_ne!(fs::read(&before).expect("reads"), fs::read(&inert).expect("reads"));
        judge(&project, &inert, Some(&before), policy).ends(1).says("training had no effect");
        judge(&project, &healthy, Some(&before), policy).ends(0);
        fs::remove_file(project.at(&format!("model/{name}"))).expect("removes");
    }
}

/// A rewritten but unchanged source is no fault if another source has new data. A documentation page trains no model.
#[test]
fn refresh_check_accepts_new_rows_in_one_of_several_sources() {
    let project = project();
    project.append_recipe("[[data]]\nname = \"table\"\npath = \"table.csv\"\n");
    let policy = "[refresh]\ninert = \"fail\"\n";
    project.write("table.csv", "a,b\n1,2\n3,4\n");
    let before = release(&project, "before", &csv(&even(300)), "1");
    project.write("table.csv", "a,b\n3,4\n1,2\n");
    let grown = release(&project, "grown", &csv(&even(330)), "2");
    judge(&project, &grown, Some(&before), policy).ends(0).says("2 inputs changed, and so did the model");
    let neither = release(&project, "neither", &csv(&even(300)), "3");
    judge(&project, &neither, Some(&before), policy).ends(1).says("nothing new in `table`");

    let project = Project::new();
    project.public_key();
    let (before, after) = (project.build_with(&["-o", "../before.tar"]), project.root().join("after.tar"));
    project.write("README.md", "# Wine\n");
    project.set_version("1.0.1");
    project.commit();
    project.build_with(&["-o", "../after.tar"]);
    let policy = format!("model = \"wine\"\n{policy}{SIGNER}");
    judge_by(&project, &after, Some(&before), &policy)
        .ends(0)
        .says("warn     only the code changed, not the model");
}

/// If the writer of an archive computed no checksums, the archive says nothing about its members.
#[test]
fn refresh_check_compares_the_bytes_of_a_zip_without_checksums() {
    let project = project();
    let policy = "[refresh]\ninert = \"fail\"\n";
    let write = "import sys, zipfile\narchive = zipfile.ZipFile('w.pt', 'w')\n\
        archive.writestr('data/0', sys.argv[1] * 100)\narchive.filelist[0].CRC = 0\narchive.close()\n";
    let build = |name: &str, rows: i64, value: &str| {
        let output = std::process::Command::new("python3")
            .args(["-c", write, value])
            .current_dir(project.at("model"))
            .output();
        assert!(output.expect("runs").status.success());
        release(&project, name, &csv(&even(rows)), "1")
    };
    let (before, after) = (build("before", 300, "a"), build("after", 310, "b"));
    judge(&project, &after, Some(&before), policy).ends(0).says("and so did the model");
}
