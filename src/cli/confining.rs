//! What is decided before the first command of a project runs.

use std::path::{Path, PathBuf};

use super::arguments::writable;
use super::signing::SigningKey;
use crate::inputs::WorkTree;
use crate::run::{Confinement, Scope};
use crate::sign::{local_cache_directory, local_key_directory};

/// Keeps the commands of a project away from keys, whoever signs.
///
/// `projects` are where commands work: modelseal starts no program from there.
pub(super) fn confine(
    signer: Option<&SigningKey>,
    projects: &[&Path],
    allow_write: &[PathBuf],
    insecure_no_isolation: bool,
) -> anyhow::Result<Confinement> {
    let mut hidden = signer.map(SigningKey::hidden).unwrap_or_default();
    // The directory of the user's own key, also if there is no key yet. Where it cannot be made, no command can
    // make it either.
    hidden.extend(local_key_directory().into_iter().filter(|path| path.is_dir()));
    let emptied = local_cache_directory().into_iter().filter(|path| path.is_dir()).collect();
    let around = |path: &&Path| WorkTree::discover(path).map(|work_tree| work_tree.root().to_path_buf());
    let roots = projects.iter().filter_map(|path| around(path).ok());
    Ok(Confinement::new(Scope {
        projects: projects.iter().map(|path| path.to_path_buf()).chain(roots).collect(),
        allowed: writable(allow_write)?,
        hidden,
        emptied,
        withheld: signer.and_then(SigningKey::variable).map(str::to_string).into_iter().collect(),
        insecure_no_isolation,
    })?)
}
