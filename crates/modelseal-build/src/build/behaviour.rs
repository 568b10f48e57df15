//! Asks the artifact the probes of its recipe, before it is sealed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Error, Options};
use crate::inputs::{Artifact, Contents, git_places, work_tree};
use crate::probe::{self, Asked, Asking, Goldens, ask, spread};
use crate::recipe::{Probe, Recipe};
use crate::run::{self, Confinement, Isolation, Scratch, is_open, variables};
use modelseal_format::context::Context;
use modelseal_format::manifest::{Byproduct, InputsDigest, Manifest, Tolerance};
use modelseal_verify::rules::answers::{Bounds, Finding, Verdict, judge_answers};

/// What the probes found, and warnings for the user.
pub(super) struct Behaviour {
    pub(super) byproducts: Vec<Byproduct>,
    pub(super) warnings: Vec<String>,
}

/// Asks the artifact every probe of `recipe`, which is in the same checkout.
///
/// If the artifact is in a clone, `other` is the recipe that the caller knows. Its copies of the questions are hidden,
/// too.
pub(super) fn observe(
    recipe: &Recipe,
    other: &Recipe,
    artifact: &Artifact,
    epoch: u64,
    options: &Options<'_>,
) -> Result<Behaviour, Error> {
    let mut behaviour = Behaviour { byproducts: Vec::new(), warnings: Vec::new() };
    for probe in &recipe.tables.probe {
        let name = probe.name.get_ref();
        let observer = Observer {
            recipe,
            epoch,
            hidden: hidden(other),
            confinement: options.confinement,
            isolation: Isolation::WhereItWorks,
            listener: options.listener,
            context: &options.context,
        };
        let (asked, sha256) = observer.ask(probe, artifact)?;
        let findings = judge_answers(&asked.facts, None, Bounds::default());
        refuse(name, &asked, &findings)?;
        let unclear = findings.iter().filter(|finding| finding.verdict == Verdict::Unknown);
        behaviour.warnings.extend(
            unclear.map(|finding| format!("probe `{name}`, {}: {}", finding.aspect.name(), finding.message)),
        );
        if !asked.facts.isolated {
            behaviour.warnings.push(format!(
                "probe `{name}` was not isolated: it could have read the expected answers or used the network"
            ));
        }
        behaviour.byproducts.push(Byproduct {
            name: format!("probe/{name}"),
            digest: InputsDigest { sha256 },
            annotations: asked.facts,
        });
    }
    Ok(behaviour)
}

/// Refuses a model that breaks a rule for all releases.
fn refuse(name: &str, asked: &Asked, findings: &[Finding]) -> Result<(), Error> {
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Fail);
    let mut reasons: Vec<String> =
        failed.map(|finding| format!("{}: {}", finding.aspect.name(), finding.message)).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let shown = |text: &str| modelseal_format::display::name(&text.chars().take(80).collect::<String>());
    let pair = |(id, left, right): &(String, String, String), first: &str, second: &str| {
        format!("{}: {first} {}, {second} {}", modelseal_format::display::name(id), shown(left), shown(right))
    };
    reasons.extend(asked.wrong.iter().take(3).map(|wrong| pair(wrong, "expected", "found")));
    reasons.extend(asked.undecided.iter().map(|twice| pair(twice, "first", "then")));
    Err(Error::Behaviour { probe: name.to_string(), reasons })
}

/// What probes cannot see: the questions of every probe, the repositories that contain them, and services that listen
/// in the work tree.
fn hidden(recipe: &Recipe) -> Vec<PathBuf> {
    let probes = recipe.tables.probe.iter();
    let mut hidden: Vec<PathBuf> =
        probes.map(|probe| recipe.directory().join(probe.inputs.get_ref())).collect();
    // A repository around the recipe contains the questions, regardless of what the recipe says about its code.
    let around = work_tree(recipe).ok().flatten().map(|work_tree| work_tree.root().to_path_buf());
    for root in around.into_iter().chain(recipe.directory().canonicalize()) {
        let contents = Contents::of(&root);
        let places = git_places(&root, &contents).into_iter();
        // Includes the repository of a linked work tree, and the objects that a repository borrows.
        hidden.extend(places.flat_map(|places| places.repositories.into_iter().chain(places.borrowed)));
        hidden.extend(contents.sockets.into_iter().filter(|path| is_open(path)));
    }
    hidden.into_iter().filter_map(|path| path.canonicalize().ok()).collect()
}

/// The work tree with the code that answers, and the artifact.
fn readable(recipe: &Recipe, artifact: &Artifact) -> Vec<PathBuf> {
    let root = work_tree(recipe).ok().flatten().map(|work_tree| work_tree.root().to_path_buf());
    let artifact = artifact.root().canonicalize().ok();
    root.into_iter().chain(artifact).collect()
}

/// Runs the probes of a recipe, in the same way for a build and for a rebuild.
pub struct Observer<'a> {
    pub recipe: &'a Recipe,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: u64,
    /// Files and directories that appear empty to the probes.
    pub hidden: Vec<PathBuf>,
    /// The decisions made before the first command runs.
    pub confinement: &'a Confinement,
    pub isolation: Isolation,
    pub listener: &'a dyn run::Listener,
    pub context: &'a Context,
}

impl Observer<'_> {
    /// Asks an artifact one probe. The digest is that of the questions.
    ///
    /// # Errors
    /// [`probe::Error`].
    pub fn ask(
        &self,
        probe: &Probe,
        artifact: &Artifact,
    ) -> Result<(Asked, modelseal_format::digest::Digest), probe::Error> {
        let path = self.recipe.directory().join(probe.inputs.get_ref());
        let goldens = Goldens::read(&path)?;
        let scratch = Scratch::new(self.context.cancel()).map_err(run::Error::Scratch)?;
        let directory = |name: &str| scratch.directory(name).map_err(run::Error::Scratch);
        let (home, temporary) = (directory("home")?, directory("tmp")?);
        let place = place(artifact, &directory("artifact")?).map_err(run::Error::Scratch)?;
        let run = self.recipe.tables.run.as_ref();
        let given = run.into_iter().flat_map(|run| &run.env);
        let given = given.map(|(name, value)| (name.as_str(), value.get_ref().as_str()));
        let fallback: Vec<_> = probe.fallback.iter().map(|value| value.get_ref().clone()).collect();
        let must_influence: Vec<_> = probe.must_influence.iter().map(|name| name.get_ref().clone()).collect();
        let hidden: Vec<PathBuf> = self.hidden.iter().cloned().chain(hidden(self.recipe)).collect();
        let asked = ask(&Asking {
            name: probe.name.get_ref(),
            command: probe.command.get_ref(),
            directory: self.recipe.directory(),
            artifact: &place,
            goldens: &goldens,
            goldens_path: &path,
            fallback: &fallback,
            must_influence: &must_influence,
            timeout: probe.timeout.map(|age| age.0),
            tolerance: tolerance(self.recipe),
            variables: variables(self.confinement, &home, &temporary, self.epoch, given, []),
            home: &home,
            temporary: &temporary,
            hidden: &hidden,
            readable: &readable(self.recipe, artifact),
            confinement: self.confinement,
            isolation: self.isolation,
            listener: self.listener,
            context: self.context,
        })?;
        Ok((asked, goldens.sha256))
    }
}

/// A directory that contains the artifact, even if that is a single file.
fn place(artifact: &Artifact, directory: &Path) -> std::io::Result<PathBuf> {
    match artifact.files.first() {
        Some(file) if artifact.is_one_file() => {
            let location = artifact.location(&file.path).canonicalize()?;
            std::os::unix::fs::symlink(location, directory.join(&file.path))?;
            Ok(directory.to_path_buf())
        }
        _ => artifact.root().canonicalize(),
    }
}

/// Checks that a manifest written elsewhere has the probes of this recipe, and none that the build itself would refuse.
/// The model's answers in it are the claim of its author.
///
/// # Errors
/// [`Error::Statement`], or an error if the questions cannot be read.
pub(super) fn check_probes(recipe: &Recipe, statement: &Manifest) -> Result<(), Error> {
    let sealed = statement.probes();
    let probes = &recipe.tables.probe;
    let mut same = probes.len() == sealed.len();
    for (probe, sealed) in probes.iter().zip(sealed) {
        let questions = Goldens::read(&recipe.directory().join(probe.inputs.get_ref()))?;
        let facts = &sealed.annotations;
        let must_influence: BTreeSet<&str> =
            probe.must_influence.iter().map(|feature| feature.get_ref().as_str()).collect();
        same &= probe.name.get_ref() == sealed.probe()
            && probe.command.get_ref() == &facts.command
            && questions.sha256 == sealed.digest.sha256
            && questions.inputs.len() as u64 == facts.inputs()
            && facts.influence.keys().map(String::as_str).collect::<BTreeSet<_>>() == must_influence
            && facts.tolerance == tolerance(recipe)
            && facts.expected.tried
                == questions.inputs.iter().filter(|input| input.expected.is_some()).count() as u64
            && facts.swapped.tried == if facts.inputs() > 1 { facts.inputs() } else { 0 };
    }
    if !same {
        return Err(Error::Statement("its probes differ from those in the recipe".to_string()));
    }
    for sealed in sealed {
        let facts = &sealed.annotations;
        if spread(facts).is_some_and(|spread| spread != (facts.distinct, facts.commonest)) {
            let message = format!("the counts of its probe `{}` do not match its answers", sealed.probe());
            return Err(Error::Statement(message));
        }
        let findings = judge_answers(&sealed.annotations, None, Bounds::default());
        if let Some(failed) = findings.iter().find(|finding| finding.verdict == Verdict::Fail) {
            let (name, aspect) = (sealed.probe(), failed.aspect.name());
            let message = format!("its probe `{name}` fails on {aspect}: {}", failed.message);
            return Err(Error::Statement(message));
        }
    }
    Ok(())
}

/// The tolerance within which numbers in answers are equal.
fn tolerance(recipe: &Recipe) -> Tolerance {
    let reproduce = &recipe.tables.reproduce;
    let standard = Tolerance::default();
    Tolerance {
        atol: reproduce.atol.as_ref().map_or(standard.atol, |value| *value.get_ref()),
        rtol: reproduce.rtol.as_ref().map_or(standard.rtol, |value| *value.get_ref()),
    }
}
