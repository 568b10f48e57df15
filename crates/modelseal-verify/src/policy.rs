//! The policy, `gate.toml`: what a deployment demands. The deployer's file, never taken from an archive.

mod answers;
mod check;
mod signers;
mod tables;

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use answers::{Aspect, Bounds, Finding, Verdict, judge_answers};
pub use tables::{
    Code, Data, Distance, Inert, Previous, Probe, Ratio, Refresh, Signer, Tables, Waiver, Warnings,
};

use crate::config::Mistake;
use modelseal_format::digest::Digest;

/// No policy is longer.
const LONGEST: u64 = 1 << 20;

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("there is no policy {}", modelseal_format::text::path(.0))]
    Missing(PathBuf),
    #[error("cannot read the policy {}", modelseal_format::text::path(path))]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the policy {} is not {what}", modelseal_format::text::path(path))]
    NotText { path: PathBuf, what: &'static str },
    #[error(transparent)]
    Mistake(Box<Mistake>),
    #[error("the signer {} of the policy", modelseal_format::text::name(name))]
    Signer { name: String, source: crate::trust::TrustError },
    #[error("the signer {} of the policy", modelseal_format::text::name(name))]
    SignerKey { name: String, source: modelseal_format::sign::KeyError },
}

/// A policy, and where it stands.
#[derive(Debug)]
pub struct Policy {
    pub path: PathBuf,
    /// Its text, byte for byte.
    pub text: String,
    pub tables: Tables,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`Error`]; a mistake in the text shows its line, its column and the nearest known name.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Missing(path.to_path_buf()),
            _ => Error::Io { path: path.to_path_buf(), source },
        };
        let not_text = |what| Error::NotText { path: path.to_path_buf(), what };
        if !fs::metadata(path).map_err(io)?.is_file() {
            return Err(not_text("a regular file"));
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(io)?;
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > LONGEST {
            return Err(not_text("a policy: it is longer than 1 MiB"));
        }
        let text = String::from_utf8(bytes).map_err(|_| not_text("UTF-8 text"))?;
        Self::parse(path.to_path_buf(), text)
    }

    /// Reads a policy from its text.
    ///
    /// # Errors
    /// [`Error::Mistake`].
    pub fn parse(path: PathBuf, text: String) -> Result<Self, Error> {
        let tables: Tables = toml::from_str(&text)
            .map_err(|error| Error::Mistake(Box::new(Mistake::from_toml(&path, &text, &error))))?;
        let policy = Self { path, text, tables };
        policy.check()?;
        Ok(policy)
    }

    /// The directory that every path of the policy is relative to.
    pub fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        }
    }

    pub fn sha256(&self) -> Digest {
        Digest::sha256(self.text.as_bytes())
    }

    /// What it demands, a phrase each, in the order of the file's sections.
    pub fn demands(&self) -> Vec<String> {
        let tables = &self.tables;
        let mut demands = vec![format!("model {}", tables.model.get_ref())];
        if let Some(count) =
            tables.signatures.as_ref().map(toml::Spanned::get_ref).filter(|count| **count > 1)
        {
            demands.push(format!("{count} signatures"));
        }
        demands.extend(tables.min_release.map(|number| format!("release number {number} or higher")));
        demands.extend(tables.origin.map(|origin| format!("origin at least {}", origin.name())));
        demands.extend(tables.reproduced_level.map(|level| format!("rebuilt at least as {}", level.name())));
        if let Some(code) = &tables.code {
            demands.extend(
                code.remote
                    .as_ref()
                    .map(|remote| format!("code at {}", modelseal_format::text::name(remote))),
            );
            demands.extend((code.dirty == Some(false)).then(|| "code as committed".to_string()));
        }
        for (name, data) in &tables.data {
            let mut parts = Vec::new();
            parts.extend(data.max_age.as_ref().map(|age| format!("at most {} old", age.get_ref())));
            parts.extend(data.labels.as_ref().map(|_| "labels as before".to_string()));
            parts.extend(data.slices.as_ref().map(|_| "labels stable over time".to_string()));
            parts.extend(data.rows.as_ref().map(|_| "about as many rows as before".to_string()));
            let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
            demands.push(format!("data {name}{parts}"));
        }
        demands.extend(tables.refresh.as_ref().map(|_| "something new in it".to_string()));
        demands.extend(tables.probe.keys().map(|name| format!("probe {name}")));
        if tables.previous == Some(Previous::Required) {
            demands.push("the previous release".to_string());
        }
        if tables.warnings == Warnings::Fail {
            demands.push("no warnings".to_string());
        }
        demands
    }

    /// A mistake at a place in this policy.
    pub fn mistake(&self, span: Range<usize>, message: impl Into<String>) -> Error {
        Error::Mistake(Box::new(Mistake::new(&self.path, &self.text, Some(span), message.into())))
    }
}
