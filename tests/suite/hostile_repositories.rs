//! Repositories, hooks and configuration that a command could leave for the caller's git, or that choose what is shown
//! or guarded.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::hostile_projects::{RUN, build, project};
use crate::support::project::{Project, git_in};

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_repository_with_another_core_worktree() {
    let recipe =
        "[code]\npath = \"repo\"\n[artifact]\npath = \"model\"\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";
    let project = project(recipe, "mkdir -p model; echo 1 > model/w; echo evil > ../out/file\n");
    fs::create_dir(project.at("repo")).expect("creates");
    git_in(&project.at("repo"), &project.home(), &["init", "-q"]);
    git_in(&project.at("repo"), &project.home(), &["commit", "-q", "--allow-empty", "-m", "x"]);
    git_in(&project.at("repo"), &project.home(), &["config", "core.worktree", "../../.."]);
    fs::write(project.at("repo/.git/info/exclude"), "*\n").expect("writes");
    fs::write(project.out("file"), "mine").expect("writes");
    let outcome = build(&project, &[]);
    assert_ne!(outcome.code, Some(0), "{}", outcome.all());
    outcome.says("the git repository says that its work tree is");
    assert_eq!(fs::read_to_string(project.out("file")).expect("reads"), "mine");
}

/// A third-party repository inside another one could otherwise read and change that one.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_code_path_around_the_own_repository_unless_allowed() {
    let outer = project(RUN, "");
    outer.write(".env", "PASSWORD");
    outer.write(".gitignore", ".env\nvendor\n");
    outer.commit();
    let inner = outer.at("vendor");
    fs::create_dir(&inner).expect("creates");
    let recipe = format!("[model]\nname = \"m\"\nversion = \"1\"\n[code]\npath = \"..\"\n{RUN}");
    fs::write(inner.join("modelseal.toml"), recipe).expect("writes");
    fs::write(inner.join("run.sh"), "mkdir -p model; cat ../.env > model/w\n").expect("writes");
    git_in(&inner, &outer.home(), &["init", "-q"]);
    git_in(&inner, &outer.home(), &["add", "-A"]);
    git_in(&inner, &outer.home(), &["commit", "-q", "-m", "x"]);
    let build = |arguments: &[&str]| {
        let key = outer.key();
        outer.modelseal(&[&["build", "--key", &key], arguments].concat()).current_dir(&inner).run()
    };
    for arguments in [&[][..], &["--clean"], &["--adopt"], &["--allow-dirty"]] {
        let outcome = build(arguments);
        assert_eq!(outcome.code, Some(1), "{arguments:?}: {}", outcome.all());
        outcome.says("`path` under `[code]` selects the work tree").says("hint: if the commands may read");
        assert!(!inner.join("model").exists());
    }
    let allowed = build(&["--allow-write", "..", "--allow-dirty"]);
    assert_eq!(allowed.code, Some(0), "{}", allowed.all());
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_restores_links_to_hooks_and_environments_that_a_command_changed() {
    let project = project(
        RUN,
        "mkdir -p model evil; echo 1 > model/w; rm -f venv hk; ln -s evil venv; mkdir hk; echo evil > hk/pre-commit\n",
    );
    for directory in ["ignored/py/bin", "hooks"] {
        fs::create_dir_all(project.at(directory)).expect("creates");
    }
    project.write("hooks/pre-commit", "#!/bin/sh\n");
    project.write(".gitignore", "venv\nhk\nevil\nignored\nmodel\ndist\n*.changed-by-command\n");
    symlink("ignored/py", project.at("venv")).expect("links");
    symlink("hooks", project.at("hk")).expect("links");
    project.git(&["config", "core.hooksPath", "hk"]);
    project.commit();
    let key = project.key();
    let path = format!("{}:/usr/bin:/bin", project.at("venv/bin").display());
    let run =
        project.modelseal(&["build", "--key", &key]).env("PATH", path).env("VIRTUAL_ENV", project.at("venv"));
    let outcome = run.expect(1);
    outcome
        .says("the command changed the link")
        .says("which leads to a program that you run")
        .claims_no_success();
    for (link, target) in [("venv", "ignored/py"), ("hk", "hooks")] {
        assert_eq!(fs::read_link(project.at(link)).expect("is a link").to_string_lossy(), target);
    }
}

/// Repositories that do not exist yet: that of a submodule that is not checked out, and one at the root.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_stops_a_command_from_initializing_a_repository_at_git_paths() {
    let source = Project::empty();
    source.write("code", "x");
    source.commit();
    let script = "mkdir -p model; echo 1 > model/w\nfor d in module .; do git init -q $d; git -C $d config core.fsmonitor 'touch ran'; done 2>/dev/null; true\n";
    let first = project(RUN, script);
    first.git(&["submodule", "--quiet", "add", &source.at("").to_string_lossy(), "module"]);
    first.commit();
    first.git(&["submodule", "--quiet", "deinit", "-f", "module"]);
    build(&first, &[]);
    assert!(!first.at("module/.git").exists());
    let second = project(&format!("[code]\nnone = true\n{RUN}"), script);
    fs::remove_dir_all(second.at(".git")).expect("removes");
    build(&second, &[]);
    assert!(!second.at(".git").exists());
}

/// git runs what a repository configures as soon as any git command runs there.
#[test]
#[ignore = "needs bubblewrap"]
fn build_sets_aside_a_repository_that_a_command_made_anywhere() {
    let configured = "printf '[core]\\nrepositoryformatversion = 0\\nfsmonitor = touch ran\\n'";
    let whole =
        format!("mkdir -p $d/objects $d/refs; echo ref: refs/heads/x > $d/HEAD; {configured} > $d/config");
    for (what, script, place) in [
        ("in a directory", format!("mkdir -p data; d=data/.git; {whole}"), "data/.git"),
        ("a file", "mkdir -p data; echo 'gitdir: ../dist' > data/.git".to_string(), "data/.git"),
        ("a link", "mkdir -p data; ln -s ../dist data/.git".to_string(), "data/.git"),
        ("bare", format!("d=ignored/store; {whole}"), "ignored/store/HEAD"),
        (
            "bare, with another directory",
            "mkdir -p s; cp .git/HEAD s; echo ../dist > s/commondir".to_string(),
            "s/HEAD",
        ),
        ("in the artifact", format!("d=model/deep/.git; {whole}"), "model/deep/.git"),
    ] {
        let is_kept = place.starts_with("model/");
        // Anything made by a command that fails is removed.
        for end in ["", "exit 3"].iter().take(if is_kept { 1 } else { 2 }) {
            let project = project(RUN, &format!("mkdir -p model; echo 1 > model/w\n{script}\n{end}\n"));
            let outcome = build(&project, &[]);
            assert_eq!(outcome.code, Some(1), "{what}: {}", outcome.all());
            outcome.says("the command made a git repository").says("it is set aside as").claims_no_success();
            assert!(project.at(place).symlink_metadata().is_err(), "{what} {end}");
            assert!(!project.at("dist/m-1.tar").exists());
        }
        let project = project(RUN, &format!("mkdir -p model; echo 1 > model/w\n{script}\n"));
        let outcome = build(&project, &["--clean"]);
        assert_eq!(outcome.code, Some(i32::from(is_kept)), "{what}: {}", outcome.all());
        if is_kept {
            let rejected = project.at("dist/m-1.tar.rejected/deep");
            assert!(rejected.exists() && !rejected.join(".git").exists());
        }
    }
}

/// Existing repositories belong to the user, and nothing moves or removes them.
#[test]
#[ignore = "needs bubblewrap"]
fn build_keeps_repositories_that_existed_before() {
    for (directory, code) in [("ignored/other", 0), ("model", 1), ("model/deep", 1)] {
        let project = project(RUN, "mkdir -p model; echo 1 > model/w\n");
        fs::create_dir_all(project.at(directory)).expect("creates");
        git_in(&project.at(directory), &project.home(), &["init", "-q"]);
        fs::create_dir_all(project.at("ignored")).expect("creates");
        let key = project.key();
        for arguments in
            [&["build", "--key", &key][..], &["build", "--clean", "--statement", "ignored/s.json"]]
        {
            let outcome = project.modelseal(arguments).run();
            assert_eq!(outcome.code, Some(code), "{}", outcome.all());
            assert!(project.at(directory).join(".git/HEAD").exists(), "{}", outcome.all());
            if code == 1 {
                outcome.says("contains a git repository").says("would be removed");
            }
        }
    }
}

/// git ignores an included file that does not exist, until it exists.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_stops_a_command_from_creating_missing_files_in_git_settings() {
    let script = "mkdir -p model tools; echo 1 > model/w\n\
        for f in .local.config tools/later.sh elsewhere/dangling ignored/x.config; do\n\
        mkdir -p $(dirname $f); printf '[core]\\nfsmonitor = touch ran\\n' > $f; done 2>/dev/null; true\n";
    let project = project(RUN, script);
    project.git(&["config", "include.path", "../.local.config"]);
    project.git(&["config", "--add", "include.path", "../link"]);
    project.git(&["config", "includeIf.gitdir:/.path", "../ignored/x.config"]);
    project.git(&["config", "filter.x.clean", "sh tools/later.sh"]);
    symlink("elsewhere/dangling", project.at("link")).expect("links");
    project.write(".gitignore", "link\nmodel\ndist\ntools\nignored\n");
    project.commit();
    let outcome = build(&project, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    for path in [".local.config", "tools/later.sh", "elsewhere", "ignored", "ran"] {
        assert!(project.at(path).symlink_metadata().is_err(), "{path}\n{}", outcome.all());
    }
    assert_eq!(
        fs::read_link(project.at("link")).expect("is there"),
        std::path::Path::new("elsewhere/dangling")
    );
}

/// The attack takes the name, or closes the directory.
#[test]
#[ignore = "needs bubblewrap"]
fn build_sets_aside_and_restores_despite_taken_names_and_closed_directories() {
    let configured = "mkdir -p objects refs; echo ref: refs/heads/x > HEAD; printf '[core]\nfsmonitor = touch ran\n' > config";
    for (what, script, place) in [
        (
            "taken",
            "for n in '' .1 .2; do mkdir -p e/.git.made-by-command$n/x; done; mkdir e/.git; cd e/.git",
            "e/.git",
        ),
        ("closed", "mkdir -p f/sub/.git; cd f/sub/.git", "f/sub/.git"),
        ("closed later", "mkdir -p g/.git; cd g/.git", "g/.git"),
    ] {
        let closing = match what {
            "closed" => "chmod 311 ../../../f",
            _ => "chmod 555 ../../g ../../e 2>/dev/null",
        };
        let project = project(
            RUN,
            &format!("mkdir -p model; echo 1 > model/w\n({script}; {configured}; {closing}; true)\n"),
        );
        let outcome = build(&project, &[]);
        assert_eq!(outcome.code, Some(1), "{what}: {}", outcome.all());
        outcome.says("the command made a git repository").says("it is set aside as");
        assert!(project.at(place).symlink_metadata().is_err(), "{what}");
        for directory in ["e", "f", "g"] {
            let _ = fs::set_permissions(project.at(directory), fs::Permissions::from_mode(0o755));
        }
    }
    let script = "mkdir -p model; echo 1 > model/w; mv hk .h; mkdir -p hk hk.changed-by-command/x; echo evil > hk/pre-commit\n";
    let project = project(RUN, script);
    project.write("hooks/pre-commit", "#!/bin/sh\n");
    symlink("hooks", project.at("hk")).expect("links");
    project.git(&["config", "core.hooksPath", "hk"]);
    project.commit();
    let outcome = build(&project, &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome
        .says("the command changed the link")
        .says("the link was restored; what the command put there is now");
    assert_eq!(fs::read_link(project.at("hk")).expect("is a link").to_string_lossy(), "hooks");
}

/// A directory above a restored link could lead to the user's files.
#[test]
#[ignore = "needs bubblewrap"]
fn build_does_not_restore_a_link_through_a_swapped_directory() {
    let project = project(RUN, "mkdir -p model; echo 1 > model/w; mv tools t; ln -s ../victim tools; true\n");
    let victim = project.root().join("victim");
    fs::create_dir(&victim).expect("creates");
    fs::write(victim.join("run.sh"), "mine").expect("writes");
    project.write("lib/real.sh", "true\n");
    fs::create_dir(project.at("tools")).expect("creates");
    symlink("../lib/real.sh", project.at("tools/run.sh")).expect("links");
    project.git(&["config", "filter.x.clean", "sh tools/run.sh"]);
    project.commit();
    build(&project, &[]).says("Device or resource busy");
    assert_eq!(fs::read_to_string(victim.join("run.sh")).expect("reads"), "mine");
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_an_artifact_or_an_archive_in_the_place_of_hooks() {
    let recipe = "[artifact]\npath = \".husky\"\n[run]\ncommand = [\"sh\", \"run.sh\"]\n";
    let script = "mkdir -p .husky; printf '#!/bin/sh\\ntouch ran\\n' > .husky/pre-commit; chmod 755 .husky/pre-commit\n";
    let project = project(recipe, script);
    project.write(".gitignore", ".husky\ndist\n");
    project.commit();
    fs::create_dir(project.at(".husky")).expect("creates");
    project.git(&["config", "core.hooksPath", ".husky"]);
    assert_eq!(build(&project, &[]).code, Some(1));
    let stated = project.modelseal(&["build", "--clean", "--statement", "../x.json"]).expect(1);
    stated.says("modelseal does not write files from a command there");
    assert_eq!(fs::read_dir(project.at(".husky")).expect("reads").count(), 0);
    // The default archive path, and what is kept of a failed build.
    let _ = fs::remove_dir_all(project.at("dist"));
    symlink(".git/refs/heads", project.at("dist")).expect("links");
    let key = project.key();
    let refused = project.modelseal(&["build", "--key", &key]).expect(1);
    refused.says("modelseal does not write files from a command there").says("`-o FILE`");
    assert_eq!(fs::read_dir(project.at(".git/refs/heads")).expect("reads").count(), 1);
}

/// In words that are in no list of settings, in parts of a line, and where libgit2 reads nothing.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_guards_programs_in_unknown_and_compound_git_settings() {
    let scripts =
        ["ignored/a", "ignored/b", "ignored/c", "ignored/d", "quoted/e"].map(|name| format!("{name}.sh"));
    let script = format!(
        "mkdir -p model; echo 1 > model/w; for f in {} hooks/x; do echo evil > $f; done; rm -f hooks; mkdir hooks; true\n",
        scripts.join(" ")
    );
    let project = project(RUN, &script);
    for path in &scripts {
        project.write(path, "true\n");
    }
    for (name, value) in [
        ("gpg.ssh.defaultKeyCommand", "sh ignored/a.sh"),
        ("remote.x.uploadpack", "ignored/b.sh"),
        ("some.future.setting", "ignored/c.sh"),
        ("alias.x", "!cd ignored && ./d.sh"),
        ("filter.x.clean", "./\"quoted\"/e.sh"),
    ] {
        project.git(&["config", name, value]);
    }
    // A file that blocks the path of a hooks directory.
    project.write("hooks", "a file\n");
    project.git(&["config", "core.hooksPath", "hooks/x"]);
    project.commit();
    assert_eq!(build(&project, &[]).code, Some(0));
    assert!(project.at("hooks").is_file());
    for path in &scripts {
        assert_eq!(fs::read_to_string(project.at(path)).expect("reads"), "true\n", "{path}");
    }
    let none = project_of_another_format(&script);
    let outcome = build(&none, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    assert_eq!(fs::read_to_string(none.at("ignored/a.sh")).expect("reads"), "true\n");
}

/// A repository with SHA-256, which libgit2 does not open.
fn project_of_another_format(script: &str) -> Project {
    let project = project(&format!("[code]\nnone = true\n{RUN}"), script);
    fs::remove_dir_all(project.at(".git")).expect("removes");
    git_in(&project.at(""), &project.home(), &["init", "-q", "--object-format=sha256"]);
    project.write("ignored/a.sh", "true\n");
    project.git(&["config", "core.fsmonitor", "ignored/a.sh"]);
    project
}

/// A project that was unpacked from an archive declares which other repository it shares data with.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_hides_a_repository_named_in_commondir_or_alternates() {
    for (file, entry) in [("commondir", ""), ("objects/info/alternates", "/objects")] {
        let project = project(&format!("[code]\nnone = true\n{RUN}"), "");
        let private = project.home().join("private");
        fs::create_dir(&private).expect("creates");
        git_in(&private, &project.home(), &["init", "-q"]);
        let git = private.join(".git");
        fs::write(git.join("objects/secret"), "SECRET").expect("writes");
        project.write(
            "run.sh",
            format!("mkdir -p model; echo 1 > model/w; cat '{}/objects/secret' >&2\n", git.display()),
        );
        project.commit();
        fs::write(project.at(".git").join(file), format!("{}{entry}\n", git.display())).expect("writes");
        let outcome = build(&project, &[]);
        outcome.says("No such file");
    }
}

/// Reading the pipe would block, as it does in git.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_pipe_in_place_of_a_file_that_git_reads() {
    let left = project(RUN, "mkdir -p model sub; echo 1 > model/w; mkfifo sub/.gitignore; touch sub/f\n");
    let outcome = build(&left, &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("sub/.gitignore`, which git reads, is neither a file nor a directory").claims_no_success();
    let there = project(RUN, "mkdir -p model; echo 1 > model/w\n");
    fs::remove_file(there.at(".git/config")).expect("removes");
    let made = std::process::Command::new("mkfifo").arg(there.at(".git/config")).status();
    assert!(made.expect("runs").success());
    let outcome = build(&there, &[]);
    assert_ne!(outcome.code, Some(0));
    outcome.says("which git reads, is neither a file nor a directory");
}

/// In place, the borrowed objects are not shown. A clone contains them all.
#[test]
#[ignore = "needs bubblewrap"]
fn clean_build_clones_all_objects_of_a_repository_that_borrows_some() {
    let source = project(RUN, "mkdir -p model; git cat-file -p HEAD > model/w\n");
    let place = source.home().join("source");
    git_in(&source.at(""), &source.home(), &["clone", "-q", ".", &place.to_string_lossy()]);
    let borrowing = source.root().join("borrowing");
    git_in(
        source.root(),
        &source.home(),
        &["clone", "-q", "--shared", &place.to_string_lossy(), "borrowing"],
    );
    let key = source.key();
    let build = |arguments: &[&str]| {
        source.modelseal(&[&["build", "--key", &key], arguments].concat()).current_dir(&borrowing).run()
    };
    assert_eq!(build(&["--clean"]).code, Some(0));
    build(&["--force"]).says("the command `sh run.sh` failed");
}

/// This also applies outside the work tree.
#[test]
#[ignore = "needs bubblewrap"]
fn rejected_artifact_copy_contains_no_repository() {
    let script =
        "mkdir -p model/deep/.git; echo 1 > model/w; echo ref: x > model/deep/.git/HEAD; echo >> run.sh\n";
    let project = project(RUN, script);
    let kept = project.out("m.tar.rejected/deep");
    let output = project.out("m.tar").to_string_lossy().into_owned();
    for arguments in [&["-o", &output][..], &["--clean", "-o", &output]] {
        assert_eq!(build(&project, arguments).code, Some(1));
        assert!(kept.is_dir() && kept.join(".git").symlink_metadata().is_err(), "{arguments:?}");
        project.git(&["checkout", "-q", "run.sh"]);
    }
}
