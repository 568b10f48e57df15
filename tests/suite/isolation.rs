//! What a command can reach.

use std::fs;

use crate::running::{self, MAKE};
use crate::support::peers;
use crate::support::project::Project;

/// Projects whose commands run in a sandbox.
fn project(script: &str) -> Project {
    project_with(script, "")
}

fn project_with(script: &str, run: &str) -> Project {
    peers::program("bwrap", "bubblewrap");
    running::project_with(script, run)
}

#[test]
fn a_command_that_looks_for_keys_and_the_callers_environment_finds_none() {
    let script = "{ env; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; cat \"$HOME\"/.config/modelseal/* ../ci.key ../password; } > found 2>/dev/null\n";
    let project = project(&format!("{script}{MAKE}cp found model/found; rm found\n"));
    let (key, _) = (project.key(), project.modelseal(&["keygen", "-o", "x"]).expect(0));
    fs::remove_file(project.at("x.key")).expect("removes");
    fs::remove_file(project.at("x.pub")).expect("removes");
    let local = project.home().join(".config/modelseal");
    fs::create_dir_all(&local).expect("creates");
    fs::copy(&key, local.join("local.key")).expect("copies");
    let password = project.root().join("password");
    fs::write(&password, "open sesame\n").expect("writes");
    project
        .modelseal(&["build", "--key", &key, "--password-file", &password.to_string_lossy()])
        .env("MODELSEAL_PASSWORD", "open sesame")
        .env("CI_SECRET", "open sesame")
        .expect(0);
    let found = fs::read_to_string(project.at("model/found")).expect("reads");
    for secret in ["PRIVATE KEY", "open sesame", "CI_SECRET"] {
        assert!(!found.contains(secret), "{secret} is in what was found");
    }
}

#[test]
fn without_the_network_there_is_none_and_only_the_project_can_be_written_to() {
    let script = format!(
        "{MAKE}cat /proc/net/dev | grep -v lo: | tail -n +3 > model/network\necho x > \"$HOME/escaped\" && exit 9\necho x > ../escaped && exit 9\necho x > \"$TMPDIR/fine\" || exit 8\ntrue\n"
    );
    for arguments in [&[][..], &["--clean"]] {
        let project = project_with(&script, "network = false\n");
        let key = project.key();
        if arguments.is_empty() {
            project.modelseal(&["build", "--key", &key]).expect(0);
            assert_eq!(fs::read_to_string(project.at("model/network")).expect("reads"), "");
            assert!(!project.home().join("escaped").exists());
        } else {
            // In a clone the home directory is its own, and goes with it.
            project.edit_recipe("make.sh", "clean.sh");
            project.write("clean.sh", script.replace("&& exit 9", "|| true"));
            project.commit();
            project.modelseal(&["build", "--clean", "--key", &key]).expect(0);
        }
        assert!(!project.root().join("escaped").exists());
    }
}

#[test]
fn isolation_that_cannot_be_had_is_an_error_unless_the_caller_gives_it_up() {
    let project = project_with(MAKE, "network = false\n");
    let (key, programs) = (project.key(), project.root().join("bin"));
    fs::create_dir(&programs).expect("creates");
    for program in ["sh", "mkdir", "cat", "git"] {
        let found = std::process::Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .output()
            .expect("runs");
        let path = String::from_utf8_lossy(&found.stdout).trim().to_string();
        std::os::unix::fs::symlink(path, programs.join(program)).expect("links");
    }
    let path = programs.to_string_lossy().into_owned();
    let outcome = project.modelseal(&["build", "--key", &key]).env("PATH", &path).expect(2);
    outcome
        .says("demands isolation from the network")
        .says("is not installed")
        .says("hint: install bubblewrap");
    project.modelseal(&["build", "--key", &key, "--insecure-no-isolation"]).env("PATH", &path).expect(0);
}

/// Nothing is removed or written through a link that a commit holds.
#[test]
fn a_link_out_of_the_clone_leads_nowhere() {
    let project = project("mkdir -p store/model; echo w > store/model/w\n");
    let outside = project.root().join("precious/model");
    fs::create_dir_all(&outside).expect("creates");
    fs::write(outside.join("w"), "precious").expect("writes");
    std::os::unix::fs::symlink(project.root().join("precious"), project.at("store")).expect("links");
    project.edit_recipe("path = \"model\"", "path = \"store/model\"\nsymlinks = \"follow\"");
    project.commit();
    let key = project.key();
    let outcome = project.modelseal(&["build", "--clean", "--key", &key]).run();
    assert!(!matches!(outcome.code, Some(0)), "{}", outcome.all());
    outcome.says("leads out of the clone by a link");
    assert_eq!(fs::read_to_string(outside.join("w")).expect("reads"), "precious");
}

/// The recipe's variables reach the command, and nothing that isolates it.
#[test]
fn a_recipe_cannot_choose_what_isolates_its_command() {
    let script = format!("{MAKE}cat ../ci.key > model/key 2>/dev/null; ls /proc > model/processes; true\n");
    for environment in [
        "PATH = \"bin:/usr/local/bin:/usr/bin:/bin\"",
        "PATH = \"/nowhere:/usr/bin:/bin\"",
        "LD_PRELOAD = \"./evil.so\"",
    ] {
        let project = project_with(&script, &format!("env = {{ {environment} }}\n"));
        let program = "#!/bin/sh\necho ran > \"$(dirname \"$0\")/../../started.log\"\nshift\nexit 1\n";
        project.write("bin/bwrap", program);
        fs::set_permissions(project.at("bin/bwrap"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("sets");
        project.write("evil.so", "not a library");
        project.commit();
        let key = project.key();
        project.modelseal(&["build", "--key", &key]).expect(0);
        assert!(!project.root().join("started.log").exists(), "{environment}");
        assert_eq!(fs::read_to_string(project.at("model/key")).expect("reads"), "", "{environment}");
        let processes = fs::read_to_string(project.at("model/processes")).expect("reads");
        let count = processes.lines().filter(|line| line.bytes().all(|byte| byte.is_ascii_digit())).count();
        assert!(count < 6, "{environment}: {count} processes are seen");
    }
}

#[test]
fn a_link_does_not_ship_what_the_command_could_not_see() {
    let project = project("mkdir -p model; ln -s \"$KEY\" model/w\n");
    let key = project.key();
    project.edit_recipe("path = \"model\"", "path = \"model\"\nsymlinks = \"follow\"");
    project.append_recipe("");
    let recipe = fs::read_to_string(project.at("modelseal.toml")).expect("reads");
    project.write(
        "modelseal.toml",
        format!("{}env = {{ KEY = \"{key}\" }}\n", recipe.trim_end().to_string() + "\n"),
    );
    project.commit();
    for arguments in [&[][..], &["--clean"]] {
        let outcome = project.modelseal(&[&["build", "--key", &key], arguments].concat()).expect(1);
        outcome.says("is a link out of the work tree").claims_no_success();
    }
    assert!(project.at("model/config.json").is_file(), "the old artifact is back");
}

#[test]
fn links_in_the_place_of_an_artifact_or_a_log_are_not_written_through() {
    let victim = "precious";
    for (script, path) in [
        ("rm -rf a; ln -s ../victim a; exit 1\n", "a/model"),
        ("rm -rf a; ln -s ../victim a\n", "a/model"),
        (
            "mkdir -p dist; ln -s ../../victim/model/w dist/wine-1.0.0.tar.log; echo pwned; exit 1\n",
            "a/model",
        ),
    ] {
        let project = project(script);
        project.edit_recipe("path = \"model\"", &format!("path = \"{path}\""));
        project.write("a/model/w", "old");
        project.commit();
        let directory = project.root().join("victim/model");
        fs::create_dir_all(&directory).expect("creates");
        fs::write(directory.join("w"), victim).expect("writes");
        let outcome = project.modelseal(&["build", "--key", &project.key()]).run();
        assert!(outcome.code != Some(0), "{}", outcome.all());
        assert_eq!(fs::read_to_string(directory.join("w")).expect("is there"), victim, "{script}");
    }
}

#[test]
fn the_old_artifact_survives_a_command_that_cleans_the_work_tree() {
    let project = project("git clean -fdxq; exit 1\n");
    project.write(".gitignore", "*.log\nmodel\n.model*\ndist\n");
    project.git(&["rm", "-rq", "--cached", "model"]);
    project.commit();
    project.modelseal(&["build", "--key", &project.key()]).expect(1);
    assert_eq!(fs::read_to_string(project.at("model/weights.safetensors")).expect("is back"), "old");
}

/// What is compared with cannot be copied.
#[test]
fn a_rebuild_cannot_see_the_release() {
    let script = "mkdir -p model; f=$(find \"$PWD/../../..\" -path '*sealed/w' 2>/dev/null | head -1); if [ -s \"$f\" ]; then cp \"$f\" model/w; else head -c 64 /dev/urandom > model/w; fi\n";
    let project = project(script);
    let archive = project.build();
    let (key, archive) = (project.public_key(), archive.to_string_lossy().into_owned());
    project.modelseal(&["reproduce", &archive, "--key", &key]).expect(1).says("the bytes differ");
}
