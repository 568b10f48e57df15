//! `build --statement` and `build --from-statement`: the unsigned manifest that is passed between two jobs.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;

use super::Verbosity;
use super::arguments::Format;
use super::notes::input_notes;
use super::output::{print, show};
use modelseal_build::build::Stated;
use modelseal_format::archive::write_whole;
use modelseal_format::digest::{Symlinks, open_regular};

/// Maximum length of an unsigned manifest in bytes.
const LONGEST: u64 = 384 << 20;

/// Reads an unsigned manifest.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_named("unsigned manifest", path)
}

/// Reads an unsigned manifest, or the bundle that signs it. `what` names it in errors.
pub(super) fn read_named(what: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("cannot read the {what} {}", modelseal_format::display::path(path));
    let mut payload = Vec::new();
    // Opened without blocking: a pipe may never get a writer.
    let (file, _) = open_regular(path, Symlinks::Follow).with_context(failed)?;
    file.take(LONGEST + 1).read_to_end(&mut payload).with_context(failed)?;
    if payload.len() as u64 > LONGEST {
        bail!("the {what} {} is longer than {LONGEST} bytes", modelseal_format::display::path(path));
    }
    Ok(payload)
}

/// Writes an unsigned manifest, completely or not at all, and reports what it is.
pub(super) fn finish(
    path: Option<&Path>,
    stated: &Stated,
    format: Format,
    verbosity: Verbosity,
) -> anyhow::Result<u8> {
    let path = path.unwrap_or(Path::new("statement.json"));
    write_whole(path, &stated.payload)
        .with_context(|| format!("cannot write {}", modelseal_format::display::path(path)))?;
    input_notes(&stated.warnings, &stated.changes, &stated.left, verbosity);
    match format {
        Format::Text => show(&text(path, stated))?,
        Format::Json => print(&json(path, stated)?)?,
    }
    Ok(0)
}

fn text(path: &Path, stated: &Stated) -> String {
    let shown = modelseal_format::display::Escaped(&path.to_string_lossy()).to_string();
    format!(
        "wrote an unsigned manifest\n  manifest   {shown}\n  release    sha256:{}\n  origin     {}: {}\n\
         sign it where the key is, with the same commit and artifact\n  modelseal build --from-statement {} --key KEY\n",
        stated.release,
        stated.origin.name(),
        stated.origin.description(),
        modelseal_format::display::shell_word(&path.to_string_lossy())
    )
}

#[derive(Serialize)]
struct Wire<'a> {
    schema: &'a str,
    statement: String,
    release: String,
    origin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_seconds: Option<f64>,
    tool: &'a str,
}

fn json(path: &Path, stated: &Stated) -> anyhow::Result<String> {
    let text = modelseal_format::display::json(&Wire {
        schema: "https://modelseal.dev/statement/v1",
        statement: path.to_string_lossy().into_owned(),
        release: format!("sha256:{}", stated.release),
        origin: stated.origin.name(),
        command_seconds: stated.command_seconds,
        tool: concat!("modelseal ", env!("CARGO_PKG_VERSION")),
    })?;
    Ok(text + "\n")
}
