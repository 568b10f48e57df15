//! Keys and passwords that git has, in any repository that commands see: they sign nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use modelseal_format::digest::Digest;

use crate::hostile_names::key_in;
use crate::hostile_projects::{RUN, build, project};
use crate::support::project::{Project, git_in};

const MAKE: &str = "mkdir -p model; echo a > model/w\n";

/// Stages, commits, or commits and removes again.
fn give_to_git(project: &Project, path: &str, how: &str) {
    project.git(&["add", "-f", path]);
    if how != "staged" {
        project.git(&["commit", "-qm", "oops"]);
    }
    if how == "removed" {
        project.git(&["rm", "-q", "--cached", path]);
        project.git(&["commit", "-qm", "gone"]);
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_key_that_git_stores() {
    for how in ["staged", "committed", "removed"] {
        let project = project(RUN, "mkdir model; git show HEAD:ignored/ci.key > model/w; true\n");
        let key = key_in(&project);
        give_to_git(&project, "ignored/ci.key", how);
        let text = fs::read_to_string(&key).expect("reads");
        for (name, variable) in
            [("ignored/ci.key", ""), (&*project.key(), ""), ("env://SEAL", text.trim_end())]
        {
            for more in [&[][..], &["--clean"]] {
                let arguments = [&["build", "--key", name], more].concat();
                let outcome = project.modelseal(&arguments).env("SEAL", variable).run();
                assert_eq!(outcome.code, Some(2), "{how}, {name}: {}", outcome.all());
                outcome.says("git stores the content of").says("hint: do not use it again");
            }
        }
        assert!(!project.at("model").exists());
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_key_that_a_submodule_stores() {
    let project = project(RUN, "mkdir model; echo a > model/w\n");
    let inner = project.at("sub");
    fs::create_dir(&inner).expect("creates");
    fs::copy(project.key(), inner.join("key")).expect("copies");
    for arguments in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "x"], &["rm", "-q", "key"]] {
        git_in(&inner, &project.home(), arguments);
    }
    git_in(&inner, &project.home(), &["commit", "-qm", "y"]);
    project.commit();
    let outcome = build(&project, &[]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("git stores the content of");
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_password_file_that_git_stores() {
    let project = project(RUN, "mkdir model; cat ignored/password > model/w\n");
    fs::create_dir(project.at("ignored")).expect("creates");
    project.write("ignored/password", "open sesame\n");
    give_to_git(&project, "ignored/password", "committed");
    let arguments = ["build", "--key", &project.key(), "--password-file", "ignored/password"];
    let outcome = project.modelseal(&arguments).run();
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("git stores the content of `ignored/password`");
}

/// Commits what a directory has, then everything except for this file.
fn commit_and_remove(directory: &Path, home: &Path, file: &str) {
    git_in(directory, home, &["init", "-q"]);
    git_in(directory, home, &["add", "-A"]);
    git_in(directory, home, &["commit", "-qm", "oops"]);
    git_in(directory, home, &["rm", "-q", "--cached", file]);
    fs::write(directory.join(".gitignore"), file).expect("writes");
    git_in(directory, home, &["add", ".gitignore"]);
    git_in(directory, home, &["commit", "-qm", "gone"]);
}

/// Copies the key into a directory, which is created.
fn key_copied_to(project: &Project, directory: &Path) -> PathBuf {
    fs::create_dir_all(directory).expect("creates");
    let key = directory.join("k.key");
    fs::copy(project.key(), &key).expect("copies");
    key
}

#[track_caller]
fn refused(project: &Project, arguments: &[&str], name: &str) {
    let outcome = project.modelseal(&[&["build"], arguments].concat()).run();
    assert_eq!(outcome.code, Some(2), "{name}: {}", outcome.all());
    outcome.says("git stores the content of").says("hint: do not use it again");
    assert!(!project.at("model").exists(), "{name}");
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_key_stored_in_an_inner_or_outer_or_its_own_repository() {
    let inside = project(RUN, MAKE);
    let key = key_copied_to(&inside, &inside.at("ignored"));
    commit_and_remove(&inside.at("ignored"), &inside.home(), "k.key");
    refused(&inside, &["--key", &key.to_string_lossy()], "inside");

    let around = project(RUN, MAKE);
    let key = key_copied_to(&around, around.root());
    commit_and_remove(around.root(), &around.home(), "k.key");
    refused(&around, &["--key", &key.to_string_lossy()], "around");

    let own = project(RUN, MAKE);
    let key = key_copied_to(&own, &own.root().join("keys"));
    commit_and_remove(&own.root().join("keys"), &own.home(), "k.key");
    refused(&own, &["--key", &key.to_string_lossy()], "its own");
    // The same key from elsewhere is not in a repository that the commands see.
    fs::remove_dir_all(own.root().join("keys/.git")).expect("removes");
    own.modelseal(&["build", "--key", &key.to_string_lossy()]).expect(0);
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_key_that_git_stores_in_a_linked_work_tree() {
    let project = project(RUN, MAKE);
    let key = key_in(&project);
    give_to_git(&project, "ignored/ci.key", "removed");
    let linked = project.root().join("linked");
    project.git(&["worktree", "add", "-q", &linked.to_string_lossy()]);
    let arguments = ["build", "--key", &key.to_string_lossy()];
    let outcome = project.modelseal(&arguments).current_dir(&linked).run();
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("git stores the content of");
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_key_in_the_git_lfs_store() {
    let project = project(RUN, MAKE);
    let key = key_in(&project);
    let digest = Digest::sha256(&fs::read(&key).expect("reads")).to_string();
    let store = project.at(".git/lfs/objects").join(&digest[..2]).join(&digest[2..4]);
    fs::create_dir_all(&store).expect("creates");
    fs::copy(&key, store.join(&digest)).expect("copies");
    refused(&project, &["--key", "ignored/ci.key"], "lfs");
    fs::rename(project.at(".git/lfs"), project.at(".git/large")).expect("renames");
    project.git(&["config", "lfs.storage", "large"]);
    refused(&project, &["--key", "ignored/ci.key"], "lfs.storage");
}

/// What the questions of a probe say reaches its command, and an error in a recipe shows a line of it.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_password_file_as_probe_input_or_recipe() {
    let probe = "[[probe]]\nname = \"p\"\ncommand = [\"cat\"]\ninputs = \"ignored/password\"\n";
    let project = project(&format!("{RUN}{probe}"), MAKE);
    fs::create_dir(project.at("ignored")).expect("creates");
    project.write("ignored/password", "{\"id\":\"q\",\"input\":\"p4ss\"}\n");
    let arguments = ["build", "--key", &project.key(), "--password-file", "ignored/password"];
    let outcome = project.modelseal(&arguments).expect(1);
    outcome.says("the input `ignored/password` overlaps");
    fs::remove_file(project.at("modelseal.toml")).expect("removes");
    symlink("ignored/password", project.at("modelseal.toml")).expect("links");
    let outcome = project.modelseal(&arguments).expect(2);
    outcome.says("`modelseal.toml` is the secret file `ignored/password`, not a recipe");
    assert!(!outcome.all().contains("p4ss"), "{}", outcome.all());
}

/// Git can convert the ends of lines of what it has.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_key_that_git_stores_with_other_line_ends() {
    let project = project(RUN, MAKE);
    let key = key_in(&project);
    give_to_git(&project, "ignored/ci.key", "committed");
    let text = fs::read_to_string(&key).expect("reads");
    fs::write(&key, text.replace('\n', "\r\n")).expect("writes");
    project.git(&["update-index", "--assume-unchanged", "ignored/ci.key"]);
    refused(&project, &["--key", "ignored/ci.key"], "other ends of lines");
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_password_variable_that_git_stores() {
    let project = project(RUN, MAKE);
    project.write("password", "open sesame\n");
    project.commit();
    let run = project.modelseal(&["build", "--key", &project.key()]).env("MODELSEAL_PASSWORD", "open sesame");
    let outcome = run.run();
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("git stores the content of `MODELSEAL_PASSWORD`");
}
