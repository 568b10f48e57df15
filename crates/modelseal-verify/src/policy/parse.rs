//! Parses a policy into its questions. Every mistake has its place in the text.

use std::path::{Path, PathBuf};

use super::{Asked, Error, Policy, Probe};
use crate::config::Mistake;
use crate::rule::{Rule, Section, SectionError, Table};
use crate::rules::RULES;
use crate::rules::probes::ProbeLimits;
use modelseal_format::display::name;
use modelseal_format::manifest::{is_name, is_source_name};

/// The top-level keys that belong to no rule.
const KEYS: [&str; 8] =
    ["model", "reproduced_level", "signatures", "min_release", "previous", "warnings", "signer", "waiver"];

impl Policy {
    /// Reads a policy from its text.
    ///
    /// # Errors
    /// [`Error::Mistake`].
    pub fn parse(path: PathBuf, text: String) -> Result<Self, Error> {
        Self::parse_with(path, text, &RULES)
    }

    /// Reads a policy with the questions of these rules.
    ///
    /// # Errors
    /// [`Error::Mistake`].
    pub fn parse_with(path: PathBuf, text: String, rules: &[&'static dyn Rule]) -> Result<Self, Error> {
        let parsed = read(path.clone(), &text, rules);
        let policy = parsed.map_err(|error| Error::Mistake(Box::new(located(&path, &text, error))))?;
        let policy = Self { text, ..policy };
        policy.check_signers()?;
        policy.check_waivers()?;
        Ok(policy)
    }
}

fn located(path: &Path, text: &str, error: SectionError) -> Mistake {
    match error {
        SectionError::Toml(error) => Mistake::from_toml(path, text, &error),
        SectionError::Mistake { span, message } => Mistake::new(path, text, Some(span), message),
        SectionError::Missing(key) => Mistake::new(path, text, None, format!("missing field `{key}`")),
        SectionError::UnknownKey { span, key, known } => Mistake::unknown_key(path, text, span, &key, &known),
    }
}

/// Reads everything except the text.
fn read(path: PathBuf, text: &str, rules: &[&'static dyn Rule]) -> Result<Policy, SectionError> {
    let mut top = Section::parse(text)?;
    let model: toml::Spanned<String> = top.take("model")?.ok_or(SectionError::Missing("model"))?;
    if !is_name(model.get_ref()) {
        return Err(SectionError::at(model.span(), "not a valid name of a model"));
    }
    let mut policy = Policy {
        path,
        text: String::new(),
        model,
        // The rule reads this key, too, so it is read from a copy.
        origin: top.clone().take("origin")?,
        reproduced_level: top.take("reproduced_level")?,
        signatures: top.take("signatures")?,
        min_release: top.take("min_release")?,
        previous: top.take("previous")?,
        warnings: top.take("warnings")?.unwrap_or_default(),
        signer: top.take("signer")?.unwrap_or_default(),
        waiver: top.take("waiver")?.unwrap_or_default(),
        probes: Vec::new(),
        asked: Vec::new(),
    };
    let mut groups = Vec::new();
    // All rules of a group ask their questions about one subject before those about the next.
    for rules in rules.chunk_by(|left, right| left.table() == right.table()) {
        match rules[0].table() {
            Table::Top => ask(&mut policy, rules, &mut top)?,
            Table::Each(group) => {
                groups.push(group);
                for section in top.take_each(group)? {
                    ask_of_each(&mut policy, rules, group, section)?;
                }
            }
        }
    }
    let top_keys = rules.iter().filter(|rule| rule.table() == Table::Top).flat_map(|rule| rule.keys());
    top.end(KEYS.into_iter().chain(top_keys.copied()).chain(groups))?;
    Ok(policy)
}

fn ask(
    policy: &mut Policy,
    rules: &[&'static dyn Rule],
    section: &mut Section<'_>,
) -> Result<(), SectionError> {
    for rule in rules {
        let subject = section.subject().to_string();
        policy.asked.extend(rule.read(section)?.map(|demand| Asked { rule: *rule, subject, demand }));
    }
    Ok(())
}

fn ask_of_each(
    policy: &mut Policy,
    rules: &[&'static dyn Rule],
    group: &str,
    mut section: Section<'_>,
) -> Result<(), SectionError> {
    if !is_source_name(section.subject()) {
        let message = format!("{} is not a valid name in a recipe", name(section.subject()));
        return Err(SectionError::at(section.span(), message));
    }
    let keys = rules.iter().flat_map(|rule| rule.keys()).copied();
    if group != "probe" {
        ask(policy, rules, &mut section)?;
        return section.end(keys);
    }
    // The same limits apply to live models.
    let limits = ProbeLimits::read(&mut section.clone())?;
    ask(policy, rules, &mut section)?;
    policy.probes.push(Probe::read(&mut section, limits)?);
    section.end(keys.chain(Probe::KEYS))
}
