//! Projects that choose their paths, links, variables and repositories so that a command gains access that it must not
//! have.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::support::peers;
use crate::support::project::{Project, git_in};
use crate::support::run::Outcome;

/// A project with this recipe after `[model]`, and a home with a secret.
pub fn project(recipe: &str, script: &str) -> Project {
    peers::program("bwrap");
    let project = Project::empty();
    project.write("modelseal.toml", format!("[model]\nname = \"m\"\nversion = \"1\"\n{recipe}"));
    project.write("run.sh", script);
    project.write(".gitignore", "out\nmodel\ndist\nbin\nignored\nquoted\n");
    project.commit();
    for (path, content) in [(".ssh/id", "SECRET"), (".bashrc", "# mine\n"), (".local/bin/git", "# mine\n")] {
        let path = project.home().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
        fs::write(path, content).expect("writes");
    }
    project
}

pub const RUN: &str = "[artifact]\npath = \"model\"\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";

/// Builds, and checks that the home is unchanged and that the secret appears nowhere.
#[track_caller]
pub fn build(project: &Project, arguments: &[&str]) -> Outcome {
    let key = project.key();
    let outcome = project.modelseal(&[&["build", "--key", &key], arguments].concat()).run();
    unharmed(project, &outcome);
    outcome
}

/// Builds with these variables, and checks that the secret appears nowhere.
#[track_caller]
pub fn build_with(project: &Project, variables: &[(&str, String)], arguments: &[&str]) -> Outcome {
    let key = project.key();
    let mut run = project.modelseal(&[&["build", "--force", "--key", &key], arguments].concat());
    for (name, value) in variables {
        run = run.env(name, value);
    }
    let outcome = run.run();
    unharmed(project, &outcome);
    outcome
}

#[track_caller]
pub fn unharmed(project: &Project, outcome: &Outcome) {
    let home = |path: &str| fs::read_to_string(project.home().join(path)).unwrap_or_default();
    assert_eq!(home(".ssh/id"), "SECRET", "{}", outcome.all());
    assert_eq!(home(".bashrc"), "# mine\n", "{}", outcome.all());
    assert_eq!(home(".local/bin/git"), "# mine\n", "{}", outcome.all());
    let mut said = outcome.all().into_bytes();
    for place in [project.at("model"), project.at("dist")] {
        for entry in walkdir::WalkDir::new(place).into_iter().flatten().filter(|entry| entry.path().is_file())
        {
            said.extend(fs::read(entry.path()).expect("reads"));
        }
    }
    assert!(!said.windows(6).any(|window| window == b"SECRET"), "{}", outcome.all());
}

#[test]
#[ignore = "needs bubblewrap"]
fn environment_command_cannot_redirect_the_artifact_path_to_user_files() {
    let recipe = "[artifact]\npath = \"out/.ssh\"\n[environment]\ncommands = [[\"ln\", \"-sfn\", \"../home\", \"out\"]]\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";
    let project =
        project(recipe, "cat .git/modelseal-aside-*/*; rm out; mkdir -p out/.ssh; echo 1 > out/.ssh/w\n");
    let outcome = build(&project, &[]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("a command redirected the artifact's path to another place");
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_link_out_of_the_project_at_dist_or_the_artifact() {
    let first = project(RUN, "mkdir -p model/start; echo 1 > model/start/w; echo >> run.sh\n");
    fs::create_dir_all(first.home().join(".vim/pack")).expect("creates");
    symlink("../home/.vim/pack", first.at("dist")).expect("links");
    let outcome = build(&first, &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("leads out of the project through a link").says("`-o FILE`");
    assert_eq!(fs::read_dir(first.home().join(".vim/pack")).expect("reads").count(), 0);

    let recipe =
        "[artifact]\npath = \"out/bin\"\nsymlinks = \"follow\"\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";
    let second = project(recipe, "mkdir -p out/bin; echo evil > out/bin/git\n");
    symlink("../home/.local", second.at("out")).expect("links");
    let outcome = second.modelseal(&["build", "--clean", "--statement", "../m.json"]).run();
    assert_ne!(outcome.code, Some(0), "{}", outcome.all());
    unharmed(&second, &outcome);
}

/// A cache is kept for the next build, including the links in it.
#[test]
#[ignore = "needs bubblewrap"]
fn kept_cache_does_not_follow_links_that_a_command_left_in_it() {
    let first = project(&format!("{RUN}caches = [\"a\"]\n"), "");
    let home = first.home();
    first.write(
        "run.sh",
        format!("mkdir -p model; ln -s '{0}/.ssh' ~/.cache/a/b; ln -s '{0}' ~/.cache/a/c; echo kept > ~/.cache/a/k; echo 1 > model/w\n", home.display()),
    );
    first.commit();
    assert_eq!(build(&first, &[]).code, Some(0));
    first.edit_recipe("caches = [\"a\"]", "caches = [\".cache/a/b\", \".cache/a/c\"]");
    first.set_version("2");
    first.write(
        "run.sh",
        "mkdir -p model; cat ~/.cache/a/b/id >&2; echo evil >> ~/.cache/a/c/.bashrc; echo 1 > model/w\n",
    );
    first.commit();
    build(&first, &[]);
    // The first name has kept its content, and a project in another place has its own cache.
    first.edit_recipe("caches = [\".cache/a/b\", \".cache/a/c\"]", "caches = [\"a\"]");
    first.set_version("3");
    first.write("run.sh", "mkdir -p model; cat ~/.cache/a/k > model/w\n");
    first.commit();
    assert_eq!(build(&first, &[]).code, Some(0));
    let shown = first.modelseal(&["show", "dist/m-3.tar", "--format", "json"]).expect(0).json();
    let external = &shown["statement"]["predicate"]["buildDefinition"]["externalParameters"];
    assert_eq!(external["caches"], serde_json::json!(["a"]));
    let archive = first.at("dist/m-3.tar").to_string_lossy().into_owned();
    let rebuilt = first.modelseal(&["reproduce", &archive, "--key", &first.public_key()]).expect(3);
    rebuilt.says("/.cache/a/k: No such file").says("the command `sh run.sh` failed");
}

/// With a variable of the dynamic loader, code of the project would run in the program that isolates the command.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_program_loads_no_library_from_a_passed_loader_variable() {
    let project =
        project(&format!("{RUN}pass_env = [\"LD_LIBRARY_PATH\"]\n"), "mkdir -p model; echo 1 > model/w\n");
    let library = "#include <stdio.h>\n#include <stdlib.h>\n__attribute__((constructor)) static void run(void) { FILE *f = fopen(\"../ran\", \"w\"); if (f) fclose(f); }\n";
    project.write("evil.c", library);
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", "libcap.so.2", "evil.c"])
        .current_dir(project.at(""))
        .status();
    assert!(made.expect("runs").success());
    project.commit();
    let key = project.key();
    // The empty entry at the end means the directory in which a program starts.
    project.modelseal(&["build", "--key", &key]).env("LD_LIBRARY_PATH", "/nowhere:").expect(0);
    assert!(!project.root().join("ran").exists());
}

#[test]
#[ignore = "needs bubblewrap"]
fn reproduce_withholds_the_variable_that_holds_the_signing_key() {
    let project = project(
        &format!("{RUN}pass_env = [\"THE_KEY\"]\n"),
        "mkdir -p model; echo 1 > model/w; echo \"$THE_KEY\" >&2\n",
    );
    let archive = project.build().to_string_lossy().into_owned();
    let key = fs::read_to_string(project.key()).expect("reads");
    let public = project.public_key();
    let arguments = ["reproduce", &archive, "--key", &public, "--attest", "env://THE_KEY"];
    let outcome = project.modelseal(&arguments).env("THE_KEY", key).expect(0);
    assert!(!outcome.all().contains("PRIVATE KEY"), "{}", outcome.all());
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_does_not_run_unisolated_if_the_project_overloads_the_sandbox() {
    let project = project(RUN, "mkdir -p model; cat \"$REAL\" >&2; echo 1 > model/w\n");
    fs::create_dir(project.at("bin")).expect("creates");
    let tools = project.home().join("tools/bin");
    fs::create_dir_all(&tools).expect("creates");
    for index in 0..3200 {
        fs::write(tools.join(format!("t{index}")), "").expect("writes");
        symlink(tools.join(format!("t{index}")), project.at(&format!("bin/t{index}"))).expect("links");
    }
    let path = format!("{}:{}", project.at("bin").display(), std::env::var("PATH").expect("a PATH"));
    let outcome = project.modelseal(&["build", "--key", &project.key()]).env("PATH", path).run();
    unharmed(&project, &outcome);
    assert!(!outcome.all().contains("without isolation"), "{}", outcome.all());
}

/// A signer runs outside the sandbox, after the commands.
#[test]
#[ignore = "needs bubblewrap and openssl"]
fn signer_command_runs_nothing_that_commands_could_change() {
    let project = project(
        RUN,
        "mkdir -p model; echo 1 > model/w; mkdir -p bin ignored; for n in openssl sh cat; do printf '#!/bin/sh\\ntouch ../ran\\n' > bin/$n; chmod 755 bin/$n; done; true\n",
    );
    fs::create_dir(project.at("bin")).expect("creates");
    project.write("ignored/sign", "#!/bin/sh\nopenssl dgst -sha256 -sign \"$1\"\n");
    fs::set_permissions(project.at("ignored/sign"), fs::Permissions::from_mode(0o755)).expect("sets");
    let (key, public) = (project.key(), project.public_key());
    let build = |signer: &str, more: &[&str]| {
        let path = format!("{}:{}", project.at("bin").display(), std::env::var("PATH").expect("a PATH"));
        let arguments = [&["build", "--force", "--key", &public, "--signer", signer], more].concat();
        project.modelseal(&arguments).env("PATH", path).run()
    };
    let plain = build(&format!("openssl dgst -sha256 -sign '{key}'"), &[]);
    assert_eq!(plain.code, Some(0), "{}", plain.all());
    assert!(!project.root().join("ran").exists());
    // Commands see nothing in a temporary directory. Elsewhere, a warning names the key until it is hidden.
    assert!(!plain.all().contains("warning: the signer"), "{}", plain.all());
    let inside = project.at("ignored/signer.key");
    fs::copy(&key, &inside).expect("copies");
    let line = format!("openssl dgst -sha256 -sign '{}'", inside.display());
    build(&line, &[]).says("which commands of a recipe can change").says("--signer-hide");
    let hidden = build(&line, &["--signer-hide", "ignored/signer.key"]);
    assert_eq!(hidden.code, Some(0), "{}", hidden.all());
    let script = format!("'{}' '{key}'", project.at("ignored/sign").display());
    assert_eq!(build(&script, &[]).code, Some(2));
    build("openssl dgst -sha256 -sign ignored/signer.key", &[]).says("give the absolute path");
    // Commands of an earlier build wrote here.
    build("openssl dgst -sha256 -sign ignored/signer.key", &["--adopt"]).says("give the absolute path");
    build("true", &["--signer-hide", "nowhere"]).says("`--signer-hide`: `nowhere` does not exist");
}

/// A mount can give a directory above the key a second name. The key is still the same key.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_hides_homes_and_keys_under_each_mounted_name() {
    peers::program("unshare");
    let project = project(RUN, "");
    let other =
        tempfile::Builder::new().prefix("mounts").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("makes");
    let script = format!(
        "cat '{0}/home/.ssh/id' '{0}/keys/ci.key' >&2; mkdir -p model; echo 1 > model/w\n",
        other.path().display()
    );
    project.write("run.sh", script);
    project.commit();
    let keys = project.root().join("keys");
    for directory in [&keys, &other.path().join("home"), &other.path().join("keys")] {
        fs::create_dir_all(directory).expect("creates");
    }
    fs::rename(project.key(), keys.join("ci.key")).expect("moves");
    let mount = |from: &std::path::Path, to: &str| {
        format!("mount --bind '{}' '{}/{to}'", from.display(), other.path().display())
    };
    let command = format!(
        "{} && {} && cat '{}/home/.ssh/id' && exec '{}' build --key '{}/keys/ci.key'",
        mount(&project.home(), "home"),
        mount(&keys, "keys"),
        other.path().display(),
        env!("CARGO_BIN_EXE_modelseal"),
        project.root().display(),
    );
    let built = Command::new("unshare")
        .args(["-Urm", "--propagation", "private", "sh", "-c", &command])
        .current_dir(project.at(""))
        .env("HOME", project.home())
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(built.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&built.stdout).matches("SECRET").count(), 1, "the mount is there");
    assert!(!said.contains("SECRET") && !said.contains("PRIVATE KEY"), "{said}");
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_work_tree_that_is_the_home_and_names_the_options() {
    let project = project(RUN, "mkdir -p model; echo 1 > model/w\n");
    let key = project.key();
    let build = |arguments: &[&str]| {
        project
            .modelseal(&[&["build", "--key", &key, "--force"], arguments].concat())
            .home(&project.at(""))
            .run()
    };
    let refused = build(&[]);
    assert_eq!(refused.code, Some(2), "{}", refused.all());
    refused.says("is a home directory").says("`--clean`").says("--allow-write");
    assert!(project.at(".config").exists());
    for arguments in [&["--clean", "--allow-dirty"][..1], &["--allow-write", ".", "--allow-dirty"]] {
        fs::remove_dir_all(project.at(".config")).expect("removes");
        let outcome = build(arguments);
        assert!(
            outcome.code == Some(0) || outcome.all().contains("is not as committed"),
            "{}",
            outcome.all()
        );
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_warns_of_a_work_tree_on_path_and_uses_a_default_without_path() {
    let project = project(RUN, "mkdir -p model; echo $PATH > model/w\n");
    let key = project.key();
    let path = std::env::var("PATH").expect("a PATH");
    let build =
        |path: &str| project.modelseal(&["build", "--force", "--key", &key]).env("PATH", path).expect(0);
    let warning = "where commands can write: a program left there runs when you type its name";
    assert!(!build(&path).all().contains(warning));
    for own in [".", "", &project.at("").to_string_lossy()] {
        build(&format!("{own}:{path}")).says("warning: PATH names").says(warning);
    }
    let mut command = project.modelseal(&["build", "--force", "--key", &key]).into_command();
    assert!(command.env_remove("PATH").status().expect("runs").success());
    assert_eq!(fs::read_to_string(project.at("model/w")).expect("reads"), "/usr/bin:/bin\n");
}

/// This is how a service without a home runs, also as root.
#[test]
#[ignore = "needs bubblewrap"]
fn build_creates_no_missing_home() {
    let recipe = format!("[[data]]\nname = \"d\"\npath = \"run.sh\"\n{RUN}caches = [\"uv\"]\n");
    let project = project(&recipe, "mkdir -p model; echo 1 > model/w\n");
    let nowhere = std::path::PathBuf::from(format!("/modelseal-nowhere-{}", std::process::id()));
    project
        .modelseal(&["build", "--key", &project.key()])
        .home(&nowhere)
        .expect(0)
        .says("cannot keep `caches` for the next build");
    assert!(!nowhere.exists());
    // A cache directory that cannot be written to is not an error either.
    let cache = project.home().join(".cache");
    fs::write(&cache, "").expect("writes");
    project.modelseal(&["build", "--force", "--key", &project.key()]).expect(0).says("cannot keep `caches`");
}

/// Anything that a command wrote there would disappear without a message.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_keeps_the_surroundings_of_a_project_in_shared_memory_read_only() {
    let script = "mkdir -p model; echo 1 > model/w; echo lost > ../beside; echo here > here\n";
    let project = project(RUN, script);
    let shared = tempfile::Builder::new().prefix("project").tempdir_in("/dev/shm").expect("makes");
    let place = shared.path().join("p");
    git_in(&project.at(""), &project.home(), &["clone", "-q", ".", &place.to_string_lossy()]);
    let key = project.key();
    let outcome = project.modelseal(&["build", "--key", &key]).current_dir(&place).run();
    outcome.says("../beside: Read-only file system");
    assert_eq!(fs::read_to_string(place.join("here")).expect("reads"), "here\n");
}
