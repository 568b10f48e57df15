//! One rebuild: a clone, its inputs, the command, the comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::source::Source;
use super::vary::{self, Circumstance, Conditions};
use super::{Error, FileResult, Options, Reproduction, behaviour, seed};
use crate::compare::{Likeness, compare_files};
use modelseal_build::build::{CommandPlace, Setting, check_private, reach};
use modelseal_build::checkout::{self, Checkout, declared};
use modelseal_build::inputs::{self, Artifact, Inputs, check_unchanged, gather, list_artifact};
use modelseal_build::recipe::Recipe;
use modelseal_build::run::{self, Silent, remove_all};
use modelseal_format::manifest::{
    CommandOutput, InputChange, Manifest, Origin, Rung, Subject, compare_inputs,
};

/// The name under which the first rebuild is kept.
const FIRST: &str = "first";

/// Why a rebuild has no result.
pub(super) enum Stopped {
    /// Why it was not tried or could not be finished, and what the user can do about it.
    NotTried(String, Option<String>),
    /// The commit does not hold what was sealed.
    Untrue(Vec<InputChange>),
    Error(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::Error(error)
    }
}

impl From<run::Error> for Stopped {
    fn from(error: run::Error) -> Self {
        match error {
            run::Error::Interrupted => Stopped::Error(Error::Interrupted),
            run::Error::Scratch(source) | run::Error::Log(source) => Stopped::Error(Error::Scratch(source)),
            other => Stopped::NotTried(with_causes(&other), other.hint()),
        }
    }
}

impl From<checkout::Error> for Stopped {
    fn from(error: checkout::Error) -> Self {
        match error {
            checkout::Error::Interrupted => Stopped::Error(Error::Interrupted),
            checkout::Error::Input(error) => Stopped::Error(Error::Input(error)),
            checkout::Error::Io { source, .. } => Stopped::Error(Error::Scratch(source)),
            other => Stopped::NotTried(with_causes(&other), other.hint()),
        }
    }
}

/// An error and its causes in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {}", modelseal_format::display::message(&error));
        cause = error.source();
    }
    text
}

pub(super) fn not_tried(reason: impl Into<String>, hint: &str) -> Stopped {
    Stopped::NotTried(reason.into(), (!hint.is_empty()).then(|| hint.to_string()))
}

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
    /// Rebuilds once and compares. Then rebuilds again for each circumstance that is varied.
    pub(super) fn run(&self, result: &mut Reproduction) -> Result<(), Stopped> {
        let origin = self.manifest.internal().origin;
        if origin == Origin::Adopted {
            let reason = "the artifact was adopted: the manifest does not say which command made it";
            return Err(not_tried(reason, "seal it with a `[run]` in the recipe"));
        }
        let Some(code) = self.manifest.code() else {
            return Err(not_tried("no code revision was sealed", ""));
        };
        let commit = code.commit();
        if let Some(path) = code.dirty().first() {
            let reason = format!(
                "the work tree was not what the commit holds: {}",
                modelseal_format::display::name(path)
            );
            return Err(not_tried(
                reason,
                "the release was sealed with `--allow-dirty`: seal one from a commit",
            ));
        }
        for name in self.options.data.keys() {
            let sealed = format!("data/{name}");
            if !self.manifest.dependencies().iter().any(|input| input.name == sealed) {
                return Err(Error::Input(inputs::Error::UnknownData(name.clone())).into());
            }
        }
        let source = Source::find(self.manifest, self.options.source, commit, &mut result.notes)?;
        result.source = Some(source.shown());
        for name in &self.manifest.external().pass_env {
            if std::env::var_os(name).is_none() {
                result
                    .notes
                    .push(format!("the variable {} is not set here", modelseal_format::display::name(name)));
            }
        }
        let first = self.rebuild(&source, commit, &Conditions::default(), FIRST)?;
        result.command_seconds = first.seconds;
        let sealed = &self.manifest.internal().environment;
        let pairs = sealed.iter().zip(&first.environment);
        result.environment = pairs.map(|(sealed, found)| (sealed.clone(), found.output.clone())).collect();
        result.files = self.compare(&self.sealed_files(), &first.files())?;
        result.rung = worst(&result.files);
        if result.rung.is_none() {
            behaviour::ask(self, &first, result)?;
        }
        result.varied = vary::vary(self, &source, commit, &first)?;
        Ok(())
    }

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
        check_private(self.options.confinement, &inputs).map_err(Error::Input)?;
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
            return Err(not_tried("the command did not make the artifact", ""));
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
                return Err(not_tried(format!("{name} is a link out of the clone"), ""));
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
        inputs::Options {
            data: nowhere_else(),
            written: &[],
            allow_dirty: true,
            profile: false,
            judges_age: false,
            cache: None,
            context: self.options.context,
        }
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
    fn sealed_files(&self) -> Vec<Listed> {
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
                (Some(_), None) => different("was not made"),
                (None, _) => different("is new"),
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
                        false => different("its mode: executable or not"),
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
