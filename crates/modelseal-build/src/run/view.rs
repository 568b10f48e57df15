//! Which files and directories a command sees: everything, except for what is listed here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How a place is shown. If two are requested for the same place, the later variant in this list applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// New, empty and writable for the command. Removed when the command has ended.
    Private,
    /// Empty, except for other places below it.
    Empty,
    /// A link in an empty place, with this target.
    Link(PathBuf),
    /// Shown although its surroundings are not.
    Readable,
    /// Can be written to.
    Writable,
    /// A writable directory from another place, shown here.
    Kept(PathBuf),
    /// Read-only within a writable place.
    Protected,
    /// Appears empty, with everything below it.
    Hidden,
}

/// Places by path, with links resolved. The innermost place applies.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    places: BTreeMap<PathBuf, Access>,
}

impl View {
    /// Adds a place.
    pub(super) fn add(&mut self, path: impl Into<PathBuf>, access: Access) {
        let path = path.into();
        match self.places.get(&path) {
            Some(other) if *other > access => {}
            _ => _ = self.places.insert(path, access),
        }
    }

    /// How the innermost place around a path is shown. `None`: only the root of the system is around it.
    fn around(&self, path: &Path) -> Option<&Access> {
        path.ancestors().skip(1).find_map(|above| self.places.get(above))
    }

    /// Whether a path is in a writable place. Showing something there does not change that.
    pub(super) fn is_writable(&self, path: &Path) -> bool {
        let decides = |access: &&Access| !matches!(access, Access::Link(_) | Access::Readable);
        let found = path.ancestors().find_map(|above| self.places.get(above).filter(decides));
        matches!(found, Some(Access::Writable | Access::Kept(_)))
    }

    /// Whether a path can be seen.
    pub(super) fn shows(&self, path: &Path) -> bool {
        let at = self.places.get(path).or_else(|| self.around(path));
        !self.is_hidden(path) && !matches!(at, Some(Access::Private | Access::Empty | Access::Hidden))
    }

    /// Whether a path is in a hidden place.
    fn is_hidden(&self, path: &Path) -> bool {
        path.ancestors().skip(1).any(|above| self.places.get(above) == Some(&Access::Hidden))
    }

    /// Removes places that are shown anyway.
    fn simplify(&mut self) {
        // First, before a hidden place around them is removed because nothing is there.
        let hidden: Vec<PathBuf> = self.places.keys().filter(|path| self.is_hidden(path)).cloned().collect();
        hidden.iter().for_each(|path| _ = self.places.remove(path));
        // From the outermost place on, because a removed place shows nothing.
        for path in self.places.keys().cloned().collect::<Vec<_>>() {
            if self.places.get(&path).is_some_and(|access| self.is_extra(&path, access)) {
                self.places.remove(&path);
            }
        }
    }

    fn is_extra(&self, path: &Path, access: &Access) -> bool {
        match (access, self.around(path)) {
            (
                Access::Link(_) | Access::Readable | Access::Protected,
                Some(Access::Private | Access::Empty),
            ) => false,
            (Access::Protected, Some(Access::Writable | Access::Kept(_))) => false,
            // Where nothing is, nothing has to be hidden.
            (Access::Hidden, Some(Access::Private | Access::Empty)) => true,
            (access, _) => matches!(access, Access::Link(_) | Access::Readable | Access::Protected),
        }
    }

    /// Pins every directory between a writable place and a place inside it. A mounted directory cannot be moved. A
    /// moved one would take the cover of the place away, or redirect it.
    fn pin(&mut self) {
        let is_guarded = |access: &Access| {
            matches!(
                access,
                Access::Writable | Access::Kept(_) | Access::Empty | Access::Protected | Access::Hidden
            )
        };
        let guarded = self.places.iter().filter(|(_, access)| is_guarded(access));
        let mut pinned = BTreeSet::new();
        for (path, _) in guarded {
            let between = path.ancestors().skip(1).take_while(|above| !self.places.contains_key(*above));
            let between: Vec<&Path> = between.collect();
            if between.last().is_some_and(|outermost| self.is_writable(outermost)) {
                pinned.extend(between.into_iter().map(Path::to_path_buf));
            }
        }
        pinned.into_iter().for_each(|path| self.add(path, Access::Writable));
    }

    /// Makes directories between a private directory and another place read-only. Otherwise, what a command writes
    /// there would be lost without a message.
    fn close(&mut self) {
        let private = |path: &Path| self.places.get(path) == Some(&Access::Private);
        let first = |path: &PathBuf| {
            let above: Vec<&Path> = path.ancestors().skip(1).collect();
            let at = above.iter().position(|above| private(above))?;
            Some(above.get(at.checked_sub(1)?)?.to_path_buf())
        };
        let closed: Vec<PathBuf> = self.places.keys().filter_map(first).collect();
        closed.into_iter().for_each(|path| self.add(path, Access::Empty));
    }

    /// The arguments with which bubblewrap shows this, from the outermost place to the innermost.
    pub(super) fn arguments(mut self) -> Vec<OsString> {
        self.simplify();
        self.pin();
        self.close();
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |option: &str, paths: &[&Path]| {
            arguments.push(option.into());
            arguments.extend(paths.iter().map(|path| path.into()));
        };
        let mut closed = Vec::new();
        for (path, access) in self.places.iter().filter(|(path, _)| !self.is_hidden(path)) {
            match access {
                Access::Private => add("--tmpfs", &[path]),
                Access::Empty => {
                    add("--tmpfs", &[path]);
                    closed.push(path);
                }
                Access::Link(target) => add("--symlink", &[target, path]),
                Access::Writable => add("--bind", &[path, path]),
                Access::Kept(from) => add("--bind", &[from, path]),
                Access::Readable | Access::Protected => add("--ro-bind", &[path, path]),
                Access::Hidden if path.is_dir() => {
                    add("--tmpfs", &[path]);
                    closed.push(path);
                }
                Access::Hidden => add("--ro-bind", &[Path::new("/dev/null"), path]),
            }
        }
        // This comes last, because places inside had to be created first.
        closed.into_iter().for_each(|path| add("--remount-ro", &[path]));
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(places: &[(&str, Access)]) -> String {
        let mut view = View::default();
        for (path, access) in places {
            view.add(*path, access.clone());
        }
        let words = view.arguments().into_iter().map(|word| word.to_string_lossy().into_owned());
        words.collect::<Vec<_>>().join(" ").replace(" --", "\n--")
    }

    #[test]
    fn view_applies_the_innermost_place_and_mounts_parents_first() {
        let shown = arguments(&[
            ("/home/ann/p", Access::Writable),
            ("/home/ann", Access::Empty),
            ("/home/ann/p/venv", Access::Protected),
            ("/home/ann/tools", Access::Readable),
            ("/home/ann/p/data", Access::Readable),
            ("/opt/data", Access::Readable),
            ("/home/ann/p", Access::Readable),
        ]);
        assert_eq!(
            shown,
            "--tmpfs /home/ann\n--bind /home/ann/p /home/ann/p\n\
             --ro-bind /home/ann/p/venv /home/ann/p/venv\n--ro-bind /home/ann/tools /home/ann/tools\n\
             --remount-ro /home/ann"
        );
    }

    #[test]
    fn view_shows_nothing_below_a_hidden_directory() {
        let shown = arguments(&[
            ("/p/keys", Access::Hidden),
            ("/p/keys/a", Access::Writable),
            ("/p/keys/b/c", Access::Readable),
        ]);
        assert_eq!(shown, "--ro-bind /dev/null /p/keys");
        // Also if nothing has to be hidden, because nothing is there.
        let shown = arguments(&[
            ("/home/ann", Access::Empty),
            ("/home/ann/keys", Access::Hidden),
            ("/home/ann/keys/a", Access::Readable),
        ]);
        assert_eq!(shown, "--tmpfs /home/ann\n--remount-ro /home/ann");
    }

    #[test]
    fn view_pins_the_directories_above_a_guarded_place() {
        let shown = arguments(&[
            ("/p", Access::Writable),
            ("/p/a/b/key", Access::Hidden),
            ("/p/a/module/.git", Access::Protected),
            ("/q/a/key", Access::Hidden),
            ("/p/data", Access::Readable),
            ("/p/data/keys/key", Access::Hidden),
            ("/p/lib", Access::Readable),
            ("/p/lib/dep/.git", Access::Protected),
            ("/p/users/ann", Access::Empty),
        ]);
        assert_eq!(
            shown,
            "--bind /p /p\n--bind /p/a /p/a\n--bind /p/a/b /p/a/b\n--ro-bind /dev/null /p/a/b/key\n\
             --bind /p/a/module /p/a/module\n--ro-bind /p/a/module/.git /p/a/module/.git\n\
             --bind /p/data /p/data\n--bind /p/data/keys /p/data/keys\n\
             --ro-bind /dev/null /p/data/keys/key\n--bind /p/lib /p/lib\n--bind /p/lib/dep /p/lib/dep\n\
             --ro-bind /p/lib/dep/.git /p/lib/dep/.git\n--bind /p/users /p/users\n--tmpfs /p/users/ann\n\
             --ro-bind /dev/null /q/a/key\n--remount-ro /p/users/ann"
        );
    }

    #[test]
    fn view_makes_directories_within_a_private_one_read_only() {
        let shown = arguments(&[
            ("/tmp", Access::Private),
            ("/tmp/x/y/p", Access::Writable),
            ("/tmp/scratch", Access::Writable),
            ("/tmp/link", Access::Link("x".into())),
        ]);
        assert_eq!(
            shown,
            "--tmpfs /tmp\n--symlink x /tmp/link\n--bind /tmp/scratch /tmp/scratch\n--tmpfs /tmp/x\n\
             --bind /tmp/x/y/p /tmp/x/y/p\n--remount-ro /tmp/x"
        );
    }
}
