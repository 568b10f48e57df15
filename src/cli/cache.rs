//! The cache of digests from this user's earlier builds, and the messages about it.

use std::io;
use std::time::SystemTime;

use super::Verbosity;
use super::output::{say, warn};
use modelseal_build::cache::Cache;
use modelseal_build::recipe::Recipe;
use modelseal_format::sign::{local_cache_directory, local_key_path};

/// Opens the cache if the recipe declares data. This creates the directory of the user's own key, which also holds the
/// cache's secret. It must therefore run before that directory is hidden from commands.
pub(super) fn open_cache(recipe: &Recipe, verbosity: Verbosity) -> Option<Cache> {
    if recipe.tables.data.is_empty() && recipe.tables.base.is_empty() {
        return None;
    }
    // Without a home directory there is no cache.
    let directory = local_cache_directory().ok()?;
    let secret = local_key_path().ok()?.with_file_name("cache.key");
    match Cache::open(&directory, &secret, SystemTime::now()) {
        Ok(cache) => Some(cache),
        // The user cannot fix these: the system lacks a needed feature, or the container keeps no files.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::ReadOnlyFilesystem) =>
        {
            None
        }
        Err(error) => {
            warn(
                verbosity,
                &format!(
                    "reading all data, because the cache cannot be used: {error} (`--no-cache` turns it off)"
                ),
            );
            None
        }
    }
}

/// Says what the cache saved, and why it may not help the next build.
pub(super) fn cache_notes(cache: Option<&Cache>, verbosity: Verbosity) {
    let Some(cache) = cache else { return };
    match cache.found() {
        0 => {}
        count => {
            let files = modelseal_format::display::count(count, "data file", "data files");
            say(
                verbosity,
                &format!("{files} not read again: unchanged since an earlier build (see `--no-cache`)"),
            );
        }
    }
    if let Some(error) = cache.failure() {
        warn(verbosity, &format!("cannot cache the digests of the data: {error}"));
    }
}
