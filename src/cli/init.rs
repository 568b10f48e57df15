use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::Verbosity;
use super::confining::check_written_to;
use super::hints::Hinted;
use super::output::{say, show};
use super::progress::context;
use modelseal_build::recipe::{Discovery, FILE_NAME, discover};
use modelseal_format::display::{Escaped, shell_word};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal init
  modelseal init fixtures/wine

Looks only at file names to find data, parameters, lock files and the model. An existing recipe is never \
overwritten.")]
pub(super) struct Arguments {
    /// The project's directory
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    let directory = &arguments.directory;
    let path = match directory.to_str() {
        Some(".") => PathBuf::from(FILE_NAME),
        _ => directory.join(FILE_NAME),
    };
    let found = discover(directory, &context())
        .with_context(|| format!("cannot search {}", modelseal_format::display::path(directory)))?;
    check_written_to(&path)?;
    write_new(&path, &found.to_recipe())?;
    show(&format!("wrote {}\n", modelseal_format::display::path(&path)))?;
    say(verbosity, &next_steps(directory, &found));
    Ok(0)
}

/// Writes a new file completely or not at all: if the disk is full, the unfinished recipe is removed.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Hinted {
                message: format!("{} already exists", modelseal_format::display::path(path)),
                hint: "a recipe is never overwritten: edit it, or move it away".to_string(),
            }
            .into());
        }
        other => other.with_context(|| format!("cannot write {}", modelseal_format::display::path(path)))?,
    };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        let _ = std::fs::remove_file(path);
        anyhow::Error::new(error).context(format!("cannot write {}", modelseal_format::display::path(path)))
    })
}

fn next_steps(directory: &Path, found: &Discovery) -> String {
    let mut text = String::new();
    let artifact = found.artifact.as_deref().map(|path| Escaped(path).to_string());
    let artifact = artifact.unwrap_or("not found: name it under `[artifact]`".to_string());
    text.push_str(&format!("  artifact     {artifact}\n"));
    for (name, path) in &found.data {
        text.push_str(&format!("  data         {name}: {}\n", Escaped(path)));
    }
    for (what, paths) in [("params", &found.params), ("environment", &found.environment)] {
        if !paths.is_empty() {
            text.push_str(&format!("  {what:<12} {}\n", Escaped(&paths.join(", "))));
        }
    }
    text.push_str("next: review it, then");
    let is_here = directory == Path::new(".");
    // An argument that begins with `-` would be read as an option.
    let shown = match directory.to_string_lossy() {
        shown if shown.starts_with('-') => shell_word(&format!("./{shown}")),
        shown => shell_word(&shown),
    };
    let place = if is_here { String::new() } else { format!("-C {shown} ") };
    if found.in_git {
        let paths = found.params.iter().chain(&found.environment).map(|path| shell_word(path));
        let paths: Vec<String> = [FILE_NAME.to_string()].into_iter().chain(paths).collect();
        text.push_str(&format!("\n  git {place}add -- {}\n  git {place}commit", paths.join(" ")));
    }
    let build = if is_here { String::new() } else { format!(" {shown}") };
    text.push_str(&format!("\n  modelseal build{build}"));
    text
}
