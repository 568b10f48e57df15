//! Builds that run the recipe's command.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::peers;
use crate::support::project::{Project, git_in};
use crate::support::run::Outcome;

/// A project with this shell script as its command, and an old artifact in place.
pub fn project(script: &str) -> Project {
    project_with(script, "")
}

pub fn project_with(script: &str, run: &str) -> Project {
    let project = Project::new();
    project.append_recipe(&format!("[run]\ncommand = [\"sh\", \"make.sh\"]\n{run}"));
    project.write("make.sh", script);
    project.write(".gitignore", "*.log\nignored\n");
    project.write("model/weights.safetensors", "old");
    project.commit();
    project
}

pub const MAKE: &str = "mkdir -p model && cat data/train.csv params.toml > model/weights.safetensors\n";

/// Runs a build that must be refused, and checks that the old artifact is restored.
#[track_caller]
fn refused(project: &Project, arguments: &[&str]) -> Outcome {
    let key = project.key();
    let outcome = project.modelseal(&[&["build", "--key", &key], arguments].concat()).expect(1);
    outcome.claims_no_success();
    assert_eq!(fs::read_to_string(project.at("model/weights.safetensors")).expect("reads"), "old");
    assert!(project.at("model/config.json").is_file(), "the old artifact is whole");
    assert!(!project.at("dist/wine-1.0.0.tar").exists());
    let aside = fs::read_dir(project.at(""))
        .expect("reads")
        .any(|entry| entry.expect("an entry").file_name().to_string_lossy().contains("aside"));
    assert!(!aside, "nothing is left aside");
    outcome
}

fn origin(project: &Project, archive: &Path) -> String {
    let archive = archive.to_string_lossy();
    let shown = project.modelseal(&["show", &archive, "--format", "json"]).expect(0).json();
    shown["statement"]["predicate"]["buildDefinition"]["internalParameters"]["origin"]
        .as_str()
        .expect("an origin")
        .to_string()
}

#[test]
fn build_runs_the_command_without_the_old_artifact() {
    let project = project(&format!("test -e model && exit 9\n{MAKE}echo made; echo talk >&2\n"));
    let key = project.key();
    let outcome = project.modelseal(&["build", "--key", &key]).expect(0);
    outcome.says("running `sh make.sh`").says("made\n").says("talk\n");
    outcome.says("origin   executed: made by the sealed command in the builder's work tree");
    let made = fs::read_to_string(project.at("model/weights.safetensors")).expect("reads");
    assert!(made.contains("learning_rate"));
    assert!(!project.at("model/config.json").exists(), "nothing of the old artifact is left");
    let report = project.verify(&project.at("dist/wine-1.0.0.tar"), &[]);
    report.says("lineage.origin       pass     executed");
}

#[test]
fn build_seals_the_command_without_the_values_of_passed_variables() {
    let script = format!("{MAKE}echo \"$GIVEN $PASSED ${{ABSENT-absent}}\" > model/said\n");
    let project = project_with(&script, "env = { GIVEN = \"x\" }\npass_env = [\"PASSED\", \"ABSENT\"]\n");
    project.append_recipe("[environment]\ncommands = [[\"sh\", \"-c\", \"echo out; echo err >&2\"]]\n");
    project.commit();
    let key = project.key();
    project.modelseal(&["build", "--key", &key]).env("PASSED", "secret").expect(0);
    assert_eq!(fs::read_to_string(project.at("model/said")).expect("reads"), "x secret absent\n");
    let shown = project.modelseal(&["show", "dist/wine-1.0.0.tar", "--format", "json"]).expect(0);
    assert!(!shown.stdout.contains("secret"));
    let definition = shown.json()["statement"]["predicate"]["buildDefinition"].clone();
    let external = &definition["externalParameters"];
    assert_eq!(external["command"], serde_json::json!(["sh", "make.sh"]));
    assert_eq!(external["env"], serde_json::json!({"GIVEN": "x"}));
    assert_eq!(external["passEnv"], serde_json::json!(["PASSED", "ABSENT"]));
    assert_eq!(external["network"], serde_json::json!(true));
    let environment = &definition["internalParameters"]["environment"];
    assert_eq!(environment[0]["output"], "out\nerr");
}

#[test]
fn build_adopt_reports_the_origin_and_seals_no_command() {
    let project = project("exit 1\n");
    let outcome = project.modelseal(&["build", "--adopt", "--key", &project.key()]).expect(0);
    outcome.says("origin   adopted: not built by modelseal");
    assert!(!outcome.all().contains("running"));
    let shown = project.modelseal(&["show", "dist/wine-1.0.0.tar", "--format", "json"]).expect(0);
    assert!(!shown.stdout.contains("make.sh"), "a command that was not run is not sealed");
}

#[test]
fn build_gives_the_command_a_fixed_environment() {
    let project = project(&format!("{MAKE}env | sort > model/environment\n"));
    let key = project.key();
    let build = |extra: &[&str]| {
        let all = [&["build", "--key", &key, "--force"], extra].concat();
        project
            .modelseal(&all)
            .env("LEAK", "x")
            .env("TZ", "Asia/Tokyo")
            .env("MODELSEAL_PASSWORD", "y")
            .expect(0);
    };
    build(&[]);
    let environment = fs::read_to_string(project.at("model/environment")).expect("reads");
    let names: Vec<&str> =
        environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    for name in
        ["HOME", "LANG", "PATH", "PYTHONHASHSEED", "PYTHONNOUSERSITE", "SOURCE_DATE_EPOCH", "TMPDIR", "TZ"]
    {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    for (line, expected) in [
        ("TZ=UTC", true),
        ("LANG=C.UTF-8", true),
        ("PYTHONHASHSEED=0", true),
        ("SOURCE_DATE_EPOCH=1760000000", true),
    ] {
        assert_eq!(environment.lines().any(|other| other == line), expected, "{line}");
    }
    for leak in ["LEAK", "MODELSEAL"] {
        assert!(!environment.contains(leak), "{environment}");
    }
}

#[test]
fn clean_build_runs_in_a_clone_and_keeps_the_work_tree_unchanged() {
    let project = project(&format!(
        "pwd > model.log\ngit rev-parse HEAD >> model.log\n{MAKE}cp model.log model/where\ntest -e ignored && exit 9\nls\n"
    ));
    project.write("ignored", "only here");
    let key = project.key();
    project.modelseal(&["build", "--clean", "--key", &key]).expect(0).says("origin   clean");
    assert_eq!(fs::read_to_string(project.at("model/weights.safetensors")).expect("reads"), "old");
    assert!(!project.at("model.log").exists());
    let archive = project.at("dist/wine-1.0.0.tar");
    assert_eq!(origin(&project, &archive), "clean");
    let unpacked = project.unpack(&archive);
    let said = fs::read_to_string(unpacked.join("where")).expect("reads");
    let mut lines = said.lines();
    let place = lines.next().expect("a directory");
    assert!(!Path::new(place).exists(), "the clone is gone");
    assert_eq!(lines.next(), Some(project.git(&["rev-parse", "HEAD"]).trim()));
}

#[test]
fn clean_build_seals_the_same_files_and_inputs_as_a_work_tree_build() {
    let project = project(MAKE);
    let archive = project.build();
    let executed =
        project.modelseal(&["show", &archive.to_string_lossy(), "--format", "json"]).expect(0).json();
    let clean = project.build_with(&["--clean", "--force"]);
    let clean = project.modelseal(&["show", &clean.to_string_lossy(), "--format", "json"]).expect(0).json();
    assert_eq!(executed["statement"]["subject"], clean["statement"]["subject"]);
    let inputs = |shown: &serde_json::Value| {
        shown["statement"]["predicate"]["buildDefinition"]["resolvedDependencies"].clone()
    };
    assert_eq!(inputs(&executed), inputs(&clean));
}

#[test]
fn clean_build_places_data_outside_git_read_only_at_the_recipe_path() {
    let script = "mkdir -p model && cat ../data/far/a.csv ../data/b.csv > model/weights.safetensors\nls -ld ../data/far/a.csv | cut -c1-10 > model/mode\n";
    let project = project(script);
    project.append_recipe("[[data]]\nname = \"far\"\npath = \"../data/far\"\n[[data]]\nname = \"file\"\npath = \"../data/b.csv\"\n");
    project.commit();
    let outside = project.root().join("data/far");
    fs::create_dir_all(&outside).expect("creates");
    fs::write(outside.join("a.csv"), "1\n").expect("writes");
    let elsewhere = project.out("b.csv");
    fs::write(&elsewhere, "2\n").expect("writes");
    let archive = project.build_with(&["--clean", "--data", &format!("file={}", elsewhere.display())]);
    let unpacked = project.unpack(&archive);
    assert_eq!(fs::read_to_string(unpacked.join("weights.safetensors")).expect("reads"), "1\n2\n");
    assert_eq!(fs::read_to_string(unpacked.join("mode")).expect("reads"), "-r--r--r--\n");
}

#[test]
fn clean_build_includes_submodules_and_git_lfs_content() {
    let project = project("mkdir -p model && cat module/code big.bin > model/weights.safetensors\n");
    let module = project.root().join("module");
    fs::create_dir(&module).expect("creates");
    fs::write(module.join("code"), "code\n").expect("writes");
    for arguments in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-qm", "module"]] {
        git_in(&module, &project.home(), arguments);
    }
    project.git(&["submodule", "--quiet", "add", &module.to_string_lossy(), "module"]);
    let content = "large content\n";
    let digest = modelseal_format::digest::Digest::sha256(content.as_bytes());
    project.write(
        "big.bin",
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {}\n", content.len()),
    );
    project.commit();
    project.write("big.bin", content);
    let archive = project.build_with(&["--clean"]);
    let unpacked = project.unpack(&archive);
    assert_eq!(
        fs::read_to_string(unpacked.join("weights.safetensors")).expect("reads"),
        "code\nlarge content\n"
    );
}

#[test]
fn build_refuses_a_command_that_fails_and_keeps_its_output() {
    for arguments in [&[][..], &["--clean"]] {
        let project =
            project("mkdir model; echo half > model/weights.safetensors\necho the reason >&2\nexit 3\n");
        let outcome = refused(&project, arguments);
        outcome.says("error: the command `sh make.sh` failed: exit code 3");
        outcome.says("hint: its output is kept in `dist/wine-1.0.0.tar.log`");
        assert!(
            fs::read_to_string(project.at("dist/wine-1.0.0.tar.log"))
                .expect("reads")
                .contains("the reason\n")
        );
    }
}

#[test]
fn build_names_a_command_that_does_not_exist() {
    let project = project("");
    project.edit_recipe("[\"sh\", \"make.sh\"]", "[\"no-such-program\"]");
    project.commit();
    let outcome = refused(&project, &["--insecure-no-isolation"]);
    outcome
        .says("error: cannot start the command `no-such-program`")
        .says("hint: check that it is installed and in PATH");
    refused(&project, &[]).says("the command `no-such-program`");
}

#[test]
fn build_refuses_a_command_that_does_not_make_the_artifact() {
    for arguments in [&[][..], &["--clean"]] {
        refused(&project("true\n"), arguments).says("error: the command did not make the artifact");
    }
    refused(&project("mkdir model\n"), &[]).says("contains no files");
}

#[test]
fn build_names_an_input_the_command_changed_and_keeps_the_rejected_artifact() {
    for (script, named) in [
        ("echo 4,a >> data/train.csv", "`data/train`"),
        ("echo x = 1 >> params.toml", "`params/params.toml`"),
        ("rm data/train.csv", "data/train.csv`"),
        ("echo >> make.sh", "`make.sh`"),
        ("echo >> modelseal.toml", "modelseal.toml`"),
        ("git commit -q --allow-empty -m x", "`the commit`"),
    ] {
        let project = project(&format!(
            "{MAKE}export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x\n{script}\n"
        ));
        // In the sandbox, the repository is read-only.
        let isolation: &[&str] = if script.starts_with("git") { &["--insecure-no-isolation"] } else { &[] };
        let outcome = refused(&project, isolation);
        outcome
            .says("error: the command changed ")
            .says(named)
            .says("is kept in `dist/wine-1.0.0.tar.rejected`");
        assert!(project.at("dist/wine-1.0.0.tar.rejected/weights.safetensors").is_file());
        let script = format!(
            "{MAKE}export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x\nchmod -R u+w data\n{script}\n"
        );
        refused(&self::project(&script), &[&["--clean"], isolation].concat()).says(named);
    }
}

#[test]
fn build_warns_about_untracked_files_that_the_command_leaves() {
    let project = project(&format!("{MAKE}echo x > metrics.json\n"));
    let outcome = project.modelseal(&["build", "--key", &project.key()]).expect(0);
    outcome.says("warning: the command left files that git neither tracks nor ignores: `metrics.json`");
}

#[test]
fn build_stops_a_command_that_exceeds_the_timeout_or_output_limit() {
    let project = project_with("trap '' TERM\nwhile :; do sleep 0.1; done\n", "timeout = \"1s\"\n");
    refused(&project, &[]).says("error: the command `sh make.sh` did not end within 1 second");
    let project = project_with("yes\n", "max_output = \"100kB\"\n");
    refused(&project, &[]).says("printed more than 100,000 bytes");
    assert_eq!(fs::metadata(project.at("dist/wine-1.0.0.tar.log")).expect("is there").len(), 100_000);
}

/// A process cannot hide in a process group, in a session of its own, or behind a parent that has ended.
#[test]
#[ignore = "needs pgrep"]
fn build_stops_and_names_processes_that_the_command_leaves_running() {
    for isolation in [&[][..], &["--insecure-no-isolation"]] {
        for daemon in ["sleep 4217 &", "setsid sleep 4217 &", "(setsid sh -c 'sleep 4217 &' &)"] {
            let project = project(&format!("{MAKE}{daemon}\n"));
            let outcome = refused(&project, isolation);
            outcome.says("ended and left processes running").says("`sleep 4217`");
        }
    }
    peers::program("pgrep");
    let running =
        std::process::Command::new("pgrep").args(["-f", "^sleep 4217"]).output().expect("pgrep runs");
    assert!(running.stdout.is_empty(), "still running: {}", String::from_utf8_lossy(&running.stdout));
}

#[test]
fn build_rejects_an_unusable_key_before_the_command_runs() {
    let project = project("echo ran > ran.log\n");
    let outcome = project.modelseal(&["build", "--key", "nothing.key"]).expect(2);
    outcome.says("does not exist");
    let key = project.key();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("sets");
    project.modelseal(&["build", "--key", &key]).expect(2).says("can be read by others");
    assert!(!project.at("ran.log").exists());
    project.append_recipe("");
    project.edit_recipe("command = [\"sh\"", "pass_env = [\"SIGNING\"]\ncommand = [\"sh\"");
    project.commit();
    let outcome = project.modelseal(&["build", "--key", "env://SIGNING"]).env("SIGNING", "x").expect(2);
    outcome.says("this variable holds the key");
}

#[test]
fn clean_build_requires_a_commit_and_a_command() {
    let project = Project::new();
    let key = project.key();
    project.modelseal(&["build", "--clean", "--key", &key]).expect(2).says("there is nothing to run");
    let project = self::project(MAKE);
    project.write("new.py", "x");
    project.modelseal(&["build", "--clean", "--key", &key]).expect(1).says("untracked: `new.py`");
    project.modelseal(&["build", "--clean", "--allow-dirty", "--key", &key]).expect(2);
    fs::remove_file(project.at("new.py")).expect("removes");
    project.append_recipe("[code]\nnone = true\n");
    project.modelseal(&["build", "--clean", "--key", &key]).expect(2).says("needs a code revision");
}

#[test]
fn build_refuses_to_run_a_command_if_the_artifact_contains_inputs() {
    let project = project(MAKE);
    project.edit_recipe("path = \"model\"", "path = \".\"");
    project.commit();
    let outcome = project.modelseal(&["build", "--key", &project.key()]).expect(2);
    outcome.says("the artifact also contains inputs").says("modelseal.toml:6:8");
}

#[test]
#[ignore = "needs pgrep"]
fn build_stops_the_command_and_restores_the_artifact_on_a_signal() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        for isolation in [&[][..], &["--insecure-no-isolation"]] {
            let project = project(
                "trap '' INT\nmkdir model; echo new > model/weights.safetensors\ntouch begun.log\nsleep 4218\n",
            );
            let key = project.key();
            let mut command =
                project.modelseal(&[&["build", "--key", &key], isolation].concat()).into_command();
            let mut child = command.stderr(std::process::Stdio::null()).spawn().expect("starts");
            while !project.at("begun.log").exists() {
                assert!(child.try_wait().expect("is ours").is_none(), "it ended by itself");
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            let sent =
                std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
            assert!(sent.expect("kill runs").success());
            assert_eq!(child.wait().expect("ends").code(), Some(code));
            assert_eq!(fs::read_to_string(project.at("model/weights.safetensors")).expect("reads"), "old");
        }
    }
    peers::program("pgrep");
    let running =
        std::process::Command::new("pgrep").args(["-f", "^sleep 4218"]).output().expect("pgrep runs");
    assert!(running.stdout.is_empty());
}

#[test]
fn build_restores_the_artifact_that_a_killed_build_moved_aside() {
    let project = project("exit 1\n");
    let place = project.at("").canonicalize().expect("is there").join("model");
    let name = modelseal_format::digest::Digest::sha256(place.as_os_str().as_encoded_bytes()).to_string();
    fs::rename(project.at("model"), project.at(&format!(".git/modelseal-aside-{}", &name[..16])))
        .expect("renames");
    refused(&project, &[]);
}
