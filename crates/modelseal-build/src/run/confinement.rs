//! What is decided before the first command of a project runs, for all of its commands.
//!
//! A build runs several commands, and each may prepare the ground for the next: move a directory away, put
//! another program on PATH, make the sandbox fail. So nothing that a command could have changed is looked up
//! again: programs have their paths, hidden files their identity, and whether there is a sandbox is known.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::cleanup::{Cleanup, Kind};
use super::homes::{homes, shared_directories};
use super::mounts::{Mounts, OtherNames};
use super::programs::Programs;
use super::sandbox::{self, Sandbox};
use super::sockets::open_sockets;
use super::toolchain::Toolchain;
use super::trail::{Missing, Trail};
use super::view::{Access, View};
use super::{Error, Isolation};

/// What a [`Confinement`] is for.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Directories of the project: modelseal starts no program from there.
    pub projects: Vec<PathBuf>,
    /// Directories that the caller lets commands write to, whatever they are.
    pub allowed: Vec<PathBuf>,
    /// Files and directories that seem empty to every command: keys. They have to be there.
    pub hidden: Vec<PathBuf>,
    /// Directories that seem empty as well, in which files may have other names elsewhere.
    pub emptied: Vec<PathBuf>,
    /// Other paths of the caller: a command must not lead them elsewhere.
    pub held: Vec<PathBuf>,
    /// Variables that hold a key: they never reach a command, whatever a recipe or a manifest says.
    pub withheld: Vec<String>,
    /// Run commands without isolation even where it is demanded.
    pub insecure_no_isolation: bool,
}

/// How the commands of one build, rebuild or probing are kept in.
#[derive(Debug, Clone)]
pub struct Confinement {
    mounts: Mounts,
    programs: Programs,
    /// Links resolved, under all their names.
    projects: Vec<PathBuf>,
    allowed: Vec<Trail>,
    withheld: Vec<String>,
    insecure_no_isolation: bool,
    homes: Vec<PathBuf>,
    /// Where else parts of homes can be found.
    home_parts: Vec<PathBuf>,
    toolchain: Toolchain,
    hidden: Vec<Trail>,
    held: Vec<(Trail, Option<Missing>)>,
    works: OnceLock<Works>,
}

/// Whether there is a sandbox; if not, what the system says.
#[derive(Debug, Clone)]
struct Works {
    with_network: Result<(), String>,
    without_network: Result<(), String>,
}

impl Confinement {
    /// Looks at the machine as it is before the first command.
    ///
    /// # Errors
    /// [`Error::Hidden`]: something that is to be hidden cannot be.
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
        // Whatever name a mount gives to a key.
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

    /// `isolation`, or none at all if the caller gave it up.
    pub fn isolation(&self, isolation: Isolation) -> Isolation {
        if self.insecure_no_isolation { Isolation::Never } else { isolation }
    }

    /// Whether a command may have this variable of the caller.
    pub fn passes(&self, variable: &str) -> bool {
        !variable.starts_with("MODELSEAL_") && !self.withheld.iter().any(|name| name == variable)
    }

    /// Directories that the caller lets commands write to.
    pub fn allowed(&self) -> &[Trail] {
        &self.allowed
    }

    /// Variables by which managers of toolchains find what they have installed.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &std::ffi::OsStr)> {
        self.toolchain.variables.iter().map(|(name, value)| (*name, value.as_os_str()))
    }

    /// Files and directories that are hidden from every command, links resolved.
    pub fn hidden(&self) -> impl Iterator<Item = &Path> {
        let is_home = |path: &Path| self.homes.iter().any(|home| home == path);
        self.hidden.iter().map(Trail::end).filter(move |path| !is_home(path))
    }

    /// Whether a path in this directory is hidden from commands, or lies in a home that the directory holds.
    pub fn hides(&self, path: &Path, directory: &Path) -> bool {
        let homes = self
            .homes
            .iter()
            .map(PathBuf::as_path)
            .filter(|home| home.starts_with(directory) && *home != directory);
        self.hidden().chain(homes).any(|hidden| path.starts_with(hidden))
    }

    /// Links in directories of PATH whose target is not there and would lie in a directory.
    pub fn waiting_links(&self, directory: &Path) -> Vec<PathBuf> {
        let waits = |link: &&PathBuf| match Trail::as_far_as_it_leads(link) {
            Ok((_, Some(missing))) => missing.place.starts_with(directory),
            _ => false,
        };
        self.toolchain.dangling.iter().filter(waits).cloned().collect()
    }

    /// What is hidden from commands and is this path, lies in it, or holds it. Links are followed.
    pub fn hidden_at(&self, path: &Path) -> Option<PathBuf> {
        let path = path.canonicalize().ok()?;
        let overlaps = |hidden: &&Path| path.starts_with(hidden) || hidden.starts_with(&path);
        self.hidden().find(overlaps).map(Path::to_path_buf)
    }

    /// Whether a path is hidden from commands, or lies in a home and not in the project, nor where Hugging Face keeps
    /// models.
    pub fn is_private(&self, path: &Path) -> bool {
        let is_in_home = self.homes.iter().chain(&self.home_parts).any(|home| path.starts_with(home));
        let mut public = self.projects.iter().cloned().chain(model_caches(&self.homes));
        self.hidden().any(|hidden| path.starts_with(hidden))
            || is_in_home && !public.any(|public| path.starts_with(public))
    }

    /// What the caller runs later: directories on PATH, environments, and what is linked to from there.
    pub fn guarded(&self) -> impl Iterator<Item = &Path> {
        let all = self.toolchain.guarded.iter().chain(&self.toolchain.programs);
        let all: BTreeSet<&Path> = all.map(PathBuf::as_path).collect();
        all.clone().into_iter().filter(move |path| !self.allows(path, &all))
    }

    /// Whether everything that is hidden is what it was before the first command, and lies where it lay.
    ///
    /// # Errors
    /// [`Error::Moved`]: what is there now may be a decoy.
    pub fn check(&self) -> Result<(), Error> {
        match self.hidden.iter().find(|trail| !trail.is_unchanged()) {
            Some(trail) => Err(Error::Moved(trail.path().to_path_buf())),
            None => Ok(()),
        }
    }

    /// Whether commands with or without the network run in a sandbox, where one is not demanded.
    pub fn isolates(&self, network: bool) -> bool {
        !self.insecure_no_isolation && self.works(network).is_ok()
    }

    /// Which of these files and directories are seen by commands that work in `work` and read `inputs`.
    pub fn shown(&self, paths: Vec<PathBuf>, work: &[PathBuf], inputs: &[PathBuf]) -> Vec<PathBuf> {
        let trails = |paths: &[PathBuf]| paths.iter().flat_map(|path| Trail::of(path)).collect::<Vec<_>>();
        let writable = [trails(work), self.allowed.clone()].concat();
        let sandbox = Sandbox { writable, readable: trails(inputs), ..Sandbox::default() };
        let view = self.view(&sandbox).ok().filter(|_| self.isolates(true));
        let is_shown = |path: &PathBuf| match (Trail::of(path), &view) {
            (Ok(trail), Some(view)) => view.shows(trail.end()),
            // One that is not there now may come.
            _ => true,
        };
        paths.into_iter().filter(is_shown).collect()
    }

    /// Whether a command can run as another user.
    pub fn can_change_user(&self, user: u32) -> bool {
        let sandbox = Sandbox { network: true, user: Some(user), ..Sandbox::default() };
        !self.insecure_no_isolation && sandbox::try_out(self, &sandbox).is_ok()
    }

    /// Whether there is a sandbox, as it was found before the first command.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn works(&self, network: bool) -> &Result<(), String> {
        let works = self.works.get_or_init(|| {
            let with = |network| sandbox::try_out(self, &Sandbox { network, ..Sandbox::default() });
            match with(false) {
                Ok(()) => Works { with_network: Ok(()), without_network: Ok(()) },
                without_network => Works { with_network: with(true), without_network },
            }
        });
        if network { &works.with_network } else { &works.without_network }
    }

    /// Whether the caller lets commands write there: to this very directory, or to one like it around it.
    fn allows(&self, path: &Path, guarded: &BTreeSet<&Path>) -> bool {
        let allowed = self.allowed.iter().flat_map(|allowed| [allowed.end(), allowed.path()]);
        allowed
            .into_iter()
            .any(|allowed| allowed == path || path.starts_with(allowed) && guarded.contains(allowed))
    }

    /// A home cannot be shown and hidden; it is shown if the caller says so.
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

    /// Keeps a command from what the caller runs later, and from services, in what it sees.
    ///
    /// # Errors
    /// [`Error::Hidden`]: it cannot be seen what there is.
    pub(super) fn guard(&self, view: &mut View, sandbox: &Sandbox) -> Result<Cleanup, Error> {
        let mut cleanup = Cleanup::default();
        let names = OtherNames::of(&self.mounts, sandbox.writable.iter().map(Trail::end));
        // Their links are resolved: most are plainly out of reach.
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
            // Under the names by which a command can write there.
            for path in names.of_path(path).into_iter().chain(self.mounts.other_names(path)) {
                cleanup.guard(view, &path, kind, &sandbox.writable)?;
            }
        }
        for (link, target) in &self.toolchain.links {
            cleanup.hold(view, link, target);
        }
        // What the caller named leads where it led, for the next build as well.
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

/// Where Hugging Face keeps the models that it has fetched.
fn model_caches(homes: &[PathBuf]) -> Vec<PathBuf> {
    let given = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let usual = homes.iter().map(|home| home.join(".cache/huggingface/hub"));
    let named = given("HF_HUB_CACHE").into_iter().chain(given("HF_HOME").map(|home| home.join("hub")));
    usual.chain(named).filter_map(|path| path.canonicalize().ok()).collect()
}

/// Whether nothing is there; where nobody can look, something may be.
fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Whether a path leads through or into one of these directories, which have their links resolved.
pub fn leads_into(path: &Path, directories: &[PathBuf]) -> bool {
    Trail::of(path).is_ok_and(|trail| directories.iter().any(|directory| trail.enters(directory)))
}

/// The first link on the way of a path that a command can have made, and where the path leads; `None` if there is none.
pub fn link_of_commands(path: &Path, is_theirs: impl Fn(&Path) -> bool) -> Option<(PathBuf, PathBuf)> {
    let (Ok((trail, missing)) | Err((trail, missing))) =
        Trail::as_far_as_it_leads(path).map_err(|(trail, _)| (trail, None));
    let link = trail.links().map(|(link, _)| link).find(|link| is_theirs(link))?.to_path_buf();
    let end = missing.map_or(trail.end().to_path_buf(), |missing| missing.place);
    Some((link, end))
}

/// Notes where something hidden lies.
fn follow(path: &Path) -> Result<Trail, Error> {
    Trail::of(path).map_err(|source| Error::Hidden { path: path.to_path_buf(), source })
}

/// A hidden file, or one in a hidden directory, with several names would be visible under the others.
fn check_names(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    let files = walkdir::WalkDir::new(path).into_iter().flatten();
    let mut files = files.filter(|entry| entry.file_type().is_file());
    match files.find(|file| file.metadata().is_ok_and(|metadata| metadata.nlink() > 1)) {
        None => Ok(()),
        Some(file) => {
            let name = modelseal_format::display::path(file.path());
            let message =
                format!("{name} has a second name (a hard link), under which commands could read it");
            Err(Error::Hidden { path: path.to_path_buf(), source: std::io::Error::other(message) })
        }
    }
}
