use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// A mistake in a section of a policy.
#[derive(Debug)]
pub enum SectionError {
    /// Found by the TOML reader.
    Toml(toml::de::Error),
    /// Found by a rule: where in the text, and what.
    Mistake { span: Range<usize>, message: String },
    /// A key that has to be there.
    Missing(&'static str),
    /// A key that nobody reads, and those that are known there.
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

/// The keys of one table of a policy. A key that is read is taken out; what is left at the end is unknown.
#[derive(Clone)]
pub struct Section<'a> {
    subject: String,
    /// Where the subject is named.
    span: Range<usize>,
    table: DeTable<'a>,
}

impl<'a> Section<'a> {
    /// The top level of a policy.
    ///
    /// # Errors
    /// The text is not TOML.
    pub fn parse(text: &'a str) -> Result<Self, SectionError> {
        Ok(Self { subject: String::new(), span: 0..0, table: DeTable::parse(text)?.into_inner() })
    }

    /// The data source or probe that the table is about; empty at the top level.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Where the subject is named in the text.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Takes a key out and reads its value; `None` if it is not there. With `Spanned<T>` the value knows its place.
    ///
    /// # Errors
    /// The value has another form.
    pub fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, SectionError> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        Ok(Some(T::deserialize(ValueDeserializer::from(value))?))
    }

    /// Takes out the tables of a group, such as `[data.NAME]`, in the order of their names.
    ///
    /// # Errors
    /// It is not a table of tables.
    pub fn take_each(&mut self, group: &str) -> Result<Vec<Section<'a>>, SectionError> {
        let not_tables = |span| {
            let message = format!("`{group}` has a table for each name: `[{group}.NAME]`");
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

    /// Whether everything was read.
    ///
    /// # Errors
    /// The first key that was not. `known` are those that can be read here.
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
