use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::Talk;
use super::arguments::{DataPath, Format, data_path, data_paths};
use super::keys::{SigningKey, signing_key};
use super::output::{print, say, warn};
use super::progress::Progress;
use crate::archive::{self, Outcome};
use crate::build::{Built, Options, build};
use crate::recipe::Recipe;

/// Seal a model: recipe in, signed archive out
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal build                                   the recipe of this directory, your own key
  modelseal build fixtures/wine --key keys/ci.key
  modelseal build --data train=/mnt/train.csv -o wine.tar --format json
  SOURCE_DATE_EPOCH=0 modelseal build               another time for every entry than the commit's

The archive appears only when it is complete. The same inputs give the same bytes.
Exit codes: 0 built; 1 an input was refused; 2 could not build.")]
pub(super) struct Arguments {
    /// The directory of the recipe, or the recipe itself
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Sign with this private key: a path, env://NAME, -, or local [default: local]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The first line of this file opens an encrypted key
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Where to write [default: dist/NAME-VERSION.tar beside the recipe]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where a data source lies on this machine
    #[arg(long, value_name = "NAME=PATH", value_parser = data_path)]
    data: Vec<DataPath>,
    /// Build although the work tree is not as committed; what differs is sealed
    #[arg(long)]
    allow_dirty: bool,
    /// Instead of what the recipe says
    #[arg(long, value_enum)]
    compression: Option<Compression>,
    /// Replace an archive that holds something else
    #[arg(long)]
    force: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

pub(super) fn run(arguments: &Arguments, talk: Talk) -> anyhow::Result<u8> {
    let recipe = Recipe::load(&arguments.directory)?;
    let data = data_paths(&arguments.data)?;
    let source_date_epoch = source_date_epoch()?;
    let signer = signing_key(arguments.key.as_deref(), arguments.password_file.as_deref(), talk)?;
    let progress = Progress::new("sealing", talk);
    let built = build(
        &recipe,
        &signer.key,
        &Options {
            output: arguments.output.clone(),
            data,
            allow_dirty: arguments.allow_dirty,
            compression: arguments.compression.map(|compression| match compression {
                Compression::None => archive::Compression::None,
                Compression::Gzip => archive::Compression::Gzip,
                Compression::Zstd => archive::Compression::Zstd,
            }),
            force: arguments.force,
            tar_digest: arguments.format == Format::Json,
            source_date_epoch,
            now: Timestamp::now(),
            progress: &|bytes| progress.advance(bytes),
        },
    )?;
    if talk.verbose {
        say(talk, &progress.summary());
    }
    drop(progress);
    notes(&built, talk);
    match arguments.format {
        Format::Text => print(&text(&built, &signer))?,
        Format::Json => print(&json(&built)?)?,
    }
    Ok(0)
}

/// reproducible-builds.org: seconds since 1970 in decimal digits; anything else is an error.
fn source_date_epoch() -> anyhow::Result<Option<u64>> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    let text = value.to_string_lossy();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let epoch = if digits { text.parse().ok() } else { None };
    epoch.map(Some).with_context(|| {
        format!("SOURCE_DATE_EPOCH is {}, not a number of seconds since 1970", crate::text::name(&text))
    })
}

/// What a person should know beside the result.
fn notes(built: &Built, talk: Talk) {
    for warning in &built.warnings {
        warn(talk, warning);
    }
    if !built.changes.is_empty() {
        let paths: Vec<String> =
            built.changes.iter().take(5).map(|change| crate::text::name(&change.path)).collect();
        let more = if built.changes.len() > 5 { ", …" } else { "" };
        warn(talk, &format!("sealed as dirty, not as committed: {}{more}", paths.join(", ")));
    }
    if !built.excluded.is_empty() {
        let excluded: Vec<String> = built.excluded.iter().map(|glob| crate::text::name(glob)).collect();
        say(talk, &format!("left out of the artifact: {}", excluded.join(", ")));
    }
    if !built.empty_directories.is_empty() {
        let names: Vec<String> =
            built.empty_directories.iter().take(5).map(|path| crate::text::name(path)).collect();
        let more = if built.empty_directories.len() > 5 { ", …" } else { "" };
        say(talk, &format!("empty directories do not ship: {}{more}", names.join(", ")));
    }
    if !built.model_signature {
        say(talk, "no model.sig: the OMS format knows no Ed25519 keys");
    }
}

fn text(built: &Built, signer: &SigningKey) -> String {
    let mut lines = vec![
        format!("sealed {} {}", built.model.name, built.model.version),
        format!(
            "  archive  {} ({}, {} bytes{})",
            crate::text::Escaped(&built.archive.to_string_lossy()),
            crate::text::count(built.files, "file", "files"),
            crate::text::number(built.bytes),
            if built.outcome == Outcome::Identical { "; was there already" } else { "" }
        ),
        format!("  release  sha256:{}", built.release),
        format!("  signer   {}", crate::text::Escaped(&signer.name)),
        format!("  origin   {}: nobody watched it being made", built.origin.name()),
    ];
    if !built.missing.is_empty() {
        let missing: Vec<&str> = built.missing.iter().map(|part| part.description()).collect();
        lines.push(format!("  missing  {}: this release cannot show them", missing.join(", ")));
    }
    lines.push("verify it with".to_string());
    lines.push(format!(
        "  modelseal verify {} --key {}",
        shell_word(&built.archive.to_string_lossy()),
        shell_word(&signer.verify_with)
    ));
    lines.join("\n") + "\n"
}

fn shell_word(text: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "/._-+@%:,".contains(character);
    if text.chars().all(plain) {
        return text.to_string();
    }
    format!("'{}'", crate::text::Escaped(text).to_string().replace('\'', r"'\''"))
}

#[derive(Serialize)]
struct Wire<'a> {
    schema: &'a str,
    archive: String,
    release: String,
    tar_digest: String,
    model: &'a crate::manifest::Model,
    origin: &'a str,
    missing: Vec<&'a str>,
    tool: &'a str,
}

fn json(built: &Built) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(&Wire {
        schema: "https://modelseal.dev/build/v1",
        archive: built.archive.to_string_lossy().into_owned(),
        release: format!("sha256:{}", built.release),
        tar_digest: built.tar_digest.map(|digest| format!("sha256:{digest}")).unwrap_or_default(),
        model: &built.model,
        origin: built.origin.name(),
        missing: built.missing.iter().map(|part| part.name()).collect(),
        tool: concat!("modelseal ", env!("CARGO_PKG_VERSION")),
    })?;
    Ok(text + "\n")
}
