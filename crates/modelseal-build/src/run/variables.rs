//! The environment of a command.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// A complete environment, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// Variables of the caller, and fixed ones. They may also reach the program that isolates the command.
    pub own: BTreeMap<OsString, OsString>,
    /// Variables from the recipe, which override `own`. They reach only the command, because they could make the
    /// isolating program load or start something of the project.
    pub given: BTreeMap<OsString, OsString>,
}

impl Variables {
    /// All variables that the command sees.
    pub fn all(&self) -> BTreeMap<OsString, OsString> {
        self.own.iter().chain(&self.given).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}
