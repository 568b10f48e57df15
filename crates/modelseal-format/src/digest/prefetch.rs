//! Hashes files before their expected digests are known.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::blake3_tree::PIECE;
use super::{Algorithms, EntryKind, Error, FileRead, Symlinks, Tree, hash_file, walk};
use crate::context::Context;

/// Maximum number of results that are kept until they are needed.
const MOST: usize = 16 << 10;

/// The content of a directory, and the digests of some of its files.
#[derive(Debug, Default)]
pub struct Walked {
    pub tree: Tree,
    /// By the index of their entries, in ascending order. Does not include large files or files that could not be read.
    pub files: Vec<(usize, FileRead)>,
}

/// Walks a directory without following links, and hashes its files on another thread while `meanwhile` runs.
///
/// Hashes nothing if no thread is available. Skips files whose paths are in `own`. Returns `None` if `meanwhile`
/// cancels by returning `false`.
///
/// # Errors
/// Like [`walk`].
pub fn walk_meanwhile(
    root: &Path,
    own: &[&str],
    algorithms: Algorithms,
    context: &Context,
    meanwhile: impl FnOnce() -> bool,
) -> Result<Option<Walked>, Error> {
    let (is_over, is_unwanted) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let helper = context.threads().spawn(scope, || {
            Walked::new(root, &is_unwanted, context)?.hash_until(root, own, algorithms, context, &is_over)
        });
        let is_wanted = meanwhile();
        is_unwanted.store(!is_wanted, Ordering::Relaxed);
        is_over.store(true, Ordering::Relaxed);
        let walked = match helper.map(thread::ScopedJoinHandle::join) {
            Some(Ok(walked)) => walked,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None if is_wanted => Walked::new(root, &is_unwanted, context),
            None => return Ok(None),
        };
        if is_wanted { walked.map(Some) } else { Ok(None) }
    })
}

impl Walked {
    /// Omits every entry after the result is no longer wanted.
    fn new(root: &Path, is_unwanted: &AtomicBool, context: &Context) -> Result<Self, Error> {
        let tree = walk(root, Symlinks::Refuse, &|_, _| is_unwanted.load(Ordering::Relaxed), context)?;
        Ok(Self { tree, files: Vec::new() })
    }

    fn hash_until(
        mut self,
        root: &Path,
        own: &[&str],
        algorithms: Algorithms,
        context: &Context,
        is_over: &AtomicBool,
    ) -> Result<Self, Error> {
        let files = self.tree.entries.iter().enumerate().filter(|(_, entry)| entry.kind == EntryKind::File);
        let files = files.filter_map(|(index, entry)| Some((index, entry.path()?)));
        for (index, path) in files.filter(|(_, path)| !own.contains(path)) {
            if is_over.load(Ordering::Relaxed) || self.files.len() == MOST {
                break;
            }
            let path = root.join(path);
            // Large files are hashed later, by all threads together.
            let is_small = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.len() <= PIECE);
            if is_small(&path)
                && let Ok(read) = hash_file(&path, algorithms, Symlinks::Refuse, &mut [], context)
            {
                self.files.push((index, read));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn prefetch_hashes_only_small_files_and_stops_when_cancelled() {
        let directory = tempfile::tempdir().expect("a directory");
        let (root, at) = (directory.path(), |name: &str| directory.path().join(name));
        std::fs::create_dir(at("sub")).expect("creates");
        for name in ["a", "own", "sub/b"] {
            std::fs::write(at(name), name).expect("writes");
        }
        std::fs::write(at("large"), vec![0; PIECE as usize + 1]).expect("writes");
        std::os::unix::fs::symlink("a", at("link")).expect("links");

        let hash = |is_over| {
            let walked = Walked::new(root, &AtomicBool::new(false), &Context::default()).expect("walks");
            let is_over = AtomicBool::new(is_over);
            walked.hash_until(root, &["own"], Algorithms::ALL, &Context::default(), &is_over).expect("hashes")
        };
        let Walked { tree, files } = hash(false);
        let names = Vec::from_iter(tree.entries.iter().map(|entry| entry.shown()));
        assert_eq!(names, ["a", "large", "link", "own", "sub/b"]);
        let found = files.iter().map(|(index, read)| (names[*index], read.digests.sha256));
        let sha256 = |name: &str| Some(Digest::sha256(name.as_bytes()));
        assert_eq!(Vec::from_iter(found), [("a", sha256("a")), ("sub/b", sha256("sub/b"))]);
        assert_eq!(hash(true).files.len(), 0);

        let walked = Walked::new(root, &AtomicBool::new(true), &Context::default()).expect("walks");
        assert_eq!(walked.tree.entries.len(), 0);
    }

    #[test]
    fn prefetch_reports_a_walk_error_only_if_the_result_is_wanted() {
        let directory = tempfile::tempdir().expect("a directory");
        let walk = |root: &Path, is_wanted| {
            walk_meanwhile(root, &[], Algorithms::ALL, &Context::default(), || is_wanted)
                .map(|walked| walked.is_some())
        };
        assert!(matches!(walk(directory.path(), true), Ok(true)));
        for root in [directory.path(), Path::new("absent")] {
            assert!(matches!(walk(root, false), Ok(false)));
        }
        assert!(matches!(walk(Path::new("absent"), true), Err(Error::Io { .. })));
    }
}
