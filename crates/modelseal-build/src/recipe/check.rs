//! The rules within a recipe. Each error shows the place that breaks the rule.

use std::path::{Component, Path};

use toml::Spanned;

use super::{Error, Recipe};
use modelseal_format::manifest::{self, is_source_name};

impl Recipe {
    pub(super) fn check(&self) -> Result<(), Error> {
        let model = &self.tables.model;
        for (what, name) in [("name", &model.name), ("version", &model.version)] {
            if !manifest::is_name(name.get_ref()) {
                return Err(self.mistake(
                    name.span(),
                    format!("a model's {what} must be 1 to 64 letters, digits, `.`, `_`, `+` or `-`, and begin with a letter or digit"),
                ));
            }
        }
        if let Some(release) = &model.release
            && !(1..=manifest::LAST_RELEASE).contains(release.get_ref())
        {
            let message = format!("a release number must be from 1 to {}", manifest::LAST_RELEASE);
            return Err(self.mistake(release.span(), message));
        }
        let data = self.tables.data.iter().map(|data| &data.name);
        let base = self.tables.base.iter().map(|base| &base.name);
        let probes = self.tables.probe.iter().map(|probe| &probe.name);
        for names in [data.collect::<Vec<_>>(), base.collect(), probes.collect()] {
            self.check_source_names(&names)?;
        }
        for data in &self.tables.data {
            if let Some(max_age) = &data.max_age {
                if data.timestamp.is_none() {
                    let message = "`max_age` needs `timestamp`, the column with the time of each record";
                    return Err(self.mistake(max_age.span(), message));
                }
                if data.is_static {
                    let message = "`max_age` and `static = true` contradict each other";
                    return Err(self.mistake(max_age.span(), message));
                }
            }
        }
        let code = &self.tables.code;
        if let (true, Some(path)) = (code.none, &code.path) {
            return Err(self.mistake(path.span(), "`path` and `none = true` contradict each other"));
        }
        self.check_commands()?;
        self.check_tolerances()?;
        self.check_paths()
    }

    fn check_commands(&self) -> Result<(), Error> {
        let environment = self.tables.environment.commands.iter();
        let probes = self.tables.probe.iter().map(|probe| &probe.command);
        for command in environment.chain(self.tables.run.iter().map(|run| &run.command)).chain(probes) {
            let bad = |text: &String| text.contains('\0');
            if command.get_ref().first().is_none_or(String::is_empty) || command.get_ref().iter().any(bad) {
                let message =
                    "a command must be a list of a program and its arguments: `[\"python3\", \"train.py\"]`";
                return Err(self.mistake(command.span(), message));
            }
        }
        let Some(run) = &self.tables.run else {
            return match self.tables.environment.commands.first() {
                Some(command) => {
                    let message =
                        "`commands` describe the environment of the `[run]` command, but there is no `[run]`";
                    Err(self.mistake(command.span(), message))
                }
                None => Ok(()),
            };
        };
        let given = run.env.iter().map(|(name, value)| (name, value.span()));
        let passed = run.pass_env.iter().map(|name| (name.get_ref(), name.span()));
        for (name, span) in given.chain(passed) {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(self.mistake(span, "this is not a valid variable name"));
            }
            if name.starts_with("MODELSEAL_") {
                return Err(self.mistake(span, "variables named `MODELSEAL_…` never reach a command"));
            }
        }
        if let Some(value) = run.env.values().find(|value| value.get_ref().contains('\0')) {
            return Err(self.mistake(value.span(), "the value of a variable cannot contain a zero byte"));
        }
        for (index, name) in run.pass_env.iter().enumerate() {
            let twice = run.pass_env[..index].iter().any(|other| other.get_ref() == name.get_ref());
            if twice || run.env.contains_key(name.get_ref()) {
                return Err(self.mistake(name.span(), "this variable is given twice"));
            }
        }
        for (index, name) in run.caches.iter().enumerate() {
            let directory = name.get_ref().directory();
            let overlaps = run.caches[..index].iter().any(|other| {
                let other = other.get_ref().directory();
                other.starts_with(&directory) || directory.starts_with(&other)
            });
            if overlaps {
                return Err(self.mistake(name.span(), "this cache overlaps another one"));
            }
        }
        Ok(())
    }

    fn check_tolerances(&self) -> Result<(), Error> {
        let reproduce = &self.tables.reproduce;
        for tolerance in [&reproduce.atol, &reproduce.rtol].into_iter().flatten() {
            let value = *tolerance.get_ref();
            if !value.is_finite() || value.is_sign_negative() {
                return Err(self.mistake(tolerance.span(), "a tolerance must be finite and at least 0"));
            }
        }
        Ok(())
    }

    fn check_source_names(&self, names: &[&Spanned<String>]) -> Result<(), Error> {
        for (index, name) in names.iter().enumerate() {
            if !is_source_name(name.get_ref()) {
                let message = "a name must be 1 to 64 lower-case letters, digits, `_` or `-`, and begin with a letter or digit";
                return Err(self.mistake(name.span(), message));
            }
            if names[..index].iter().any(|other| other.get_ref() == name.get_ref()) {
                return Err(self.mistake(name.span(), "this name is used twice"));
            }
        }
        Ok(())
    }

    /// Checks that paths that must stay inside the work tree are relative. Where they lead is checked later.
    fn check_paths(&self) -> Result<(), Error> {
        let tables = &self.tables;
        let inside = [&tables.artifact.path].into_iter().chain(&tables.params.files);
        let inside = inside.chain(&tables.environment.files).chain(&tables.code.path);
        let probes = tables.probe.iter().map(|probe| &probe.inputs);
        let inside = inside.chain(probes.clone());
        for path in inside {
            if Path::new(path.get_ref()).is_absolute() {
                let message = "this path must be relative to the recipe and stay inside the work tree";
                return Err(self.mistake(path.span(), message));
            }
        }
        let data = tables.data.iter().map(|data| &data.path);
        let base = tables.base.iter().map(|base| &base.path);
        let all = [&tables.artifact.path].into_iter().chain(&tables.params.files);
        for path in all
            .chain(&tables.environment.files)
            .chain(&tables.code.path)
            .chain(data)
            .chain(base)
            .chain(probes)
        {
            let text = path.get_ref();
            if text.is_empty() || text.chars().any(char::is_control) {
                return Err(self.mistake(path.span(), "this is not a valid path"));
            }
            if goes_back(text) {
                // After a link, `..` is one place to the system and another to this program.
                let message = "`..` is allowed only at the start of a path";
                return Err(self.mistake(path.span(), message));
            }
        }
        Ok(())
    }
}

/// Whether `..` follows a name.
fn goes_back(path: &str) -> bool {
    let mut parts = Path::new(path).components().skip_while(|part| !matches!(part, Component::Normal(_)));
    parts.any(|part| part == Component::ParentDir)
}
