//! Compares the inputs of two builds one by one.

use super::ResourceDescriptor;

/// An input that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputChange {
    /// Its name in the manifest: `code`, `recipe`, `data/NAME` …
    pub name: String,
    /// The digest in the first build, `algorithm:hex`. `None` if that build has no such input.
    pub sealed: Option<String>,
    /// The digest in the second build.
    pub found: Option<String>,
}

/// Compares inputs by the digest of their content. Code is the same if its `dirHash` is the same, even from another
/// commit.
pub fn compare_inputs(sealed: &[ResourceDescriptor], found: &[ResourceDescriptor]) -> Vec<InputChange> {
    let digest = |inputs: &[ResourceDescriptor], name: &str| {
        inputs.iter().find(|input| input.name == name).map(|input| input.digest.tagged())
    };
    let known = sealed.iter().chain(found.iter().filter(|input| digest(sealed, &input.name).is_none()));
    known
        .map(|input| InputChange {
            name: input.name.clone(),
            sealed: digest(sealed, &input.name),
            found: digest(found, &input.name),
        })
        .filter(|change| change.sealed != change.found)
        .collect()
}
