//! What changed between two releases.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::project::Project;
use crate::support::run::Outcome;

/// Commits the current change and builds a release under this name.
fn release(project: &Project, name: &str) -> PathBuf {
    project.commit();
    let path = project.out(&format!("{name}.tar"));
    project.build_with(&["-o", &path.to_string_lossy()]);
    path
}

fn diff(project: &Project, old: &Path, new: &Path, arguments: &[&str]) -> Outcome {
    let (old, new) = (old.to_string_lossy(), new.to_string_lossy());
    project.modelseal(&[&["diff", &old, &new], arguments].concat()).run()
}

#[track_caller]
fn headline(project: &Project, old: &Path, new: &Path, expected: &str) {
    let outcome = diff(project, old, new, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    assert_eq!(outcome.stdout.lines().next(), Some(expected), "{}", outcome.all());
    diff(project, old, new, &["--format", "json"]).json();
    diff(project, old, new, &["--format", "markdown"]).says("| artifact | ");
}

#[test]
fn diff_names_the_only_change_in_the_first_line() {
    let project = Project::new();
    let first = release(&project, "first");
    headline(&project, &first, &first, "nothing changed");
    let mut number = 0;
    let mut next = |project: &Project| {
        number += 1;
        release(project, &format!("next-{number}"))
    };

    // The hyperparameter file and the version are in git, but neither counts as code.
    project.write("params.toml", "learning_rate = 0.2\nseed = 42\n");
    project.edit_recipe("1.0.0", "1.1.0");
    project.write("model/weights.safetensors", "v".repeat(4096));
    let second = next(&project);
    headline(&project, &first, &second, "only the hyperparameter `learning_rate` changed: 0.1 → 0.2");

    project.write("params.toml", "# a comment\nlearning_rate = 0.2\nseed = 42\n");
    let third = next(&project);
    headline(
        &project,
        &second,
        &third,
        "neither the model nor its inputs changed; the version or other parts of the recipe did",
    );

    project.git(&["commit", "-q", "--allow-empty", "-m", "nothing"]);
    let moved = next(&project);
    headline(&project, &third, &moved, "only the commit changed");

    project.write("train.py", "print('other')\n");
    let fourth = next(&project);
    headline(&project, &third, &fourth, "only the code changed; the artifact is the same");

    project.write("data/train.csv", "x,class\n1,a\n2,b\n3,b\n4,b\n");
    let fifth = next(&project);
    headline(&project, &fourth, &fifth, "only data `train` changed; the artifact is the same");
    let outcome = diff(&project, &fourth, &fifth, &[]);
    outcome
        .says("rows  3 → 4")
        .says("distinct rows in both  ")
        .says("label `a`  66.7 % → 25.0 %")
        .says("label `b`  33.3 % → 75.0 %");

    project.write("model/weights.safetensors", "u".repeat(4096));
    let sixth = next(&project);
    headline(
        &project,
        &fifth,
        &sixth,
        "no input changed, but the artifact did: the build is not reproducible",
    );
    diff(&project, &fifth, &sixth, &[]).says("`weights.safetensors`\n    from byte 0: 76");

    project.write("requirements.lock", "numpy==1.0\nscipy==1.0\n");
    project.append_recipe("[environment]\nfiles = [\"requirements.lock\"]\n");
    let seventh = next(&project);
    headline(&project, &sixth, &seventh, "only the environment changed; the artifact is the same");
    project.write("requirements.lock", "numpy==2.0\nscipy==1.0\n");
    let eighth = next(&project);
    diff(&project, &seventh, &eighth, &[]).says("`requirements.lock`\n    numpy  1.0 → 2.0\n");
    headline(&project, &first, &eighth, "data, code, hyperparameters and environment changed");
}

#[test]
fn diff_lists_commits_if_the_repository_contains_them() {
    let project = Project::new();
    let first = release(&project, "first");
    project.write("train.py", "print('other')\n");
    project.git(&["add", "-A"]);
    project.git(&["commit", "-qm", "Train otherwise \u{1b}[2J"]);
    let second = release(&project, "second");
    let outcome = diff(&project, &first, &second, &[]);
    outcome.says(" Train otherwise \\u{1b}[2J").says("git ");
    let elsewhere = project.home().to_string_lossy().into_owned();
    let outcome = diff(&project, &first, &second, &["--repository", &elsewhere]);
    assert!(!outcome.stdout.contains("Train otherwise"));
    outcome.says("only the code changed");
}

#[test]
fn diff_accepts_archives_directories_and_bare_seals() {
    let project = Project::new();
    let first = release(&project, "first");
    let unpacked = project.unpack(&first);
    project.write("model/config.json", "{\"classes\": 3}\n");
    let second = release(&project, "second");
    diff(&project, &unpacked, &second, &[]).says("`config.json`\n    at `classes`: `2` / `3`");
    let seal = unpacked.join(".modelseal/manifest.sigstore.json");
    let outcome = diff(&project, &seal, &second, &[]);
    outcome.says("`config.json`\n");
    assert!(!outcome.stdout.contains("at `classes`"), "a seal has no files");
    // Files that differ from the sealed ones are not compared as if they were sealed.
    fs::write(unpacked.join("config.json"), "{\"classes\": 9}\n").expect("writes");
    assert!(!diff(&project, &unpacked, &second, &[]).stdout.contains("at `classes`"));
}

#[test]
fn diff_exits_1_on_a_difference_only_with_exit_code() {
    let project = Project::new();
    let first = release(&project, "first");
    project.write("train.py", "print('other')\n");
    let second = release(&project, "second");
    assert_eq!(diff(&project, &first, &second, &[]).code, Some(0));
    assert_eq!(diff(&project, &first, &second, &["--exit-code"]).code, Some(1));
    assert_eq!(diff(&project, &first, &first, &["--exit-code"]).code, Some(0));
    let absent = project.out("absent.tar");
    assert_eq!(diff(&project, &first, &absent, &[]).code, Some(2));
    let outcome = diff(&project, &first, &project.at("train.py"), &[]);
    assert_eq!(outcome.code, Some(1));
    outcome.says("it is not a tar archive");
}

#[test]
fn diff_counts_the_run_command_as_code() {
    let project = Project::new();
    let first = release(&project, "first");
    project.append_recipe("[run]\ncommand = [\"sh\", \"-c\", \"mkdir model; cp data/train.csv model/weights.safetensors\"]\nenv = { A = \"1\" }\n");
    let second = release(&project, "second");
    let outcome = diff(&project, &first, &second, &[]);
    outcome
        .says("code and environment changed")
        .says("command  none: the artifact was adopted → `sh -c mkdir model;");
    outcome.says("$A  nothing → 1").says("`config.json` is gone");
}

#[test]
fn diff_escapes_sealed_text_in_markdown() {
    let project = Project::new();
    let first = release(&project, "first");
    project.write("params.toml", "learning_rate = \"<script>|[x](y) @everyone\"\nseed = 42\n");
    let second = release(&project, "second");
    let outcome = diff(&project, &first, &second, &["--format", "markdown"]);
    outcome.says("\\<script\\>\\|\\[x\\](y) \\@everyone");
}
