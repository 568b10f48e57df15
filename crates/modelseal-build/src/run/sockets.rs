//! Sockets in the file system, on which services of this machine listen.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::mounts::Mounts;

/// Returns sockets that are open on this machine, in directories that a command can see.
///
/// A service may have moved its socket after binding it, as HAProxy does, but the kernel still reports the first name.
/// So every socket in the directory is listed.
pub(super) fn open_sockets(mounts: &Mounts, is_seen: impl Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
    let names = bound_names(&fs::read("/proc/net/unix").unwrap_or_default());
    let (absolute, relative): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.is_absolute());
    // The kernel does not report the working directory at which a relative name starts. A user can read only those of
    // their own processes, root can read all.
    let begins = if relative.is_empty() { BTreeSet::new() } else { working_directories() };
    let relative = begins.iter().flat_map(|begin| relative.iter().map(|name| begin.join(name)));
    let directory = |path: PathBuf| path.parent()?.canonicalize().ok();
    let directories = absolute.into_iter().chain(relative).filter_map(directory);
    let directories: BTreeSet<PathBuf> =
        directories.flat_map(|path| with_other_names(mounts, path)).filter(|path| is_seen(path)).collect();
    let found = directories.iter().flat_map(|directory| sockets_in(directory));
    // Sockets of another network namespace are not listed. A container gets them by a mount, and their paths in
    // variables.
    let named = mounts
        .points()
        .map(Path::to_path_buf)
        .chain(std::env::vars_os().filter_map(|(_, value)| path_in(&value)));
    let named = named.filter_map(|path| path.canonicalize().ok()).filter(|path| is_socket(path));
    let named = named
        .flat_map(|path| with_other_names(mounts, path))
        .filter(|path| path.parent().is_some_and(&is_seen));
    found.chain(named.collect::<Vec<_>>()).collect()
}

fn with_other_names(mounts: &Mounts, path: PathBuf) -> impl Iterator<Item = PathBuf> + use<> {
    let others = mounts.other_names(&path);
    std::iter::once(path).chain(others)
}

/// The path in an address such as `unix:path=/run/bus,guid=1` or `unix:///run/docker.sock`.
fn path_in(value: &OsStr) -> Option<PathBuf> {
    let bytes = value.as_bytes();
    let start = bytes.iter().position(|byte| *byte == b'/')?;
    let path = bytes.get(start..)?.split(|byte| matches!(byte, b',' | b';')).next()?;
    Some(PathBuf::from(OsStr::from_bytes(path)))
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
}

/// Whether something may listen on a socket. A socket that a program has left behind is a file like others.
pub fn is_open(path: &Path) -> bool {
    let connected = || {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)
    };
    connected() != Err(rustix::io::Errno::CONNREFUSED)
}

fn sockets_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sockets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    sockets.map(|entry| entry.path()).collect()
}

/// Whether a line begins with the address of a socket in the kernel, in hex.
fn begins_record(line: &[u8]) -> bool {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    digits >= 8 && line.get(digits..).is_some_and(|rest| rest.starts_with(b": "))
}

/// The names in a list of sockets (`/proc/net/unix`, `proc(5)`). An abstract name starts with `@`, as the name of a
/// file may.
fn bound_names(list: &[u8]) -> Vec<PathBuf> {
    let list = list.strip_suffix(b"\n").unwrap_or(list);
    let mut records: Vec<Vec<u8>> = Vec::new();
    for line in list.split(|byte| *byte == b'\n').skip(1) {
        match records.last_mut() {
            // The kernel does not escape a line break in a name.
            Some(record) if !begins_record(line) => record.extend([b"\n", line].concat()),
            _ => records.push(line.to_vec()),
        }
    }
    let name = |line: &[u8]| {
        // The name is the eighth field, and may contain spaces.
        let mut rest = line;
        for _ in 0..7 {
            rest = rest.trim_ascii_start();
            rest = &rest[rest.iter().position(|byte| *byte == b' ')?..];
        }
        let name = rest.strip_prefix(b" ").filter(|name| !name.is_empty())?;
        Some(PathBuf::from(OsStr::from_bytes(name)))
    };
    records.iter().filter_map(|record| name(record)).collect()
}

fn working_directories() -> BTreeSet<PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    #[test]
    fn socket_list_reads_relative_abstract_and_spaced_names() {
        let list = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 4217 /run/a b\n\
            0000000000000000: 00000003 00000000 00000000 0001 03     7\n\
            0000000000000000: 00000002 00000000 00010000 0001 01  17 app.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 4217 @/tmp/.X11-unix/X0\n\
            0000000000000000: 00000002\n";
        let expected = ["/run/a b", "app.sock", "@/tmp/.X11-unix/X0"].map(PathBuf::from);
        assert_eq!(bound_names(list), expected);
    }

    #[test]
    fn socket_path_is_extracted_from_an_address_variable() {
        let path = |value: &str| path_in(OsStr::new(value));
        for (value, expected) in [
            ("/run/agent.1", Some("/run/agent.1")),
            ("unix:path=/run/bus,guid=1", Some("/run/bus")),
            ("unix:///run/docker.sock", Some("///run/docker.sock")),
            ("none", None),
        ] {
            assert_eq!(path(value), expected.map(PathBuf::from), "{value}");
        }
    }

    #[test]
    fn socket_list_reads_names_with_line_breaks_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let inner = directory.path().join("a\n\nb c");
        fs::create_dir(&inner).expect("creates");
        let _listener = UnixListener::bind(inner.join("s")).expect("binds");
        let _other = UnixListener::bind(directory.path().join("t")).expect("binds");
        let names = bound_names(&fs::read("/proc/net/unix").expect("reads"));
        for name in [inner.join("s"), directory.path().join("t")] {
            assert!(names.contains(&name), "{name:?} is not in {names:?}");
        }
    }

    #[test]
    fn socket_without_a_listener_is_not_open() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let stream = UnixListener::bind(at("stream")).expect("binds");
        let packets = UnixDatagram::bind(at("packets")).expect("binds");
        assert!(is_open(&at("stream")) && is_open(&at("packets")));
        drop((stream, packets));
        assert!(!is_open(&at("stream")) && !is_open(&at("packets")));
        assert!(is_open(&at(&"x".repeat(200))), "nobody knows");
    }

    #[test]
    fn socket_search_finds_a_socket_that_was_renamed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("resolves");
        let _listener = UnixListener::bind(root.join("first")).expect("binds");
        fs::rename(root.join("first"), root.join("second")).expect("moves");
        assert!(open_sockets(&Mounts::read(), |_| true).contains(&root.join("second")));
        assert!(!open_sockets(&Mounts::read(), |path| path != root).contains(&root.join("second")));
    }
}
