//! A certificate authority for the tests, and its certificates.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::peers;

/// The directory of all certificates, made once per run.
pub fn authority() -> &'static tempfile::TempDir {
    static AUTHORITY: OnceLock<tempfile::TempDir> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let python = peers::python_environment("requirements").join("bin/python");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/support/authority.py");
        let output = Command::new(python).arg(script).arg(directory.path()).output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        directory
    })
}

/// The path of `NAME.key`, `NAME.pem` or `NAME.pub` of the authority.
pub fn path(name: &str) -> String {
    let path: PathBuf = authority().path().join(name);
    assert!(path.is_file(), "{name} was not made");
    path.to_string_lossy().into_owned()
}
