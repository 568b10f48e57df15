//! Probes a verified release with commands and questions of the policy, as the deployer, and checks whether it answers
//! as the sealed one did.
//!
//! The artifact is the only part of the release that is run. The command, the questions and the working directory come
//! from the policy. The release that passed the policy must be the release that answers.

use std::path::{Path, PathBuf};

use modelseal_build::probe::{self, Asking, Goldens, agree, ask};
use modelseal_build::run::{self, Confinement, Isolation, Listener, Scratch, variables};
use modelseal_format::context::Context;
use modelseal_format::manifest::{Byproduct, Manifest, SEAL_DIRECTORY, Tolerance};
use modelseal_verify::policy::{Policy, Probe};
use modelseal_verify::report::{Check, CheckId, Report, Status};
use modelseal_verify::rules::probes::{ANSWERS, judge_probe};
use modelseal_verify::trust::TrustedSigner;
use modelseal_verify::verify::{self, Target, materialize};

/// How to probe.
pub struct Options<'a> {
    pub signers: &'a [TrustedSigner],
    pub policy: &'a Policy,
    /// The release that is deployed now.
    pub previous: Option<&'a Target>,
    /// The confinement that was decided before the first command.
    pub confinement: &'a Confinement,
    /// Called before a command runs, with the probe and the command.
    pub announce: &'a dyn Fn(&str, &[String]),
    pub listener: &'a dyn Listener,
    pub context: &'a Context,
}

/// Why nothing was probed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Verify(#[from] verify::Error),
    #[error("no probe in the policy {} has a command", modelseal_format::display::path(.0))]
    NoCommand(PathBuf),
    #[error(transparent)]
    Questions(probe::Error),
    #[error("cannot create a temporary directory")]
    Scratch(#[source] std::io::Error),
    #[error("interrupted")]
    Interrupted,
}

/// Verifies a release by the whole policy and runs every probe of the policy that has a command.
///
/// # Errors
/// [`Error`]. Problems of the release or its answers are in the report.
pub fn accept(target: &Target, options: &Options<'_>) -> Result<Report, Error> {
    let probes = &options.policy.probes;
    if probes.iter().all(|probe| probe.command.is_none()) {
        return Err(Error::NoCommand(options.policy.path.clone()));
    }
    let scratch = Scratch::new(options.context.cancel()).map_err(Error::Scratch)?;
    let mut verifying = verify::Options::new(options.signers);
    verifying.policy = Some(options.policy);
    verifying.previous = options.previous;
    verifying.context = options.context.clone();
    let verified = materialize(target, &scratch.path().join("release"), &verifying)?;
    let mut report = verified.report().clone();
    // A release that fails is not probed. A release without a previous release to compare with is still probed.
    let Some(release) = verified.not_refused() else { return Ok(report) };
    let Some(artifact) = release.directory() else { return Ok(report) };
    let named = [Some(target), options.previous].into_iter().flatten();
    let archives: Vec<PathBuf> = named
        .filter_map(|target| match target {
            Target::Path(path) => path.canonicalize().ok(),
            Target::StandardInput => None,
        })
        .collect();
    for demand in probes {
        let name = &demand.name;
        let Some(command) = &demand.command else {
            report.not_checked.push(format!("probe {name} (the policy names no command)"));
            continue;
        };
        (options.announce)(name, command.get_ref());
        let manifest = release.manifest();
        let acceptance = Acceptance { name, demand, artifact, archives: &archives, manifest, options };
        let mut found = acceptance.run(command.get_ref(), scratch.path())?;
        options.policy.settle(&mut found, options.context.now);
        // The live answers replace the sealed ones. The check whether they are the same comes first.
        report.checks.retain(|check| found.iter().all(|other| other.id != check.id));
        report.checks.append(&mut found);
    }
    Ok(report)
}

struct Acceptance<'a> {
    name: &'a str,
    demand: &'a Probe,
    artifact: &'a Path,
    /// Other paths that hold the sealed answers, with links resolved.
    archives: &'a [PathBuf],
    manifest: &'a Manifest,
    options: &'a Options<'a>,
}

impl Acceptance<'_> {
    fn id(&self) -> CheckId {
        ANSWERS.of(self.name)
    }

    fn run(&self, command: &[String], scratch: &Path) -> Result<Vec<Check>, Error> {
        let directory = self.options.policy.directory();
        let path = |path: &Option<toml::Spanned<String>>| {
            path.as_ref().map_or(directory.to_path_buf(), |path| directory.join(path.get_ref()))
        };
        let questions = path(&self.demand.inputs);
        let goldens = Goldens::read(&questions).map_err(Error::Questions)?;
        let sealed = self.manifest.probes().iter().find(|sealed| sealed.probe() == self.name);
        if let Some(other) = sealed.filter(|sealed| sealed.digest.sha256 != goldens.sha256) {
            let message = "the questions differ from those asked when the release was built";
            return Ok(vec![
                Check::fail(self.id(), message)
                    .differs(format!("sha256:{}", other.digest.sha256), format!("sha256:{}", goldens.sha256)),
            ]);
        }
        let place = scratch.join(self.name);
        let (home, temporary) = (place.join("home"), place.join("tmp"));
        for made in [&home, &temporary] {
            std::fs::create_dir_all(made).map_err(Error::Scratch)?;
        }
        let artifact = self.artifact.canonicalize().map_err(Error::Scratch)?;
        // The seal holds the expected answers, so the command must not see it.
        let seal = artifact.join(SEAL_DIRECTORY);
        let archives = self.archives.iter().filter(|path| !artifact.starts_with(path)).cloned();
        let hidden: Vec<PathBuf> = [seal].into_iter().chain(archives).collect();
        let must_influence: Vec<String> =
            sealed.map(|sealed| sealed.annotations.influence.keys().cloned().collect()).unwrap_or_default();
        let fallback: Vec<_> = self.demand.fallback.iter().map(|value| value.get_ref().clone()).collect();
        let asked = ask(&Asking {
            name: self.name,
            command,
            directory: &path(&self.demand.cwd),
            artifact: &artifact,
            goldens: &goldens,
            goldens_path: &questions,
            fallback: &fallback,
            must_influence: &must_influence,
            timeout: self.demand.timeout.map(|age| age.0),
            tolerance: sealed.map_or_else(Tolerance::default, |sealed| sealed.annotations.tolerance),
            variables: variables(
                self.options.confinement,
                &home,
                &temporary,
                self.manifest.internal().source_date_epoch,
                [],
                [],
            ),
            home: &home,
            temporary: &temporary,
            hidden: &hidden,
            readable: &[],
            confinement: self.options.confinement,
            isolation: Isolation::Demanded,
            listener: self.options.listener,
            context: self.options.context,
        });
        match asked {
            Ok(asked) => Ok(self.judge(sealed, &asked)),
            Err(probe::Error::Run(run::Error::Interrupted)) => Err(Error::Interrupted),
            Err(error) => {
                // A command that did not run to its end has not given different answers.
                let status =
                    if matches!(error, probe::Error::Run(_)) { Status::Unknown } else { Status::Fail };
                let mut check = Check::new(self.id(), status, error.to_string());
                check.hint = error.hint();
                Ok(vec![check])
            }
        }
    }

    fn judge(&self, sealed: Option<&Byproduct>, asked: &probe::Asked) -> Vec<Check> {
        let mut checks = vec![match sealed.map(|sealed| agree(&sealed.annotations, &asked.facts)) {
            None => Check::unknown(self.id(), "the release has no sealed answers to compare with")
                .hint("add `[[probe]]` to the recipe to ask the model when it is built"),
            Some(Ok(())) => {
                let inputs = modelseal_format::display::count(asked.facts.inputs(), "question", "questions");
                Check::pass(self.id(), format!("{inputs}, same answers as sealed"))
            }
            Some(Err(reason)) => {
                Check::fail(self.id(), format!("its answers differ from the sealed ones: {reason}")).hint(
                    "this is not the model that was built: the artifact, its code or its environment differs",
                )
            }
        }];
        let sealed = sealed.map(|sealed| &sealed.annotations);
        checks.extend(judge_probe(self.name, &self.demand.limits, &asked.facts, sealed));
        checks
    }
}
