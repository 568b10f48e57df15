//! The content of a model signature: the files of a model with their digests, and how they were collected.

use std::collections::{BTreeSet, HashSet};

use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::Digest as _;

use super::Error;
use modelseal_format::digest::Digest;
use modelseal_format::display::name;
use modelseal_format::manifest::Object;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const SIGNATURE: &str = "https://model_signing/signature/v1.0";
/// The predicate type of release 0.2, where the files are the subjects.
const DIGESTS: &str = "https://model_signing/Digests/v0.1";

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatement {
    /// The name that the signer gave the model. `None` in signatures of release 0.2, which have no name.
    pub model: Option<String>,
    /// SHA-256 of all digests, in the order in which they are listed.
    pub root: Option<Digest>,
    pub hash: Hash,
    /// Size in bytes of the pieces into which files are cut.
    pub shard_size: Option<u64>,
    /// Whether symbolic links to files were followed.
    pub allow_symlinks: bool,
    /// Paths below the model that were left out, with everything in them.
    pub ignore_paths: Vec<String>,
    pub resources: Vec<Resource>,
    pub order: Order,
}

/// A file, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Relative to the model. `.` is the model itself if it is a single file.
    pub path: String,
    /// The first byte and the byte after the last.
    pub shard: Option<Shard>,
    pub digest: Vec<u8>,
}

/// The first byte of a piece in its file, and the byte after the last.
pub type Shard = (u64, u64);

/// How the content of files is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    Sha256,
    /// 512 bits.
    Blake2b,
    Blake3,
}

impl Hash {
    pub fn name(self) -> &'static str {
        match self {
            Hash::Sha256 => "sha256",
            Hash::Blake2b => "blake2b",
            Hash::Blake3 => "blake3",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Hash::Sha256, Hash::Blake2b, Hash::Blake3].into_iter().find(|hash| hash.name() == text)
    }

    /// In bytes.
    fn length(self) -> usize {
        match self {
            Hash::Sha256 | Hash::Blake3 => 32,
            Hash::Blake2b => 64,
        }
    }
}

/// The order in which the files are listed. The root digest depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By the code points of the whole path, as the specification requires (OMS 1.0, 6.4).
    Specification,
    /// By the components of the path, as the reference tool writes them.
    Reference,
    Other,
}

impl ModelStatement {
    /// Reads a signed payload.
    ///
    /// # Errors
    /// [`Error`] if it is not a model signature, or an invalid one: without files, with paths that lead elsewhere or
    /// are listed twice, or with a root digest that does not match the files.
    pub fn read(payload: &[u8]) -> Result<Self, Error> {
        let kind: Kind = parse(payload)?;
        if kind.statement_type != STATEMENT {
            return Err(Error::statement(format!("its `_type` is {}", name(&kind.statement_type))));
        }
        let statement = match kind.predicate_type.as_str() {
            SIGNATURE => parse::<Signature>(payload)?.read()?,
            DIGESTS => parse::<Digests>(payload)?.read()?,
            other => {
                return Err(Error::statement(format!(
                    "its `predicateType` is {}, not that of a model signature",
                    name(other)
                )));
            }
        };
        statement.check()?;
        Ok(statement)
    }

    /// The paths of the files, each one once.
    pub fn files(&self) -> BTreeSet<&str> {
        self.resources.iter().map(|resource| resource.path.as_str()).collect()
    }

    fn check(&self) -> Result<(), Error> {
        if self.resources.is_empty() {
            return Err(Error::statement("it lists no files"));
        }
        let mut seen = HashSet::new();
        let is_one_file = self.resources.iter().all(|resource| resource.path == ".");
        for resource in &self.resources {
            let path = &resource.path;
            if !is_one_file {
                check_path(path)?;
            }
            if !seen.insert((path, resource.shard)) {
                return Err(Error::statement(format!("it lists {} twice", name(path))));
            }
        }
        self.check_shards()?;
        self.ignore_paths.iter().try_for_each(|path| check_path(path.trim_end_matches('/')))?;
        let mut hasher = sha2::Sha256::new();
        self.resources.iter().for_each(|resource| hasher.update(&resource.digest));
        let root = Digest(hasher.finalize().into());
        match self.root {
            Some(stated) if stated != root => Err(Error::statement(format!(
                "its root digest is {stated}, but that of the listed files is {root}"
            ))),
            _ => Ok(()),
        }
    }
}

impl ModelStatement {
    /// Checks that the pieces of a file follow each other from its start. All of them have the full size, except the
    /// last.
    fn check_shards(&self) -> Result<(), Error> {
        let Some(size) = self.shard_size else { return Ok(()) };
        let mut pieces: Vec<(&str, (u64, u64))> = self
            .resources
            .iter()
            .filter_map(|resource| Some((resource.path.as_str(), resource.shard?)))
            .collect();
        pieces.sort_unstable();
        let mut last: Option<(&str, u64)> = None;
        for (path, (start, end)) in pieces {
            let expected = match last {
                Some((other, end)) if other == path && end % size == 0 => end,
                Some((other, _)) if other == path => u64::MAX,
                _ => 0,
            };
            if start != expected || end - start > size {
                return Err(Error::statement(format!("the shards of {} are not consecutive", name(path))));
            }
            last = Some((path, end));
        }
        Ok(())
    }
}

/// Checks that a path leads to a file below the model, and is written in its one canonical form.
fn check_path(path: &str) -> Result<(), Error> {
    let good = !path.is_empty()
        && !path.contains('\0')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    match good {
        true => Ok(()),
        false => Err(Error::statement(format!("{} is not a valid path inside the model", name(path)))),
    }
}

/// How the resources are ordered.
fn order(names: &[&str]) -> Order {
    let parts = |path: &str| path.split('/').map(str::to_string).collect::<Vec<_>>();
    if names.is_sorted() {
        Order::Specification
    } else if names.is_sorted_by_key(|path| parts(path)) {
        Order::Reference
    } else {
        Order::Other
    }
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice::<Object<T>>(payload)
        .map(|found| found.0)
        .map_err(|error| Error::statement(modelseal_format::display::message(&error)))
}

fn digest(hex: &str, hash: Hash, path: &str) -> Result<Vec<u8>, Error> {
    let bytes: Option<Vec<u8>> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok()
        })
        .collect();
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    bytes.filter(|bytes| is_hex && bytes.len() == hash.length()).ok_or_else(|| {
        Error::statement(format!("the digest of {} is not a {} digest", name(path), hash.name()))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    #[serde(rename = "_type")]
    statement_type: String,
    predicate_type: String,
}

/// The format since release 0.3, and of OMS 1.0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Signature {
    #[serde(rename = "_type")]
    #[expect(dead_code)]
    statement_type: String,
    subject: Vec<Object<Subject>>,
    #[expect(dead_code)]
    predicate_type: String,
    predicate: Object<Predicate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: Object<RootDigest>,
    #[expect(dead_code)]
    annotations: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RootDigest {
    sha256: String,
}

/// "Any other field should be ignored by verifiers": fields that are added later say nothing about the files.
#[derive(Deserialize)]
struct Predicate {
    resources: Vec<Object<WireResource>>,
    serialization: Object<Serialization>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireResource {
    algorithm: String,
    digest: String,
    name: String,
    #[expect(dead_code)]
    annotations: Option<IgnoredAny>,
}

/// Every field affects which files belong to the model, so an unknown one cannot be ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Serialization {
    method: String,
    hash_type: String,
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
    /// Release 1.1 writes it as a floating-point number.
    shard_size: Option<f64>,
}

impl Signature {
    fn read(self) -> Result<ModelStatement, Error> {
        let Predicate { resources: listed, serialization } = self.predicate.0;
        let Serialization { method, hash_type, allow_symlinks, ignore_paths, shard_size } = serialization.0;
        let hash = Hash::parse(&hash_type)
            .ok_or_else(|| Error::statement(format!("unknown hash algorithm {}", name(&hash_type))))?;
        let shard_size = match (method.as_str(), shard_size) {
            ("files", None) => None,
            ("shards", Some(size)) if size >= 1.0 && size.fract() == 0.0 && size < 9e15 => Some(size as u64),
            ("shards", _) => return Err(Error::statement("its shards have no valid size")),
            _ => return Err(Error::statement(format!("unknown method {}", name(&method)))),
        };
        let [Object(subject)] = <[Object<Subject>; 1]>::try_from(self.subject)
            .map_err(|subjects| Error::statement(format!("it has {} subjects, not one", subjects.len())))?;
        let root = subject.digest.sha256.to_ascii_lowercase().parse();
        let root = root.map_err(|_| Error::statement("its root digest is not a sha256 digest"))?;
        let algorithm = match shard_size {
            None => hash.name().to_string(),
            Some(size) => format!("{}-sharded-{size}", hash.name()),
        };
        let names: Vec<&str> = listed.iter().map(|resource| resource.name.as_str()).collect();
        let order = order(&names);
        let mut resources = Vec::with_capacity(listed.len());
        for resource in &listed {
            if resource.algorithm != algorithm {
                let found = name(&resource.algorithm);
                return Err(Error::statement(format!(
                    "{} is hashed with {found}, but the model with {algorithm}",
                    name(&resource.name)
                )));
            }
            let (path, shard) = match shard_size {
                None => (resource.name.as_str(), None),
                Some(_) => shard(&resource.name).map(|(path, shard)| (path, Some(shard)))?,
            };
            let digest = digest(&resource.digest, hash, &resource.name)?;
            resources.push(Resource { path: path.to_string(), shard, digest });
        }
        let (model, root) = (Some(subject.name), Some(root));
        Ok(ModelStatement { model, root, hash, shard_size, allow_symlinks, ignore_paths, resources, order })
    }
}

/// Parses `path:start:end` from the right, because a path may contain colons.
fn shard(text: &str) -> Result<(&str, Shard), Error> {
    let bad = || Error::statement(format!("{} is not a shard of a file", name(text)));
    let (rest, end) = text.rsplit_once(':').ok_or_else(bad)?;
    let (path, start) = rest.rsplit_once(':').ok_or_else(bad)?;
    let number = |text: &str| {
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| is_plain && number.to_string() == text)
    };
    let (start, end) = number(start).zip(number(end)).filter(|(start, end)| start < end).ok_or_else(bad)?;
    Ok((path, (start, end)))
}

/// The format of release 0.2.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Digests {
    #[serde(rename = "_type")]
    #[expect(dead_code)]
    statement_type: String,
    subject: Vec<Object<DigestsSubject>>,
    #[expect(dead_code)]
    predicate_type: String,
    #[expect(dead_code)]
    predicate: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestsSubject {
    name: String,
    digest: Object<RootDigest>,
    annotations: Option<Object<DigestsAnnotations>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestsAnnotations {
    /// The algorithm of the digest listed as `sha256`, which may be another one.
    actual_hash_algorithm: Option<String>,
}

impl Digests {
    fn read(self) -> Result<ModelStatement, Error> {
        let names: Vec<&str> = self.subject.iter().map(|subject| subject.name.as_str()).collect();
        let order = order(&names);
        let mut resources = Vec::with_capacity(self.subject.len());
        for subject in &self.subject {
            let algorithm = subject
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.actual_hash_algorithm.as_deref())
                .unwrap_or("sha256");
            if !matches!(algorithm, "sha256" | "file-sha256") {
                let message =
                    format!("{} is hashed with {}, not sha256", name(&subject.name), name(algorithm));
                return Err(Error::statement(message));
            }
            let digest = digest(&subject.digest.sha256, Hash::Sha256, &subject.name)?;
            resources.push(Resource { path: subject.name.clone(), shard: None, digest });
        }
        Ok(ModelStatement {
            model: None,
            root: None,
            hash: Hash::Sha256,
            shard_size: None,
            allow_symlinks: false,
            ignore_paths: Vec::new(),
            resources,
            order,
        })
    }
}
