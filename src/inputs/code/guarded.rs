//! What git runs, and where it reads which programs to run: none of it may be changed by a command, because
//! the next `git status` of whoever started the command would run that.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use git2::{Config, Repository};

use super::{CodeError, Contents};

/// Settings whose value is a program or a path, by their last part. `alias` and `pager` are sections of such.
const SETTINGS: [&str; 24] = [
    "askpass",
    "attributesfile",
    "clean",
    "cmd",
    "command",
    "difffilter",
    "driver",
    "editor",
    "excludesfile",
    "external",
    "fsmonitor",
    "gitproxy",
    "helper",
    "hookspath",
    "packobjectshook",
    "pager",
    "path",
    "process",
    "program",
    "smudge",
    "sshcommand",
    "templatedir",
    "textconv",
    "update",
];

/// What belongs to git in a work tree and beside it.
#[derive(Debug, Default)]
pub struct GitPlaces {
    /// What must not change: repositories, hooks, and files that the configuration names, also links to them.
    /// Of directories, not all have to be there.
    pub guarded: BTreeSet<PathBuf>,
    /// Files that the configuration names and that are not there yet, of which the same holds.
    pub absent: BTreeSet<PathBuf>,
    /// What git reads outside of the work tree: the repository of a linked work tree, borrowed objects.
    pub read: BTreeSet<PathBuf>,
}

/// Everything that git runs or configures itself by in a directory that is a work tree, or lies in one, and in
/// repositories inside of it.
///
/// # Errors
/// [`CodeError::Git`]: the configuration cannot be read.
pub fn git_places(root: &Path, contents: &Contents) -> Result<GitPlaces, CodeError> {
    let failed = |source| CodeError::Git { path: root.to_path_buf(), source };
    let mut places = GitPlaces::default();
    places.guarded.insert(root.join(".git"));
    if let Ok(repository) = Repository::discover(root)
        && let Some(around) = repository.workdir()
        && resolved(root).starts_with(resolved(around))
    {
        places.add(&repository, around).map_err(failed)?;
    }
    for inner in &contents.repositories {
        places.guarded.insert(inner.clone());
        let at = if inner.ends_with(".git") { inner.parent().unwrap_or(root) } else { inner };
        // One that git does not open runs nothing, and need not be guarded any further. That of the root is known.
        if at != root
            && let Ok(repository) = Repository::open(at)
        {
            places.add(&repository, at).map_err(failed)?;
        }
    }
    Ok(places)
}

impl GitPlaces {
    fn add(&mut self, repository: &Repository, root: &Path) -> Result<(), git2::Error> {
        let own = [root.join(".git"), repository.path().to_path_buf(), repository.commondir().to_path_buf()];
        if belongs_to(repository, root) {
            self.read.extend(own.iter().map(|path| resolved(path)));
        }
        self.guarded.extend(own);
        self.add_hooks(&repository.commondir().join("hooks"));
        let borrowed = repository.commondir().join("objects/info/alternates");
        let borrowed = fs::read_to_string(borrowed).unwrap_or_default();
        let objects = repository.commondir().join("objects");
        let borrowed = borrowed.lines().map(|line| resolved(&objects.join(line)));
        self.read.extend(borrowed.filter(|path| is_store(path)));
        // Whoever makes the repository of a submodule that is not checked out configures what git runs there.
        if let Ok(tree) = repository.head().and_then(|head| head.peel_to_tree()) {
            tree.walk(git2::TreeWalkMode::PreOrder, |above, entry| {
                if entry.kind() == Some(git2::ObjectType::Commit) {
                    let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
                    self.guarded.insert(resolved(&root.join(above).join(name).join(".git")));
                }
                git2::TreeWalkResult::Ok
            })?;
        }
        self.add_configuration(repository, root)
    }

    /// Every file of the configuration, whether its condition holds now or may hold later, and what it names.
    fn add_configuration(&mut self, repository: &Repository, root: &Path) -> Result<(), git2::Error> {
        // One that cannot be read now is an error; one whose condition does not hold, git does not read.
        repository.config()?.snapshot()?;
        let own = [repository.path(), repository.commondir()];
        let own = own.into_iter().flat_map(|own| ["config", "config.worktree"].map(|name| own.join(name)));
        // A repository is guarded whole.
        let own = own.filter(|path| path.is_file());
        let usual = [Config::find_global(), Config::find_xdg(), Config::find_system()].into_iter().flatten();
        let named = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"].into_iter().filter_map(std::env::var_os);
        let mut ahead: Vec<PathBuf> = own.chain(usual).chain(named.map(PathBuf::from)).collect();
        let mut seen = BTreeSet::new();
        while let Some(file) = ahead.pop() {
            if !seen.insert(file.clone()) {
                continue;
            }
            if !file.is_file() {
                self.absent.insert(file);
                continue;
            }
            let directory = file.parent().unwrap_or(root).to_path_buf();
            for (name, value) in settings(&file) {
                if is_include(&name) {
                    let value = value.trim();
                    ahead.push(at_home(value).unwrap_or_else(|| directory.join(value)));
                } else if is_of_programs(&name) {
                    self.add_setting(&name, &value, repository, root);
                }
            }
            self.guarded.insert(file);
        }
        Ok(())
    }

    /// The files of the work tree that a value names; for a directory of hooks the directory, which need not
    /// be there, and what its links lead to.
    fn add_setting(&mut self, name: &str, value: &str, repository: &Repository, root: &Path) {
        if name.ends_with("hookspath") || name.ends_with("templatedir") {
            self.add_hooks(&at_home(value).unwrap_or_else(|| root.join(value)));
            return;
        }
        // As scripts find the work tree from wherever git starts them.
        let value = value.replace("$(git rev-parse --show-toplevel)/", "");
        let ends_word = |character: char| character.is_whitespace() || ";|&()=!".contains(character);
        let quoted: Vec<&str> = value.split(['\'', '"', '`']).map(str::trim).collect();
        // In quotes, a path may hold spaces; a command may as well.
        let words: BTreeSet<&str> = quoted.iter().flat_map(|part| part.split(ends_word)).collect();
        let directories = [root, repository.path(), repository.commondir()];
        for word in words.iter().chain(&quoted).filter(|word| !word.is_empty()) {
            let beside = directories.iter().map(|directory| directory.join(word));
            let files = beside.chain(at_home(word)).filter(|path| path.is_file());
            self.guarded.extend(files);
        }
        // What an alias says is often no path at all.
        if !is_alias(name) {
            let within = quoted.iter().skip(1).step_by(2);
            let without = quoted.iter().step_by(2).flat_map(|part| part.split_whitespace());
            let paths = within.copied().chain(without).filter(|word| is_plain_path(word));
            self.absent.extend(paths.map(|path| root.join(path)).filter(|path| !path.exists()));
        }
    }

    /// A directory of hooks, and the files that are linked to from there.
    fn add_hooks(&mut self, directory: &Path) {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
        self.guarded.extend(links.map(|entry| entry.path()));
        self.guarded.insert(directory.to_path_buf());
    }
}

/// A path that begins with the caller's home.
fn at_home(path: &str) -> Option<PathBuf> {
    let rest = path.strip_prefix("~/")?;
    std::env::home_dir().map(|home| home.join(rest))
}

/// Whether a repository lies in its work tree, or names it as one of its linked ones. Anything else is the word of a
/// file `.git`, which could name any repository of the caller.
fn belongs_to(repository: &Repository, root: &Path) -> bool {
    let (own, at) = (resolved(repository.path()), resolved(root).join(".git"));
    let named = fs::read_to_string(own.join("gitdir")).unwrap_or_default();
    own.starts_with(resolved(root))
        || own.ancestors().any(|above| above == at)
        || resolved(Path::new(named.trim())) == at
}

/// Whether a directory is where a repository keeps its objects: a project names the one that it borrows from.
fn is_store(path: &Path) -> bool {
    let around = path.parent().unwrap_or(path);
    path.file_name() == Some(OsStr::new("objects"))
        && around.join("HEAD").is_file()
        && around.join("refs").is_dir()
}

/// What a file of the configuration says itself, without what it includes.
fn settings(file: &Path) -> Vec<(String, String)> {
    let read = || -> Result<Vec<(String, String)>, git2::Error> {
        let configuration = Config::open(file)?;
        let mut entries = configuration.entries(None)?;
        let mut settings = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if let (0, Ok(name), Ok(value)) = (entry.include_depth(), entry.name(), entry.value()) {
                settings.push((name.to_string(), value.to_string()));
            }
        }
        Ok(settings)
    };
    read().unwrap_or_default()
}

fn is_of_programs(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    is_alias(&name) || SETTINGS.contains(&last)
}

/// Sections in which every setting is a command.
fn is_alias(name: &str) -> bool {
    let section = name.split('.').next().unwrap_or_default();
    ["alias", "pager"].iter().any(|known| section.eq_ignore_ascii_case(known))
}

/// Whether the setting names more configuration (`git-config(1)`, "Includes").
fn is_include(name: &str) -> bool {
    let section = name.split('.').next().unwrap_or_default();
    ["include", "includeif"].iter().any(|known| section.eq_ignore_ascii_case(known))
}

/// Whether a word of a command can only be a path: nothing is put in its place by git or the shell.
fn is_plain_path(word: &str) -> bool {
    word.contains('/') && !word.contains(['%', '$', '*', '?', '~', '{', ':'])
}

/// With links resolved as far as the path exists.
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

    /// A project that came as an archive can hold such a file.
    #[test]
    fn a_repository_that_does_not_know_the_work_tree_is_not_shown() {
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
        // A linked work tree, which the repository itself knows, is shown its repository.
        let author = git2::Signature::now("x", "x@example.invalid").expect("a signature");
        let tree = private.treebuilder(None).and_then(|tree| tree.write()).expect("writes");
        let tree = private.find_tree(tree).expect("is there");
        private.commit(Some("HEAD"), &author, &author, "x", &tree, &[]).expect("commits");
        private.worktree("linked", &root.join("linked"), None).expect("links");
        let places = git_places(&root.join("linked"), &Contents::of(&root.join("linked"))).expect("reads");
        assert!(places.read.contains(&place), "{:?}", places.read);
    }

    #[test]
    fn whatever_git_runs_or_is_configured_by_is_guarded() {
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
        let absent = ["config/absent", "later.config", "tools/later.sh", "tools/with space"];
        let found = places.absent.iter().map(|path| super::resolved(path));
        let found = found.filter(|path| path.starts_with(&root) && !path.starts_with(root.join(".git")));
        let absent = absent.map(|path| root.join(path));
        assert_eq!(found.collect::<BTreeSet<_>>(), absent.into());
    }
}
