//! Checks that replacing an artifact removes nothing else.

use std::path::Path;

use super::guarded_path::Place;
use super::{Error, Options};
use crate::checkout::declared;
use crate::inputs::{self, Contents};
use crate::recipe::Recipe;

/// Checks that the artifact contains neither inputs nor the recipe, because it is moved aside as a whole.
pub(super) fn check_alone(recipe: &Recipe, options: &Options<'_>, artifact: &Path) -> Result<(), Error> {
    let Ok(artifact) = artifact.canonicalize() else { return Ok(()) };
    let table = &recipe.tables;
    let mut others = vec![recipe.path.clone()];
    let inputs = declared(recipe, recipe.directory(), &options.data);
    others.extend(inputs.into_iter().map(|input| input.from));
    if others.iter().filter_map(|path| path.canonicalize().ok()).any(|path| path.starts_with(&artifact)) {
        let message = "the artifact also contains inputs: a command that replaces it needs a separate path";
        let mistake = recipe.mistake(table.artifact.path.span(), message);
        return Err(inputs::Error::from(mistake).into());
    }
    Ok(())
}

/// Checks that the artifact contains no repository of the caller, which would be removed with the old artifact.
pub(super) fn check_repositories(artifact: &Path, belongs: &Place, contents: &Contents) -> Result<(), Error> {
    match contents.repositories.iter().find(|path| path.starts_with(&belongs.resolved)) {
        None => Ok(()),
        Some(repository) => {
            Err(Error::HoldsRepository { artifact: artifact.to_path_buf(), repository: repository.clone() })
        }
    }
}

/// Checks that the data sources that the caller names are at the recipe's paths, because a command in the work tree
/// reads them there.
pub(super) fn check_data(recipe: &Recipe, options: &Options<'_>) -> Result<(), Error> {
    for data in &recipe.tables.data {
        let name = data.name.get_ref();
        let Some(given) = options.data.get(name) else { continue };
        let expected = recipe.directory().join(data.path.get_ref());
        let canonical = |path: &Path| path.canonicalize().ok();
        if canonical(&expected).is_none() || canonical(&expected) != canonical(given) {
            return Err(Error::DataElsewhere { name: name.clone(), expected, given: given.clone() });
        }
    }
    Ok(())
}
