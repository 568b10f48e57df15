use std::collections::HashSet;

use super::{
    BUILD_TYPE, FORMAT, LAST_EPOCH, LAST_RELEASE, Manifest, Missing, Origin, PathError, ResourceDescriptor,
    STATEMENT_TYPE, behaviour, check_collisions, check_path, evidence, is_name, is_source_name, model_root,
};

/// The rule between the parts of a manifest that is violated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidManifest {
    #[error("{what} is {}", crate::display::name(found))]
    Constant { what: &'static str, found: String },
    #[error("format {0} does not exist")]
    Format(u32),
    #[error("{} is not a valid model {what}", crate::display::name(name))]
    Name { what: &'static str, name: String },
    #[error("{0} is not a valid release number")]
    Release(u64),
    #[error("the first subject is not the model")]
    NoModel,
    #[error("{} is missing a digest, its size or its mode", crate::display::name(.0))]
    Incomplete(String),
    #[error("there are no files")]
    NoFiles,
    #[error("{} {reason}", crate::display::name(path))]
    Path { path: String, reason: PathError },
    #[error("{} is out of byte order or listed twice", crate::display::name(.0))]
    Order(String),
    #[error("the root digest does not match the files")]
    Root,
    #[error("the total size of the files does not fit into 64 bits")]
    Size,
    #[error("the source date epoch {0} does not fit into an archive")]
    Epoch(u64),
    #[error("the input {} is unknown to this version or listed twice", crate::display::name(.0))]
    Dependency(String),
    #[error("the input {} has the wrong kinds of digest", crate::display::name(.0))]
    Digest(String),
    #[error(
        "the byproduct {} is unknown to this version or has inconsistent counts",
        crate::display::name(.0)
    )]
    Byproduct(String),
    #[error("the address of the input {} is not a git address", crate::display::name(.0))]
    Address(String),
    #[error("the counts of the input {} are inconsistent", crate::display::name(.0))]
    Counts(String),
    #[error("its list of missing parts is wrong")]
    Missing,
    #[error("its origin `{0}` does not match its settings for a command")]
    Origin(&'static str),
    #[error("the list of files from outside links is invalid at {}", crate::display::name(.0))]
    Outside(String),
    #[error("a tolerance is negative or not finite")]
    Tolerance,
}

pub(super) fn validate(statement: &Manifest) -> Result<(), InvalidManifest> {
    constant("`_type`", &statement.statement_type, STATEMENT_TYPE)?;
    let definition = &statement.predicate.build_definition;
    constant("`buildType`", &definition.build_type, BUILD_TYPE)?;
    let internal = statement.internal();
    if internal.format == 0 || internal.format > FORMAT {
        return Err(InvalidManifest::Format(internal.format));
    }
    if internal.source_date_epoch > LAST_EPOCH {
        return Err(InvalidManifest::Epoch(internal.source_date_epoch));
    }
    let model = statement.model();
    for (what, name) in [("name", &model.name), ("version", &model.version)] {
        if !is_name(name) {
            return Err(InvalidManifest::Name { what, name: name.clone() });
        }
    }
    if let Some(number) = model.release.filter(|number| !(1..=LAST_RELEASE).contains(number)) {
        return Err(InvalidManifest::Release(number));
    }
    command(statement)?;
    subjects(statement)?;
    outside(statement)?;
    let mut names = HashSet::new();
    for dependency in statement.dependencies() {
        if !names.insert(dependency.name.as_str()) {
            return Err(InvalidManifest::Dependency(dependency.name.clone()));
        }
        check_dependency(dependency)?;
    }
    behaviour::fits(statement.probes()).map_err(InvalidManifest::Byproduct)?;
    if internal.missing != missing(statement) {
        return Err(InvalidManifest::Missing);
    }
    Ok(())
}

fn constant(what: &'static str, found: &str, expected: &str) -> Result<(), InvalidManifest> {
    if found == expected {
        return Ok(());
    }
    Err(InvalidManifest::Constant { what, found: found.to_string() })
}

/// Checks the command's settings. A manifest with a command must have all of them, one of an adopted artifact none.
fn command(statement: &Manifest) -> Result<(), InvalidManifest> {
    let external = statement.external();
    let origin = statement.internal().origin;
    let fits = match origin {
        Origin::Adopted => {
            external.command.is_empty()
                && external.env.is_empty()
                && external.pass_env.is_empty()
                && external.caches.is_empty()
                && external.network.is_none()
                && external.reproduce.is_none()
        }
        Origin::Executed | Origin::Clean => {
            !external.command.is_empty() && external.network.is_some() && external.reproduce.is_some()
        }
        Origin::Reproduced => false,
    };
    if !fits {
        return Err(InvalidManifest::Origin(origin.name()));
    }
    let good = |tolerance: f64| tolerance.is_finite() && tolerance >= 0.0;
    match external.reproduce {
        Some(demand) if !good(demand.atol) || !good(demand.rtol) => Err(InvalidManifest::Tolerance),
        _ => Ok(()),
    }
}

fn subjects(statement: &Manifest) -> Result<(), InvalidManifest> {
    let files = statement.files();
    match statement.subject.first() {
        Some(model)
            if model.name == statement.model().name
                && model.digest.blake3.is_none()
                && model.annotations.is_none() => {}
        _ => return Err(InvalidManifest::NoModel),
    }
    if files.is_empty() {
        return Err(InvalidManifest::NoFiles);
    }
    let mut total: u64 = 0;
    for (index, file) in files.iter().enumerate() {
        check_path(&file.name).map_err(|reason| InvalidManifest::Path { path: file.name.clone(), reason })?;
        if index > 0 && files[index - 1].name >= file.name {
            return Err(InvalidManifest::Order(file.name.clone()));
        }
        if file.digest.blake3.is_none() || file.annotations.is_none() {
            return Err(InvalidManifest::Incomplete(file.name.clone()));
        }
        total = total.checked_add(file.size()).ok_or(InvalidManifest::Size)?;
    }
    // Leaves space for the headers and the padding of every entry, so that no later sum can overflow.
    if total > u64::MAX / 2 {
        return Err(InvalidManifest::Size);
    }
    check_collisions(files.iter().map(|file| file.name.as_str()))
        .map_err(|(path, reason)| InvalidManifest::Path { path, reason })?;
    if statement.model_digest() != Some(model_root(files)) {
        return Err(InvalidManifest::Root);
    }
    Ok(())
}

/// Checks what links brought in: the whole artifact, or some of its files, each named once, in order.
fn outside(statement: &Manifest) -> Result<(), InvalidManifest> {
    let (files, outside) = (statement.files(), &statement.internal().outside);
    let is_file = |name: &str| files.binary_search_by(|file| file.name.as_str().cmp(name)).is_ok();
    let before = [None].into_iter().chain(outside.iter().map(Some));
    let mut pairs = before.zip(outside);
    let is_wrong = |(before, name): &(Option<&String>, &String)| match (before, name.as_str()) {
        (None, ".") => outside.len() > 1,
        (before, name) => before.is_some_and(|before| before.as_str() >= name) || !is_file(name),
    };
    match pairs.find(is_wrong) {
        Some((_, name)) => Err(InvalidManifest::Outside(name.clone())),
        None => Ok(()),
    }
}

fn check_dependency(dependency: &ResourceDescriptor) -> Result<(), InvalidManifest> {
    let name = &dependency.name;
    let digest = &dependency.digest;
    let kind = name.split_once('/').map_or(name.as_str(), |(kind, _)| kind);
    let content = (digest.sha256.is_some(), digest.dir_hash.is_some());
    let git = (digest.git_commit.as_deref(), digest.git_tree.as_deref());
    let fits = match (kind, name.contains('/')) {
        ("code", false) => {
            content == (false, true)
                && matches!(git, (Some(commit), Some(tree)) if is_object_id(commit) && is_object_id(tree))
        }
        ("recipe", false) | ("params" | "environment", true) => {
            content == (true, false) && git == (None, None)
        }
        ("data" | "base", true) if !is_source_name(&name[kind.len() + 1..]) => {
            return Err(InvalidManifest::Dependency(name.clone()));
        }
        ("data" | "base", true) => (content.0 ^ content.1) && git == (None, None),
        _ => return Err(InvalidManifest::Dependency(name.clone())),
    };
    if !fits {
        return Err(InvalidManifest::Digest(name.clone()));
    }
    let is_git = |uri: &String| uri.starts_with("git+");
    if kind == "code" && !dependency.uri.as_ref().is_none_or(is_git) {
        return Err(InvalidManifest::Address(name.clone()));
    }
    match dependency.data() {
        Some(facts) if !evidence::fits(facts) => Err(InvalidManifest::Counts(name.clone())),
        _ => Ok(()),
    }
}

/// A git object id: SHA-1 or SHA-256 in lower-case hex.
fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// The parts of the lineage that a manifest does not have.
fn missing(statement: &Manifest) -> Vec<Missing> {
    let has = |prefix: &str| statement.dependencies().iter().any(|input| input.name.starts_with(prefix));
    let missing = |part: &Missing| match part {
        Missing::Code => !has("code"),
        Missing::Data => !has("data/"),
        Missing::Params => !has("params/") && statement.external().hyperparameters.is_empty(),
    };
    Missing::ALL.into_iter().filter(missing).collect()
}
