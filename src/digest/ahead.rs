//! Hashing files before it is known what they should be.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::parallel::Spare;
use super::pieces::PIECE;
use super::{Algorithms, EntryKind, Error, FileRead, Progress, Symlinks, Tree, hash_file, walk};

/// No more results are kept until somebody wants them.
const MOST: usize = 16 << 10;

/// What a directory holds, and what some of its files are.
#[derive(Debug, Default)]
pub struct Walked {
    pub tree: Tree,
    /// By the index of their entries, which rises. Large files, and what could not be read, are not among them.
    pub files: Vec<(usize, FileRead)>,
}

/// Walks a directory without following links, and hashes its files on another thread for as long as `meanwhile`
/// takes, if there is a thread to spare; `None` if that said that nobody wants to know any more. Those whose paths
/// are in `own` are not hashed.
///
/// # Errors
/// As [`walk`].
pub fn walk_meanwhile(
    root: &Path,
    own: &[&str],
    algorithms: Algorithms,
    progress: Progress<'_>,
    meanwhile: impl FnOnce() -> bool,
) -> Result<Option<Walked>, Error> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let helper = Spare::take().map(|spare| {
            let is_over = &is_over;
            scope.spawn(move || {
                let _spare = spare;
                Walked::new(root)?.hash_until(root, own, algorithms, progress, is_over)
            })
        });
        let is_wanted = meanwhile();
        is_over.store(true, Ordering::Relaxed);
        let walked = match helper.map(thread::ScopedJoinHandle::join) {
            Some(Ok(walked)) => walked,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None if is_wanted => Walked::new(root),
            None => return Ok(None),
        };
        if is_wanted { walked.map(Some) } else { Ok(None) }
    })
}

impl Walked {
    fn new(root: &Path) -> Result<Self, Error> {
        let tree = walk(root, Symlinks::Refuse, &|_, _| false)?;
        Ok(Self { tree, files: Vec::new() })
    }

    fn hash_until(
        mut self,
        root: &Path,
        own: &[&str],
        algorithms: Algorithms,
        progress: Progress<'_>,
        is_over: &AtomicBool,
    ) -> Result<Self, Error> {
        let files = self.tree.entries.iter().enumerate().filter(|(_, entry)| entry.kind == EntryKind::File);
        let files = files.filter_map(|(index, entry)| Some((index, entry.path()?)));
        for (index, path) in files.filter(|(_, path)| !own.contains(path)) {
            if is_over.load(Ordering::Relaxed) || self.files.len() == MOST {
                break;
            }
            let path = root.join(path);
            // A large one is for all threads together.
            let is_small = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.len() <= PIECE);
            if is_small(&path)
                && let Ok(read) = hash_file(&path, algorithms, Symlinks::Refuse, &mut [], progress)
            {
                self.files.push((index, read));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::digest::Digest;

    #[test]
    fn files_are_hashed_while_somebody_waits_and_no_longer() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("sub")).expect("creates");
        for name in ["a", "own", "sub/b"] {
            std::fs::write(at(name), name).expect("writes");
        }
        std::fs::write(at("large"), vec![0; PIECE as usize + 1]).expect("writes");
        std::os::unix::fs::symlink("a", at("link")).expect("links");

        let walk = |meanwhile: &dyn Fn() -> bool| {
            walk_meanwhile(directory.path(), &["own"], Algorithms::ALL, &|_| {}, meanwhile).expect("walks")
        };
        let walked = walk(&|| {
            thread::sleep(Duration::from_millis(300));
            true
        });
        let walked = walked.expect("is wanted");
        let names = Vec::from_iter(walked.tree.entries.iter().map(|entry| entry.shown()));
        assert_eq!(names, ["a", "large", "link", "own", "sub/b"]);
        if super::super::threads() > 1 {
            let found = walked.files.iter().map(|(index, read)| (names[*index], read.digests.sha256));
            let sha256 = |name: &str| Some(Digest::sha256(name.as_bytes()));
            assert_eq!(Vec::from_iter(found), [("a", sha256("a")), ("sub/b", sha256("sub/b"))]);
        }
        assert!(walk(&|| false).is_none());
    }

    #[test]
    fn what_cannot_be_walked_is_an_error_only_for_who_wants_it() {
        let absent = Path::new("absent");
        let walk = |is_wanted| walk_meanwhile(absent, &[], Algorithms::ALL, &|_| {}, || is_wanted);
        assert!(matches!(walk(true), Err(Error::Io { .. })));
        assert!(matches!(walk(false), Ok(None)));
    }
}
