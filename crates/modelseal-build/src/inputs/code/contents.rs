use std::ffi::OsStr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// The entries below a directory that need special care.
#[derive(Debug, Default)]
pub struct Contents {
    /// Repositories, and entries that lead to one: entries named `.git`, and directories that git takes for a bare
    /// repository.
    pub repositories: Vec<PathBuf>,
    /// Sockets, except those in a repository.
    pub sockets: Vec<PathBuf>,
    /// Directories that cannot be listed.
    pub unreadable: Vec<PathBuf>,
}

impl Contents {
    /// Examines everything below a directory. Skips what cannot be read.
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
                // The root is always searched, even if it looks like a repository.
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

/// Whether git may take a directory with a file `HEAD` for a repository. git does not check what kind of entries the
/// others are.
fn is_bare(path: &Path) -> bool {
    let has = |name: &str| path.join(name).symlink_metadata().is_ok();
    has("objects") && has("refs") || has("commondir")
}
