//! Kinds of repositories: submodules, clones, remotes, and repositories that cannot be read.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::git::{code_of, dirty, dirty_despite_dist};
use crate::support::Project;
use crate::support::project::git_in;

#[test]
fn build_reports_changes_inside_a_submodule() {
    let project = Project::new();
    let library = project.root().join("library");
    fs::create_dir(&library).expect("creates");
    let home = project.home();
    git_in(&library, &home, &["init", "-q", "-b", "main"]);
    fs::write(library.join("lib.py"), "x = 1\n").expect("writes");
    git_in(&library, &home, &["add", "-A"]);
    git_in(&library, &home, &["commit", "-qm", "library"]);
    project.git(&["submodule", "--quiet", "add", &library.to_string_lossy(), "vendor/library"]);
    project.git(&["commit", "-qm", "submodule"]);
    let clean = code_of(&project, &[]);
    project.write("vendor/library/lib.py", "x = 2\n");
    dirty_despite_dist(&project, "modified:  `vendor/library`");
    project.write("vendor/library/lib.py", "x = 1\n");
    project.write("vendor/library/extra.py", "x");
    dirty_despite_dist(&project, "modified:  `vendor/library`");
    fs::remove_file(project.at("vendor/library/extra.py")).expect("removes");
    assert_eq!(code_of(&project, &[]), clean);
    git_in(&project.at("vendor/library"), &home, &["commit", "-q", "--allow-empty", "-m", "moved"]);
    dirty_despite_dist(&project, "`vendor/library`");
    // As `git clone` without `--recurse-submodules` leaves it.
    let clone = project.root().join("clone");
    git_in(
        project.root(),
        &home,
        &["clone", "-q", &project.at("").to_string_lossy(), &clone.to_string_lossy()],
    );
    let key = project.key();
    let outcome =
        crate::support::modelseal(["build", "--key", &key]).current_dir(&clone).home(&home).expect(0);
    outcome.says("sealed wine 1.0.0");
}

#[test]
fn build_reports_a_nested_repository_as_untracked() {
    let project = Project::new();
    fs::create_dir(project.at("inner")).expect("creates");
    git_in(&project.at("inner"), &project.home(), &["init", "-q"]);
    project.write("inner/x.py", "x");
    dirty(&project, "untracked: `inner/`");
}

#[test]
fn build_writes_the_same_bytes_in_shallow_clones_and_linked_work_trees() {
    let project = Project::new();
    project.write("train.py", "print('second')\n");
    project.commit();
    let expected = fs::read(project.build()).expect("reads");
    let home = project.home();
    let key = project.key();
    let url = format!("file://{}", project.at("").display());
    let build = |directory: &std::path::Path| {
        crate::support::modelseal(["build", "--key", &key]).current_dir(directory).home(&home).expect(0);
        fs::read(directory.join("dist/wine-1.0.0.tar")).expect("reads")
    };
    let shallow = project.root().join("shallow");
    git_in(project.root(), &home, &["clone", "-q", "--depth", "1", &url, &shallow.to_string_lossy()]);
    assert!(build(&shallow) == expected);
    let linked = project.root().join("linked");
    project.git(&["worktree", "add", "-q", &linked.to_string_lossy(), "HEAD"]);
    assert!(build(&linked) == expected);
}

#[test]
fn build_seals_the_remote_without_credentials_or_local_paths() {
    let project = Project::new();
    project.git(&["remote", "add", "origin", "https://user:secret@GitHub.com/acme/wine.git"]);
    let code = code_of(&project, &[]);
    assert_eq!(code["uri"], "git+https://github.com/acme/wine");
    project.git(&["remote", "set-url", "origin", "git@github.com:acme/wine.git"]);
    assert_eq!(code_of(&project, &[])["uri"], code["uri"]);
    project.git(&["remote", "set-url", "origin", "/srv/git/wine"]);
    assert_eq!(code_of(&project, &[])["uri"], Value::Null);
    let archive = fs::read(project.at("dist/wine-1.0.0.tar")).expect("reads");
    let seal = String::from_utf8_lossy(&archive).into_owned();
    assert!(!seal.contains("secret") && !seal.contains("/srv/git"));
}

#[test]
fn build_reports_why_a_repository_cannot_be_read() {
    let project = Project::empty();
    project.write("modelseal.toml", crate::support::project::RECIPE);
    project.write("params.toml", "a = 1\n");
    project.write("data/train.csv", "x,class\n1,a\n");
    project.write("model/a", "a");
    project.build_refused(&[], 2).says("is not inside a git work tree").says("none = true");
    project.git(&["init", "-q"]);
    project.build_refused(&[], 2).says("has no commit yet");
    fs::remove_dir_all(project.at(".git")).expect("removes");
    project.git(&["init", "-q", "--object-format=sha256"]);
    project.commit();
    project.build_refused(&[], 2).says("object format that is not supported (SHA-256)");
    fs::remove_dir_all(project.at(".git")).expect("removes");
    project.git(&["init", "-q"]);
    project.commit();
    project.git(&["config", "core.worktree", &project.home().to_string_lossy()]);
    project.build_refused(&[], 2).says("which does not contain");
    project.git(&["config", "--unset", "core.worktree"]);
    project.git(&["config", "core.bare", "true"]);
    project.build_refused(&[], 2).says("is bare");
    project.git(&["config", "core.bare", "false"]);
    let object = project.git(&["rev-parse", "HEAD:modelseal.toml"]);
    let (directory, name) = object.trim().split_at(2);
    fs::remove_file(project.at(&format!(".git/objects/{directory}/{name}"))).expect("removes");
    project.build_refused(&[], 2).says("the clone is incomplete");
}

#[test]
fn build_refuses_a_repository_that_belongs_to_another_user() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give files to another user. git's own check is the same for every user.
        return;
    }
    let project = Project::new();
    let given = Command::new("chown").args(["-R", "65534:65534"]).arg(project.at("")).status();
    assert!(given.expect("chown runs").success());
    project.build_refused(&[], 2).says("belongs to another user").says("safe.directory");
}

#[test]
fn recipe_accepts_code_none_and_rejects_it_together_with_a_path() {
    let project = Project::new();
    project.append_recipe("[code]\nnone = true\n");
    project.modelseal(&["build"]).expect(0).says("missing  the code revision");
    project.edit_recipe("none = true", "none = true\npath = \".\"");
    project.modelseal(&["build"]).expect(2).says("contradict each other");
}

#[test]
fn build_in_a_subdirectory_checks_the_whole_repository() {
    let project = Project::new();
    project.write(
        "sub/modelseal.toml",
        "[model]\nname = \"sub\"\nversion = \"1\"\n[artifact]\npath = \"../model\"\n",
    );
    project.commit();
    let key = project.key();
    project.modelseal(&["build", "sub", "--key", &key]).expect(0);
    assert!(project.at("sub/dist/sub-1.tar").is_file());
    project.write("train.py", "print('edited')\n");
    project.modelseal(&["build", "sub", "--key", &key]).expect(1).says("modified:  `train.py`");
}
