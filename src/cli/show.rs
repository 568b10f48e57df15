use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::output::{complain, print, show};
use super::progress::context;
use super::targets::target;
use modelseal_format::digest::Digest;
use modelseal_format::display::{Escaped, count, number};
use modelseal_format::manifest::{DataEvidence, Evidence, Manifest, Model, ResourceDescriptor};
use modelseal_format::release::Seal;
use modelseal_format::sign::Material;
use modelseal_verify::trust::certified_key;
use modelseal_verify::verify::{Sealed, read_sealed};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal show wine-1.0.0.tar
  modelseal show models/wine --format json | jq .statement.predicate
  export $(modelseal show models/wine --format env)      identify the release in logs, traces, labels

Prints what the seal says, without checking it. Use `modelseal verify` to check it.")]
pub(super) struct Arguments {
    /// An archive, an unpacked directory, a seal file, or - for an archive on standard input
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    /// How to print the manifest
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Human-readable text
    #[default]
    Text,
    /// One JSON document, described by a published schema
    Json,
    /// Lines of NAME=VALUE that need no quoting in a shell or a Dockerfile
    Env,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let target = target(&arguments.target);
    let seal = match read_sealed(&target, &context())? {
        Sealed::Read { seal, .. } => seal,
        Sealed::Unreadable(reason) => {
            complain(&format!("{}: {reason}", modelseal_format::display::name(&target.shown())));
            return Ok(1);
        }
    };
    match arguments.format {
        Format::Json => {
            let wire = Wire {
                schema: "https://modelseal.dev/show/v1",
                verified: false,
                target: target.shown(),
                release: format!("sha256:{}", seal.release),
                key: key(&seal),
                statement: &seal.manifest,
            };
            print(&(modelseal_format::display::json(&wire)? + "\n"))?;
        }
        Format::Text => show(&text(&seal))?,
        Format::Env => print(&environment(&seal))?,
    }
    Ok(0)
}

/// The key that the seal names as its signer: by a hint in modelseal's format, or by a certificate. Nothing is
/// verified.
fn key(seal: &Seal) -> Option<String> {
    let hint = match &seal.bundle.material {
        Material::Key { hint } => hint.as_ref()?.parse().ok()?,
        Material::Certificates(chain) => certified_key(chain.first()?, "the seal's").ok()?.hint(),
        Material::Identity { certificate, .. } => certified_key(certificate, "the seal's").ok()?.hint(),
    };
    let hint: Digest = hint;
    Some(format!("sha256:{hint}"))
}

/// Maximum length of a Kubernetes label value. A label value cannot contain a colon either.
const LABEL_LENGTH: usize = 63;

/// Model names, versions, digests and commits use small alphabets, so no value needs quoting in any format.
fn environment(seal: &Seal) -> String {
    let manifest = &seal.manifest;
    let model = manifest.model();
    let release = format!("sha256:{}", seal.release);
    let mut label = release.replace(':', "-");
    label.truncate(LABEL_LENGTH);
    let commit = manifest.code().map(|code| code.commit());
    let origin = manifest.internal().origin.name();
    let mut lines = vec![
        ("MODELSEAL_MODEL", model.name.clone()),
        ("MODELSEAL_VERSION", model.version.clone()),
        ("MODELSEAL_RELEASE", release.clone()),
        ("MODELSEAL_LABEL", label),
        ("MODELSEAL_ORIGIN", origin.to_string()),
    ];
    lines.extend(commit.map(|commit| ("MODELSEAL_COMMIT", commit.to_string())));
    // https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable
    let attributes = [("name", &model.name), ("version", &model.version), ("release", &release)];
    let attributes = attributes.map(|(name, value)| format!("modelseal.{name}={value}"));
    lines.push(("OTEL_RESOURCE_ATTRIBUTES", attributes.join(",")));
    lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

#[derive(Serialize)]
struct Wire<'a> {
    schema: &'a str,
    verified: bool,
    target: String,
    release: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    statement: &'a Manifest,
}

fn text(seal: &Seal) -> String {
    let manifest = &seal.manifest;
    let internal = manifest.internal();
    let date =
        i64::try_from(internal.source_date_epoch).ok().and_then(|time| Timestamp::from_second(time).ok());
    let mut text =
        String::from("not verified: this is what the seal says; check it with `modelseal verify`\n\n");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<16} {value}");
    };
    let model = manifest.model();
    line("model", &format!("{} {}", model.name, model.version));
    line("release", &format!("sha256:{}", seal.release));
    line("key", &key(seal).unwrap_or_else(|| "named in another tool's format".to_string()));
    line("origin", internal.origin.name());
    line("date", &date.map(|date| date.to_string()).unwrap_or_default());
    line("made by", &format!("modelseal {}", Escaped(manifest.made_by())));
    if !internal.missing.is_empty() {
        let missing: Vec<&str> = internal.missing.iter().map(|part| part.description()).collect();
        line("missing", &missing.join(", "));
    }
    if !internal.excluded.is_empty() {
        let excluded: Vec<String> =
            internal.excluded.iter().map(|glob| modelseal_format::display::name(glob)).collect();
        line("left out", &excluded.join(", "));
    }
    if !internal.outside.is_empty() {
        let outside: Vec<String> =
            internal.outside.iter().map(|path| modelseal_format::display::name(path)).collect();
        line("through links", &outside.join(", "));
    }
    inputs(&mut text, manifest);
    let _ = writeln!(text, "\nfiles");
    for file in manifest.files() {
        let executable = if file.executable() { ", executable" } else { "" };
        let _ = writeln!(
            text,
            "  {}  {} bytes{executable}  sha256:{}",
            modelseal_format::display::name(&file.name),
            number(file.size()),
            file.digest.sha256
        );
    }
    text
}

fn inputs(text: &mut String, manifest: &Manifest) {
    let parameters = &manifest.external().hyperparameters;
    if !parameters.is_empty() {
        let _ = writeln!(text, "\nhyperparameters");
        for (name, value) in parameters {
            let _ = writeln!(text, "  {} = {value}", Escaped(name));
        }
    }
    let _ = writeln!(text, "\ninputs");
    for input in manifest.dependencies() {
        let uri = input.uri.as_deref().map(|uri| format!("  {}", Escaped(uri))).unwrap_or_default();
        let _ = writeln!(text, "  {}{uri}", modelseal_format::display::name(&input.name));
        for detail in details(input) {
            let _ = writeln!(text, "    {detail}");
        }
    }
}

fn details(input: &ResourceDescriptor) -> Vec<String> {
    let mut details = Vec::new();
    details.extend(input.digest.git_commit.as_ref().map(|commit| format!("gitCommit:{commit}")));
    details.push(input.digest.tagged());
    match input.evidence.as_deref() {
        None => {}
        Some(Evidence::Code(code)) => details.push(match &code.dirty[..] {
            [] => "no uncommitted changes".to_string(),
            paths => {
                let paths: Vec<String> =
                    paths.iter().map(|path| modelseal_format::display::name(path)).collect();
                format!("uncommitted changes: {}", paths.join(", "))
            }
        }),
        Some(Evidence::Base(base)) => {
            let model = base.model.as_ref().map(Model::directory);
            details.extend(model.map(|model| format!("release of {}", Escaped(&model))));
            details.extend(size(base.files, base.bytes));
        }
        Some(Evidence::Data(data)) => details.extend(data_details(data)),
    }
    details
}

fn size(files: Option<u64>, bytes: Option<u64>) -> Option<String> {
    let (files, bytes) = (files?, bytes?);
    Some(format!("{}, {} bytes", count(files, "file", "files"), number(bytes)))
}

fn data_details(data: &DataEvidence) -> Vec<String> {
    let mut details = Vec::new();
    details.extend(size(data.files, data.bytes));
    details.extend(data.rows.map(|rows| count(rows, "row", "rows")));
    if let Some(labels) = &data.labels {
        let counts = labels
            .iter()
            .map(|(label, rows)| format!("{}: {}", modelseal_format::display::name(label), number(*rows)));
        details.push(format!("labels {}", counts.collect::<Vec<_>>().join(", ")));
    }
    if let (Some(oldest), Some(newest)) = (&data.oldest, &data.newest) {
        details.push(format!("records from {} to {}", Escaped(oldest), Escaped(newest)));
    }
    details
}
