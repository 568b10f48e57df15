//! Step 4: every file is the one that was sealed.

use std::collections::BTreeSet;

use super::Verification;
use crate::report::Check;
use crate::report::id::FILES;
use modelseal_format::digest::{Algorithm, FileDigests};
use modelseal_format::display::{count, name, number};
use modelseal_format::manifest::Subject;

/// What to do if a file differs from the sealed one.
pub(super) const HINT: &str = "fetch the archive again; if it still fails, do not deploy it";

/// Adds the summary and the findings, one per file. Entries that are not among the `total` sealed files are counted
/// separately.
pub(super) fn add(
    verification: &mut Verification<'_>,
    total: usize,
    findings: Vec<Check>,
    is_sealed: impl Fn(&str) -> bool,
) {
    let sealed = count(total as u64, "file", "files");
    if findings.is_empty() {
        verification.add(Check::pass(FILES, sealed));
        return;
    }
    let paths: BTreeSet<&str> = findings.iter().filter_map(|check| check.path.as_deref()).collect();
    let (differing, more): (Vec<&str>, Vec<&str>) = paths.into_iter().partition(|path| is_sealed(path));
    let of_sealed = match differing.len() {
        0 => format!("{sealed} as sealed"),
        1 => format!("1 of {sealed} differs"),
        differing => format!("{} of {sealed} differ", number(differing as u64)),
    };
    let message = match more.len() {
        0 => of_sealed,
        1 => format!("{of_sealed}, and 1 entry that was not sealed"),
        more => format!("{of_sealed}, and {} entries that were not sealed", number(more as u64)),
    };
    verification.add(Check::fail(FILES, message));
    verification.report.checks.extend(findings);
}

/// The difference between a sealed file and what was read. `None` if there is none.
pub(super) fn compare(file: &Subject, found: &FileDigests) -> Option<Check> {
    let pairs = [
        (Algorithm::Sha256, found.sha256, Some(file.digest.sha256)),
        (Algorithm::Blake3, found.blake3, file.digest.blake3),
    ];
    let size = |bytes: u64| format!("({} bytes)", number(bytes));
    let differing = pairs.into_iter().find_map(|(algorithm, found, sealed)| {
        let (found, sealed) = (found?, sealed?);
        (found != sealed).then(|| (sealed.tagged(algorithm), found.tagged(algorithm)))
    });
    let (expected, actual) = match differing {
        Some((expected, actual)) => {
            (format!("{expected} {}", size(file.size())), format!("{actual} {}", size(found.size)))
        }
        None if found.size != file.size() => (size(file.size()), size(found.size)),
        None => return None,
    };
    Some(
        Check::fail(FILES, format!("{} differs from the sealed file", name(&file.name)))
            .path(&file.name)
            .differs(expected, actual)
            .hint(HINT),
    )
}
