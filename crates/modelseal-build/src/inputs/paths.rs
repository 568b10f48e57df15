//! Where the paths of a recipe lead, and where each may lead.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use toml::Spanned;

use super::{Error, Exempt, WorkTree};
use crate::recipe::Recipe;
use modelseal_format::digest::{self, Symlinks};

/// Returns the work tree that the recipe wants sealed, or `None` if it says `none = true`.
///
/// # Errors
/// [`Error::Code`].
pub fn work_tree(recipe: &Recipe) -> Result<Option<WorkTree>, Error> {
    let code = &recipe.tables.code;
    if code.none {
        return Ok(None);
    }
    let path = match &code.path {
        Some(path) => recipe.directory().join(path.get_ref()),
        None => recipe.directory().to_path_buf(),
    };
    let work_tree = WorkTree::discover(&path)?;
    // Commands can write to the work tree, so a recipe must not select another work tree of the user.
    if let Some(path) = &code.path
        && !canonical(recipe.directory())?.starts_with(work_tree.root())
    {
        let root = modelseal_format::display::path(work_tree.root());
        let message = format!("this path is in the work tree {root}, which does not contain the recipe");
        return Err(recipe.mistake(path.span(), message).into());
    }
    Ok(Some(work_tree))
}

/// Checks that artifact, parameters, environment and probe inputs do not lead out of the work tree, not even through a
/// link. [`work_tree`] checks the path of the code.
pub(super) fn stay_inside(recipe: &Recipe, work_tree: Option<&WorkTree>) -> Result<(), Error> {
    let directory = canonical(recipe.directory())?;
    let root = work_tree.map_or(directory.as_path(), WorkTree::root);
    let tables = &recipe.tables;
    let check = |path: &Spanned<String>, by_link: bool| {
        let lexical = normalise(&directory.join(path.get_ref()));
        let resolved = lexical.canonicalize().unwrap_or_else(|_| lexical.clone());
        let inside = lexical.starts_with(root) && (!by_link || resolved.starts_with(root));
        if inside {
            return Ok(());
        }
        let message = format!("this path leaves the work tree {}", modelseal_format::display::path(root));
        Err(recipe.mistake(path.span(), message))
    };
    // With `symlinks = "follow"`, the links of the artifact may lead anywhere, because the recipe asks for that.
    check(&tables.artifact.path, tables.artifact.symlinks == Symlinks::Refuse)?;
    let probes = tables.probe.iter().map(|probe| &probe.inputs);
    for path in tables.params.files.iter().chain(&tables.environment.files).chain(probes) {
        check(path, true)?;
    }
    Ok(())
}

/// Returns the paths that are sealed or written elsewhere, and therefore do not make the code dirty.
pub fn exempt(recipe: &Recipe, data: &BTreeMap<String, PathBuf>, written: &[PathBuf]) -> Exempt {
    let directory = canonical(recipe.directory()).unwrap_or_else(|_| recipe.directory().to_path_buf());
    let tables = &recipe.tables;
    let sources = tables.data.iter().map(|data| &data.path).chain(tables.base.iter().map(|base| &base.path));
    let files = tables.params.files.iter().chain(&tables.environment.files);
    let probes = tables.probe.iter().map(|probe| &probe.inputs);
    let declared = sources.chain(files).chain(probes).chain([&tables.artifact.path]);
    let elsewhere = data.values().filter_map(|path| canonical(path).ok());
    Exempt {
        declared: declared.map(|path| normalise(&directory.join(path.get_ref()))).collect(),
        recipe: vec![directory.join(recipe.path.file_name().unwrap_or_default())],
        ignored: elsewhere.collect(),
        written: written.to_vec(),
    }
}

fn canonical(path: &Path) -> Result<PathBuf, digest::Error> {
    fs::canonicalize(path).map_err(|source| digest::Error::io(path, source))
}

/// Resolves `.` and `..` by name only, because git tracks the path, not the target of a link.
fn normalise(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            other => result.push(other),
        }
    }
    result
}
