//! The recipe, `modelseal.toml`: what goes in, how it is made, what ships.
//!
//! Reading a recipe opens no other file: what its paths lead to is not this room's business.

mod age;
mod discover;
mod mistake;
mod values;

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use toml::Spanned;

pub use age::Age;
pub use discover::{Discovery, discover};
pub use mistake::Mistake;
pub use values::read_toml_values;

use crate::archive::Compression;
use crate::digest::Symlinks;
use crate::manifest::{self, Value};

/// The file's name.
pub const FILE_NAME: &str = "modelseal.toml";

/// No recipe is longer.
const LONGEST: u64 = 1 << 20;

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("there is no recipe {}", crate::text::path(.0))]
    Missing(PathBuf),
    #[error("cannot read the recipe {}", crate::text::path(path))]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the recipe {} is not {what}", crate::text::path(path))]
    NotText { path: PathBuf, what: &'static str },
    #[error(transparent)]
    Mistake(Box<Mistake>),
}

/// A recipe, and where it stands.
#[derive(Debug)]
pub struct Recipe {
    /// The recipe's own path.
    pub path: PathBuf,
    /// Its text, byte for byte: what its digest is taken from.
    pub text: String,
    pub tables: Tables,
    /// `[params] values`, kinds kept apart.
    pub values: Vec<(String, Value)>,
}

/// The tables of a recipe, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    pub model: Model,
    pub artifact: Artifact,
    #[serde(default)]
    pub data: Vec<Data>,
    #[serde(default)]
    pub base: Vec<Base>,
    #[serde(default)]
    pub params: Params,
    #[serde(default)]
    pub environment: Environment,
    #[serde(default)]
    pub code: Code,
    #[serde(default)]
    #[expect(dead_code, reason = "it is refused while it is read")]
    run: Option<NotYet>,
    #[serde(default)]
    #[expect(dead_code, reason = "it is refused while it is read")]
    probe: Option<NotYet>,
    #[serde(default)]
    pub archive: Archive,
}

/// `[model]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: Spanned<String>,
    pub version: Spanned<String>,
}

/// `[artifact]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    pub path: Spanned<String>,
    #[serde(default)]
    pub exclude: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "symlinks")]
    pub symlinks: Symlinks,
}

/// `[[data]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    pub name: Spanned<String>,
    pub path: Spanned<String>,
    pub label: Option<String>,
    pub timestamp: Option<String>,
    pub max_age: Option<Spanned<Age>>,
    #[serde(default, rename = "static")]
    pub is_static: bool,
    #[serde(default, deserialize_with = "symlinks")]
    pub symlinks: Symlinks,
}

/// `[[base]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    pub name: Spanned<String>,
    pub path: Spanned<String>,
    #[serde(default, deserialize_with = "symlinks")]
    pub symlinks: Symlinks,
}

/// `[params]`; the values are read separately, with their text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    #[serde(default)]
    pub files: Vec<Spanned<String>>,
    #[serde(default)]
    #[expect(dead_code, reason = "read by values::read, which keeps the text of numbers")]
    values: Option<serde::de::IgnoredAny>,
}

/// `[environment]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    #[serde(default)]
    pub files: Vec<Spanned<String>>,
}

/// `[code]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    pub path: Option<Spanned<String>>,
    /// There is no code revision to seal, on purpose.
    #[serde(default)]
    pub none: bool,
}

/// `[archive]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    #[serde(default, deserialize_with = "compression")]
    pub compression: Compression,
}

/// A table that a later version will understand.
#[derive(Debug)]
struct NotYet;

impl<'de> Deserialize<'de> for NotYet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer)?;
        Err(serde::de::Error::custom(
            "this version of modelseal runs no commands yet: `[run]` and `[[probe]]` cannot be used",
        ))
    }
}

fn symlinks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Symlinks, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        Refuse,
        Follow,
    }
    Ok(match Choice::deserialize(deserializer)? {
        Choice::Refuse => Symlinks::Refuse,
        Choice::Follow => Symlinks::Follow,
    })
}

fn compression<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Compression, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        None,
        Gzip,
        Zstd,
    }
    Ok(match Choice::deserialize(deserializer)? {
        Choice::None => Compression::None,
        Choice::Gzip => Compression::Gzip,
        Choice::Zstd => Compression::Zstd,
    })
}

impl Recipe {
    /// Reads the recipe of a project: of `directory`, or the file itself if that is what it names.
    ///
    /// # Errors
    /// [`Error`]; a mistake in the text shows its line, its column and the nearest known name.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        let path = if directory.is_file() { directory.to_path_buf() } else { directory.join(FILE_NAME) };
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Missing(path.clone()),
            _ => Error::Io { path: path.clone(), source },
        };
        if !fs::metadata(&path).map_err(io)?.is_file() {
            return Err(Error::NotText { path, what: "a regular file" });
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).map_err(io)?;
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > LONGEST {
            return Err(Error::NotText { path, what: "a recipe: it is longer than 1 MiB" });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(path, text),
            Err(_) => Err(Error::NotText { path, what: "UTF-8 text" }),
        }
    }

    /// Reads a recipe from its text.
    ///
    /// # Errors
    /// [`Error::Mistake`].
    pub fn parse(path: PathBuf, text: String) -> Result<Self, Error> {
        let tables: Tables = match toml::from_str(&text) {
            Ok(tables) => tables,
            Err(error) => {
                let mistake = Mistake::from_toml(&path, &text, &error);
                return Err(Error::Mistake(Box::new(mistake)));
            }
        };
        let values = values::read(&path, &text)?;
        let recipe = Self { path, text, tables, values };
        recipe.check()?;
        Ok(recipe)
    }

    /// The directory that every path of the recipe is relative to.
    pub fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        }
    }

    /// The archive's path if nobody names another one.
    pub fn default_output(&self, compression: Compression) -> PathBuf {
        let model = &self.tables.model;
        let (name, version) = (model.name.get_ref(), model.version.get_ref());
        let file = Path::new("dist").join(format!("{name}-{version}.tar{}", compression.ending()));
        match self.directory().to_str() {
            Some(".") => file,
            _ => self.directory().join(file),
        }
    }

    /// A mistake at a place in this recipe.
    pub fn mistake(&self, span: Range<usize>, message: impl Into<String>) -> Error {
        Error::Mistake(Box::new(Mistake::new(&self.path, &self.text, Some(span), message.into())))
    }

    fn check(&self) -> Result<(), Error> {
        let model = &self.tables.model;
        for (what, name) in [("name", &model.name), ("version", &model.version)] {
            if !manifest::is_name(name.get_ref()) {
                return Err(self.mistake(
                    name.span(),
                    format!("a model's {what} is 1 to 64 letters, digits, `.`, `_`, `+` or `-`, and begins with a letter or digit"),
                ));
            }
        }
        let data = self.tables.data.iter().map(|data| &data.name);
        let base = self.tables.base.iter().map(|base| &base.name);
        for names in [data.collect::<Vec<_>>(), base.collect()] {
            self.check_source_names(&names)?;
        }
        for data in &self.tables.data {
            if let Some(max_age) = &data.max_age {
                if data.timestamp.is_none() {
                    let message = "`max_age` needs `timestamp`: the column that says when a record was made";
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
        self.check_paths()
    }

    fn check_source_names(&self, names: &[&Spanned<String>]) -> Result<(), Error> {
        for (index, name) in names.iter().enumerate() {
            if !is_source_name(name.get_ref()) {
                let message = "a name is 1 to 64 lower-case letters, digits, `_` or `-`, and begins with a letter or digit";
                return Err(self.mistake(name.span(), message));
            }
            if names[..index].iter().any(|other| other.get_ref() == name.get_ref()) {
                return Err(self.mistake(name.span(), "this name stands twice"));
            }
        }
        Ok(())
    }

    /// Paths that must stay inside the work tree are relative; whether they stay there is seen later.
    fn check_paths(&self) -> Result<(), Error> {
        let tables = &self.tables;
        let inside = [&tables.artifact.path].into_iter().chain(&tables.params.files);
        let inside = inside.chain(&tables.environment.files).chain(&tables.code.path);
        for path in inside {
            if Path::new(path.get_ref()).is_absolute() {
                let message = "this path must be relative to the recipe and stay inside the work tree";
                return Err(self.mistake(path.span(), message));
            }
        }
        let data = tables.data.iter().map(|data| &data.path);
        let base = tables.base.iter().map(|base| &base.path);
        let all = [&tables.artifact.path].into_iter().chain(&tables.params.files);
        for path in all.chain(&tables.environment.files).chain(&tables.code.path).chain(data).chain(base) {
            let text = path.get_ref();
            if text.is_empty() || text.chars().any(char::is_control) {
                return Err(self.mistake(path.span(), "this is not a path"));
            }
        }
        Ok(())
    }
}

/// Names of data sources and base models: a dot would separate the parts of a check's id.
pub fn is_source_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}
