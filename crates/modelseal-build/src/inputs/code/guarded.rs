//! The programs that git runs, and the files that name them. A command must not change any of them, because the
//! caller's next `git status` would run the changed program.
//!
//! All of this is read from files. A library may refuse a repository that git accepts.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use git2::{Config, Repository};

use super::settings::{Setting, at_home};
use super::{CodeError, Contents};
use modelseal_format::digest::{Symlinks, open_regular};

/// Maximum size of a git file that names another file, in bytes.
const LONGEST: u64 = 1 << 20;

/// Files that git reads when it opens a repository.
const OPENED: [&str; 10] = [
    "HEAD",
    "commondir",
    "config",
    "config.worktree",
    "gitdir",
    "index",
    "info/exclude",
    "objects/info/alternates",
    "packed-refs",
    "shallow",
];

/// Maximum number of configuration files that are followed through includes.
const INCLUDED: usize = 64;

/// What belongs to git in a work tree and outside of it.
#[derive(Debug, Default)]
pub struct GitPlaces {
    /// Paths that must not change: repositories, hooks, files that the configuration names, and links to them. Some of
    /// the directories may not exist.
    pub guarded: BTreeSet<PathBuf>,
    /// Files that the configuration names but that do not exist yet. They must not change either.
    pub absent: BTreeSet<PathBuf>,
    /// The directories of all repositories: that of the project, those around it and those in it.
    pub repositories: BTreeSet<PathBuf>,
    /// What git reads outside of the work tree: the repository of a linked work tree.
    pub read: BTreeSet<PathBuf>,
    /// Object directories that repositories borrow from others. The project chooses them, so commands do not see them.
    pub borrowed: BTreeSet<PathBuf>,
}

/// Finds everything that git runs or is configured by, for a directory in a work tree and for the repositories inside
/// it.
///
/// # Errors
/// [`CodeError::Git`] if a configuration file cannot be read.
pub fn git_places(root: &Path, contents: &Contents) -> Result<GitPlaces, CodeError> {
    let mut places = GitPlaces::default();
    places.guarded.insert(root.join(".git"));
    let around = root.ancestors().map(|above| above.join(".git"));
    let mut around = around.filter(|entry| entry.symlink_metadata().is_ok());
    let nearest = around.next();
    if let Some(entry) = &nearest {
        let directory = places.add(entry).map_err(|(path, source)| CodeError::Git { path, source })?;
        // Only a repository directly in `root` belongs to the project. Without one, this could be any surrounding
        // repository.
        let directory = directory.filter(|_| entry.parent() == Some(root));
        places.read.extend(directory.into_iter().flat_map(|directory| directory.shown(entry)));
    }
    let inner = contents.repositories.iter().filter(|entry| Some(*entry) != nearest.as_ref());
    for entry in inner.cloned().chain(around) {
        // If a configuration cannot be read, git runs nothing either.
        let _ = places.add(&entry);
    }
    Ok(places)
}

/// The directory of a repository, and the one that it shares with others (`gitrepository-layout(5)`).
struct Directory {
    own: PathBuf,
    common: PathBuf,
}

impl Directory {
    /// Returns `None` if git does not take the entry for a repository.
    fn of(entry: &Path) -> Option<Self> {
        let own = if entry.is_dir() {
            entry.to_path_buf()
        } else {
            entry.parent()?.join(line_of(entry)?.strip_prefix("gitdir:")?.trim())
        };
        let common = line_of(&own.join("commondir")).map_or_else(|| own.clone(), |common| own.join(common));
        Some(Self { own, common })
    }

    /// Whether the repository itself names this work tree. A `.git` file alone is no proof, because it could name any
    /// repository of the caller.
    fn knows(&self, root: &Path) -> bool {
        let (own, at) = (resolved(&self.own), resolved(root).join(".git"));
        let named = line_of(&self.own.join("gitdir")).unwrap_or_default();
        // A submodule names its work tree in its configuration.
        let config = Setting::all(&self.own.join("config")).unwrap_or_default();
        let mut trees =
            config.iter().filter_map(Setting::work_tree).map(|path| resolved(&self.own.join(path)));
        own.starts_with(resolved(root))
            || resolved(Path::new(&named)) == at
            || trees.any(|tree| tree == resolved(root))
    }

    /// Whether the shared directory belongs to this repository, or to the one that has this work tree as a linked work
    /// tree.
    fn shares_its_own(&self, root: &Path) -> bool {
        let (own, common) = (resolved(&self.own), resolved(&self.common));
        let is_linked =
            own.parent() == Some(common.join("worktrees").as_path()) && !resolved(root).starts_with(&common);
        common.starts_with(resolved(root)) || own == common || is_linked
    }

    /// The directories of the repository that commands may see.
    fn shown(&self, entry: &Path) -> Vec<PathBuf> {
        let root = entry.parent().unwrap_or(entry);
        let is_shown = self.knows(root) && self.shares_its_own(root);
        [&self.own, &self.common].into_iter().filter(|_| is_shown).map(|path| resolved(path)).collect()
    }

    /// Returns a special file at a path where git opens a regular file. Reading a pipe would never end.
    fn special_file(&self, root: &Path) -> Option<PathBuf> {
        let own = [&self.own, &self.common];
        let opened = own.into_iter().flat_map(|directory| OPENED.map(|name| directory.join(name)));
        let references = own.into_iter().flat_map(|directory| walkdir::WalkDir::new(directory.join("refs")));
        let references = references.flatten().filter(|entry| !entry.file_type().is_dir());
        let mut paths = opened.chain(references.map(walkdir::DirEntry::into_path));
        paths.find(|path| is_special(path)).or_else(|| self.special_file_of_configuration(root))
    }

    /// Returns a special file that the configuration names. Reads the lines directly, because a library opens the
    /// included files.
    fn special_file_of_configuration(&self, root: &Path) -> Option<PathBuf> {
        let own = [&self.own, &self.common];
        let own = own.into_iter().flat_map(|own| ["config", "config.worktree"].map(|name| own.join(name)));
        let mut ahead: Vec<PathBuf> = own.chain([root.join(".gitmodules")]).collect();
        let mut seen = BTreeSet::new();
        while let Some(file) = ahead.pop().filter(|_| seen.len() < INCLUDED) {
            if !seen.insert(file.clone()) {
                continue;
            }
            let beside = file.parent().unwrap_or(root).to_path_buf();
            for line in text_of(&file).unwrap_or_default().lines() {
                let Some((name, value)) = line.split_once('=') else { continue };
                let value = value.trim().trim_matches('"');
                let named = at_home(value).into_iter().chain([beside.join(value), root.join(value)]);
                let named: Vec<PathBuf> = named.filter(|path| path != Path::new("/dev/null")).collect();
                if let Some(special) = named.iter().find(|path| is_special(path)) {
                    return Some(special.clone());
                }
                if name.trim().eq_ignore_ascii_case("path") {
                    ahead.extend(named.into_iter().filter(|path| path.is_file()));
                }
            }
        }
        None
    }
}

/// Returns a special file at a path that git reads when it opens the repository around `path`.
pub(super) fn special_file_around(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let mut entries = path.ancestors().map(|above| above.join(".git"));
    let entry = entries.find(|entry| entry.symlink_metadata().is_ok())?;
    if is_special(&entry) { Some(entry) } else { Directory::of(&entry)?.special_file(entry.parent()?) }
}

/// Whether a path is neither a file nor a directory, nor a link to one.
pub(super) fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

impl GitPlaces {
    /// Adds a repository. `entry` is a `.git` or a bare repository. Returns `None` if git does not take it for a
    /// repository, and so runs nothing.
    fn add(&mut self, entry: &Path) -> Result<Option<Directory>, (PathBuf, git2::Error)> {
        self.guarded.insert(entry.to_path_buf());
        let Some(directory) = Directory::of(entry) else { return Ok(None) };
        let root = if entry.ends_with(".git") { entry.parent().unwrap_or(entry) } else { entry };
        let own = [&directory.own, &directory.common].map(PathBuf::clone);
        self.repositories.extend(own.iter().map(|path| resolved(path)));
        self.guarded.extend(own);
        // git would block there too, and so runs nothing.
        if directory.special_file(root).is_some() {
            return Ok(Some(directory));
        }
        self.add_hooks(&directory.common.join("hooks"));
        self.add_borrowed(&directory.common.join("objects"));
        self.add_submodules(root);
        self.add_configuration(&directory, root)?;
        Ok(Some(directory))
    }

    fn add_borrowed(&mut self, objects: &Path) {
        let text = text_of(&objects.join("info/alternates")).unwrap_or_default();
        for directory in text.lines().map(|line| resolved(&objects.join(line))).collect::<Vec<_>>() {
            if directory.is_dir() && self.borrowed.insert(directory.clone()) {
                self.add_borrowed(&directory);
            }
        }
    }

    /// Guards submodules that are not checked out. A command that creates the repository of one could configure what
    /// git runs there.
    fn add_submodules(&mut self, root: &Path) {
        for setting in Setting::all(&root.join(".gitmodules")).unwrap_or_default() {
            self.guarded.extend(setting.submodule().map(|path| submodule_place(&root.join(path))));
        }
        let Ok(repository) = Repository::open(root) else { return };
        let Ok(tree) = repository.head().and_then(|head| head.peel_to_tree()) else { return };
        let _ = tree.walk(git2::TreeWalkMode::PreOrder, |above, entry| {
            if entry.kind() == Some(git2::ObjectType::Commit) {
                let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
                self.guarded.insert(submodule_place(&root.join(above).join(name)));
            }
            git2::TreeWalkResult::Ok
        });
    }

    /// Adds every configuration file, whether its condition currently holds or not, and what it names.
    fn add_configuration(
        &mut self,
        directory: &Directory,
        root: &Path,
    ) -> Result<(), (PathBuf, git2::Error)> {
        let own = [&directory.own, &directory.common];
        let own = own.into_iter().flat_map(|own| ["config", "config.worktree"].map(|name| own.join(name)));
        // The repository is guarded as a whole, so its missing files need no entry.
        let own = own.filter(|path| path.is_file());
        let usual = [Config::find_global(), Config::find_xdg(), Config::find_system()].into_iter().flatten();
        let named = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"].into_iter().filter_map(std::env::var_os);
        // These files may not exist, and a link can lead from them into the work tree.
        let personal = std::env::var_os("XDG_CONFIG_HOME").map(|home| Path::new(&home).join("git/config"));
        let at_home = std::env::home_dir().into_iter();
        let at_home =
            at_home.flat_map(|home| [".gitconfig", ".config/git/config"].map(|name| home.join(name)));
        let named = named.map(PathBuf::from).chain(personal).chain(at_home);
        let mut ahead: Vec<PathBuf> = own.chain(usual).chain(named).collect();
        Setting::of_variables().for_each(|setting| self.add_setting(&setting, directory, root));
        let mut seen = BTreeSet::new();
        while let Some(file) = ahead.pop() {
            if !seen.insert(file.clone()) {
                continue;
            }
            if !file.is_file() {
                self.absent.insert(file);
                continue;
            }
            let beside = file.parent().unwrap_or(root).to_path_buf();
            for setting in Setting::all(&file).map_err(|source| (file.clone(), source))? {
                if let Some(included) = setting.included(&beside) {
                    ahead.push(included);
                } else {
                    self.add_setting(&setting, directory, root);
                }
            }
            self.guarded.insert(file);
        }
        Ok(())
    }

    fn add_setting(&mut self, setting: &Setting, directory: &Directory, root: &Path) {
        if let Some(hooks) = setting.hooks(root) {
            // Hooks in `.husky/_` run the scripts in `.husky`.
            let around = hooks.parent().filter(|_| hooks.ends_with("_")).map(Path::to_path_buf);
            around.iter().chain([&hooks]).for_each(|hooks| self.add_hooks(hooks));
            return;
        }
        let named = setting.names(root, [&directory.own, &directory.common]);
        self.guarded.extend(named.there);
        self.absent.extend(named.absent);
    }

    /// Adds a directory of hooks, and the links in it.
    fn add_hooks(&mut self, directory: &Path) {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
        self.guarded.extend(links.map(|entry| entry.path()));
        self.guarded.insert(directory.to_path_buf());
    }
}

/// The text of a regular file of git. `None` if there is no such file, or it is not text.
fn text_of(path: &Path) -> Option<String> {
    let (file, _) = open_regular(path, Symlinks::Follow).ok()?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

fn line_of(path: &Path) -> Option<String> {
    text_of(path).map(|text| text.trim().to_string())
}

/// The path that must not be created in a submodule: its repository. An empty directory is guarded as a whole, because
/// git takes any `.git` in it for a broken repository.
fn submodule_place(path: &Path) -> PathBuf {
    let place = resolved(path);
    let is_empty = fs::read_dir(&place).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty { place } else { place.join(".git") }
}

/// Resolves links as far as the path exists.
fn resolved(path: &Path) -> PathBuf {
    let mut rest = PathBuf::new();
    let existing = path.ancestors().find(|above| above.exists()).unwrap_or(path);
    if let Ok(missing) = path.strip_prefix(existing) {
        rest.push(missing);
    }
    let existing = existing.canonicalize().unwrap_or_else(|_| existing.to_path_buf());
    if rest.as_os_str().is_empty() { existing } else { existing.join(rest) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A project that was unpacked from an archive can contain such a `.git` file.
    #[test]
    fn sandbox_hides_a_repository_that_does_not_list_the_work_tree() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("resolves");
        let private = Repository::init(root.join("private")).expect("makes");
        let place = root.join("private/.git");
        for project in ["p", "p/sub"] {
            fs::create_dir_all(root.join(project)).expect("creates");
            fs::write(root.join(project).join(".git"), format!("gitdir: {}\n", place.display()))
                .expect("writes");
        }
        let places = git_places(&root.join("p"), &Contents::of(&root.join("p"))).expect("reads");
        assert!(!places.read.contains(&place), "{:?}", places.read);
        // In a linked work tree, which the repository itself knows, the repository is shown.
        let author = git2::Signature::now("x", "x@example.invalid").expect("a signature");
        let tree = private.treebuilder(None).and_then(|tree| tree.write()).expect("writes");
        let tree = private.find_tree(tree).expect("is there");
        private.commit(Some("HEAD"), &author, &author, "x", &tree, &[]).expect("commits");
        private.worktree("linked", &root.join("linked"), None).expect("links");
        let places = git_places(&root.join("linked"), &Contents::of(&root.join("linked"))).expect("reads");
        assert!(places.read.contains(&place), "{:?}", places.read);
    }

    #[test]
    fn sandbox_guards_every_file_that_git_runs_or_reads_as_configuration() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("resolves");
        let repository = Repository::init(&root).expect("makes");
        let files = [
            "tools/clean.sh",
            "tools/with space.sh",
            "tools/alias.sh",
            "config/first",
            "config/more/second",
            "config/more/driver.sh",
            "hooks/shared.sh",
            "data/train",
            "other/.git",
        ];
        for file in files {
            fs::create_dir_all(root.join(file).parent().expect("a parent")).expect("creates");
            fs::write(root.join(file), "").expect("writes");
        }
        fs::write(root.join("config/first"), "[include]\n\tpath = more/second\n\tpath = absent\n")
            .expect("writes");
        fs::write(root.join("config/more/second"), "[merge \"x\"]\n\tdriver = sh config/more/driver.sh %A\n")
            .expect("writes");
        fs::create_dir_all(root.join(".git/hooks")).expect("creates");
        symlink("../../hooks/shared.sh", root.join(".git/hooks/pre-commit")).expect("links");
        fs::create_dir_all(root.join("bare.git/objects")).expect("creates");
        fs::create_dir_all(root.join("bare.git/refs")).expect("creates");
        fs::write(root.join("bare.git/HEAD"), "ref: refs/heads/main\n").expect("writes");
        let mut configuration = repository.config().expect("opens");
        for (name, value) in [
            ("filter.x.clean", "sh tools/clean.sh %f"),
            ("filter.y.smudge", "sh 'tools/with space.sh'"),
            ("alias.x", "!\"$(git rev-parse --show-toplevel)/tools/alias.sh\""),
            ("include.path", "../config/first"),
            ("core.hooksPath", "absent/hooks"),
            ("filter.z.process", "sh tools/later.sh --name=%f"),
            ("merge.y.driver", "sh 'tools/with space' %A"),
            ("includeIf.onbranch:x.path", "../later.config"),
            ("alias.later", "!rm -rf build/out"),
            ("branch.data.merge", "data/train"),
        ] {
            configuration.set_str(name, value).expect("sets");
        }
        let places = git_places(&root, &Contents::of(&root)).expect("reads");
        let resolved: BTreeSet<PathBuf> = places.guarded.iter().map(|path| super::resolved(path)).collect();
        let guarded = files.iter().filter(|file| **file != "data/train").copied();
        for path in guarded.chain([".git", "bare.git", "absent/hooks"]) {
            assert!(resolved.contains(&root.join(path)), "{path} is not in {resolved:?}");
        }
        assert!(!resolved.contains(&root.join("data/train")));
        // A quoted string may be one path, or a line for another shell.
        let absent = ["config/absent", "later.config", "tools/later.sh", "tools/with", "tools/with space"];
        let found = places.absent.iter().map(|path| super::resolved(path));
        let found = found.filter(|path| path.starts_with(&root) && !path.starts_with(root.join(".git")));
        let absent = absent.map(|path| root.join(path));
        assert_eq!(found.collect::<BTreeSet<_>>(), absent.into());
    }
}
