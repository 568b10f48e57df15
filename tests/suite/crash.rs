//! Failures during a command: kills, interrupts, full disks, missing permissions. A partial file never appears under a
//! final name.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::run::finish;
use crate::support::{Outcome, Project};

/// A project large enough that its build takes a while.
fn large() -> Project {
    let project = Project::with_artifact(&[]);
    project.write("model/weights.bin", vec![7u8; 48 << 20]);
    project
}

/// All files in the output directory, including hidden files.
fn left(project: &Project) -> Vec<String> {
    let entries = fs::read_dir(project.out("")).expect("reads");
    entries.map(|entry| entry.expect("reads").file_name().to_string_lossy().into_owned()).collect()
}

fn build_command(project: &Project) -> Command {
    let (key, output) = (project.key(), project.out("m.tar").to_string_lossy().into_owned());
    project.modelseal(&["build", "--key", &key, "-o", &output]).into_command()
}

#[test]
fn build_killed_at_any_moment_leaves_a_complete_archive_or_none() {
    let project = large();
    let mut complete = 0;
    for attempt in 0..24u64 {
        let _ = fs::remove_file(project.out("m.tar"));
        let mut child =
            build_command(&project).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        std::thread::sleep(Duration::from_millis(attempt * 29 % 500));
        child.kill().expect("kills");
        child.wait().expect("ends");
        if project.out("m.tar").exists() {
            complete += 1;
            let outcome = project.verify(&project.out("m.tar"), &["--hash", "all"]);
            assert_eq!(outcome.code, Some(0), "{}", outcome.all());
        }
    }
    assert!(complete < 24, "nothing was ever interrupted");
}

#[test]
fn unpack_killed_at_any_moment_leaves_a_complete_directory_or_none() {
    let project = large();
    let archive = project.build();
    let (from, key) = (archive.to_string_lossy().into_owned(), project.public_key());
    for attempt in 0..24u64 {
        let _ = fs::remove_dir_all(project.out("u"));
        let to = project.out("u").to_string_lossy().into_owned();
        let mut command = project.modelseal(&["unpack", &from, "-o", &to, "--key", &key]).into_command();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        std::thread::sleep(Duration::from_millis(attempt * 23 % 400));
        child.kill().expect("kills");
        child.wait().expect("ends");
        if project.out("u").exists() {
            assert_eq!(project.verify(&project.out("u"), &[]).code, Some(0));
        }
    }
}

/// Sends a signal during the work and returns how the command ended.
fn interrupt(mut command: Command, signal: Signal, after: Duration) -> Outcome {
    let child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    std::thread::sleep(after);
    let _ = kill_process(Pid::from_child(&child), signal);
    let output = child.wait_with_output().expect("ends");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn build_interrupted_by_a_signal_leaves_no_files() {
    let project = Project::with_artifact(&[]);
    project.write("model/weights.bin", vec![7u8; 400 << 20]);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let outcome = interrupt(build_command(&project), signal, Duration::from_millis(120));
        assert_eq!(outcome.code, Some(code), "{}", outcome.all());
        outcome.claims_no_success();
        assert!(left(&project).is_empty(), "{:?}", left(&project));
    }
}

/// A signal that arrives while standard input is awaited is not noticed between two chunks. No files may remain in this
/// case either.
#[test]
fn unpack_interrupted_while_waiting_for_standard_input_leaves_no_files() {
    let project = Project::new();
    let bytes = fs::read(project.build()).expect("reads");
    let to = project.out("u").to_string_lossy().into_owned();
    let key = project.public_key();
    let mut command = project.modelseal(&["unpack", "-", "-o", &to, "--key", &key]).into_command();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("has standard input");
    std::io::Write::write_all(&mut stdin, &bytes[..bytes.len() - 2000]).expect("writes");
    std::thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_child(&child), Signal::INT).expect("sends");
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(130));
    drop(stdin);
    assert!(left(&project).is_empty(), "{:?}", left(&project));
}

/// The library that makes system calls fail, compiled once.
fn shim() -> &'static PathBuf {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let library = target.join(format!("faults-{}.so", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/shims/faults.c");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .status();
        assert!(status.expect("the C compiler runs").success());
        library
    })
}

/// Runs with one failing system call. The run must end with 2 and leave no files.
#[track_caller]
fn with_fault(project: &Project, mut command: Command, fault: &str, expected: &str) {
    command.env("LD_PRELOAD", shim()).env("FAULT", fault);
    let outcome = finish(command, Vec::new());
    assert_eq!(outcome.code, Some(2), "{fault}: {}", outcome.all());
    outcome.says(expected).claims_no_success();
    assert!(left(project).is_empty(), "{fault}: {:?}", left(project));
}

const EIO: &str = "5";
const ENOSPC: &str = "28";

#[test]
fn build_keygen_and_init_leave_no_files_after_a_disk_error() {
    let project = large();
    for (fault, expected) in [
        (format!("fsync:{EIO}"), "Input/output error"),
        (format!("write:{ENOSPC}"), "No space left on device"),
        (format!("write:{ENOSPC}:20"), "No space left on device"),
        (format!("write:{EIO}:3"), "Input/output error"),
        (format!("read:{EIO}:8"), "Input/output error"),
    ] {
        with_fault(&project, build_command(&project), &fault, expected);
    }
    // A key that cannot be written does not exist afterwards.
    let prefix = project.out("k").to_string_lossy().into_owned();
    let keygen = || project.modelseal(&["keygen", "-o", &prefix]).into_command();
    with_fault(&project, keygen(), &format!("fsync:{EIO}"), "cannot write the key");
    with_fault(&project, keygen(), &format!("write:{ENOSPC}"), "cannot write the key");
    // The same applies to a recipe.
    let directory = project.out("new");
    fs::create_dir(&directory).expect("creates");
    let place = directory.to_string_lossy().into_owned();
    let mut init = project.modelseal(&["init", &place]).into_command();
    init.env("LD_PRELOAD", shim()).env("FAULT", format!("write:{ENOSPC}"));
    let outcome = finish(init, Vec::new());
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    assert_eq!(fs::read_dir(directory).expect("reads").count(), 0);
}

#[test]
fn unpack_leaves_no_partial_directory_after_a_disk_error() {
    let project = large();
    let archive = project.build();
    let (from, key) = (archive.to_string_lossy().into_owned(), project.public_key());
    let to = project.out("u").to_string_lossy().into_owned();
    for (fault, expected) in [
        (format!("write:{ENOSPC}"), "No space left on device"),
        (format!("write:{ENOSPC}:9"), "cannot write"),
        (format!("fsync:{EIO}"), "Input/output error"),
        (format!("rename:{EIO}"), "Input/output error"),
        (format!("read:{EIO}:9"), "Input/output error"),
    ] {
        // After the rename, everything is in place. Only whether it reached the disk is uncertain.
        let renamed = fault.starts_with("fsync");
        let mut command = project.modelseal(&["unpack", &from, "-o", &to, "--key", &key]).into_command();
        if renamed {
            command.env("LD_PRELOAD", shim()).env("FAULT", &fault);
            assert_eq!(finish(command, Vec::new()).code, Some(2));
            fs::remove_dir_all(project.out("u")).expect("is complete");
        } else {
            with_fault(&project, command, &fault, expected);
        }
    }
}

/// A file system that is too small is reported before a byte of the model is written. Because nothing was written, no
/// write fails.
#[test]
fn build_and_unpack_report_a_too_small_disk_before_writing_the_model() {
    let project = large();
    let archive = project.build();
    let (from, key, public) = (archive.to_string_lossy().into_owned(), project.key(), project.public_key());
    let place = project.out("small");
    fs::create_dir(&place).expect("creates");
    let to = place.join("result").to_string_lossy().into_owned();
    for (arguments, writes) in [
        (&["build", "--key", &key, "-o", &to][..], 0),
        // The seal and `model.sig` come before the model, which takes one write for each MiB.
        (&["unpack", &from, "-o", &to, "--key", &public], 10),
    ] {
        let plain = project.modelseal(arguments).into_command();
        let shell =
            "mount -t tmpfs -o size=20m none \"$0\" && { \"$@\"; code=$?; ls -A \"$0\"; exit $code; }";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", shell]).arg(&place);
        command.arg("env").arg(format!("FAULT=write:{EIO}:{writes}"));
        command.arg(format!("LD_PRELOAD={}", shim().display()));
        command.arg(plain.get_program()).args(plain.get_args()).current_dir(project.at("")).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let outcome = finish(command, Vec::new());
        assert_eq!(outcome.code, Some(2), "{}", outcome.all());
        outcome.says("No space left on device").says("small/result").claims_no_success();
        assert_eq!(outcome.stdout, "", "something stays");
    }
}

#[test]
fn verify_exits_with_2_on_a_read_error() {
    let project = large();
    let archive = project.build();
    let directory = project.unpack(&archive);
    let key = project.public_key();
    for target in [archive, directory] {
        let target = target.to_string_lossy().into_owned();
        let mut command = project.modelseal(&["verify", &target, "--key", &key]).into_command();
        command.env("LD_PRELOAD", shim()).env("FAULT", format!("read:{EIO}:12"));
        let outcome = finish(command, Vec::new());
        assert_eq!(outcome.code, Some(2), "{}", outcome.all());
        outcome.says("Input/output error").claims_no_success();
    }
}

/// Sets a `ulimit` for one run.
fn limited(project: &Project, limit: &str) -> Command {
    let plain = build_command(project);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit {limit}; exec \"$@\""), "sh"]);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(project.at("")).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn build_reports_limits_on_file_size_and_open_files_and_leaves_no_files() {
    let project = large();
    let outcome = finish(limited(&project, "-f 2048"), Vec::new());
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("File too large").claims_no_success();
    assert!(left(&project).is_empty(), "{:?}", left(&project));
    let outcome = finish(limited(&project, "-n 6"), Vec::new());
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("Too many open files").claims_no_success();
    assert!(left(&project).is_empty());
    // Many small files need few descriptors at a time.
    let many = Project::with_artifact(&[]);
    for index in 0..500 {
        many.write(&format!("model/{index}"), index.to_string());
    }
    assert_eq!(finish(limited(&many, "-n 40"), Vec::new()).code, Some(0));
}

#[test]
fn build_reports_an_output_directory_without_write_permission() {
    let project = Project::with_artifact(&[("a", b"a")]);
    let mut command = build_command(&project);
    fs::set_permissions(project.out(""), std::os::unix::fs::PermissionsExt::from_mode(0o555)).expect("sets");
    if rustix::process::geteuid().is_root() {
        let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(project.root()).status();
        assert!(owned.expect("chown runs").success());
        command.uid(65534).gid(65534);
    }
    let outcome = finish(command, Vec::new());
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("Permission denied").claims_no_success();
}

#[test]
fn build_replaces_an_existing_file_only_with_force() {
    let project = Project::with_artifact(&[("a", b"a")]);
    let output = project.out("m.tar");
    fs::write(&output, "something else").expect("writes");
    let outcome = finish(build_command(&project), Vec::new());
    assert_eq!(outcome.code, Some(2));
    outcome.says("already exists with other content").says("--force").claims_no_success();
    assert_eq!(fs::read(&output).expect("reads"), b"something else");
    assert_eq!(left(&project), ["m.tar"]);
    let (key, path) = (project.key(), output.to_string_lossy().into_owned());
    project.modelseal(&["build", "--key", &key, "-o", &path, "--force"]).expect(0);
    assert_eq!(project.verify(&output, &[]).code, Some(0));
    fs::remove_file(&output).expect("removes");
    fs::create_dir(&output).expect("creates");
    for force in [&[][..], &["--force"]] {
        let arguments = [&["build", "--key", &key, "-o", &path], force].concat();
        project.modelseal(&arguments).expect(2).claims_no_success();
    }
    assert_eq!(left(&project), ["m.tar"]);
    let nowhere = project.out("no/such/m.tar").to_string_lossy().into_owned();
    let outcome = project.modelseal(&["build", "--key", &key, "-o", &nowhere]).expect(2);
    outcome.says("no/such` does not exist");
}

#[test]
fn concurrent_builds_to_one_output_leave_one_valid_archive() {
    let project = large();
    for _ in 0..4 {
        let mut children: Vec<_> = (0..3)
            .map(|_| {
                build_command(&project).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
            })
            .collect();
        for child in &mut children {
            assert_eq!(child.wait().expect("ends").code(), Some(0));
        }
        assert_eq!(left(&project), ["m.tar"]);
        assert_eq!(project.verify(&project.out("m.tar"), &[]).code, Some(0));
        fs::remove_file(project.out("m.tar")).expect("removes");
    }
}

/// Two archives are swapped continuously. The unpacked directory always verifies, or nothing is unpacked.
#[test]
fn unpack_of_an_archive_swapped_meanwhile_writes_only_a_valid_directory() {
    let project = large();
    let good = project.build();
    let evil = project.out("evil.tar");
    let mut bytes = fs::read(&good).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&evil, &bytes).expect("writes");
    let shown = project.out("shown.tar");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let racer = std::thread::spawn({
        let (stop, shown, good, evil) = (stop.clone(), shown.clone(), good.clone(), evil.clone());
        let link = project.out("link");
        move || {
            let mut turn = false;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                turn = !turn;
                let _ = fs::hard_link(if turn { &good } else { &evil }, &link);
                let _ = fs::rename(&link, &shown);
            }
        }
    });
    while !shown.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (from, key) = (shown.to_string_lossy().into_owned(), project.public_key());
    let mut codes = Vec::new();
    for attempt in 0..12 {
        let directory = project.out(&format!("u{attempt}"));
        let to = directory.to_string_lossy().into_owned();
        let outcome = project.modelseal(&["unpack", &from, "-o", &to, "--key", &key]).run();
        codes.push(outcome.code);
        let verified = directory.exists().then(|| project.verify(&directory, &["--hash", "all"]).code);
        assert_eq!(verified, (outcome.code == Some(0)).then_some(Some(0)), "{}", outcome.all());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    racer.join().expect("races");
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 1))), "{codes:?}");
}
