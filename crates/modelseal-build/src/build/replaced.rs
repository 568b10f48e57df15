//! Whether an artifact can be replaced by what a command makes, and nothing else with it.

use std::path::Path;

use super::guarded_path::Place;
use super::{Error, Options};
use crate::checkout::declared;
use crate::inputs::{self, Contents};
use crate::recipe::Recipe;

/// The artifact holds nothing but what the command makes: it is moved aside as a whole.
pub(super) fn check_alone(recipe: &Recipe, options: &Options<'_>, artifact: &Path) -> Result<(), Error> {
    let Ok(artifact) = artifact.canonicalize() else { return Ok(()) };
    let table = &recipe.tables;
    let mut others = vec![recipe.path.clone()];
    let inputs = declared(recipe, recipe.directory(), &options.data);
    others.extend(inputs.into_iter().map(|input| input.from));
    if others.iter().filter_map(|path| path.canonicalize().ok()).any(|path| path.starts_with(&artifact)) {
        let message = "the artifact holds inputs, too: a command that makes it anew needs a path of its own";
        let mistake = recipe.mistake(table.artifact.path.span(), message);
        return Err(inputs::Error::from(mistake).into());
    }
    Ok(())
}

/// The old artifact goes when there is a new one, and with it a repository of the caller.
pub(super) fn check_repositories(artifact: &Path, belongs: &Place, contents: &Contents) -> Result<(), Error> {
    match contents.repositories.iter().find(|path| path.starts_with(&belongs.resolved)) {
        None => Ok(()),
        Some(repository) => {
            Err(Error::HoldsRepository { artifact: artifact.to_path_buf(), repository: repository.clone() })
        }
    }
}

/// In the work tree, a command reads what is at the recipe's path, wherever the caller says that the data is.
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
