//! Files of a work tree with another name (hard link) outside of it. Writing to such a file changes it there as well.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// At most this many paths can be protected from a command one by one.
const PLACES: usize = 256;

/// Returns the files below `root` that have another name outside of it, or their directories if there are many.
///
/// Package managers link files of an environment to files in their cache. A guarded name counts as outside.
pub(super) fn linked_elsewhere(root: &Path, is_guarded: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let walk = walkdir::WalkDir::new(root).follow_root_links(false).into_iter();
    let entries = walk.filter_entry(|entry| entry.file_name() != ".git").flatten();
    let mut files: BTreeMap<(u64, u64), (u64, Vec<PathBuf>)> = BTreeMap::new();
    for entry in entries.filter(|entry| entry.file_type().is_file()) {
        if let Ok(metadata) = entry.metadata()
            && metadata.nlink() > 1
        {
            let (_, names) = files
                .entry((metadata.dev(), metadata.ino()))
                .or_insert_with(|| (metadata.nlink(), Vec::new()));
            names.push(entry.into_path());
        }
    }
    let elsewhere = files
        .into_values()
        .filter(|(links, names)| *links > names.len() as u64 || names.iter().any(|name| is_guarded(name)));
    let names = elsewhere.flat_map(|(_, names)| names).filter(|name| !is_guarded(name));
    few(root, names.collect())
}

/// Returns the files, or the deepest directories above them that are few enough.
fn few(root: &Path, files: Vec<PathBuf>) -> Vec<PathBuf> {
    if files.len() <= PLACES {
        return files;
    }
    let depth = |path: &PathBuf| path.strip_prefix(root).map_or(0, |path| path.components().count());
    let deepest = files.iter().map(depth).max().unwrap_or(0);
    let at = |level: usize| -> BTreeSet<PathBuf> {
        let above = files.iter().map(|file| {
            let parts = file.strip_prefix(root).unwrap_or(file).components().take(level);
            root.join(parts.collect::<PathBuf>())
        });
        above.collect()
    };
    let mut places = (1..deepest).rev().map(at);
    places.find(|places| places.len() <= PLACES).unwrap_or_else(|| at(1)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn linked_files_are_found_only_if_a_hard_link_is_outside_or_guarded() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("p");
        fs::create_dir_all(root.join("venv/lib")).expect("creates");
        for (from, to) in
            [("cache", "p/venv/lib/x"), ("p/own", "p/venv/other"), ("p/.git-not/a", "p/.git-not/b")]
        {
            let (from, to) = (directory.path().join(from), directory.path().join(to));
            fs::create_dir_all(from.parent().expect("a parent")).expect("creates");
            fs::write(&from, "x").expect("writes");
            fs::hard_link(from, to).expect("links");
        }
        assert_eq!(linked_elsewhere(&root, &|_| false), [root.join("venv/lib/x")]);
        let guarded = root.join("own");
        let found = linked_elsewhere(&root, &|path| path == guarded);
        assert_eq!(
            found.into_iter().collect::<BTreeSet<_>>(),
            [root.join("venv/lib/x"), root.join("venv/other")].into()
        );
    }

    #[test]
    fn linked_files_are_replaced_by_their_directories_if_there_are_many() {
        let root = Path::new("/p");
        let file = |top: &str, index: usize| root.join(format!("{top}/lib/d{}/f{index}", index % 100));
        let files = (0..400).flat_map(|index| [file("a", index), file("b", index)]);
        let places = few(root, files.collect());
        assert_eq!(places.len(), 200);
        assert!(places.contains(&root.join("a/lib/d0")));
        let few_files = vec![root.join("a/x"), root.join("y")];
        assert_eq!(few(root, few_files.clone()), few_files);
    }
}
