//! Runs the commands of a recipe, with everything that they depend on.
//!
//! A build in the work tree, a build in a clean clone and a rebuild run them the same way, so that their results can
//! agree.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use crate::recipe::Recipe;
use crate::run::{
    self, Confinement, Ended, Isolation, Job, Limits, Listener, Sandbox, Stream, Variables, variables,
};
use modelseal_format::context::Context;
use modelseal_format::manifest::CommandOutput;

/// Limits of a command that describes the environment.
const DESCRIBING: Limits = Limits { time: Some(Duration::from_secs(60)), output: 64 << 10, silence: None };

/// Where the commands of a recipe run, and with which settings.
pub struct Setting<'a> {
    pub recipe: &'a Recipe,
    pub home: &'a Path,
    /// The directory for temporary files.
    pub temporary: &'a Path,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: u64,
    /// The decisions made before the first command runs.
    pub confinement: &'a Confinement,
    /// What the commands can reach, before the recipe's network setting is applied.
    pub reach: Sandbox,
    pub listener: &'a dyn Listener,
    pub context: &'a Context,
}

impl Setting<'_> {
    /// The environment variables of the commands.
    pub fn variables(&self) -> Variables {
        let run = self.recipe.tables.run.as_ref();
        let given = run.into_iter().flat_map(|run| &run.env);
        let passed = run.into_iter().flat_map(|run| &run.pass_env);
        variables(
            self.confinement,
            self.home,
            self.temporary,
            self.epoch,
            given.map(|(name, value)| (name.as_str(), value.get_ref().as_str())),
            passed.map(|name| name.get_ref().as_str()),
        )
    }

    /// What the commands can reach, with the recipe's network setting applied.
    pub fn sandbox(&self) -> Sandbox {
        let network = self.recipe.tables.run.as_ref().is_none_or(|run| run.network);
        let isolation = if network { Isolation::WhereItWorks } else { Isolation::Demanded };
        Sandbox { isolation, network, ..self.reach.clone() }
    }

    /// Runs the commands that describe the environment, and returns what they print.
    ///
    /// # Errors
    /// [`run::Error`], also if one of the commands fails.
    pub fn describe(&self) -> Result<Vec<CommandOutput>, run::Error> {
        let variables = self.variables();
        let sandbox = self.sandbox();
        let describe = |command: &Vec<String>| {
            let collected = Collect::default();
            run::run(&Job {
                command,
                directory: self.recipe.directory(),
                variables: &variables,
                confinement: self.confinement,
                sandbox: &sandbox,
                limits: DESCRIBING,
                input: &[],
                log: None,
                listener: &collected,
                context: self.context,
            })?;
            Ok(CommandOutput { command: command.clone(), output: collected.text() })
        };
        self.recipe.tables.environment.commands.iter().map(|command| describe(command.get_ref())).collect()
    }

    /// Runs the command that makes the artifact. Returns `None` if the recipe has no command.
    ///
    /// # Errors
    /// [`run::Error`].
    pub fn make(&self, log: Option<&File>) -> Result<Option<Ended>, run::Error> {
        let Some(run) = &self.recipe.tables.run else { return Ok(None) };
        self.run(run.command.get_ref(), &self.variables(), &self.sandbox(), log).map(Some)
    }

    /// Runs a command within the limits of the recipe.
    ///
    /// # Errors
    /// [`run::Error`].
    pub fn run(
        &self,
        command: &[String],
        variables: &Variables,
        sandbox: &Sandbox,
        log: Option<&File>,
    ) -> Result<Ended, run::Error> {
        let run = self.recipe.tables.run.as_ref();
        run::run(&Job {
            command,
            directory: self.recipe.directory(),
            variables,
            confinement: self.confinement,
            sandbox,
            limits: Limits {
                time: run.and_then(|run| run.timeout).map(|age| age.0),
                output: run.map_or(DESCRIBING.output, |run| run.max_output.0),
                silence: None,
            },
            input: &[],
            log,
            listener: self.listener,
            context: self.context,
        })
    }
}

/// Collects what a command prints: all of standard output, then all of standard error, so that the order is always the
/// same.
#[derive(Default)]
struct Collect {
    output: Mutex<Vec<u8>>,
    error: Mutex<Vec<u8>>,
}

impl Listener for Collect {
    fn output(&self, stream: Stream, bytes: &[u8]) {
        let kept = match stream {
            Stream::Output => &self.output,
            Stream::Error => &self.error,
        };
        if let Ok(mut kept) = kept.lock() {
            kept.extend_from_slice(bytes);
        }
    }

    fn waiting(&self, _: Duration) {}
}

impl Collect {
    fn text(self) -> String {
        let mut bytes = self.output.into_inner().unwrap_or_default();
        bytes.extend(self.error.into_inner().unwrap_or_default());
        String::from_utf8_lossy(&bytes).trim().to_string()
    }
}
