//! The inputs of two builds, compared one by one.

use super::ResourceDescriptor;

/// An input that is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputChange {
    /// In the manifest: `code`, `recipe`, `data/NAME` …
    pub name: String,
    /// What the first one has, `algorithm:hex`; `None`: it has no such input.
    pub sealed: Option<String>,
    /// What the second one has.
    pub found: Option<String>,
}

/// Compares inputs by what they are compared by: the digest of their content. Code is the same if its
/// `dirHash` is, whichever commit it came from.
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
