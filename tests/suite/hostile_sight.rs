//! Projects that redirect what is shown to a command, or shipped, to files and repositories of the user.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::hostile_projects::{RUN, build, build_with, project, unharmed};
use crate::support::project::{Project, git_in};
use crate::support::run::Outcome;

/// Writes a file in the user's home.
fn write_home(project: &Project, path: &str, content: &str) {
    let path = project.home().join(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
    fs::write(path, content).expect("writes");
}

/// Prints the secret and copies it into the model.
const STEAL: &str =
    "mkdir -p model; echo 1 > model/w; cat ../home/.ssh/id >&2; cp ../home/.ssh/id model/stolen; true\n";

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_hides_the_home_behind_a_link_at_a_program_directory() {
    let project = project(RUN, STEAL);
    symlink("../home/.ssh", project.at("bin")).expect("links");
    symlink("../home/.ssh", project.at(".venv")).expect("links");
    project.write(".gitignore", "model\ndist\n");
    project.commit();
    let usual = "/usr/bin:/bin";
    for path in [project.at("bin").to_string_lossy().into_owned(), "./bin".into(), "bin".into()] {
        build_with(&project, &[("PATH", format!("{path}:{usual}"))], &[]);
    }
    let environment = project.at(".venv").to_string_lossy().into_owned();
    build_with(&project, &[("PATH", usual.into()), ("VIRTUAL_ENV", environment.clone())], &[]);
    build_with(&project, &[("PATH", usual.into()), ("CONDA_PREFIX", environment)], &[]);
}

/// The environment is not active in the first build, but it is in the second.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_hides_the_home_from_an_environment_that_a_command_rewrote() {
    let plant = "[ -e .venv/x ] || { mkdir .venv/x; ln -s \"$PWD/../home/.ssh\" .venv/x/bin; echo \"home = $PWD/.venv/x/bin\" > .venv/pyvenv.cfg; }; true\n";
    let project = project(RUN, &format!("{STEAL}{plant}"));
    project.write(".venv/pyvenv.cfg", "home = /usr/bin\n");
    project.write(".venv/bin/activate", "\n");
    symlink("/usr/bin/python3", project.at(".venv/bin/python")).expect("links");
    project.write(".gitignore", "model\ndist\n.venv\n");
    project.commit();
    build_with(&project, &[("PATH", "/usr/bin:/bin".into())], &[]);
    let path = format!("{}:/usr/bin:/bin", project.at(".venv/bin").display());
    let environment = project.at(".venv").to_string_lossy().into_owned();
    build_with(&project, &[("PATH", path), ("VIRTUAL_ENV", environment)], &[]);
}

/// The user installed the project once. Since then, its `src` became a link.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_hides_the_home_behind_an_editable_install_of_the_project() {
    let project = project(RUN, STEAL);
    let environment = project.home().join("envs/main");
    write_home(&project, "envs/main/pyvenv.cfg", "home = /usr/bin\n");
    write_home(&project, "envs/main/bin/activate", "\n");
    let leads = project.at("src").to_string_lossy().into_owned();
    write_home(&project, "envs/main/lib/python3.11/site-packages/__editable__.m.pth", &leads);
    symlink("../home/.ssh", project.at("src")).expect("links");
    project.commit();
    let path = format!("{}:/usr/bin:/bin", environment.join("bin").display());
    let environment = environment.to_string_lossy().into_owned();
    build_with(&project, &[("PATH", path), ("VIRTUAL_ENV", environment)], &[]);
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_hides_the_home_behind_a_project_program_that_became_a_link() {
    let project = project(RUN, STEAL);
    fs::create_dir(project.home().join("tools")).expect("creates");
    symlink(project.at("tool"), project.home().join("tools/tool")).expect("links");
    symlink("../home/.ssh/id", project.at("tool")).expect("links");
    project.commit();
    let path = format!("{}:/usr/bin:/bin", project.home().join("tools").display());
    build_with(&project, &[("PATH", path)], &[]);
}

/// An input is shown wherever it leads, except where a command has redirected it.
#[test]
#[ignore = "needs bubblewrap"]
fn build_leaves_no_link_at_an_input_for_the_next_build() {
    let recipe = format!("[[data]]\nname = \"d\"\npath = \"data/keys\"\n{RUN}");
    let exchange = "mv data .data; ln -s ../home/store data";
    for (what, script) in [
        ("ends well", format!("[ -h data ] || {{ {exchange}; }}; true")),
        ("fails", format!("[ -h data ] && exit 0; {exchange}; exit 1")),
    ] {
        let steal = "mkdir -p model; echo 1 > model/w; cat ../home/store/keys/k >&2; cat ../home/store/keys/k > model/stolen\n";
        let project = project(&recipe, &format!("{steal}{script}\n"));
        write_home(&project, "store/keys/k", "SECRET");
        project.write("data/keys/a", "1\n");
        project.write(".gitignore", "model\ndist\ndata*\n.data\n");
        project.commit();
        for _ in 0..3 {
            let outcome = build_with(&project, &[], &[]);
            assert!(!project.at("data").is_symlink(), "{what}: {}", outcome.all());
        }
    }
}

/// A project inside the home, where most projects are. The home is hidden.
fn project_in_the_home(project: &Project, recipe: &str, script: &str) -> PathBuf {
    let recipe = format!("[model]\nname = \"m\"\nversion = \"1\"\n[code]\nnone = true\n{recipe}");
    write_home(project, "src/p/modelseal.toml", &recipe);
    write_home(project, "src/p/run.sh", script);
    project.home().join("src/p")
}

/// Builds there, and checks that the secret is neither printed nor in the model.
#[track_caller]
fn build_there(project: &Project, place: &Path) -> Outcome {
    let outcome = project.modelseal(&["build", "--force", "--key", &project.key()]).current_dir(place).run();
    unharmed(project, &outcome);
    let made = fs::read_to_string(place.join("model/w")).unwrap_or_default();
    assert!(!made.contains("SECRET"), "{made}\n{}", outcome.all());
    outcome
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_hides_a_directory_above_that_commondir_names() {
    let outer = project(RUN, "");
    let script =
        "mkdir -p model; { cat ../private/.env; ls -a ../private; echo made; } > model/w 2>&1; true\n";
    let place = project_in_the_home(&outer, RUN, script);
    write_home(&outer, "src/private/.env", "SECRET");
    assert_eq!(build_there(&outer, &place).code, Some(0));
    for leads in ["../..", "../../..", "../../private"] {
        write_home(&outer, "src/p/.git/HEAD", "ref: refs/heads/main\n");
        write_home(&outer, "src/p/.git/commondir", leads);
        let outcome = build_there(&outer, &place);
        let made = fs::read_to_string(place.join("model/w")).unwrap_or_default();
        assert!(!made.contains(".env\n"), "{leads}: {}", outcome.all());
    }
}

/// Some users keep their settings in a repository in their home.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_hides_the_home_repository_from_a_project_without_one() {
    let outer = project(RUN, "");
    let script = "mkdir -p model; { cat ../../.ssh/token; git --git-dir=../../.git show HEAD:.ssh/token; cat ../../.git/HEAD; echo made; } > model/w 2>&1; true\n";
    let place = project_in_the_home(&outer, RUN, script);
    write_home(&outer, ".ssh/token", "SECRET");
    git_in(&outer.home(), &outer.home(), &["init", "-q", "-b", "settings"]);
    git_in(&outer.home(), &outer.home(), &["add", ".ssh/token"]);
    git_in(&outer.home(), &outer.home(), &["commit", "-q", "-m", "x"]);
    build_there(&outer, &place);
    let made = fs::read_to_string(place.join("model/w")).unwrap_or_default();
    assert!(!made.contains("refs/heads/settings"), "{made}");
}

/// Two files make a directory look like a repository. It is searched in any case.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_blocks_sockets_in_a_work_tree_that_looks_like_a_repository() {
    let recipe =
        "[artifact]\npath = \"model\"\n[run]\nnetwork = false\ncommand = [\"python3\", \"connect.py\"]\n";
    let project = project(recipe, "");
    let connect = "import os, socket\nos.makedirs('model', exist_ok=True)\nout = open('model/w', 'w')\nfor i in range(8):\n    try:\n        socket.socket(socket.AF_UNIX).connect(f'zz{i}/s')\n        print('REACHED', file=out)\n    except OSError as error:\n        print('refused', error.strerror, file=out)\n";
    project.write("connect.py", connect);
    project.write(".gitignore", "model\ndist\nzz*\n");
    project.write("HEAD", "");
    project.write("commondir", "");
    project.commit();
    let mut listeners = Vec::new();
    for index in 0..8 {
        fs::create_dir(project.at(&format!("zz{index}"))).expect("creates");
        listeners.push(UnixListener::bind(project.at(&format!("zz{index}/s"))).expect("binds"));
    }
    let outcome = build(&project, &[]);
    let said = fs::read_to_string(project.at("model/w")).expect("reads");
    assert_eq!(said.lines().filter(|line| line.starts_with("refused")).count(), 8, "{said}{}", outcome.all());
}

const ASK: &str = "[[probe]]\nname = \"p\"\ncommand = [\"python3\", \"ask.py\"]\ninputs = \"q.jsonl\"\n";

/// A project whose probe prints every file that it finds under these names in the artifact.
fn asked(recipe: &str, names: &str) -> Project {
    let project = project(recipe, "");
    project.write(
        "q.jsonl",
        "{\"id\":\"a\",\"input\":1}\n{\"id\":\"b\",\"input\":2}\n{\"id\":\"c\",\"input\":3}\n",
    );
    let ask = format!(
        "import json, os, sys\nfor name in {names}:\n    try:\n        print(open(os.path.join(os.environ['MODELSEAL_ARTIFACT'], name)).read(), file=sys.stderr)\n    except OSError as error:\n        print(error.strerror, file=sys.stderr)\n    try:\n        print(open(os.path.join('../home/.ssh', name)).read(), file=sys.stderr)\n    except OSError as error:\n        print(error.strerror, file=sys.stderr)\nfor line in sys.stdin:\n    q = json.loads(line)\n    print(json.dumps({{'id': q['id'], 'output': q['input'] * 1.5}}), flush=True)\n"
    );
    project.write("ask.py", ask);
    project.write(".gitignore", "dist\n");
    project
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_an_adopted_artifact_with_links_into_the_home() {
    let follow = "[artifact]\npath = \"model\"\nsymlinks = \"follow\"\n";
    for inner in [None, Some("t"), Some("deep/t")] {
        for recipe in [follow.to_string(), format!("{follow}{ASK}")] {
            let project = asked(&recipe, "('id', 't/id', 'deep/t/id')");
            let link = match inner {
                None => project.at("model"),
                Some(name) => project.at("model").join(name),
            };
            fs::create_dir_all(link.parent().expect("a parent")).expect("creates");
            symlink(project.home().join(".ssh"), &link).expect("links");
            project.commit();
            let outcome = project.modelseal(&["build", "--key", &project.key()]).run();
            assert_ne!(outcome.code, Some(0), "{inner:?}: {}", outcome.all());
            assert!(!outcome.all().contains("SECRET"), "{inner:?}: {}", outcome.all());
            assert!(!project.at("dist/m-1.tar").exists(), "{inner:?}: {}", outcome.all());
        }
    }
}

/// This includes the key that would sign it.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_an_adopted_artifact_that_links_to_a_key() {
    let plain = "[artifact]\npath = \"model\"\n";
    let project = project(plain, "");
    project.write(".gitignore", "dist\nfirst\n");
    project.write("model", "1\n");
    project.commit();
    project.modelseal(&["build", "-o", "../first.tar"]).expect(0);
    let local = walkdir::WalkDir::new(project.home()).into_iter().flatten();
    let mut local =
        local.filter(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("PRIVATE KEY")));
    let local = local.next().expect("a first build makes a key").into_path();
    let keys = project.root().join("keys");
    fs::create_dir(&keys).expect("creates");
    fs::rename(project.key(), keys.join("ci.key")).expect("moves");
    let own = keys.join("ci.key").to_string_lossy().into_owned();
    project.edit_recipe(plain, &format!("{plain}symlinks = \"follow\"\n"));
    for (to, arguments) in [
        (local.parent().expect("a parent"), vec!["build"]),
        (local.as_path(), vec!["build"]),
        (keys.as_path(), vec!["build", "--key", &own]),
        (Path::new(&own), vec!["build", "--key", &own]),
    ] {
        fs::remove_file(project.at("model")).expect("removes");
        symlink(to, project.at("model")).expect("links");
        project.commit();
        let outcome = project.modelseal(&arguments).run();
        assert_ne!(outcome.code, Some(0), "{}: {}", to.display(), outcome.all());
        let archive = fs::read(project.at("dist/m-1.tar")).unwrap_or_default();
        assert!(!archive.windows(11).any(|window| window == b"PRIVATE KEY"), "{}", to.display());
        let _ = fs::remove_dir_all(project.at("dist"));
    }
}

/// A parse error would quote the line that is not a recipe.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_recipe_that_links_out_of_the_project_without_quoting_it() {
    let project = project(RUN, "mkdir -p model; echo 1 > model/w\n");
    write_home(&project, ".netrc", "machine example.com password SECRET\n");
    for target in ["../home/.netrc".to_string(), project.home().join(".netrc").to_string_lossy().into_owned()]
    {
        fs::remove_file(project.at("modelseal.toml")).expect("removes");
        symlink(&target, project.at("modelseal.toml")).expect("links");
        project.commit();
        let outcome = build(&project, &[]);
        assert!(matches!(outcome.code, Some(1 | 2)), "{}", outcome.all());
        assert!(!outcome.all().contains("example.com"), "{}", outcome.all());
    }
}

/// The signer's command line itself shows which variables it reads.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_to_pass_a_variable_of_the_signer_command_to_commands() {
    let recipe = format!("{RUN}pass_env = [\"SIGN_KEY\"]\n");
    let project = project(&recipe, "mkdir -p model; echo \"$SIGN_KEY\" > model/w; echo \"$SIGN_KEY\" >&2\n");
    let (key, public) = (project.key(), project.public_key());
    for line in ["test -n \"$SIGN_KEY\"", "test -n \"${SIGN_KEY}\"", "printenv SIGN_KEY > /dev/null"] {
        let line = format!("{line}; openssl dgst -sha256 -sign '{key}'");
        let run = project.modelseal(&["build", "--force", "--key", &public, "--signer", &line]);
        let outcome = run.env("SIGN_KEY", "SECRET").run();
        assert!(matches!(outcome.code, Some(1 | 2)), "{line}: {}", outcome.all());
        unharmed(&project, &outcome);
    }
}

/// The directory holds clones and copies of private data while a build runs.
#[test]
#[ignore = "needs bubblewrap"]
fn build_creates_its_temporary_directory_for_the_user_only() {
    let project = project(RUN, "mkdir -p model; echo 1 > model/w; sleep 0.3\n");
    let temporary = project.root().join("tmp");
    fs::create_dir(&temporary).expect("creates");
    let run = project.modelseal(&["build", "--clean", "--key", &project.key()]);
    let mut command = run.env("TMPDIR", &temporary).into_command();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let mut modes = Vec::new();
    while child.try_wait().expect("waits").is_none() {
        let found = fs::read_dir(&temporary).expect("reads").flatten();
        let found = found.filter_map(|entry| entry.metadata().ok()).filter(|found| found.is_dir());
        modes.extend(found.map(|found| found.permissions().mode() & 0o777));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().expect("ends").success());
    assert!(!modes.is_empty() && modes.iter().all(|mode| *mode == 0o700), "{modes:?}");
}
