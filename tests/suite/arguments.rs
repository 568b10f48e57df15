//! The command line itself.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use crate::support::{Project, modelseal};

#[test]
fn help_shows_examples_exit_codes_and_only_existing_subcommands() {
    let help = modelseal(["--help"]).expect(0);
    help.says("Examples:").says("Only 0 means yes");
    for verb in [
        "init",
        "keygen",
        "build",
        "verify",
        "unpack",
        "show",
        "reproduce",
        "diff",
        "policy",
        "probe",
        "drill",
        "sign",
        "countersign",
        "rollback",
        "completions",
    ] {
        help.says(&format!("\n  {verb} "));
        modelseal([verb, "--help"]).expect(0).says("Examples:");
    }
    assert!(!help.stdout.contains("oci"));
}

#[test]
fn help_and_version_also_work_as_subcommands() {
    for verb in ["--version", "version"] {
        let outcome = modelseal([verb]).expect(0);
        assert_eq!(outcome.stdout, concat!("modelseal ", env!("CARGO_PKG_VERSION"), "\n"));
    }
    for verb in [&["build"][..], &["policy", "init"]] {
        let help = modelseal([&["help"], verb].concat()).expect(0).stdout;
        assert_eq!(help, modelseal([verb, &["--help"]].concat()).expect(0).stdout);
    }
}

#[test]
fn build_refuses_to_write_an_archive_to_standard_output() {
    let project = Project::new();
    let key = project.key();
    let build = |output: &str| project.modelseal(&["build", "--adopt", "--key", &key, "-o", output]).run();
    let refused = build("-");
    assert_eq!(refused.code, Some(2));
    refused.says("`-o -`: the archive cannot be written to standard output").says("`-o ./-`");
    assert!(!project.at("-").exists());
    assert_eq!(build("./-").code, Some(0));
    assert!(project.at("-").is_file());
}

#[test]
fn build_finds_the_recipe_in_a_parent_directory_only_within_the_work_tree() {
    let project = Project::new();
    let inner = project.at("data/deep");
    std::fs::create_dir_all(&inner).expect("creates");
    let key = project.key();
    let build = || project.modelseal(&["build", "--adopt", "--key", &key]).current_dir(&inner).run();
    let built = build();
    assert_eq!(built.code, Some(0), "{}", built.all());
    built.says("../../dist/wine-1.0.0.tar");
    assert!(project.at("dist/wine-1.0.0.tar").is_file());
    // Outside a work tree, parent directories may belong to anyone.
    std::fs::remove_dir_all(project.at(".git")).expect("removes");
    build().says("modelseal.toml");
    assert_eq!(build().code, Some(2));
}

#[test]
fn usage_error_exits_with_2() {
    for arguments in
        [&[][..], &["nonsense"], &["verify"], &["build", "--nonsense"], &["verify", "x", "--hash", "md5"]]
    {
        modelseal(arguments).expect(2);
    }
}

#[test]
fn completions_prints_scripts_and_bash_accepts_its_own() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(modelseal(["completions", shell]).expect(0).stdout.contains("modelseal"));
    }
    let script = modelseal(["completions", "bash"]).expect(0).stdout;
    let output = Command::new("bash").args(["-n", "-c", &script]).output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn show_exits_with_0_if_the_reader_closes_the_pipe() {
    let project = Project::new();
    let archive = project.build();
    let binary = env!("CARGO_BIN_EXE_modelseal");
    let script = format!("{binary} show {} | head -n 1; echo ${{PIPESTATUS[0]}}", archive.display());
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.ends_with("\n0\n"), "{text}");
}

/// A verdict that nobody can read is not a verdict.
#[test]
fn verify_exits_with_2_if_standard_output_cannot_be_written() {
    let project = Project::new();
    let archive = project.build();
    let key = project.public_key();
    let mut command =
        project.modelseal(&["verify", &archive.to_string_lossy(), "--key", &key]).into_command();
    let full = OpenOptions::new().write(true).open("/dev/full").expect("opens");
    let output = command.stdout(full).stderr(Stdio::piped()).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
    // If no message can be printed either, the exit code still reports the failure.
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("opens");
    let nowhere = project.modelseal(&["verify", "nowhere.tar", "--key", &key]);
    let output = nowhere.into_command().stdout(full()).stderr(full()).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn init_writes_a_recipe_that_builds_and_never_overwrites_one() {
    let project = Project::new();
    std::fs::remove_file(project.at("modelseal.toml")).expect("removes");
    let outcome = project.modelseal(&["init"]).expect(0);
    outcome.says("wrote `modelseal.toml`").says("git add -- modelseal.toml params.toml");
    let written = std::fs::read_to_string(project.at("modelseal.toml")).expect("reads");
    assert!(written.contains("path = \"model\"") && written.contains("path = \"data/train.csv\""));
    project.modelseal(&["init"]).expect(2).says("already exists").says("never overwritten");
    assert_eq!(std::fs::read_to_string(project.at("modelseal.toml")).expect("reads"), written);
    project.commit();
    project.modelseal(&["build"]).expect(0);
}

#[test]
fn init_without_git_writes_a_recipe_that_builds_without_a_code_revision() {
    let project = Project::empty();
    project.write("model.onnx", "x");
    let place = project.at("").to_string_lossy().into_owned();
    let outcome =
        project.modelseal(&["init", place.trim_end_matches('/')]).current_dir(project.root()).expect(0);
    assert!(!outcome.all().contains("git"));
    project.modelseal(&["build"]).expect(0).says("missing  the code revision, the training data");
}

#[test]
fn build_accepts_data_paths_as_arguments_and_does_not_seal_them() {
    let project = Project::new();
    let key = project.key();
    let build = |data: &[&str]| {
        let mut all = vec!["build", "--key", &key, "--force"];
        all.extend(data.iter().flat_map(|data| ["--data", data]));
        project.modelseal(&all)
    };
    let elsewhere = project.out("elsewhere.csv");
    std::fs::rename(project.at("data/train.csv"), &elsewhere).expect("renames");
    let path = format!("train={}", elsewhere.display());
    build(&[]).expect(2).says("train.csv");
    build(&[&path]).expect(0);
    build(&["test=x"]).expect(2).says("the recipe has no data source `test`");
    build(&[&path, &path]).expect(2).says("given twice");
    build(&["train"]).expect(2).says("NAME=PATH");
    // The location of the data is not sealed.
    let show = project.modelseal(&["show", "dist/wine-1.0.0.tar"]).expect(0);
    show.says("`data/train`  data/train.csv");
    assert!(!show.stdout.contains("elsewhere"));
}

/// Shells, Docker, Kubernetes and OpenTelemetry read this output without changes.
#[test]
fn show_prints_a_release_as_environment_variables() {
    let project = Project::new();
    let archive = project.build();
    let archive = archive.to_string_lossy();
    let json = project.modelseal(&["show", &archive, "--format", "json"]).expect(0).json();
    let release = json["release"].as_str().expect("text");
    let shown = project.modelseal(&["show", &archive, "--format", "env"]).expect(0).stdout;
    let commit = project.git(&["rev-parse", "HEAD"]);
    let expected = format!(
        "MODELSEAL_MODEL=wine\nMODELSEAL_VERSION=1.0.0\nMODELSEAL_RELEASE={release}\n\
         MODELSEAL_LABEL={}\nMODELSEAL_ORIGIN=adopted\nMODELSEAL_COMMIT={}\n\
         OTEL_RESOURCE_ATTRIBUTES=modelseal.name=wine,modelseal.version=1.0.0,modelseal.release={release}\n",
        &release.replace(':', "-")[..63],
        commit.trim(),
    );
    assert_eq!(shown, expected);
    let script = "export $(\"$0\" show \"$1\" --format env) && echo \"$MODELSEAL_RELEASE\"";
    let program = env!("CARGO_BIN_EXE_modelseal");
    let output = std::process::Command::new("sh").args(["-c", script, program, &archive]).output();
    assert_eq!(String::from_utf8_lossy(&output.expect("runs").stdout).trim(), release);
}
