//! The confinement of commands, decided before the first command of a project runs.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Verbosity;
use super::arguments::writable;
use super::hints::Hinted;
use super::output::warn;
use super::projects::project_around;
use super::signing::SigningKey;
use modelseal_build::build::{self, check_secrets};
use modelseal_build::inputs::{History, WorkTree, is_in_git_directory};
use modelseal_build::recipe::Recipe;
use modelseal_build::run::{Confinement, Scope, Secret, link_of_commands, would_lead_into};
use modelseal_format::display;
use modelseal_format::sign::{local_cache_directory, local_key_directory, local_key_path};

/// The directory below the user's cache with the kept caches of all projects.
pub(super) const PROJECT_CACHES: &str = "projects";

/// Keeps the commands of a project away from keys, for any kind of signer.
///
/// `projects` are the directories where commands work: modelseal starts no program from there. `written` are the paths
/// that the caller names as outputs of this program.
pub(super) fn confine(
    signer: Option<&SigningKey>,
    projects: &[&Path],
    allow_write: &[PathBuf],
    written: Vec<PathBuf>,
    insecure_no_isolation: bool,
) -> anyhow::Result<Confinement> {
    let mut hidden = signer.map(SigningKey::hidden).unwrap_or_default();
    // The directory of the user's own key is created even if there is no key yet. If it cannot be created here, no
    // command can create it either.
    hidden.extend(local_key_directory().into_iter().filter(|path| path.is_dir()));
    let work_trees: Vec<WorkTree> =
        projects.iter().filter_map(|path| WorkTree::discover(path).ok()).collect();
    let roots: Vec<PathBuf> = work_trees.iter().map(|work_tree| work_tree.root().to_path_buf()).collect();
    let projects: Vec<PathBuf> = projects.iter().map(|path| path.to_path_buf()).chain(roots).collect();
    let allowed = writable(allow_write)?;
    // Commands must not be able to create the cache directory first, either. It is created here if it is inside one of
    // these directories.
    let places =
        projects.iter().chain(&allowed).filter_map(|path| path.canonicalize().ok()).collect::<Vec<_>>();
    let is_of_commands = |link: &Path| places.iter().any(|place| link.starts_with(place));
    for path in &allowed {
        // An earlier build could write to other directories. Only links at the top of the file system are the system's.
        let is_top = |link: &Path| link.parent() == Some(Path::new("/"));
        if let Some((link, target)) = link_of_commands(path, |link| !is_top(link)) {
            return Err(led_elsewhere(path, &link, &target));
        }
    }
    for path in &written {
        let is_inside = |target: &Path| places.iter().any(|place| target.starts_with(place));
        check_link_of_directory(path, is_of_commands, |_, target| is_inside(target))?;
    }
    let is_there = |path: &PathBuf| match would_lead_into(path, &places) {
        true => DirBuilder::new().recursive(true).mode(0o700).create(path).is_ok(),
        false => path.is_dir(),
    };
    let emptied = local_cache_directory().into_iter().filter(is_there).collect();
    let mut scope = Scope::default();
    (scope.projects, scope.allowed, scope.hidden, scope.emptied) = (projects, allowed, hidden, emptied);
    scope.held = written;
    scope.withheld = signer.map(SigningKey::variables).unwrap_or_default();
    scope.secrets = secrets(signer);
    scope.insecure_no_isolation = insecure_no_isolation;
    let confinement = Confinement::new(scope)?;
    // Commands see the repositories of the project, and of a key outside of homes.
    let keys = signer.map(SigningKey::hidden).unwrap_or_default();
    let seen = confinement.projects().iter().chain(&keys).flat_map(|path| repositories_around(path));
    let seen: BTreeSet<PathBuf> = seen.collect();
    check_secrets(&confinement, seen.iter().map(PathBuf::as_path)).map_err(build::Error::from)?;
    Ok(confinement)
}

/// Checks the path of an output file when no command runs. Commands of any project on the path may have created
/// symbolic links in it. Links are followed within the project, but not into a repository.
pub(super) fn check_written_to(path: &Path) -> anyhow::Result<()> {
    let is_of_commands = |link: &Path| link.parent().and_then(project_around).is_some();
    check_link_of_directory(path, is_of_commands, |link, target| {
        link.parent().and_then(project_around).is_some_and(|project| target.starts_with(project))
    })
}

/// Checks the directory of an output file. The file is renamed into place, so a link at its own path is replaced, and a
/// link in its directory path is followed. `is_inside` gets a link and its target.
fn check_link_of_directory(
    path: &Path,
    is_of_commands: impl Fn(&Path) -> bool,
    is_inside: impl Fn(&Path, &Path) -> bool,
) -> anyhow::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match link_of_commands(directory, is_of_commands) {
        Some((link, target)) if !is_inside(&link, &target) || is_in_git_directory(&target) => {
            Err(led_elsewhere(path, &link, &target.join(path.file_name().unwrap_or_default())))
        }
        _ => Ok(()),
    }
}

/// What commands must not read, each with a name for messages.
fn secrets(signer: Option<&SigningKey>) -> Vec<(String, Secret)> {
    let own = local_key_path().ok();
    let own = own.and_then(|path| Some((display::path(&path).to_string(), std::fs::read(path).ok()?)));
    let secrets = signer.into_iter().flat_map(SigningKey::secrets).chain(own);
    secrets.filter(|(_, secret)| !secret.is_empty()).map(|(name, secret)| (name, Secret(secret))).collect()
}

/// The directories of the repositories around a path, nearest first: of linked work trees, the one that has the objects.
fn repositories_around(path: &Path) -> Vec<PathBuf> {
    let Ok(path) = path.canonicalize() else { return Vec::new() };
    let found = path.ancestors().filter_map(|above| History::discover(above).ok());
    let mut found: Vec<PathBuf> = found.map(|history| history.common_directory()).collect();
    found.dedup();
    found
}

/// Refuses the user's own key where a command of an earlier build can have made it, and a link of the project on the
/// way to it, to the cache, or to the directory for temporary files.
pub(super) fn check_own_directories(projects: &[&Path], uses_own_key: bool) -> anyhow::Result<()> {
    let around = projects.iter().filter_map(|path| project_around(path));
    let places: Vec<PathBuf> = around.collect();
    let is_of_commands = |path: &Path| places.iter().any(|place| path.starts_with(place));
    let key = local_key_path().ok();
    let caches = local_cache_directory().ok().map(|directory| directory.join(PROJECT_CACHES));
    for path in caches.iter().chain(&key).chain([&std::env::temp_dir()]) {
        if let Some((link, target)) = link_of_commands(path, is_of_commands) {
            return Err(led_elsewhere(path, &link, &target));
        }
    }
    match key.filter(|key| uses_own_key && would_lead_into(key, &places)) {
        Some(key) => Err(Hinted {
            message: format!(
                "your own key would be {}, but a command of an earlier build may have put a key there",
                display::path(&key)
            ),
            hint: "name a key with `--key`, or set XDG_CONFIG_HOME to a directory outside of the project"
                .to_string(),
        }
        .into()),
        None => Ok(()),
    }
}

/// The error for a link that is in a writable directory. A command of an earlier build may have created it.
fn led_elsewhere(path: &Path, link: &Path, target: &Path) -> anyhow::Error {
    let (shown, link) = (display::path(path), display::path(link));
    let message =
        format!("{shown} leads elsewhere: {link} is a link that a command of the project may have made");
    let hint = format!("if that is intended, name {} instead", display::path(target));
    Hinted { message, hint }.into()
}

/// Directories where commands can write, in this build or in an earlier build by any recipe. The private directories of
/// commands are not included.
pub(super) fn writable_by_commands(work: PathBuf, confinement: &Confinement) -> Vec<PathBuf> {
    [work]
        .into_iter()
        .chain(confinement.allowed().iter().map(|allowed| allowed.end().to_path_buf()))
        .collect()
}

/// Warns if commands can write to a directory on `PATH`. A file that a command leaves there runs when the user types
/// its name.
pub(super) fn warn_of_path(recipe: &Recipe, work: &Path, confinement: &Confinement, verbosity: Verbosity) {
    if recipe.tables.run.is_none() {
        return;
    }
    for link in confinement.waiting_links(work) {
        let link = display::path(&link);
        warn(
            verbosity,
            &format!(
                "{link}, on PATH, links to a file that commands can create: it runs when you type its name"
            ),
        );
    }
    for directory in relative_entries() {
        let directory = display::path(&directory);
        let message = "a program that a command leaves in a directory of that name runs";
        warn(
            verbosity,
            &format!("PATH names the relative path {directory}: {message} when you type its name there"),
        );
    }
    if let Some(directory) = directory_of_programs_around(work) {
        let message = "where commands can write: a program left there runs when you type its name";
        warn(verbosity, &format!("PATH names {}, {message}", display::path(&directory)));
    }
}

/// Entries of `PATH` that name a directory below the working directory.
fn relative_entries() -> Vec<PathBuf> {
    let is_relative = |entry: &PathBuf| {
        let is_named = entry.components().any(|part| matches!(part, std::path::Component::Normal(_)));
        entry.is_relative() && is_named && !entry.starts_with("~")
    };
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).filter(is_relative).collect()
}

/// A directory on `PATH` that contains the work tree. It cannot be made read-only, unlike a directory inside the work
/// tree.
fn directory_of_programs_around(work: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let holds_work = |directory: &PathBuf| {
        directory
            .canonicalize()
            .is_ok_and(|directory| work.canonicalize().is_ok_and(|work| work.starts_with(directory)))
    };
    // An empty entry of `PATH` means the working directory to a shell.
    let here = |directory: PathBuf| if directory.as_os_str().is_empty() { ".".into() } else { directory };
    std::env::split_paths(&path).map(here).find(holds_work)
}
