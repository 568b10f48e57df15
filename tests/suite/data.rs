//! Data sources, hyperparameters and environment, as a build records them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::Project;

/// A descriptor from the archive that a build makes.
fn input(project: &Project, name: &str) -> Value {
    let archive = project.build_with(&["--force"]);
    let show = project.modelseal(&["show", &archive.to_string_lossy(), "--format", "json"]).expect(0).json();
    let inputs = &show["statement"]["predicate"]["buildDefinition"]["resolvedDependencies"];
    let inputs = inputs.as_array().expect("inputs");
    inputs.iter().find(|input| input["name"] == name).expect("is there").clone()
}

/// The counts, without the parts that only programs read.
fn counts(input: &Value) -> Value {
    let mut facts = input["annotations"].clone();
    let facts_object = facts.as_object_mut().expect("an object");
    facts_object.remove("sketch").expect("a sketch");
    facts_object.remove("timeline");
    facts
}

fn with_data(path: &str, content: impl AsRef<[u8]>, keys: &str) -> Project {
    let project = Project::with_artifact(&[("a", b"a")]);
    project.write(path, content);
    project.append_recipe(&format!("[[data]]\nname = \"d\"\npath = \"{path}\"\n{keys}\n"));
    project
}

#[test]
fn data_digests_of_a_file_and_a_directory_match_sha256sum() {
    let project = with_data("data/x.csv", "a,b\n1,2\n", "");
    let file = input(&project, "data/d");
    let expected = modelseal_format::digest::Digest::sha256(b"a,b\n1,2\n").to_string();
    assert_eq!(file["digest"], json!({ "sha256": expected }));
    assert_eq!(counts(&file), json!({ "bytes": 8, "files": 1, "rows": 1 }));
    project.write("data/sub/y", "y");
    project.write("data/sub-z", "z");
    project.edit_recipe("path = \"data/x.csv\"", "path = \"data\"");
    let directory = input(&project, "data/d");
    let script = "find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum";
    let output =
        std::process::Command::new("sh").args(["-c", script]).current_dir(project.at("data")).output();
    let expected = String::from_utf8_lossy(&output.expect("runs").stdout)[..64].to_string();
    assert_eq!(directory["digest"], json!({ "dirHash": expected }));
    assert_eq!(counts(&directory), json!({ "bytes": 10, "files": 3, "rows": 1 }));
}

#[test]
fn build_counts_the_labels_and_times_of_data() {
    let text = "when,class\n2026-11-01,yes\n2026-11-20T10:00:00+01:00,no\n1793500000,yes\nsoon,\n";
    let keys = "label = \"class\"\ntimestamp = \"when\"";
    let project = with_data("d.csv", text, keys);
    let expected = json!({
        "bytes": text.len(), "files": 1, "rows": 4, "label": "class", "labels": { "no": 1, "yes": 2 }, "nulls": 1,
        "timestamp": "when", "oldest": "2026-11-01T00:00:00Z", "newest": "2026-11-20T09:00:00Z", "unparsed": 1,
        "unparsedExamples": ["soon"], "timeForms": { "seconds": 1, "milliseconds": 0, "dates": 2 }
    });
    let found = input(&project, "data/d");
    assert_eq!(counts(&found), expected);
    let timeline = &found["annotations"]["timeline"];
    assert_eq!(timeline["width"], 8192);
    let late: u64 =
        timeline["labels"]["no"].as_array().expect("counts").iter().filter_map(Value::as_u64).sum();
    assert_eq!(late, 1);
    let key = project.key();
    project
        .modelseal(&["build", "--key", &key])
        .expect(0)
        .says("warning: data `d`: 1 row without a readable time, such as `soon`");

    // The same rows in two files, one of them compressed.
    let parts = with_data("parts/1.csv", "when,class\n2026-11-01,yes\n2026-11-20T10:00:00+01:00,no\n", keys);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"when,class\n1793500000,yes\nsoon,\n").expect("writes");
    parts.write("parts/2.csv.gz", encoder.finish().expect("finishes"));
    parts.write("parts/README", "not data");
    parts.edit_recipe("path = \"parts/1.csv\"", "path = \"parts\"");
    let annotations = &input(&parts, "data/d")["annotations"];
    for name in ["rows", "labels", "nulls", "oldest", "newest", "unparsed", "timeForms", "timeline", "sketch"]
    {
        assert_eq!(annotations[name], found["annotations"][name], "{name}");
    }
}

#[test]
fn build_refuses_data_older_than_max_age() {
    let now = jiff::Timestamp::now().as_second();
    let of_age = |days: i64| format!("when\n{}\n{}\n", now - days * 86_400, now - 400 * 86_400);
    let keys = "timestamp = \"when\"\nmax_age = \"30d\"";
    with_data("d.csv", of_age(29), keys).build();
    let old = with_data("d.csv", of_age(31), keys).build_refused(&[], 1);
    old.says("data `d` is stale: its newest record, ").says("is 31 days old (limit 30 days)");
    // A file's modification time never counts, and a record in the far future does not make the data fresh.
    let future = with_data("d.csv", of_age(-40), keys).build_refused(&[], 1);
    future.says("is in the future");
    let unreadable = with_data("d.csv", "when\nsoon\n", keys).build_refused(&[], 1);
    unreadable.says("no record has a readable time");
    with_data("d.csv", "when\n", keys).build_refused(&[], 1).says("no record has a readable time");
    let missing = with_data("d.csv", of_age(1), "max_age = \"30d\"");
    missing.modelseal(&["build"]).expect(2).says("`max_age` needs `timestamp`");
    let both = with_data("d.csv", of_age(1), &format!("{keys}\nstatic = true"));
    both.modelseal(&["build"]).expect(2).says("contradict each other");
}

#[test]
fn build_refuses_data_that_it_cannot_count_and_names_the_problem() {
    for (path, content, expected) in [
        ("d.csv", "class\na\na,b\n", "line 3 has 2 fields, the header has 1"),
        ("d.csv", "other\na\n", "there is no column `class`; the columns are `other`"),
        ("d.csv", "class,class\na,b\n", "two columns are named `class`"),
        ("d.jsonl", "{\"class\":1}\n{\"class\"", "line 2 is not a JSON object"),
        ("d.csv.gz", "class\na\n", "the gzip stream is damaged"),
        ("d.feather", "PAR1", "supported file extensions are `.csv`"),
    ] {
        with_data(path, content, "label = \"class\"").build_refused(&[], 1).says(path).says(expected);
    }
}

#[test]
fn build_warns_about_suspicious_labels_and_missing_rows() {
    let key_and_text = |text: &str| {
        let project = with_data("d.csv", text, "label = \"class\"");
        let key = project.key();
        project.modelseal(&["build", "--key", &key]).expect(0)
    };
    key_and_text("class\nyes\n yes\n").says("the labels ` yes` and `yes` differ only by case or white space");
    key_and_text("class\n").says("data `d` has no rows");
    let many: String = (0..1001).map(|class| format!("{class}\n")).collect();
    key_and_text(&format!("class\n{many}")).says("more than 1,000 classes");
}

#[test]
fn build_refuses_pointer_files_and_error_pages_in_place_of_data() {
    let lfs = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 9\n", "0".repeat(64));
    let dvc = "outs:\n- md5: 22a1a2931c8370d3aeedd7183606fd7f\n  size: 3\n  hash: md5\n  path: d.csv\n";
    for (content, expected, hint) in [
        (lfs.as_str(), "`d.csv` is a Git LFS pointer", "git lfs pull"),
        (dvc, "`d.csv` is a DVC pointer", "dvc pull"),
        ("/annex/objects/SHA256E-s1--x.csv\n", "`d.csv` is a git-annex pointer", "git annex get"),
        ("<html><title>Sign in</title>", "`d.csv` is an HTML or XML page", "the download failed"),
    ] {
        with_data("d.csv", content, "").build_refused(&[], 1).says(expected).says(hint);
    }
    // The data is absent, but its pointer file is there.
    let absent = with_data("d.csv.dvc", dvc, "");
    absent.edit_recipe("d.csv.dvc", "d.csv");
    absent.build_refused(&[], 1).says("is a DVC pointer").says("dvc pull");
    let annex = with_data("d.csv", "x", "");
    fs::remove_file(annex.at("d.csv")).expect("removes");
    symlink(".git/annex/objects/aa/bb/SHA256E-s1--x/SHA256E-s1--x", annex.at("d.csv")).expect("links");
    annex.build_refused(&[], 1).says("git-annex pointer");
    let nothing = with_data("d.csv", "x", "");
    fs::remove_file(nothing.at("d.csv")).expect("removes");
    nothing.build_refused(&[], 2).says("cannot read `d.csv`").says("No such file");
    // One pointer among the files of a directory.
    let part = with_data("parts/1.csv", "x\n1\n", "");
    part.write("parts/2.csv", &lfs);
    part.edit_recipe("parts/1.csv", "parts");
    part.build_refused(&[], 1).says("`parts/2.csv` is a Git LFS pointer");
}

#[test]
fn build_follows_links_to_data_only_with_symlinks_follow() {
    let project = with_data("parts/1.csv", "x\n1\n", "");
    project.edit_recipe("parts/1.csv", "parts");
    symlink("1.csv", project.at("parts/2.csv")).expect("links");
    project.build_refused(&[], 1).says("`parts/2.csv` is a symbolic link").says("symlinks = \"follow\"");
    project.edit_recipe("path = \"parts\"", "path = \"parts\"\nsymlinks = \"follow\"");
    assert_eq!(input(&project, "data/d")["annotations"]["files"], 2);
    // The path in the recipe may itself be a link.
    let named = with_data("real.csv", "x\n1\n", "");
    symlink("real.csv", named.at("link.csv")).expect("links");
    named.edit_recipe("real.csv", "link.csv");
    named.build();
}

#[test]
fn data_digest_changes_with_the_content_and_not_with_the_modification_time() {
    let project = with_data("d.csv", "x\n1\n", "");
    let before = input(&project, "data/d");
    let file = fs::File::options().write(true).open(project.at("d.csv")).expect("opens");
    file.set_modified(std::time::UNIX_EPOCH).expect("sets");
    assert_eq!(input(&project, "data/d"), before);
    project.write("d.csv", "x\n2\n");
    file.set_modified(std::time::UNIX_EPOCH).expect("sets");
    assert_ne!(input(&project, "data/d")["digest"], before["digest"]);
}

#[test]
fn hyperparameters_keep_their_types_and_duplicate_names_are_refused() {
    let project = Project::with_artifact(&[("a", b"a")]);
    project.write("p.json", "{\"b\": 1.0, \"c\": \"1\", \"d\": 9007199254740993}");
    project.write("p.yaml", "e: true\nf: {g: [1e-3, null]}\n");
    project.edit_recipe("values = { a = 1 }", "files = [\"p.json\", \"p.yaml\"]\nvalues = { a = 1 }");
    let archive = project.build();
    let show = project.modelseal(&["show", &archive.to_string_lossy(), "--format", "json"]).expect(0).json();
    assert_eq!(
        show["statement"]["predicate"]["buildDefinition"]["externalParameters"]["hyperparameters"],
        json!({
            "a": 1,
            "b": { "kind": "float", "value": "1.0" },
            "c": "1",
            "d": { "kind": "integer", "value": "9007199254740993" },
            "e": true,
            "f": { "g": [{ "kind": "float", "value": "1e-3" }, null] }
        })
    );
    let text = project.modelseal(&["show", &archive.to_string_lossy()]).expect(0);
    text.says("  b = 1.0\n  c = \"1\"\n  d = 9007199254740993\n");
    project.write("p.yaml", "b: 2\n");
    fs::remove_dir_all(project.at("dist")).expect("removes");
    project.build_refused(&[], 1).says("`b` is given twice: in `p.json` and in `p.yaml`");
    project.write("p.yaml", "a: 2\n");
    project.build_refused(&[], 1).says("`a` is given twice: in `p.yaml` and in the recipe's `values`");
    project.write("p.yaml", "x: .nan\n");
    project.build_refused(&[], 1).says("`p.yaml` cannot be sealed: `.nan` is not a finite number");
    project.edit_recipe("p.yaml", "p.txt");
    project.write("p.txt", "x=1");
    project.build_refused(&[], 1).says("not TOML, JSON or YAML");
}

#[test]
fn build_seals_lock_files_by_digest() {
    let project = Project::with_artifact(&[("a", b"a")]);
    project.write("requirements.lock", "numpy==2.3.1\n");
    project.append_recipe("[environment]\nfiles = [\"requirements.lock\"]\n");
    let lock = input(&project, "environment/requirements.lock");
    assert_eq!(
        lock["digest"]["sha256"],
        modelseal_format::digest::Digest::sha256(b"numpy==2.3.1\n").to_string()
    );
}

#[test]
fn build_seals_a_base_model_by_its_release_or_its_digest() {
    let backbone = Project::with_artifact(&[("weights", b"backbone")]);
    let archive = backbone.build_with(&["--compression", "zstd"]);
    let report = backbone.verify(&archive, &["--format", "json"]).json();
    let project = Project::with_artifact(&[("a", b"a")]);
    let path = project.out("backbone.tar");
    fs::copy(&archive, &path).expect("copies");
    project.append_recipe(&format!("[[base]]\nname = \"backbone\"\npath = \"{}\"\n", path.display()));
    let base = input(&project, "base/backbone");
    assert_eq!(format!("sha256:{}", base["digest"]["sha256"].as_str().expect("a digest")), report["release"]);
    assert_eq!(base["annotations"]["model"], json!({ "name": "m", "version": "1" }));

    let mut damaged = fs::read(backbone.build()).expect("reads");
    let length = damaged.len();
    damaged[length - 1536] ^= 1;
    fs::write(&path, &damaged).expect("writes");
    fs::remove_dir_all(project.at("dist")).expect("removes");
    project.build_refused(&[], 1).says("the base model").says("`weights` differs from the sealed file");
    fs::write(&path, &damaged[..length - 700]).expect("writes");
    project.build_refused(&[], 1).says("is damaged");
    fs::write(&path, "an ordinary file").expect("writes");
    let base = input(&project, "base/backbone");
    assert_eq!(
        base["digest"]["sha256"],
        modelseal_format::digest::Digest::sha256(b"an ordinary file").to_string()
    );
    fs::remove_file(&path).expect("removes");
    fs::create_dir(&path).expect("creates");
    fs::write(path.join("x"), "x").expect("writes");
    assert!(input(&project, "base/backbone")["digest"]["dirHash"].is_string());
}

#[test]
fn build_warns_if_it_cannot_count_the_rows_of_data_without_a_label() {
    let project = with_data("d.csv", "a,b\n1\n", "");
    let key = project.key();
    project
        .modelseal(&["build", "--key", &key])
        .expect(0)
        .says("data `d`: the records of `d.csv` are not counted: line 2 has 1 fields, the header has 2");
    let facts = input(&project, "data/d")["annotations"].clone();
    assert_eq!(facts, json!({ "bytes": 6, "files": 1 }));
}
