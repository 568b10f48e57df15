//! Memory use stays bounded for any number and size of files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::running::{MAKE, project};
use crate::support::project::Project;
use crate::support::run::{Outcome, finish};

/// 96 MiB in KiB, the unit of the kernel. With 100,000 files, more than half of it is the text of a seal.
const LIMIT: u64 = 96 << 10;

/// Runs the binary and returns its peak memory in KiB.
#[track_caller]
fn peak(project: &Project, arguments: &[&str]) -> u64 {
    let measure = "import resource, subprocess, sys\n\
                   code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)\n\
                   print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n\
                   sys.exit(code)";
    let mut command = Command::new("python3");
    command.args(["-c", measure, env!("CARGO_BIN_EXE_modelseal")]).args(arguments);
    command.current_dir(project.at("")).env("HOME", project.home());
    let outcome = finish(command, Vec::new());
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    outcome.stdout.trim().parse().expect("a number")
}

#[track_caller]
fn builds_verifies_and_unpacks_within_the_limit(project: &Project, options: &[&str]) {
    let (key, public) = (project.key(), project.public_key());
    let at = |path: &Path| path.to_string_lossy().into_owned();
    let (archive, directory) = (at(&project.out("archive")), at(&project.out("unpacked")));
    let build = [&["build", "--key", &key, "-o", &archive], options].concat();
    for arguments in [
        build.as_slice(),
        &["verify", &archive, "--key", &public],
        &["unpack", &archive, "--key", &public, "-o", &directory],
        &["verify", &directory, "--key", &public],
    ] {
        let peak = peak(project, arguments);
        assert!(peak < LIMIT, "{arguments:?} held {peak} KiB");
    }
}

#[test]
fn build_verify_and_unpack_of_100000_files_stay_within_the_memory_limit() {
    let project = Project::with_artifact(&[]);
    for directory in 0..1000 {
        let directory = project.at(&format!("model/part-{directory:04}"));
        fs::create_dir(&directory).expect("creates");
        for file in 0..100 {
            fs::write(directory.join(format!("file-{file:03}.bin")), file.to_string()).expect("writes");
        }
    }
    builds_verifies_and_unpacks_within_the_limit(&project, &[]);

    // Texts that are too long to keep in memory are still compared to the last byte.
    let directory = project.out("unpacked");
    let seal = ".modelseal/manifest.sigstore.json";
    for (name, check, parts) in [("model.sig", "model_signature", &[2][..]), (seal, "seal", &[1, 2, 100])] {
        let path = directory.join(name);
        let good = fs::read(&path).expect("reads");
        for place in parts.iter().map(|part| good.len() - good.len() / part) {
            let mut bad = good.clone();
            bad[place] = if bad[place] == b'A' { b'B' } else { b'A' };
            fs::write(&path, bad).expect("writes");
            let outcome = project.verify(&directory, &["--format", "json"]);
            assert_eq!(outcome.code, Some(1), "{name} at {place}");
            let checks = outcome.json()["checks"].clone();
            let failed = checks.as_array().expect("checks").iter().find(|check| check["status"] == "fail");
            let id = failed.expect("one fails")["id"].clone();
            assert!(id == check || (check == "seal" && id == "signature"), "{name} at {place}: {id}");
        }
        fs::write(&path, good).expect("writes");
    }
}

/// Larger than the size field of a ustar header.
#[test]
fn build_and_verify_of_a_9_gib_file_stay_within_the_memory_limit() {
    let project = Project::with_artifact(&[]);
    let file = File::create(project.at("model/weights.bin")).expect("creates");
    file.set_len(9 << 30).expect("has holes");
    let (key, public) = (project.key(), project.public_key());
    let archive = project.out("archive.tar.zst").to_string_lossy().into_owned();
    let build = ["build", "--key", &key, "-o", &archive, "--compression", "zstd"];
    for arguments in [build.as_slice(), &["verify", &archive, "--key", &public]] {
        let peak = peak(&project, arguments);
        assert!(peak < LIMIT, "{arguments:?} held {peak} KiB");
    }
}

#[test]
fn build_refuses_a_seal_too_large_for_verify_to_read() {
    let project = Project::new();
    project.write("more.json", format!("{{\"list\":[0{}]}}", ",0".repeat(5_000_000)));
    project.edit_recipe("files = [\"params.toml\"", "files = [\"more.json\", \"params.toml\"");
    project.commit();
    let outcome = project.build_refused(&[], 2);
    outcome.says("the seal would be unreadable").says("seal fewer hyperparameters");
}

/// Builds behind a shell that sets a limit, with a temporary directory that can be inspected afterwards.
fn build_behind(project: &Project, shell: &str) -> (Outcome, PathBuf) {
    let temporary = project.root().join("temporary");
    fs::create_dir(&temporary).expect("creates");
    let key = project.key();
    let plain = project.modelseal(&["build", "--clean", "--key", &key]).into_command();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", shell]).arg(&temporary);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(project.at("")).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TMPDIR", &temporary);
    (finish(command, Vec::new()), temporary)
}

#[test]
fn build_removes_temporary_directories_nested_deeper_than_open_file_limit() {
    let deep = "import os\nos.chdir(os.environ['TMPDIR'])\nfor _ in range(1500):\n    os.mkdir('deep'); os.chdir('deep')\n";
    let project = project(&format!("python3 deep.py || exit 9\n{MAKE}"));
    project.write("deep.py", deep);
    project.commit();
    let (outcome, temporary) = build_behind(&project, "ulimit -n 256; exec \"$@\"");
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    assert_eq!(fs::read_dir(&temporary).expect("reads").count(), 0, "something stays");
}

#[test]
fn build_names_a_command_that_fills_the_disk_and_leaves_no_files() {
    let project = project(&format!("cat /dev/zero > \"$TMPDIR/fill\" || exit 9\n{MAKE}"));
    // The disk is a small separate one. Its remaining files are listed before it disappears.
    let shell = "mount -t tmpfs -o size=4m none \"$0\" && { \"$@\"; code=$?; ls -A \"$0\"; exit $code; }";
    let (outcome, _) = build_behind(&project, shell);
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("cannot save the output of the command `sh make.sh`").says("cause: No space left on device");
    assert_eq!(outcome.stdout, "", "something stays");
}
