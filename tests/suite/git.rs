//! The code revision: nothing hides an edit, and nothing configured in a repository is executed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::support::{Outcome, Project};

/// The code descriptor from the archive that a build makes.
pub fn code_of(project: &Project, arguments: &[&str]) -> Value {
    let archive = project.build_with(&[&["--force"], arguments].concat());
    let target = archive.to_string_lossy();
    let show = project.modelseal(&["show", &target, "--format", "json"]).expect(0).json();
    let inputs = &show["statement"]["predicate"]["buildDefinition"]["resolvedDependencies"];
    inputs.as_array().expect("inputs").iter().find(|input| input["name"] == "code").expect("code").clone()
}

#[track_caller]
pub fn dirty(project: &Project, expected: &str) -> Outcome {
    let outcome = project.build_refused(&[], 1);
    outcome.says("the work tree differs from commit").says(expected);
    outcome
}

#[test]
fn build_seals_the_commit_the_tree_and_the_hash_of_clean_code() {
    let project = Project::new();
    let code = code_of(&project, &[]);
    assert_eq!(code["digest"]["gitCommit"], project.git(&["rev-parse", "HEAD"]).trim());
    assert_eq!(code["digest"]["gitTree"], project.git(&["rev-parse", "HEAD^{tree}"]).trim());
    assert_eq!(code["annotations"]["dirty"], serde_json::json!([]));
    // The recipe, data, parameters and artifact have digests of their own. Only train.py remains.
    let line = Command::new("sh")
        .args(["-c", "sha256sum train.py | sha256sum"])
        .current_dir(project.at(""))
        .output()
        .expect("runs");
    let expected = String::from_utf8_lossy(&line.stdout).split(' ').next().expect("a digest").to_string();
    assert_eq!(code["digest"]["dirHash"], expected.as_str());
}

#[test]
fn build_names_modified_staged_deleted_and_untracked_files() {
    let project = Project::new();
    project.write("train.py", "print('other')\n");
    dirty(&project, "modified:  `train.py`").says("`git add -- train.py` and commit");
    project.git(&["add", "-A"]);
    dirty(&project, "modified:  `train.py`");
    project.git(&["commit", "-qm", "other"]);
    project.build();
    fs::remove_dir_all(project.at("dist")).expect("removes");

    fs::remove_file(project.at("train.py")).expect("removes");
    dirty(&project, "deleted:   `train.py`");
    project.git(&["checkout", "-q", "--", "."]);

    project.write("notes with space.txt", "x");
    dirty(&project, "untracked: `notes with space.txt`").says("`git add -- 'notes with space.txt'`");
    project.git(&["add", "-A"]);
    dirty(&project, "staged:    `notes with space.txt`");
    project.git(&["reset", "-q", "--hard"]);

    // Staged, then restored on disk: the index still contains the edit.
    project.write("train.py", "print('staged')\n");
    project.git(&["add", "-A"]);
    project.write("train.py", "print('train')\n");
    project.git(&["update-index", "--assume-unchanged", "modelseal.toml"]);
    let outcome = project.modelseal(&["build"]).run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
}

#[test]
fn build_ignores_git_ignored_files_unless_they_are_staged() {
    let project = Project::new();
    project.write(".gitignore", "*.log\n/cache/\n");
    project.commit();
    project.write("run.log", "x");
    project.write("cache/deep/x", "x");
    project.build();
    fs::remove_dir_all(project.at("dist")).expect("removes");
    project.git(&["add", "-f", "run.log"]);
    dirty(&project, "staged:    `run.log`");
}

#[test]
fn build_counts_an_edit_of_the_recipe_as_dirty_but_not_of_inputs_or_outputs() {
    let project = Project::new();
    let before = code_of(&project, &[]);
    project.write("params.toml", "learning_rate = 0.2\nseed = 42\n");
    project.write("data/train.csv", "x,class\n1,a\n");
    project.write("model/more.bin", "more");
    assert_eq!(code_of(&project, &[]), before);
    fs::remove_dir_all(project.at("dist")).expect("removes");
    let inside = project.at("result.tar").to_string_lossy().into_owned();
    assert_eq!(code_of(&project, &["-o", &inside]), before);
    assert_eq!(code_of(&project, &["-o", &inside]), before, "the first result is there now");
    fs::remove_file(&inside).expect("removes");
    project.append_recipe("# a remark\n");
    dirty(&project, "modified:  `modelseal.toml`");
}

#[test]
fn allow_dirty_seals_the_edited_files_and_their_hash() {
    let project = Project::new();
    let clean = code_of(&project, &[]);
    project.write("train.py", "print('one')\n");
    project.write("untracked.py", "x");
    let one = code_of(&project, &["--allow-dirty"]);
    assert_eq!(one["annotations"]["dirty"], serde_json::json!(["train.py", "untracked.py"]));
    assert_eq!(one["digest"]["gitCommit"], clean["digest"]["gitCommit"]);
    assert_ne!(one["digest"]["dirHash"], clean["digest"]["dirHash"]);
    project.write("train.py", "print('two')\n");
    let two = code_of(&project, &["--allow-dirty"]);
    assert_ne!(one["digest"]["dirHash"], two["digest"]["dirHash"], "what was there is what is sealed");
    let outcome = project.verify(&project.at("dist/wine-1.0.0.tar"), &[]);
    assert_eq!(outcome.code, Some(0));
    outcome.says("lineage.code         warn").says("2 paths differed from the commit");
}

#[test]
fn build_finds_an_edit_behind_each_git_index_flag() {
    for flag in ["--assume-unchanged", "--skip-worktree"] {
        let project = Project::new();
        project.git(&["update-index", flag, "train.py"]);
        project.write("train.py", "print('hidden')\n");
        dirty(&project, "modified:  `train.py`");
    }
}

#[test]
fn build_finds_an_edit_despite_git_configuration_and_an_unchanged_mtime() {
    let project = Project::new();
    for (key, value) in [
        ("core.fileMode", "false"),
        ("core.ignoreStat", "true"),
        ("core.checkStat", "minimal"),
        ("status.showUntrackedFiles", "no"),
        ("core.trustctime", "false"),
    ] {
        project.git(&["config", key, value]);
    }
    let path = project.at("train.py");
    let modified = fs::metadata(&path).expect("is there").modified().expect("a time");
    project.write("train.py", "print('trains')\n".replace("trains", "brain"));
    fs::File::options().write(true).open(&path).expect("opens").set_modified(modified).expect("sets");
    dirty(&project, "modified:  `train.py`");
    project.git(&["checkout", "-q", "--", "."]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("sets");
    dirty(&project, "modified:  `train.py`");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("sets");
    project.write("untracked.py", "x");
    dirty(&project, "untracked: `untracked.py`");
}

/// Each way in which git can run a program while it inspects a work tree would leave a mark.
#[test]
fn build_runs_no_program_that_the_git_configuration_or_a_hook_names() {
    let project = Project::new();
    let mark = project.out("executed");
    let script = format!("#!/bin/sh\necho \"$0\" >> {}\ncat\n", mark.display());
    project.write("evil.sh", &script);
    fs::set_permissions(project.at("evil.sh"), fs::Permissions::from_mode(0o755)).expect("sets");
    project.write(".gitattributes", "*.py filter=evil diff=evil merge=evil\n");
    project.commit();
    let evil = project.at("evil.sh").to_string_lossy().into_owned();
    for key in [
        "core.fsmonitor",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "diff.evil.textconv",
        "diff.evil.command",
        "core.editor",
        "core.pager",
        "core.sshCommand",
        "diff.external",
        "credential.helper",
        "gpg.program",
    ] {
        project.git(&["config", key, &evil]);
    }
    for hook in
        ["post-index-change", "pre-commit", "post-checkout", "fsmonitor-watchman", "reference-transaction"]
    {
        let path = project.at(&format!(".git/hooks/{hook}"));
        fs::write(&path, &script).expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("sets");
    }
    let _ = fs::remove_file(&mark);
    project.build();
    project.write("train.py", "print('edited')\n");
    let outcome = project.modelseal(&["build", "--force", "--key", &project.key()]).run();
    assert_eq!(outcome.code, Some(1));
    assert!(!mark.exists(), "{}", fs::read_to_string(&mark).unwrap_or_default());
}

#[test]
fn build_ignores_git_replace_refs() {
    let project = Project::new();
    let before = code_of(&project, &[]);
    let blob = project.git(&["rev-parse", "HEAD:train.py"]).trim().to_string();
    project.write("train.py", "print('replaced')\n");
    let other = project.git(&["hash-object", "-w", "train.py"]).trim().to_string();
    project.git(&["replace", &blob, &other]);
    dirty_despite_dist(&project, "modified:  `train.py`");
    project.write("train.py", "print('train')\n");
    assert_eq!(code_of(&project, &[]), before);
}

#[track_caller]
pub fn dirty_despite_dist(project: &Project, expected: &str) {
    let key = project.key();
    project.modelseal(&["build", "--key", &key, "--force"]).expect(1).says(expected);
}

#[test]
fn code_hash_ignores_git_export_attributes() {
    let project = Project::new();
    project.write(".gitattributes", "train.py export-ignore\nversion.py export-subst ident\n");
    project.write("version.py", "commit = '$Format:%H$' # $Id$\n");
    project.commit();
    let lines = Command::new("sh")
        .args(["-c", "sha256sum .gitattributes train.py version.py | sha256sum"])
        .current_dir(project.at(""))
        .output()
        .expect("runs");
    let expected = String::from_utf8_lossy(&lines.stdout).split(' ').next().expect("a digest").to_string();
    assert_eq!(code_of(&project, &[])["digest"]["dirHash"], expected.as_str());
}

#[test]
fn code_hash_is_the_same_for_a_checkout_with_crlf_line_ends() {
    let project = Project::new();
    let before = code_of(&project, &[]);
    project.git(&["config", "core.autocrlf", "true"]);
    fs::remove_file(project.at("train.py")).expect("removes");
    project.git(&["checkout", "-q", "--", "."]);
    assert_eq!(fs::read(project.at("train.py")).expect("reads"), b"print('train')\r\n");
    assert_eq!(code_of(&project, &[]), before);
    project.write("train.py", "print('brain')\r\n");
    dirty_despite_dist(&project, "modified:  `train.py`");
}

#[test]
fn build_accepts_a_git_lfs_file_as_a_pointer_and_as_content() {
    let project = Project::new();
    let content = "large".repeat(1000);
    let digest = modelseal_format::digest::Digest::sha256(content.as_bytes());
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {}\n", content.len());
    project.write("big.bin", &pointer);
    project.commit();
    let before = code_of(&project, &[]);
    project.write("big.bin", &content);
    assert_eq!(code_of(&project, &[]), before);
    project.write("big.bin", content.replacen('l', "L", 1));
    dirty_despite_dist(&project, "modified:  `big.bin`");
}

#[test]
fn build_compares_symbolic_links_in_the_work_tree_by_their_target() {
    let project = Project::new();
    std::os::unix::fs::symlink("train.py", project.at("link.py")).expect("links");
    project.commit();
    project.build();
    fs::remove_file(project.at("link.py")).expect("removes");
    std::os::unix::fs::symlink("/etc/passwd", project.at("link.py")).expect("links");
    dirty_despite_dist(&project, "modified:  `link.py`");
    fs::remove_file(project.at("link.py")).expect("removes");
    project.write("link.py", "train.py");
    dirty_despite_dist(&project, "modified:  `link.py`");
}
