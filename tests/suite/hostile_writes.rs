//! Projects whose commands write where they may, so that something else is written, run or removed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::hostile_projects::{RUN, build, build_with, project, unharmed};
use crate::support::peers;
use crate::support::project::{Project, git_in};

/// Shell code that makes a repository in `$d`, whose configuration git would run.
const PLANT: &str = "mkdir -p $d/objects $d/refs/heads; echo ref: refs/heads/x > $d/HEAD; printf '[core]\\nrepositoryformatversion = 0\\nfsmonitor = touch ran\\n' > $d/config";

/// Otherwise, commands could write to any repository of the user.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_recipe_outside_of_the_work_tree_that_it_names() {
    let recipe = "[artifact]\npath = \"../home/.shell/cache/model\"\n[code]\npath = \"../home/.shell\"\n[[data]]\nname = \"d\"\npath = \".\"\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";
    let script = "S=../home/.shell; mkdir -p $S/cache/model; echo 1 > $S/cache/model/w; cat $S/custom/mine; echo evil > $S/custom/evil\n";
    let project = project(recipe, script);
    let shell = project.home().join(".shell");
    fs::create_dir_all(shell.join("custom")).expect("creates");
    fs::write(shell.join("init"), "\n").expect("writes");
    fs::write(shell.join(".gitignore"), "cache\ncustom\n").expect("writes");
    git_in(&shell, &project.home(), &["init", "-q"]);
    git_in(&shell, &project.home(), &["add", "."]);
    git_in(&shell, &project.home(), &["commit", "-q", "-m", "x"]);
    fs::write(shell.join("custom/mine"), "SECRET\n").expect("writes");
    for arguments in [&[][..], &["--clean"], &["--statement", "../m.json"]] {
        let outcome = match arguments {
            ["--statement", ..] => project.modelseal(&[&["build"], arguments].concat()).run(),
            _ => build(&project, arguments),
        };
        unharmed(&project, &outcome);
        assert!(matches!(outcome.code, Some(1 | 2)), "{}", outcome.all());
        assert_eq!(fs::read_dir(shell.join("custom")).expect("reads").count(), 1, "{}", outcome.all());
        assert!(!shell.join("cache").exists());
    }
}

/// In any directory, and in any order in which the directories are searched.
#[test]
#[ignore = "needs bubblewrap"]
fn build_finds_repositories_in_a_work_tree_that_looks_like_a_repository() {
    let script = format!(
        "mkdir -p model; echo 1 > model/w; for i in $(seq 20); do d=zz$i/sub/.git; {PLANT}; done; for i in $(seq 20); do d=zy$i; {PLANT}; done\n"
    );
    for names in [&["HEAD", "commondir"][..], &["HEAD", "objects/x", "refs/x"]] {
        let project = project(RUN, &script);
        project.write(".gitignore", "model\ndist\nzz*\nzy*\n");
        for name in names {
            project.write(name, "");
        }
        project.commit();
        let outcome = build(&project, &[]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        for index in 1..=20 {
            for path in [format!("zz{index}/sub/.git"), format!("zy{index}/HEAD")] {
                assert!(project.at(&path).symlink_metadata().is_err(), "{path}: {}", outcome.all());
            }
        }
        assert!(project.at("HEAD").is_file() && !project.at("dist/m-1.tar").exists());
    }
}

/// The second build would write its archive, and what is kept of a failure, to the target of the link.
#[test]
#[ignore = "needs bubblewrap"]
fn build_leaves_no_link_at_the_archive_directory_for_the_next_build() {
    let exchange = "[ -h out ] || { mv out .gone; ln -s ../home/.shell.d out; }; echo 'echo planted'\n";
    for (rest, file) in [
        ("mkdir -p model; echo 1 > model/w\n", "out/m.tar"),
        ("cp run.sh model; echo >> input\n", "out/m.tar"),
        ("mkdir -p model; echo 1 > model/w; exit 1\n", "out/m.tar"),
        ("mkdir -p model; echo 1 > model/w\n", "out/deep/m.tar"),
        ("mkdir -p model; echo 1 > model/w\n", "out/s.sh"),
    ] {
        let project = project(RUN, &format!("{exchange}{rest}"));
        project.write("input", "\n");
        project.write(".gitignore", "model\ndist\nout*\n.gone\n");
        project.commit();
        let victim = project.home().join(".shell.d");
        fs::create_dir_all(victim.join("deep")).expect("creates");
        fs::create_dir_all(project.at("out/deep")).expect("creates");
        for _ in 0..3 {
            let outcome = match file {
                "out/s.sh" => project.modelseal(&["build", "--statement", file]).run(),
                _ => build(&project, &["--force", "-o", file]),
            };
            assert!(!project.at("out").is_symlink(), "{file}: {}", outcome.all());
            let written = walkdir::WalkDir::new(&victim).into_iter().flatten();
            assert_eq!(
                written.filter(|entry| entry.path().is_file()).count(),
                0,
                "{file}: {}",
                outcome.all()
            );
            project.git(&["checkout", "-q", "input"]);
        }
    }
}

/// A directory link in the artifact leads to the repository.
#[test]
#[ignore = "needs bubblewrap"]
fn clean_build_copies_no_repository_into_the_work_tree_with_the_artifact() {
    let recipe = RUN.replace("path = \"model\"\n", "path = \"model\"\nsymlinks = \"follow\"\n");
    for (directory, link) in
        [("other/.git", "../other"), ("other/deep/.git", "../other"), ("other", "../other")]
    {
        let script = format!(
            "mkdir -p model; echo 1 > model/w; d={directory}; {PLANT}; touch $d/objects/x $d/refs/x; ln -s {link} model/x\n"
        );
        let project = project(&recipe, &script);
        project.write(".gitignore", "model\ndist\nother\n");
        project.commit();
        let outcome = project.modelseal(&["build", "--clean", "--statement", "../m.json"]).run();
        unharmed(&project, &outcome);
        for entry in walkdir::WalkDir::new(project.at("")).min_depth(2).into_iter().flatten() {
            let is_own = entry.path().starts_with(project.at(".git"));
            let named = entry.file_name() == ".git" || entry.file_name() == "HEAD";
            assert!(is_own || !named, "{}: {}", entry.path().display(), outcome.all());
        }
    }
}

/// A signer written in one line of Python. Its first imports would be found in the working directory.
fn sign_with_python(key: &str) -> String {
    format!(
        "python3 -c 'import base64, subprocess, sys; sys.stdout.buffer.write(subprocess.run([\"openssl\", \"dgst\", \"-sha256\", \"-sign\", \"{key}\"], stdin=sys.stdin, stdout=subprocess.PIPE).stdout)'"
    )
}

/// A project whose command leaves Python modules that git does not see, and then ends with `end`, which may fail.
fn leaving_a_module(end: &str) -> Project {
    let project = project(RUN, "");
    let module = format!("open({:?}, \"w\").write(\"x\")\n", project.root().join("ran"));
    project.write("module", module);
    let script = "mkdir -p model lib; echo 1 > model/w; cp module base64.py; cp module subprocess.py; cp module lib/base64.py\n";
    project.write("run.sh", format!("{script}{end}\n"));
    project.write(".gitignore", "model\ndist\n*.py\nlib\n__pycache__\n");
    project.commit();
    project
}

#[test]
#[ignore = "needs bubblewrap"]
fn signer_command_in_another_job_runs_nothing_that_a_command_left() {
    let project = leaving_a_module("true");
    let (line, public) = (sign_with_python(&project.key()), project.public_key());
    project.modelseal(&["build", "--statement", "../m.json"]).expect(0);
    assert!(project.at("base64.py").exists());
    let sign = ["--from-statement", "../m.json", "--force", "--key", &public, "--signer", &line];
    let ran = project.root().join("ran");
    let here = project.modelseal(&[&["build"], &sign[..]].concat()).run();
    assert!(!ran.exists(), "{}", here.all());
    // Nor through a variable that leads there, when started in another directory.
    let place = project.at("").to_string_lossy().into_owned();
    let elsewhere = project.modelseal(&[&["build", &place], &sign[..]].concat());
    let elsewhere = elsewhere.current_dir(&project.out("")).env("PYTHONPATH", project.at("lib")).run();
    assert!(!ran.exists(), "{}", elsewhere.all());
}

#[test]
#[ignore = "needs bubblewrap"]
fn signer_command_of_a_clean_build_runs_nothing_left_in_the_work_tree() {
    let project = leaving_a_module("case $PWD in */project) exit 1;; esac");
    let (line, public) = (sign_with_python(&project.key()), project.public_key());
    let ran = project.root().join("ran");
    for arguments in [&[][..], &["--clean"], &["--clean", "--force"]] {
        let all = [&["build", "--key", &public, "--signer", &line], arguments].concat();
        let outcome = project.modelseal(&all).run();
        assert!(!ran.exists(), "{arguments:?}: {}", outcome.all());
        assert!(project.at("base64.py").exists());
    }
}

/// uv, pnpm and conda link such files from their caches.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_protects_files_hard_linked_outside_of_the_work_tree() {
    let script = "mkdir -p model; echo 1 > model/w\n\
        for f in .venv/lib/pkg.py ignored/pkg.py; do echo evil > $f; echo evil >> $f; cp run.sh $f; ln $f $f.second && echo evil > $f.second; done\n\
        mv ignored i; echo evil > i/pkg.py; echo new > .venv/lib/other.py || exit 9; true\n";
    let project = project(RUN, script);
    let package = project.home().join(".cache/uv/pkg.py");
    fs::create_dir_all(project.home().join(".cache/uv")).expect("creates");
    fs::write(&package, "mine\n").expect("writes");
    project.write(".venv/pyvenv.cfg", "home = /usr/bin\n");
    project.write(".venv/lib/other.py", "mine\n");
    fs::create_dir(project.at("ignored")).expect("creates");
    for path in [".venv/lib/pkg.py", "ignored/pkg.py"] {
        fs::hard_link(&package, project.at(path)).expect("links");
    }
    project.write(".gitignore", "model\ndist\n.venv\nignored\ni\n");
    project.commit();
    for _ in 0..2 {
        let outcome = build_with(&project, &[], &[]);
        assert_eq!(fs::read_to_string(&package).expect("reads"), "mine\n", "{}", outcome.all());
        // A file without another name belongs to the work tree.
        let other = fs::read_to_string(project.at(".venv/lib/other.py")).expect("reads");
        assert_eq!((outcome.code, other.as_str()), (Some(0), "new\n"), "{}", outcome.all());
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_warns_of_a_link_on_path_to_a_file_that_commands_can_create() {
    let script = "mkdir -p model; echo 1 > model/w; mkdir -p target/release; echo evil > target/release/tool; chmod 755 target/release/tool; true\n";
    let project = project(RUN, script);
    project.write(".gitignore", "model\ndist\ntarget\n");
    project.commit();
    let tools = project.home().join("tools");
    fs::create_dir(&tools).expect("creates");
    symlink(project.at("target/release/tool"), tools.join("tool")).expect("links");
    let path = format!("{}:/usr/bin:/bin", tools.display());
    let outcome = build_with(&project, &[("PATH", path)], &[]);
    outcome.says("tools/tool`, on PATH, links to a file that commands can create");
}

/// The user would run its programs from a directory other than the one in which the build was started.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_guards_a_relative_path_directory_in_the_project() {
    let script = "mkdir -p model; echo 1 > model/w; mkdir -p node_modules/.bin; echo evil > node_modules/.bin/ls; chmod 755 node_modules/.bin/ls; true\n";
    let project = project(RUN, script);
    project.write(".gitignore", "model\ndist\nnode_modules\n");
    project.write("sub/x", "\n");
    project.commit();
    let key = project.key();
    for place in ["", "sub"] {
        let run = project.modelseal(&["build", "--force", "--key", &key]).current_dir(&project.at(place));
        let outcome = run.env("PATH", "node_modules/.bin:/usr/bin:/bin").run();
        unharmed(&project, &outcome);
        assert!(!project.at("node_modules/.bin/ls").exists(), "{place}: {}", outcome.all());
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_guards_files_in_git_settings_in_quotes_or_after_an_option() {
    let names = ["tools/a.sh", "tools/b.sh", ".ssh_config"];
    let script = format!(
        "mkdir -p model; echo 1 > model/w; for f in {}; do mkdir -p $(dirname $f); echo evil > $f; done; true\n",
        names.join(" ")
    );
    let project = project(RUN, &script);
    project.write(".gitignore", "model\ndist\ntools\n.ssh_config\n");
    project.commit();
    project.write(".ssh_config", "mine\n");
    fs::create_dir(project.at("tools")).expect("creates");
    for (name, value) in [
        ("filter.a.clean", "bash -c \"tools/a.sh %f\""),
        ("filter.b.clean", "sh -c 'exec tools/b.sh %f'"),
        ("core.sshCommand", "ssh -F.ssh_config"),
    ] {
        project.git(&["config", name, value]);
    }
    let outcome = build(&project, &[]);
    for name in names {
        let found = fs::read_to_string(project.at(name)).unwrap_or_default();
        assert!(found.is_empty() || found == "mine\n", "{name}: {}", outcome.all());
    }
    assert_eq!(fs::read_to_string(project.at(".ssh_config")).expect("reads"), "mine\n");
}

/// The user's own work is where the recipe declares the artifact.
#[test]
#[ignore = "needs bubblewrap"]
fn build_keeps_a_repository_in_the_place_of_the_artifact() {
    let recipe = "[artifact]\npath = \"notes\"\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";
    for inner in ["notes", "notes/deep"] {
        for arguments in [&[][..], &["--clean"], &["--clean", "--statement", "../m.json"]] {
            let project = project(recipe, "rm -rf notes; mkdir -p notes; echo 1 > notes/w; true\n");
            project.write(".gitignore", "notes\ndist\n");
            project.commit();
            let own = project.at(inner);
            fs::create_dir_all(&own).expect("creates");
            fs::write(own.join("work"), "three weeks\n").expect("writes");
            git_in(&own, &project.home(), &["init", "-q"]);
            git_in(&own, &project.home(), &["add", "."]);
            git_in(&own, &project.home(), &["commit", "-q", "-m", "x"]);
            let outcome = match arguments {
                [.., "../m.json"] => project.modelseal(&[&["build"], arguments].concat()).run(),
                _ => build(&project, arguments),
            };
            if arguments.is_empty() {
                assert_ne!(outcome.code, Some(0), "{}", outcome.all());
            }
            assert!(own.join(".git/HEAD").is_file(), "{inner} {arguments:?}: {}", outcome.all());
            assert_eq!(fs::read_to_string(own.join("work")).expect("is there"), "three weeks\n");
        }
    }
}

/// Runs as an unprivileged user, because permissions do not restrict root.
fn as_user(project: &Project, arguments: &[&str]) -> Command {
    peers::program("setpriv");
    if !rustix::process::geteuid().is_root() {
        return project.modelseal(arguments).into_command();
    }
    let own = Command::new("chown").args(["-R", "4217:4217"]).arg(project.root()).status();
    assert!(own.expect("runs").success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "4217", "--regid", "4217", "--clear-groups"]);
    command.arg(env!("CARGO_BIN_EXE_modelseal")).args(arguments);
    command.current_dir(project.at("")).env("HOME", project.home());
    command
}

/// Such a directory can come from an archive. It could not be listed before the command ran.
#[test]
#[ignore = "needs bubblewrap"]
fn build_does_not_accept_a_repository_made_in_an_unlistable_directory() {
    let script =
        format!("mkdir -p model; echo 1 > model/w; chmod 755 z; d=z/sub/.git; {PLANT}; chmod 311 z; true\n");
    let project = project(RUN, &script);
    project.write(".gitignore", "model\ndist\nz\n");
    project.commit();
    fs::create_dir(project.at("z")).expect("creates");
    fs::set_permissions(project.at("z"), fs::Permissions::from_mode(0o311)).expect("sets");
    let said = as_user(&project, &["build", "--key", &project.key()]).output().expect("runs");
    let _ = fs::set_permissions(project.at("z"), fs::Permissions::from_mode(0o755));
    let is_there = project.at("z/sub/.git").symlink_metadata().is_ok();
    assert!(!(said.status.success() && is_there), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_replaces_a_read_only_artifact() {
    let project = project(RUN, "mkdir -p model/deep; echo 1 > model/deep/w; chmod 555 model/deep model\n");
    let key = project.key();
    for _ in 0..3 {
        let built = as_user(&project, &["build", "--force", "--key", &key]).output().expect("runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }
    for path in ["model", "model/deep"] {
        let _ = fs::set_permissions(project.at(path), fs::Permissions::from_mode(0o755));
    }
}
