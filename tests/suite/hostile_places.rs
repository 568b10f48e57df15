//! Directories that one command swaps for others, so that the next command, or modelseal itself, uses the wrong one.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::hostile_projects::{project, unharmed};
use crate::support::peers;
use crate::support::project::Project;
use crate::support::run::Outcome;

/// A recipe that runs `env.sh` before `run.sh`.
const TWICE: &str = "[artifact]\npath = \"model\"\n[environment]\ncommands = [[\"sh\", \"env.sh\"]]\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";

/// A project whose first command prepares the attack of the second one. The first line of a recipe is added here.
fn prepared(recipe: &str, first: &str, second: &str) -> Project {
    let project = project(recipe, &format!("mkdir -p model; echo x > model/w; {second}\n"));
    project.write("env.sh", format!("{first}\ntrue\n"));
    project.write(".gitignore", "model\ndist\ntmp\n.cache\n.d\nignored\n.home\n");
    project.commit();
    project
}

/// Builds, and checks that no key or secret is revealed and that no file of the user is changed, for any outcome.
#[track_caller]
fn build(project: &Project, variables: &[(&str, String)], arguments: &[&str]) -> Outcome {
    let key = project.key();
    let before = fs::read_to_string(&key).expect("reads");
    let mut run = project.modelseal(&[&["build", "--key", &key], arguments].concat());
    for (name, value) in variables {
        run = run.env(name, value);
    }
    let outcome = run.run();
    unharmed(project, &outcome);
    assert_eq!(fs::read_to_string(&key).expect("reads"), before, "{}", outcome.all());
    for place in ["model", "dist"] {
        for file in walkdir::WalkDir::new(project.at(place)).into_iter().flatten() {
            let held = fs::read(file.path()).unwrap_or_default();
            assert!(!held.windows(11).any(|window| window == b"PRIVATE KEY"), "{}", outcome.all());
        }
    }
    outcome
}

/// Commands can write to the directory of their home if they can write to the caller's temporary directory.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_stops_a_command_from_swapping_the_home_of_the_next_one() {
    let steal = "cat $HOME/.ssh/id $HOME/ci.key > model/w; echo evil >> $HOME/.bashrc; true";
    for moves in [
        "S=$(dirname $HOME); cd $(dirname $S) && mv $(basename $S) moved && mkdir -p $S/tmp && ln -s ../../../home $S/home",
        "rmdir $HOME; ln -s ../../../home $HOME",
        "S=$(dirname $HOME); cd $(dirname $S)/..; mv tmp t && mkdir -p $S/tmp && ln -s ../../../home $S/home",
    ] {
        let project = prepared(TWICE, moves, steal);
        fs::create_dir(project.at("tmp")).expect("creates");
        let temporary = project.at("tmp").to_string_lossy().into_owned();
        build(&project, &[("TMPDIR", temporary)], &[]);
        let allowed = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("makes");
        let within = allowed.path().to_string_lossy().into_owned();
        build(&project, &[("TMPDIR", within.clone())], &["--force", "--allow-write", &within]);
        build(&project, &[("TMPDIR", within.clone())], &["--force", "--clean", "--allow-write", &within]);
    }
}

/// A directory above the work tree can be allowed, and then moved.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_stops_a_command_from_swapping_a_directory_above_the_work_tree() {
    let allowed = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("makes");
    let project = prepared(TWICE, "", "cat .ssh/id ../p/.ssh/id > model/w; true");
    let moves = "cd ../..; mv x moved && mkdir x && ln -s \"$REAL\" x/p";
    project.write("env.sh", format!("{moves}\ntrue\n"));
    project.append_recipe("pass_env = [\"REAL\"]\n");
    project.commit();
    fs::create_dir(allowed.path().join("x")).expect("creates");
    let place = allowed.path().join("x/p");
    project.git(&["clone", "-q", ".", &place.to_string_lossy()]);
    let allowed = allowed.path().to_string_lossy().into_owned();
    let outcome = project
        .modelseal(&["build", "--key", &project.key(), "--allow-write", &allowed])
        .current_dir(&place)
        .env("REAL", project.home())
        .run();
    unharmed(&project, &outcome);
    assert!(place.join("modelseal.toml").is_file() && !place.is_symlink());
    let sealed = fs::read_to_string(place.join("model/w")).unwrap_or_default();
    assert!(!sealed.contains("SECRET"), "{}", outcome.all());
}

/// A declared input is shown wherever it is, so a command could redirect it to another place.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_stops_a_command_from_redirecting_an_input() {
    let recipe = format!("[[data]]\nname = \"train\"\npath = \"data\"\n{TWICE}");
    let second = "cat data/id > model/w; rm -f data; mv .d data; true";
    for target in ["../home/.ssh", "$REAL/.ssh"] {
        let project = prepared(&recipe, &format!("mv data .d; ln -s {target} data"), second);
        project.append_recipe("pass_env = [\"REAL\"]\n");
        project.write("data/id", "a,b\n1,2\n");
        project.write(".gitignore", "model\ndist\n.d\n");
        project.commit();
        let home = project.home().to_string_lossy().into_owned();
        for arguments in [&["--force"][..], &["--force", "--clean"]] {
            build(&project, &[("REAL", home.clone())], arguments);
        }
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_stops_a_command_from_redirecting_a_kept_cache() {
    let recipe = format!("{TWICE}caches = [\"uv\"]\n");
    let first = "K=$(ls -d .cache/modelseal/projects/*/*); rmdir $K && ln -s ../../../../../victim $K";
    let project = prepared(&recipe, first, "echo PLANTED > $HOME/.cache/uv/planted");
    let victim = project.root().join("victim");
    fs::create_dir(&victim).expect("creates");
    let cache = project.at(".cache").to_string_lossy().into_owned();
    for arguments in [&[][..], &["--force"]] {
        build(&project, &[("XDG_CACHE_HOME", cache.clone())], arguments);
        assert_eq!(fs::read_dir(&victim).expect("reads").count(), 0);
    }
}

/// bubblewrap creates missing mount points, and it sees more of the machine than the command does.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_creates_no_mount_point_outside_for_a_kept_cache() {
    let recipe = format!("{TWICE}caches = [\"~/.cache/pre-commit\"]\n");
    let project = prepared(&recipe, "", "true");
    let outside = project.root().join("outside");
    fs::create_dir(&outside).expect("creates");
    project.write(
        "env.sh",
        format!("cd $HOME; mv .cache .c; ln -s /oldroot{} .cache; true\n", outside.display()),
    );
    project.commit();
    build(&project, &[], &[]);
    assert_eq!(fs::read_dir(&outside).expect("reads").count(), 0);
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_to_write_a_statement_through_a_link_of_a_command() {
    let project = prepared(TWICE, "", "rm -rf out; ln -s ../victim out");
    let victim = project.root().join("victim");
    fs::create_dir(&victim).expect("creates");
    fs::write(victim.join("wine.json"), "mine").expect("writes");
    fs::create_dir(project.at("out")).expect("creates");
    let outcome = project.modelseal(&["build", "--statement", "out/wine.json"]).expect(1);
    outcome.says("with a link that leads out of the work tree").says("set aside");
    assert!(!project.at("out").is_symlink());
    assert_eq!(fs::read_to_string(victim.join("wine.json")).expect("reads"), "mine");
}

/// With any command line, a signer reads nothing from places where commands could write.
#[test]
#[ignore = "needs bubblewrap"]
fn signer_command_cannot_read_files_that_commands_could_change() {
    let project = prepared(TWICE, "", "echo 'echo ran > \"$RAN\"' > ignored/sign.sh; true");
    project.write("ignored/sign.sh", "true\n");
    let (key, public) = (project.key(), project.public_key());
    let (place, ran) = (project.at("").to_string_lossy().into_owned(), project.root().join("ran"));
    let place = place.trim_end_matches('/');
    let sign = format!("openssl dgst -sha256 -sign '{key}'");
    for line in [
        format!("sh {place}/ignored/sig*.sh; {sign}"),
        format!("sh {place}/ignored/si'gn'.sh; {sign}"),
        format!("cd {place} && sh ignored/sign.sh; {sign}"),
        format!("P={place}; sh \"$P\"/ignored/sign.sh; {sign}"),
        format!("sh $(echo {place}/ignored/s)ign.sh; {sign}"),
        format!("sh ~/../project/ignored/sign.sh; {sign}"),
    ] {
        let arguments = ["build", "--force", "--key", &public, "--signer", &line];
        let outcome = project.modelseal(&arguments).env("RAN", &ran).run();
        assert!(!ran.exists(), "{line}: {}", outcome.all());
    }
    let preload = format!("/nowhere.so {place}/ignored/lib.so");
    let outcome = project
        .modelseal(&["build", "--force", "--key", &public, "--signer", &format!("ls {place} >&2; {sign}")])
        .env("LD_PRELOAD", preload)
        .run();
    assert!(!outcome.all().contains("modelseal.toml"), "{}", outcome.all());
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_hides_a_home_on_path_and_build_ships_no_link_into_it() {
    let project = prepared(TWICE, "", "cat \"$REAL\"/.ssh/id > model/w; true");
    project.append_recipe("pass_env = [\"REAL\"]\n");
    project.commit();
    let home = project.home().to_string_lossy().into_owned();
    let path = std::env::var("PATH").expect("a PATH");
    for own in [home.clone(), "../home".to_string(), format!("{home}/..")] {
        build(&project, &[("PATH", format!("{own}:{path}")), ("REAL", home.clone())], &["--force"]);
    }
    let relative = project.modelseal(&["build", "--force", "--key", &project.key()]);
    let outcome = relative.home(Path::new("../home")).env("REAL", &home).run();
    unharmed(&project, &outcome);

    let linked = TWICE.replace("path = \"model\"\n", "path = \"model\"\nsymlinks = \"follow\"\n");
    let inside = prepared(&linked, "", "ln -s ../.home/.ssh/id model/stolen");
    fs::create_dir_all(inside.at(".home/.ssh")).expect("creates");
    fs::write(inside.at(".home/.ssh/id"), "SECRET").expect("writes");
    let run = inside.modelseal(&["build", "--key", &inside.key()]).home(&inside.at(".home"));
    run.expect(1).says("is a link to a path that commands cannot see");
    assert!(!inside.at("dist/m-1.tar").exists());
}

/// A parse error would quote the line that is not a recipe.
#[test]
#[ignore = "needs bubblewrap"]
fn build_does_not_quote_a_recipe_that_a_command_replaced() {
    let project = prepared(TWICE, "", "rm modelseal.toml; ln -s ../home/.ssh/id modelseal.toml");
    let outcome = build(&project, &[], &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("the command changed `./modelseal.toml`").claims_no_success();
}

/// A command can print any error text, but it cannot forge whether it was started.
#[test]
#[ignore = "needs bubblewrap"]
fn build_runs_a_command_only_once_if_it_imitates_a_sandbox_error() {
    let forged =
        "echo x >> ignored/count; echo \"bwrap: Can't create file at /nonexistent/x: gone\" >&2; exit 1";
    let project = prepared(TWICE, "", forged);
    fs::create_dir(project.at("ignored")).expect("creates");
    let outcome = build(&project, &[], &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("the command `sh run.sh` failed: exit code 1");
    assert_eq!(fs::read_to_string(project.at("ignored/count")).expect("reads"), "x\n");
}

/// The kernel does not list a socket in another network namespace, such as that of a container.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_refuses_connections_to_an_agent_socket_that_a_variable_names() {
    peers::program("unshare");
    let project = prepared(TWICE, "", "python3 connect.py > model/w");
    let connect = "import os, socket\nfor name in ('AGENT', 'SECOND'):\n    try:\n        socket.socket(socket.AF_UNIX).connect(os.environ[name])\n        print('REACHED')\n    except OSError as error:\n        print(error.strerror)\n";
    project.write("connect.py", connect);
    project.append_recipe("pass_env = [\"AGENT\", \"SECOND\"]\n");
    project.commit();
    let outside =
        tempfile::Builder::new().prefix("s").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("makes");
    let (agent, second) = (outside.path().join("agent"), outside.path().join("second"));
    let _listener = UnixListener::bind(&agent).expect("binds");
    fs::write(&second, "").expect("writes");
    let modelseal = env!("CARGO_BIN_EXE_modelseal");
    let key = project.key();
    let command = format!(
        "mount --bind '{}' '{}' && exec '{modelseal}' build --key '{key}'",
        agent.display(),
        second.display()
    );
    let built = std::process::Command::new("unshare")
        .args(["-Urmn", "--propagation", "private", "sh", "-c", &command])
        .current_dir(project.at(""))
        .env("HOME", project.home())
        .env("AGENT", &agent)
        .env("SECOND", &second)
        .output()
        .expect("runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = fs::read_to_string(project.at("model/w")).expect("reads");
    assert!(!said.contains("REACHED"), "{said}");
}
