//! Other names that mounts give to a file or directory.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One line of the list of mounts (`proc_pid_mountinfo(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// Which file system: its numbers, as the kernel writes them.
    device: String,
    /// Which directory of the file system is shown.
    root: PathBuf,
    /// Where it is shown.
    point: PathBuf,
}

/// Where else the same file or directory can be found, because a directory above it is mounted twice. `path` has
/// its links resolved.
pub(super) fn other_names(path: &Path) -> Vec<PathBuf> {
    let identity =
        |path: &Path| path.symlink_metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let names = names_in(own_mounts(), path);
    if names.is_empty() {
        return names;
    }
    let own = identity(path);
    // What another mount covers is not there.
    names.into_iter().filter(|name| own.is_some() && identity(name) == own).collect()
}

/// The mounts of this process, as they were when they were first asked for: no command can change them.
fn own_mounts() -> &'static [Mount] {
    static MOUNTS: OnceLock<Vec<Mount>> = OnceLock::new();
    MOUNTS.get_or_init(|| mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()))
}

/// Under which other names directories can be found.
pub(super) struct OtherNames(Vec<(PathBuf, PathBuf)>);

impl OtherNames {
    /// Of directories with their links resolved.
    pub(super) fn of<'a>(directories: impl Iterator<Item = &'a Path>) -> Self {
        let pairs =
            directories.flat_map(|own| other_names(own).into_iter().map(|other| (other, own.to_path_buf())));
        Self(pairs.collect())
    }

    /// A path by another name, as paths in the directories.
    pub(super) fn of_path(&self, path: &Path) -> Vec<PathBuf> {
        let own = |(other, own): &(PathBuf, PathBuf)| Some(join(own, path.strip_prefix(other).ok()?));
        self.0.iter().filter_map(own).collect()
    }
}

/// Places at which something is mounted.
pub(super) fn mount_points() -> Vec<PathBuf> {
    own_mounts().iter().map(|mount| mount.point.clone()).collect()
}

fn mounts(list: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(2);
        let device = fields.next()?.to_string();
        Some(Mount { device, root: unescape(fields.next()?), point: unescape(fields.next()?) })
    };
    list.lines().filter_map(mount).collect()
}

fn names_in(mounts: &[Mount], path: &Path) -> Vec<PathBuf> {
    // Of two mounts at one place, the later one is seen.
    let around = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    let Some(own) = around.max_by_key(|mount| mount.point.components().count()) else { return Vec::new() };
    let Ok(rest) = path.strip_prefix(&own.point) else { return Vec::new() };
    let inside = own.root.join(rest);
    let same = mounts.iter().filter(|mount| mount.device == own.device);
    let names = same.filter_map(|mount| Some(join(&mount.point, inside.strip_prefix(&mount.root).ok()?)));
    names.filter(|name| name != path).collect()
}

/// Without a slash at the end.
fn join(directory: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { directory.to_path_buf() } else { directory.join(rest) }
}

/// Spaces and the like are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits =
            after.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_mounted_twice_has_two_names() {
        let list = "21 1 8:1 / / rw - ext4 /dev/a rw\n\
                    22 21 8:2 /@home /home rw - btrfs /dev/b rw\n\
                    23 21 8:2 /@home/ann /opt/a\\040b rw - btrfs /dev/b rw\n\
                    24 21 8:1 /srv /mnt rw - ext4 /dev/a rw\nbroken\n";
        let mounts = mounts(list);
        assert_eq!(mounts.len(), 4);
        let names = |path: &str| names_in(&mounts, Path::new(path));
        assert_eq!(names("/home/ann"), [Path::new("/opt/a b")]);
        assert_eq!(names("/home/ann/.ssh"), [Path::new("/opt/a b/.ssh")]);
        assert_eq!(names("/opt/a b/.ssh"), [Path::new("/home/ann/.ssh")]);
        assert_eq!(names("/srv/x"), [Path::new("/mnt/x")]);
        assert!(names("/home/bob").is_empty() && names("/etc").is_empty());
    }
}
