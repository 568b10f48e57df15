use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use modelseal_format::display::Escaped;

/// A mistake in a user's TOML file: where it is, what it is, and what the user probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub path: PathBuf,
    pub message: String,
    /// Line and column, counted from 1, and the text of the line.
    pub place: Option<(usize, usize, String)>,
    /// Number of characters to mark in the line.
    width: usize,
    /// The known name nearest to an unknown one.
    pub nearest: Option<String>,
}

/// Messages cut lines longer than this number of characters.
const WIDEST: usize = 200;

impl Mistake {
    /// Creates a mistake at a range of bytes in the text.
    pub fn new(path: &Path, text: &str, span: Option<Range<usize>>, message: String) -> Self {
        let (place, width) = match span.and_then(|span| place(text, span)) {
            Some((place, width)) => (Some(place), width),
            None => (None, 0),
        };
        Self { path: path.to_path_buf(), message, place, width, nearest: None }
    }

    /// Converts an error of the TOML reader. Its message names the unknown key and all known ones, in the form that
    /// serde uses for all such errors. A test checks that form.
    pub fn from_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message();
        // A missing key is reported at the header of its table. A key that is missing at the top level has no location.
        let is_nowhere = |span: &Range<usize>| {
            let begins_table = text.get(span.start..).is_some_and(|rest| rest.starts_with('['));
            message.starts_with("missing field") && !begins_table
        };
        let span = error.span().filter(|span| !is_nowhere(span));
        let mut mistake = Self::new(path, text, span, String::new());
        let unknown = ["unknown field `", "unknown variant `"]
            .into_iter()
            .find_map(|start| message.strip_prefix(start))
            .and_then(|rest| rest.split_once('`'));
        match unknown {
            Some((unknown, known)) => {
                let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
                let what = if message.starts_with("unknown field") { "key" } else { "value" };
                mistake.set_unknown(what, unknown, &known);
            }
            None => mistake.message = Escaped(&message.replace('\n', " ")).to_string(),
        }
        mistake
    }
}

impl Mistake {
    /// An unknown key where only these keys are known.
    pub fn unknown_key(path: &Path, text: &str, span: Range<usize>, key: &str, known: &[&str]) -> Self {
        let mut mistake = Self::new(path, text, Some(span), String::new());
        mistake.set_unknown("key", key, known);
        mistake
    }

    fn set_unknown(&mut self, what: &str, unknown: &str, known: &[&str]) {
        self.message = format!("unknown {what} {}", modelseal_format::display::name(unknown));
        self.nearest = nearest(unknown, known);
        if self.nearest.is_none() {
            self.message.push_str(&format!("; expected one of {}", list(known)));
        }
    }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The known name that needs the fewest edits, if there are few enough for a typing error.
fn nearest(unknown: &str, known: &[&str]) -> Option<String> {
    let distance = |name: &&&str| strsim::damerau_levenshtein(unknown, name);
    let name = known.iter().min_by_key(distance)?;
    (distance(&name) <= 1 + unknown.chars().count() / 3).then(|| name.to_string())
}

type Place = (usize, usize, String);

fn place(text: &str, span: Range<usize>) -> Option<(Place, usize)> {
    let before = text.get(..span.start)?;
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = text.get(start..span.start)?.chars().count() + 1;
    let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    let shown: String = text.get(start..end)?.trim_end().chars().take(WIDEST).collect();
    let width = text.get(span.start..span.end.min(end)).map_or(1, |part| part.chars().count());
    let width = width.min(shown.chars().count().saturating_sub(column - 1)).max(1);
    Some(((line, column, shown), width))
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.message)?;
        let Some((line, column, shown)) = &self.place else {
            return write!(formatter, " in {}", modelseal_format::display::path(&self.path));
        };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let path = self.path.strip_prefix("./").unwrap_or(&self.path).to_string_lossy();
        write!(formatter, "\n {margin}--> {}:{line}:{column}", Escaped(&path))?;
        write!(formatter, "\n {margin} |")?;
        // Each tab becomes one space, so that the marks are below the characters they refer to.
        let shown = shown.replace('\t', " ");
        let indent: String = shown.chars().take(column - 1).collect();
        let indent = " ".repeat(Escaped(&indent).to_string().chars().count());
        let shown = Escaped(&shown);
        write!(formatter, "\n {number} | {shown}")?;
        write!(formatter, "\n {margin} | {indent}{}", "^".repeat(self.width))
    }
}

impl std::error::Error for Mistake {}
