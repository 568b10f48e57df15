use std::path::{Path, PathBuf};

/// The place of a file or directory, as it was before a command ran.
///
/// A command may replace a directory with a link. What is written, moved or removed through that link would be in a
/// place that the command itself cannot reach.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) resolved: PathBuf,
}

impl Place {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_path_buf(), resolved: resolve(path) }
    }

    /// Where the path itself leads: all links are resolved, as far as it exists.
    pub(super) fn leads_to(&self) -> PathBuf {
        self.path.canonicalize().unwrap_or_else(|_| self.resolved.clone())
    }

    /// Whether the directories above still lead to the same place. A missing directory can be created again.
    pub(super) fn is_unchanged(&self) -> bool {
        resolve(&self.path) == self.resolved
    }

    /// Whether the path is inside this directory when its links are resolved.
    pub(super) fn is_inside(&self, directory: &Path) -> bool {
        directory.canonicalize().is_ok_and(|directory| self.resolved.starts_with(directory))
    }

    /// The directory that contains it.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
}

/// The path with links resolved in all directories above that exist. Empty if one of the links leads nowhere.
fn resolve(path: &Path) -> PathBuf {
    let Ok(path) = std::path::absolute(path) else { return PathBuf::new() };
    let Some(above) = path.ancestors().skip(1).find(|above| above.symlink_metadata().is_ok()) else {
        return path;
    };
    let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
    above.canonicalize().map(|above| above.join(rest)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guarded_path_is_changed_by_a_link_above_but_not_by_a_missing_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |path: &str| directory.path().join(path);
        let place = Place::of(&at("out/model"));
        std::fs::create_dir_all(at("out/model")).expect("creates");
        assert!(place.is_unchanged());
        std::fs::remove_dir_all(at("out")).expect("removes");
        assert!(place.is_unchanged());
        std::fs::create_dir(at("victim")).expect("creates");
        std::os::unix::fs::symlink(at("victim"), at("out")).expect("links");
        assert!(!place.is_unchanged());
        std::fs::remove_dir(at("victim")).expect("removes");
        assert!(!place.is_unchanged(), "a link to nowhere");
        std::fs::remove_file(at("out")).expect("removes");
        std::fs::write(at("out"), "a file").expect("writes");
        assert!(place.is_unchanged(), "nothing can be written through a file");
    }
}
