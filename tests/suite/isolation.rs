//! What a command can reach.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::running::{self, MAKE};
use crate::support::peers;
use crate::support::project::{Project, git_in};

/// Projects whose commands run in a sandbox.
fn project(script: &str) -> Project {
    project_with(script, "")
}

fn project_with(script: &str, run: &str) -> Project {
    peers::program("bwrap");
    running::project_with(script, run)
}

/// A PATH with the programs that these builds need, but without a sandbox.
pub fn programs_without_bubblewrap(project: &Project) -> String {
    let programs = project.root().join("bin");
    fs::create_dir(&programs).expect("creates");
    for program in ["sh", "mkdir", "cat", "git"] {
        let found = std::process::Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .output()
            .expect("runs");
        let path = String::from_utf8_lossy(&found.stdout).trim().to_string();
        std::os::unix::fs::symlink(path, programs.join(program)).expect("links");
    }
    programs.to_string_lossy().into_owned()
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_hides_keys_passwords_and_the_environment_of_the_caller() {
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
#[ignore = "needs bubblewrap"]
fn sandbox_without_network_has_no_interface_and_blocks_outside_writes() {
    let script = format!(
        "{MAKE}cat /proc/net/dev | grep -v lo: | tail -n +3 > model/network\necho x > ../escaped && exit 9\necho x > \"$TMPDIR/fine\" && echo x > \"$HOME/fine\" || exit 8\ntrue\n"
    );
    for arguments in [&[][..], &["--clean"]] {
        let project = project_with(&script, "network = false\n");
        let key = project.key();
        if arguments.is_empty() {
            project.modelseal(&["build", "--key", &key]).expect(0);
            assert_eq!(fs::read_to_string(project.at("model/network")).expect("reads"), "");
            assert!(!project.home().join("fine").exists());
        } else {
            // The directory around a clone belongs to the clone.
            project.edit_recipe("make.sh", "clean.sh");
            project.write("clean.sh", script.replace("&& exit 9", "|| true"));
            project.commit();
            project.modelseal(&["build", "--clean", "--key", &key]).expect(0);
        }
        assert!(!project.root().join("escaped").exists());
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_requires_bubblewrap_without_network_unless_isolation_is_disabled() {
    let project = project_with(MAKE, "network = false\n");
    let key = project.key();
    let path = programs_without_bubblewrap(&project);
    let outcome = project.modelseal(&["build", "--key", &key]).env("PATH", &path).expect(2);
    outcome
        .says("must be isolated from the network")
        .says("is not installed")
        .says("hint: install bubblewrap");
    project.modelseal(&["build", "--key", &key, "--insecure-no-isolation"]).env("PATH", &path).expect(0);
}

/// Nothing is removed or written through a link that a commit contains.
#[test]
#[ignore = "needs bubblewrap"]
fn clean_build_refuses_an_artifact_path_that_a_link_leads_out_of_the_clone() {
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
    outcome.says("leads out of the clone through a link");
    assert_eq!(fs::read_to_string(outside.join("w")).expect("reads"), "precious");
}

/// The recipe's variables reach the command, but not the program that isolates it.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_program_ignores_path_and_preload_variables_of_the_recipe() {
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
#[ignore = "needs bubblewrap"]
fn build_refuses_a_link_to_the_key_that_the_command_made() {
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
#[ignore = "needs bubblewrap"]
fn build_does_not_write_through_links_in_place_of_the_artifact_or_log() {
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
#[ignore = "needs bubblewrap"]
fn build_restores_the_old_artifact_after_the_command_cleans_the_work_tree() {
    let project = project("git clean -fdxq; exit 1\n");
    project.write(".gitignore", "*.log\nmodel\n.model*\ndist\n");
    project.git(&["rm", "-rq", "--cached", "model"]);
    project.commit();
    project.modelseal(&["build", "--key", &project.key()]).expect(1);
    assert_eq!(fs::read_to_string(project.at("model/weights.safetensors")).expect("is back"), "old");
}

/// The release that a rebuild is compared with cannot be copied.
#[test]
#[ignore = "needs bubblewrap"]
fn reproduce_hides_the_release_from_the_rebuild_command() {
    let script = "mkdir -p model; f=$(find \"$PWD/../../..\" -path '*sealed/w' 2>/dev/null | head -1); if [ -s \"$f\" ]; then cp \"$f\" model/w; else head -c 64 /dev/urandom > model/w; fi\n";
    let project = project(script);
    let archive = project.build();
    let (key, archive) = (project.public_key(), archive.to_string_lossy().into_owned());
    project.modelseal(&["reproduce", &archive, "--key", &key]).expect(1).says("the bytes differ");
}

/// The clone that `--source` names often contains the model that was built there.
#[test]
#[ignore = "needs bubblewrap"]
fn reproduce_hides_the_model_in_the_source_clone_from_the_command() {
    let source = tempfile::Builder::new().prefix("source").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let source = source.expect("makes");
    let place = source.path().join("p");
    let model = place.join("model/w");
    let script =
        format!("mkdir -p model; cp '{}' model/w || head -c 64 /dev/urandom > model/w\n", model.display());
    let project = project(&script);
    git_in(&project.at(""), &project.home(), &["clone", "-q", ".", &place.to_string_lossy()]);
    let (key, public) = project.other_key("mine");
    let here = |arguments: &[&str]| project.modelseal(arguments).current_dir(&place);
    here(&["build", "--key", &key]).expect(0);
    assert!(model.is_file());
    let archive = place.join("dist/wine-1.0.0.tar").to_string_lossy().into_owned();
    let reproduce = ["reproduce", &archive, "--key", &public, "--source", "."];
    here(&reproduce).expect(1).says("the bytes differ").says("cannot stat");
}

/// This also applies with the network. The home is new and is removed afterwards.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_blocks_writes_outside_the_project_unless_allow_write_lists_them() {
    let script = format!("{MAKE}echo x > \"$HOME/cache\"\necho x > ../escaped\n");
    let project = project(&format!("set -e\n{script}"));
    let (key, beside) = (project.key(), project.root().to_string_lossy().into_owned());
    let outcome = project.modelseal(&["build", "--key", &key]).expect(1);
    outcome.says("../escaped: Read-only file system").says("`--allow-write DIR` adds a directory");
    assert!(!project.root().join("escaped").exists());
    assert!(!project.home().join("cache").exists());
    project.modelseal(&["build", "--key", &key, "--allow-write", &beside]).expect(0);
    assert!(project.root().join("escaped").is_file());
    let nowhere = project.modelseal(&["build", "--key", &key, "--allow-write", "nowhere"]).expect(2);
    nowhere.says("`--allow-write`: cannot use `nowhere`").says("No such file");
}

/// In a clone, `..` is another directory, but the allowed directory is the same.
#[test]
#[ignore = "needs bubblewrap"]
fn allow_write_applies_to_clean_builds_and_to_reproduce() {
    let project = project(MAKE);
    let beside = project.root().join("beside");
    fs::create_dir(&beside).expect("creates");
    let script = format!("set -e\n{MAKE}echo x > '{}/note'\n", beside.display());
    project.write("make.sh", script);
    project.commit();
    let (key, public, archive) = (project.key(), project.public_key(), project.out("a.tar"));
    let (beside, archive) = (beside.to_string_lossy(), archive.to_string_lossy());
    let refused = project.modelseal(&["build", "--clean", "--key", &key, "-o", &archive]).expect(1);
    // A path in a temporary directory of the machine is not even visible.
    refused.says("cannot create").says("beside/note");
    let build = ["build", "--clean", "--key", &key, "-o", &archive, "--allow-write", &beside];
    project.modelseal(&build).expect(0);
    let reproduce = ["reproduce", &archive, "--key", &public];
    project.modelseal(&reproduce).expect(3).says("the command `sh make.sh` failed");
    project.modelseal(&[&reproduce[..], &["--allow-write", &beside]].concat()).expect(0);
}

/// If there is no sandbox and none is required, the output says so.
#[test]
#[ignore = "needs bubblewrap"]
fn build_warns_if_the_command_runs_without_isolation() {
    let project = project(MAKE);
    let key = project.key();
    let path = programs_without_bubblewrap(&project);
    let outcome = project.modelseal(&["build", "--key", &key]).env("PATH", &path).expect(0);
    outcome.says("warning: the command runs without isolation (bubblewrap (`bwrap`) is not installed)");
}

/// A refused command may change the parent directories. The old artifact is still restored, or its location is named.
#[test]
#[ignore = "needs bubblewrap"]
fn build_restores_the_old_artifact_or_names_its_place_after_a_failure() {
    for (script, is_back) in [
        ("rm -rf out; exit 1\n", true),
        ("rm -rf out; true\n", true),
        ("rm -rf out; mkdir -p out/model; echo new > out/model/w; exit 1\n", true),
        ("rm -rf out; echo x > out; exit 1\n", false),
        ("rm -rf out; ln -s /tmp out; exit 1\n", false),
        ("echo tampered > .git/modelseal-aside*/config.json; exit 1\n", true),
        ("rm -rf .git/modelseal-aside*; exit 1\n", true),
    ] {
        let project = project(script);
        project.edit_recipe("path = \"model\"", "path = \"out/model\"");
        project.write(".gitignore", "/out\n/dist\n");
        fs::create_dir(project.at("out")).expect("creates");
        fs::rename(project.at("model"), project.at("out/model")).expect("renames");
        project.write("out/model/config.json", "old");
        project.commit();
        let outcome = project.modelseal(&["build", "--key", &project.key()]).expect(1);
        if is_back {
            assert_eq!(
                fs::read_to_string(project.at("out/model/config.json")).expect(script),
                "old",
                "{script}"
            );
        } else {
            outcome.says("the old artifact could not be restored: it is in `");
        }
    }
}

/// Without a repository, the old artifact is kept next to its place while the command runs.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_protects_the_old_artifact_kept_beside_its_place() {
    let project = project("rm -rf .model.modelseal-aside; mv .model.modelseal-aside x; exit 1\n");
    project.append_recipe("[code]\nnone = true\n");
    fs::remove_dir_all(project.at(".git")).expect("removes");
    project.modelseal(&["build", "--key", &project.key()]).expect(1);
    assert_eq!(fs::read_to_string(project.at("model/weights.safetensors")).expect("is back"), "old");
}

/// Each build moves the artifact aside and restores one.
#[test]
#[ignore = "needs bubblewrap"]
fn build_waits_for_another_build_in_the_same_work_tree() {
    let wait = "for i in $(seq 600); do [ -e dist/go ] && break; sleep 0.1; done\n";
    let project = project(&format!("{MAKE}{wait}"));
    let key = project.key();
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(|| project.modelseal(&["build", "--key", &key]).run());
        while !project.at("model/weights.safetensors").exists() || project.at("model/config.json").exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut second = project.modelseal(&["build", "--key", &key, "--force"]).into_command();
        let mut second = second.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let said = BufReader::new(second.stderr.take().expect("is piped"));
        let mut lines = said.lines().map(|line| line.expect("is text"));
        let waits = |line: &String| line.contains("waiting for another build in `");
        let line = lines.find(waits).expect("says that it waits");
        assert!(line.contains("to finish"), "{line}");
        fs::create_dir_all(project.at("dist")).expect("creates");
        fs::write(project.at("dist/go"), "").expect("writes");
        lines.for_each(drop);
        assert!(second.wait().expect("ends").success());
        first.join().expect("ends")
    });
    assert_eq!(first.code, Some(0), "{}", first.all());
    assert!(project.at("model/weights.safetensors").is_file());
}

/// modelseal does not follow a link in place of the archive directory.
#[test]
#[ignore = "needs bubblewrap"]
fn build_does_not_write_through_a_link_in_place_of_the_archive_directory() {
    for ending in ["exit 1\n", "echo >> make.sh\n", "true\n"] {
        let project = project(&format!("{MAKE}rm -rf dist; ln -s \"$PWD/../victim\" dist\n{ending}"));
        let victim = project.root().join("victim");
        let kept = victim.join("wine-1.0.0.tar.rejected");
        fs::create_dir_all(&kept).expect("creates");
        fs::write(kept.join("p"), "precious").expect("writes");
        let outcome = project.modelseal(&["build", "--key", &project.key()]).expect(1);
        if ending == "true\n" {
            outcome.says("the command redirected `").says("dist` to another place");
        }
        assert_eq!(fs::read_to_string(kept.join("p")).expect("reads"), "precious", "{ending}");
        assert_eq!(fs::read_dir(&victim).expect("reads").count(), 1, "{ending}");
    }
}

/// The user's next `git status` would run what is configured there.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_makes_the_git_repository_read_only() {
    let project = project(&format!(
        "{MAKE}git rev-parse HEAD > model/commit\ngit config core.fsmonitor 'touch ../ran' && exit 9\n\
         echo x > .git/hooks/pre-commit && exit 9\nmv .git elsewhere && exit 9\ntrue\n"
    ));
    project.modelseal(&["build", "--key", &project.key()]).expect(0);
    assert!(!project.git(&["config", "--list"]).contains("fsmonitor"));
    assert_eq!(
        fs::read_to_string(project.at("model/commit")).expect("reads"),
        project.git(&["rev-parse", "HEAD"])
    );
}
