use serde::{Deserialize, Serialize};

/// The model's name and version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: String,
    pub version: String,
    /// A number that increases with every release, if the builder keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
}

/// The highest release number. Up to here, every JSON reader can tell two integers apart (RFC 8259, 6).
pub const LAST_RELEASE: u64 = (1 << 53) - 1;

impl Model {
    /// The directory inside the archive, and the archive's file name without its extension.
    pub fn directory(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}
