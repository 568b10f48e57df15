//! Collects everything that is known before a file of the artifact is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::backup::Aside;
use super::behaviour::observe;
use super::execute::{Held, Task, with_ending};
use super::guarded::Guarded;
use super::guarded_path::Place;
use super::lock::lock;
use super::planted::set_planted_aside;
use super::reach::check_private;
use super::replaced::{check_alone, check_repositories};
use super::{Error, Options};
use crate::checkout::declared;
use crate::inputs::{self, Artifact, Contents, Inputs, WorkTree, is_in_git_directory, work_tree};
use crate::recipe::Recipe;
use crate::run::{self, Confinement, Scratch};
use modelseal_format::context::Context;
use modelseal_format::manifest::{
    Byproduct, Demand, ExternalParameters, FORMAT, InternalParameters, LAST_EPOCH, Manifest, Model, Origin,
    Subject, Value, check_predicate,
};

/// The time of every entry if there is neither `SOURCE_DATE_EPOCH` nor a commit: 1980-01-01, the oldest date that every
/// archive format can store.
const DEFAULT_EPOCH: u64 = 315_532_800;

/// How many names a warning shows.
const SHOWN: usize = 5;

/// What will be sealed.
pub(super) struct Plan {
    pub(super) artifact: Artifact,
    pub(super) inputs: Inputs,
    pub(super) external: ExternalParameters,
    pub(super) internal: InternalParameters,
    /// How the artifact answered the probes.
    pub(super) byproducts: Vec<Byproduct>,
    pub(super) command_seconds: Option<f64>,
    /// Files that the command left in addition to the artifact.
    pub(super) left: Vec<String>,
    _held: Held,
}

/// Reads the inputs and produces the artifact.
pub(super) fn plan(recipe: &Recipe, options: &Options<'_>, output: &Path) -> Result<Plan, Error> {
    check_code_path(recipe, options.confinement)?;
    check_private(options.confinement, recipe, &declared(recipe, recipe.directory(), &options.data))?;
    let written = written(recipe, output, &options.writes);
    let mut inputs = inputs::gather(
        recipe,
        &inputs::Options {
            data: &options.data,
            written: &written,
            allow_dirty: options.allow_dirty,
            profile: true,
            judges_age: true,
            cache: options.cache,
            context: &options.context,
        },
    )
    .map_err(|error| name_key(error, recipe, options.confinement))?;
    let epoch = match (options.source_date_epoch, inputs.commit_time) {
        (Some(epoch), _) if epoch > LAST_EPOCH => return Err(Error::Epoch(epoch)),
        (None, Some(time)) if time > LAST_EPOCH => {
            return Err(inputs::Error::Time(time as i64).into());
        }
        (Some(epoch), _) | (None, Some(epoch)) => epoch,
        (None, None) => DEFAULT_EPOCH,
    };
    let place = Place::of(output);
    // A link in the project must not decide where this user's archives are written.
    if options.output.is_none() && !place.is_inside(recipe.directory()) {
        return Err(Error::LeadsOut(place.directory().to_path_buf()));
    }
    let is_linked = place.directory().is_symlink();
    if options.output.is_none() && is_linked && guarded(recipe, options)?.holds(&place.leads_to()) {
        return Err(Error::Guarded(place.directory().to_path_buf()));
    }
    let writes: Vec<Place> = options.writes.iter().map(|path| Place::of(path)).collect();
    let task = Task { recipe, inputs: &inputs, options, written: &written, epoch, output: &place };
    let product = task.produce()?;
    if let Some(changed) = writes.iter().chain([&place]).find(|place| !place.is_unchanged()) {
        return Err(Error::Redirected(changed.directory().to_path_buf()));
    }
    let listed = match product.recipe() {
        Some(recipe) => inputs::list_artifact(recipe, &[], &options.context),
        None => inputs::list_artifact(recipe, &written, &options.context),
    };
    let checked = listed.map_err(Error::from).and_then(|artifact| {
        let old = product.old();
        match product.root() {
            Some(root) => check_links(&artifact, root, old.as_deref(), options.confinement)?,
            None => check_adopted_links(&artifact, options.confinement)?,
        }
        let outside =
            if product.root().is_none() { linked_from_outside(recipe, &artifact)? } else { Vec::new() };
        Ok((artifact, outside))
    });
    let (artifact, outside) = match checked {
        Ok(checked) => checked,
        Err(error) => return Err(product.reject(error, Some(&with_ending(output, "rejected")))),
    };
    let lies_with = product.recipe().unwrap_or(recipe);
    let observed = observe(lies_with, recipe, &artifact, epoch, options);
    let behaviour = match observed {
        Ok(behaviour) => behaviour,
        Err(error) => return Err(product.reject(error, Some(&with_ending(output, "rejected")))),
    };
    inputs.warnings.extend(warn_of_outside(&outside));
    inputs.warnings.extend(behaviour.warnings);
    let (origin, command_seconds) = (product.origin, product.seconds);
    let (environment, left) = (product.environment.clone(), product.left.clone());
    let _held = product.accept();
    let plan = Plan {
        external: external(recipe, inputs.hyperparameters.clone(), origin),
        internal: InternalParameters {
            format: FORMAT,
            origin,
            source_date_epoch: epoch,
            excluded: artifact.excluded.clone(),
            model_signature: true,
            missing: inputs.missing.clone(),
            environment,
            outside,
        },
        artifact,
        inputs,
        byproducts: behaviour.byproducts,
        command_seconds,
        left,
        _held,
    };
    check_predicate(&plan.statement(Vec::new())).map_err(Error::Predicate)?;
    Ok(plan)
}

/// The paths in the project that the caller runs later.
fn guarded(recipe: &Recipe, options: &Options<'_>) -> Result<Guarded, Error> {
    let work_tree = inputs::work_tree(recipe)?;
    let root = work_tree.as_ref().map_or(recipe.directory(), |work_tree| work_tree.root());
    let root = root.canonicalize().map_err(|source| Error::Directory { path: root.to_path_buf(), source })?;
    Guarded::of(&root, options.confinement)
}

/// Refuses an artifact made by a command if its links lead elsewhere. The command could not read the key, but a program
/// that follows its links can.
fn check_links(
    artifact: &Artifact,
    root: &Path,
    old: Option<&Path>,
    confinement: &Confinement,
) -> Result<(), Error> {
    let root = root.canonicalize().map_err(|source| Error::Directory { path: root.to_path_buf(), source })?;
    refuse_links(artifact, &|leads| match () {
        () if !leads.starts_with(&root) => Some("a link out of the work tree"),
        () if old.is_some_and(|old| leads.starts_with(old)) => Some("a link to the old artifact"),
        () if confinement.hides(leads, &root) => Some("a link to a path that commands cannot see"),
        () => None,
    })
}

/// Refuses a recipe that selects the work tree around its own repository: commands could read and change what belongs to
/// somebody else's project.
fn check_code_path(recipe: &Recipe, confinement: &Confinement) -> Result<(), inputs::Error> {
    if recipe.tables.code.path.is_none() {
        return Ok(());
    }
    let Some(selected) = work_tree(recipe)? else { return Ok(()) };
    let own = WorkTree::discover(recipe.directory())?;
    let is_allowed = confinement.allowed().iter().any(|allowed| selected.root().starts_with(allowed.end()));
    match own.root() == selected.root() || is_allowed {
        true => Ok(()),
        false => Err(inputs::Error::OuterWorkTree {
            own: own.root().to_path_buf(),
            outer: selected.root().to_path_buf(),
        }),
    }
}

/// Refuses an adopted artifact if its links lead to private files of the caller.
fn check_adopted_links(artifact: &Artifact, confinement: &Confinement) -> Result<(), Error> {
    let root = artifact.root().canonicalize().unwrap_or_default();
    refuse_links(artifact, &|leads| match () {
        () if confinement.is_private(leads) => Some("a link to your private files outside of the project"),
        () if !leads.starts_with(&root) && is_in_git_directory(leads) => Some("a link into a git repository"),
        () => None,
    })
}

/// Names a key that is not as committed, so that nobody is told to commit it.
fn name_key(error: inputs::Error, recipe: &Recipe, confinement: &Confinement) -> inputs::Error {
    let inputs::Error::Dirty { changes, .. } = &error else { return error };
    let Ok(work_tree) = WorkTree::discover(recipe.directory()) else { return error };
    let is_key = |path: &str| confinement.hidden_at(&work_tree.root().join(path)).is_some();
    match changes.iter().find(|change| is_key(&change.path)) {
        Some(key) => inputs::Error::Key(key.path.clone()),
        None => error,
    }
}

/// Files that links bring into the artifact from outside of the work tree; `.` if a link leads to the artifact itself.
fn linked_from_outside(recipe: &Recipe, artifact: &Artifact) -> Result<Vec<String>, Error> {
    let resolve = |path: &Path| {
        path.canonicalize().map_err(|source| Error::Directory { path: path.to_path_buf(), source })
    };
    let work_tree = inputs::work_tree(recipe)?;
    let work_tree = resolve(work_tree.as_ref().map_or(recipe.directory(), |work_tree| work_tree.root()))?;
    let root = resolve(artifact.root())?;
    // If the recipe itself names a path outside, no link leads there.
    let named = run::without_dots(&resolve(recipe.directory())?.join(recipe.tables.artifact.path.get_ref()));
    if named.starts_with(&work_tree) && !root.starts_with(&work_tree) {
        return Ok(vec![".".to_string()]);
    }
    let mut outside = Vec::new();
    for file in &artifact.files {
        let leads = resolve(&artifact.location(&file.path))?;
        if !leads.starts_with(&root) && !leads.starts_with(&work_tree) {
            outside.push(file.path.clone());
        }
    }
    Ok(outside)
}

/// The warning about files that links bring in, if there are any.
pub(super) fn warn_of_outside(outside: &[String]) -> Option<String> {
    let from = "from outside of the work tree through links, and ships";
    let shown =
        outside.iter().take(SHOWN).map(|path| modelseal_format::display::name(path)).collect::<Vec<_>>();
    let more = if outside.len() > SHOWN { ", …" } else { "" };
    match outside {
        [] => None,
        [only] if only == "." => Some(format!("the artifact comes {from}")),
        [_] => Some(format!("{} comes {from}", shown[0])),
        several => {
            let shown = shown.join(", ");
            Some(format!("{} files come {}: {shown}{more}", several.len(), from.replace("ships", "ship")))
        }
    }
}

/// Refuses a file that leads to a path for which `refusal` gives a reason.
fn refuse_links(artifact: &Artifact, refusal: &dyn Fn(&Path) -> Option<&'static str>) -> Result<(), Error> {
    for file in &artifact.files {
        let path = artifact.location(&file.path);
        let leads = path.canonicalize().map_err(|source| Error::Directory { path: path.clone(), source })?;
        if let Some(kind) = refusal(&leads) {
            return Err(inputs::Error::Special { path, kind, may_follow: false }.into());
        }
    }
    Ok(())
}

/// Checks that a manifest agrees with this recipe. The error names the part that differs.
pub(super) fn compare_external(recipe: &Recipe, statement: &Manifest) -> Result<(), &'static str> {
    let stated = statement.external();
    let expected = external(recipe, stated.hyperparameters.clone(), statement.internal().origin);
    let run = |external: &ExternalParameters| {
        let network = external.network;
        let (env, pass_env) = (external.env.clone(), external.pass_env.clone());
        (external.command.clone(), env, pass_env, external.caches.clone(), network)
    };
    match () {
        () if stated.model != expected.model => Err("model, version or release number"),
        () if run(stated) != run(&expected) => Err("command"),
        () if stated.reproduce != expected.reproduce => Err("reproduction level or tolerance"),
        () => Ok(()),
    }
}

fn external(recipe: &Recipe, hyperparameters: BTreeMap<String, Value>, origin: Origin) -> ExternalParameters {
    let model = &recipe.tables.model;
    // A command that did not run is not sealed: it would look as if it had made the artifact.
    let run = recipe.tables.run.as_ref().filter(|_| origin > Origin::Adopted);
    let standard = Demand::default();
    let reproduce = &recipe.tables.reproduce;
    ExternalParameters {
        model: Model {
            name: model.name.get_ref().clone(),
            version: model.version.get_ref().clone(),
            release: model.release.as_ref().map(|release| *release.get_ref()),
        },
        hyperparameters,
        command: run.map(|run| run.command.get_ref().clone()).unwrap_or_default(),
        env: run
            .into_iter()
            .flat_map(|run| &run.env)
            .map(|(name, value)| (name.clone(), value.get_ref().clone()))
            .collect(),
        pass_env: run.into_iter().flat_map(|run| &run.pass_env).map(|name| name.get_ref().clone()).collect(),
        caches: run.into_iter().flat_map(|run| &run.caches).map(|name| name.get_ref().to_string()).collect(),
        network: run.map(|run| run.network),
        reproduce: run.map(|_| Demand {
            level: reproduce.level,
            atol: reproduce.atol.as_ref().map_or(standard.atol, |value| *value.get_ref()),
            rtol: reproduce.rtol.as_ref().map_or(standard.rtol, |value| *value.get_ref()),
        }),
    }
}

impl Plan {
    /// Copies the artifact of a clone into the work tree, and replaces the artifact that is there: the signer of the
    /// manifest needs it.
    pub(super) fn keep_artifact(&self, recipe: &Recipe, options: &Options<'_>) -> Result<(), Error> {
        let place = recipe.directory().join(recipe.tables.artifact.path.get_ref());
        let belongs = Place::of(&place);
        let root = match inputs::work_tree(recipe)? {
            Some(work_tree) => work_tree.root().to_path_buf(),
            None => recipe.directory().to_path_buf(),
        };
        if !belongs.is_inside(&root) {
            return Err(Error::LeadsOut(belongs.directory().to_path_buf()));
        }
        check_repositories(&place, &belongs, &Contents::of(&root))?;
        let guarded = guarded(recipe, options)?;
        // A file with such a name can make a directory a repository.
        let is_of_git = [".git", "HEAD", "commondir"].iter().any(|name| place.ends_with(name));
        if is_of_git || guarded.holds(&belongs.leads_to()) || guarded.lies_in(&belongs.leads_to()) {
            return Err(Error::Guarded(place));
        }
        check_alone(recipe, options, &place)?;
        let _lock = lock(&root, options.listener, options.context.cancel())?;
        let failed = |source| Error::Directory { path: place.clone(), source };
        std::fs::create_dir_all(belongs.directory()).map_err(failed)?;
        // The copy is complete before the existing artifact is touched.
        let scratch = Scratch::new_in(belongs.directory(), options.context.cancel()).map_err(failed)?;
        let whole = scratch.path().join("artifact");
        self.copy_artifact(&whole, &options.context)?;
        if let Some(Error::Planted { repository, .. }) = set_planted_aside(&whole, &Contents::default(), &[])
        {
            let path = place.join(repository.strip_prefix(&whole).unwrap_or(&repository));
            let kind = "a git repository: git would run programs that it configures in your work tree";
            return Err(inputs::Error::Special { path, kind, may_follow: false }.into());
        }
        go_on(&options.context)?;
        let _busy = options.context.cancel().busy();
        let aside =
            Aside::take(belongs, &root, None).map_err(|(path, source)| Error::Aside { path, source })?;
        std::fs::rename(&whole, &place).map_err(failed)?;
        aside.accept();
        Ok(())
    }

    fn copy_artifact(&self, target: &Path, context: &Context) -> Result<(), Error> {
        for file in &self.artifact.files {
            go_on(context)?;
            let from = self.artifact.location(&file.path);
            let to = if self.artifact.is_one_file() { target.to_path_buf() } else { target.join(&file.path) };
            let copied = match to.parent() {
                Some(directory) => std::fs::create_dir_all(directory),
                None => Ok(()),
            };
            // Copies the permissions, too, because the executable bit is sealed.
            let copied = copied.and_then(|()| std::fs::copy(&from, &to));
            copied.map_err(|source| Error::Directory { path: to, source })?;
        }
        Ok(())
    }

    /// The manifest of these files.
    pub(super) fn statement(&self, files: Vec<Subject>) -> Manifest {
        Manifest::new(
            files,
            self.external.clone(),
            self.internal.clone(),
            self.inputs.dependencies.clone(),
            self.byproducts.clone(),
            env!("CARGO_PKG_VERSION"),
        )
    }
}

/// The paths that this build writes: absolute, with links resolved as far as they exist.
pub(super) fn written(recipe: &Recipe, output: &Path, more: &[PathBuf]) -> Vec<PathBuf> {
    let dist = recipe.directory().join("dist");
    let artifact = recipe.directory().join(recipe.tables.artifact.path.get_ref());
    let paths = [
        dist,
        output.to_path_buf(),
        with_ending(output, "log"),
        with_ending(output, "rejected"),
        Aside::path(&artifact, None),
    ];
    let resolved = paths.iter().chain(more).map(|path| Place::of(path).resolved);
    resolved.filter(|path| path.is_absolute()).collect()
}

/// Creates the directory of an archive whose path is the default.
pub(super) fn make_directory(output: &Path) -> Result<(), Error> {
    let Some(directory) = output.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(directory)
        .map_err(|source| Error::Directory { path: directory.to_path_buf(), source })
}

/// Returns an error if cancellation was requested.
fn go_on(context: &Context) -> Result<(), Error> {
    context.check().map_err(|_| Error::run(run::Error::Interrupted))
}
