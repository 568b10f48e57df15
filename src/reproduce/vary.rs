//! Varies one circumstance at a time, to find what makes a rebuild differ.

use std::path::Path;
use std::process::{Command, Stdio};

use super::FileResult;
use super::circumstance::{ANOTHER_USER, Circumstance, Conditions, THREADS};
use super::rebuild::{Rebuilder, Rebuilt};
use super::source::Source;
use super::stopped::Stopped;
use crate::compare::Cause;
use modelseal_build::run::{Programs, remove_all};
use modelseal_format::context::threads;

/// The result of one variation.
#[derive(Debug, Clone, PartialEq)]
pub struct Varied {
    pub circumstance: Circumstance,
    pub status: VariedStatus,
}

#[derive(Debug, Clone, PartialEq)]
pub enum VariedStatus {
    Same,
    Differs {
        path: String,
        difference: String,
        /// What causes the difference, and what the user can do about it.
        cure: String,
    },
    /// No file differs more than it does when nothing is varied.
    AsNothing,
    /// Why it was not varied.
    Skipped(String),
}

impl Varied {
    /// Whether the control did not differ. Then nothing shows that the comparison can detect a difference.
    pub fn is_failed_control(&self) -> bool {
        self.circumstance == Circumstance::Seed
            && matches!(self.status, VariedStatus::Same | VariedStatus::AsNothing)
    }
}

/// Rebuilds once for each circumstance to vary, and compares with the first rebuild.
pub(super) fn vary(
    rebuilder: &Rebuilder<'_>,
    source: &Source,
    commit: &str,
    first: &Rebuilt,
) -> Result<Vec<Varied>, Stopped> {
    let mut wanted = rebuilder.options.vary.to_vec();
    wanted.sort();
    wanted.dedup();
    let mut varied: Vec<Varied> = Vec::new();
    let mut nothing: Vec<FileResult> = Vec::new();
    // The other results can be judged only if it is known what differs when nothing is varied.
    let nothing_first = if wanted.is_empty() { &[][..] } else { &[Circumstance::Nothing] };
    let others = wanted.iter().filter(|circumstance| **circumstance != Circumstance::Nothing);
    for circumstance in nothing_first.iter().chain(others).copied() {
        let status = match conditions(rebuilder, circumstance) {
            Err(reason) => VariedStatus::Skipped(reason),
            Ok(conditions) => match rebuilder.rebuild(source, commit, &conditions, circumstance.name()) {
                Ok(rebuilt) => {
                    let files = rebuilder.compare(&first.files(), &rebuilt.files())?;
                    remove_all(&rebuilt.place);
                    let status = judge(circumstance, &files, &nothing);
                    if circumstance == Circumstance::Nothing {
                        nothing = files;
                    }
                    status
                }
                Err(Stopped::NotTried(reason, _)) => VariedStatus::Skipped(reason),
                Err(other) => return Err(other),
            },
        };
        varied.push(Varied { circumstance, status });
    }
    Ok(varied)
}

/// A difference counts only if it is worse than the difference of the same file when nothing is varied.
fn judge(circumstance: Circumstance, files: &[FileResult], nothing: &[FileResult]) -> VariedStatus {
    let badness = |file: &FileResult| match (&file.likeness.difference, file.likeness.rung) {
        (None, _) => 0,
        (Some(_), Some(rung)) => 1 + rung as usize,
        (Some(_), None) => usize::MAX,
    };
    let usual = |file: &FileResult| nothing.iter().find(|other| other.path == file.path).map_or(0, badness);
    let first = files.iter().find(|file| badness(file) > usual(file));
    match first {
        None if nothing.iter().any(|file| badness(file) > 0) => VariedStatus::AsNothing,
        None => VariedStatus::Same,
        Some(file) => VariedStatus::Differs {
            path: file.path.clone(),
            difference: file.likeness.difference.clone().unwrap_or_default(),
            cure: match (circumstance, file.likeness.cause) {
                (Circumstance::Nothing, Some(cause)) => cause.explain().to_string(),
                (Circumstance::Threads | Circumstance::Cpus, Some(Cause::Threads)) => {
                    Cause::Threads.explain().to_string()
                }
                _ => circumstance.cure().to_string(),
            },
        },
    }
}

/// The conditions that vary a circumstance. `Err` says why it cannot be varied here.
fn conditions(rebuilder: &Rebuilder<'_>, circumstance: Circumstance) -> Result<Conditions, String> {
    let mut conditions = Conditions { circumstance: Some(circumstance), ..Conditions::default() };
    let given = &rebuilder.manifest.external().env;
    let programs = rebuilder.options.confinement.programs();
    let needed = |program| match programs.find(program) {
        Ok(path) => Ok(path.to_string_lossy().into_owned()),
        Err(error) => Err(error.to_string()),
    };
    if let Some(variable) = circumstance.variable()
        && given.contains_key(variable)
    {
        return Err(format!("the recipe sets `{variable}`"));
    }
    let mut set = |name: &'static str, value: &str| conditions.variables.push((name, value.to_string()));
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
    match circumstance {
        Circumstance::Nothing | Circumstance::Path | Circumstance::Home | Circumstance::Seed => {}
        Circumstance::Timezone => set("TZ", "XYZ-13:45"),
        Circumstance::Hashseed => set("PYTHONHASHSEED", "4217"),
        Circumstance::Locale => set("LC_ALL", &other_locale(programs)),
        Circumstance::Threads => {
            let count = if threads() == 1 { "2" } else { "1" };
            THREADS.into_iter().filter(|name| !given.contains_key(*name)).for_each(|name| set(name, count));
        }
        Circumstance::Umask => {
            conditions.prefix = words(&[&needed("sh")?, "-c", "umask 027 && exec \"$@\"", "sh"]);
        }
        Circumstance::Cpus => {
            if threads() == 1 {
                return Err("there is only one processor".to_string());
            }
            let program = needed("taskset")?;
            conditions.prefix = words(&[&program, "-c", &first_processor()]);
        }
        Circumstance::Time => {
            let program = needed("faketime")?;
            conditions.prefix = words(&[&program, "-f", "+400d"]);
        }
        Circumstance::Fileorder => {
            needed("disorderfs")?;
            if !Path::new("/dev/fuse").exists() {
                return Err("`/dev/fuse` does not exist".to_string());
            }
        }
        Circumstance::User => {
            conditions.user = Some(ANOTHER_USER);
            if !rebuilder.options.confinement.can_change_user(ANOTHER_USER) {
                return Err("it needs a sandbox, which is not available here".to_string());
            }
        }
    }
    Ok(conditions)
}

/// An installed locale other than `C`, which sorts differently. Otherwise `POSIX`, with its narrower characters.
fn other_locale(programs: &Programs) -> String {
    let list = |program: &Path| Command::new(program).arg("-a").stdin(Stdio::null()).output().ok();
    let listed = programs.find("locale").ok().and_then(list);
    let listed =
        listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let other = listed.lines().find(|name| !matches!(*name, "C" | "POSIX" | "C.utf8" | "C.UTF-8"));
    other.unwrap_or("POSIX").to_string()
}

/// The first processor that this process may use.
fn first_processor() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = list.and_then(|list| list.trim().split([',', '-']).next());
    first.unwrap_or("0").to_string()
}
