use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::params::{self, LONGEST};
use super::paths::{exempt, stay_inside, work_tree};
use super::{Change, Code, Error, SourceFacts, WorkTree, read_base, read_source};
use crate::cache::Cache;
use crate::profile::{Columns, Profile};
use crate::recipe::{Data, Recipe};
use modelseal_format::context::Context;
use modelseal_format::digest::{Algorithms, Consumer, Digest, Symlinks, hash_file};
use modelseal_format::manifest::{
    CodeEvidence, DataEvidence, DependencyDigest, Evidence, Missing, ResourceDescriptor, Value,
};
use modelseal_verify::config::Age;

/// How to read the inputs.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Options<'a> {
    /// Data sources that are not where the recipe says: their paths on this machine, by name.
    pub data: &'a BTreeMap<String, PathBuf>,
    /// Absolute paths that the build writes.
    pub written: &'a [PathBuf],
    pub allow_dirty: bool,
    /// Whether to count the records of data. If `false`, only the digests describe the data.
    pub profile: bool,
    /// Whether to check the age of data against the current time, which is never sealed.
    pub judges_age: bool,
    /// Knows files of data from earlier builds. `None`: read every file.
    pub cache: Option<&'a Cache>,
    /// Receives the number of bytes that were read from an input.
    pub context: &'a Context,
}

impl<'a> Options<'a> {
    /// Reads everything where the recipe says, and judges nothing.
    pub fn new(context: &'a Context) -> Self {
        static NO_DATA: BTreeMap<String, PathBuf> = BTreeMap::new();
        Self {
            data: &NO_DATA,
            written: &[],
            allow_dirty: true,
            profile: false,
            judges_age: false,
            cache: None,
            context,
        }
    }
}

/// The contents of a manifest apart from the artifact.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Inputs {
    pub dependencies: Vec<ResourceDescriptor>,
    pub hyperparameters: BTreeMap<String, Value>,
    /// The time of the commit, in seconds since 1970. `None` without code.
    pub commit_time: Option<u64>,
    /// The commit, in hex. `None` without code.
    pub commit: Option<String>,
    /// The files of the code, each with its digest.
    pub code_files: BTreeMap<String, Digest>,
    pub missing: Vec<Missing>,
    /// Differences from the commit that `--allow-dirty` permits.
    pub changes: Vec<Change>,
    /// Messages for the user that do not stop the build.
    pub warnings: Vec<String>,
}

/// Reads and hashes every input that a recipe declares.
///
/// # Errors
/// [`Error`].
pub fn gather(recipe: &Recipe, options: &Options<'_>) -> Result<Inputs, Error> {
    for name in options.data.keys() {
        if !recipe.tables.data.iter().any(|data| data.name.get_ref() == name) {
            return Err(Error::UnknownData(name.clone()));
        }
    }
    let work_tree = work_tree(recipe)?;
    stay_inside(recipe, work_tree.as_ref())?;
    let mut inputs = Inputs::default();
    if let Some(work_tree) = &work_tree {
        let code = work_tree.read(&exempt(recipe, options.data, options.written), options.context)?;
        inputs.add_code(code, options.allow_dirty)?;
    }
    inputs.add_recipe(recipe, work_tree.as_ref());
    for data in &recipe.tables.data {
        inputs.add_data(recipe, data, options)?;
    }
    for base in &recipe.tables.base {
        let path = recipe.directory().join(base.path.get_ref());
        let facts = read_base(&path, base.symlinks, options.cache, options.context)?;
        inputs.dependencies.push(ResourceDescriptor {
            name: format!("base/{}", base.name.get_ref()),
            uri: Some(base.path.get_ref().clone()),
            digest: facts.digest,
            evidence: Some(Box::new(Evidence::Base(facts.evidence))),
        });
    }
    inputs.add_settings(recipe, options.context)?;
    inputs.find_missing();
    Ok(inputs)
}

/// Reads the hyperparameters, and the files of parameters and of the environment: what a checkout contains without any
/// data.
///
/// # Errors
/// [`Error`].
pub fn gather_settings(recipe: &Recipe, context: &Context) -> Result<Inputs, Error> {
    let mut inputs = Inputs::default();
    inputs.add_settings(recipe, context)?;
    Ok(inputs)
}

impl Inputs {
    fn add_code(&mut self, code: Code, allow_dirty: bool) -> Result<(), Error> {
        if !code.changes.is_empty() && !allow_dirty {
            return Err(Error::Dirty { commit: code.commit, changes: code.changes });
        }
        self.commit_time = Some(u64::try_from(code.time).map_err(|_| Error::Time(code.time))?);
        let dirty = code.changes.iter().map(|change| change.path.clone()).collect();
        self.commit = Some(code.commit.clone());
        self.code_files = code.files;
        self.dependencies.push(ResourceDescriptor {
            name: "code".to_string(),
            uri: code.remote.map(|remote| format!("git+{remote}")),
            digest: DependencyDigest {
                git_commit: Some(code.commit),
                git_tree: Some(code.tree),
                dir_hash: Some(code.dir_hash),
                sha256: None,
            },
            evidence: Some(Box::new(Evidence::Code(CodeEvidence { dirty }))),
        });
        self.changes = code.changes;
        Ok(())
    }

    /// Adds the recipe by its path in the work tree, because a rebuild has to find it.
    fn add_recipe(&mut self, recipe: &Recipe, work_tree: Option<&WorkTree>) {
        let name = Path::new(recipe.path.file_name().unwrap_or_default());
        let within = work_tree.and_then(|work_tree| {
            let directory = recipe.directory().canonicalize().ok()?;
            Some(directory.strip_prefix(work_tree.root()).ok()?.join(name))
        });
        let path = within.unwrap_or_else(|| name.to_path_buf());
        self.dependencies.push(ResourceDescriptor {
            name: "recipe".to_string(),
            uri: Some(path.to_string_lossy().into_owned()),
            digest: DependencyDigest::file(Digest::sha256(recipe.text.as_bytes())),
            evidence: None,
        });
    }

    fn add_data(&mut self, recipe: &Recipe, data: &Data, options: &Options<'_>) -> Result<(), Error> {
        let name = data.name.get_ref();
        let path = match options.data.get(name) {
            Some(path) => path.clone(),
            None => recipe.directory().join(data.path.get_ref()),
        };
        let columns = Columns { label: data.label.clone(), timestamp: data.timestamp.clone() };
        let counted = options.profile.then_some(&columns);
        let facts = read_source(&path, data.symlinks, counted, options.cache, options.context)?;
        if let Some((path, reason)) = &facts.uncounted {
            let path = modelseal_format::display::path(path);
            self.warnings.push(format!("data `{name}`: the records of {path} are not counted: {reason}"));
        }
        if let Some(profile) = &facts.profile {
            self.warn_about(name, profile, &columns);
            if let Some(limit) = data.max_age.as_ref().filter(|_| options.judges_age) {
                let now = options.context.now;
                check_age(name, profile, *limit.get_ref(), now)?;
            }
        }
        self.dependencies.push(ResourceDescriptor {
            name: format!("data/{name}"),
            uri: Some(data.path.get_ref().clone()),
            evidence: Some(Box::new(Evidence::Data(data_evidence(&facts, &columns)))),
            digest: facts.digest,
        });
        Ok(())
    }

    fn warn_about(&mut self, name: &str, profile: &Profile, columns: &Columns) {
        if profile.rows == 0 {
            self.warnings.push(format!("data `{name}` has no rows"));
        }
        for (left, right) in profile.lookalikes() {
            let (left, right) =
                (modelseal_format::display::name(&left), modelseal_format::display::name(&right));
            self.warnings.push(format!(
                "data `{name}`: the labels {left} and {right} differ only by case or white space"
            ));
        }
        if columns.label.is_some() && profile.labels().is_none() {
            let message = "has more than 1,000 classes, or labels longer than 256 bytes: not counted";
            self.warnings.push(format!("data `{name}` {message}"));
        }
        if columns.timestamp.is_some() && profile.unparsed > 0 {
            let examples = profile.unparsed_examples.iter().map(|text| modelseal_format::display::name(text));
            let rows = modelseal_format::display::count(profile.unparsed, "row", "rows");
            let examples = examples.collect::<Vec<_>>().join(", ");
            self.warnings.push(format!("data `{name}`: {rows} without a readable time, such as {examples}"));
        }
    }

    fn add_settings(&mut self, recipe: &Recipe, context: &Context) -> Result<(), Error> {
        self.add_params(recipe, context)?;
        for file in &recipe.tables.environment.files {
            let (digest, _) = hash_small_file(&recipe.directory().join(file.get_ref()), 0, context)?;
            self.add_file("environment", file.get_ref(), digest);
        }
        Ok(())
    }

    fn add_params(&mut self, recipe: &Recipe, context: &Context) -> Result<(), Error> {
        let mut origins: BTreeMap<String, String> = BTreeMap::new();
        let mut add = |values: Vec<(String, Value)>, origin: String| {
            for (name, value) in values {
                if let Some(first) = origins.insert(name.clone(), origin.clone()) {
                    return Err(Error::TwoValues { name, first, second: origin.clone() });
                }
                self.hyperparameters.insert(name, value);
            }
            Ok(())
        };
        let mut files = Vec::new();
        for file in &recipe.tables.params.files {
            let path = recipe.directory().join(file.get_ref());
            let (digest, bytes) = hash_small_file(&path, LONGEST + 1, context)?;
            let values = params::parse(file.get_ref(), &bytes)
                .map_err(|reason| Error::Params { path: path.clone(), reason })?;
            add(values.into_iter().collect(), modelseal_format::display::name(file.get_ref()))?;
            files.push((file.get_ref(), digest));
        }
        add(recipe.values.clone(), "the recipe's `values`".to_string())?;
        if params::depth(&self.hyperparameters) > params::DEEPEST {
            let path = recipe.path.clone();
            return Err(Error::Params { path, reason: super::ParamsError::TooDeep });
        }
        for (path, digest) in files {
            self.add_file("params", path, digest);
        }
        Ok(())
    }

    fn add_file(&mut self, kind: &str, path: &str, digest: Digest) {
        self.dependencies.push(ResourceDescriptor {
            name: format!("{kind}/{path}"),
            uri: None,
            digest: DependencyDigest::file(digest),
            evidence: None,
        });
    }

    fn find_missing(&mut self) {
        let has = |prefix: &str| self.dependencies.iter().any(|input| input.name.starts_with(prefix));
        let parts = [
            (Missing::Code, self.commit_time.is_some()),
            (Missing::Data, has("data/")),
            (Missing::Params, has("params/") || !self.hyperparameters.is_empty()),
        ];
        self.missing = parts.into_iter().filter(|(_, there)| !there).map(|(part, _)| part).collect();
    }
}

fn data_evidence(facts: &SourceFacts, columns: &Columns) -> DataEvidence {
    let mut evidence =
        DataEvidence { bytes: Some(facts.bytes), files: Some(facts.files), ..DataEvidence::default() };
    let Some(profile) = &facts.profile else {
        return evidence;
    };
    evidence.rows = Some(profile.rows);
    evidence.sketch = Some(profile.sketch());
    if columns.label.is_some() {
        evidence.label = columns.label.clone();
        evidence.labels = profile.labels();
        evidence.labels_uncounted = evidence.labels.is_none().then_some(true);
        evidence.nulls = Some(profile.nulls);
    }
    if columns.timestamp.is_some() {
        evidence.timestamp = columns.timestamp.clone();
        evidence.oldest = profile.oldest.map(|time| time.to_string());
        evidence.newest = profile.newest.map(|time| time.to_string());
        evidence.unparsed = Some(profile.unparsed);
        evidence.unparsed_examples = profile.unparsed_examples.clone();
        evidence.time_forms = Some(profile.time_forms);
        evidence.timeline = profile.timeline();
    }
    evidence
}

/// How far in the future the newest record may be: a clock may be slightly wrong, or a time zone may be missing.
const TOLERATED_FUTURE_SECONDS: i64 = 86_400;

fn check_age(name: &str, profile: &Profile, limit: Age, now: Timestamp) -> Result<(), Error> {
    let no_age = |reason: String| Error::NoAge { name: name.to_string(), reason };
    let Some(newest) = profile.newest else {
        return Err(no_age("no record has a readable time".to_string()));
    };
    let age = now.as_second() - newest.as_second();
    if age < -TOLERATED_FUTURE_SECONDS {
        return Err(no_age(format!("its newest record, {newest}, is in the future")));
    }
    let age = Age(std::time::Duration::from_secs(age.max(0).unsigned_abs()));
    if age > limit {
        let (name, newest) = (name.to_string(), newest.to_string());
        return Err(Error::TooOld { name, newest, age, limit });
    }
    Ok(())
}

/// Returns the SHA-256 of a file of the project, and up to `keep` of its first bytes.
///
/// # Errors
/// [`Error::Digest`].
pub fn hash_small_file(path: &Path, keep: u64, context: &Context) -> Result<(Digest, Vec<u8>), Error> {
    struct Keep(Vec<u8>, u64);
    impl Consumer for Keep {
        fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
            let room = usize::try_from(self.1).unwrap_or(usize::MAX) - self.0.len();
            self.0.extend_from_slice(&chunk[..chunk.len().min(room)]);
            Ok(())
        }
    }
    let mut kept = Keep(Vec::new(), keep);
    let digests = hash_file(path, Algorithms::SHA256, Symlinks::Follow, &mut [&mut kept], context)?.digests;
    Ok((digests.sha256.unwrap_or_else(|| Digest::sha256(b"")), kept.0))
}
