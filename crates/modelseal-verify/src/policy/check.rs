//! The rules that hold within a policy, each with the place where it is broken.

use toml::Spanned;

use super::{Aspect, Error, Policy};
use modelseal_format::manifest;
use modelseal_format::manifest::is_source_name;

/// The largest Jensen-Shannon distance that there is: the square root of the natural logarithm of 2.
const LARGEST_DISTANCE: f64 = 0.832_554;

/// What is judged of a probe beside what its answers say: the last parts of the ids.
const PROBE_CHECKS: [&str; 4] = ["answers", "isolation", "questions", "tolerance"];

impl Policy {
    pub(super) fn check(&self) -> Result<(), Error> {
        let tables = &self.tables;
        if !manifest::is_name(tables.model.get_ref()) {
            return Err(self.mistake(tables.model.span(), "this is not the name of a model"));
        }
        self.check_signers()?;
        self.check_data()?;
        self.check_probes()?;
        self.check_waivers()
    }

    fn check_data(&self) -> Result<(), Error> {
        for (name, data) in &self.tables.data {
            self.check_name("data", name)?;
            for distance in [&data.labels, &data.slices].into_iter().flatten() {
                if let Some(limit) = &distance.max_js_distance {
                    self.check_within(limit, LARGEST_DISTANCE)?;
                }
            }
            let Some(rows) = &data.rows else { continue };
            let (span, rows) = (rows.span(), rows.get_ref());
            for ratio in [&rows.min_ratio, &rows.max_ratio].into_iter().flatten() {
                self.check_within(ratio, f64::MAX)?;
            }
            if rows.min_ratio.is_none() && rows.max_ratio.is_none() {
                let message = "`rows` needs `min_ratio` or `max_ratio`: without them it demands nothing";
                return Err(self.mistake(span, message));
            }
            if let (Some(least), Some(most)) = (&rows.min_ratio, &rows.max_ratio)
                && least.get_ref() > most.get_ref()
            {
                return Err(self.mistake(least.span(), "`min_ratio` is more than `max_ratio`"));
            }
        }
        Ok(())
    }

    fn check_probes(&self) -> Result<(), Error> {
        for (name, probe) in &self.tables.probe {
            self.check_name("probe", name)?;
            let shares = [&probe.max_commonest, &probe.max_fallback, &probe.min_sensitivity];
            for share in shares.into_iter().flatten() {
                self.check_within(share, 1.0)?;
            }
            for tolerance in [&probe.max_atol, &probe.max_rtol].into_iter().flatten() {
                if !(tolerance.get_ref().is_finite() && *tolerance.get_ref() >= 0.0) {
                    return Err(self.mistake(tolerance.span(), "a tolerance is a number of at least 0"));
                }
            }
            match (&probe.command, &probe.inputs) {
                (Some(command), None) => {
                    return Err(self.mistake(command.span(), "a `command` needs `inputs`: what it is asked"));
                }
                (Some(command), _) if command.get_ref().first().is_none_or(String::is_empty) => {
                    let message = "a command is a list of a program and its arguments";
                    return Err(self.mistake(command.span(), message));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Keys of tables have no place of their own: the message names the table.
    fn check_name(&self, kind: &str, name: &str) -> Result<(), Error> {
        if is_source_name(name) {
            return Ok(());
        }
        let quoted = |quote: &str| self.text.find(&format!("[{kind}.{quote}{name}{quote}"));
        let place = quoted("").or_else(|| quoted("\"")).or_else(|| quoted("'"));
        let place = place.or_else(|| self.text.find(&format!("[{kind}."))).unwrap_or(0);
        let message = format!("{} is not a name that a recipe can have", modelseal_format::text::name(name));
        Err(self.mistake(place..place + 1, message))
    }

    fn check_within(&self, limit: &Spanned<f64>, most: f64) -> Result<(), Error> {
        let value = *limit.get_ref();
        if value.is_finite() && value > 0.0 && value <= most {
            return Ok(());
        }
        let message = match most {
            f64::MAX => "a limit is a number above 0".to_string(),
            most => format!("a limit here is a number above 0 and at most {most}"),
        };
        Err(self.mistake(limit.span(), message))
    }

    fn check_waivers(&self) -> Result<(), Error> {
        for waiver in &self.tables.waiver {
            if waiver.reason.get_ref().trim().is_empty() {
                return Err(self.mistake(waiver.reason.span(), "a waiver needs a reason"));
            }
            if !self.can_be_waived(waiver.check.get_ref()) {
                let message = "this cannot be waived: it is no check of this policy, or one of those that always have to pass";
                return Err(self.mistake(waiver.check.span(), message));
            }
        }
        Ok(())
    }

    fn can_be_waived(&self, id: &str) -> bool {
        let tables = &self.tables;
        let source = |rest: &str| tables.data.contains_key(rest);
        match id.split_once('.') {
            Some(("gate", "refresh")) => tables.refresh.is_some(),
            Some(("gate", "version")) => true,
            Some(("gate", rest)) => match rest.split_once('.') {
                Some(("freshness" | "labels" | "rows" | "slices", name)) => source(name),
                _ => false,
            },
            Some(("probe", rest)) => {
                let (name, aspect) =
                    rest.split_once('.').map_or((rest, None), |(name, rest)| (name, Some(rest)));
                let is_check = |check: &str| {
                    PROBE_CHECKS.contains(&check) || Aspect::ALL.iter().any(|aspect| aspect.name() == check)
                };
                tables.probe.contains_key(name) && aspect.is_none_or(is_check)
            }
            Some(("lineage", rest)) => match rest.split_once('.') {
                Some(("data", name)) => source(name),
                Some(("base", _)) => true,
                _ => matches!(rest, "origin" | "code" | "reachable" | "data" | "params" | "environment"),
            },
            _ => false,
        }
    }
}
