//! Verifies any model with an OpenSSF Model Signing signature, including models that modelseal did not build. It shows
//! that the files are the signed ones, and nothing else about the model.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Error, Options, Target, Verification, files, signature, signer};
use crate::oms::{self, Compared, Difference, GIT_PATHS, ModelStatement, Order, compare};
use crate::policy::{Policy, Previous};
use crate::report::id::{FILES, LINEAGE, MODEL, PREVIOUS, ROLLBACK, SEAL, SIGNATURES};
use crate::report::{Check, CheckId, Report};
use modelseal_format::digest::{self, Symlinks, open_regular};
use modelseal_format::display::{count, name};
use modelseal_format::hint::Hint;
use modelseal_format::sign::read_foreign;

/// Maximum length of a model signature in bytes.
const LONGEST: u64 = 128 << 20;

/// Maximum number of names in a line.
const SHOWN: usize = 5;

/// A model and its signature.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Model {
    /// A directory or one file.
    pub path: PathBuf,
    pub signature: PathBuf,
    /// Paths relative to the model. They are left out with everything in them, in addition to what the signature leaves
    /// out.
    pub ignored: BTreeSet<String>,
    /// Whether files that were not signed are allowed.
    pub ignore_unsigned: bool,
}

impl Model {
    /// A model of which every file must be signed, apart from those that the signature leaves out.
    pub fn new(path: impl Into<PathBuf>, signature: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            signature: signature.into(),
            ignored: BTreeSet::new(),
            ignore_unsigned: false,
        }
    }
}

/// Verifies a model by its signature. It uses only the options that apply to a signature: signers, policy and time.
///
/// # Errors
/// [`Error`] if the model could not be examined. Every problem with its content is in the report.
pub fn verify_model(model: &Model, options: &Options<'_>) -> Result<Report, Error> {
    let target = Target::Path(model.path.clone());
    // The path of the model may be a link. Its content may not contain links.
    let path = model.path.canonicalize().map_err(|source| Error::io(&model.path, source))?;
    let model = Model { path, ..model.clone() };
    let content = read(&model.signature)?;
    let mut verification = Verification::new(&target, options)?;
    let Some(statement) = check_signature(&mut verification, &content) else {
        return Ok(verification.report);
    };
    drop(content);
    check_files(&mut verification, &model, &statement)?;
    check_policy(&mut verification, &statement);
    Ok(verification.report)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source: io::Error| Error::io(path, source);
    let (file, metadata) = match open_regular(path, Symlinks::Follow) {
        Ok(opened) => opened,
        Err(digest::Error::NotRegular { kind, .. }) => {
            return Err(failed(io::Error::other(format!("it is {kind}, not a signature file"))));
        }
        Err(digest::Error::Io { source, .. }) => return Err(failed(source)),
        Err(other) => return Err(other.into()),
    };
    if metadata.len() > LONGEST {
        return Err(failed(io::Error::other(format!("it is longer than {LONGEST} bytes"))));
    }
    let mut content = Vec::new();
    file.take(LONGEST).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// Steps 1 and 2: a trusted signer signed it, and the signed content is valid. Content without a trusted signature is
/// not examined.
fn check_signature(verification: &mut Verification<'_>, content: &[u8]) -> Option<ModelStatement> {
    let bundle = match read_foreign(content) {
        Ok(bundle) => bundle,
        Err(error) => {
            verification.add(Check::fail(SEAL, format!("cannot read the signature: {error}")));
            verification.not_reached("everything (there is no readable signature)");
            return None;
        }
    };
    verification.accepted = signature::check_by(verification, &bundle, &|key| oms::verify(&bundle, key));
    // The check of the signed content comes first in the report, although the content is read last.
    let Some(accepted) = &verification.accepted else {
        let skipped = Check::skip(SEAL, "not read: no trusted signer signed it");
        verification.report.checks.insert(0, skipped);
        verification.not_reached("the files (the signature was not accepted)");
        return None;
    };
    let signer = signer(accepted);
    let (check, statement) = match ModelStatement::read(bundle.payload()) {
        Ok(statement) => (Check::pass(SEAL, describe(&statement)), Some(statement)),
        Err(error) => (Check::fail(SEAL, error.to_string()), None),
    };
    let report = &mut verification.report;
    report.signers.push(signer);
    report.checks.insert(0, check);
    match &statement {
        Some(statement) => {
            report.hash = statement.hash.name();
            report.files = Some(statement.files().len() as u64);
            report.model_digest = statement.root;
        }
        None => verification.not_reached("the files (the signed content is not a model)"),
    }
    statement
}

fn describe(statement: &ModelStatement) -> String {
    let model = statement.model.as_ref().map(|model| format!(" of {}", name(model))).unwrap_or_default();
    let files = count(statement.files().len() as u64, "file", "files");
    let pieces = match statement.shard_size {
        Some(size) => format!(" in shards of {}", count(size, "byte", "bytes")),
        None => String::new(),
    };
    let order = match statement.order {
        Order::Specification => "",
        Order::Reference => "; listed in the order of the reference tool, not of the specification",
        Order::Other => "; listed in an order that the specification does not define",
    };
    format!("model signature{model} over {files}{pieces}, {}{order}", statement.hash.name())
}

/// Step 4: the files are the ones that were signed.
fn check_files(
    verification: &mut Verification<'_>,
    model: &Model,
    statement: &ModelStatement,
) -> Result<(), Error> {
    let signed = statement.files();
    let is_listed = |path: &str| {
        let below = format!("{path}/");
        signed.iter().any(|file| *file == path || file.starts_with(&below))
    };
    // The reference tool leaves these paths out without recording it. Release 0.2 did not leave them out.
    let git = GIT_PATHS.into_iter().filter(|path| !is_listed(path)).map(str::to_string);
    let own = relative(&model.path, &model.signature).filter(|path| !is_listed(path));
    let ignored = model.ignored.iter().cloned().chain(git).chain(own.clone()).collect();
    let mut compared = compare(&model.path, statement, &ignored, &verification.options.context)?;
    if model.ignore_unsigned {
        let is_unsigned = |difference: &Difference| *difference == Difference::Unsigned;
        let unsigned: Vec<String> = compared
            .differences
            .extract_if(.., |_, difference| is_unsigned(difference))
            .map(|(path, _)| path)
            .collect();
        note(verification, "unsigned files", &unsigned);
    }
    let left_out: Vec<String> =
        compared.ignored.iter().filter(|path| Some(*path) != own.as_ref()).cloned().collect();
    note(verification, "ignored paths", &left_out);
    note(verification, "empty files that a sharded signature does not cover", &compared.empty);
    let findings = findings(&compared);
    // Files that exist but were not signed are included in the count.
    let total = compared.differences.len() + usize::try_from(compared.same).unwrap_or(usize::MAX);
    files::add(verification, total, findings, |_| true);
    Ok(())
}

fn note(verification: &mut Verification<'_>, what: &str, paths: &[String]) {
    if paths.is_empty() {
        return;
    }
    let shown: Vec<String> = paths.iter().take(SHOWN).map(|path| name(path)).collect();
    let more = if paths.len() > SHOWN { ", …" } else { "" };
    verification.not_reached(&format!("{what} ({}{more})", shown.join(", ")));
}

fn findings(compared: &Compared) -> Vec<Check> {
    let hint = "fetch the model again; if it still fails, do not deploy it";
    let differences = compared.differences.iter();
    let findings = differences.map(|(path, difference)| {
        let message = match difference {
            Difference::Missing => format!("{} is missing", name(path)),
            Difference::Unsigned => format!("{} is not signed", name(path)),
            Difference::Content { .. } => format!("{} differs from the signed file", name(path)),
            Difference::Refused(reason) => format!("{}: {reason}", name(path)),
        };
        let check = Check::fail(FILES, message).path(path);
        match difference {
            Difference::Content { expected, actual } => check.differs(expected, actual).hint(hint),
            Difference::Unsigned => check.hint(Hint::AcceptUnsigned),
            _ => check.hint(hint),
        }
    });
    findings.collect()
}

/// The path relative to the model. `None` if it is not inside the model.
fn relative(model: &Path, path: &Path) -> Option<String> {
    let (model, path) = (model.canonicalize().ok()?, path.canonicalize().ok()?);
    let relative = path.strip_prefix(model).ok()?.to_str()?.to_string();
    (!relative.is_empty()).then_some(relative)
}

/// Step 7: checks the name of the model, and fails every demand of the policy that a model signature cannot meet.
fn check_policy(verification: &mut Verification<'_>, statement: &ModelStatement) {
    verification.add(Check::skip(LINEAGE, "none: a model signature covers only files"));
    let Some(policy) = verification.options.policy else {
        verification.not_reached("policy (none given)");
        return;
    };
    verification.add(model_name(policy, statement));
    for (id, what) in needs(policy) {
        let message = match id == SIGNATURES {
            true => format!("the policy demands {what}, but a model signature has only one"),
            false => format!("the policy demands {what}, but a model signature has no lineage"),
        };
        verification.add(
            Check::fail(id, message)
                .hint("use a release sealed by `modelseal build`, or a policy that demands less"),
        );
    }
    policy.settle(&mut verification.report.checks, verification.options.context.now);
}

fn model_name(policy: &Policy, statement: &ModelStatement) -> Check {
    let demanded = policy.model.get_ref();
    match &statement.model {
        Some(found) if found == demanded => Check::pass(MODEL, found.clone()),
        Some(found) => {
            let found = name(found);
            Check::fail(MODEL, format!("this is the model {found}, but the policy is for `{demanded}`"))
                .hint("check that this is the right model and the right policy")
        }
        None => {
            Check::fail(MODEL, format!("the signature names no model, but the policy is for `{demanded}`"))
        }
    }
}

/// The demands that only a manifest can meet, with the ids of their checks.
fn needs(policy: &Policy) -> Vec<(CheckId, String)> {
    let mut needs = policy.needs();
    if policy.previous == Some(Previous::Required) {
        needs.push((PREVIOUS.into(), "a comparison with the previous release".to_string()));
    }
    if policy.min_release.is_some() {
        needs.push((ROLLBACK.into(), "a release number".to_string()));
    }
    if let Some(count) = policy.signatures.as_ref().map(toml::Spanned::get_ref).filter(|count| **count > 1) {
        needs.push((SIGNATURES.into(), format!("{count} signatures")));
    }
    needs
}
