//! The programs that the commands of a project need from a home directory: interpreters, compilers and the active
//! environment.
//!
//! Commands do not see a home directory, but pyenv, uv, conda, rustup and many others install there. modelseal shows
//! the installations that PATH and the active environment name, and the targets of their links. It never shows a
//! directory that mixes programs with other files of the user, such as `~/.local`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::trail::{Trail, without_dots};
use modelseal_format::digest::{Symlinks, open_regular};

/// Names of directories that contain the programs of an installation.
const PROGRAMS: [&str; 7] = ["bin", ".bin", "sbin", "Scripts", "condabin", "libexec", "shims"];

/// The code of an installation, in a directory that may also contain other files.
const CODE_PARTS: [&str; 8] = ["bin", "sbin", "condabin", "lib", "lib32", "lib64", "libexec", "include"];

/// The other parts of an installation.
const OTHER_PARTS: [&str; 4] = ["etc", "conf", "jars", "jmods"];

/// Entries that mark a directory as an environment, or as an installation that contains nothing else.
const MARKS: [&str; 3] = ["pyvenv.cfg", "conda-meta", "shims"];

/// Data of an installation. In `~/.local`, all programs share it, and it includes keyrings.
const SHARED: &str = "share";

/// Managers that look for their toolchains below HOME, unless a variable names another place.
const MANAGERS: [(&str, &str); 5] = [
    ("ASDF_DATA_DIR", ".asdf"),
    ("MISE_DATA_DIR", ".local/share/mise"),
    ("PYENV_ROOT", ".pyenv"),
    ("RUSTUP_HOME", ".rustup"),
    ("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python"),
];

/// Maximum size of the settings of an environment, in bytes.
const LONGEST: u64 = 64 << 10;

/// Where the system keeps its own programs.
const SYSTEM: &str = "/usr";

/// Variables that name the active environment.
const ACTIVE: [&str; 2] = ["VIRTUAL_ENV", "CONDA_PREFIX"];

/// The parts of PATH, of the active environment and of toolchain managers.
#[derive(Debug, Clone, Default)]
pub(super) struct Toolchain {
    /// Readable files and directories, with links resolved.
    pub(super) places: BTreeSet<PathBuf>,
    /// What runs when the caller next types a command: directories of PATH, the targets of links in them, and
    /// environments. This includes missing directories, because creating one decides what runs.
    pub(super) guarded: BTreeSet<PathBuf>,
    /// Also guarded: the targets of links in directories of PATH, with links resolved. There are hundreds.
    pub(super) programs: BTreeSet<PathBuf>,
    /// Links in directories of PATH whose target does not exist yet.
    pub(super) dangling: Vec<PathBuf>,
    /// Links on the way to these paths, each with its target.
    pub(super) links: BTreeSet<(PathBuf, PathBuf)>,
    /// Where managers find toolchains although HOME is another directory.
    pub(super) variables: Vec<(&'static str, OsString)>,
    homes: Vec<PathBuf>,
    /// Directories of the project. Their contents do not decide which files of the caller are shown.
    projects: Vec<PathBuf>,
}

/// The result of following a path.
struct Followed {
    end: PathBuf,
    /// The path is in the project, or goes through a link of the project.
    by_project: bool,
}

impl Toolchain {
    /// Finds the toolchain of the caller, who has these home directories.
    pub(super) fn of_caller(homes: &[PathBuf], projects: &[PathBuf]) -> Self {
        let mut toolchain = Self { homes: homes.to_vec(), projects: projects.to_vec(), ..Self::default() };
        let path = std::env::var_os("PATH").unwrap_or_default();
        for directory in std::env::split_paths(&path) {
            // A relative directory depends on the working directory, so both this one and the project count.
            let is_named = directory.components().any(|part| matches!(part, Component::Normal(_)));
            let elsewhere = projects.iter().filter(|_| directory.is_relative() && is_named);
            elsewhere.for_each(|project| toolchain.add_programs(&project.join(&directory), false));
            if let Ok(here) = std::path::absolute(&directory) {
                toolchain.add_programs(&here, false);
                // A missing directory in the middle of the path may be created.
                toolchain.guarded.insert(without_dots(&here));
            }
            // bash expands a leading `~`.
            if let (Ok(rest), Some(home)) = (directory.strip_prefix("~"), std::env::home_dir()) {
                toolchain.add_programs(&home.join(rest), false);
            }
        }
        for environment in ACTIVE.iter().filter_map(std::env::var_os).map(PathBuf::from) {
            if environment.is_absolute() {
                toolchain.add_environment(&environment);
            }
        }
        toolchain.add_managers();
        toolchain
    }

    /// Adds a directory of programs, its installation, and the installations that its links lead to.
    fn add_programs(&mut self, directory: &Path, by_project: bool) {
        self.guarded.insert(directory.to_path_buf());
        let Some(followed) = self.follow(directory) else { return };
        let (directory, by_project) = (followed.end, by_project || followed.by_project);
        self.guarded.insert(directory.clone());
        if by_project && !self.is_of_project(&directory) && !is_of_programs(&directory) {
            return;
        }
        if !self.add_installation(&directory, by_project) {
            return;
        }
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let mut known = BTreeMap::new();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())) {
            if self.stays_in_system(&entry.path(), &mut known) {
                continue;
            }
            let Some(Followed { end: program, by_project }) = self.follow(&entry.path()) else {
                self.dangling.push(entry.path());
                continue;
            };
            let Some(directory) = program.parent() else { continue };
            if !self.places.contains(&program) {
                self.programs.insert(program.clone());
            }
            if !self.places.contains(&program) && (is_of_programs(directory) || !by_project) {
                // The target of a link may be a single program among other files.
                self.places.insert(program.clone());
                if is_of_programs(directory) {
                    self.add_installation(directory, by_project);
                }
            }
        }
    }

    /// Adds what belongs to a directory of programs. Returns `false` if it is already known.
    fn add_installation(&mut self, directory: &Path, by_project: bool) -> bool {
        // Programs directly in a home, among all other files, are not shown.
        if self.is_home(directory) || !self.places.insert(directory.to_path_buf()) {
            return false;
        }
        match directory.parent() {
            Some(root) if is_of_programs(directory) && !self.is_home(root) => {
                self.add_root(root, by_project && !self.is_of_project(root));
            }
            _ => {}
        }
        true
    }

    /// Adds an installation. If only the project leads to it, only its code is shown.
    fn add_root(&mut self, root: &Path, only_code: bool) {
        let base = read_settings(&root.join("pyvenv.cfg")).as_deref().and_then(base_of);
        let is_package_directory = root.file_name() == Some(OsStr::new("node_modules"));
        if is_package_directory || MARKS.iter().any(|mark| root.join(mark).exists()) {
            if !only_code {
                self.places.insert(root.to_path_buf());
            }
            self.guard_environment(root);
        }
        // An interpreter of the project that PATH names runs what is beside it.
        if self.is_of_project(root) && !directories_of_libraries(root).is_empty() {
            self.guard_environment_parts(root);
        }
        let share = (!self.is_shared(root)).then_some(SHARED);
        let more = OTHER_PARTS.iter().copied().chain(share).filter(|_| !only_code);
        let parts = CODE_PARTS.iter().copied().chain(more).map(|part| root.join(part));
        let parts: Vec<PathBuf> = parts.filter(|part| part.exists()).collect();
        self.places.extend(parts);
        if let Some(base) = base.filter(|base| is_of_programs(base)) {
            // The interpreter of an environment in the project may be there as well.
            let root_of_base = base.parent().filter(|root| self.is_of_project(root));
            if let Some(root) = root_of_base.map(Path::to_path_buf) {
                self.guard_environment_parts(&root);
            }
            self.add_programs(&base, only_code || self.is_of_project(root));
        }
    }

    fn add_environment(&mut self, environment: &Path) {
        self.guarded.insert(environment.to_path_buf());
        let Some(Followed { end: root, by_project }) = self.follow(environment) else { return };
        self.guard_environment(&root);
        // A link of the project must lead to an environment. Otherwise nothing is shown.
        let is_environment = MARKS.iter().any(|mark| root.join(mark).exists());
        if self.is_home(&root) || by_project && !self.is_of_project(&root) && !is_environment {
            return;
        }
        self.places.insert(root.clone());
        self.add_programs(&root.join("bin"), by_project);
        self.add_root(&root, false);
        self.guard_linked_packages(&root);
        if by_project || self.is_of_project(&root) {
            return;
        }
        for path in paths_of_packages(&root) {
            let leads = self.follow(&path).filter(|leads| !leads.by_project && !self.is_home(&leads.end));
            self.places.extend(leads.map(|leads| leads.end));
        }
    }

    /// Guards an environment, and also its parts in case it is the work tree.
    fn guard_environment(&mut self, root: &Path) {
        self.guard_environment_parts(root);
        self.guarded.insert(root.to_path_buf());
    }

    fn guard_environment_parts(&mut self, root: &Path) {
        let parts = MARKS.iter().chain(&CODE_PARTS).chain(&OTHER_PARTS);
        let parts = parts.map(|part| root.join(part)).filter(|part| part.exists());
        self.guarded.extend(parts);
    }

    /// Guards directories of packages that are the target of a link of the environment. A single package that is a link
    /// is installed from its source, which commands may change.
    fn guard_linked_packages(&mut self, environment: &Path) {
        for directory in directories_of_packages(environment) {
            let leads = self.follow(&directory);
            self.guarded.extend(leads.map(|leads| leads.end));
        }
    }

    fn add_managers(&mut self) {
        for (variable, usual) in MANAGERS {
            let given = std::env::var_os(variable).map(PathBuf::from);
            let usual = || self.homes.iter().map(|home| home.join(usual)).find(|path| path.is_dir());
            let Some(root) = given.or_else(usual).filter(|root| root.is_absolute()) else { continue };
            let leads = self.follow(&root).filter(|leads| !leads.by_project && !self.is_home(&leads.end));
            if let Some(leads) = leads {
                self.places.insert(leads.end);
                self.variables.push((variable, root.into_os_string()));
            }
        }
    }

    /// Records the links on a path, and returns where it leads.
    fn follow(&mut self, path: &Path) -> Option<Followed> {
        let trail = Trail::of(path).ok()?;
        let links = trail.links().map(|(path, target)| (path.to_path_buf(), target.to_path_buf()));
        let links: Vec<(PathBuf, PathBuf)> = links.collect();
        let by_project =
            self.is_of_project(trail.path()) || links.iter().any(|(link, _)| self.is_of_project(link));
        self.links.extend(links);
        Some(Followed { end: trail.end().to_path_buf(), by_project })
    }

    /// Whether a link of the system's own programs leads to another of them. Most do, all users see them, and no
    /// command changes them. `known` caches whether the path of a directory is free of links, because each directory
    /// contains many programs.
    fn stays_in_system(&self, link: &Path, known: &mut BTreeMap<PathBuf, bool>) -> bool {
        let Some(directory) = link.parent().filter(|directory| directory.starts_with(SYSTEM)) else {
            return false;
        };
        let Ok(target) = fs::read_link(link) else { return false };
        let mut leads = directory.to_path_buf();
        for part in target.components() {
            match part {
                Component::ParentDir => _ = leads.pop(),
                Component::CurDir => {}
                part => leads.push(part),
            }
        }
        let mut is_plain = |directory: &Path| {
            *known
                .entry(directory.to_path_buf())
                .or_insert_with(|| Trail::of(directory).is_ok_and(|trail| trail.links().next().is_none()))
        };
        let is_elsewhere =
            self.is_of_project(&leads) || self.homes.iter().any(|home| leads.starts_with(home));
        leads.starts_with(SYSTEM)
            && !is_elsewhere
            && is_plain(directory)
            && leads.parent().is_some_and(is_plain)
            && leads.symlink_metadata().is_ok_and(|found| !found.is_symlink())
    }

    fn is_of_project(&self, path: &Path) -> bool {
        self.projects.iter().any(|project| path.starts_with(project))
    }

    /// Whether a path is a home directory, or contains one.
    fn is_home(&self, path: &Path) -> bool {
        self.homes.iter().any(|home| home.starts_with(path))
    }

    /// Whether the `share` of an installation is where all programs keep the data of the user.
    fn is_shared(&self, root: &Path) -> bool {
        let given = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        let usual = self.homes.iter().map(|home| home.join(".local/share"));
        usual.chain(given).any(|data| data.starts_with(root.join(SHARED)))
    }
}

fn is_of_programs(directory: &Path) -> bool {
    let name = directory.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| PROGRAMS.contains(&name))
}

/// Reads a short text. Reading a pipe or a device instead would never end.
fn read_settings(path: &Path) -> Option<String> {
    let (file, _) = open_regular(path, Symlinks::Follow).ok()?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The directory of the interpreter that a virtual environment was created with.
fn base_of(settings: &str) -> Option<PathBuf> {
    let value = |line: &str| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "home").then(|| PathBuf::from(value.trim()))
    };
    settings.lines().find_map(value).filter(|path| path.is_absolute())
}

/// Directories that Python adds to its search path for packages, which are installed as links to their source.
fn paths_of_packages(environment: &Path) -> Vec<PathBuf> {
    let files = directories_of_packages(environment).into_iter().flat_map(|packages| {
        let files = entries(&packages).map(|entry| entry.path());
        files.filter(|path| path.extension() == Some(OsStr::new("pth"))).collect::<Vec<_>>()
    });
    let texts = files.filter_map(|path| read_settings(&path));
    let lines = |text: String| text.lines().map(|line| PathBuf::from(line.trim())).collect::<Vec<_>>();
    texts.flat_map(lines).filter(|path| path.is_absolute() && path.is_dir()).collect()
}

/// The directories of packages in an environment, for each version of Python.
fn directories_of_packages(environment: &Path) -> Vec<PathBuf> {
    let versions = entries(&environment.join("lib")).map(|entry| entry.path().join("site-packages"));
    versions.filter(|packages| packages.is_dir()).collect()
}

/// Where an installation keeps the standard library, for each version of Python.
fn directories_of_libraries(installation: &Path) -> Vec<PathBuf> {
    let versions = entries(&installation.join("lib")).map(|entry| entry.path());
    versions.filter(|library| library.join("os.py").is_file()).collect()
}

fn entries(directory: &Path) -> impl Iterator<Item = fs::DirEntry> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests;
