//! Notes about a build, for the user.

use super::Verbosity;
use super::output::warn;
use modelseal_build::inputs::Change;

/// Prints notes about the inputs and the command.
pub(super) fn input_notes(warnings: &[String], changes: &[Change], left: &[String], verbosity: Verbosity) {
    for warning in warnings {
        warn(verbosity, warning);
    }
    let some = |paths: Vec<&String>| {
        let shown: Vec<String> =
            paths.iter().take(5).map(|path| modelseal_format::display::name(path)).collect();
        shown.join(", ") + if paths.len() > 5 { ", …" } else { "" }
    };
    if !changes.is_empty() {
        let paths = some(changes.iter().map(|change| &change.path).collect());
        warn(verbosity, &format!("sealed with uncommitted changes: {paths}"));
    }
    if !left.is_empty() {
        let paths = some(left.iter().collect());
        warn(verbosity, &format!("the command left files that git neither tracks nor ignores: {paths}"));
    }
}
