//! One rebuild: a clone, its inputs, the command, the comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::circumstance::{Circumstance, Conditions};
use super::source::Source;
use super::stopped::{Stopped, not_tried};
use super::{Error, FileResult, Options, seed};
use crate::compare::{Likeness, compare_files};
use modelseal_build::build::{CommandPlace, Setting, check_private, reach};
use modelseal_build::checkout::{Checkout, declared};
use modelseal_build::inputs::{self, Artifact, Inputs, check_unchanged, gather, list_artifact};
use modelseal_build::recipe::Recipe;
use modelseal_build::run::{Silent, remove_all};
use modelseal_format::manifest::{CommandOutput, InputChange, Manifest, Rung, Subject, compare_inputs};

/// The name under which the first rebuild is kept.
pub(super) const FIRST: &str = "first";

pub(super) struct Rebuilder<'a> {
    pub(super) manifest: &'a Manifest,
    /// The directory of the sealed files.
    pub(super) sealed: &'a Path,
    /// The archive that the sealed files came from.
    pub(super) archive: Option<PathBuf>,
    pub(super) scratch: &'a Path,
    pub(super) options: &'a Options<'a>,
}

/// A finished rebuild.
pub(super) struct Rebuilt {
    /// The directory that holds the whole rebuild.
    pub(super) place: PathBuf,
    pub(super) recipe: Recipe,
    pub(super) artifact: Artifact,
    pub(super) environment: Vec<CommandOutput>,
    pub(super) seconds: Option<f64>,
}

impl Rebuilt {
    pub(super) fn files(&self) -> Vec<Listed> {
        let listed = |file: &inputs::ListedFile| {
            let location = self.artifact.location(&file.path);
            // A symbolic link can be here only if the recipe says that links are followed.
            let location = location.canonicalize().unwrap_or(location);
            Listed { path: file.path.clone(), executable: file.facts.executable, location }
        };
        self.artifact.files.iter().map(listed).collect()
    }
}

/// A file of an artifact, and its location.
pub(super) struct Listed {
    path: String,
    executable: bool,
    location: PathBuf,
}

impl Rebuilder<'_> {
    /// Paths that commands must not read: the artifact must be made, not copied from an existing one.
    pub(super) fn hidden(&self) -> Vec<PathBuf> {
        let others = [self.sealed.to_path_buf()].into_iter().chain(self.archive.clone());
        let others = others.filter_map(|path| path.canonicalize().ok());
        others.collect()
    }

    /// Clones, runs the command, and keeps the artifact under the name `keep`.
    pub(super) fn rebuild(
        &self,
        source: &Source,
        commit: &str,
        conditions: &Conditions,
        keep: &str,
    ) -> Result<Rebuilt, Stopped> {
        // Every rebuild uses the same path, so that the path does not cause a difference.
        let place = self.scratch.join(conditions.place());
        remove_all(&place);
        let checkout = self.checkout(source, commit, &place)?;
        let mut recipe = checkout.recipe();
        let mut before = self.gather(recipe)?;
        self.check_true(recipe, &before)?;
        let changed;
        if conditions.circumstance == Some(Circumstance::Seed) {
            seed::change(recipe, self.manifest)?;
            changed = Recipe::load(&recipe.path).map_err(inputs::Error::from).map_err(Error::Input)?;
            recipe = &changed;
            before = self.gather(recipe)?;
        }
        let home = match conditions.circumstance {
            Some(Circumstance::Home) => checkout.directory().join("another-home"),
            _ => checkout.home()?,
        };
        fs::create_dir_all(&home).map_err(Error::Scratch)?;
        let temporary = checkout.temporary()?;
        let mut hidden = self.hidden();
        hidden.extend(self.scratch.join(FIRST).canonicalize());
        let inputs = declared(recipe, recipe.directory(), nowhere_else());
        // The source clone may contain the model, which the command must not copy.
        let source = source.directory().and_then(|root| root.canonicalize().ok());
        check_private(self.options.confinement, recipe, &inputs).map_err(Error::Input)?;
        // The kept caches of builds are not used, because the artifact must be made from scratch.
        let command_place = CommandPlace {
            work: &checkout.work(),
            own: vec![home.clone(), temporary.clone()],
            home: &home,
            inputs: inputs.into_iter().flat_map(|input| input.read()).collect(),
            caches: None,
        };
        let (mut reach, _) = reach(self.options.confinement, recipe, command_place).map_err(Error::from)?;
        reach.hidden.extend(hidden);
        reach.emptied.extend(source);
        let setting = Setting {
            recipe,
            home: &home,
            temporary: &temporary,
            epoch: self.manifest.internal().source_date_epoch,
            confinement: self.options.confinement,
            reach,
            // Only the first rebuild shows its output: thirteen repetitions would hide what matters.
            context: self.options.context,
            listener: if conditions.circumstance.is_none() { self.options.listener } else { &Silent },
        };
        let mut environment = Vec::new();
        if conditions.circumstance.is_none() {
            for command in &recipe.tables.environment.commands {
                (self.options.announce)(None, command.get_ref());
            }
            environment = setting.describe()?;
        }
        let mut variables = setting.variables();
        let mut sandbox = setting.sandbox();
        let command = conditions.apply(&self.manifest.external().command, &mut variables, &mut sandbox);
        checkout.remove_artifact()?;
        (self.options.announce)(conditions.circumstance, &command);
        let mounted = conditions
            .mount(checkout.root(), self.options.confinement.programs())
            .map_err(|reason| Stopped::NotTried(reason, None))?;
        let ended = setting.run(&command, &variables, &sandbox, None);
        drop(mounted);
        let ended = ended?;
        if checkout.artifact().symlink_metadata().is_err() {
            return Err(not_tried("the command did not make the artifact", None));
        }
        check_unchanged(recipe, &before, &self.reading()).map_err(|error| match error {
            changed @ inputs::Error::ChangedByCommand(_) => {
                Stopped::NotTried(changed.to_string(), changed.hint())
            }
            other => Stopped::Error(Error::Input(other)),
        })?;
        let within = recipe.path.strip_prefix(&place).unwrap_or(&recipe.path).to_path_buf();
        let kept = self.scratch.join(keep);
        fs::rename(&place, &kept).map_err(Error::Scratch)?;
        let recipe = Recipe::load(&kept.join(within)).map_err(inputs::Error::from).map_err(Error::Input)?;
        // An artifact that a build would refuse to seal is not a rebuild either.
        let artifact = list_artifact(&recipe, &[], self.options.context)
            .map_err(|error| Stopped::NotTried(error.to_string(), error.hint()))?;
        for file in &artifact.files {
            let leads = artifact.location(&file.path).canonicalize().map_err(Error::Scratch)?;
            if !leads.starts_with(&kept) {
                let name = modelseal_format::display::name(&file.path);
                return Err(not_tried(format!("{name} is a link to a path outside the clone"), None));
            }
        }
        let seconds = Some(ended.elapsed.as_secs_f64());
        Ok(Rebuilt { place: kept, recipe, artifact, environment, seconds })
    }

    /// A clone of the commit with all inputs. Each of them is checked against what was sealed.
    fn checkout(&self, source: &Source, commit: &str, place: &Path) -> Result<Checkout, Stopped> {
        let find = |name: &str| self.manifest.input(name);
        let path = self.manifest.recipe().and_then(|recipe| recipe.uri.as_deref()).unwrap_or_default();
        let checkout = Checkout::new(
            self.options.confinement.programs(),
            place,
            &source.as_repository(),
            commit,
            path,
            self.options.context,
        )?;
        let around = source
            .directory()
            .map(|root| root.join(path))
            .and_then(|recipe| recipe.parent().map(Path::to_path_buf));
        let nowhere = self.scratch.join("nowhere");
        for input in declared(checkout.recipe(), around.as_deref().unwrap_or(&nowhere), self.options.data) {
            checkout.place(&input, find(&input.name).map(|input| &input.digest))?;
        }
        Ok(checkout)
    }

    fn reading(&self) -> inputs::Options<'_> {
        inputs::Options::new(self.options.context)
    }

    fn gather(&self, recipe: &Recipe) -> Result<Inputs, Stopped> {
        Ok(gather(recipe, &self.reading()).map_err(Error::Input)?)
    }

    /// Checks that everything in the clone is what was sealed.
    fn check_true(&self, recipe: &Recipe, found: &Inputs) -> Result<(), Stopped> {
        let external = self.manifest.external();
        let mut changes = compare_inputs(self.manifest.dependencies(), &found.dependencies);
        let mut differs = |name: &str| {
            changes.push(InputChange { name: name.to_string(), sealed: None, found: None });
        };
        if found.hyperparameters != external.hyperparameters {
            differs("hyperparameters");
        }
        if recipe.tables.run.as_ref().map(|run| run.command.get_ref()) != Some(&external.command) {
            differs("command");
        }
        if changes.is_empty() { Ok(()) } else { Err(Stopped::Untrue(changes)) }
    }

    /// The files of the release.
    pub(super) fn sealed_files(&self) -> Vec<Listed> {
        let listed = |file: &Subject| Listed {
            path: file.name.clone(),
            executable: file.executable(),
            location: self.sealed.join(&file.name),
        };
        self.manifest.files().iter().map(listed).collect()
    }

    /// Compares two artifacts, file by file.
    pub(super) fn compare(&self, left: &[Listed], right: &[Listed]) -> Result<Vec<FileResult>, Error> {
        let index = |files: &[Listed]| -> BTreeMap<String, usize> {
            files.iter().enumerate().map(|(index, file)| (file.path.clone(), index)).collect()
        };
        let (left_index, right_index) = (index(left), index(right));
        let paths: BTreeSet<&String> = left_index.keys().chain(right_index.keys()).collect();
        let tolerance = self.manifest.external().reproduce.unwrap_or_default();
        let different = |text: &str| Likeness { rung: None, difference: Some(text.to_string()), cause: None };
        let compare = |path: &String| {
            let find = |index: &BTreeMap<String, usize>| index.get(path).copied();
            let likeness = match (find(&left_index), find(&right_index)) {
                (Some(_), None) => different("missing in the rebuild"),
                (None, _) => different("only in the rebuild"),
                (Some(left_place), Some(right_place)) => {
                    let (left, right) = (&left[left_place], &right[right_place]);
                    match left.executable == right.executable {
                        true => compare_files(
                            path,
                            &left.location,
                            &right.location,
                            &tolerance,
                            self.options.context,
                        )?,
                        false => different("its executable mode differs"),
                    }
                }
            };
            Ok(FileResult { path: path.clone(), likeness })
        };
        paths.into_iter().map(compare).collect()
    }
}

/// No paths for data: each source is where the recipe of the clone expects it.
fn nowhere_else() -> &'static BTreeMap<String, PathBuf> {
    static NOWHERE: BTreeMap<String, PathBuf> = BTreeMap::new();
    &NOWHERE
}

/// The worst rung of all files. `None` if any file differs beyond the tolerance.
pub(super) fn worst(files: &[FileResult]) -> Option<Rung> {
    files.iter().map(|file| file.likeness.rung).collect::<Option<Vec<_>>>()?.into_iter().max()
}
