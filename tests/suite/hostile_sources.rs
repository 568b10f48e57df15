//! Deceptive sources: paths with two meanings, code that no commit contains, repositories that borrow from those of the
//! user.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::hostile_projects::{RUN, build, project, unharmed};
use crate::support::project::{Project, git_in};

/// After a link, `..` means one place by name and another one to the system.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_recipe_path_with_dot_dot_after_a_name() {
    let plain = "[artifact]\npath = \"model\"\n";
    for recipe in [
        "[artifact]\npath = \"link/../keys\"\n".to_string(),
        "[artifact]\npath = \"link/..\"\n".to_string(),
        "[artifact]\npath = \"./link/./../keys\"\n".to_string(),
        format!("{plain}[params]\nfiles = [\"link/../keys/settings.toml\"]\n"),
        format!("{plain}[environment]\nfiles = [\"link/../run.sh\"]\n"),
        format!("{plain}[code]\npath = \"link/..\"\n"),
        format!("{plain}[[data]]\nname = \"d\"\npath = \"../home/link/../keys\"\n"),
        format!("{plain}[[probe]]\nname = \"p\"\ncommand = [\"true\"]\ninputs = \"link/../keys/q\"\n"),
    ] {
        let project = project(&recipe, "echo 1\n");
        for place in [project.home(), project.at("")] {
            fs::create_dir_all(place.join("keys")).expect("creates");
            fs::write(place.join("keys/settings.toml"), "token = \"SECRET\"\n").expect("writes");
            fs::write(place.join("keys/q"), "SECRET\n").expect("writes");
        }
        fs::create_dir(project.home().join("sub")).expect("creates");
        symlink("../home/sub", project.at("link")).expect("links");
        project.write("model", "1\n");
        project.write(".gitignore", "dist\n");
        project.commit();
        let outcome = build(&project, &[]);
        assert_eq!(outcome.code, Some(2), "{recipe}: {}", outcome.all());
        assert!(!project.at("dist").exists(), "{recipe}");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_dot_dot_path_that_would_exclude_edited_code() {
    let recipe = format!("[environment]\nfiles = [\"link/../run.sh\"]\n{RUN}");
    let project = project(&recipe, "mkdir -p model; echo 1 > model/w\n");
    project.write("sub/run.sh", "decoy\n");
    project.write("sub/dir/x", "\n");
    symlink("sub/dir", project.at("link")).expect("links");
    project.commit();
    project.write("run.sh", "mkdir -p model; echo other > model/w\n");
    let outcome = build(&project, &[]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    assert!(!project.at("model").exists() && !project.at("dist").exists());
}

/// What the manifest says about the code.
fn code_of(project: &Project, archive: &str) -> Value {
    let shown = project.modelseal(&["show", archive, "--format", "json"]).expect(0).json();
    let inputs = &shown["statement"]["predicate"]["buildDefinition"]["resolvedDependencies"];
    let mut inputs = inputs.as_array().expect("a list").iter();
    inputs.find(|input| input["name"] == "code").expect("has code").clone()
}

/// Builds twice. In the second build, code that no commit contains would make the model.
#[track_caller]
fn is_not_sealed_as_clean(project: &Project, made: &Path) {
    for archive in ["../first.tar", "../second.tar"] {
        let outcome = build(project, &["-o", archive]);
        assert!(matches!(outcome.code, Some(0..=2)), "{}", outcome.all());
        let other = fs::read_to_string(made).is_ok_and(|made| made.contains("other"));
        if outcome.code == Some(0) && other {
            let code = code_of(project, archive);
            assert_ne!(code["annotations"]["dirty"], json!([]), "{code}\n{}", outcome.all());
        }
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_does_not_seal_changed_code_in_excluded_directories_as_clean() {
    let recipe =
        "[artifact]\npath = \"link/../src\"\n[run]\nnetwork = false\ncommand = [\"sh\", \"src/train.sh\"]\n";
    let linked = project(recipe, "");
    let train = "mkdir -p out/src; echo committed > out/src/w\necho 'mkdir -p out/src; echo other > out/src/w' > src/train.sh\n";
    linked.write("src/train.sh", train);
    linked.write("out/x/keep", "\n");
    symlink("out/x", linked.at("link")).expect("links");
    linked.write(".gitignore", "out/src\ndist\n");
    linked.commit();
    is_not_sealed_as_clean(&linked, &linked.at("out/src/w"));

    // The code is in the directory of the archives.
    let recipe =
        "[artifact]\npath = \"model\"\n[run]\nnetwork = false\ncommand = [\"sh\", \"dist/train.sh\"]\n";
    let kept = project(recipe, "");
    let train = "mkdir -p model; echo committed > model/w\necho 'mkdir -p model; echo other > model/w' > dist/train.sh\n";
    kept.write(".gitignore", "model\n");
    kept.write("dist/train.sh", train);
    kept.commit();
    is_not_sealed_as_clean(&kept, &kept.at("model/w"));
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_does_not_seal_new_code_in_an_empty_submodule_as_clean() {
    let script = "mkdir -p model\nif [ -f sub/lib.sh ]; then . sub/lib.sh > model/w; else echo committed > model/w; fi\necho 'echo other' > sub/lib.sh\n";
    let project = project(RUN, script);
    project.write(".gitmodules", "[submodule \"sub\"]\n\tpath = sub\n\turl = https://example.invalid/sub\n");
    project.commit();
    let entry = format!("160000,{},sub", "1".repeat(40));
    project.git(&["update-index", "--add", "--cacheinfo", &entry]);
    project.git(&["commit", "-q", "-m", "x"]);
    fs::create_dir(project.at("sub")).expect("creates");
    is_not_sealed_as_clean(&project, &project.at("model/w"));
}

/// A project whose unsigned manifest is in `../m.json`, and the text of that manifest.
fn stated(arguments: &[&str], edit: impl Fn(&Project)) -> (Project, String) {
    let project =
        project(&format!("[params]\nvalues = {{ lr = 1 }}\n{RUN}"), "mkdir -p model; echo 1 > model/w\n");
    edit(&project);
    project.modelseal(&[&["build", "--statement", "../m.json"], arguments].concat()).expect(0);
    let text = fs::read_to_string(project.root().join("m.json")).expect("reads");
    (project, text)
}

#[track_caller]
fn sign_refused(project: &Project, statement: &str) {
    fs::write(project.root().join("m.json"), statement).expect("writes");
    let key = project.key();
    let outcome = project.modelseal(&["build", "--from-statement", "../m.json", "--key", &key]).run();
    assert_ne!(outcome.code, Some(0), "{}", outcome.all());
    outcome.claims_no_success();
    assert!(!project.at("dist/m-1.tar").exists());
}

/// The job that signs checks for itself whether its work tree matches the commit.
#[test]
#[ignore = "needs bubblewrap"]
fn build_does_not_sign_a_dirty_statement_changed_to_clean() {
    let (project, text) = stated(&["--allow-dirty"], |project| {
        project.write("run.sh", "mkdir -p model; echo other > model/w\n");
    });
    let dirty = "\"dirty\":[\"run.sh\"]";
    assert!(text.contains(dirty), "{text}");
    sign_refused(&project, &text.replace(dirty, "\"dirty\":[]"));
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_does_not_sign_a_statement_with_inputs_missing_in_the_recipe() {
    let (project, text) = stated(&[], |_| {});
    let at = text.find(",{\"name\":\"recipe\"").expect("has a recipe");
    let end = at + text[at..].find("}}").expect("ends") + 2;
    let digest = "0123456789abcdef".repeat(4);
    for name in ["params/audited.toml", "environment/requirements.lock"] {
        let entry = format!(",{{\"name\":\"{name}\",\"digest\":{{\"sha256\":\"{digest}\"}}}}");
        for place in [at, end] {
            sign_refused(&project, &format!("{}{entry}{}", &text[..place], &text[place..]));
        }
    }
}

/// Prints everything that the repository of the clone contains.
const PRINT_ALL: &str = "mkdir -p model; git config --global safe.directory '*'\n\
    for o in $(git -C ${SUB:-.} cat-file --batch-all-objects --batch-check='%(objectname)'); do git -C ${SUB:-.} cat-file -p $o; done > model/w 2>&1\n\
    cat \"$REAL\"/private/secret >> model/w; cat model/w; true\n";

/// A private repository in the home, with a public branch `main` and another branch with a secret.
fn private(project: &Project) -> PathBuf {
    let private = project.home().join("private");
    let git = |arguments: &[&str]| git_in(&private, &project.home(), arguments);
    fs::create_dir(&private).expect("creates");
    fs::write(private.join("public"), "public\n").expect("writes");
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "public"]);
    git(&["checkout", "-q", "-b", "secret"]);
    fs::write(private.join("secret"), "SECRET\n").expect("writes");
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "SECRET"]);
    git(&["checkout", "-q", "main"]);
    private
}

/// Builds in a clone, and in place.
#[track_caller]
fn build_everywhere(project: &Project) {
    let (key, home) = (project.key(), project.home());
    for arguments in [&["--clean"][..], &[]] {
        let run =
            project.modelseal(&[&["build", "--force", "--key", &key, "-o", "../m.tar"], arguments].concat());
        let outcome = run.env("REAL", &home).run();
        unharmed(project, &outcome);
        let sealed = fs::read(project.root().join("m.tar")).unwrap_or_default();
        assert!(!sealed.windows(6).any(|window| window == b"SECRET"), "{}", outcome.all());
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn clone_excludes_objects_of_a_repository_behind_alternates_or_ref_links() {
    let recipe = format!("{RUN}pass_env = [\"REAL\"]\n");
    for branch in ["main", "secret"] {
        let borrowing = project(&recipe, PRINT_ALL);
        let git = private(&borrowing).join(".git");
        fs::create_dir_all(borrowing.at(".git/objects/info")).expect("creates");
        let objects = format!("{}\n", git.join("objects").display());
        fs::write(borrowing.at(".git/objects/info/alternates"), objects).expect("writes");
        symlink(git.join("refs/heads").join(branch), borrowing.at(".git/refs/heads/leak")).expect("links");
        symlink(git.join("refs/heads"), borrowing.at(".git/refs/heads/all")).expect("links");
        build_everywhere(&borrowing);
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn clone_excludes_objects_that_a_submodule_borrows() {
    let recipe = format!("{RUN}pass_env = [\"REAL\"]\nenv = {{ SUB = \"s\" }}\n");
    let borrowing = project(&recipe, PRINT_ALL);
    let git = private(&borrowing).join(".git");
    let inner = borrowing.at("s");
    fs::create_dir(&inner).expect("creates");
    fs::write(inner.join("f"), "f\n").expect("writes");
    git_in(&inner, &borrowing.home(), &["init", "-q"]);
    git_in(&inner, &borrowing.home(), &["add", "."]);
    git_in(&inner, &borrowing.home(), &["commit", "-q", "-m", "x"]);
    borrowing.commit();
    fs::create_dir_all(inner.join(".git/objects/info")).expect("creates");
    let objects = format!("{}\n", git.join("objects").display());
    fs::write(inner.join(".git/objects/info/alternates"), objects).expect("writes");
    symlink(git.join("refs/heads"), inner.join(".git/refs/heads/x")).expect("links");
    build_everywhere(&borrowing);

    // A link in place of the submodule, whose commit is public.
    for nested in [false, true] {
        let linked = project(&recipe, PRINT_ALL);
        let private = private(&linked);
        let public = git_in(&private, &linked.home(), &["rev-parse", "main"]);
        let entry = format!("160000,{},s", public.trim());
        linked.git(&["update-index", "--add", "--cacheinfo", &entry]);
        linked.git(&["commit", "-q", "-m", "x"]);
        if nested {
            fs::create_dir(linked.at("s")).expect("creates");
            fs::write(linked.at("s/public"), "public\n").expect("writes");
            symlink("../../home/private/.git", linked.at("s/.git")).expect("links");
        } else {
            symlink("../home/private", linked.at("s")).expect("links");
        }
        build_everywhere(&linked);
    }
}

/// The project's repository says that its missing objects are in another one.
#[test]
#[ignore = "needs bubblewrap"]
fn clone_excludes_private_commits_of_a_fork_that_commondir_names() {
    let project = project(&format!("{RUN}pass_env = [\"REAL\"]\n"), PRINT_ALL);
    // A private fork, whose public part is the project.
    let fork = project.home().join("private");
    git_in(&project.at(""), &project.home(), &["clone", "-q", ".", &fork.to_string_lossy()]);
    let public = git_in(&fork, &project.home(), &["rev-parse", "HEAD"]);
    git_in(&fork, &project.home(), &["checkout", "-q", "-b", "secret"]);
    fs::write(fork.join("secret"), "SECRET\n").expect("writes");
    git_in(&fork, &project.home(), &["add", "."]);
    git_in(&fork, &project.home(), &["commit", "-q", "-m", "SECRET"]);
    let index = fs::read(project.at(".git/index")).expect("reads");
    fs::remove_dir_all(project.at(".git")).expect("removes");
    project.write(".git", "gitdir: ignored\n");
    project.write("ignored/HEAD", &public);
    project.write("ignored/commondir", format!("{}\n", fork.join(".git").display()));
    project.write("ignored/gitdir", format!("{}\n", project.at(".git").display()));
    project.write("ignored/index", index);
    build_everywhere(&project);
}

/// Runs for at most a minute. Returns no code if the run hangs.
fn limited(mut command: Command) -> Option<i32> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60) {
        if let Some(status) = child.try_wait().expect("waits") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("kills");
    child.wait().expect("ends");
    None
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_pipe_in_the_repository_of_a_submodule() {
    let project = project(RUN, "mkdir -p model; echo 1 > model/w\n");
    let inner = project.at("sub");
    fs::create_dir(&inner).expect("creates");
    fs::write(inner.join("f"), "f\n").expect("writes");
    git_in(&inner, &project.home(), &["init", "-q"]);
    git_in(&inner, &project.home(), &["add", "."]);
    git_in(&inner, &project.home(), &["commit", "-q", "-m", "x"]);
    git_in(&inner, &project.home(), &["pack-refs", "--all"]);
    project.commit();
    let key = project.key();
    let build = || project.modelseal(&["build", "--force", "--key", &key]).into_command();
    assert_eq!(limited(build()), Some(0));
    for name in ["config", "index", "packed-refs", "HEAD"] {
        let path = inner.join(".git").join(name);
        let kept = fs::read(&path).expect("reads");
        fs::remove_file(&path).expect("removes");
        assert!(Command::new("mkfifo").arg(&path).status().expect("runs").success());
        let code = limited(build());
        assert!(matches!(code, Some(1 | 2)), "{name}: {code:?}");
        fs::remove_file(&path).expect("removes");
        fs::write(&path, kept).expect("writes");
    }
}
