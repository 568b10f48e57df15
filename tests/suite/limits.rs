//! Memory stays bounded, whatever the number of files and their size.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use crate::support::project::Project;
use crate::support::run::finish;

/// 150 MiB, in the kibibytes that the kernel counts.
const LIMIT: u64 = 150 << 10;

/// Runs the binary and returns the most memory that it held, in KiB.
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
fn a_hundred_thousand_files() {
    let project = Project::with_artifact(&[]);
    for directory in 0..1000 {
        let directory = project.at(&format!("model/part-{directory:04}"));
        fs::create_dir(&directory).expect("creates");
        for file in 0..100 {
            fs::write(directory.join(format!("file-{file:03}.bin")), file.to_string()).expect("writes");
        }
    }
    builds_verifies_and_unpacks_within_the_limit(&project, &[]);
}

/// Larger than a ustar header can say.
#[test]
fn a_sparse_file_of_9_gib() {
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
