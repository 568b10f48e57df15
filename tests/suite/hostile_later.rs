//! What a build leaves for the next one: a failure that looks ordinary, followed by another attempt.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::hostile_projects::{RUN, project, unharmed};
use crate::support::peers;
use crate::support::project::{Project, git_in};
use crate::support::run::Outcome;

/// Builds twice, the second time as after a failure.
#[track_caller]
fn twice(project: &Project, arguments: &[&str]) -> [Outcome; 2] {
    let key = project.key();
    let build = || {
        let home = project.home().to_string_lossy().into_owned();
        let arguments = [&["build", "--force", "--key", &key], arguments].concat();
        let outcome = project.modelseal(&arguments).env("REAL", home).run();
        unharmed(project, &outcome);
        outcome
    };
    [build(), build()]
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_does_not_move_or_remove_an_artifact_behind_a_link() {
    for (symlinks, path, target) in [
        ("follow", "out/link/.ssh", "../../home"),
        ("follow", "out/link/hooks", "../.git"),
        ("refuse", "out/link/hooks", "../.git"),
    ] {
        let recipe = format!(
            "[artifact]\npath = {path:?}\nsymlinks = {symlinks:?}\n[run]\ncommand = [\"sh\", \"run.sh\"]\n"
        );
        let script = format!(
            "if [ -h out/link ]; then rm out/link; mkdir -p {path}; echo a > {path}/w; exit 0; fi\nmkdir -p out; ln -s {target} out/link; exit 1\n"
        );
        let project = project(&recipe, &script);
        fs::write(project.at(".git/hooks/pre-push"), "mine").expect("writes");
        for outcome in twice(&project, &[]) {
            assert_ne!(outcome.code, Some(0), "{path}: {}", outcome.all());
        }
        assert_eq!(fs::read_to_string(project.at(".git/hooks/pre-push")).expect("is there"), "mine");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn failed_build_restores_a_link_on_the_path_of_the_key() {
    let script = "if [ -h keys ]; then rm keys; cp -r stash keys; chmod 600 keys/ci.key; exit 1; fi\nmkdir -p model; echo a > model/w\n";
    let project = project(RUN, script);
    let (other, _) = project.other_key("other");
    fs::create_dir(project.at("stash")).expect("creates");
    fs::copy(&other, project.at("stash/ci.key")).expect("copies");
    let secure = project.root().join("secure");
    fs::create_dir(&secure).expect("creates");
    fs::rename(project.key(), secure.join("ci.key")).expect("moves");
    symlink("../secure", project.at("keys")).expect("links");
    project.write(".gitignore", "keys\nstash\nmodel\ndist\n*.changed-by-command*\n");
    project.commit();
    for _ in 0..2 {
        let outcome = project.modelseal(&["build", "--force", "--key", "keys/ci.key"]).run();
        assert_eq!(outcome.code, Some(1), "{}", outcome.all());
        outcome.says("the command changed the link").says("the link was restored");
    }
    assert_eq!(fs::read_link(project.at("keys")).expect("is a link").to_string_lossy(), "../secure");
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_creates_the_cache_directory_before_commands_can() {
    let script = "mkdir -p model; echo a > model/w; mkdir -p .cache/modelseal/projects && ln -s \"$REAL\" .cache/modelseal/projects/planted; true\n";
    let project = project(&format!("{RUN}pass_env = [\"REAL\"]\n"), script);
    project.write(".gitignore", ".cache\nmodel\ndist\n");
    project.commit();
    let cache = project.at(".cache").to_string_lossy().into_owned();
    let home = project.home().to_string_lossy().into_owned();
    let run = project.modelseal(&["build", "--key", &project.key()]).env("XDG_CACHE_HOME", cache);
    run.env("REAL", home).expect(0);
    assert!(project.at(".cache/modelseal").is_dir());
    assert!(project.at(".cache/modelseal/projects/planted").symlink_metadata().is_err());
}

/// git requires less of a repository directory than its layout suggests, and one repository can contain others.
#[test]
#[ignore = "needs bubblewrap"]
fn build_finds_minimal_nested_and_bare_repositories_that_a_command_made() {
    let whole = "mkdir -p $d/objects $d/refs; echo ref: refs/heads/x > $d/HEAD";
    for (script, places) in [
        (
            "mkdir x; echo ref: x > x/HEAD; echo > x/objects; echo > x/refs; chmod 755 x/objects x/refs"
                .to_string(),
            vec!["x/HEAD"],
        ),
        (
            format!("d=x/.git; {whole}; d=x/.git/n/.git; {whole}"),
            vec!["x/.git", "x/.git.made-by-command/n/.git"],
        ),
        (
            format!("d=x; {whole}; for i in 1 2 3 4 5 6 7 8; do d=x/n$i/.git; {whole}; done"),
            vec!["x/HEAD", "x/n1/.git", "x/n5/.git", "x/n8/.git"],
        ),
    ] {
        let project = project(RUN, &format!("mkdir -p model; echo 1 > model/w\n{script}\n"));
        let outcome = project.modelseal(&["build", "--key", &project.key()]).expect(1);
        outcome.says("the command made a git repository");
        for place in places {
            assert!(project.at(place).symlink_metadata().is_err(), "{place} is there");
        }
    }
}

/// Allowing a path in a guarded directory does not allow the rest of it, but the allowed path itself is writable.
#[test]
#[ignore = "needs bubblewrap"]
fn allow_write_opens_only_the_named_directory() {
    let script = "mkdir -p model; echo 1 > model/w; echo ../x > .git/commondir; echo evil > .git/hooks/pre-push; echo x > .git/lfs/x || exit 9; true\n";
    let within = project(RUN, script);
    fs::create_dir(within.at(".git/lfs")).expect("creates");
    let lfs = within.at(".git/lfs").to_string_lossy().into_owned();
    within.modelseal(&["build", "--key", &within.key(), "--allow-write", &lfs]).expect(0);
    assert!(within.at(".git/lfs/x").is_file());
    assert!(!within.at(".git/commondir").exists() && !within.at(".git/hooks/pre-push").exists());

    let open = project(
        RUN,
        "mkdir -p model; echo 1 > model/w; echo new > ignored/venv/lib/x; echo new > ignored/venv/bin/x\n",
    );
    for file in ["bin/python", "lib/x", "pyvenv.cfg"] {
        let path = open.at("ignored/venv").join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
        fs::write(path, "").expect("writes");
    }
    let path = format!("{}:/usr/bin:/bin", open.at("ignored/venv/bin").display());
    let venv = open.at("ignored/venv").to_string_lossy().into_owned();
    let build = |arguments: &[&str]| {
        let key = open.key();
        open.modelseal(&[&["build", "--key", &key], arguments].concat())
            .env("PATH", &path)
            .env("VIRTUAL_ENV", &venv)
            .run()
    };
    assert_eq!(build(&[]).code, Some(1));
    let opened = build(&["--allow-write", "ignored/venv"]);
    assert_eq!(opened.code, Some(0), "{}", opened.all());
}

/// With `[code] path`, the work tree is not the one that contains the recipe's directory.
#[test]
#[ignore = "needs bubblewrap"]
fn signer_command_runs_nothing_of_the_work_tree_that_code_path_names() {
    let outer = project(RUN, "");
    let inner = outer.at("sub");
    fs::create_dir(&inner).expect("creates");
    git_in(&inner, &outer.home(), &["init", "-q"]);
    let recipe = "[model]\nname = \"m\"\nversion = \"1\"\n[code]\npath = \"..\"\n[artifact]\npath = \"model\"\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";
    fs::write(inner.join("modelseal.toml"), recipe).expect("writes");
    fs::write(
        inner.join("run.sh"),
        "mkdir -p model; echo 1 > model/w; echo 'echo ran > \"$RAN\"' > ../ignored/sign.sh; true\n",
    )
    .expect("writes");
    fs::create_dir(outer.at("ignored")).expect("creates");
    fs::write(outer.at("ignored/sign.sh"), "true\n").expect("writes");
    outer.write(".gitignore", "ignored\nsub/model\nsub/dist\n");
    fs::remove_dir_all(inner.join(".git")).expect("removes");
    outer.commit();
    git_in(&inner, &outer.home(), &["init", "-q"]);
    let (key, public, ran) = (outer.key(), outer.public_key(), outer.root().join("ran"));
    let script = outer.at("ignored/sign.sh");
    for line in [format!("sh '{}'", script.display()), format!("sh {}/s*.sh", outer.at("ignored").display())]
    {
        let line = format!("{line}; openssl dgst -sha256 -sign '{key}'");
        let arguments =
            ["build", "--force", "--allow-dirty", "--allow-write", "..", "--key", &public, "--signer", &line];
        let outcome = outer.modelseal(&arguments).current_dir(&inner).env("RAN", &ran).run();
        assert!(!ran.exists(), "{}", outcome.all());
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_guards_hooks_of_an_outer_repository() {
    let outer = project(RUN, "");
    git_in(&outer.at(""), &outer.home(), &["config", "core.hooksPath", "sub/hooks"]);
    let inner = outer.at("sub");
    fs::create_dir_all(inner.join("hooks")).expect("creates");
    for (file, text) in [
        ("modelseal.toml", format!("[model]\nname = \"m\"\nversion = \"1\"\n{RUN}")),
        ("run.sh", "mkdir -p model; echo 1 > model/w; echo evil > hooks/post-checkout; true\n".to_string()),
        ("hooks/kept", String::new()),
        (".gitignore", "model\ndist\n".to_string()),
    ] {
        fs::write(inner.join(file), text).expect("writes");
    }
    git_in(&inner, &outer.home(), &["init", "-q"]);
    git_in(&inner, &outer.home(), &["add", "-A"]);
    git_in(&inner, &outer.home(), &["commit", "-q", "-m", "x"]);
    outer.modelseal(&["build", "--key", &outer.key()]).current_dir(&inner).expect(0);
    assert!(!inner.join("hooks/post-checkout").exists());
}

/// A refused build restores the old artifact, even if something else is in its place.
#[test]
#[ignore = "needs bubblewrap"]
fn failed_build_keeps_the_old_artifact_despite_a_link_or_a_closed_directory() {
    let recipe = RUN.replace("path = \"model\"\n", "path = \"model\"\nsymlinks = \"follow\"\n");
    let script = "h=$(printf %s \"$PWD/model\" | sha256sum | cut -c1-16); mkdir -p model; ln -s ../.git/modelseal-aside-$h/w model/w\n";
    let linked = project(&recipe, script);
    linked.write("model/w", "old");
    assert_eq!(linked.modelseal(&["build", "--key", &linked.key()]).run().code, Some(1));
    assert_eq!(fs::read_to_string(linked.at("model/w")).expect("reads"), "old");
    let closed = project(RUN, "chmod 555 .; exit 1\n");
    closed.write("model/w", "old");
    assert_eq!(closed.modelseal(&["build", "--key", &closed.key()]).run().code, Some(1));
    assert_eq!(fs::read_to_string(closed.at("model/w")).expect("reads"), "old");
    fs::set_permissions(closed.at(""), fs::Permissions::from_mode(0o755)).expect("sets");
}

/// This also applies with `[code] none`.
#[test]
#[ignore = "needs bubblewrap"]
fn probe_sees_no_git_directory_if_the_recipe_sets_code_none() {
    let script = "import os\nassert not os.path.exists('.git') or os.listdir('.git') == []\n";
    let recipe = "[code]\nnone = true\n[artifact]\npath = \"model\"\n[[probe]]\nname = \"a\"\ncommand = [\"python3\", \"look.py\"]\ninputs = \"q.jsonl\"\n";
    let project = project(recipe, "");
    project.write("model/w", "1");
    project.write("q.jsonl", "{\"id\":\"a\",\"input\":1}\n{\"id\":\"b\",\"input\":2}\n");
    let answer = "import json, sys\nfor line in sys.stdin:\n    r = json.loads(line)\n    print(json.dumps({'id': r['id'], 'output': r['input']}))\n";
    project.write("look.py", format!("{script}{answer}"));
    let outcome = project.modelseal(&["build", "--key", &project.key()]).run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
}

/// Settings in each form that git or its shell accepts.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_guards_files_in_every_form_of_git_setting() {
    let names = ["a", "b", "c", "d", "e", "f", "g"].map(|name| format!("{name}/x.sh"));
    let script = format!(
        "mkdir -p model; echo 1 > model/w; for f in {} xdg/git/config; do mkdir -p $(dirname $f); echo evil > $f; done 2>/dev/null; true\n",
        names.join(" ")
    );
    let project = project(RUN, &script);
    for path in &names {
        project.write(path, "true\n");
    }
    project.write(".gitignore", "model\ndist\nxdg\n");
    for (name, value) in [
        ("alias.url", "!./a/x.sh"),
        ("pager.remote", "./b/x.sh"),
        ("filter.p.clean", "\"$(git rev-parse --show-toplevel)\"/c/x.sh"),
        ("filter.q.clean", "$PWD/d/x.sh"),
        ("filter.r.clean", "e/x.sh<%f"),
        ("filter.s.clean", "f/x.sh>/dev/null"),
    ] {
        project.git(&["config", name, value]);
    }
    project.commit();
    fs::create_dir(project.at("xdg")).expect("creates");
    let run = project.modelseal(&["build", "--key", &project.key()]);
    let run = run.env("XDG_CONFIG_HOME", project.at("xdg")).env("GIT_CONFIG_COUNT", "1");
    run.env("GIT_CONFIG_KEY_0", "alias.y").env("GIT_CONFIG_VALUE_0", "!sh g/x.sh").expect(0);
    for path in &names {
        assert_eq!(fs::read_to_string(project.at(path)).expect("reads"), "true\n", "{path}");
    }
    assert!(!project.at("xdg/git/config").exists());
}

/// If a command leaves a link as its artifact, or above it, modelseal does not follow it.
#[test]
#[ignore = "needs bubblewrap"]
fn rejected_artifact_copy_does_not_follow_links() {
    for (path, script) in [
        ("model", "rm -rf model; ln -s \"$REAL/work\" model; echo x >> run.sh"),
        ("out/work", "rm -rf out; ln -s \"$REAL\" out"),
    ] {
        for arguments in [&[][..], &["--clean"]] {
            for temporary in [None, Some("/dev/shm")] {
                let recipe = format!(
                    "[artifact]\npath = {path:?}\n[run]\ncommand = [\"sh\", \"run.sh\"]\npass_env = [\"REAL\"]\n"
                );
                let project = project(&recipe, &format!("{script}\n"));
                let work = project.home().join("work/deep");
                fs::create_dir_all(&work).expect("creates");
                fs::write(work.join("file"), "mine").expect("writes");
                git_in(&project.home().join("work"), &project.home(), &["init", "-q"]);
                let home = project.home().to_string_lossy().into_owned();
                let key = project.key();
                let mut run =
                    project.modelseal(&[&["build", "--key", &key], arguments].concat()).env("REAL", &home);
                if let Some(temporary) = temporary {
                    run = run.env("TMPDIR", temporary);
                }
                let outcome = run.expect(1);
                assert!(project.home().join("work/.git/HEAD").is_file(), "{path} {}", outcome.all());
                assert_eq!(fs::read_to_string(work.join("file")).expect("is there"), "mine");
                let rejected = project.at("dist/m-1.tar.rejected");
                assert!(!rejected.join("deep/file").is_file() || rejected.is_symlink(), "{}", outcome.all());
            }
        }
    }
}

/// Runs as an unprivileged user, who cannot look into a directory without permissions.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_guards_hooks_in_a_directory_that_a_command_closed() {
    peers::program("setpriv");
    let recipe = "[artifact]\npath = \"model\"\n[environment]\ncommands = [[\"chmod\", \"000\", \"tools\"]]\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";
    let script = "chmod 755 tools; mkdir -p model tools/hooks; echo 1 > model/w; echo evil > tools/hooks/pre-commit; true\n";
    let project = project(recipe, script);
    fs::create_dir(project.at("tools")).expect("creates");
    project.git(&["config", "core.hooksPath", "tools/hooks"]);
    project.git(&["config", "--global", "safe.directory", "*"]);
    let key = project.key();
    let mut command = project.modelseal(&["build", "--key", &key]).into_command();
    if rustix::process::geteuid().is_root() {
        let own = std::process::Command::new("chown").args(["-R", "4217:4217"]).arg(project.root()).status();
        assert!(own.expect("runs").success());
        let mut as_user = std::process::Command::new("setpriv");
        as_user
            .args(["--reuid", "4217", "--regid", "4217", "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_modelseal"));
        as_user.args(["build", "--key", &key]).current_dir(project.at("")).env("HOME", project.home());
        command = as_user;
    }
    let said = command.output().expect("runs");
    assert!(!said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let _ = fs::set_permissions(project.at("tools"), fs::Permissions::from_mode(0o755));
    assert!(!project.at("tools/hooks/pre-commit").exists());
}

/// A word in a setting can match the name of something in the project by chance.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_keeps_files_writable_that_match_a_word_of_a_git_setting() {
    let project = project(RUN, "mkdir -p model; echo 1 > model/w; echo 2 > ignored/cache/x; echo 3 > log\n");
    fs::create_dir_all(project.at("ignored/cache")).expect("creates");
    fs::create_dir_all(project.at("cache")).expect("creates");
    project.write("run.sh", "mkdir -p model; echo 1 > model/w; echo 2 > cache/x; echo 3 > log\n");
    project.write("log", "1");
    project.write(".gitignore", "model\ndist\ncache\nlog\nignored\n");
    project.git(&["config", "credential.helper", "cache"]);
    project.git(&["config", "alias.lg", "log --graph"]);
    project.commit();
    project.modelseal(&["build", "--key", &project.key()]).expect(0);
}
