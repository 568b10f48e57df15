//! The home directories that a command must not read.

use std::fs;
use std::path::{Path, PathBuf};

/// Nobody's home: to hide one of these would hide the system. Homes of services below them are parts of it.
const SYSTEM: [&str; 10] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"];

/// Nobody's home, although homes of services are below.
const SHARED: [&str; 6] = ["/", "/opt", "/srv", "/var", "/var/cache", "/var/lib"];

/// The first number that Linux gives to a person, and the one after the last.
const PEOPLE: std::ops::Range<u32> = 1000..65534;

/// HOME, and what the system's list of users says is this user's; for root, who can read them all, those of
/// everybody, but for services whose home holds a project. Links resolved.
pub(super) fn homes(projects: &[PathBuf]) -> Vec<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let listed = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let given = std::env::var_os("HOME").map(PathBuf::from).filter(|home| !home.as_os_str().is_empty());
    let candidates = given.map(|home| (home, true)).into_iter().chain(listed_homes(&listed, user));
    let resolved = candidates.filter_map(|(home, is_person)| Some((home.canonicalize().ok()?, is_person)));
    let is_hidden = |home: &PathBuf, is_person: bool| {
        let holds_project = || projects.iter().any(|project| project.starts_with(home));
        let is_system = SYSTEM.iter().chain(&SHARED).any(|system| home == Path::new(system));
        let is_below = || SYSTEM.iter().any(|system| home.starts_with(system));
        home.is_dir() && !is_system && (is_person || !is_below() && !holds_project())
    };
    let mut homes: Vec<PathBuf> =
        resolved.filter(|(home, is_person)| is_hidden(home, *is_person)).map(|(home, _)| home).collect();
    homes.sort();
    homes.dedup();
    homes
}

/// The homes in a list of users (`passwd(5)`) that concern this user, each with whether it is a person's.
fn listed_homes(list: &str, user: u32) -> Vec<(PathBuf, bool)> {
    let home = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let other: u32 = fields.next()?.parse().ok()?;
        let home = fields.nth(2)?;
        let is_person = other == user || PEOPLE.contains(&other);
        ((other == user || user == 0) && home.starts_with('/')).then(|| (PathBuf::from(home), is_person))
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
        assert_eq!(of(1001), [("/home/bob".into(), true)]);
        let all = [("/root", true), ("/var/www", false), ("/home/ann", true), ("/home/bob", true)];
        let all = all.into_iter().chain([("/nonexistent", false)]);
        assert_eq!(of(0), all.map(|(home, is_person)| (home.into(), is_person)).collect::<Vec<_>>());
        assert!(of(4217).is_empty());
    }
}
