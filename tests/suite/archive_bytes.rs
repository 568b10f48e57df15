//! The same content gives the same bytes under all circumstances.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use modelseal_format::digest::Digest;

use crate::support::Project;
use crate::support::run::finish;

/// A project whose archive uses every feature: long names, pax headers, modes, empty files, several megabytes.
fn project() -> Project {
    let project = Project::new();
    let noise = (0..3_000_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8);
    project.write("model/weights.bin", noise.collect::<Vec<u8>>());
    project.write("model/empty", "");
    project.write("model/größe/模型.txt", "unicode");
    project.write(&format!("model/{}/{}", "d".repeat(90), "f".repeat(90)), "prefix field");
    project.write(&format!("model/{}", "l".repeat(200)), "pax record");
    project.write("model/run.sh", "#!/bin/sh\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(project.at("model/run.sh"), mode).expect("sets the mode");
    project.commit();
    project
}

const COMPRESSIONS: [&str; 3] = ["none", "gzip", "zstd"];

/// SHA-256 of the archive for each compression. They change with the version of modelseal, which is sealed. If they
/// change without a new version, the format or a compressor's output has changed. Such a change needs a decision
/// record.
const LITERAL: [&str; 3] = [
    "694eabf32e705b594ecc4285a8d66a218769792f5151650b3cabba8ff9007d37",
    "7cdb6998620d4f18bb55f69fee4c7a290bb4357c32a0350895de5ec8fb328011",
    "078b1190b0f64682677b1e136eb473744a7e80a7768bc2569cff5ee3b8dd387c",
];

fn digest(path: &PathBuf) -> String {
    Digest::sha256(&fs::read(path).expect("reads")).to_string()
}

#[test]
fn archive_bytes_match_the_recorded_digests() {
    let project = project();
    let found = COMPRESSIONS.map(|compression| digest(&project.build_with(&["--compression", compression])));
    assert_eq!(found, LITERAL);
}

/// Builds under other circumstances and compares the result with the plain build.
#[track_caller]
fn same_bytes(prepare: impl Fn(&Project, &[&str]) -> Command) {
    let reference = project();
    let varied = project();
    let key = varied.key();
    for compression in COMPRESSIONS {
        let expected = digest(&reference.build_with(&["--compression", compression]));
        let output = varied.out(&format!("varied-{compression}"));
        let output_text = output.to_string_lossy();
        let arguments = ["build", "--key", &key, "--compression", compression, "-o", &output_text];
        let outcome = finish(prepare(&varied, &arguments), Vec::new());
        assert_eq!(outcome.code, Some(0), "{}", outcome.all());
        assert_eq!(digest(&output), expected, "{compression}");
    }
}

/// Runs the binary through another program that changes its circumstances.
fn behind(project: &Project, program: &[&str], arguments: &[&str]) -> Command {
    let plain = project.modelseal(arguments).into_command();
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(project.at("")).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn archive_bytes_are_independent_of_the_number_of_threads() {
    same_bytes(|project, arguments| behind(project, &["taskset", "-c", "0"], arguments));
}

#[test]
fn archive_bytes_are_independent_of_the_umask() {
    let umask = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];
    same_bytes(|project, arguments| behind(project, &umask, arguments));
}

#[test]
fn archive_bytes_are_independent_of_time_zone_and_locale() {
    same_bytes(|project, arguments| {
        let mut command = project.modelseal(arguments).into_command();
        command.env("TZ", "Pacific/Kiritimati").env("LC_ALL", "tr_TR.UTF-8").env("LANG", "C");
        command
    });
}

#[test]
fn archive_bytes_are_independent_of_the_working_directory() {
    same_bytes(|project, arguments| {
        let mut arguments = arguments.to_vec();
        let place = project.at("").to_string_lossy().into_owned();
        arguments.push(&place);
        let mut command = project.modelseal(&arguments).into_command();
        command.current_dir("/");
        command
    });
}

#[test]
fn archive_bytes_are_independent_of_file_times_and_order_of_creation() {
    same_bytes(|project, arguments| {
        let model = project.at("model");
        let moved = project.out("moved");
        let mut paths: Vec<PathBuf> = walkdir::WalkDir::new(&model)
            .into_iter()
            .map(|entry| entry.expect("walks").into_path())
            .filter(|path| path.is_file())
            .collect();
        paths.sort();
        for path in paths.iter().rev() {
            let relative = path.strip_prefix(&model).expect("is below");
            let target = moved.join(relative);
            fs::create_dir_all(target.parent().expect("a parent")).expect("creates");
            fs::copy(path, target).expect("copies");
        }
        fs::remove_dir_all(&model).expect("removes");
        fs::rename(&moved, &model).expect("renames");
        project.modelseal(arguments).into_command()
    });
}

#[test]
fn archive_bytes_are_independent_of_the_user() {
    if !rustix::process::geteuid().is_root() {
        // Only root can switch to another user. Without root, the test runs as the ordinary user that it already is.
        return same_bytes(|project, arguments| project.modelseal(arguments).into_command());
    }
    same_bytes(|project, arguments| {
        let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(project.root()).status();
        assert!(owned.expect("chown runs").success());
        let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        behind(project, &user, arguments)
    });
}

#[test]
fn archive_bytes_are_independent_of_the_source_of_the_key() {
    same_bytes(|project, arguments| {
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| if argument.ends_with("ci.key") { "env://SIGNING_KEY" } else { *argument })
            .collect();
        let mut command = project.modelseal(&arguments).into_command();
        command.env("SIGNING_KEY", include_str!("keys/p256.pem"));
        command
    });
}

#[test]
fn build_keeps_the_existing_archive_if_nothing_has_changed() {
    let project = project();
    let archive = project.build();
    let before = fs::metadata(&archive).expect("is there").modified().expect("a time");
    let key = project.key();
    project.modelseal(&["build", "--key", &key]).expect(0).says("; unchanged)");
    assert_eq!(fs::metadata(&archive).expect("is there").modified().expect("a time"), before);
}

#[test]
fn build_gives_every_archive_entry_the_time_in_source_date_epoch() {
    let project = project();
    let key = project.key();
    let output = project.out("a.tar");
    let path = output.to_string_lossy();
    let build = |value: &str| {
        project.modelseal(&["build", "--key", &key, "--force", "-o", &path]).env("SOURCE_DATE_EPOCH", value)
    };
    build("86400").expect(0);
    let mut archive = tar::Archive::new(fs::File::open(&output).expect("opens"));
    for entry in archive.entries().expect("reads") {
        assert_eq!(entry.expect("reads").header().mtime().expect("a time"), 86400);
    }
    for bad in ["", "-1", "1e9", " 1", "99999999999999999999", "8589934592"] {
        build(bad).expect(2).says("SOURCE_DATE_EPOCH");
    }
    build("8589934591").expect(0);
}

/// GNU tar is what most people will use to list and extract archives.
#[test]
fn verify_accepts_an_archive_that_gnu_tar_extracted() {
    let project = project();
    let archive = project.build();
    let status = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(project.out("")).status();
    assert!(status.expect("tar runs").success());
    let extracted = project.out("wine-1.0.0");
    let outcome = project.verify(&extracted, &["--hash", "all"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
}
