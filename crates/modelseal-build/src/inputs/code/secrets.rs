//! Whether git has a secret: whoever sees a repository can read what is in it, wherever the file itself is.

use std::fs;
use std::path::{Path, PathBuf};

use git2::{Config, ConfigLevel, ObjectType, Odb, Oid};

use super::guarded::is_special;
use modelseal_format::digest::Digest;

/// How deep repositories of submodules are looked for below `modules`.
const DEEPEST: usize = 6;

/// Whether the directory of a repository has a file with this content: staged, committed, or left over from then, also
/// in a repository of a submodule or in the store of Git LFS. Other ends of lines are the same content.
pub fn holds_secret(directory: &Path, secret: &[u8]) -> bool {
    let forms = forms(secret);
    repositories(directory).iter().any(|repository| forms.iter().any(|form| holds(repository, form)))
}

fn repositories(directory: &Path) -> Vec<PathBuf> {
    let modules = walkdir::WalkDir::new(directory.join("modules")).max_depth(DEEPEST).into_iter();
    let modules = modules.filter_entry(|entry| entry.file_name() != "objects").flatten();
    let modules = modules.map(walkdir::DirEntry::into_path).filter(|path| path.join("objects").is_dir());
    [directory.to_path_buf()].into_iter().chain(modules).collect()
}

fn holds(repository: &Path, content: &[u8]) -> bool {
    let digest = Digest::sha256(content).to_string();
    let of_lfs = Path::new("objects").join(&digest[..2]).join(&digest[2..4]).join(&digest);
    if stores_of_lfs(repository).iter().any(|store| store.join(&of_lfs).is_file()) {
        return true;
    }
    let objects = repository.join("objects");
    // Opening a pipe would never end, and git reads nothing from it either.
    let packs = fs::read_dir(objects.join("pack")).into_iter().flatten().flatten();
    if packs.into_iter().any(|pack| is_special(&pack.path())) {
        return false;
    }
    let found = || {
        let store = Odb::new()?;
        store.add_disk_alternate(objects.to_str().unwrap_or_default())?;
        Ok::<_, git2::Error>(store.exists(Oid::hash_object(ObjectType::Blob, content)?))
    };
    found().unwrap_or(false)
}

/// Where Git LFS keeps the files of a repository: the usual place, and the one that `lfs.storage` names.
fn stores_of_lfs(repository: &Path) -> Vec<PathBuf> {
    let own = repository.join("config");
    let mut configuration = Config::open_default().ok();
    if let Some(configuration) = configuration.as_mut().filter(|_| !is_special(&own)) {
        // What cannot be read names no place.
        let _ = configuration.add_file(&own, ConfigLevel::Local, false);
    }
    let named = configuration.and_then(|configuration| configuration.get_path("lfs.storage").ok());
    [repository.join("lfs")].into_iter().chain(named.map(|place| repository.join(place))).collect()
}

/// The content, with and without a line break at its end, and with the ends of lines of other systems.
fn forms(content: &[u8]) -> Vec<Vec<u8>> {
    let plain: Vec<u8> = content.iter().copied().filter(|byte| *byte != b'\r').collect();
    let bare = plain.strip_suffix(b"\n").unwrap_or(&plain).to_vec();
    let ended = [&bare[..], b"\n"].concat();
    let lines = |text: &[u8]| text.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
    let other = [lines(&bare), lines(&ended)];
    [content.to_vec(), bare, ended].into_iter().chain(other).filter(|form| !form.is_empty()).collect()
}
