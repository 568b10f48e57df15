//! Changes the seed, for the control that must differ.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::Error;
use super::stopped::Stopped;
use modelseal_build::recipe::Recipe;
use modelseal_format::manifest::{Manifest, Value};

/// Common names of a seed.
const USUAL: [&str; 5] = ["seed", "random_seed", "random_state", "rng_seed", "SEED"];

/// Changes the seed in the clone: in a parameter file, or else in the recipe. The file must contain it as a number.
///
/// # Errors
/// [`Stopped::NotTried`] if no hyperparameter is known to be a seed, or if no file contains it.
pub(super) fn change(recipe: &Recipe, manifest: &Manifest) -> Result<(), Stopped> {
    let not_tried = |reason: String| Stopped::NotTried(reason, None);
    let given = recipe.tables.reproduce.seed.as_ref().map(|seed| seed.get_ref().as_str());
    let hyperparameters = &manifest.external().hyperparameters;
    let find = |path: &str| -> Option<String> {
        let mut parts = path.split('.');
        let mut value = hyperparameters.get(parts.next()?)?;
        for part in parts {
            match value {
                Value::Table(table) => value = table.get(part)?,
                _ => return None,
            }
        }
        match value {
            Value::Integer(text) => Some(text.clone()),
            _ => None,
        }
    };
    let candidates = given.map_or(USUAL.to_vec(), |given| vec![given]);
    let Some((path, text)) = candidates.iter().find_map(|path| Some((*path, find(path)?))) else {
        let reason = match given {
            Some(given) => {
                format!("no hyperparameter {} is a whole number", modelseal_format::display::name(given))
            }
            None => {
                "no hyperparameter is named `seed`: name the seed with `seed` under `[reproduce]`".to_string()
            }
        };
        return Err(not_tried(reason));
    };
    let key = path.rsplit('.').next().unwrap_or(path);
    let other = text.parse::<i64>().map_or(1, |seed| if seed < i64::MAX { seed + 1 } else { 0 }).to_string();
    let files = recipe.tables.params.files.iter().map(|file| recipe.directory().join(file.get_ref()));
    for file in files.chain([recipe.path.clone()]) {
        let content = fs::read_to_string(&file).map_err(Error::Scratch)?;
        let Some(changed) = replace(&content, key, &text, &other) else { continue };
        write(&file, &changed).map_err(Error::Scratch)?;
        return Ok(());
    }
    Err(not_tried(format!(
        "the seed {} does not occur exactly once in a parameter file or the recipe",
        modelseal_format::display::name(path)
    )))
}

/// Replaces a file that may be read-only. A symbolic link at its path is replaced, not followed.
fn write(file: &Path, content: &str) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let mut changed = tempfile::NamedTempFile::new_in(directory)?;
    changed.write_all(content.as_bytes())?;
    changed.persist(file)?;
    Ok(())
}

/// Replaces the number after a key, in TOML, JSON or YAML. `None` unless it occurs exactly once.
fn replace(content: &str, key: &str, text: &str, other: &str) -> Option<String> {
    let mut found = None;
    for (start, _) in content.match_indices(key) {
        let before = content[..start].chars().next_back();
        let rest = content[start + key.len()..].trim_start_matches(['"', '\'']);
        let rest = rest.trim_start_matches([' ', '\t']);
        let Some(rest) = rest.strip_prefix(['=', ':']) else { continue };
        let rest = rest.trim_start_matches([' ', '\t']);
        let Some(after) = rest.strip_prefix(text) else { continue };
        let is_word =
            |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || "_-.".contains(c));
        if is_word(before) || is_word(after.chars().next()) {
            continue;
        }
        if found.replace(content.len() - rest.len()).is_some() {
            return None;
        }
    }
    let place = found?;
    Some(format!("{}{other}{}", &content[..place], &content[place + text.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reproduce_replaces_an_unambiguous_seed_in_every_format() {
        for (content, expected) in [
            ("a = 42\nseed = 42\n", Some("a = 42\nseed = 43\n")),
            ("{\"seed\": 42, \"b\": 42}", Some("{\"seed\": 43, \"b\": 42}")),
            ("train:\n  seed: 42\n", Some("train:\n  seed: 43\n")),
            ("values = { seed = 42 }", Some("values = { seed = 43 }")),
            ("my_seed = 42\n", None),
            ("seed = 421\n", None),
            ("seed = 42\n[b]\nseed = 42\n", None),
            ("# the seed is 42\n", None),
        ] {
            assert_eq!(replace(content, "seed", "42", "43").as_deref(), expected, "{content}");
        }
    }
}
