use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Deserializer};

/// A directory below the home of a command that is kept between builds.
///
/// A plain name is a directory in `~/.cache`, where most tools keep what they fetch. Anything else is a path below the
/// home, with or without a leading `~/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheName(String);

impl CacheName {
    /// Returns `None` if the text is empty, absolute, or leads out of the home.
    pub fn parse(text: &str) -> Option<Self> {
        let path = text.strip_prefix("~/").unwrap_or(text);
        let is_plain = |component| matches!(component, Component::Normal(_));
        let is_below = !path.is_empty() && Path::new(path).components().all(is_plain);
        let is_spelled_once = !path.ends_with('/') && !path.contains("//") && !path.contains("/./");
        (is_below && is_spelled_once && !path.contains('\0')).then(|| Self(text.to_string()))
    }

    /// Relative to the home.
    pub fn directory(&self) -> PathBuf {
        match self.0.strip_prefix("~/") {
            Some(path) => PathBuf::from(path),
            None if self.0.contains('/') || self.0.starts_with('.') => PathBuf::from(&self.0),
            None => Path::new(".cache").join(&self.0),
        }
    }
}

impl std::fmt::Display for CacheName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CacheName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(
                "a cache must be the name of a directory in `~/.cache`, such as \"uv\", or a path below the \
                 home directory, such as \"~/.keras\"",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipe_cache_name_resolves_to_a_directory_within_home() {
        let directory = |text| CacheName::parse(text).map(|name| name.directory());
        for (text, expected) in [
            ("uv", Some(".cache/uv")),
            ("~/scikit_learn_data", Some("scikit_learn_data")),
            (".keras", Some(".keras")),
            (".cache/torch/hub", Some(".cache/torch/hub")),
            ("", None),
            ("~/", None),
            ("/etc", None),
            ("..", None),
            ("a/../../b", None),
            ("a//b", None),
            ("./a", None),
            ("a/", None),
        ] {
            assert_eq!(directory(text), expected.map(PathBuf::from), "{text:?}");
        }
    }
}
