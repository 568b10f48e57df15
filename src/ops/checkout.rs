//! Compares the sealed inputs with a checkout, one by one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use modelseal_build::inputs::{Error, exempt, hash_small_file, read_base, read_source, work_tree};
use modelseal_build::recipe::Recipe;
use modelseal_format::context::Context;
use modelseal_format::digest::{self, Digest};
use modelseal_format::manifest::{DependencyDigest, Manifest, ResourceDescriptor, compare_inputs};
use modelseal_verify::report::id::{BASE, CODE, DATA, ENVIRONMENT, PARAMS, RECIPE};
use modelseal_verify::report::{Check, Report, Status};
use modelseal_verify::verify::{self, OutsideCheck};

/// A checkout on this machine.
#[derive(Debug, Clone)]
pub struct LocalCheckout {
    /// The directory of the recipe.
    pub directory: PathBuf,
    /// The paths of data sources on this machine, by name.
    pub data: BTreeMap<String, PathBuf>,
}

impl OutsideCheck for LocalCheckout {
    fn demand(&self) -> Option<String> {
        Some(format!("the inputs of {}", modelseal_format::display::path(&self.directory)))
    }

    fn check(
        &self,
        manifest: &Manifest,
        report: &mut Report,
        context: &Context,
    ) -> Result<(), verify::Error> {
        let compared = compare(manifest, self, context);
        let compared = compared.map_err(|error| verify::Error::Outside(Box::new(error)))?;
        merge(&mut report.checks, compared, &mut report.not_checked);
        Ok(())
    }
}

/// The result of comparing one input.
pub(super) enum Compared {
    Same,
    Differs {
        expected: String,
        actual: String,
        message: String,
    },
    /// Why it could not be compared.
    NotThere(String),
}

/// Compares every input of a manifest with the checkout.
///
/// The recipe of the checkout says where its code is and what is declared. Whether it is the sealed recipe is a
/// separate comparison.
pub(super) fn compare(
    manifest: &Manifest,
    checkout: &LocalCheckout,
    context: &Context,
) -> Result<Vec<(String, Compared)>, Error> {
    let recipe = Recipe::load(&checkout.directory)?;
    for name in checkout.data.keys() {
        let sealed = format!("data/{name}");
        if !manifest.dependencies().iter().any(|input| input.name == sealed) {
            return Err(Error::UnknownData(name.clone()));
        }
    }
    let mut results = Vec::new();
    for input in manifest.dependencies() {
        let (kind, rest) = input.name.split_once('/').unwrap_or((&input.name, ""));
        let compared = match kind {
            "code" => compare_code(input, &recipe, checkout, context),
            "recipe" => {
                Ok(compare_digest(input, &DependencyDigest::file(Digest::sha256(recipe.text.as_bytes()))))
            }
            "data" => compare_data(input, rest, &recipe, checkout, context),
            "base" => compare_base(input, rest, &recipe, context),
            _ => compare_file(input, rest, &recipe, context),
        }?;
        results.push((input.name.clone(), compared));
    }
    Ok(results)
}

fn compare_code(
    input: &ResourceDescriptor,
    recipe: &Recipe,
    checkout: &LocalCheckout,
    context: &Context,
) -> Result<Compared, Error> {
    let Some(work_tree) = work_tree(recipe)? else {
        return Ok(Compared::NotThere("the recipe in the checkout says `[code] none`".to_string()));
    };
    let dist = recipe.directory().canonicalize().map(|directory| directory.join("dist"));
    let exempt = exempt(recipe, &checkout.data, &dist.into_iter().collect::<Vec<_>>());
    let code = work_tree.read(&exempt, context)?;
    if Some(code.dir_hash) == input.digest.dir_hash {
        return Ok(Compared::Same);
    }
    let shown = |commit: &str, hash: Option<Digest>| {
        let hash = hash.map(|hash| format!("dirHash:{hash}")).unwrap_or_default();
        format!("{hash} (git {})", modelseal_format::display::short(commit))
    };
    let sealed_commit = input.digest.git_commit.as_deref().unwrap_or_default();
    let message = match code.changes.first() {
        Some(change) => format!(
            "the code in the checkout differs from the sealed version; changed since the commit: {}{}",
            modelseal_format::display::name(&change.path),
            if code.changes.len() > 1 {
                format!(" and {} more", code.changes.len() - 1)
            } else {
                String::new()
            }
        ),
        None => "the code in the checkout differs from the sealed version".to_string(),
    };
    Ok(Compared::Differs {
        expected: shown(sealed_commit, input.digest.dir_hash),
        actual: shown(&code.commit, Some(code.dir_hash)),
        message,
    })
}

fn compare_data(
    input: &ResourceDescriptor,
    name: &str,
    recipe: &Recipe,
    checkout: &LocalCheckout,
    context: &Context,
) -> Result<Compared, Error> {
    let declared = recipe.tables.data.iter().find(|data| data.name.get_ref() == name);
    let path = match (checkout.data.get(name), declared, &input.uri) {
        (Some(path), _, _) => path.clone(),
        (None, Some(data), _) => recipe.directory().join(data.path.get_ref()),
        (None, None, Some(uri)) => recipe.directory().join(uri),
        (None, None, None) => {
            return Ok(Compared::NotThere("the checkout does not declare it".into()));
        }
    };
    let symlinks = declared.map(|data| data.symlinks).unwrap_or_default();
    found(read_source(&path, symlinks, None, None, context).map(|facts| facts.digest), input)
}

fn compare_base(
    input: &ResourceDescriptor,
    name: &str,
    recipe: &Recipe,
    context: &Context,
) -> Result<Compared, Error> {
    let declared = recipe.tables.base.iter().find(|base| base.name.get_ref() == name);
    let path = match (declared, &input.uri) {
        (Some(base), _) => recipe.directory().join(base.path.get_ref()),
        (None, Some(uri)) => recipe.directory().join(uri),
        (None, None) => {
            return Ok(Compared::NotThere("the checkout does not declare it".into()));
        }
    };
    let symlinks = declared.map(|base| base.symlinks).unwrap_or_default();
    found(read_base(&path, symlinks, None, context).map(|facts| facts.digest), input)
}

fn compare_file(
    input: &ResourceDescriptor,
    path: &str,
    recipe: &Recipe,
    context: &Context,
) -> Result<Compared, Error> {
    let read = hash_small_file(&recipe.directory().join(path), 0, context);
    found(read.map(|(digest, _)| DependencyDigest::file(digest)), input)
}

/// A file that is missing, or is only a pointer to the data, is not compared. Every other file is compared, or gives an
/// error.
fn found(read: Result<DependencyDigest, Error>, input: &ResourceDescriptor) -> Result<Compared, Error> {
    match read {
        Ok(digest) => Ok(compare_digest(input, &digest)),
        Err(Error::Digest(digest::Error::Io { path, source }))
            if matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            Ok(Compared::NotThere(format!("{} does not exist", modelseal_format::display::path(&path))))
        }
        Err(error @ Error::Pointer { .. }) => Ok(Compared::NotThere(error.to_string())),
        Err(error) => Err(error),
    }
}

fn compare_digest(input: &ResourceDescriptor, found: &DependencyDigest) -> Compared {
    let found = ResourceDescriptor { digest: found.clone(), ..input.clone() };
    match compare_inputs(std::slice::from_ref(input), &[found]).pop() {
        None => Compared::Same,
        Some(change) => Compared::Differs {
            expected: change.sealed.unwrap_or_default(),
            actual: change.found.unwrap_or_default(),
            message: format!("the {} in the checkout differs from the sealed version", describe(&input.name)),
        },
    }
}

fn describe(name: &str) -> String {
    match name.split_once('/') {
        Some(("data", name)) => format!("data `{name}`"),
        Some(("base", name)) => format!("base model `{name}`"),
        Some((_, path)) => format!("file {}", modelseal_format::display::name(path)),
        None => name.to_string(),
    }
}

/// Merges the comparisons into the checks of the lineage. A parameter or environment file shares a check with its kind.
fn merge(checks: &mut Vec<Check>, compared: Vec<(String, Compared)>, not_checked: &mut Vec<String>) {
    for (name, compared) in compared {
        let id = match name.split_once('/').unwrap_or((&name, "")) {
            ("data", source) => DATA.of(source),
            ("base", source) => BASE.of(source),
            ("params", _) => PARAMS.into(),
            ("environment", _) => ENVIRONMENT.into(),
            ("recipe", _) => RECIPE.into(),
            _ => CODE.into(),
        };
        match compared {
            Compared::Same => {}
            Compared::NotThere(reason) => not_checked.push(format!("{id} against the checkout: {reason}")),
            Compared::Differs { expected, actual, message } => {
                let check = Check::fail(id.clone(), message).differs(expected, actual);
                let place = checks.iter().position(|other| other.id == id && other.status != Status::Fail);
                match place {
                    Some(place) => checks[place] = check,
                    None => checks.push(check),
                }
            }
        }
    }
}
