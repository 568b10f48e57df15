//! Produces the artifact: adopts an existing one, or runs the sealed command.

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use super::backup::{self, Aside};
use super::command::Setting;
use super::guarded::Guarded;
use super::guarded_path::Place;
use super::linked::linked_elsewhere;
use super::lock::lock;
use super::planted::set_planted_aside;
use super::replaced::{check_alone, check_data, check_repositories};
use super::{CommandPlace, Error, Making, Options, WithSavedOutput, reach};
use crate::checkout::{Checkout, Repository, declared};
use crate::inputs::{self, Contents, Inputs, check_unchanged, work_tree};
use crate::recipe::Recipe;
use crate::run::{self, Scratch};
use modelseal_format::context::Busy;
use modelseal_format::manifest::{CommandOutput, Origin};

/// The artifact that the command made, or that was adopted.
pub(super) struct Product {
    pub(super) origin: Origin,
    pub(super) environment: Vec<CommandOutput>,
    /// How long the command ran.
    pub(super) seconds: Option<f64>,
    /// Files that the command left in addition to the artifact.
    pub(super) left: Vec<String>,
    place: ArtifactLocation,
}

enum ArtifactLocation {
    /// In the work tree, unchanged.
    There { lock: Option<File> },
    /// In the work tree, newly made; the old artifact is aside.
    Anew { aside: Aside, root: PathBuf, _scratch: Scratch, _busy: Busy, lock: Option<File> },
    /// In a clone.
    Clone { checkout: Box<Checkout>, artifact: Place, scratch: Scratch },
}

impl Product {
    /// The recipe of the clone, if the artifact is in a clone.
    pub(super) fn recipe(&self) -> Option<&Recipe> {
        match &self.place {
            ArtifactLocation::Clone { checkout, .. } => Some(checkout.recipe()),
            _ => None,
        }
    }

    /// The directory that contains a newly made artifact and everything that it may link to.
    pub(super) fn root(&self) -> Option<&Path> {
        match &self.place {
            ArtifactLocation::There { .. } => None,
            ArtifactLocation::Anew { root, .. } => Some(root),
            ArtifactLocation::Clone { checkout, .. } => Some(checkout.directory()),
        }
    }

    /// Where the old artifact is now.
    pub(super) fn old(&self) -> Option<PathBuf> {
        match &self.place {
            ArtifactLocation::Anew { aside, .. } => aside.old().and_then(|old| old.canonicalize().ok()),
            _ => None,
        }
    }

    /// Rejects an artifact that was examined and cannot be sealed. What a command made is saved at `kept`.
    pub(super) fn reject(self, reason: Error, kept: Option<&Path>) -> Error {
        let kept = match self.place {
            ArtifactLocation::There { .. } => return reason,
            ArtifactLocation::Anew { aside, .. } => kept.and_then(|kept| aside.reject(kept)),
            ArtifactLocation::Clone { artifact, .. } => {
                let kept = kept.filter(|_| artifact.is_unchanged());
                kept.filter(|kept| backup::keep(&artifact.path, kept)).map(Path::to_path_buf)
            }
        };
        Error::Rejected(WithSavedOutput { reason: Box::new(reason), kept })
    }

    /// Accepts an artifact that was examined and can be sealed.
    pub(super) fn accept(self) -> Held {
        match self.place {
            ArtifactLocation::There { lock } => Held { _lock: lock, _scratch: None },
            ArtifactLocation::Anew { aside, lock, .. } => {
                aside.accept();
                Held { _lock: lock, _scratch: None }
            }
            ArtifactLocation::Clone { scratch, .. } => Held { _lock: None, _scratch: Some(scratch) },
        }
    }
}

/// What an accepted artifact needs until it is archived: a lock, so that no other build replaces it, and the clone that
/// contains it.
pub(super) struct Held {
    _lock: Option<File>,
    _scratch: Option<Scratch>,
}

/// A command that has ended, and its output.
struct Made {
    seconds: Option<f64>,
    log: File,
}

/// What a command made in the work tree.
struct MadeInPlace {
    environment: Vec<CommandOutput>,
    seconds: Option<f64>,
    left: Vec<String>,
    /// The old artifact, and the place of the new one.
    aside: Aside,
}

/// Everything that producing the artifact depends on.
pub(super) struct Task<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) inputs: &'a Inputs,
    pub(super) options: &'a Options<'a>,
    pub(super) written: &'a [PathBuf],
    pub(super) epoch: u64,
    /// The place of the archive.
    pub(super) output: &'a Place,
}

impl Task<'_> {
    pub(super) fn produce(&self) -> Result<Product, Error> {
        match self.options.making {
            Making::Adopt => self.adopt(),
            Making::Run if self.recipe.tables.run.is_none() => self.adopt(),
            Making::Run => self.run_in_work_tree(),
            Making::Clean if self.recipe.tables.run.is_none() => Err(Error::NoCommand),
            Making::Clean => self.run_in_clone(),
        }
    }

    /// Adopts the artifact. The environment is not described, because it says nothing about where the artifact was
    /// made.
    fn adopt(&self) -> Result<Product, Error> {
        let lock = lock(&self.work_tree()?.0, self.options.listener, self.options.context.cancel())?;
        let (environment, left, place) = (Vec::new(), Vec::new(), ArtifactLocation::There { lock });
        Ok(Product { origin: Origin::Adopted, environment, seconds: None, left, place })
    }

    fn run_in_work_tree(&self) -> Result<Product, Error> {
        let artifact = self.recipe.directory().join(self.recipe.tables.artifact.path.get_ref());
        check_alone(self.recipe, self.options, &artifact)?;
        check_data(self.recipe, self.options)?;
        let belongs = Place::of(&artifact);
        let (root, repository) = self.work_tree()?;
        let lock = lock(&root, self.options.listener, self.options.context.cancel())?;
        let scratch =
            Scratch::new(self.options.context.cancel()).map_err(run::Error::Scratch).map_err(Error::run)?;
        let directory = |name| scratch.directory(name).map_err(run::Error::Scratch).map_err(Error::run);
        let (home, temporary) = (directory("home")?, directory("tmp")?);
        let inputs = declared(self.recipe, self.recipe.directory(), &self.options.data);
        let place = CommandPlace {
            work: &root,
            own: vec![home.clone(), temporary.clone()],
            home: &home,
            inputs: inputs.into_iter().flat_map(|input| input.read()).collect(),
            caches: self.options.caches.as_deref(),
        };
        let (mut setting, contents) = self.setting(self.recipe, &home, &temporary, place)?;
        // The old artifact is moved, and finally removed. It must belong to the project, and must not be something that
        // the caller runs.
        let places = setting.reach.read_only.iter().chain(&setting.reach.read_only_files).cloned();
        let guarded = Guarded::new(&root, places, self.options.confinement);
        if !belongs.is_inside(&root) {
            return Err(Error::LeadsOut(artifact));
        }
        check_repositories(&artifact, &belongs, &contents)?;
        let allowed = self.options.confinement.allowed();
        let is_allowed = |path: &PathBuf| allowed.iter().any(|allowed| path.starts_with(allowed.end()));
        let linked = linked_elsewhere(&root, &|path| guarded.holds(path));
        setting.reach.read_only.extend(linked.into_iter().filter(|path| !is_allowed(path)));
        if guarded.holds(&belongs.resolved) || guarded.lies_in(&belongs.resolved) {
            return Err(Error::Guarded(artifact));
        }
        // From here on, the work tree must be restored before the process ends.
        let busy = self.options.context.cancel().busy();
        let made = self.make_in_place(&mut setting, belongs, &root, repository.as_deref());
        let own = [home.as_path(), &temporary].map(Path::to_path_buf);
        let apart = [&setting.reach.hidden[..], &own].concat();
        let planted = set_planted_aside(&root, &contents, &apart);
        let product = made.map(|made| {
            let place =
                ArtifactLocation::Anew { aside: made.aside, root, _scratch: scratch, _busy: busy, lock };
            Product {
                origin: Origin::Executed,
                environment: made.environment,
                seconds: made.seconds,
                left: made.left,
                place,
            }
        });
        match (product, planted) {
            (product, None) => product,
            (Ok(product), Some(planted)) => Err(product.reject(planted, self.kept("rejected").as_deref())),
            (Err(_), Some(planted)) => Err(planted),
        }
    }

    /// Moves the old artifact aside, and has the command make a new one.
    fn make_in_place(
        &self,
        setting: &mut Setting<'_>,
        belongs: Place,
        root: &Path,
        repository: Option<&Path>,
    ) -> Result<MadeInPlace, Error> {
        let (artifact, resolved) = (belongs.path.clone(), belongs.resolved.clone());
        let environment = setting.describe().map_err(Error::run)?;
        let aside =
            Aside::take(belongs, root, repository).map_err(|(path, source)| Error::Aside { path, source })?;
        if let Some(old) = aside.old() {
            // Without a repository to keep it in, the old artifact is next to its place, where commands can write.
            let is_link = old.is_symlink();
            setting.reach.hidden.extend(old.canonicalize().ok().filter(|_| !is_link));
            // The paths inside it that were read-only for the first commands no longer exist.
            setting.reach.read_only.retain(|path| !path.starts_with(&resolved));
        }
        let stuck = |reason: Error| match aside.stuck() {
            None => reason,
            Some(old) => Error::NotPutBack { reason: Box::new(reason), old: old.to_path_buf() },
        };
        let mut made = self.make(setting).map_err(stuck)?;
        if aside.is_led_elsewhere() {
            return Err(stuck(Error::Redirected(artifact)));
        }
        if artifact.symlink_metadata().is_err() {
            return Err(stuck(self.explain(Error::NotProduced(artifact), &mut made)));
        }
        let left = match self.check_inputs(self.recipe) {
            Ok(left) => left,
            Err(error) => {
                let error = stuck(self.explain(error, &mut made));
                let kept = self.kept("rejected").and_then(|kept| aside.reject(&kept));
                return Err(Error::Rejected(WithSavedOutput { reason: Box::new(error), kept }));
            }
        };
        Ok(MadeInPlace { environment, seconds: made.seconds, left, aside })
    }

    fn run_in_clone(&self) -> Result<Product, Error> {
        let scratch =
            Scratch::new(self.options.context.cancel()).map_err(run::Error::Scratch).map_err(Error::run)?;
        let checkout = self.checkout(scratch.path())?;
        let recipe = checkout.recipe();
        let (home, temporary) = (checkout.home()?, checkout.temporary()?);
        let in_clone = Default::default();
        let inputs = declared(recipe, recipe.directory(), &in_clone);
        let place = CommandPlace {
            work: &checkout.work(),
            own: vec![home.clone(), temporary.clone()],
            home: &home,
            inputs: inputs.into_iter().flat_map(|input| input.read()).collect(),
            caches: self.options.caches.as_deref(),
        };
        let (setting, _) = self.setting(recipe, &home, &temporary, place)?;
        let artifact = Place::of(&checkout.artifact());
        let led_elsewhere = || Error::Redirected(PathBuf::from(recipe.tables.artifact.path.get_ref()));
        let environment = setting.describe().map_err(Error::run)?;
        if !artifact.is_unchanged() {
            return Err(led_elsewhere());
        }
        checkout.remove_artifact()?;
        let mut made = self.make(&setting)?;
        // From here on, only what the command made is examined, saved or moved, not what it links to.
        if !artifact.is_unchanged() {
            return Err(self.explain(led_elsewhere(), &mut made));
        }
        if checkout.artifact().symlink_metadata().is_err() {
            let path = PathBuf::from(recipe.tables.artifact.path.get_ref());
            return Err(self.explain(Error::NotProduced(path), &mut made));
        }
        // The clone is removed, but the artifact is kept or unpacked.
        let planted = set_planted_aside(&checkout.artifact(), &Contents::default(), &[]);
        let checked = planted.map_or_else(|| self.check_inputs(recipe), Err);
        let left = checked.map_err(|error| {
            let kept = self.kept("rejected");
            let kept = kept.filter(|kept| backup::keep(&checkout.artifact(), kept));
            let reason = Box::new(self.explain(error, &mut made));
            Error::Rejected(WithSavedOutput { reason, kept })
        })?;
        let seconds = made.seconds;
        let place = ArtifactLocation::Clone { checkout: Box::new(checkout), artifact, scratch };
        Ok(Product { origin: Origin::Clean, environment, seconds, left, place })
    }

    /// A clone of the commit, with every input where the recipe expects it.
    fn checkout(&self, directory: &Path) -> Result<Checkout, Error> {
        let Some(work_tree) = work_tree(self.recipe)? else { return Err(Error::NoCode) };
        let commit = self.inputs.commit.as_deref().unwrap_or_default();
        let find = |name: &str| self.inputs.dependencies.iter().find(|input| input.name == name);
        let remote =
            find("code").and_then(|code| code.uri.as_deref()).and_then(|uri| uri.strip_prefix("git+"));
        let path = find("recipe").and_then(|recipe| recipe.uri.as_deref()).unwrap_or_default();
        let repository = Repository::Directory { root: work_tree.root(), remote };
        let checkout = Checkout::new(
            self.options.confinement.programs(),
            directory,
            &repository,
            commit,
            path,
            &self.options.context,
        )?;
        for input in declared(self.recipe, self.recipe.directory(), &self.options.data) {
            checkout.place(&input, find(&input.name).map(|input| &input.digest))?;
        }
        Ok(checkout)
    }

    fn setting<'a>(
        &'a self,
        recipe: &'a Recipe,
        home: &'a Path,
        temporary: &'a Path,
        place: CommandPlace<'_>,
    ) -> Result<(Setting<'a>, Contents), Error> {
        let (reach, contents) = reach(self.options.confinement, recipe, place)?;
        let setting = Setting {
            recipe,
            home,
            temporary,
            epoch: self.epoch,
            reach,
            confinement: self.options.confinement,
            listener: self.options.listener,
            context: &self.options.context,
        };
        Ok((setting, contents))
    }

    /// Runs the command. If it fails, its output is saved next to the archive.
    fn make(&self, setting: &Setting<'_>) -> Result<Made, Error> {
        let log = tempfile::tempfile().map_err(run::Error::Log).map_err(Error::run)?;
        match setting.make(Some(&log)) {
            Ok(ended) => Ok(Made { seconds: ended.map(|ended| ended.elapsed.as_secs_f64()), log }),
            Err(reason) if reason.is_refusal() => {
                let kept = self.keep_log(&mut Made { seconds: None, log });
                Err(Error::Run(WithSavedOutput { reason, kept }))
            }
            Err(reason) => Err(Error::run(reason)),
        }
    }

    /// Saves the output of a command that succeeded although something is wrong: it may explain the error.
    fn explain(&self, error: Error, made: &mut Made) -> Error {
        self.keep_log(made);
        error
    }

    fn keep_log(&self, made: &mut Made) -> Option<PathBuf> {
        let path = self.kept("log")?;
        keep(&mut made.log, &path).ok().map(|()| path)
    }

    /// The path of a file saved next to the archive; `None` if the archive's directory has moved.
    fn kept(&self, ending: &str) -> Option<PathBuf> {
        self.output.is_unchanged().then(|| with_ending(&self.output.path, ending))
    }

    fn check_inputs(&self, recipe: &Recipe) -> Result<Vec<String>, Error> {
        let nowhere_else = Default::default();
        let in_clone = !std::ptr::eq(recipe, self.recipe);
        let left = check_unchanged(
            recipe,
            self.inputs,
            &inputs::Options {
                data: if in_clone { &nowhere_else } else { &self.options.data },
                written: self.written,
                allow_dirty: true,
                profile: false,
                judges_age: false,
                cache: None,
                context: &self.options.context,
            },
        )?;
        Ok(left.into_iter().map(|change| change.path).collect())
    }

    /// The directory where commands work, and the repository that keeps the old artifact during the build, if there is
    /// one.
    fn work_tree(&self) -> Result<(PathBuf, Option<PathBuf>), Error> {
        let directory = self.recipe.directory();
        match work_tree(self.recipe)? {
            Some(work_tree) => Ok((work_tree.root().to_path_buf(), Some(work_tree.repository_directory()))),
            None => match directory.canonicalize() {
                Ok(root) => Ok((root, None)),
                Err(source) => Err(Error::Directory { path: directory.to_path_buf(), source }),
            },
        }
    }
}

/// Writes to a new file and renames it, so that a link that a command put at the log's path is replaced, not followed.
fn keep(log: &mut File, path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut kept = tempfile::NamedTempFile::new_in(directory)?;
    log.seek(io::SeekFrom::Start(0))?;
    io::copy(log, &mut kept)?;
    kept.persist(path)?;
    Ok(())
}

/// `PATH.ENDING`
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_os_string();
    path.push(".");
    path.push(ending);
    PathBuf::from(path)
}
