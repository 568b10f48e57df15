use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Verbosity;
use super::arguments::{DataPath, Format, data_path, data_paths};
use super::cache::{cache_notes, open_cache};
use super::confining::{PROJECT_CACHES, check_own_directories, confine, warn_of_path, writable_by_commands};
use super::hints::Hinted;
use super::notes::input_notes;
use super::output::{print, say, show, warn};
use super::progress::Progress;
use super::running::Running;
use super::signer::{SignerCommand, SignerStart};
use super::signing::{Signing, SigningKey};
use super::statement;
use modelseal_build::build::{self, Built, Making, Options, SealedBy, build, seal, state};
use modelseal_build::cache::Cache;
use modelseal_build::checkout::declared;
use modelseal_build::inputs::{WorkTree, work_tree};
use modelseal_build::recipe::Recipe;
use modelseal_format::archive::{self, Outcome};
use modelseal_format::digest::Digest;
use modelseal_format::display::{Escaped, shell_word};
use modelseal_format::sign::{KeySource, local_cache_directory, read_public_key};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal build                                   use this directory's recipe and your own key
  modelseal build fixtures/wine --key keys/ci.key
  modelseal build --data train=/mnt/train.csv -o wine.tar --format json
  SOURCE_DATE_EPOCH=0 modelseal build               use this time for all entries, not the commit's
  modelseal build --clean                           run the recipe's command in a fresh clone
  modelseal build --statement wine.json             run and hash here; sign in another job:
  modelseal build --from-statement wine.json --key keys/ci.key

If the recipe has [run], its command rebuilds the artifact, unless you pass --adopt. The archive appears \
only when it is complete. The same inputs produce the same bytes.
Exit codes: 0 built; 1 an input was refused; 2 could not build.")]
pub(super) struct Arguments {
    /// The recipe, or its directory [default: the nearest recipe here or above, in this work tree]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Write the archive to this file [default: dist/NAME-VERSION.tar next to the recipe]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Path of a data source on this machine
    #[arg(long, value_name = "NAME=PATH", value_parser = data_path)]
    data: Vec<DataPath>,
    /// Build from a work tree with uncommitted changes, and seal which files differ
    #[arg(long)]
    allow_dirty: bool,
    /// Seal the existing artifact without running the recipe's command
    #[arg(long, conflicts_with = "clean")]
    adopt: bool,
    /// Run the recipe's command in a fresh clone of the commit
    #[arg(long, conflicts_with = "allow_dirty")]
    clean: bool,
    /// Write the unsigned manifest (the exact bytes to be signed) instead of an archive
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "password_file", "signer", "certificate", "output", "force"])]
    statement: Option<PathBuf>,
    /// With --statement: do not announce a model.sig, because the signing key will not be an ECDSA key
    #[arg(long)]
    no_model_signature: bool,
    /// Sign an unsigned manifest that --statement wrote, and pack the artifact, which must match it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["statement", "adopt", "clean", "allow_dirty"])]
    from_statement: Option<PathBuf>,
    /// With --from-statement: use this signature (a Sigstore bundle), made elsewhere, instead of signing;
    /// if it names a key, give that public key with --key
    #[arg(long, value_name = "FILE", requires = "from_statement", conflicts_with_all = ["password_file", "signer", "certificate"])]
    bundle: Option<PathBuf>,
    /// Let the command also write to this directory, in addition to the work tree, HOME and TMPDIR
    #[arg(long, value_name = "DIR")]
    allow_write: Vec<PathBuf>,
    /// Run the command without isolation, even if the recipe demands it
    #[arg(long)]
    insecure_no_isolation: bool,
    /// Compress the archive this way, whatever the recipe says
    #[arg(long, value_enum)]
    compression: Option<Compression>,
    /// Read all data again, including files that have not changed since an earlier build
    #[arg(long)]
    no_cache: bool,
    /// Replace an existing archive that has other content
    #[arg(long)]
    force: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    signing: Signing,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    if arguments.no_model_signature && arguments.statement.is_none() {
        bail!(
            "`--no-model-signature` needs `--statement`: \
             an archive has a `model.sig` if its key can make one"
        );
    }
    if arguments.output.as_deref() == Some(Path::new("-")) {
        let message =
            "`-o -`: the archive cannot be written to standard output, which holds the result".to_string();
        return Err(Hinted { message, hint: "`-o ./-` writes to a file named `-`".to_string() }.into());
    }
    let directory = arguments.directory.clone().unwrap_or_else(|| Recipe::find(Path::new(".")));
    arguments.signing.check_differs(&Recipe::path_in(&directory))?;
    let recipe = Recipe::load(&directory)?;
    let uses_own_key = arguments.statement.is_none() && SigningKey::is_own(arguments.signing.key.as_deref());
    check_own_directories(&[recipe.directory()], uses_own_key)?;
    let data = data_paths(&arguments.data)?;
    let source_date_epoch = source_date_epoch()?;
    let signer = match (&arguments.statement, &arguments.bundle) {
        (None, None) => Some(arguments.signing.prepare(verbosity)?),
        _ => None,
    };
    if let Some(signer) = &signer {
        check_passed_variables(&recipe, signer)?;
    }
    let making = match (arguments.adopt, arguments.clean) {
        (true, _) => Making::Adopt,
        (false, true) => Making::Clean,
        (false, false) => Making::Run,
    };
    let reads_data = arguments.from_statement.is_none() && !arguments.no_cache;
    let cache = if reads_data { open_cache(&recipe, verbosity) } else { None };
    let insecure = arguments.insecure_no_isolation;
    // Must come before the confinement is decided, because commands must not see the cache directory.
    let caches = caches(&recipe, verbosity);
    let root = match work_tree(&recipe).map_err(build::Error::from)? {
        Some(work_tree) => work_tree.root().to_path_buf(),
        None => recipe.directory().canonicalize()?,
    };
    // If no directory is given, the search for the recipe starts in the working directory.
    let here = arguments.directory.is_none().then_some(Path::new("."));
    let projects: Vec<&Path> = [recipe.directory(), &root].into_iter().chain(here).collect();
    // Nothing else looks where the archive of a statement leads.
    let usual =
        arguments.from_statement.is_some().then(|| recipe.default_output(recipe.tables.archive.compression));
    let output = arguments.output.clone().or(usual);
    let written = output.into_iter().chain(arguments.statement.clone()).collect();
    let confinement = confine(signer.as_ref(), &projects, &arguments.allow_write, written, insecure)?;
    if arguments.from_statement.is_none() && making == Making::Run {
        warn_of_path(&recipe, &root, &confinement, verbosity);
    }
    let writable = writable_by_commands(root, &confinement);
    let start = SignerStart { confinement: confinement.clone(), writable, caches: caches.clone() };
    if let Some(command) = signer.as_ref().and_then(SigningKey::command) {
        command.check_named(&start)?;
        let inputs = declared(&recipe, recipe.directory(), &data).into_iter().map(|input| input.from);
        warn_of_shown(command, &start, &inputs.collect::<Vec<_>>(), verbosity);
    }
    announce(&recipe, making, arguments.from_statement.is_some(), verbosity);
    let progress = Progress::new("sealing", verbosity);
    let running = Running::new(verbosity);
    let mut options = Options::new(&confinement);
    options.output.clone_from(&arguments.output);
    options.data = data;
    options.allow_dirty = arguments.allow_dirty;
    options.compression = arguments.compression.map(|compression| match compression {
        Compression::None => archive::Compression::None,
        Compression::Gzip => archive::Compression::Gzip,
        Compression::Zstd => archive::Compression::Zstd,
    });
    options.force = arguments.force;
    options.tar_digest = arguments.format == Format::Json;
    options.source_date_epoch = source_date_epoch;
    options.cache = cache.as_ref();
    options.context = progress.context();
    options.making = making;
    options.writes = arguments.statement.iter().chain(&arguments.from_statement).cloned().collect();
    options.caches.clone_from(&caches);
    options.listener = &running;
    if arguments.statement.is_some() {
        let stated = state(&recipe, !arguments.no_model_signature, &options)?;
        drop((running, progress));
        cache_notes(cache.as_ref(), verbosity);
        return statement::finish(arguments.statement.as_deref(), &stated, arguments.format, verbosity);
    }
    let built = match (&arguments.from_statement, &signer) {
        (Some(path), Some(signer)) => {
            seal(&recipe, &statement::read(path)?, SealedBy::Key(&mut || signer.open(&start)), &options)?
        }
        (None, Some(signer)) => build(&recipe, &mut || signer.open(&start), &options)?,
        (path, None) => pack(arguments, path.as_deref(), &recipe, &options)?,
    };
    if verbosity.verbose {
        say(verbosity, &progress.summary());
    }
    drop((running, progress));
    cache_notes(cache.as_ref(), verbosity);
    notes(&built, signer.is_some(), verbosity);
    match arguments.format {
        Format::Text => show(&text(&built, signer.as_ref()))?,
        Format::Json => print(&json(&built, cache.as_ref())?)?,
    }
    Ok(0)
}

/// Packs an unsigned manifest with the bundle that the external signer returned for it.
fn pack(
    arguments: &Arguments,
    statement: Option<&Path>,
    recipe: &Recipe,
    options: &Options<'_>,
) -> anyhow::Result<Built> {
    let (Some(statement), Some(bundle)) = (statement, &arguments.bundle) else {
        bail!("`--bundle` needs `--from-statement`");
    };
    let key = arguments.signing.key.as_deref();
    let key = key.map(|key| read_public_key(&KeySource::from(key))).transpose()?;
    let by = SealedBy::Bundle { bytes: &statement::read_named("bundle", bundle)?, key: key.as_ref() };
    Ok(seal(recipe, &statement::read(statement)?, by, options)?)
}

/// Warns of files that the signer's command line names and that commands of the recipe can read.
fn warn_of_shown(command: &SignerCommand, start: &SignerStart, inputs: &[PathBuf], verbosity: Verbosity) {
    for file in start.confinement.shown(command.files(), &start.writable, inputs) {
        let message = "which commands of the recipe can read: hide it with `--signer-hide`";
        warn(
            verbosity,
            &format!("{} names {}, {message}", command.shown(), modelseal_format::display::path(&file)),
        );
    }
}

/// Returns the directory for the caches of this recipe's commands. Every project has its own, because commands can
/// write there. A project is identified by the path of its recipe and its remote.
fn caches(recipe: &Recipe, verbosity: Verbosity) -> Option<PathBuf> {
    if recipe.tables.run.as_ref().is_none_or(|run| run.caches.is_empty()) {
        return None;
    }
    let path = recipe.path.canonicalize().ok()?;
    let remote = WorkTree::discover(recipe.directory()).ok().and_then(|work_tree| work_tree.remote());
    let name = [path.as_os_str().as_encoded_bytes(), b"\0", remote.unwrap_or_default().as_bytes()].concat();
    let name = Digest::sha256(&name).to_string();
    let made = local_cache_directory().map_err(anyhow::Error::from).and_then(|directory| {
        let directory = directory.join(PROJECT_CACHES).join(&name[..32]);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .with_context(|| modelseal_format::display::path(&directory))?;
        Ok(directory)
    });
    made.map_err(|error| warn(verbosity, &format!("cannot keep `caches` for the next build: {error:#}"))).ok()
}

/// Prints which commands are about to run.
fn announce(recipe: &Recipe, making: Making, elsewhere: bool, verbosity: Verbosity) {
    if elsewhere {
        return;
    }
    if making != Making::Adopt {
        for command in &recipe.tables.environment.commands {
            say(verbosity, &format!("running {}", modelseal_format::display::command(command.get_ref())));
        }
    }
    if let Some(run) = recipe.tables.run.as_ref().filter(|_| making != Making::Adopt) {
        let place = if making == Making::Clean { " in a fresh clone" } else { "" };
        let is_set = |name: &&str| std::env::var_os(name).is_some();
        let passed = run.pass_env.iter().map(|name| name.get_ref().as_str()).filter(is_set);
        let passed: Vec<String> = passed.map(modelseal_format::display::name).collect();
        let passed = match passed.is_empty() {
            true => String::new(),
            false => format!(", with {} from your environment", passed.join(", ")),
        };
        let command = modelseal_format::display::command(run.command.get_ref());
        say(verbosity, &format!("running {command}{place}{passed}"));
    }
    for probe in &recipe.tables.probe {
        let command = modelseal_format::display::command(probe.command.get_ref());
        say(verbosity, &format!("then running probe {}: {command}", probe.name.get_ref()));
    }
}

/// Checks that no variable that holds the key, or that the signer uses, is passed to a command.
fn check_passed_variables(recipe: &Recipe, signer: &SigningKey) -> anyhow::Result<()> {
    let Some(run) = &recipe.tables.run else { return Ok(()) };
    let variables = signer.variables();
    match run.pass_env.iter().find(|name| variables.contains(name.get_ref())) {
        Some(name) => {
            let message = match signer.command() {
                None => "this variable holds the key and is never passed to a command",
                Some(_) => "the signer uses this variable, so it is never passed to a command",
            };
            Err(recipe.mistake(name.span(), message).into())
        }
        None => Ok(()),
    }
}

/// `SOURCE_DATE_EPOCH` as reproducible-builds.org defines it: seconds since 1970 in decimal digits. Anything else is an
/// error.
fn source_date_epoch() -> anyhow::Result<Option<u64>> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    let text = value.to_string_lossy();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let epoch = if digits { text.parse().ok() } else { None };
    epoch.map(Some).with_context(|| {
        format!(
            "SOURCE_DATE_EPOCH is {}, not a number of seconds since 1970",
            modelseal_format::display::name(&text)
        )
    })
}

/// Prints notes that accompany the result.
fn notes(built: &Built, signed_here: bool, verbosity: Verbosity) {
    input_notes(&built.warnings, &built.changes, &built.left, verbosity);
    if !built.excluded.is_empty() {
        let excluded: Vec<String> =
            built.excluded.iter().map(|glob| modelseal_format::display::name(glob)).collect();
        say(verbosity, &format!("left out of the artifact: {}", excluded.join(", ")));
    }
    if !built.empty_directories.is_empty() {
        let names: Vec<String> = built
            .empty_directories
            .iter()
            .take(5)
            .map(|path| modelseal_format::display::name(path))
            .collect();
        let more = if built.empty_directories.len() > 5 { ", …" } else { "" };
        say(verbosity, &format!("empty directories are left out: {}{more}", names.join(", ")));
    }
    if !built.model_signature && signed_here {
        say(verbosity, "no model.sig: the OMS format does not support Ed25519 keys");
    }
}

fn text(built: &Built, signer: Option<&SigningKey>) -> String {
    let mut lines = vec![
        format!("sealed {} {}", built.model.name, built.model.version),
        format!(
            "  archive  {} ({}, {} bytes{})",
            modelseal_format::display::Escaped(&built.archive.to_string_lossy()),
            modelseal_format::display::count(built.files, "file", "files"),
            modelseal_format::display::number(built.bytes),
            if built.outcome == Outcome::Identical { "; unchanged" } else { "" }
        ),
        format!("  release  sha256:{}", built.release),
        format!(
            "  signer   {}",
            signer.map_or("external".into(), |signer| Escaped(&signer.name).to_string())
        ),
        format!("  origin   {}: {}", built.origin.name(), built.origin.description()),
    ];
    for (probe, inputs) in &built.probes {
        let inputs = modelseal_format::display::count(*inputs, "question", "questions");
        lines.push(format!("  probe    {probe}: {inputs} answered"));
    }
    if !built.missing.is_empty() {
        let missing: Vec<&str> = built.missing.iter().map(|part| part.description()).collect();
        lines.push(format!("  missing  {}: not in the manifest", missing.join(", ")));
    }
    lines.push("verify it with".to_string());
    lines.push(format!(
        "  modelseal verify {} {}",
        shell_word(&built.archive.to_string_lossy()),
        signer.map_or("… (name its signer)".to_string(), SigningKey::verify_with)
    ));
    lines.join("\n") + "\n"
}

#[derive(Serialize)]
struct Wire<'a> {
    schema: &'a str,
    archive: String,
    release: String,
    tar_digest: String,
    model: &'a modelseal_format::manifest::Model,
    origin: &'a str,
    missing: Vec<&'a str>,
    probes: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_seconds: Option<f64>,
    tool: &'a str,
}

fn json(built: &Built, cache: Option<&Cache>) -> anyhow::Result<String> {
    let text = modelseal_format::display::json(&Wire {
        schema: "https://modelseal.dev/build/v1",
        archive: built.archive.to_string_lossy().into_owned(),
        release: format!("sha256:{}", built.release),
        tar_digest: built.tar_digest.map(|digest| format!("sha256:{digest}")).unwrap_or_default(),
        model: &built.model,
        origin: built.origin.name(),
        missing: built.missing.iter().map(|part| part.name()).collect(),
        probes: built.probes.iter().map(|(probe, _)| probe.as_str()).collect(),
        cached_files: cache.map(Cache::found).filter(|files| *files > 0),
        command_seconds: built.command_seconds,
        tool: concat!("modelseal ", env!("CARGO_PKG_VERSION")),
    })?;
    Ok(text + "\n")
}
