//! What can differ between two rebuilds.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use modelseal_build::run::{Programs, Sandbox, Variables};

/// What can be varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Circumstance {
    /// Nothing: the command runs again unchanged.
    Nothing,
    Path,
    Home,
    User,
    Umask,
    Timezone,
    Locale,
    Fileorder,
    Cpus,
    Hashseed,
    Threads,
    Time,
    /// The control: another seed must produce another model.
    Seed,
}

/// Variables that tell libraries how many threads to use.
pub(super) const THREADS: [&str; 5] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
];

/// A user id that is not in use.
pub(super) const ANOTHER_USER: u32 = 4217;

impl Circumstance {
    pub const ALL: [Circumstance; 13] = [
        Circumstance::Nothing,
        Circumstance::Path,
        Circumstance::Home,
        Circumstance::User,
        Circumstance::Umask,
        Circumstance::Timezone,
        Circumstance::Locale,
        Circumstance::Fileorder,
        Circumstance::Cpus,
        Circumstance::Hashseed,
        Circumstance::Threads,
        Circumstance::Time,
        Circumstance::Seed,
    ];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Circumstance::Nothing => "nothing",
            Circumstance::Path => "path",
            Circumstance::Home => "home",
            Circumstance::User => "user",
            Circumstance::Umask => "umask",
            Circumstance::Timezone => "timezone",
            Circumstance::Locale => "locale",
            Circumstance::Fileorder => "fileorder",
            Circumstance::Cpus => "cpus",
            Circumstance::Hashseed => "hashseed",
            Circumstance::Threads => "threads",
            Circumstance::Time => "time",
            Circumstance::Seed => "seed",
        }
    }

    /// The environment variable that controls it. If the recipe sets the variable, it is not varied.
    pub(super) fn variable(self) -> Option<&'static str> {
        match self {
            Circumstance::Timezone => Some("TZ"),
            Circumstance::Locale => Some("LC_ALL"),
            Circumstance::Hashseed => Some("PYTHONHASHSEED"),
            Circumstance::Threads => Some(THREADS[0]),
            _ => None,
        }
    }

    /// What causes the difference, and what the user can do about it.
    pub(super) fn cure(self) -> &'static str {
        match self {
            Circumstance::Nothing => {
                "the result changes on every run, because of randomness or the clock: set seeds, and write \
                 no times"
            }
            Circumstance::Path => "the result depends on the path of the project: write relative paths",
            Circumstance::Home => {
                "the result depends on the home directory: do not use its path or its files"
            }
            Circumstance::User => "the result depends on the user: do not write the user's name or id",
            Circumstance::Umask => {
                "the result depends on the umask: set the modes of the files that you write"
            }
            Circumstance::Timezone => {
                "`TZ` changes the result: write times in UTC, or set `TZ` in `[run] env`"
            }
            Circumstance::Locale => {
                "`LC_ALL` changes the result: sort and format without the locale, or set `LC_ALL` in \
                 `[run] env`"
            }
            Circumstance::Fileorder => {
                "the order of directory entries changes the result: sort every listing"
            }
            Circumstance::Cpus => {
                "the number of processors changes the result: set the number of threads in the parameters"
            }
            Circumstance::Hashseed => {
                "`PYTHONHASHSEED` changes the result: sort sets before writing, or set `PYTHONHASHSEED` \
                 in `[run] env`"
            }
            Circumstance::Threads => {
                "the number of threads changes the result: set `OMP_NUM_THREADS` in `[run] env`"
            }
            Circumstance::Time => {
                "the clock changes the result: take times from SOURCE_DATE_EPOCH, or write none"
            }
            Circumstance::Seed => "another seed gives another model, as it must",
        }
    }
}

/// The conditions of one rebuild.
#[derive(Default)]
pub(super) struct Conditions {
    pub(super) circumstance: Option<Circumstance>,
    /// Words placed before the command.
    pub(super) prefix: Vec<String>,
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) user: Option<u32>,
}

impl Conditions {
    /// The directory of the rebuild, below the scratch directory.
    pub(super) fn place(&self) -> &'static str {
        match self.circumstance {
            Some(Circumstance::Path) => "another place/with a longer name",
            _ => "place",
        }
    }

    /// The command under these conditions.
    pub(super) fn apply(
        &self,
        command: &[String],
        variables: &mut Variables,
        sandbox: &mut Sandbox,
    ) -> Vec<String> {
        for (name, value) in &self.variables {
            variables.given.insert(OsString::from(name), OsString::from(value));
        }
        sandbox.user = self.user;
        self.prefix.iter().chain(command).cloned().collect()
    }

    /// Mounts the work tree so that its directories list their entries in another order.
    ///
    /// # Errors
    /// Says why that does not work here.
    pub(super) fn mount<'a>(
        &self,
        root: &Path,
        programs: &'a Programs,
    ) -> Result<Option<Mounted<'a>>, String> {
        match self.circumstance {
            Some(Circumstance::Fileorder) => Mounted::new(root, programs).map(Some),
            _ => Ok(None),
        }
    }
}

/// A file system mounted over a directory. Dropping this unmounts it.
pub(super) struct Mounted<'a> {
    root: PathBuf,
    programs: &'a Programs,
}

impl<'a> Mounted<'a> {
    fn new(root: &Path, programs: &'a Programs) -> Result<Self, String> {
        let program = programs.find("disorderfs").map_err(|error| error.to_string())?;
        let failed = |error: std::io::Error| format!("cannot move the clone: {error}");
        std::fs::rename(root, root.with_file_name(UNDER)).map_err(failed)?;
        // From here on, dropping this restores the clone after any failure.
        let mounted = Self { root: root.to_path_buf(), programs };
        std::fs::create_dir(root).map_err(failed)?;
        let options = ["--sort-dirents=yes", "--reverse-dirents=yes", "--multi-user=no", "--quiet"];
        let run = Command::new(program).args(options).arg(root.with_file_name(UNDER)).arg(root).output();
        match run {
            Ok(output) if output.status.success() => Ok(mounted),
            _ => Err("`disorderfs` cannot mount a file system here".to_string()),
        }
    }
}

/// The name of the clone while the file system is mounted at its path.
const UNDER: &str = "under";

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if let Ok(program) = self.programs.find("fusermount") {
            let _ = Command::new(program).arg("-u").arg(&self.root).output();
        }
        let under = self.root.with_file_name(UNDER);
        let _ = std::fs::remove_dir(&self.root);
        let _ = std::fs::rename(under, &self.root);
    }
}
