//! The recipe, `modelseal.toml`: what goes in, how it is made, what ships.
//!
//! Reading a recipe opens no other file. Other modules check where its paths lead.

mod cache;
mod check;
mod discover;
mod size;
mod tables;
mod values;

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use cache::CacheName;
pub use discover::{Discovery, discover};
pub use size::Size;
pub use tables::{
    Archive, Artifact, Base, Code, Data, Environment, Model, Params, Probe, Reproduce, Run, Tables,
};
pub use values::read_toml_values;

use modelseal_format::archive::Compression;
use modelseal_format::manifest::Value;
use modelseal_verify::config::Mistake;

/// The name of the recipe file.
pub const FILE_NAME: &str = "modelseal.toml";

/// Maximum size of a recipe, in bytes.
const LONGEST: u64 = 1 << 20;

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot find the recipe {}", modelseal_format::display::path(.0))]
    Missing(PathBuf),
    #[error("cannot read the recipe {}", modelseal_format::display::path(path))]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the recipe {} {what}", modelseal_format::display::path(path))]
    NotText { path: PathBuf, what: &'static str },
    #[error(transparent)]
    Mistake(Box<Mistake>),
}

/// A recipe and its location.
#[derive(Debug)]
pub struct Recipe {
    /// The path of the recipe itself.
    pub path: PathBuf,
    /// The text, byte for byte. The digest of the recipe is computed from it.
    pub text: String,
    pub tables: Tables,
    /// `[params] values`. Kinds of values stay distinct.
    pub values: Vec<(String, Value)>,
}

impl Recipe {
    /// Returns the nearest directory with a recipe: `directory`, or one above it in the same git work tree. If there is
    /// none, returns `directory`. Outside of a work tree, the directories above may belong to anyone.
    pub fn find(directory: &Path) -> PathBuf {
        let Ok(absolute) = directory.canonicalize() else { return directory.to_path_buf() };
        let project = project_around(&absolute);
        let mut within = absolute.ancestors().take_while(|above| above.starts_with(project));
        if let Some(steps) =
            within.position(|above| above.join(FILE_NAME).is_file()).filter(|steps| *steps > 0)
        {
            return std::iter::repeat_n("..", steps).collect();
        }
        directory.to_path_buf()
    }

    /// The path of the recipe in `directory`, or `directory` itself if it is a file.
    pub fn path_in(directory: &Path) -> PathBuf {
        if directory.is_file() { directory.to_path_buf() } else { directory.join(FILE_NAME) }
    }

    /// Reads the recipe in `directory`, or the file itself if `directory` is a file.
    ///
    /// # Errors
    /// [`Error`]. A mistake in the text shows its line, its column and the nearest known name.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        let path = Self::path_in(directory);
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Missing(path.clone()),
            _ => Error::Io { path: path.clone(), source },
        };
        if !fs::metadata(&path).map_err(io)?.is_file() {
            return Err(Error::NotText { path, what: "is not a regular file" });
        }
        if path.is_symlink() && !stays_in_project(&path) {
            return Err(Error::NotText { path, what: "is a link that leads out of its project" });
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).map_err(io)?;
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > LONGEST {
            return Err(Error::NotText { path, what: "is longer than 1 MiB" });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(path, text),
            Err(_) => Err(Error::NotText { path, what: "is not UTF-8 text" }),
        }
    }

    /// Parses the text of a recipe.
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

    /// The path of the archive if the user names no other.
    pub fn default_output(&self, compression: Compression) -> PathBuf {
        let model = &self.tables.model;
        let (name, version) = (model.name.get_ref(), model.version.get_ref());
        let file = Path::new("dist").join(format!("{name}-{version}.tar{}", compression.ending()));
        match self.directory().to_str() {
            Some(".") => file,
            _ => self.directory().join(file),
        }
    }

    /// An error at a place in this recipe.
    pub fn mistake(&self, span: Range<usize>, message: impl Into<String>) -> Error {
        Error::Mistake(Box::new(Mistake::new(&self.path, &self.text, Some(span), message.into())))
    }
}

/// Whether the target of a link is in the same git work tree, or without one in the same directory. Otherwise an error
/// message could show a line of any other file.
fn stays_in_project(path: &Path) -> bool {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(directory), Ok(leads)) = (directory.canonicalize(), path.canonicalize()) else { return false };
    leads.starts_with(project_around(&directory))
}

/// The git work tree around a directory, or the directory itself if there is none.
fn project_around(directory: &Path) -> &Path {
    directory.ancestors().find(|above| above.join(".git").exists()).unwrap_or(directory)
}
