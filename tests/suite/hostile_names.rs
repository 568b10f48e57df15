//! User files with a name other than the one under which they are hidden: a descriptor, a path through `/proc`, a link
//! that an earlier build left.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::hostile_projects::{RUN, build, build_with, project};
use crate::support::project::Project;
use crate::support::run::Outcome;

/// Builds with a key on standard input, which the arguments name.
fn with_key_on_stdin(project: &Project, key: &Path, arguments: &[&str]) -> Outcome {
    let mut command = project.modelseal(&[&["build", "--force"], arguments].concat()).into_command();
    command.stdin(File::open(key).expect("opens"));
    let output = command.output().expect("runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A key in the work tree, where commands would see it.
pub fn key_in(project: &Project) -> PathBuf {
    let key = project.at("ignored/ci.key");
    fs::create_dir(project.at("ignored")).expect("creates");
    fs::copy(project.key(), &key).expect("copies");
    key
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_hides_a_key_given_by_descriptor_or_proc_path() {
    let reads = "mkdir model; echo a > model/w; cat ignored/ci.key > model/key 2>/dev/null\n";
    let changes = "cat evil > ignored/ci.key 2>/dev/null; true\n";
    let project = project(RUN, &format!("{reads}{changes}"));
    project.write("evil", "another key\n");
    project.commit();
    let key = key_in(&project);
    let content = fs::read_to_string(&key).expect("reads");
    let through_root = format!("/proc/self/root{}", key.display());
    for name in ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/cwd/ignored/ci.key", &through_root] {
        let outcome = with_key_on_stdin(&project, &key, &["--key", name]);
        assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.all());
        assert_eq!(fs::read_to_string(project.at("model/key")).expect("reads"), "", "{name}");
        assert_eq!(fs::read_to_string(&key).expect("reads"), content, "{name}");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_to_ship_or_measure_a_key_given_on_standard_input() {
    let follow = "[artifact]\npath = \"model\"\nsymlinks = \"follow\"\n";
    let project = project(follow, "");
    fs::create_dir(project.at("model")).expect("creates");
    let key = key_in(&project);
    symlink(&key, project.at("model/w")).expect("links");
    let outcome = with_key_on_stdin(&project, &key, &["--key", "-"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    fs::remove_file(project.at("model/w")).expect("removes");
    project.write("model/w", "a");
    symlink(&key, project.at("k.csv")).expect("links");
    project.append_recipe("[[data]]\nname = \"d\"\npath = \"k.csv\"\nlabel = \"x\"\nstatic = true\n");
    project.commit();
    let outcome = with_key_on_stdin(&project, &key, &["--key", "-"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("which must not reach commands or archives");
}

#[test]
#[ignore = "needs bubblewrap"]
fn allow_write_refuses_a_path_through_a_link_of_an_earlier_build() {
    for target in [".git/hooks", "../home"] {
        let project = project(RUN, "mkdir model; echo a > model/w; echo evil > ignored/post-commit; true\n");
        symlink(target, project.at("ignored")).expect("links");
        let outcome =
            project.modelseal(&["build", "--key", &project.key(), "--allow-write", "ignored"]).run();
        assert_eq!(outcome.code, Some(2), "{target}: {}", outcome.all());
        outcome.says("a link that a command of the project may have made").says("hint: ");
        assert!(!project.at(target).join("post-commit").exists(), "{target}");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn output_option_refuses_a_link_out_of_the_project() {
    let project = project(RUN, "mkdir model; echo a > model/w\n");
    symlink("../home/.local/bin", project.at("ignored")).expect("links");
    for arguments in [["-o", "ignored/x.tar"], ["--statement", "ignored/x.json"]] {
        let key = project.key();
        let key: &[&str] = if arguments[0] == "-o" { &["--key", &key] } else { &[] };
        let outcome = project.modelseal(&[&["build"], &arguments[..], key].concat()).run();
        assert_eq!(outcome.code, Some(2), "{}", outcome.all());
        outcome.says("a link that a command of the project may have made");
    }
    assert_eq!(fs::read_dir(project.home().join(".local/bin")).expect("reads").count(), 1);
    // A link within the project is followed.
    fs::remove_file(project.at("ignored")).expect("removes");
    fs::create_dir(project.at("out")).expect("creates");
    symlink("out", project.at("ignored")).expect("links");
    project.modelseal(&["build", "--key", &project.key(), "-o", "ignored/x.tar"]).expect(0);
    assert!(project.at("out/x.tar").is_file());
}

#[test]
#[ignore = "needs bubblewrap and openssl"]
fn signer_command_outside_of_the_project_runs_no_program_of_the_project() {
    let project = project(
        RUN,
        "mkdir -p model bin; echo a > model/w; printf '#!/bin/sh\\necho evil >&2\\n' > bin/openssl; chmod +x bin/openssl\n",
    );
    project.modelseal(&["build", "--key", &project.key()]).expect(0);
    let (archive, key) = (project.at("dist/m-1.tar"), project.key());
    let (archive, bin) = (archive.to_string_lossy(), project.at("bin"));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"));
    let elsewhere = tempfile::tempdir().expect("a directory");
    let signing = |verb: &[&str], signer: &str| {
        let public = project.public_key();
        let arguments = [verb, &["--key", &public, "--signer", signer]].concat();
        project.modelseal(&arguments).current_dir(elsewhere.path()).env("PATH", &path).run()
    };
    let rollback = ["rollback", &archive, "--reason", "r", "--until", "7d"];
    let (model, signature) = (project.at("model"), elsewhere.path().join("s"));
    let sign = ["sign", &model.to_string_lossy(), "--signature", &signature.to_string_lossy()];
    for verb in [&["countersign", &archive][..], &rollback, &sign] {
        let outcome = signing(verb, &format!("openssl dgst -sha256 -sign {key}"));
        assert_eq!(outcome.code, Some(0), "{verb:?}: {}", outcome.all());
        assert!(!outcome.all().contains("evil"), "{verb:?}: {}", outcome.all());
        let outcome = signing(verb, &format!("{}/openssl", bin.display()));
        assert_eq!(outcome.code, Some(2), "{verb:?}: {}", outcome.all());
        outcome.says("which commands of a recipe can change");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_reports_artifact_files_that_links_bring_from_outside() {
    let follow = "[artifact]\npath = \"model\"\nsymlinks = \"follow\"\n";
    let project = project(follow, "");
    let shared = project.root().join("shared");
    fs::create_dir_all(shared.join("deep")).expect("creates");
    for name in ["deep/a", "deep/b", "c"] {
        fs::write(shared.join(name), name).expect("writes");
    }
    fs::create_dir(project.at("model")).expect("creates");
    project.write("model/own", "own");
    symlink("own", project.at("model/inside")).expect("links");
    symlink(shared.join("deep"), project.at("model/deep")).expect("links");
    symlink(shared.join("c"), project.at("model/c")).expect("links");
    let outside = || {
        let outcome = project.modelseal(&["build", "--force", "--key", &project.key()]).expect(0);
        let show = project.modelseal(&["show", "dist/m-1.tar", "--format", "json"]).expect(0).json();
        let internal = &show["statement"]["predicate"]["buildDefinition"]["internalParameters"];
        (outcome, internal["outside"].clone())
    };
    let (outcome, named) = outside();
    outcome
        .says("3 files come from outside of the work tree through links, and ship: `c`, `deep/a`, `deep/b`");
    assert_eq!(named, serde_json::json!(["c", "deep/a", "deep/b"]));
    project.modelseal(&["show", "dist/m-1.tar"]).expect(0).says("`c`, `deep/a`, `deep/b`");
    fs::remove_dir_all(project.at("model")).expect("removes");
    symlink(&shared, project.at("model")).expect("links");
    let (outcome, named) = outside();
    outcome.says("the artifact comes from outside of the work tree through links, and ships");
    assert_eq!(named, serde_json::json!(["."]));
    fs::remove_file(project.at("model")).expect("removes");
    project.write("model/own", "own");
    assert_eq!(outside().1, serde_json::Value::Null);
}

/// A command that replaces these files and reports which of them it could not write.
fn replacing(files: &str) -> String {
    format!(
        "mkdir -p model; echo a > model/w\nfor file in {files}; do echo evil > $file || echo GUARDED $file; done\n"
    )
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_guards_files_in_options_of_git_aliases() {
    let named = ["x", "o", "c", "b", "r", "f", "e/git-hi"];
    let project = project(RUN, &replacing(&named.map(|name| format!("ignored/{name}")).join(" ")));
    fs::create_dir_all(project.at("ignored/e")).expect("creates");
    for name in named.iter().chain(&["plain"]) {
        project.write(&format!("ignored/{name}"), "#!/bin/sh\n");
    }
    for (alias, line) in [
        ("dt", "difftool -y --extcmd=./ignored/x"),
        ("og", "grep -O./ignored/o sealed"),
        ("lc", "-c core.pager=./ignored/c -p log"),
        ("rb", "rebase -f --exec 'sh ignored/b' HEAD~1"),
        ("br", "bisect run ./ignored/r"),
        ("sf", "submodule foreach --quiet 'sh $toplevel/x; ignored/f'"),
        ("hi", "--exec-path=ignored/e hi"),
        ("st", "status -- ignored/plain"),
    ] {
        project.git(&["config", &format!("alias.{alias}"), line]);
    }
    let outcome = build(&project, &[]);
    for name in named {
        outcome.says(&format!("GUARDED ignored/{name}"));
    }
    project.write("run.sh", replacing("ignored/plain"));
    project.commit();
    let outcome = build(&project, &["--force"]);
    assert!(!outcome.all().contains("GUARDED"), "{}", outcome.all());
}

/// Parts of programs and of the active environment that are reached through links.
const GUARDED: [&str; 8] = [
    "ignored/a",
    "ignored/b",
    "ignored/c",
    "ignored/d",
    "ignored/packages/x.pth",
    "py/bin/python3",
    "py/lib/os.py",
    "tool/lib/python3.13/os.py",
];

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_guards_work_tree_files_that_programs_on_path_link_to() {
    let project = project(RUN, &replacing(&GUARDED.join(" ")));
    for path in GUARDED {
        fs::create_dir_all(project.at(path).parent().expect("a parent")).expect("creates");
        project.write(path, "honest\n");
    }
    for directory in ["bin", "tool/bin", "venv/bin", "venv/lib/python3.13"] {
        fs::create_dir_all(project.at(directory)).expect("creates");
    }
    fs::create_dir_all(project.home().join("bin")).expect("creates");
    symlink("../ignored/a", project.at("bin/a-tool")).expect("links");
    symlink("b", project.at("ignored/chain")).expect("links");
    symlink(project.at("ignored/chain"), project.home().join("bin/b-tool")).expect("links");
    symlink("ignored", project.at("lnk")).expect("links");
    symlink(project.at("lnk/c"), project.home().join("bin/c-tool")).expect("links");
    project.write("venv/pyvenv.cfg", format!("home = {}\n", project.at("py/bin").display()));
    symlink(project.at("py/bin/python3"), project.at("venv/bin/python3")).expect("links");
    symlink("../../ignored/d", project.at("venv/bin/d-tool")).expect("links");
    symlink(project.at("ignored/packages"), project.at("venv/lib/python3.13/site-packages")).expect("links");
    project.write(".gitignore", "ignored\nbin\nvenv\npy\ntool\nlnk\nmodel\ndist\n");
    project.commit();
    let system = std::env::var("PATH").expect("a path");
    let environment = project.at("venv").display().to_string();
    let on_path = [project.at("bin"), project.at("tool/bin"), project.home().join("bin")];
    let on_path = on_path.map(|directory| directory.display().to_string()).join(":");
    let path = format!("{environment}/bin:{on_path}:{system}");
    let outcome = build_with(&project, &[("PATH", path), ("VIRTUAL_ENV", environment)], &[]);
    for file in GUARDED {
        outcome.says(&format!("GUARDED {file}"));
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_guards_a_path_directory_behind_a_missing_one_or_a_tilde() {
    let makes = "mkdir -p model; echo a > model/w; mkdir ignored; mkdir quoted; (echo evil > quoted/git) || echo GUARDED\n";
    let project = project(RUN, makes);
    let system = std::env::var("PATH").expect("a path");
    let missing = format!("{}/ignored/../quoted:{system}", project.at("").display());
    build_with(&project, &[("PATH", missing)], &[]).says("GUARDED");
    // For bash, `~` is the home, which here is the parent of the work tree.
    let tilde = format!("~/project/quoted:{system}");
    let key = project.key();
    let run = project.modelseal(&["build", "--force", "--key", &key]).home(project.root());
    run.env("PATH", tilde).run().says("GUARDED");
    assert!(!project.at("quoted/git").exists());
}

#[test]
#[ignore = "needs bubblewrap"]
fn output_option_refuses_a_link_into_the_git_directory_in_each_subcommand() {
    let project = project(RUN, "mkdir model; echo a > model/w\n");
    project.modelseal(&["build", "--key", &project.key()]).expect(0);
    symlink(".git", project.at("ignored")).expect("links");
    let public = project.public_key();
    for arguments in [
        &["unpack", "dist/m-1.tar", "-o", "ignored/hooks", "--key", &public][..],
        &["build", "--force", "--key", &project.key(), "-o", "ignored/x.tar"],
        &["policy", "init", "dist/m-1.tar", "--key", &public, "-o", "ignored/gate.toml"],
        &["keygen", "-o", "ignored/k"],
        &["init", "ignored/hooks"],
        &["reproduce", "ignored/m-1.tar", "--key", &public, "--attest", &project.key()],
        &["sign", "model", "--key", &project.key(), "--signature", "ignored/s"],
    ] {
        let outcome = project.modelseal(arguments).run();
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {}", outcome.all());
        outcome.says("a link that a command of the project may have made");
        // The hint contains the path to use, including the file.
        let hint = outcome.stderr.lines().find(|line| line.contains("hint: ")).expect("a hint");
        let file = arguments.iter().find_map(|argument| argument.strip_prefix("ignored/")).expect("a path");
        assert!(hint.trim_matches('`').contains(&format!(".git/{file}")), "{hint}");
    }
    for name in ["hooks/w", "x.tar", "gate.toml", "k.key", "s"] {
        assert!(!project.at(".git").join(name).exists(), "{name}");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_an_unignored_key_and_says_to_ignore_it() {
    let project = project(RUN, "mkdir model; echo a > model/w\n");
    project.modelseal(&["keygen", "-o", "keys/ci", "--quiet"]).expect(0);
    let outcome = project.modelseal(&["build", "--key", "keys/ci.key"]).run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("the key `keys/ci.key` is in the work tree, and git does not ignore it");
    outcome.says("add `keys/ci.key` to `.gitignore` and commit that");
    project.write(".gitignore", "model\ndist\nkeys/ci.key\n");
    project.commit();
    project.modelseal(&["build", "--key", "keys/ci.key"]).expect(0);
}

/// A version manager puts programs on PATH that start others, as files of the current directory say.
#[test]
#[ignore = "needs bubblewrap"]
fn git_shim_on_path_does_not_read_settings_of_the_project() {
    let project = project(RUN, "mkdir model; echo a > model/w\n");
    let shims = project.root().join("shims");
    fs::create_dir(&shims).expect("creates");
    let shim = shims.join("git");
    let system = std::env::var("PATH").expect("a path");
    let text =
        "#!/bin/sh\ntest ! -f .tool-versions || . ./.tool-versions\nPATH=\"${PATH#*:}\" exec git \"$@\"\n";
    fs::write(&shim, text).expect("writes");
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).expect("sets the mode");
    let stolen = project.root().join("stolen");
    project.write(".tool-versions", format!("echo evil > '{}'\n", stolen.display()));
    project.commit();
    let path = format!("{}:{system}", shims.display());
    let run = project.modelseal(&["build", "--clean", "--key", &project.key()]).env("PATH", path);
    run.expect(0);
    assert!(!stolen.exists());
}
