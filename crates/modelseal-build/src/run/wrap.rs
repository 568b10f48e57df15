//! How a command is started: with bubblewrap around it, or without.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Error;
use super::bubblewrap::{Wrapped, bubblewrap, set, start};
use super::confinement::Confinement;
use super::sandbox::{Isolation, Sandbox};
use super::trail::Trail;
use super::variables::Variables;

/// Returns the argument vector that runs a command inside, or the command itself if there is no sandbox.
pub(super) fn wrap(
    sandbox: &Sandbox,
    confinement: &Confinement,
    command: &[OsString],
    directory: &Path,
    variables: &Variables,
) -> Result<Wrapped, Error> {
    confinement.check()?;
    sandbox.check()?;
    let plain = |reason| {
        sandbox.link_caches()?;
        Ok(Wrapped::plain(command, reason))
    };
    let isolation = confinement.isolation(sandbox.isolation);
    if isolation == Isolation::Never {
        let is_covered = !sandbox.covered.is_empty() && confinement.isolates(true);
        return if is_covered {
            cover(sandbox, confinement, command, directory, variables)
        } else {
            plain(None)
        };
    }
    match confinement.works(sandbox.network) {
        Ok(()) => {}
        Err(reason) if isolation == Isolation::WhereItWorks => return plain(Some(reason.clone())),
        Err(reason) => return Err(Error::NoIsolation(reason.clone())),
    }
    // Inside, a relative path would start at the root.
    let directory = directory
        .canonicalize()
        .map_err(|source| Error::Directory { path: directory.to_path_buf(), source })?;
    let mut view = confinement.view(sandbox)?;
    let cleanup = confinement.guard(&mut view, sandbox)?;
    let mut options = view.arguments();
    options.extend(set(variables));
    options.extend(["--chdir".into(), directory.into_os_string()]);
    let mut wrapped = start(confinement.programs(), sandbox, options, command)?;
    wrapped.cleanup = cleanup;
    Ok(wrapped)
}

/// Prepares bubblewrap for a command that sees and does everything, except in the covered directories.
fn cover(
    sandbox: &Sandbox,
    confinement: &Confinement,
    command: &[OsString],
    directory: &Path,
    variables: &Variables,
) -> Result<Wrapped, Error> {
    let mut arguments: Vec<OsString> = vec!["--dev-bind".into(), "/".into(), "/".into()];
    let mut add = |option: &str, paths: &[&Path]| {
        arguments.push(option.into());
        arguments.extend(paths.iter().map(|path| path.into()));
    };
    let covered: Vec<&Path> = sandbox.covered.iter().map(Trail::end).collect();
    let others: Vec<PathBuf> =
        covered.iter().flat_map(|path| confinement.mounts().other_names(path)).collect();
    let covered = || covered.iter().copied().chain(others.iter().map(PathBuf::as_path));
    covered().for_each(|path| add("--tmpfs", &[path]));
    // Commands could neither read nor change what is hidden from them, so it stays visible here.
    let is_covered = |path: &&Path| covered().any(|covered| path.starts_with(covered));
    confinement.hidden().filter(is_covered).for_each(|path| add("--bind", &[path, path]));
    // It is new, and the command starts there.
    if is_covered(&directory) {
        add("--bind", &[directory, directory]);
    }
    covered().for_each(|path| add("--remount-ro", &[path]));
    add("--chdir", &[directory]);
    arguments.extend(set(variables));
    bubblewrap(confinement.programs(), arguments, command)
}
