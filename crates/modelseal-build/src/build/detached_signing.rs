//! Manifests that are written here and signed elsewhere, so that the training machine does not need the key.

use super::plan::{self, Plan};
use super::write::Seals;
use super::{Built, Error, OpenKey, Options, asked, behaviour, write};
use crate::inputs::{self, WorkTree, exempt, gather_settings, list_artifact, work_tree};
use crate::recipe::Recipe;
use modelseal_format::archive::ArchiveFile;
use modelseal_format::canonical::{Canonical, Counted};
use modelseal_format::context::Context;
use modelseal_format::digest::Digest;
use modelseal_format::manifest::{self, Manifest, Origin};
use modelseal_format::sign::{self, Bundle, Material, PublicKey, SignedBundle, read_foreign};
use modelseal_verify::trust::{certified_key, check_chain};

/// An unsigned manifest.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stated {
    /// The exact bytes to be signed.
    pub payload: Vec<u8>,
    /// The digest of the payload, which will be the digest of the release.
    pub release: Digest,
    pub origin: Origin,
    pub command_seconds: Option<f64>,
    pub left: Vec<String>,
    pub warnings: Vec<String>,
    pub changes: Vec<inputs::Change>,
}

/// Does everything that a build does, except for signing and writing the archive.
///
/// # Errors
/// [`Error`].
pub fn state(recipe: &Recipe, model_signature: bool, options: &Options<'_>) -> Result<Stated, Error> {
    let (_, output) = options.target(recipe);
    let mut plan: Plan = plan::plan(recipe, options, &output)?;
    plan.internal.model_signature = model_signature;
    let payload = plan.statement(plan.artifact.hash(&options.context)?).to_vec();
    if plan.internal.origin == Origin::Clean {
        plan.keep_artifact(recipe, options)?;
    }
    Ok(Stated {
        release: Digest::sha256(&payload),
        payload,
        origin: plan.internal.origin,
        command_seconds: plan.command_seconds,
        left: plan.left,
        warnings: plan.inputs.warnings,
        changes: plan.inputs.changes,
    })
}

/// Who signs a manifest that was written elsewhere.
pub enum SealedBy<'a> {
    Key(OpenKey<'a>),
    /// A bundle that was signed elsewhere, too.
    Bundle {
        bytes: &'a [u8],
        /// The public key of the signer, if the bundle does not contain it.
        key: Option<&'a PublicKey>,
    },
}

/// Signs a manifest that was written elsewhere, and packs the artifact that it describes.
///
/// The recipe, the code and the artifact of this work tree must match the manifest. Everything else in it is the claim
/// of its author.
///
/// # Errors
/// [`Error`]; [`Error::Statement`] if the manifest describes something else.
pub fn seal(
    recipe: &Recipe,
    payload: &[u8],
    by: SealedBy<'_>,
    options: &Options<'_>,
) -> Result<Built, Error> {
    let statement = manifest::parse(payload).map_err(|error| Error::Statement(error.to_string()))?;
    let (compression, output) = options.target(recipe);
    let written = plan::written(recipe, &output, &options.writes);
    compare_recipe(recipe, &statement)?;
    compare_code(recipe, &statement, options, &written)?;
    plan::compare_external(recipe, &statement).map_err(|what| {
        Error::Statement(format!(
            "its {what} differs from the one in {}",
            modelseal_format::display::path(&recipe.path)
        ))
    })?;
    compare_settings(recipe, &statement, &options.context)?;
    behaviour::check_probes(recipe, &statement)?;
    let artifact = list_artifact(recipe, &written, &options.context)?;
    let found = artifact.hash(&options.context)?;
    let stated = statement.files();
    if found != stated {
        // Both lists are in byte order.
        let at = (0..found.len()).find(|&at| found.get(at) != stated.get(at)).unwrap_or(found.len());
        let names = [found.get(at), stated.get(at)].into_iter().flatten().map(|file| file.name.as_str());
        let name = modelseal_format::display::name(names.min().unwrap_or("a file"));
        return Err(Error::Statement(format!("{name} in the artifact does not match it")));
    }
    let seals = match by {
        SealedBy::Key(open_key) => signed(&statement, open_key)?,
        SealedBy::Bundle { bytes, key } => sealed_elsewhere(&statement, payload, bytes, key)?,
    };
    if options.output.is_none() {
        plan::make_directory(&output)?;
    }
    let file = ArchiveFile::create(&output, compression, &options.context)?;
    let sealed = write::sealed(&statement, &artifact, seals, file, &options.context)?;
    let (outcome, tar_digest) = sealed.file.finish(options.force, options.tar_digest)?;
    let internal = statement.internal();
    Ok(Built {
        archive: output,
        outcome,
        release: sealed.release,
        tar_digest,
        model: statement.model().clone(),
        origin: internal.origin,
        files: sealed.files,
        bytes: sealed.bytes,
        missing: internal.missing.clone(),
        excluded: internal.excluded.clone(),
        empty_directories: artifact.empty_directories,
        changes: Vec::new(),
        warnings: plan::warn_of_outside(&internal.outside).into_iter().collect(),
        model_signature: internal.model_signature,
        command_seconds: None,
        left: Vec::new(),
        probes: statement.probes().iter().map(asked).collect(),
    })
}

fn signed<'a>(statement: &'a Manifest, open_key: OpenKey<'_>) -> Result<Seals<'a>, Error> {
    let key = open_key()?;
    if statement.internal().model_signature && !key.public_key().is_elliptic_curve() {
        return Err(Error::ModelSignature("needs an ECDSA key"));
    }
    Seals::sign(Counted::of(statement), &key)
}

/// Checks a bundle that was signed elsewhere: it must sign exactly this manifest, with the key or certificate that it
/// names.
///
/// The deployer decides whether to trust that key or certificate.
fn sealed_elsewhere<'a>(
    statement: &Manifest,
    payload: &'a [u8],
    bytes: &[u8],
    key: Option<&PublicKey>,
) -> Result<Seals<'a>, Error> {
    let failed = |reason: String| Error::Bundle(reason);
    if statement.internal().model_signature {
        return Err(Error::ModelSignature("needs the signing key, not only a bundle"));
    }
    let bundle = read_foreign(bytes).map_err(|error| failed(error.to_string()))?;
    if bundle.payload() != payload {
        return Err(failed("it signs something other than the unsigned manifest".to_string()));
    }
    let (signer, material) = signer_of(&bundle, key)?;
    signer
        .verify_foreign(&payload, &bundle.signature)
        .map_err(|error| failed(format!("{error}, or was made by another key than the bundle names")))?;
    // A bundle with evidence for its certificate is kept byte for byte. Any other is rewritten in canonical form.
    let is_vouched = match &material {
        Material::Key { .. } => false,
        Material::Certificates(_) => !bundle.timestamps.is_empty(),
        Material::Identity { .. } => true,
    };
    let manifest = match signer.canonical_signature(&bundle.signature) {
        Some(signature) if !is_vouched => {
            SignedBundle::new(Counted::of(payload), &signature, material).to_vec()
        }
        _ => bytes.trim_ascii().to_vec(),
    };
    sign::read_bundle(&manifest).map_err(|error| failed(error.to_string()))?;
    Ok(Seals { release: Digest::sha256(payload), manifest: Box::new(manifest), model_signature: None })
}

/// The key that must have signed a bundle, and the verification material for the seal.
fn signer_of(bundle: &Bundle, key: Option<&PublicKey>) -> Result<(PublicKey, Material), Error> {
    let certified = |chain: &[Vec<u8>]| {
        check_chain(chain, None).map_err(Error::Bundle)?;
        let signer =
            certified_key(&chain[0], "in the bundle").map_err(|error| Error::Bundle(error.to_string()))?;
        match key {
            Some(key) if *key != signer => {
                Err(Error::Bundle("its certificate does not belong to the given key".to_string()))
            }
            _ => Ok((signer, bundle.material.clone())),
        }
    };
    match &bundle.material {
        Material::Key { .. } => {
            let key = key.ok_or(Error::UnknownKey)?;
            Ok((key.clone(), Material::Key { hint: Some(key.hint().to_string()) }))
        }
        Material::Certificates(chain) => certified(chain),
        Material::Identity { certificate, .. } => certified(std::slice::from_ref(certificate)),
    }
}

fn compare_recipe(recipe: &Recipe, statement: &Manifest) -> Result<(), Error> {
    let digest = Digest::sha256(recipe.text.as_bytes());
    let sealed = statement.recipe();
    if sealed.is_some_and(|sealed| sealed.digest.sha256 == Some(digest)) {
        return Ok(());
    }
    Err(Error::Statement(format!(
        "the recipe {} does not match it",
        modelseal_format::display::path(&recipe.path)
    )))
}

/// Compares parameters and lock files, which are in this checkout at the paths that the recipe names.
fn compare_settings(recipe: &Recipe, statement: &Manifest, context: &Context) -> Result<(), Error> {
    let found = gather_settings(recipe, context)?;
    if found.hyperparameters != statement.external().hyperparameters {
        return Err(Error::Statement("its hyperparameters differ from those of this work tree".to_string()));
    }
    let differs = |what: &str, name: &str| {
        let name = modelseal_format::display::name(name);
        Err(Error::Statement(format!("{name} {what}")))
    };
    if let Some(input) = found.dependencies.iter().find(|input| !statement.dependencies().contains(input)) {
        return differs("in this work tree does not match it", &input.name);
    }
    let is_setting = |name: &str| name.starts_with("params/") || name.starts_with("environment/");
    let mut stated = statement.dependencies().iter().filter(|input| is_setting(&input.name));
    match stated.find(|input| !found.dependencies.contains(input)) {
        None => Ok(()),
        Some(input) => differs("is listed in it, but not in the recipe of this work tree", &input.name),
    }
}

/// Checks that the remote, commit, tree and files of the code match this work tree.
fn compare_code(
    recipe: &Recipe,
    statement: &Manifest,
    options: &Options<'_>,
    written: &[std::path::PathBuf],
) -> Result<(), Error> {
    let stated = statement.code();
    let found = work_tree(recipe)?;
    let read = |work_tree: &WorkTree| {
        work_tree.read(&exempt(recipe, &options.data, written), &options.context).map_err(inputs::Error::from)
    };
    let differs = |what: &str, stated: Option<&str>, found: Option<&str>| {
        let shown = |text: Option<&str>| text.map_or("none".to_string(), modelseal_format::display::name);
        let (stated, found) = (shown(stated), shown(found));
        Err(Error::Statement(format!("its {what} is {stated}, but this work tree has {found}")))
    };
    let (stated, found) = match (stated, found.as_ref().map(read).transpose()?) {
        (None, None) => return Ok(()),
        (Some(stated), Some(found)) => (stated, found),
        (None, Some(found)) => return differs("commit", None, Some(&found.commit)),
        (Some(stated), None) => return differs("commit", Some(stated.commit()), None),
    };
    for (what, stated, found) in [
        ("remote", stated.remote(), found.remote.as_deref()),
        ("commit", Some(stated.commit()), Some(found.commit.as_str())),
        ("tree", Some(stated.tree()), Some(found.tree.as_str())),
    ] {
        if stated != found {
            return differs(what, stated, found);
        }
    }
    // A command may have left new files. Tracked files must be as committed, or the manifest must list them as changed.
    let is_stated = |change: &inputs::Change| stated.dirty().contains(&change.path);
    let mut tracked = found.changes.iter().filter(|change| change.kind != inputs::ChangeKind::Untracked);
    if let Some(change) = tracked.find(|change| !is_stated(change)) {
        let name = modelseal_format::display::name(&change.path);
        let message = format!(
            "{name} in this work tree differs from the commit, and the manifest does not list that change"
        );
        return Err(Error::Statement(message));
    }
    if [found.dir_hash, found.hash_of_tracked()].map(Some).contains(&stated.directory_hash()) {
        return Ok(());
    }
    Err(Error::Statement("the code of this work tree does not match it".to_string()))
}
