//! `verify --online`: checks the commit at its remote. The transport is a substitute for `ssh` that starts git's server
//! on this machine. Everything else is real.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::running::{MAKE, project};
use crate::support::project::{Project, git_in};
use crate::support::run::Outcome;

struct Remote {
    project: Project,
    /// The bare repository.
    origin: PathBuf,
}

impl Remote {
    fn new() -> Self {
        let project = project(MAKE);
        let origin = project.root().join("origin.git");
        git_in(project.root(), &project.home(), &["init", "--quiet", "--bare", "origin.git"]);
        let remote = Self { project, origin };
        remote.answer("for last; do :; done; exec sh -c \"$last\"");
        let address = format!("ssh://git@forge.example.com:2222{}", remote.origin.display());
        remote.project.git(&["remote", "add", "origin", &address]);
        remote
    }

    /// Sets what the substitute for `ssh` does. Every call is recorded.
    fn answer(&self, script: &str) {
        let programs = self.project.root().join("programs");
        fs::create_dir_all(&programs).expect("creates");
        let note = self.note();
        fs::write(
            programs.join("ssh"),
            format!("#!/bin/sh\necho \"$@\" >> '{}'\n{script}\n", note.display()),
        )
        .expect("writes");
        fs::set_permissions(programs.join("ssh"), PermissionsExt::from_mode(0o755)).expect("sets");
    }

    fn note(&self) -> PathBuf {
        self.project.root().join("calls")
    }

    fn push(&self) {
        let origin = self.origin.to_string_lossy().into_owned();
        self.project.git(&["push", "--quiet", &origin, "HEAD:refs/heads/main"]);
    }

    fn verify(&self, archive: &std::path::Path, arguments: &[&str], code: i32) -> Outcome {
        let path = std::env::var("PATH").expect("a PATH");
        let path = format!("{}:{path}", self.project.root().join("programs").display());
        let (public, archive) = (self.project.public_key(), archive.to_string_lossy().into_owned());
        let all = [&["verify", &archive, "--key", &public], arguments].concat();
        self.project.modelseal(&all).env("PATH", &path).expect(code)
    }
}

#[test]
fn verify_online_accepts_a_commit_that_was_pushed() {
    let remote = Remote::new();
    remote.project.write("data.csv", "a,b\n1,2\n");
    remote.project.append_recipe("[[data]]\nname = \"d\"\npath = \"data.csv\"\n");
    remote.project.commit();
    remote.push();
    let archive = remote.project.build();
    remote
        .verify(&archive, &["--online"], 0)
        .says("lineage.reachable")
        .says("is at ssh://forge.example.com:2222");
    assert!(remote.note().is_file());
    fs::remove_file(remote.note()).expect("removes");
    remote.verify(&archive, &[], 0).says("the commit at its remote (no --online)");
    let (_, other) = remote.project.other_key("other");
    let target = archive.to_string_lossy().into_owned();
    remote.project.modelseal(&["verify", &target, "--key", &other, "--online"]).expect(1);
    assert!(!remote.note().exists(), "the remote was asked");
}

#[test]
fn verify_online_names_data_that_git_does_not_contain() {
    let remote = Remote::new();
    remote.project.write(".gitignore", "/data.csv\n/dist\n");
    remote.project.write("data.csv", "a,b\n1,2\n");
    remote.project.append_recipe("[[data]]\nname = \"d\"\npath = \"data.csv\"\n");
    remote.project.commit();
    remote.push();
    let archive = remote.project.build();
    remote.verify(&archive, &["--online"], 0).says("git does not contain `data/d`");
}

#[test]
fn verify_online_fails_a_commit_that_is_on_no_branch_of_the_remote() {
    let remote = Remote::new();
    remote.push();
    remote.project.write("more.txt", "more");
    remote.project.commit();
    let archive = remote.project.build();
    let outcome = remote.verify(&archive, &["--online"], 1);
    outcome.says("does not contain the commit").says("others cannot rebuild this model").claims_no_success();

    // The commit is still on the server, under its hash, but on no branch.
    remote.push();
    git_in(&remote.origin, &remote.project.home(), &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    git_in(&remote.origin, &remote.project.home(), &["update-ref", "refs/heads/main", "main~1"]);
    let outcome = remote.verify(&archive, &["--online"], 1);
    outcome.says("is not on any branch or tag of").says("hint: push it to a permanent branch");
}

#[test]
fn verify_online_fails_code_that_differs_from_its_commit() {
    let remote = Remote::new();
    remote.push();
    remote.project.write("make.sh", format!("{MAKE}# edited\n"));
    let archive = remote.project.build_with(&["--allow-dirty"]);
    remote
        .verify(&archive, &["--online"], 1)
        .says("`code` in the commit")
        .says("differs from the sealed version");
}

#[test]
fn verify_online_fails_without_a_remote_and_is_inconclusive_without_an_answer() {
    let remote = Remote::new();
    remote.push();
    let archive = remote.project.build();
    remote.answer("echo 'ssh: Could not resolve hostname' >&2; exit 255");
    let outcome = remote.verify(&archive, &["--online"], 3);
    outcome.says("cannot clone the repository").claims_no_success();
    remote.project.git(&["remote", "remove", "origin"]);
    let archive = remote.project.build_with(&["--force"]);
    remote.verify(&archive, &["--online"], 1).says("no remote was sealed: others cannot rebuild this model");
}

/// A commit that only a detached `HEAD` of the server leads to is on no branch. A submodule on this machine is not
/// available to anyone else.
#[test]
fn verify_online_does_not_count_a_detached_head_or_a_local_submodule() {
    let remote = Remote::new();
    remote.push();
    let bare = |arguments: &[&str]| git_in(&remote.origin, &remote.project.home(), arguments);
    remote.project.write("more.txt", "more");
    remote.project.commit();
    let archive = remote.project.build();
    remote.push();
    bare(&["update-ref", "--no-deref", "HEAD", "refs/heads/main"]);
    bare(&["update-ref", "refs/heads/main", "main~1"]);
    remote.verify(&archive, &["--online"], 1).says("others cannot rebuild this model");

    let library = remote.project.root().join("library");
    git_in(remote.project.root(), &remote.project.home(), &["init", "--quiet", "library"]);
    fs::write(library.join("a.py"), "a").expect("writes");
    git_in(&library, &remote.project.home(), &["add", "-A"]);
    git_in(
        &library,
        &remote.project.home(),
        &["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x"],
    );
    let library = library.to_string_lossy().into_owned();
    remote.project.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &library, "lib"]);
    remote.project.commit();
    remote.push();
    let archive = remote.project.build_with(&["--force"]);
    remote.verify(&archive, &["--online"], 3).says("transport 'file' not allowed").claims_no_success();
}
