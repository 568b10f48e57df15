use std::ffi::OsStr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// What lies below a directory and is more than files and directories.
#[derive(Debug, Default)]
pub struct Contents {
    /// Repositories, and what leads to one: entries named `.git`, and directories that git takes for a bare
    /// repository.
    pub repositories: Vec<PathBuf>,
    /// Sockets, but not those in a repository.
    pub sockets: Vec<PathBuf>,
    /// Directories in which nothing can be looked at.
    pub unreadable: Vec<PathBuf>,
}

impl Contents {
    /// Looks at all that lies below a directory; what cannot be read is passed over.
    pub fn of(root: &Path) -> Self {
        let mut contents = Self::default();
        let mut walk = walkdir::WalkDir::new(root).follow_root_links(false).min_depth(1).into_iter();
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    contents.unreadable.extend(error.path().map(Path::to_path_buf));
                    continue;
                }
            };
            if entry.file_name() == OsStr::new(".git") {
                contents.repositories.push(entry.path().to_path_buf());
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                }
            } else if entry.file_name() == OsStr::new("HEAD")
                && let Some(parent) = entry.path().parent().filter(|parent| is_bare(parent))
            {
                contents.repositories.push(parent.to_path_buf());
                // Whatever else the directory of a project is, its contents are looked at.
                if parent != root {
                    walk.skip_current_dir();
                }
            } else if entry.file_type().is_socket() {
                contents.sockets.push(entry.path().to_path_buf());
            }
        }
        contents
    }
}

/// A directory with a file `HEAD` that git may take for a repository: it does not ask what the others are.
fn is_bare(path: &Path) -> bool {
    let has = |name: &str| path.join(name).symlink_metadata().is_ok();
    has("objects") && has("refs") || has("commondir")
}
