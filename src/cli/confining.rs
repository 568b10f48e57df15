//! What is decided before the first command of a project runs.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::arguments::writable;
use super::signing::SigningKey;
use modelseal_build::inputs::WorkTree;
use modelseal_build::run::{Confinement, Scope, leads_into};
use modelseal_format::sign::{local_cache_directory, local_key_directory};

/// Keeps the commands of a project away from keys, whoever signs.
///
/// `projects` are where commands work: modelseal starts no program from there. `written` are paths that the caller
/// names, and to which this program writes.
pub(super) fn confine(
    signer: Option<&SigningKey>,
    projects: &[&Path],
    allow_write: &[PathBuf],
    written: Vec<PathBuf>,
    insecure_no_isolation: bool,
) -> anyhow::Result<Confinement> {
    let mut hidden = signer.map(SigningKey::hidden).unwrap_or_default();
    // The directory of the user's own key, also if there is no key yet. Where it cannot be made, no command can
    // make it either.
    hidden.extend(local_key_directory().into_iter().filter(|path| path.is_dir()));
    let around = |path: &&Path| WorkTree::discover(path).map(|work_tree| work_tree.root().to_path_buf());
    let roots: Vec<PathBuf> = projects.iter().filter_map(|path| around(path).ok()).collect();
    let projects: Vec<PathBuf> = projects.iter().map(|path| path.to_path_buf()).chain(roots).collect();
    let allowed = writable(allow_write)?;
    // What builds remember lies in a directory that a command must not make first either, if it could.
    let places =
        projects.iter().chain(&allowed).filter_map(|path| path.canonicalize().ok()).collect::<Vec<_>>();
    let is_theirs = |path: &Path| leads_into(path, &places);
    let is_there = |path: &PathBuf| match path.ancestors().find(|above| above.exists()) {
        Some(above) if is_theirs(above) => DirBuilder::new().recursive(true).mode(0o700).create(path).is_ok(),
        _ => path.is_dir(),
    };
    let emptied = local_cache_directory().into_iter().filter(is_there).collect();
    Ok(Confinement::new(Scope {
        projects,
        allowed,
        hidden,
        emptied,
        held: written,
        withheld: signer.map(SigningKey::variables).unwrap_or_default(),
        insecure_no_isolation,
    })?)
}
