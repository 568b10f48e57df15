//! Where this user's builds remember digests, and what is said about it.

use std::io;
use std::time::SystemTime;

use super::Verbosity;
use super::output::{say, warn};
use modelseal_build::cache::Cache;
use modelseal_build::recipe::Recipe;
use modelseal_format::sign::{local_cache_directory, local_key_path};

/// Opens the cache, for a recipe that declares data. It makes the directory of the user's own key, in which
/// its secret lies, so it comes before a command is kept from that directory.
pub(super) fn open_cache(recipe: &Recipe, verbosity: Verbosity) -> Option<Cache> {
    if recipe.tables.data.is_empty() && recipe.tables.base.is_empty() {
        return None;
    }
    // Whoever has no home has never remembered anything.
    let directory = local_cache_directory().ok()?;
    let secret = local_key_path().ok()?.with_file_name("cache.key");
    match Cache::open(&directory, &secret, SystemTime::now()) {
        Ok(cache) => Some(cache),
        // Nothing that the user could mend: a system without what it needs, a container that keeps nothing.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::ReadOnlyFilesystem) =>
        {
            None
        }
        Err(error) => {
            warn(
                verbosity,
                &format!("all data are read, without a cache: {error} (`--no-cache` goes without)"),
            );
            None
        }
    }
}

/// Says what the cache saved, and why it may not the next time.
pub(super) fn cache_notes(cache: Option<&Cache>, verbosity: Verbosity) {
    let Some(cache) = cache else { return };
    match cache.found() {
        0 => {}
        count => {
            let files = modelseal_format::display::count(count, "file", "files");
            say(
                verbosity,
                &format!(
                    "{files} of data not read again, unchanged since an earlier build (see `--no-cache`)"
                ),
            );
        }
    }
    if let Some(error) = cache.failure() {
        warn(verbosity, &format!("the digests of the data are not remembered: {error}"));
    }
}
