//! Commands and users that end a build badly or start a second one: what is kept, what waits, and which message is
//! printed.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::hostile_projects::{RUN, build, project};
use crate::support::peers;
use crate::support::project::{Project, git_in};
use crate::support::run::finish;

fn start(project: &Project, arguments: &[&str]) -> Child {
    let mut command = project.modelseal(arguments).into_command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
}

/// Waits for a condition, for at most half a minute.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(30), "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn holds(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|held| held.contains(text))
}

/// A quit, as with Ctrl-\. Without handling it, the command would continue, and its output would not be checked.
#[test]
#[ignore = "needs bubblewrap"]
fn build_stops_the_command_and_restores_the_artifact_on_a_quit_signal() {
    let project = project(RUN, "mkdir -p model; echo new > model/w; sleep 3; mkdir late\n");
    project.git(&["config", "core.hooksPath", ".hooks"]);
    project.write("model/w", "old\n");
    let mut child = start(&project, &["build", "--key", &project.key()]);
    wait_until("started", || holds(&project.at("model/w"), "new"));
    kill_process(Pid::from_child(&child), Signal::QUIT).expect("sends");
    assert_eq!(child.wait().expect("ends").code(), Some(131));
    assert_eq!(fs::read_to_string(project.at("model/w")).expect("is back"), "old\n");
    assert!(project.at(".hooks").symlink_metadata().is_err());
    let mut own = fs::read_dir(project.at(".git")).expect("reads").flatten();
    assert!(!own.any(|entry| entry.file_name().to_string_lossy().contains("aside")));
    std::thread::sleep(Duration::from_secs(4));
    assert!(!project.at("late").exists());
}

/// Copying this artifact takes a while.
#[test]
#[ignore = "needs bubblewrap"]
fn clean_build_installs_the_artifact_completely_or_not_at_all() {
    let script = "mkdir -p model; truncate -s 1G model/weights; echo new > model/w\n";
    let project = project(RUN, script);
    let arguments = ["build", "--clean", "--statement", "../m.json"];
    let (model, statement) = (project.at("model"), project.root().join("m.json"));
    let names = || {
        let entries = fs::read_dir(project.at("")).expect("reads").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        (names, holds(&project.at("model/w"), "old"))
    };
    let prepare = || {
        let _ = fs::remove_dir_all(&model);
        let _ = fs::remove_file(&statement);
        project.write("model/w", "old\n");
        names()
    };
    prepare();
    let begin = Instant::now();
    assert!(start(&project, &arguments).wait().expect("ends").success());
    let whole = begin.elapsed();
    for attempt in 0..5u32 {
        let before = prepare();
        let mut child = start(&project, &arguments);
        // The first visible effect in the work tree is a new name.
        while child.try_wait().expect("waits").is_none() && names() == before {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(whole * attempt / 40);
        if child.try_wait().expect("waits").is_none() {
            kill_process(Pid::from_child(&child), Signal::INT).expect("sends");
        }
        let code = child.wait().expect("ends").code();
        let size = fs::metadata(model.join("weights")).map(|weights| weights.len()).ok();
        let made = (holds(&model.join("w"), "new"), size, statement.exists());
        let kept = holds(&model.join("w"), "old");
        let (is_new, is_old) = (made == (true, Some(1 << 30), true), made == (false, None, false) && kept);
        // Once the new artifact starts to take its place, the work is done.
        assert!(is_new || is_old && code == Some(130), "attempt {attempt}: {code:?}, {made:?}, {kept}");
    }
}

/// Deeper than the limits for path length and open files.
const DEEP: &str = "for _ in range(5000):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)\n";

/// The program, with a low limit for open files.
fn with_few_files(project: &Project, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 1024; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_modelseal")]);
    command.args(arguments).current_dir(project.at("")).env("HOME", project.home());
    command
}

#[test]
#[ignore = "needs bubblewrap"]
fn failed_build_restores_the_old_artifact_after_a_very_deep_new_one() {
    let recipe = "[artifact]\npath = \"model\"\n[run]\ncommand = [\"python3\", \"run.py\"]\n";
    let project = project(recipe, "");
    project.write(
        "run.py",
        format!("import os, sys\nos.mkdir('model')\nos.chdir('model')\n{DEEP}sys.exit(1)\n"),
    );
    project.commit();
    project.write("model/w", "old\n");
    for _ in 0..2 {
        let outcome = finish(with_few_files(&project, &["build", "--key", &project.key()]), Vec::new());
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        let kept = fs::read_to_string(project.at("model/w")).unwrap_or_default();
        assert_eq!(kept, "old\n", "{}", outcome.all());
    }
}

/// The first run could tell the second one what it answered.
#[test]
#[ignore = "needs bubblewrap"]
fn probe_starts_its_second_run_with_an_empty_home_after_a_very_deep_one() {
    let recipe = "[artifact]\npath = \"model\"\n[[probe]]\nname = \"p\"\ncommand = [\"python3\", \"ask.py\"]\ninputs = \"q.jsonl\"\n";
    let project = project(recipe, "");
    project.write(".gitignore", "dist\n");
    project.write("model/w", "1\n");
    project.write(
        "q.jsonl",
        "{\"id\":\"a\",\"input\":1}\n{\"id\":\"b\",\"input\":2}\n{\"id\":\"c\",\"input\":3}\n",
    );
    let listen = "import json, os, sys\nos.chdir(os.environ['HOME'])\nfor _, directories, files in os.walk('.'):\n    if any('kept' in name for name in files) or any('ddd' in name for name in directories):\n        sys.exit('HEARD')\n";
    let answer = "for line in sys.stdin:\n    q = json.loads(line)\n    print(json.dumps({'id': q['id'], 'output': q['input'] * 1.5}), flush=True)\n";
    let tell = "for index in range(12):\n    for name in range(40):\n        open(f'kept{name}', 'w').close()\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)\n";
    project.write("ask.py", format!("{listen}{answer}{tell}{DEEP}"));
    project.commit();
    let temporary = project.root().join("tmp");
    fs::create_dir(&temporary).expect("creates");
    let mut command = with_few_files(&project, &["build", "--key", &project.key()]);
    command.env("TMPDIR", &temporary);
    let outcome = finish(command, Vec::new());
    assert!(!outcome.all().contains("HEARD"), "{}", outcome.all());
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    assert_eq!(fs::read_dir(&temporary).expect("reads").count(), 0, "{}", outcome.all());
}

/// They would seal or exchange an incomplete artifact.
#[test]
#[ignore = "needs bubblewrap"]
fn build_waits_for_another_build_that_uses_the_same_artifact() {
    let script = "mkdir -p model; echo \"made in $PWD\" > model/a\n\
        case $PWD in */project) touch dist/begun; for i in $(seq 600); do [ -e dist/go ] && break; sleep 0.1; done;; esac\n\
        echo last > model/b\n";
    for arguments in [&["--adopt", "-o", "../second.tar"][..], &["--clean", "--statement", "../m.json"]] {
        let project = project(RUN, script);
        fs::create_dir(project.at("dist")).expect("creates");
        let key = project.key();
        let mut first = start(&project, &["build", "--key", &key, "-o", "../first.tar"]);
        wait_until("begun", || project.at("dist/begun").exists());
        let sealing = ["--key", &key];
        let sealing = if arguments[0] == "--adopt" { &sealing[..] } else { &[] };
        let mut second = start(&project, &[&["build"], arguments, sealing].concat());
        std::thread::sleep(Duration::from_secs(3));
        let here = format!("made in {}", project.at("").canonicalize().expect("is there").display());
        let is_kept = holds(&project.at("model/a"), &here);
        let waits = second.try_wait().expect("waits").is_none();
        fs::write(project.at("dist/go"), "").expect("writes");
        let codes = [&mut first, &mut second].map(|child| child.wait().expect("ends").code());
        assert!(is_kept && waits, "{arguments:?}: {is_kept} {waits} {codes:?}");
        assert_eq!(codes, [Some(0), Some(0)], "{arguments:?}");
        for archive in ["first.tar", "second.tar"] {
            let Ok(bytes) = fs::read(project.root().join(archive)) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains(&here) && text.contains("last\n"), "{archive}");
        }
    }
}

/// An input that is named by its absolute path does not expose the rest of the source. The test uses a place outside
/// the directories that all users share, because nothing in those is shown.
#[test]
#[ignore = "needs bubblewrap"]
fn reproduce_hides_the_old_model_in_the_source_from_the_command() {
    let project = project(RUN, "");
    let elsewhere = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("makes");
    let place = elsewhere.path().canonicalize().expect("is there");
    let (data, old) = (place.join("data.csv"), place.join("dist/weights"));
    let recipe = format!(
        "[model]\nname = \"m\"\nversion = \"1\"\n[artifact]\npath = \"model\"\n[[data]]\nname = \"train\"\npath = {data:?}\n[run]\nnetwork = false\ncommand = [\"python3\", \"train.py\"]\n"
    );
    let train = format!(
        "import os, random\nold = {old:?}\ntext = open(old).read() if os.path.exists(old) else str(random.random())\nfor name in ('model', 'dist'):\n    os.makedirs(name, exist_ok=True)\n    open(name + '/weights', 'w').write(text)\n"
    );
    for (name, text) in [
        ("modelseal.toml", &recipe[..]),
        ("train.py", &train[..]),
        ("data.csv", "x\n1\n"),
        (".gitignore", "model\ndist\ndata.csv\n"),
    ] {
        fs::write(place.join(name), text).expect("writes");
    }
    git_in(&place, &project.home(), &["init", "-q"]);
    git_in(&place, &project.home(), &["add", "-A"]);
    git_in(&place, &project.home(), &["commit", "-q", "-m", "x"]);
    let (key, public) = project.other_key("mine");
    let archive = project.out("m.tar").to_string_lossy().into_owned();
    project.modelseal(&["build", "--key", &key, "-o", &archive]).current_dir(&place).expect(0);
    assert!(old.is_file());
    let rebuild = project.modelseal(&["reproduce", &archive, "--key", &public, "--source", "."]);
    let outcome = rebuild.current_dir(&place).run();
    assert_ne!(outcome.code, Some(0), "{}", outcome.all());
    assert!(!outcome.all().contains("pass: rebuilt"), "{}", outcome.all());
}

/// Otherwise, each copy would be copied too.
#[test]
#[ignore = "needs bubblewrap"]
fn refused_artifact_at_the_archive_directory_is_not_copied_into_itself() {
    for end in ["true", "echo >> run.sh"] {
        for arguments in [&[][..], &["--clean"]] {
            let recipe = "[artifact]\npath = \"dist\"\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";
            let project = project(recipe, &format!("mkdir -p dist; truncate -s 8M dist/w; {end}\n"));
            project.write("dist/m-0.tar", "an earlier release\n");
            let key = project.key();
            let mut child = start(&project, &[&["build", "--key", &key], arguments].concat());
            let (begin, mut depth) = (Instant::now(), 0);
            while child.try_wait().expect("waits").is_none() && begin.elapsed() < Duration::from_secs(60) {
                let entries = walkdir::WalkDir::new(project.at("dist")).into_iter().flatten();
                depth = entries.map(|entry| entry.depth()).chain([depth]).max().unwrap_or_default();
                std::thread::sleep(Duration::from_millis(1));
            }
            let has_ended = child.try_wait().expect("waits").is_some();
            let _ = child.kill();
            let _ = child.wait();
            assert!(has_ended && depth < 4, "{end} {arguments:?}: {has_ended} {depth}");
        }
    }
}

/// A mounted directory, such as a cache on another disk, would be emptied.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_and_keeps_an_artifact_that_contains_a_mount() {
    peers::program("unshare");
    let project = project(RUN, "mkdir -p model; echo 1 > model/w\n");
    let disk = project.root().join("disk");
    fs::create_dir_all(disk.join("deep")).expect("creates");
    fs::write(disk.join("deep/file"), "mine").expect("writes");
    fs::create_dir_all(project.at("model/cache")).expect("creates");
    let command = format!(
        "mount --bind '{}' model/cache && echo mounted && exec '{}' build --key '{}'",
        disk.display(),
        env!("CARGO_BIN_EXE_modelseal"),
        project.key()
    );
    let built = Command::new("unshare")
        .args(["-Urm", "--propagation", "private", "sh", "-c", &command])
        .current_dir(project.at(""))
        .env("HOME", project.home())
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(String::from_utf8_lossy(&built.stdout).starts_with("mounted"), "{said}");
    assert!(!built.status.success(), "{said}");
    assert_eq!(fs::read_to_string(disk.join("deep/file")).expect("is there"), "mine", "{said}");
}

/// A pasted hint does exactly what it says.
#[test]
#[ignore = "needs bubblewrap"]
fn hints_quote_names_so_that_a_pasted_command_runs_nothing_else() {
    let option = project(RUN, "mkdir -p model; echo 1 > model/w; echo > ./-A\n");
    build(&option, &[]);
    let outcome = build(&option, &["--force"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("git add -- ").says("-A");

    for name in ["x;touch MARKER;", "y$(touch MARKER)", "e\u{1b}[31mred\npass: all"] {
        let project = Project::empty();
        let directory = project.out(name);
        fs::create_dir(&directory).expect("creates");
        git_in(&directory, &project.home(), &["init", "-q"]);
        let outcome = project.modelseal(&["init", name]).current_dir(&project.out("")).run();
        let all = outcome.all();
        assert!(!all.contains('\u{1b}') && !all.contains("\npass:"), "{all}");
        // Only lines with commands to paste. Messages about written files quote them as text.
        for line in all.lines().filter(|line| line.starts_with("  git ") || line.starts_with("  modelseal "))
        {
            assert!(!line.contains("MARKER") || line.contains(&format!("'{name}'")), "{line}");
        }
    }

    // Only root can give a directory to another user.
    if geteuid().is_root() {
        let project = project(RUN, "mkdir -p model; echo 1 > model/w\n");
        let place = project.out("d$(touch MARKER)");
        git_in(&project.at(""), &project.home(), &["clone", "-q", ".", &place.to_string_lossy()]);
        assert!(Command::new("chown").args(["-R", "4217"]).arg(&place).status().expect("runs").success());
        let build = project.modelseal(&["build", "d$(touch MARKER)", "--key", &project.key()]);
        let outcome = build.current_dir(&project.out("")).run();
        assert_ne!(outcome.code, Some(0), "{}", outcome.all());
        outcome.says("safe.directory 'd$(touch MARKER)'");
    }
}

/// A pipe has no name, so it cannot be opened a second time.
#[test]
#[ignore = "needs bubblewrap"]
fn build_reads_a_password_from_a_pipe() {
    let project = project(RUN, "mkdir -p model; echo 1 > model/w\n");
    let prefix = project.out("k").to_string_lossy().into_owned();
    let password = project.out("password");
    fs::write(&password, "correct horse\n").expect("writes");
    project.modelseal(&["keygen", "-o", &prefix, "--password-file", &password.to_string_lossy()]).expect(0);
    let private = format!("{prefix}.key");
    for file in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let arguments = ["build", "--force", "--key", &private, "--password-file", file];
        project.modelseal(&arguments).input("correct horse\n").expect(0);
    }
}
