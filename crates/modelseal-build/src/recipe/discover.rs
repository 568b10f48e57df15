//! What `init` finds in a project, and the recipe that it writes from that.

use std::fmt::Write;
use std::path::Path;

use modelseal_format::context::Context;
use modelseal_format::digest::{self, EntryKind, Symlinks, walk};
use modelseal_format::manifest::{self, is_source_name};

/// Model formats, by file name ending.
const MODEL_ENDINGS: [&str; 16] = [
    "safetensors",
    "gguf",
    "onnx",
    "pt",
    "pth",
    "ckpt",
    "pkl",
    "pickle",
    "joblib",
    "skops",
    "h5",
    "keras",
    "npz",
    "tflite",
    "pb",
    "ubj",
];
const MODEL_DIRECTORIES: [&str; 6] = ["model", "models", "artifact", "artifacts", "checkpoint", "output"];
const DATA_DIRECTORIES: [&str; 4] = ["data", "dataset", "datasets", "corpus"];
const DATA_ENDINGS: [&str; 7] = ["csv", "csv.gz", "tsv", "jsonl", "jsonl.gz", "ndjson", "parquet"];
const PARAMS: [&str; 5] = ["params", "hyperparameters", "hyperparams", "config", "hparams"];
const PARAMS_ENDINGS: [&str; 4] = ["toml", "yaml", "yml", "json"];
const LOCK_FILES: [&str; 10] = [
    "requirements.lock",
    "requirements.txt",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "pixi.lock",
    "conda-lock.yml",
    "environment.yml",
    "environment.yaml",
];
/// Directories that contain neither data nor models of this project.
const SKIPPED: [&str; 7] = ["dist", "node_modules", "venv", "env", "__pycache__", "target", "build"];

/// If there are more data files than this, their directory is offered instead.
const MANY: usize = 4;

/// What was found below a directory. Paths are relative to it.
#[derive(Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovery {
    pub name: String,
    pub artifact: Option<String>,
    /// Names and paths.
    pub data: Vec<(String, String)>,
    pub params: Vec<String>,
    pub environment: Vec<String>,
    pub in_git: bool,
}

/// Examines names only, three levels deep. Opens no file.
///
/// # Errors
/// The errors of [`walk`].
pub fn discover(directory: &Path, context: &Context) -> Result<Discovery, digest::Error> {
    let leave_out = |path: &str, is_directory: bool| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let hidden = name.starts_with('.');
        hidden || (is_directory && (SKIPPED.contains(&name) || path.split('/').count() > 2))
    };
    let tree = walk(directory, Symlinks::Refuse, &leave_out, context)?;
    let files: Vec<&str> = tree
        .entries
        .iter()
        .filter(|entry| matches!(entry.kind, EntryKind::File))
        .filter_map(|entry| entry.path())
        .filter(|path| manifest::check_name(path).is_ok())
        .collect();
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
    let top = |path: &&&str| !path.contains('/');
    let artifact = find_artifact(&files);
    let is_shipped = |path: &str| {
        let inside = |artifact: &String| path == artifact || path.starts_with(&format!("{artifact}/"));
        artifact.as_ref().is_some_and(inside)
    };
    let files: Vec<&str> = files.iter().copied().filter(|path| !is_shipped(path)).collect();
    Ok(Discovery {
        name: name_from(&absolute),
        data: find_data(&files),
        params: files
            .iter()
            .filter(top)
            .filter(|path| is_params(path))
            .map(|path| path.to_string())
            .collect(),
        environment: LOCK_FILES
            .iter()
            .filter(|name| files.contains(name))
            .map(|name| name.to_string())
            .collect(),
        in_git: absolute.ancestors().any(|above| above.join(".git").exists()),
        artifact,
    })
}

fn name_from(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = name
        .chars()
        .map(|character| if manifest::is_name(&format!("a{character}")) { character } else { '-' })
        .take(64)
        .collect();
    if manifest::is_name(&name) { name } else { "model".to_string() }
}

/// Returns the directory that looks like the model's, or the directory of the first model file, or the file itself.
fn find_artifact(files: &[&str]) -> Option<String> {
    let named = MODEL_DIRECTORIES
        .iter()
        .find(|directory| files.iter().any(|path| path.starts_with(&format!("{directory}/"))));
    if let Some(directory) = named {
        return Some(directory.to_string());
    }
    let path = files.iter().find(|path| has_ending(path, &MODEL_ENDINGS))?;
    Some(path.rsplit_once('/').map_or(*path, |(directory, _)| directory).to_string())
}

fn find_data(files: &[&str]) -> Vec<(String, String)> {
    let in_directory = |path: &&str| {
        let top = path.split('/').next().unwrap_or_default();
        has_ending(path, &DATA_ENDINGS) || (path.contains('/') && DATA_DIRECTORIES.contains(&top))
    };
    let found: Vec<&str> = files.iter().copied().filter(in_directory).collect();
    if found.len() <= MANY && found.iter().all(|path| has_ending(path, &DATA_ENDINGS)) {
        return found.iter().map(|path| (source_name(path), path.to_string())).collect();
    }
    let mut directories: Vec<&str> =
        found.iter().filter_map(|path| path.split_once('/').map(|(top, _)| top)).collect();
    directories.dedup();
    directories.into_iter().map(|path| (source_name(path), path.to_string())).collect()
}

fn is_params(path: &str) -> bool {
    let (stem, ending) = path.rsplit_once('.').unwrap_or((path, ""));
    PARAMS.contains(&stem) && PARAMS_ENDINGS.contains(&ending)
}

fn has_ending(path: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| path.ends_with(&format!(".{ending}")))
}

/// Derives the name of a data source from its path.
fn source_name(path: &str) -> String {
    let stem = path.rsplit('/').next().unwrap_or(path);
    let stem = stem.split('.').next().unwrap_or(stem).to_lowercase();
    let name: String = stem
        .chars()
        .map(|character| if is_source_name(&format!("a{character}")) { character } else { '-' })
        .take(64)
        .collect();
    if is_source_name(&name) { name } else { "train".to_string() }
}

/// Escapes a path for a TOML basic string. Names with control characters are filtered out before.
fn quote(path: &str) -> String {
    path.replace('\\', "\\\\").replace('"', "\\\"")
}

impl Discovery {
    /// Writes the recipe. What was not found becomes comments.
    pub fn to_recipe(&self) -> String {
        let mut text = String::from(
            "# What modelseal seals. Every path is relative to this file; docs/recipe.md explains each key.\n\n",
        );
        let list = |paths: &[String]| {
            paths.iter().map(|path| format!("\"{}\"", quote(path))).collect::<Vec<_>>().join(", ")
        };
        let _ = write!(text, "[model]\nname = \"{}\"\nversion = \"0.1.0\"\n\n[artifact]\n", self.name);
        match &self.artifact {
            Some(path) => {
                let _ = writeln!(
                    text,
                    "path = \"{}\"               # a directory, or one file: what ships",
                    quote(path)
                );
            }
            None => {
                text.push_str("path = \"model\"               # not found yet: a directory, or one file\n")
            }
        }
        text.push_str(
            "# exclude = [\"**/*.tmp\"]      # gitignore-style; what is left out is sealed too\n\n",
        );

        for (name, path) in &self.data {
            let _ = write!(text, "[[data]]\nname = \"{name}\"\npath = \"{}\"\n", quote(path));
            text.push_str("# label = \"class\"            # seal how often each class occurs\n");
            text.push_str("# timestamp = \"observed_at\"  # seal the oldest and the newest record\n");
            text.push_str("# max_age = \"30d\"            # refuse to build from older data\n\n");
        }
        if self.data.is_empty() {
            text.push_str("# [[data]]                   # what the model was trained on\n# name = \"train\"\n# path = \"data/train.csv\"\n\n");
        }
        text.push_str("[params]\n");
        if self.params.is_empty() {
            text.push_str("# files = [\"params.toml\"]      # TOML, JSON or YAML\n");
        } else {
            let _ = writeln!(text, "files = [{}]", list(&self.params));
        }
        text.push_str("# values = { learning_rate = 0.1 }\n\n[environment]\n");
        if self.environment.is_empty() {
            text.push_str("# files = [\"requirements.lock\"]\n");
        } else {
            let _ = writeln!(text, "files = [{}]", list(&self.environment));
        }
        if !self.in_git {
            text.push_str(
                "\n[code]\nnone = true                  # not in git: no code revision is sealed\n",
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    fn project(files: &[&str]) -> (tempfile::TempDir, Discovery) {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("My Wine");
        std::fs::create_dir(&root).expect("creates");
        for file in files {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
            std::fs::write(path, "x").expect("writes");
        }
        let found = discover(&root, &Context::default()).expect("walks");
        (directory, found)
    }

    #[test]
    fn recipe_discovery_finds_the_parts_of_a_typical_project() {
        let (_directory, found) = project(&[
            "model/weights.safetensors",
            "model/vocab.csv",
            "data/train.csv",
            "data/Test Set.csv.gz",
            "params.toml",
            "requirements.lock",
            "train.py",
            "venv/lib/x.csv",
            ".git/HEAD",
            "a/b/c/d.csv",
        ]);
        assert_eq!(found.name, "my-wine");
        assert_eq!(found.artifact.as_deref(), Some("model"));
        let expected = [("test-set", "data/Test Set.csv.gz"), ("train", "data/train.csv")];
        assert_eq!(found.data, expected.map(|(name, path)| (name.to_string(), path.to_string())));
        assert_eq!(found.params, ["params.toml"]);
        assert_eq!(found.environment, ["requirements.lock"]);
        assert!(found.in_git);
    }

    #[test]
    fn recipe_discovery_always_writes_a_valid_recipe() {
        for files in [
            vec![],
            vec!["model.onnx"],
            vec!["data/1.bin", "data/2.bin"],
            vec!["x \"quoted\".csv", "out/m.pt", "config.yaml"],
        ] {
            let (_directory, found) = project(&files);
            let text = found.to_recipe();
            let recipe = Recipe::parse("modelseal.toml".into(), text.clone());
            assert!(recipe.is_ok(), "{recipe:?}\n{text}");
        }
    }
}
