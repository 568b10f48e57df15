//! The home directories that a command must not read.

use std::fs;
use std::path::{Path, PathBuf};

/// Never homes, because hiding one of these would hide the system. Homes of services below them are parts of the
/// system.
const SYSTEM: [&str; 10] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"];

/// Never homes, although homes of services are below them.
const SHARED: [&str; 6] = ["/", "/opt", "/srv", "/var", "/var/cache", "/var/lib"];

/// The user IDs that Linux gives to people.
const PEOPLE: std::ops::Range<u32> = 1000..65534;

/// Returns HOME, and the home of this user in the system's list of users. For root, who can read all homes, returns
/// those of all users, except services whose home contains a project. Links are resolved.
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

/// Returns the homes in a list of users (`passwd(5)`) that concern this user, and whether each belongs to a person.
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

/// Returns directories that all users and services share. They contain sockets of services, and files of others. In a
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
    fn home_list_has_every_home_for_root_and_only_their_own_for_others() {
        let list = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/x\nann:x:1000:1000:A:/home/ann:/x\nbob:x:1001:1001::/home/bob:/x\nbroken\n+::::::\nnobody:x:65534:65534::/nonexistent:/x\n";
        let of = |user| listed_homes(list, user);
        assert_eq!(of(1001), [("/home/bob".into(), true)]);
        let all = [("/root", true), ("/var/www", false), ("/home/ann", true), ("/home/bob", true)];
        let all = all.into_iter().chain([("/nonexistent", false)]);
        assert_eq!(of(0), all.map(|(home, is_person)| (home.into(), is_person)).collect::<Vec<_>>());
        assert!(of(4217).is_empty());
    }
}
