//! Inputs, links and second names through which a project reaches hidden or guarded files.

use std::fs;
use std::os::unix::fs::symlink;

use crate::hostile_projects::{RUN, project};
use crate::support::project::git_in;

/// The signing key, in its own directory of the home.
fn own_key(project: &crate::support::Project) -> String {
    project.modelseal(&["keygen", "-o", "../home/.config/modelseal/local"]).expect(0);
    fs::read_to_string(project.home().join(".config/modelseal/local.key")).expect("reads")
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_an_input_that_is_or_contains_a_key() {
    let script = "mkdir -p model; cat ../home/.config/modelseal/* > model/w; true\n";
    for path in
        ["../home/.config/modelseal/local.key", "../home/.config/modelseal", "../home/.config", "data.csv"]
    {
        for arguments in [&[][..], &["--clean"], &["--adopt"]] {
            let recipe = format!(
                "{RUN}[[data]]\nname = \"d\"\npath = {path:?}\nlabel = \"-----BEGIN PRIVATE KEY-----\"\n"
            );
            let project = project(&recipe, script);
            let key = own_key(&project);
            symlink("../home/.config/modelseal/local.key", project.at("data.csv")).expect("links");
            project.write("model/w", "1");
            project.commit();
            let outcome = project.modelseal(&[&["build"], arguments].concat()).run();
            assert_eq!(outcome.code, Some(1), "{path} {arguments:?}: {}", outcome.all());
            outcome.says("which must not reach commands or archives");
            let line = key.lines().nth(1).expect("a line");
            let made = fs::read_to_string(project.at("model/w")).unwrap_or_default();
            assert!(!outcome.all().contains(line) && !made.contains(line));
            assert!(!project.at("dist/m-1.tar").exists());
        }
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_protects_a_guarded_file_from_writes_through_a_hard_link() {
    let script =
        "mkdir -p model; echo 1 > model/w; echo evil > ignored/h; echo evil > ignored/own || exit 9; true\n";
    let project = project(RUN, script);
    project.write(".husky/pre-commit", "mine\n");
    fs::create_dir(project.at("ignored")).expect("creates");
    fs::hard_link(project.at(".husky/pre-commit"), project.at("ignored/h")).expect("links");
    project.git(&["config", "core.hooksPath", ".husky"]);
    project.commit();
    let outcome = project.modelseal(&["build", "--key", &project.key()]).expect(0);
    let hook = fs::read_to_string(project.at(".husky/pre-commit")).expect("reads");
    assert_eq!(hook, "mine\n", "{}", outcome.all());
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_opens_a_file_hard_linked_elsewhere_only_with_allow_write() {
    let project = project(RUN, "mkdir -p model; echo 1 > model/w; echo new > ignored/x || exit 9\n");
    let store = project.root().join("store");
    fs::write(&store, "old\n").expect("writes");
    fs::create_dir(project.at("ignored")).expect("creates");
    fs::hard_link(&store, project.at("ignored/x")).expect("links");
    let build = |more: &[&str]| {
        let key = project.key();
        project.modelseal(&[&["build", "--key", &key], more].concat()).run()
    };
    let refused = build(&[]);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    refused.says("have a hard link elsewhere").says("--allow-write DIR");
    let opened = build(&["--allow-write", "ignored"]);
    assert_eq!(opened.code, Some(0), "{}", opened.all());
}

/// The commands that describe the environment run before the old artifact is moved aside.
#[test]
#[ignore = "needs bubblewrap"]
fn environment_command_cannot_write_through_a_hard_link_in_the_old_artifact() {
    let recipe = "[artifact]\npath = \"model\"\n[environment]\ncommands = [[\"sh\", \"-c\", \"echo evil > model/w; true\"]]\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";
    let project = project(recipe, "mkdir -p model; echo new > model/w\n");
    let store = project.root().join("store");
    fs::write(&store, "mine\n").expect("writes");
    fs::create_dir(project.at("model")).expect("creates");
    fs::hard_link(&store, project.at("model/w")).expect("links");
    project.modelseal(&["build", "--key", &project.key()]).expect(0);
    assert_eq!(fs::read_to_string(&store).expect("reads"), "mine\n");
    assert_eq!(fs::read_to_string(project.at("model/w")).expect("reads"), "new\n");
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_finds_a_repository_behind_a_link_at_the_artifact_path() {
    let plant = "mkdir -p ignored/sub/.git/objects ignored/sub/.git/refs; echo ref: refs/heads/x > ignored/sub/.git/HEAD; rm -rf model; ln -s $PWD/ignored model";
    let recipe = format!(
        "[artifact]\npath = \"model\"\n[environment]\ncommands = [[\"sh\", \"-c\", \"{plant}\"]]\n[run]\ncommand = [\"sh\", \"run.sh\"]\n"
    );
    let project = project(&recipe, "mkdir -p model; echo new > model/w\n");
    let outcome = project.modelseal(&["build", "--key", &project.key()]).run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    assert!(!project.at("ignored/sub/.git").exists(), "{}", outcome.all());
}

#[test]
#[ignore = "needs bubblewrap and openssl"]
fn signer_command_runs_no_module_of_the_work_tree_without_a_run_command() {
    let project = project("[artifact]\npath = \"model\"\n", "");
    project.write("model/w", "1");
    let ran = project.root().join("ran");
    project.write("base64.py", format!("open({:?}, 'w')\n", ran.display().to_string()));
    project.commit();
    let (key, public) = (project.key(), project.public_key());
    let line = format!(
        "python3 -c 'import base64, subprocess, sys; subprocess.run([\"openssl\", \"dgst\", \"-sha256\", \"-sign\", \"{key}\"])'"
    );
    let archive = project.out("m.tar").to_string_lossy().into_owned();
    project.modelseal(&["build", "--key", &public, "--signer", &line, "-o", &archive]).expect(0);
    project.modelseal(&["countersign", &archive, "--key", &public, "--signer", &line]).expect(0);
    assert!(!ran.exists());
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_keeps_an_uninitialized_submodule_empty_and_git_working() {
    let script = "mkdir -p model; git status --short > model/status && git describe --always --dirty > model/w || exit 9; mkdir -p sub/.git; echo x > sub/x; true\n";
    let project = project(RUN, script);
    let other = project.root().join("other");
    fs::create_dir(&other).expect("creates");
    git_in(&other, &project.home(), &["init", "-q", "-b", "main"]);
    git_in(&other, &project.home(), &["commit", "-q", "--allow-empty", "-m", "x"]);
    let commit = git_in(&other, &project.home(), &["rev-parse", "HEAD"]);
    project.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{},sub", commit.trim())]);
    project.git(&["commit", "-q", "-m", "sub"]);
    fs::create_dir_all(project.at("sub")).expect("creates");
    project.modelseal(&["build", "--key", &project.key()]).expect(0);
    assert_eq!(fs::read_dir(project.at("sub")).expect("reads").count(), 0);
}

/// The sealed data is the data that the command read.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_data_path_that_the_command_does_not_read() {
    let recipe = format!("{RUN}[[data]]\nname = \"d\"\npath = \"data.csv\"\n");
    let project = project(&recipe, "mkdir -p model; cp data.csv model/w\n");
    project.write("data.csv", "a\n1\n");
    project.write(".gitignore", "model\ndist\ndata.csv\n");
    project.commit();
    let other = project.root().join("other.csv");
    fs::write(&other, "a\n2\n").expect("writes");
    let key = project.key();
    let data = format!("d={}", other.display());
    let outcome = project.modelseal(&["build", "--key", &key, "--data", &data]).expect(1);
    outcome.says("the command reads data `d` at `data.csv`, not at").says("--clean");
    project.modelseal(&["build", "--key", &key, "--data", &data, "--clean"]).expect(0);
    project.modelseal(&["build", "--key", &key, "--data", "d=data.csv", "--force"]).expect(0);
}

/// As in a container or a service.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_isolates_a_build_that_starts_in_the_root_directory() {
    // Without a sandbox, the first line succeeds.
    let script = "if echo x > 'ESCAPED'; then exit 9; fi\nmkdir -p model; echo 1 > model/w\n";
    let project = project(RUN, "");
    let escaped = project.root().join("escaped");
    project.write("run.sh", script.replace("ESCAPED", &escaped.to_string_lossy()));
    project.commit();
    let (place, key) = (project.at("").to_string_lossy().into_owned(), project.key());
    for arguments in [&[][..], &["--clean", "--force"]] {
        let run = project.modelseal(&[&["build", &place, "--key", &key], arguments].concat());
        run.current_dir(std::path::Path::new("/")).expect(0);
        assert!(!escaped.exists());
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_does_not_hang_on_an_endless_pyvenv_cfg() {
    let project = project(RUN, "mkdir -p model; echo 1 > model/w\n");
    symlink("/dev/zero", project.at("pyvenv.cfg")).expect("links");
    fs::create_dir(project.at("bin")).expect("creates");
    project.write("bin/x", "x");
    project.write(".gitignore", "model\ndist\nbin\n");
    project.commit();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", project.at("bin").display());
    let command = project.modelseal(&["build", "--key", &project.key()]).env("PATH", path).into_command();
    let mut limited = std::process::Command::new("timeout");
    limited.arg("60").arg(command.get_program()).args(command.get_args()).current_dir(project.at(""));
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_eq!(limited.status().expect("runs").code(), Some(0));
}
