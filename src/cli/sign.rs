use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::Verbosity;
use super::confining::check_written_to;
use super::hints::Hinted;
use super::output::{say, show, warn};
use super::progress::Progress;
use super::signing::Signing;
use super::verify::ignored;
use modelseal_format::archive::write_whole;
use modelseal_format::canonical::{Canonical, Counted};
use modelseal_format::digest::{Symlinks, open_regular};
use modelseal_format::sign::SignedBundle;
use modelseal_verify::oms::{GIT_PATHS, state};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal sign models/wine --key keys/ci.key                        write models/wine/model.sig
  modelseal sign models/wine --key ci.key --certificate ci.pem --certificate-chain ca.pem
  modelseal sign models/wine --key ci.pub --signer 'pkcs11-tool --sign …'

The signature names every file with its SHA-256. It does not cover how the model was made: to seal that, use \
`modelseal build`. The same model and key produce the same bytes. Check the signature with `modelseal \
verify DIR --signature FILE --key PUB`, or with `model_signing verify`.
Exit codes: 0 signed; 1 the model contains something that cannot be signed; 2 could not run.")]
pub(super) struct Arguments {
    /// The model: a directory, or one file
    #[arg(value_name = "DIR")]
    model: PathBuf,
    /// Write the signature to this file [default: model.sig in the directory, or FILE.sig next to the file]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Leave out this file or directory of the model
    #[arg(long, value_name = "PATH")]
    ignore_path: Vec<PathBuf>,
    /// Replace an existing file that has other content
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    signing: Signing,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    let key = arguments.signing.prepare(verbosity)?;
    let model = &arguments.model;
    let signature = match &arguments.signature {
        Some(path) => path.clone(),
        None if model.is_dir() => model.join("model.sig"),
        None => {
            let mut path = model.clone().into_os_string();
            path.push(".sig");
            PathBuf::from(path)
        }
    };
    check_written_to(&signature)?;
    let mut leave_out = ignored(model, &arguments.ignore_path)?;
    if model.is_dir() {
        // The reference tool ignores these paths even if a signature does not list them. Listing them tells the reader
        // that they are not signed.
        leave_out.extend(GIT_PATHS.map(str::to_string));
        leave_out.extend(below(model, &signature));
    }
    if model.is_dir() && model.join("model.sig").exists() && !leave_out.contains("model.sig") {
        warn(
            verbosity,
            "`model.sig` in the model is signed like any other file: `--ignore-path` leaves it out",
        );
    }
    // Open the key first, so that an error about it is reported before a large model is hashed.
    let signer = key.open_alone(model)?;
    if !signer.public_key().is_elliptic_curve() {
        let message =
            "an Ed25519 key cannot sign a model: the format supports only ECDSA with P-256, P-384 or P-521";
        let hint = "create an ECDSA key with `modelseal keygen --algorithm p256`".to_string();
        return Err(Hinted { message: message.to_string(), hint }.into());
    }
    let progress = Progress::new("signing", verbosity);
    let stated = state(model, &leave_out, &progress.context())?;
    drop(progress);
    let bundle = SignedBundle::sign(Counted::of(&stated.payload), &signer)?.to_vec();
    let shown = modelseal_format::display::path(&signature);
    match there(&signature, bundle.len())? {
        Some(found) if found == bundle => say(verbosity, &format!("{shown} is already up to date")),
        Some(_) if !arguments.force => {
            let message = format!("{shown} already exists with other content");
            return Err(Hinted { message, hint: "`--force` replaces it".to_string() }.into());
        }
        _ => write_whole(&signature, &bundle).with_context(|| format!("cannot write {shown}"))?,
    }
    if !stated.ignored.is_empty() {
        let paths: Vec<String> =
            stated.ignored.iter().map(|path| modelseal_format::display::name(path)).collect();
        say(verbosity, &format!("left out and not signed: {}", paths.join(", ")));
    }
    let files = modelseal_format::display::count(stated.files, "file", "files");
    let place = signature.to_string_lossy();
    let place = modelseal_format::display::Escaped(&place);
    show(&format!("signed {files}, root sha256:{}\n  signature  {place}\n", stated.root))?;
    Ok(0)
}

/// Reads the existing file at a path, but at most one byte more than a signature of this length. `None` if there is no
/// file.
fn there(path: &Path, length: usize) -> anyhow::Result<Option<Vec<u8>>> {
    if path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let (file, _) = open_regular(path, Symlinks::Refuse)?;
    let mut found = Vec::new();
    file.take(length as u64 + 1)
        .read_to_end(&mut found)
        .with_context(|| format!("cannot read {}", modelseal_format::display::path(path)))?;
    Ok(Some(found))
}

/// The path of a file, which may not exist yet, relative to a directory that contains it. Empty if the directory does
/// not contain it.
fn below(directory: &Path, path: &Path) -> BTreeSet<String> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let relative = || {
        let parent = parent.canonicalize().ok()?;
        let relative = parent.strip_prefix(directory.canonicalize().ok()?).ok()?.join(path.file_name()?);
        relative.to_str().map(str::to_string)
    };
    relative().into_iter().collect()
}
