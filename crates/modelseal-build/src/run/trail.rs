//! Follows a path step by step, so that a change on the way is noticed.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// How many links the system follows in one path.
const LINKS: usize = 40;

/// Every directory, link and file on the way to a path, each by its identity.
///
/// A name proves nothing after a hostile command has run, because the command can replace a directory by another one.
/// Device and inode reveal this. The time of birth, if the file system has it, reveals a new file that got the inode of
/// an old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    path: PathBuf,
    steps: Vec<Step>,
    /// The path with links resolved.
    end: PathBuf,
}

/// Where a trail ends because nothing is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// With links resolved.
    pub(super) place: PathBuf,
    /// Whether the path ends here. If not, a directory on the way is missing.
    pub(super) is_last: bool,
}

/// Why a trail could not be followed to its end.
struct Stopped {
    error: io::Error,
    missing: Option<Missing>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    path: PathBuf,
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
    /// The target, if it is a link.
    link: Option<PathBuf>,
}

impl Trail {
    /// Follows an absolute path, or one relative to the working directory.
    ///
    /// # Errors
    /// The errors of the system, also if a link leads nowhere.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut trail = Self { path: std::path::absolute(path)?, steps: Vec::new(), end: PathBuf::new() };
        match trail.walk() {
            Ok(()) => Ok(trail),
            Err(stopped) => Err(stopped.error),
        }
    }

    /// Returns the trail as far as it leads, and what is missing. `None` if the trail is complete, or a file is in its
    /// way.
    ///
    /// # Errors
    /// The errors of the system, with the trail so far.
    pub(super) fn as_far_as_it_leads(path: &Path) -> Result<(Self, Option<Missing>), (Self, io::Error)> {
        let mut trail = Self { path: path.to_path_buf(), steps: Vec::new(), end: PathBuf::new() };
        match std::path::absolute(path) {
            Ok(path) => trail.path = path,
            Err(error) => return Err((trail, error)),
        }
        match trail.walk() {
            Ok(()) => Ok((trail, None)),
            Err(Stopped { missing: Some(missing), .. }) => Ok((trail, Some(missing))),
            Err(Stopped { error, .. }) if error.kind() == io::ErrorKind::NotADirectory => Ok((trail, None)),
            Err(stopped) => Err((trail, stopped.error)),
        }
    }

    /// Continues to the end of the path, or to the first missing part.
    fn walk(&mut self) -> Result<(), Stopped> {
        self.end.push("/");
        let stopped = |error| Stopped { error, missing: None };
        self.steps.push(Step::at(&self.end).map_err(stopped)?);
        let mut ahead: VecDeque<OsString> = parts(&self.path).collect();
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                self.end.pop();
                continue;
            }
            let place = self.end.join(&part);
            let step = Step::at(&place).map_err(|error| {
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                let missing = is_missing.then_some(Missing { place, is_last: ahead.is_empty() });
                Stopped { error, missing }
            })?;
            match &step.link {
                Some(target) => {
                    links += 1;
                    if links > LINKS {
                        return Err(stopped(io::Error::other("too many links")));
                    }
                    if target.is_absolute() {
                        self.end = PathBuf::from("/");
                    }
                    for part in parts(target).collect::<Vec<_>>().into_iter().rev() {
                        ahead.push_front(part);
                    }
                }
                None => self.end.push(&part),
            }
            self.steps.push(step);
        }
        Ok(())
    }

    /// Whether the path still leads to the same place, through the same directories.
    pub fn is_unchanged(&self) -> bool {
        Trail::of(&self.path).is_ok_and(|now| now == *self)
    }

    /// Whether the path still leads to the same place, regardless of what is there now.
    pub(super) fn leads_where_it_led(&self) -> bool {
        Trail::of(&self.path).is_ok_and(|now| now.end == self.end)
    }

    /// The path that was followed.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path with links resolved.
    pub fn end(&self) -> &Path {
        &self.end
    }

    /// The links on the way, each with its target.
    pub(super) fn links(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.steps.iter().filter_map(|step| Some((step.path.as_path(), step.link.as_deref()?)))
    }

    /// The directories and files on the way that are not links, outermost first.
    pub(super) fn places(&self) -> impl Iterator<Item = &Path> {
        self.steps.iter().filter(|step| step.link.is_none()).map(|step| step.path.as_path())
    }

    /// Whether anything on the way is this directory or is in it.
    pub(super) fn enters(&self, directory: &Path) -> bool {
        self.steps.iter().any(|step| step.path.starts_with(directory)) || self.end.starts_with(directory)
    }
}

impl Step {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            device: metadata.dev(),
            inode: metadata.ino(),
            born: metadata.created().ok(),
            link: if metadata.is_symlink() { Some(fs::read_link(path)?) } else { None },
        })
    }
}

/// Resolves `.` and `..` by name only, regardless of links and missing directories on the way.
pub fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = plain.pop(),
            part => plain.push(part),
        }
    }
    plain
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_os_string()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn trail_ends_at_the_path_that_the_system_resolves() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("resolves");
        fs::create_dir_all(root.join("a/b")).expect("creates");
        fs::write(root.join("a/b/file"), "x").expect("writes");
        symlink("a/b", root.join("relative")).expect("links");
        symlink(root.join("relative"), root.join("absolute")).expect("links");
        symlink("../a/../absolute/file", root.join("a/up")).expect("links");
        symlink("loop", root.join("loop")).expect("links");
        symlink("nowhere", root.join("dangling")).expect("links");
        for path in ["a/b/file", "relative/file", "absolute/../b/file", "a/up", "a/./b"] {
            let trail = Trail::of(&root.join(path)).expect(path);
            assert_eq!(trail.end(), root.join(path).canonicalize().expect("resolves"), "{path}");
        }
        for path in ["loop", "dangling", "absent"] {
            assert!(Trail::of(&root.join(path)).is_err(), "{path}");
        }
        let trail = Trail::of(&root.join("absolute/file")).expect("follows");
        assert!(trail.enters(&root.join("relative")) && trail.enters(&root.join("a")));
        assert!(!trail.enters(&root.join("dangling")));
    }

    #[test]
    fn trail_reports_the_missing_part_of_a_path_through_links() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("resolves");
        fs::create_dir(root.join("a")).expect("creates");
        symlink("a/absent/file", root.join("dangling")).expect("links");
        fs::write(root.join("a/file"), "").expect("writes");
        let missing = |path: &str| {
            let (trail, missing) = Trail::as_far_as_it_leads(&root.join(path)).expect("leads somewhere");
            let below = |path: &Path| path.strip_prefix(&root).expect("below").to_path_buf();
            let missing = missing.map(|missing| (below(&missing.place), missing.is_last));
            (trail.links().count(), below(trail.end()), missing)
        };
        assert_eq!(missing("a/b"), (0, "a".into(), Some(("a/b".into(), true))));
        assert_eq!(missing("a/b/c"), (0, "a".into(), Some(("a/b".into(), false))));
        assert_eq!(missing("dangling"), (1, "a".into(), Some(("a/absent".into(), false))));
        assert_eq!(missing("a"), (0, "a".into(), None));
        assert_eq!(missing("a/file/x"), (0, "a/file".into(), None));
    }

    #[test]
    fn trail_reports_a_file_parent_or_link_that_was_replaced() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 5] = [
            ("a parent was moved and made anew", |root| {
                fs::rename(root.join("a"), root.join("moved")).expect("moves");
                fs::create_dir_all(root.join("a/b")).expect("creates");
                fs::write(root.join("a/b/key"), "another").expect("writes");
            }),
            ("the file was replaced", |root| {
                fs::remove_file(root.join("a/b/key")).expect("removes");
                fs::write(root.join("a/b/key"), "another").expect("writes");
            }),
            ("a parent became a link to itself", |root| {
                fs::rename(root.join("a"), root.join("moved")).expect("moves");
                symlink("moved", root.join("a")).expect("links");
            }),
            ("the link leads elsewhere", |root| {
                fs::remove_file(root.join("link")).expect("removes");
                symlink(root.join("a/./b"), root.join("link")).expect("links");
            }),
            ("the file is gone", |root| fs::remove_file(root.join("a/b/key")).expect("removes")),
        ];
        for (what, change) in changes {
            let directory = tempfile::tempdir().expect("a directory");
            let root = directory.path();
            fs::create_dir_all(root.join("a/b")).expect("creates");
            fs::write(root.join("a/b/key"), "key").expect("writes");
            symlink("a/b", root.join("link")).expect("links");
            let trail = Trail::of(&root.join("link/key")).expect("follows");
            fs::write(root.join("a/b/other"), "x").expect("writes");
            assert!(trail.is_unchanged());
            change(root);
            assert!(!trail.is_unchanged(), "{what}");
        }
    }
}
