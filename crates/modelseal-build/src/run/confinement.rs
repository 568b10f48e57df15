//! The decisions that are made before the first command of a project runs, for all of its commands.
//!
//! A build runs several commands, and each could prepare an attack through the next: move a directory away, put another
//! program on PATH, make the sandbox fail. So nothing that a command could have changed is looked up again: the paths
//! of programs, the identity of hidden files, and whether a sandbox works are already known.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::bubblewrap::try_out;
use super::cleanup::{Cleanup, Kind};
use super::homes::{homes, shared_directories};
use super::mounts::{Mounts, OtherNames};
use super::programs::Programs;
use super::sandbox::Sandbox;
use super::sockets::open_sockets;
use super::toolchain::Toolchain;
use super::trail::{Missing, Trail};
use super::view::{Access, View};
use super::{Error, Isolation};

/// The input of a [`Confinement`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Scope {
    /// Directories of the project. modelseal starts no program from them.
    pub projects: Vec<PathBuf>,
    /// Directories of any kind that the caller lets commands write to.
    pub allowed: Vec<PathBuf>,
    /// Files and directories with keys, which appear empty to every command. They must exist.
    pub hidden: Vec<PathBuf>,
    /// More directories that appear empty. Files in them may have other names elsewhere.
    pub emptied: Vec<PathBuf>,
    /// Other paths of the caller. A command must not redirect them.
    pub held: Vec<PathBuf>,
    /// Variables that contain a key. They never reach a command, even if a recipe or a manifest names them.
    pub withheld: Vec<String>,
    /// What is in hidden files and variables, each with a name for messages.
    pub secrets: Vec<(String, Secret)>,
    /// Run commands without isolation even if isolation is demanded.
    pub insecure_no_isolation: bool,
}

impl Scope {
    /// The commands of one project, away from the homes of all users and from nothing else.
    pub fn new(project: impl Into<PathBuf>) -> Self {
        Self { projects: vec![project.into()], ..Self::default() }
    }

    /// The same, away from this file or directory with a key as well.
    #[must_use]
    pub fn hide(mut self, key: impl Into<PathBuf>) -> Self {
        self.hidden.push(key.into());
        self
    }
}

/// Bytes that nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("…")
    }
}

/// How the commands of one build, rebuild or probing are confined.
#[derive(Debug, Clone)]
pub struct Confinement {
    mounts: Mounts,
    programs: Programs,
    /// With links resolved, under all their names.
    projects: Vec<PathBuf>,
    allowed: Vec<Trail>,
    withheld: Vec<String>,
    secrets: Vec<(String, Secret)>,
    insecure_no_isolation: bool,
    homes: Vec<PathBuf>,
    /// Other places where parts of homes can be found.
    home_parts: Vec<PathBuf>,
    toolchain: Toolchain,
    hidden: Vec<Trail>,
    held: Vec<(Trail, Option<Missing>)>,
    works: OnceLock<Works>,
}

/// Whether a sandbox works. If not, contains the message of the system.
#[derive(Debug, Clone)]
struct Works {
    with_network: Result<(), String>,
    without_network: Result<(), String>,
}

impl Confinement {
    /// Examines the machine before the first command runs.
    ///
    /// # Errors
    /// [`Error::Hidden`] if something cannot be hidden.
    pub fn new(scope: Scope) -> Result<Self, Error> {
        let mounts = Mounts::read();
        let resolve = |paths: &[PathBuf]| -> Vec<PathBuf> {
            paths.iter().filter_map(|path| path.canonicalize().ok()).collect()
        };
        let allowed: Vec<Trail> = scope.allowed.iter().flat_map(|path| Trail::of(path)).collect();
        let ends = allowed.iter().map(|trail| trail.end().to_path_buf());
        let mut untrusted: Vec<PathBuf> = resolve(&scope.projects).into_iter().chain(ends).collect();
        untrusted.extend(untrusted.iter().flat_map(|path| mounts.other_names(path)).collect::<Vec<_>>());
        let mut homes = homes(&untrusted);
        homes.extend(homes.iter().flat_map(|home| mounts.other_names(home)).collect::<Vec<_>>());
        // A mount can give another name to a key.
        let resolved = resolve(&scope.hidden);
        let emptied = resolve(&scope.emptied);
        let others =
            resolved.iter().chain(&emptied).flat_map(|path| mounts.other_names(path)).collect::<Vec<_>>();
        let given = scope.hidden.iter().chain(&scope.emptied);
        let hidden = given.chain(&others).chain(&homes).map(|path| follow(path));
        let hidden = hidden.collect::<Result<Vec<_>, _>>()?;
        resolved.iter().try_for_each(|path| check_names(path))?;
        Ok(Self {
            programs: Programs::new(&untrusted),
            hidden,
            held: scope.held.iter().flat_map(|path| Trail::as_far_as_it_leads(path)).collect(),
            toolchain: Toolchain::of_caller(&homes, &untrusted),
            projects: untrusted,
            allowed,
            withheld: scope.withheld,
            secrets: scope.secrets,
            insecure_no_isolation: scope.insecure_no_isolation,
            home_parts: homes.iter().flat_map(|home| mounts.parts_elsewhere(home)).collect(),
            homes,
            mounts,
            works: OnceLock::new(),
        })
    }

    /// The mounts as they were before the first command.
    pub(super) fn mounts(&self) -> &Mounts {
        &self.mounts
    }

    /// The programs that are started outside of a sandbox.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Returns `isolation`, or [`Isolation::Never`] if the caller disabled isolation.
    pub fn isolation(&self, isolation: Isolation) -> Isolation {
        if self.insecure_no_isolation { Isolation::Never } else { isolation }
    }

    /// Whether a command may receive this variable of the caller.
    pub fn passes(&self, variable: &str) -> bool {
        !variable.starts_with("MODELSEAL_") && !self.withheld.iter().any(|name| name == variable)
    }

    /// Directories of the project, links resolved, under all their names.
    pub fn projects(&self) -> &[PathBuf] {
        &self.projects
    }

    /// What no repository that commands see may have, each with a name for messages.
    pub fn secrets(&self) -> &[(String, Secret)] {
        &self.secrets
    }

    /// Directories that the caller lets commands write to.
    pub fn allowed(&self) -> &[Trail] {
        &self.allowed
    }

    /// Variables by which toolchain managers find what they have installed.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &std::ffi::OsStr)> {
        self.toolchain.variables.iter().map(|(name, value)| (*name, value.as_os_str()))
    }

    /// Files and directories that are hidden from every command, with links resolved.
    pub fn hidden(&self) -> impl Iterator<Item = &Path> {
        let is_home = |path: &Path| self.homes.iter().any(|home| home == path);
        self.hidden.iter().map(Trail::end).filter(move |path| !is_home(path))
    }

    /// Whether a path in `directory` is hidden from commands, or is in a home that `directory` contains.
    pub fn hides(&self, path: &Path, directory: &Path) -> bool {
        let homes = self
            .homes
            .iter()
            .map(PathBuf::as_path)
            .filter(|home| home.starts_with(directory) && *home != directory);
        self.hidden().chain(homes).any(|hidden| path.starts_with(hidden))
    }

    /// Links in directories of PATH whose target does not exist and would be in `directory`.
    pub fn waiting_links(&self, directory: &Path) -> Vec<PathBuf> {
        let waits = |link: &&PathBuf| match Trail::as_far_as_it_leads(link) {
            Ok((_, Some(missing))) => missing.place.starts_with(directory),
            _ => false,
        };
        self.toolchain.dangling.iter().filter(waits).cloned().collect()
    }

    /// Returns the hidden path that is this path, is in it, or contains it. Follows links.
    pub fn hidden_at(&self, path: &Path) -> Option<PathBuf> {
        let path = path.canonicalize().ok()?;
        let overlaps = |hidden: &&Path| path.starts_with(hidden) || hidden.starts_with(&path);
        self.hidden().find(overlaps).map(Path::to_path_buf)
    }

    /// Whether a path is hidden from commands, or is in a home but neither in the project nor in a model cache of
    /// Hugging Face.
    pub fn is_private(&self, path: &Path) -> bool {
        let is_in_home = self.homes.iter().chain(&self.home_parts).any(|home| path.starts_with(home));
        let mut public = self.projects.iter().cloned().chain(model_caches(&self.homes));
        self.hidden().any(|hidden| path.starts_with(hidden))
            || is_in_home && !public.any(|public| path.starts_with(public))
    }

    /// What the caller runs later: directories on PATH, environments, and the targets of links in them.
    pub fn guarded(&self) -> impl Iterator<Item = &Path> {
        let all = self.toolchain.guarded.iter().chain(&self.toolchain.programs);
        let all: BTreeSet<&Path> = all.map(PathBuf::as_path).collect();
        all.clone().into_iter().filter(move |path| !self.allows(path, &all))
    }

    /// Checks that everything hidden is unchanged since before the first command, and in the same place.
    ///
    /// # Errors
    /// [`Error::Moved`] if something changed. What is there now may be a decoy.
    pub fn check(&self) -> Result<(), Error> {
        match self.hidden.iter().find(|trail| !trail.is_unchanged()) {
            Some(trail) => Err(Error::Moved(trail.path().to_path_buf())),
            None => Ok(()),
        }
    }

    /// Whether commands with or without the network run in a sandbox if none is demanded.
    pub fn isolates(&self, network: bool) -> bool {
        !self.insecure_no_isolation && self.works(network).is_ok()
    }

    /// Returns those files and directories that are visible to commands that work in `work` and read `inputs`.
    pub fn shown(&self, paths: Vec<PathBuf>, work: &[PathBuf], inputs: &[PathBuf]) -> Vec<PathBuf> {
        let trails = |paths: &[PathBuf]| paths.iter().flat_map(|path| Trail::of(path)).collect::<Vec<_>>();
        let writable = [trails(work), self.allowed.clone()].concat();
        let sandbox = Sandbox { writable, readable: trails(inputs), ..Sandbox::default() };
        let view = self.view(&sandbox).ok().filter(|_| self.isolates(true));
        let is_shown = |path: &PathBuf| match (Trail::of(path), &view) {
            (Ok(trail), Some(view)) => view.shows(trail.end()),
            // A path that does not exist yet may be created.
            _ => true,
        };
        paths.into_iter().filter(is_shown).collect()
    }

    /// Whether a command can run as another user.
    pub fn can_change_user(&self, user: u32) -> bool {
        let sandbox = Sandbox { network: true, user: Some(user), ..Sandbox::default() };
        !self.insecure_no_isolation && try_out(&self.programs, &sandbox).is_ok()
    }

    /// Whether a sandbox works. Determined once, before the first command.
    ///
    /// # Errors
    /// The message of the system.
    pub(super) fn works(&self, network: bool) -> &Result<(), String> {
        let works = self.works.get_or_init(|| {
            let with = |network| try_out(&self.programs, &Sandbox { network, ..Sandbox::default() });
            match with(false) {
                Ok(()) => Works { with_network: Ok(()), without_network: Ok(()) },
                without_network => Works { with_network: with(true), without_network },
            }
        });
        if network { &works.with_network } else { &works.without_network }
    }

    /// Whether the caller lets commands write to exactly this path, or to another guarded directory around it.
    fn allows(&self, path: &Path, guarded: &BTreeSet<&Path>) -> bool {
        let allowed = self.allowed.iter().flat_map(|allowed| [allowed.end(), allowed.path()]);
        allowed
            .into_iter()
            .any(|allowed| allowed == path || path.starts_with(allowed) && guarded.contains(allowed))
    }

    /// Refuses to show a home directory, because it cannot be both shown and hidden, unless the caller allows it.
    fn check_home(&self, path: &Path) -> Result<(), Error> {
        let is_home = self.homes.iter().any(|home| home == path);
        let is_allowed = self.allowed.iter().any(|allowed| path.starts_with(allowed.end()));
        if is_home && !is_allowed { Err(Error::Home(path.to_path_buf())) } else { Ok(()) }
    }

    /// What a command sees in this sandbox.
    pub(super) fn view(&self, sandbox: &Sandbox) -> Result<View, Error> {
        let mut view = View::default();
        shared_directories().into_iter().for_each(|path| view.add(path, Access::Private));
        let emptied = self.homes.iter().chain(&self.home_parts).chain(&sandbox.emptied);
        emptied.for_each(|path| view.add(path, Access::Empty));
        let system =
            ["/etc/resolv.conf", "/run/opengl-driver"].iter().flat_map(|path| Trail::of(Path::new(path)));
        for trail in sandbox.readable.iter().chain(&system.collect::<Vec<_>>()) {
            self.check_home(trail.end())?;
            for (link, target) in trail.links() {
                view.add(link, Access::Link(target.to_path_buf()));
            }
            view.add(trail.end(), Access::Readable);
        }
        for place in &sandbox.writable {
            self.check_home(place.end())?;
            view.add(place.end(), Access::Writable);
        }
        for (at, kept) in &sandbox.caches {
            view.add(at.end(), Access::Kept(kept.end().to_path_buf()));
        }
        for (link, target) in &self.toolchain.links {
            view.add(link, Access::Link(target.clone()));
        }
        self.toolchain.places.iter().for_each(|path| view.add(path, Access::Readable));
        let hidden = sandbox.hidden.iter().map(PathBuf::as_path).filter(|path| !is_missing(path));
        self.hidden().chain(hidden).for_each(|path| view.add(path, Access::Hidden));
        Ok(view)
    }

    /// Removes access to services, and write access to what the caller runs later, from a command's view.
    ///
    /// # Errors
    /// [`Error::Hidden`] if a directory cannot be examined.
    pub(super) fn guard(&self, view: &mut View, sandbox: &Sandbox) -> Result<Cleanup, Error> {
        let mut cleanup = Cleanup::default();
        let names = OtherNames::of(&self.mounts, sandbox.writable.iter().map(Trail::end));
        // Links in these paths are resolved, and most are clearly out of reach.
        let is_near = |path: &&PathBuf| {
            let others = || names.of_path(path).into_iter().chain(self.mounts.other_names(path));
            view.is_writable(path) || others().any(|other| view.is_writable(&other))
        };
        let programs: Vec<&PathBuf> = self.toolchain.programs.iter().filter(is_near).collect();
        let guarded = self.toolchain.guarded.iter().chain(programs).chain(&sandbox.read_only);
        let all: BTreeSet<&Path> = guarded.clone().map(PathBuf::as_path).collect();
        let guarded = guarded.map(|path| (path, Kind::Directory));
        let files = sandbox.read_only_files.iter().map(|path| (path, Kind::File));
        for (path, kind) in guarded.chain(files).filter(|(path, _)| !self.allows(path, &all)) {
            cleanup.guard(view, path, kind, &sandbox.writable)?;
            // Guard the other names under which a command can write there.
            for path in names.of_path(path).into_iter().chain(self.mounts.other_names(path)) {
                cleanup.guard(view, &path, kind, &sandbox.writable)?;
            }
        }
        for (link, target) in &self.toolchain.links {
            cleanup.hold(view, link, target);
        }
        // The paths that the caller named must keep their targets, also for the next build.
        let held = self.held.iter().map(|(trail, _)| trail);
        let named = self.hidden.iter().chain(held.clone()).chain(&self.allowed).chain(&sandbox.readable);
        for (link, target) in named.chain(&sandbox.own_inputs).flat_map(Trail::links) {
            cleanup.hold(view, link, target);
        }
        let missing =
            self.held.iter().flat_map(|(_, missing)| missing).map(|missing| missing.place.as_path());
        let places = held.chain(&sandbox.own_inputs).flat_map(Trail::places).chain(missing);
        cleanup.places.extend(places.filter(|place| view.is_writable(place)).map(Path::to_path_buf));
        cleanup.writable.extend(sandbox.writable.iter().map(|trail| trail.end().to_path_buf()));
        let is_allowed = |path: &Path| self.allowed.iter().any(|allowed| path.starts_with(allowed.end()));
        let sockets = open_sockets(&self.mounts, |directory| {
            view.shows(directory) && (!view.is_writable(directory) || is_allowed(directory))
        });
        sockets.into_iter().for_each(|path| view.add(path, Access::Hidden));
        Ok(cleanup)
    }
}

/// The directories where Hugging Face keeps fetched models.
fn model_caches(homes: &[PathBuf]) -> Vec<PathBuf> {
    let given = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let usual = homes.iter().map(|home| home.join(".cache/huggingface/hub"));
    let named = given("HF_HUB_CACHE").into_iter().chain(given("HF_HOME").map(|home| home.join("hub")));
    usual.chain(named).filter_map(|path| path.canonicalize().ok()).collect()
}

/// Whether nothing is there. A path that cannot be examined may exist.
fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Whether a path exists and leads through or into one of these directories. `directories` must have their links
/// resolved.
pub fn leads_into(path: &Path, directories: &[PathBuf]) -> bool {
    Trail::of(path).is_ok_and(|trail| directories.iter().any(|directory| trail.enters(directory)))
}

/// Like [`leads_into`], for a path that may not exist yet: then the part of it that exists decides.
pub fn would_lead_into(path: &Path, directories: &[PathBuf]) -> bool {
    path.ancestors().find(|above| above.exists()).is_some_and(|above| leads_into(above, directories))
}

/// Returns the first link on a path that a command can have created, and where the path leads. `None` if there is no
/// such link.
pub fn link_of_commands(path: &Path, is_theirs: impl Fn(&Path) -> bool) -> Option<(PathBuf, PathBuf)> {
    let (Ok((trail, missing)) | Err((trail, missing))) =
        Trail::as_far_as_it_leads(path).map_err(|(trail, _)| (trail, None));
    let link = trail.links().map(|(link, _)| link).find(|link| is_theirs(link))?.to_path_buf();
    let end = missing.map_or(trail.end().to_path_buf(), |missing| missing.place);
    Some((link, end))
}

/// Records where a hidden path is.
fn follow(path: &Path) -> Result<Trail, Error> {
    Trail::of(path).map_err(|source| Error::Hidden { path: path.to_path_buf(), source })
}

/// Refuses a hidden file, or a file in a hidden directory, that has several names. It would be visible under the
/// others.
fn check_names(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    let files = walkdir::WalkDir::new(path).into_iter().flatten();
    let mut files = files.filter(|entry| entry.file_type().is_file());
    match files.find(|file| file.metadata().is_ok_and(|metadata| metadata.nlink() > 1)) {
        None => Ok(()),
        Some(file) => {
            let name = modelseal_format::display::path(file.path());
            let message =
                format!("{name} has another name (a hard link), through which commands could read it");
            Err(Error::Hidden { path: path.to_path_buf(), source: std::io::Error::other(message) })
        }
    }
}
