//! Packages of lock files, by name and version.
//!
//! A manifest has only the digests of lock files. If a clone is available, the files are read from the commits. They
//! are used only if they have the sealed digest.

use std::collections::BTreeMap;
use std::path::Path;

use git2::{Oid, Repository};
use serde::Deserialize;

use super::history::commit;
use crate::compare::Changed;
use modelseal_format::digest::Digest;
use modelseal_format::manifest::Manifest;

/// Maximum size of a lock file in bytes.
const LONGEST: usize = 16 << 20;

/// A package that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChange {
    /// The lock file.
    pub file: String,
    pub name: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

pub(super) fn compare(
    repository: &Repository,
    old: &Manifest,
    new: &Manifest,
    files: &[Changed<String>],
) -> Vec<PackageChange> {
    let mut changes = Vec::new();
    for file in files {
        let read = |statement: &Manifest| packages(&file.name, &content(repository, statement, &file.name)?);
        let (Some(left), Some(right)) = (read(old), read(new)) else { continue };
        let names = left.keys().chain(right.keys().filter(|name| !left.contains_key(*name)));
        let mut changed: Vec<PackageChange> = names
            .filter(|name| left.get(*name) != right.get(*name))
            .map(|name| PackageChange {
                file: file.name.clone(),
                name: name.clone(),
                old: left.get(name).cloned(),
                new: right.get(name).cloned(),
            })
            .collect();
        changed.sort_by(|left, right| left.name.cmp(&right.name));
        changes.extend(changed);
    }
    changes
}

/// A lock file from the commit of a release, if it is the sealed one.
fn content(repository: &Repository, statement: &Manifest, file: &str) -> Option<String> {
    let sealed = statement.input(&format!("environment/{file}"))?.digest.sha256?;
    let directory = Path::new(statement.recipe()?.uri.as_deref()?).parent()?.to_path_buf();
    let tree = repository.find_commit(Oid::from_str(commit(statement)?).ok()?).ok()?.tree().ok()?;
    let entry = tree.get_path(&directory.join(file)).ok()?;
    let blob = repository.find_blob(entry.id()).ok()?;
    let bytes = blob.content();
    if bytes.len() > LONGEST || Digest::sha256(bytes) != sealed {
        return None;
    }
    String::from_utf8(bytes.to_vec()).ok()
}

/// Names and versions of packages. `None` if the format of the lock file is not known.
fn packages(path: &str, text: &str) -> Option<BTreeMap<String, String>> {
    let file = path.rsplit('/').next().unwrap_or(path);
    match file {
        "poetry.lock" | "uv.lock" | "pdm.lock" | "Cargo.lock" => from_toml(text),
        _ if file.ends_with(".txt") || file.ends_with(".lock") => Some(from_requirements(text)),
        _ => None,
    }
}

fn from_toml(text: &str) -> Option<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: Option<String>,
    }
    let lock: Lock = toml::from_str(text).ok()?;
    let mut packages: BTreeMap<String, String> = BTreeMap::new();
    for package in lock.package {
        let version = package.version.unwrap_or_else(|| "local".to_string());
        // Some lock files have several versions of one package.
        packages.entry(package.name).and_modify(|all| *all = format!("{all}, {version}")).or_insert(version);
    }
    Some(packages)
}

/// Reads `name==version`, with extras, markers, hashes and comments. Other requirements keep their text.
fn from_requirements(text: &str) -> BTreeMap<String, String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split(" #").next().unwrap_or(line).trim());
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '-']));
    let parse = |line: &str| {
        let line = line.split(';').next().unwrap_or(line).split(" --").next().unwrap_or(line).trim();
        let end = line.find(|character: char| !(character.is_alphanumeric() || "._-".contains(character)));
        let (name, rest) = line.split_at(end.unwrap_or(line.len()));
        // PEP 503: case and the kind of separator do not distinguish names.
        let name = name.to_lowercase().replace(['_', '.'], "-");
        let rest = match rest.trim().strip_prefix('[') {
            Some(extras) => extras.split_once(']').map_or("", |(_, rest)| rest),
            None => rest,
        };
        let version = rest.trim().trim_start_matches("==").trim();
        (name, if version.is_empty() { "any".to_string() } else { version.to_string() })
    };
    lines.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diff_reads_package_names_and_versions_from_lock_files() {
        let text = "# made by hand\nNumPy==2.4.6\nscikit_learn[all]==1.9.1 ; python_version > '3' \\\n  --hash=sha256:abc\n-r other.txt\nscipy>=1.0  # why\ntorch @ https://x/y.whl\n";
        let found = packages("requirements.txt", text).expect("is known");
        let shown: Vec<String> = found.iter().map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(shown, ["numpy 2.4.6", "scikit-learn 1.9.1", "scipy >=1.0", "torch @ https://x/y.whl"]);
        let text = "version = 1\n[[package]]\nname = \"numpy\"\nversion = \"2.4.6\"\n[[package]]\nname = \"me\"\nsource = { editable = \".\" }\n[[package]]\nname = \"numpy\"\nversion = \"1.26\"\n";
        let found = packages("sub/uv.lock", text).expect("is known");
        assert_eq!(found["numpy"], "2.4.6, 1.26");
        assert_eq!(found["me"], "local");
        assert_eq!(packages("conda.yml", ""), None);
        assert_eq!(packages("poetry.lock", "not toml ="), None);
    }
}
