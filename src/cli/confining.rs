//! The confinement of commands, decided before the first command of a project runs.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Verbosity;
use super::arguments::writable;
use super::hints::Hinted;
use super::output::warn;
use super::projects::project_around;
use super::signing::SigningKey;
use modelseal_build::inputs::WorkTree;
use modelseal_build::recipe::Recipe;
use modelseal_build::run::{Confinement, Scope, leads_into, link_of_commands};
use modelseal_format::display;
use modelseal_format::sign::{local_cache_directory, local_key_directory, local_key_path};

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
    refuse_committed(signer, &work_trees)?;
    let roots: Vec<PathBuf> = work_trees.iter().map(|work_tree| work_tree.root().to_path_buf()).collect();
    let projects: Vec<PathBuf> = projects.iter().map(|path| path.to_path_buf()).chain(roots).collect();
    let allowed = writable(allow_write)?;
    // Commands must not be able to create the cache directory first, either. It is created here if it is inside one of
    // these directories.
    let places =
        projects.iter().chain(&allowed).filter_map(|path| path.canonicalize().ok()).collect::<Vec<_>>();
    let is_of_commands = |link: &Path| places.iter().any(|place| link.starts_with(place));
    for path in &allowed {
        if let Some((link, target)) = link_of_commands(path, is_of_commands) {
            return Err(led_elsewhere(path, &link, &target));
        }
    }
    for path in &written {
        let is_inside = |target: &Path| places.iter().any(|place| target.starts_with(place));
        check_link_of_directory(path, is_of_commands, |_, target| is_inside(target))?;
    }
    let is_theirs = |path: &Path| leads_into(path, &places);
    let is_there = |path: &PathBuf| match path.ancestors().find(|above| above.exists()) {
        Some(above) if is_theirs(above) => DirBuilder::new().recursive(true).mode(0o700).create(path).is_ok(),
        _ => path.is_dir(),
    };
    let emptied = local_cache_directory().into_iter().filter(is_there).collect();
    Ok(Confinement::new(Scope {
        projects,
        allowed,
        hidden,
        emptied,
        held: written,
        withheld: signer.map(SigningKey::variables).unwrap_or_default(),
        insecure_no_isolation,
    })?)
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
        Some((link, target)) if !is_inside(&link, &target) || is_of_repository(&target) => {
            Err(led_elsewhere(path, &link, &target.join(path.file_name().unwrap_or_default())))
        }
        _ => Ok(()),
    }
}

/// Refuses a key, a password or another secret that git has: commands see the repository, and so does everybody who
/// clones it.
fn refuse_committed(signer: Option<&SigningKey>, work_trees: &[WorkTree]) -> anyhow::Result<()> {
    let local = local_key_path().ok();
    let local = local.and_then(|path| Some((display::path(&path).to_string(), std::fs::read(path).ok()?)));
    for (name, secret) in signer.into_iter().flat_map(SigningKey::secrets).chain(local) {
        // A variable lacks the line break at the end of the file that it came from.
        let line = [&secret[..], b"\n"].concat();
        let holds = |work_tree: &&WorkTree| {
            !secret.is_empty() && (work_tree.has_content(&secret) || work_tree.has_content(&line))
        };
        if let Some(work_tree) = work_trees.iter().find(holds) {
            let message = format!(
                "git has what is in {name}: the commands of {} can read it, and so can everyone with a clone",
                display::path(work_tree.root())
            );
            let hint = "do not use this key again: make another one outside of the repository, with \
                        `modelseal keygen`, and revoke this one in the policies that name it";
            return Err(Hinted { message, hint: hint.to_string() }.into());
        }
    }
    Ok(())
}

fn is_of_repository(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == ".git")
}

/// The error for a link that is in a writable directory. A command of an earlier build may have created it.
fn led_elsewhere(path: &Path, link: &Path, target: &Path) -> anyhow::Error {
    let (shown, link) = (display::path(path), display::path(link));
    let message =
        format!("{shown} leads elsewhere by {link}, a link that a command of the project can have made");
    let hint = format!("if that is what you mean, name {}", display::path(target));
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
            &format!("{link}, on PATH, leads to what commands can make: it runs when you type its name"),
        );
    }
    if let Some(directory) = directory_of_programs_around(work) {
        let message = "where commands write: what one leaves there runs when you type its name";
        warn(verbosity, &format!("PATH names {}, {message}", display::path(&directory)));
    }
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
