//! What the commands of a project are made of that lies in a home directory: interpreters, compilers and the
//! active environment.
//!
//! A home directory is out of sight for commands, but pyenv, uv, conda, rustup and many others install there.
//! Shown are the installations that PATH and the active environment name, and what they link to; never a
//! directory in which programs lie beside somebody's other files, as they do in `~/.local`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::trail::{Trail, without_dots};
use modelseal_format::digest::{Symlinks, open_regular};

/// Names of directories that hold the programs of an installation.
const PROGRAMS: [&str; 7] = ["bin", ".bin", "sbin", "Scripts", "condabin", "libexec", "shims"];

/// Code of an installation, where the directory may hold something else as well.
const CODE_PARTS: [&str; 8] = ["bin", "sbin", "condabin", "lib", "lib32", "lib64", "libexec", "include"];

/// What else belongs to it.
const OTHER_PARTS: [&str; 4] = ["etc", "conf", "jars", "jmods"];

/// What makes a directory an environment, or an installation that holds nothing else.
const MARKS: [&str; 3] = ["pyvenv.cfg", "conda-meta", "shims"];

/// Data of an installation. In `~/.local` it is everybody's, keyrings included.
const SHARED: &str = "share";

/// Managers of toolchains that look for them below HOME, unless a variable says where they are.
const MANAGERS: [(&str, &str); 5] = [
    ("ASDF_DATA_DIR", ".asdf"),
    ("MISE_DATA_DIR", ".local/share/mise"),
    ("PYENV_ROOT", ".pyenv"),
    ("RUSTUP_HOME", ".rustup"),
    ("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python"),
];

/// No settings of an environment are longer, in bytes.
const LONGEST: u64 = 64 << 10;

/// Where the system keeps its own programs.
const SYSTEM: &str = "/usr";

/// Variables that name the active environment.
const ACTIVE: [&str; 2] = ["VIRTUAL_ENV", "CONDA_PREFIX"];

/// What PATH, the active environment and managers of toolchains consist of.
#[derive(Debug, Clone, Default)]
pub(super) struct Toolchain {
    /// Files and directories to read, links resolved.
    pub(super) places: BTreeSet<PathBuf>,
    /// What runs when the caller next types a command: directories of PATH, what is linked to from there, and
    /// environments. Directories that are not there are among them: whoever makes one decides what runs.
    pub(super) guarded: BTreeSet<PathBuf>,
    /// Guarded as well: what links in directories of PATH lead to, links resolved. There are hundreds.
    pub(super) programs: BTreeSet<PathBuf>,
    /// Links in directories of PATH that lead nowhere yet.
    pub(super) dangling: Vec<PathBuf>,
    /// Links that lead there, each with what it says.
    pub(super) links: BTreeSet<(PathBuf, PathBuf)>,
    /// Where managers find toolchains, although HOME is another directory.
    pub(super) variables: Vec<(&'static str, OsString)>,
    homes: Vec<PathBuf>,
    /// Directories of the project: what lies there does not choose which files of the caller are shown.
    projects: Vec<PathBuf>,
}

/// Where a path leads.
struct Followed {
    end: PathBuf,
    /// It lies in the project, or a link of the project is on the way.
    by_project: bool,
}

impl Toolchain {
    /// That of the caller, whose home directories these are.
    pub(super) fn of_caller(homes: &[PathBuf], projects: &[PathBuf]) -> Self {
        let mut toolchain = Self { homes: homes.to_vec(), projects: projects.to_vec(), ..Self::default() };
        let path = std::env::var_os("PATH").unwrap_or_default();
        for directory in std::env::split_paths(&path) {
            // A relative one means another directory wherever its owner goes: here, and in the project.
            let is_named = directory.components().any(|part| matches!(part, Component::Normal(_)));
            let elsewhere = projects.iter().filter(|_| directory.is_relative() && is_named);
            elsewhere.for_each(|project| toolchain.add_programs(&project.join(&directory), false));
            if let Ok(here) = std::path::absolute(&directory) {
                toolchain.add_programs(&here, false);
                // A directory in the middle of the path that is not there may come.
                toolchain.guarded.insert(without_dots(&here));
            }
            // As bash reads it.
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

    /// A directory of programs, with the installation that it belongs to, and those that its links lead to.
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
                // What is linked to may lie alone among other files.
                self.places.insert(program.clone());
                if is_of_programs(directory) {
                    self.add_installation(directory, by_project);
                }
            }
        }
    }

    /// What belongs to a directory of programs; false if it is known already.
    fn add_installation(&mut self, directory: &Path, by_project: bool) -> bool {
        // Programs that lie in a home itself, among everything else, are not shown.
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

    /// An installation. Of one to which only the project leads, the code is shown and nothing else.
    fn add_root(&mut self, root: &Path, only_code: bool) {
        let base = read_settings(&root.join("pyvenv.cfg")).as_deref().and_then(base_of);
        let is_package_directory = root.file_name() == Some(OsStr::new("node_modules"));
        if is_package_directory || MARKS.iter().any(|mark| root.join(mark).exists()) {
            if !only_code {
                self.places.insert(root.to_path_buf());
            }
            self.guard_environment(root);
        }
        let share = (!self.is_shared(root)).then_some(SHARED);
        let more = OTHER_PARTS.iter().copied().chain(share).filter(|_| !only_code);
        let parts = CODE_PARTS.iter().copied().chain(more).map(|part| root.join(part));
        let parts: Vec<PathBuf> = parts.filter(|part| part.exists()).collect();
        self.places.extend(parts);
        if let Some(base) = base.filter(|base| is_of_programs(base)) {
            // The interpreter of an environment in the project may lie there as well.
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
        // A link of the project leads to an environment, or to nothing that is shown.
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

    /// An environment, and its parts for the case that the work tree is one.
    fn guard_environment(&mut self, root: &Path) {
        self.guard_environment_parts(root);
        self.guarded.insert(root.to_path_buf());
    }

    fn guard_environment_parts(&mut self, root: &Path) {
        let parts = MARKS.iter().chain(&CODE_PARTS).chain(&OTHER_PARTS);
        let parts = parts.map(|part| root.join(part)).filter(|part| part.exists());
        self.guarded.extend(parts);
    }

    /// Directories of packages to which a link of the environment leads. A single package that is a link is installed
    /// from its source, which commands may change.
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

    /// Notes the links on the way to a path; returns where it leads.
    fn follow(&mut self, path: &Path) -> Option<Followed> {
        let trail = Trail::of(path).ok()?;
        let links = trail.links().map(|(path, target)| (path.to_path_buf(), target.to_path_buf()));
        let links: Vec<(PathBuf, PathBuf)> = links.collect();
        let by_project =
            self.is_of_project(trail.path()) || links.iter().any(|(link, _)| self.is_of_project(link));
        self.links.extend(links);
        Some(Followed { end: trail.end().to_path_buf(), by_project })
    }

    /// Whether a link of the system's own programs leads to another of them: most do, everybody sees them, and no command
    /// changes them. `known` says of directories whether no link leads there, because each holds many.
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

    /// Whether it is a home directory, or holds one.
    fn is_home(&self, path: &Path) -> bool {
        self.homes.iter().any(|home| home.starts_with(path))
    }

    /// Whether its `share` is where all programs keep the user's data.
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

/// A short text; a pipe or a device in its place would never end.
fn read_settings(path: &Path) -> Option<String> {
    let (file, _) = open_regular(path, Symlinks::Follow).ok()?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The directory of the interpreter that a virtual environment was made with.
fn base_of(settings: &str) -> Option<PathBuf> {
    let value = |line: &str| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "home").then(|| PathBuf::from(value.trim()))
    };
    settings.lines().find_map(value).filter(|path| path.is_absolute())
}

/// Directories that Python adds to where it looks for packages: installed as links to their source.
fn paths_of_packages(environment: &Path) -> Vec<PathBuf> {
    let files = directories_of_packages(environment).into_iter().flat_map(|packages| {
        let files = entries(&packages).map(|entry| entry.path());
        files.filter(|path| path.extension() == Some(OsStr::new("pth"))).collect::<Vec<_>>()
    });
    let texts = files.filter_map(|path| read_settings(&path));
    let lines = |text: String| text.lines().map(|line| PathBuf::from(line.trim())).collect::<Vec<_>>();
    texts.flat_map(lines).filter(|path| path.is_absolute() && path.is_dir()).collect()
}

/// Where the packages of an environment are, for each version of Python.
fn directories_of_packages(environment: &Path) -> Vec<PathBuf> {
    let versions = entries(&environment.join("lib")).map(|entry| entry.path().join("site-packages"));
    versions.filter(|packages| packages.is_dir()).collect()
}

fn entries(directory: &Path) -> impl Iterator<Item = fs::DirEntry> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests;
