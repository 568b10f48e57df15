//! Where the commands of a project work.

use std::path::{Path, PathBuf};

use modelseal_build::inputs::WorkTree;
use modelseal_build::recipe::FILE_NAME;

/// The work tree that contains a directory, or else the directory of the nearest recipe above it.
pub(super) fn project_around(directory: &Path) -> Option<PathBuf> {
    let directory = directory.canonicalize().ok()?;
    match WorkTree::discover(&directory) {
        Ok(work_tree) => Some(work_tree.root().to_path_buf()),
        Err(_) => directory.ancestors().find(|above| above.join(FILE_NAME).is_file()).map(Path::to_path_buf),
    }
}

/// The working directory, treated as a directory of a project. `None` if it contains the system's programs, as `/`
/// does.
pub(super) fn here() -> Option<&'static Path> {
    let holds_programs =
        Path::new(".").canonicalize().is_ok_and(|here| Path::new("/usr/bin").starts_with(here));
    (!holds_programs).then_some(Path::new("."))
}
