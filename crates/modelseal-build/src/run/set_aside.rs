use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How many random names are tried.
const NAMES: usize = 16;

/// Renames what a command has left where it must not stay: to `NAME.ENDING`, or to a name that cannot be predicted.
/// Returns the new name, or `None` if it could not be renamed.
pub fn set_aside(path: &Path, ending: &str) -> Option<PathBuf> {
    path.symlink_metadata().ok()?;
    // A command can make the directory read-only.
    make_accessible(path.parent()?);
    let name = |more: &str| {
        let mut name = path.as_os_str().to_os_string();
        name.push(format!(".{ending}{more}"));
        PathBuf::from(name)
    };
    let unforeseen = (0..NAMES).filter_map(|_| {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).ok()?;
        Some(format!("-{:016x}", u64::from_ne_bytes(bytes)))
    });
    let mut names = std::iter::once(String::new()).chain(unforeseen).map(|more| name(&more));
    names.find(|name| name.symlink_metadata().is_err()).filter(|name| rename(path, name).is_ok())
}

/// Lets this user enter, list and change a directory that they own.
pub fn make_accessible(directory: &Path) {
    if let Ok(found) = directory.symlink_metadata()
        && found.is_dir()
        && found.permissions().mode() & 0o700 != 0o700
    {
        let _ = fs::set_permissions(directory, Permissions::from_mode(found.permissions().mode() | 0o700));
    }
}

/// Renames a path. A directory can only be moved if it is writable, because its `..` entry changes.
fn rename(path: &Path, name: &Path) -> io::Result<()> {
    make_accessible(path);
    fs::rename(path, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_aside_succeeds_despite_a_taken_name_and_missing_permissions() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("a/.git");
        fs::create_dir_all(&place).expect("creates");
        fs::create_dir_all(directory.path().join("a/.git.made-by-command/x")).expect("creates");
        fs::set_permissions(&place, Permissions::from_mode(0o0)).expect("sets");
        fs::set_permissions(directory.path().join("a"), Permissions::from_mode(0o555)).expect("sets");
        let aside = set_aside(&place, "made-by-command").expect("moves");
        assert!(!place.exists() && aside.exists());
        assert!(aside.to_string_lossy().contains(".git.made-by-command-"), "{aside:?}");
        assert_eq!(set_aside(&place, "made-by-command"), None);
    }
}
