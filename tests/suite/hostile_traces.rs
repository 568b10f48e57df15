//! Links and files that an earlier build left, or that the project brings along, on the way to a directory of the user:
//! a cache, a key, a directory that commands may write to, git's configuration.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::hostile_names::key_in;
use crate::hostile_projects::{RUN, build_with, project};
use crate::support::project::Project;

const MAKE: &str = "mkdir -p model; echo a > model/w\n";

fn text(project: &Project, path: &str) -> String {
    project.at(path).to_string_lossy().into_owned()
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_project_link_as_cache_or_temporary_directory() {
    let recipe = format!("{RUN}caches = [\"a\"]\n");
    let project = project(&recipe, &format!("{MAKE}echo evil > ~/.cache/a/evil\n"));
    symlink(project.home().join(".ssh"), project.at("ignored")).expect("links");
    for variable in ["XDG_CACHE_HOME", "TMPDIR"] {
        let outcome = build_with(&project, &[(variable, text(&project, "ignored"))], &[]);
        assert_eq!(outcome.code, Some(2), "{variable}: {}", outcome.all());
        outcome.says("a link that a command of the project may have made");
        assert_eq!(fs::read_dir(project.home().join(".ssh")).expect("reads").count(), 1);
    }
    // Nothing is created behind a link further down, either.
    fs::remove_file(project.at("ignored")).expect("removes");
    fs::create_dir_all(project.at("ignored/modelseal")).expect("creates");
    symlink(project.home().join(".ssh"), project.at("ignored/modelseal/projects")).expect("links");
    let outcome = build_with(&project, &[("XDG_CACHE_HOME", text(&project, "ignored"))], &[]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    assert_eq!(fs::read_dir(project.home().join(".ssh")).expect("reads").count(), 1);
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_link_in_place_of_its_kept_cache() {
    let recipe = format!("{RUN}caches = [\"a\"]\n");
    let project = project(&recipe, &format!("{MAKE}cat ~/.cache/a/* > model/seen 2>/dev/null; true\n"));
    let caches = project.at("ignored/modelseal/projects");
    let variables = [("XDG_CACHE_HOME", text(&project, "ignored"))];
    assert_eq!(build_with(&project, &variables, &[]).code, Some(0));
    let own = fs::read_dir(&caches).expect("reads").flatten().next().expect("an entry").path();
    fs::remove_dir_all(&own).expect("removes");
    let other = project.root().join("other");
    fs::create_dir(&other).expect("creates");
    symlink(&other, &own).expect("links");
    let outcome = build_with(&project, &variables, &[]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("it is a link, which an earlier command may have created");
    assert_eq!(fs::read_dir(&other).expect("reads").count(), 0);
}

/// A command of an earlier build can have made the key. `keygen` and a key that is named are not concerned.
#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_a_default_key_in_the_work_tree() {
    let project = project(RUN, MAKE);
    let build = |arguments: &[&str]| {
        let run = project.modelseal(&[&["build"], arguments].concat());
        run.env("XDG_CONFIG_HOME", text(&project, "ignored")).run()
    };
    let (public, local) = (project.public_key(), "ignored/modelseal/local");
    fs::create_dir_all(project.at("ignored/modelseal")).expect("creates");
    fs::copy(project.key(), project.at(&format!("{local}.key"))).expect("copies");
    fs::copy(public, project.at(&format!("{local}.pub"))).expect("copies");
    for arguments in [&[][..], &["--key", "local"], &["--adopt"]] {
        let outcome = build(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {}", outcome.all());
        outcome.says("a command of an earlier build may have put a key there").says("XDG_CONFIG_HOME");
    }
    // A directory that does not exist yet is in the work tree as well.
    fs::remove_dir_all(project.at("ignored")).expect("removes");
    let outcome = build(&[]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    assert!(!project.at("ignored").exists());
    let named = build(&["--key", &project.key()]);
    assert_eq!(named.code, Some(0), "{}", named.all());
}

#[test]
#[ignore = "needs bubblewrap"]
fn allow_write_refuses_a_link_in_a_directory_that_commands_can_change() {
    let project = project(RUN, &format!("{MAKE}cat shared/sub/id >&2; echo x > shared/sub/id\n"));
    let shared = project.root().join("shared");
    fs::create_dir(&shared).expect("creates");
    let sub = shared.join("sub");
    symlink(project.home().join(".ssh"), &sub).expect("links");
    let sub = sub.to_string_lossy().into_owned();
    let outcome = build_with(&project, &[], &["--allow-write", &sub]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("a link that a command of the project may have made").says("hint: ");
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_stops_a_command_from_creating_linked_git_configuration() {
    for (link, target, file) in
        [(".gitconfig", "ignored", "ignored"), (".config/git", "settings", "settings/config")]
    {
        let project = project(RUN, &format!("{MAKE}echo '[core]' > {file} && echo planted >&2; true\n"));
        project.write("settings/ignore", "*.x\n");
        project.commit();
        let link = project.home().join(link);
        fs::create_dir_all(link.parent().expect("a parent")).expect("creates");
        symlink(project.at(target), &link).expect("links");
        let outcome = build_with(&project, &[], &[]);
        assert!(!outcome.all().contains("planted"), "{file}: {}", outcome.all());
        assert!(!project.at(file).is_file(), "{file}");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_guards_a_git_program_with_an_escaped_space_in_its_path() {
    let project = project(RUN, &format!("{MAKE}echo evil >> 'ignored/my tools/fsm'; true\n"));
    let program = project.at("ignored/my tools/fsm");
    fs::create_dir_all(program.parent().expect("a parent")).expect("creates");
    fs::write(&program, "#!/bin/sh\n").expect("writes");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("sets");
    project.git(&["config", "core.fsmonitor", "ignored/my\\ tools/fsm"]);
    let outcome = build_with(&project, &[], &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    assert_eq!(fs::read_to_string(&program).expect("reads"), "#!/bin/sh\n");
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_warns_of_a_relative_directory_on_path() {
    let project = project(RUN, MAKE);
    let path = |first: &str| vec![("PATH", format!("{first}:{}", std::env::var("PATH").expect("a path")))];
    let said = "PATH names the relative path";
    build_with(&project, &path("./node_modules/.bin"), &[]).says("`node_modules/.bin`").says(said);
    let absolute = build_with(&project, &path("/usr/bin"), &[]);
    assert!(!absolute.all().contains(said), "{}", absolute.all());
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_from_statement_refuses_a_link_in_place_of_dist() {
    let project = project(RUN, MAKE);
    let statement = project.out("s.json").to_string_lossy().into_owned();
    project.modelseal(&["build", "--statement", &statement]).expect(0);
    let elsewhere = project.root().join("elsewhere");
    fs::create_dir(&elsewhere).expect("creates");
    symlink(&elsewhere, project.at("dist")).expect("links");
    let outcome = build_with(&project, &[], &["--from-statement", &statement]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("a link that a command of the project may have made");
    assert_eq!(fs::read_dir(&elsewhere).expect("reads").count(), 0);
}

#[test]
#[ignore = "needs bubblewrap"]
fn build_refuses_an_adopted_artifact_with_a_link_into_a_repository() {
    let project = project("[artifact]\npath = \"model\"\nsymlinks = \"follow\"\n", "");
    fs::create_dir(project.at("model")).expect("creates");
    symlink("../.git/config", project.at("model/vocab.txt")).expect("links");
    let outcome = build_with(&project, &[], &["--adopt"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.all());
    outcome.says("`model/vocab.txt` is a link into a git repository");
    assert!(!project.at("dist").exists());
    // A link inside the artifact is not concerned.
    fs::remove_file(project.at("model/vocab.txt")).expect("removes");
    key_in(&project);
    symlink("w", project.at("model/v")).expect("links");
    project.write("model/w", "a");
    let outcome = build_with(&project, &[], &["--adopt"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
}
