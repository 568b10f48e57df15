use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// A mistake in a section of a policy.
#[derive(Debug)]
pub enum SectionError {
    /// Found by the TOML parser.
    Toml(toml::de::Error),
    /// Found by a rule: its place in the text, and the message.
    Mistake { span: Range<usize>, message: String },
    /// A required key that is missing.
    Missing(&'static str),
    /// A key that no rule reads, and the keys that are known in its table.
    UnknownKey { span: Range<usize>, key: String, known: Vec<&'static str> },
}

impl SectionError {
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        SectionError::Mistake { span, message: message.into() }
    }
}

impl From<toml::de::Error> for SectionError {
    fn from(error: toml::de::Error) -> Self {
        SectionError::Toml(error)
    }
}

/// The keys of one table of a policy. Reading a key removes it, and the keys that remain at the end are unknown.
#[derive(Clone)]
pub struct Section<'a> {
    subject: String,
    /// The place of the subject's name in the text.
    span: Range<usize>,
    table: DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Parses the top level of a policy.
    ///
    /// # Errors
    /// The text is not TOML.
    pub fn parse(text: &'a str) -> Result<Self, SectionError> {
        Ok(Self { subject: String::new(), span: 0..0, table: DeTable::parse(text)?.into_inner() })
    }

    /// The name of the data source or probe that the table is about. Empty at the top level.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The place of the subject's name in the text.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Removes a key and reads its value. `None` if it is not there. With `Spanned<T>`, the value knows its place in
    /// the text.
    ///
    /// # Errors
    /// The value has another form.
    pub fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, SectionError> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        Ok(Some(T::deserialize(ValueDeserializer::from(value))?))
    }

    /// Removes the tables of a group, such as `[data.NAME]`, and returns them in the order of their names.
    ///
    /// # Errors
    /// The value is not a table of tables.
    pub fn take_each(&mut self, group: &str) -> Result<Vec<Section<'a>>, SectionError> {
        let not_tables = |span| {
            let message = format!("`{group}` needs a table for each name: `[{group}.NAME]`");
            SectionError::at(span, message)
        };
        let Some(value) = self.table.remove(group) else { return Ok(Vec::new()) };
        let span = value.span();
        let DeValue::Table(tables) = value.into_inner() else { return Err(not_tables(span)) };
        let mut sections = BTreeMap::new();
        for (name, value) in tables {
            let span = value.span();
            let DeValue::Table(table) = value.into_inner() else { return Err(not_tables(span)) };
            let (span, subject) = (name.span(), name.into_inner().into_owned());
            sections.insert(subject.clone(), Section { subject, span, table });
        }
        Ok(sections.into_values().collect())
    }

    /// Checks that every key was read. `known` are the keys that can be read here.
    ///
    /// # Errors
    /// The first key that was not read.
    pub fn end(self, known: impl IntoIterator<Item = &'static str>) -> Result<(), SectionError> {
        let first = self.table.into_iter().map(|(key, _)| key).min_by_key(|key| key.span().start);
        match first {
            None => Ok(()),
            Some(key) => Err(SectionError::UnknownKey {
                span: key.span(),
                key: key.into_inner().into_owned(),
                known: known.into_iter().collect(),
            }),
        }
    }
}
