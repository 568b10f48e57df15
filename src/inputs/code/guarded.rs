//! What git runs, and where it reads which programs to run: none of it may be changed by a command, because
//! the next `git status` of whoever started the command would run that.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use git2::Repository;

use super::CodeError;

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
    /// Not all of it has to be there.
    pub guarded: BTreeSet<PathBuf>,
    /// What git reads outside of the work tree: the repository of a linked work tree, borrowed objects.
    pub read: BTreeSet<PathBuf>,
}

/// Everything that git runs or configures itself by in a directory that is a work tree, or lies in one, and in
/// repositories inside of it.
///
/// # Errors
/// [`CodeError::Git`]: the configuration cannot be read.
pub fn git_places(root: &Path) -> Result<GitPlaces, CodeError> {
    let failed = |source| CodeError::Git { path: root.to_path_buf(), source };
    let mut places = GitPlaces::default();
    places.guarded.insert(root.join(".git"));
    if let Ok(repository) = Repository::discover(root)
        && let Some(around) = repository.workdir()
        && resolved(root).starts_with(resolved(around))
    {
        places.add(&repository, around).map_err(failed)?;
    }
    for inner in repositories(root) {
        // One that git does not open runs nothing, and need not be guarded any further.
        let at = if inner.ends_with(".git") { inner.parent().unwrap_or(root) } else { &inner };
        if let Ok(repository) = Repository::open(at) {
            places.add(&repository, at).map_err(failed)?;
        }
        places.guarded.insert(inner);
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
        let configuration = repository.config()?.snapshot()?;
        let mut entries = configuration.entries(None)?;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if let (Ok(name), Ok(value)) = (entry.name(), entry.value())
                && is_of_programs(name)
            {
                self.add_setting(name, value, repository, root);
            }
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
        let is_quote = |character: char| matches!(character, '\'' | '"' | '`');
        let ends_word = |character: char| character.is_whitespace() || ";|&()=!".contains(character);
        let quoted = value.split(is_quote);
        let words = value.split(|character: char| is_quote(character) || ends_word(character));
        let words: BTreeSet<&str> =
            words.chain(quoted).map(str::trim).filter(|word| !word.is_empty()).collect();
        // What is included lies beside the file that includes it, which may be included itself.
        let includes = self.guarded.iter().filter(|path| path.is_file()).filter_map(|path| path.parent());
        let mut directories: BTreeSet<PathBuf> = includes.map(Path::to_path_buf).collect();
        directories.extend([root, repository.path(), repository.commondir()].map(Path::to_path_buf));
        for word in words {
            let beside = directories.iter().map(|directory| directory.join(word));
            let files = beside.chain(at_home(word)).filter(|path| path.is_file());
            self.guarded.extend(files);
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

fn is_of_programs(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let section = name.split('.').next().unwrap_or_default();
    let last = name.rsplit('.').next().unwrap_or_default();
    matches!(section, "alias" | "pager") || SETTINGS.contains(&last)
}

/// Repositories below a directory, and what leads to one: entries named `.git`, and directories that git
/// takes for a bare repository.
pub fn repositories(root: &Path) -> Vec<PathBuf> {
    let is_bare = |path: &Path| path.join("objects").is_dir() && path.join("refs").is_dir();
    let mut found = Vec::new();
    let mut walk = walkdir::WalkDir::new(root).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let Ok(entry) = entry else { continue };
        if entry.file_name() == OsStr::new(".git") {
            found.push(entry.path().to_path_buf());
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
        } else if entry.file_name() == OsStr::new("HEAD")
            && let Some(parent) = entry.path().parent().filter(|parent| is_bare(parent))
        {
            found.push(parent.to_path_buf());
            walk.skip_current_dir();
        }
    }
    found
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
        let places = git_places(&root.join("p")).expect("reads");
        assert!(!places.read.contains(&place), "{:?}", places.read);
        // A linked work tree, which the repository itself knows, is shown its repository.
        let author = git2::Signature::now("x", "x@example.invalid").expect("a signature");
        let tree = private.treebuilder(None).and_then(|tree| tree.write()).expect("writes");
        let tree = private.find_tree(tree).expect("is there");
        private.commit(Some("HEAD"), &author, &author, "x", &tree, &[]).expect("commits");
        private.worktree("linked", &root.join("linked"), None).expect("links");
        let places = git_places(&root.join("linked")).expect("reads");
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
        fs::write(root.join("config/first"), "[include]\n\tpath = more/second\n").expect("writes");
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
            ("branch.data.merge", "data/train"),
        ] {
            configuration.set_str(name, value).expect("sets");
        }
        let places = git_places(&root).expect("reads");
        let resolved: BTreeSet<PathBuf> = places.guarded.iter().map(|path| super::resolved(path)).collect();
        let guarded = files.iter().filter(|file| **file != "data/train").copied();
        for path in guarded.chain([".git", "bare.git", "absent/hooks"]) {
            assert!(resolved.contains(&root.join(path)), "{path} is not in {resolved:?}");
        }
        assert!(!resolved.contains(&root.join("data/train")));
    }
}
