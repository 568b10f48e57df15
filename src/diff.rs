//! Finds what changed between two releases: from their manifests, and from a clone and the artifacts if they are
//! available. Works offline. Nothing is verified.

mod artifact;
mod history;
mod packages;
mod sections;

use std::path::{Path, PathBuf};

use crate::compare::{self, Changes, compare_manifests};
use modelseal_format::context::Context;
use modelseal_format::digest::Digest;
use modelseal_format::manifest::{DependencyDigest, InternalParameters, Manifest, Model, ResourceDescriptor};
use modelseal_format::release::Seal;
use modelseal_verify::verify::{self, Sealed, Target, read_sealed};

pub use artifact::FileDifference;
pub use history::History;
pub use packages::PackageChange;
pub use sections::Section;

/// Why two releases could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Target(#[from] verify::Error),
    #[error("{}: {reason}", modelseal_format::display::name(target))]
    Unreadable { target: String, reason: String },
    #[error(transparent)]
    Compare(#[from] compare::Error),
    #[error("cannot store files for the comparison")]
    Scratch(#[source] std::io::Error),
}

impl Error {
    /// Whether a target was read and is not a release.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Error::Unreadable { .. })
    }
}

/// What is compared.
pub struct Options<'a> {
    /// The directory in which to look for a clone that holds both commits.
    pub repository: &'a Path,
    pub context: &'a Context,
}

/// One of the two releases.
#[derive(Debug, Clone)]
pub struct Side {
    pub target: String,
    pub release: Digest,
    pub model: Model,
    pub commit: Option<String>,
}

/// The factors that go into a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    Data,
    Base,
    Code,
    Hyperparameters,
    Environment,
}

impl Factor {
    pub const ALL: [Factor; 5] =
        [Factor::Data, Factor::Base, Factor::Code, Factor::Hyperparameters, Factor::Environment];

    pub fn name(self) -> &'static str {
        match self {
            Factor::Data => "data",
            Factor::Base => "base",
            Factor::Code => "code",
            Factor::Hyperparameters => "hyperparameters",
            Factor::Environment => "environment",
        }
    }
}

/// Whether a section changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Changed,
    Same,
    /// Neither manifest says anything about it.
    NotSealed,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Changed => "changed",
            State::Same => "same",
            State::NotSealed => "not sealed",
        }
    }
}

/// Everything that was found.
#[derive(Debug)]
pub struct Difference {
    pub old: Side,
    pub new: Side,
    pub changes: Changes,
    /// Each factor, in order.
    pub factors: Vec<(Factor, State)>,
    pub artifact: State,
    /// How the model answers the probes.
    pub behaviour: State,
    /// The commit differs, and the manifests are the same otherwise.
    pub only_commit: bool,
    /// Commits between the two releases, if a clone is available.
    pub history: Option<History>,
    /// Packages of lock files, if a clone that holds them is available.
    pub packages: Vec<PackageChange>,
    /// The comparison of changed files that both releases hold.
    pub files: Vec<FileDifference>,
}

impl Difference {
    /// Whether anything differs at all.
    pub fn is_different(&self) -> bool {
        self.old.release != self.new.release
    }

    /// The first line: names the factor if exactly one changed.
    pub fn headline(&self) -> String {
        let changed: Vec<Factor> = self
            .factors
            .iter()
            .filter(|(_, state)| *state == State::Changed)
            .map(|(factor, _)| *factor)
            .collect();
        let artifact = match self.artifact {
            State::Changed => "",
            _ => "; the artifact is the same",
        };
        match changed.as_slice() {
            [] if self.artifact == State::Changed => {
                "no input changed, but the artifact did: the build is not reproducible".to_string()
            }
            [] if self.only_commit => "only the commit changed".to_string(),
            [] if self.is_different() => {
                "neither the model nor its inputs changed; the version or other parts of the recipe did"
                    .to_string()
            }
            [] => "nothing changed".to_string(),
            [only] => format!(
                "only {} changed{}{artifact}",
                self.describe_factor(*only),
                self.describe_single(*only)
            ),
            several => {
                let names: Vec<&str> = several.iter().map(|factor| factor.name()).collect();
                format!("{} changed{artifact}", modelseal_format::display::enumerate(&names))
            }
        }
    }

    fn describe_factor(&self, factor: Factor) -> String {
        let changes = &self.changes;
        match (factor, changes.hyperparameters.as_slice(), changes.data.as_slice()) {
            (Factor::Hyperparameters, [one], _) => {
                format!("the hyperparameter {}", modelseal_format::display::name(&one.name))
            }
            (Factor::Hyperparameters, several, _) => format!("{} hyperparameters", several.len()),
            (Factor::Data, _, [one]) => format!("data {}", modelseal_format::display::name(&one.name)),
            (Factor::Data, _, several) => format!("{} data sources", several.len()),
            (Factor::Base, ..) => "the base model".to_string(),
            (Factor::Code, ..) => "the code".to_string(),
            (Factor::Environment, ..) => "the environment".to_string(),
        }
    }

    fn describe_single(&self, factor: Factor) -> String {
        match (factor, self.changes.hyperparameters.as_slice()) {
            (Factor::Hyperparameters, [one]) => {
                let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_string());
                format!(": {} → {}", shown(&one.old), shown(&one.new))
            }
            _ => String::new(),
        }
    }
}

/// Compares two releases: archives, directories or bare seals.
///
/// # Errors
/// [`Error`].
pub fn diff(old: &Target, new: &Target, options: &Options<'_>) -> Result<Difference, Error> {
    // A manifest of many files takes a while to read, so both are read in parallel.
    let (left, right) = std::thread::scope(|scope| {
        let left = std::thread::Builder::new().spawn_scoped(scope, || read(old, options.context));
        let right = read(new, options.context);
        match left.map(|left| left.join()) {
            Ok(Ok(left)) => (left, right),
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // Cannot start another thread.
            Err(_) => (read(old, options.context), right),
        }
    });
    let (left, right) = (left?, right?);
    let changes = compare_manifests(&left.manifest, &right.manifest);
    let repository = history::open(options.repository, [&left.manifest, &right.manifest]);
    let history =
        repository.as_ref().and_then(|found| history::between(found, &left.manifest, &right.manifest));
    let packages = match &repository {
        Some(repository) => {
            packages::compare(repository, &left.manifest, &right.manifest, &changes.lock_files)
        }
        None => Vec::new(),
    };
    let files = artifact::compare((old, &left), (new, &right), &changes.artifact, options.context)?;
    Ok(Difference {
        factors: Factor::ALL
            .into_iter()
            .map(|factor| (factor, state(factor, &changes, &left.manifest, &right.manifest)))
            .collect(),
        artifact: if changes.artifact.is_empty() { State::Same } else { State::Changed },
        behaviour: match (left.manifest.probes(), right.manifest.probes()) {
            ([], []) => State::NotSealed,
            _ if changes.behaviour.is_empty() => State::Same,
            _ => State::Changed,
        },
        only_commit: differ_in_commit_alone(&left.manifest, &right.manifest) && changes.behaviour.is_empty(),
        old: side(old, &left),
        new: side(new, &right),
        changes,
        history,
        packages,
        files,
    })
}

fn read(target: &Target, context: &Context) -> Result<Seal, Error> {
    match read_sealed(target, context)? {
        Sealed::Read { seal, .. } => Ok(*seal),
        Sealed::Unreadable(reason) => Err(Error::Unreadable { target: target.shown(), reason }),
    }
}

fn side(target: &Target, seal: &Seal) -> Side {
    Side {
        target: target.shown(),
        release: seal.release,
        model: seal.manifest.model().clone(),
        commit: history::commit(&seal.manifest).map(str::to_string),
    }
}

/// Whether only the commit differs. `source_date_epoch` is ignored because it is the time of the commit.
fn differ_in_commit_alone(old: &Manifest, new: &Manifest) -> bool {
    let inputs = |statement: &Manifest| {
        let without_commit = |input: &ResourceDescriptor| {
            let digest = DependencyDigest { git_commit: None, ..input.digest.clone() };
            ResourceDescriptor { digest, ..input.clone() }
        };
        statement.dependencies().iter().map(without_commit).collect::<Vec<_>>()
    };
    let internal =
        |statement: &Manifest| InternalParameters { source_date_epoch: 0, ..statement.internal().clone() };
    history::commit(old) != history::commit(new)
        && old.files() == new.files()
        && old.external() == new.external()
        && internal(old) == internal(new)
        && inputs(old) == inputs(new)
}

fn state(factor: Factor, changes: &Changes, old: &Manifest, new: &Manifest) -> State {
    let has = |statement: &Manifest, prefix: &str| {
        statement.dependencies().iter().any(|input| input.name.starts_with(prefix))
    };
    let both = |prefix: &str| has(old, prefix) || has(new, prefix);
    let (is_changed, is_sealed) = match factor {
        Factor::Data => (!changes.data.is_empty(), both("data/")),
        Factor::Base => (!changes.base.is_empty(), both("base/")),
        Factor::Code => {
            (changes.code.is_some() || changes.command.is_some(), has(old, "code") && has(new, "code"))
        }
        Factor::Hyperparameters => {
            let any = |statement: &Manifest| !statement.external().hyperparameters.is_empty();
            (!changes.hyperparameters.is_empty(), any(old) || any(new))
        }
        Factor::Environment => {
            let described = |statement: &Manifest| !statement.internal().environment.is_empty();
            let is_sealed = both("environment/") || described(old) || described(new);
            (!changes.lock_files.is_empty() || !changes.environment.is_empty(), is_sealed)
        }
    };
    match (is_changed, is_sealed) {
        (true, _) => State::Changed,
        (false, true) => State::Same,
        (false, false) => State::NotSealed,
    }
}

/// The path of a release, if its files are available.
pub(crate) fn path_of(target: &Target) -> Option<PathBuf> {
    match target {
        Target::Path(path) => Some(path.clone()),
        Target::StandardInput => None,
    }
}
