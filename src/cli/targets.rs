//! What is verified, as the command line names it.

use std::path::Path;

use anyhow::bail;

use modelseal_verify::verify::Target;

/// The target at a path. `-` is standard input.
pub(super) fn target(path: &Path) -> Target {
    if path.as_os_str() == "-" { Target::StandardInput } else { Target::Path(path.to_path_buf()) }
}

/// Checks that standard input is used only once.
pub(super) fn check_standard_input(target: &Target, keys: &[String]) -> anyhow::Result<()> {
    let keys = keys.iter().filter(|key| *key == "-").count();
    if keys + usize::from(*target == Target::StandardInput) > 1 {
        anyhow::bail!("`-` can be given only once: for the archive or for a key");
    }
    Ok(())
}

/// The target that `--previous` names. It cannot be standard input, which is reserved for the release itself.
pub(super) fn previous(path: Option<&Path>) -> anyhow::Result<Option<Target>> {
    match path.map(target) {
        Some(Target::StandardInput) => bail!("`--previous` cannot be read from standard input"),
        other => Ok(other),
    }
}
