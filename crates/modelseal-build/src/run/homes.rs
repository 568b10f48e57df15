//! The home directories that a command must not read.

use std::fs;
use std::path::{Path, PathBuf};

/// Nobody's home: to hide one of these would hide the system.
const SYSTEM: [&str; 12] =
    ["/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr", "/var"];

/// The first number that Linux gives to a person, and the one after the last.
const PEOPLE: std::ops::Range<u32> = 1000..65534;

/// HOME, and what the system's list of users says is this user's; for root, who can read them all, those of
/// every person. Links resolved.
pub(super) fn homes() -> Vec<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let listed = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let given = std::env::var_os("HOME").map(PathBuf::from).filter(|home| !home.as_os_str().is_empty());
    let candidates = given.into_iter().chain(listed_homes(&listed, user));
    let mut homes: Vec<PathBuf> = candidates
        .filter_map(|home| home.canonicalize().ok())
        .filter(|home| home.is_dir() && !SYSTEM.iter().any(|system| home == Path::new(system)))
        .collect();
    homes.sort();
    homes.dedup();
    homes
}

/// The homes in a list of users (`passwd(5)`) that concern this user.
fn listed_homes(list: &str, user: u32) -> Vec<PathBuf> {
    let home = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let other: u32 = fields.next()?.parse().ok()?;
        let home = fields.nth(2)?;
        let concerns = other == user || (user == 0 && PEOPLE.contains(&other));
        (concerns && home.starts_with('/')).then(|| PathBuf::from(home))
    };
    list.lines().filter_map(home).collect()
}

/// Directories that all users and services share: sockets of services lie there, and files of others. In a
/// sandbox they are new and empty.
pub(super) fn shared_directories() -> Vec<PathBuf> {
    let candidates = ["/dev/shm", "/run", "/tmp", "/var/run", "/var/tmp"];
    let mut directories: Vec<PathBuf> =
        candidates.iter().filter_map(|path| Path::new(path).canonicalize().ok()).collect();
    directories.sort();
    directories.dedup();
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_sees_every_home_and_others_their_own() {
        let list = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/x\nann:x:1000:1000:A:/home/ann:/x\nbob:x:1001:1001::/home/bob:/x\nbroken\n+::::::\nnobody:x:65534:65534::/nonexistent:/x\n";
        let of = |user| listed_homes(list, user);
        assert_eq!(of(1001), [Path::new("/home/bob")]);
        assert_eq!(of(0), ["/root", "/home/ann", "/home/bob"].map(PathBuf::from));
        assert!(of(4217).is_empty());
    }
}
