//! Private keys in files.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use etcetera::AppStrategy;

use super::key_source::{
    KeySource, directories, local_key_path, open_file, read_file, read_other, within_home,
};
use super::{AskPassword, KeyError, Password, PrivateKey};

/// The directory of the user's own key, created for this user only if it does not exist. Otherwise another user could
/// create it and put their own key there.
///
/// # Errors
/// [`KeyError::NoHome`], or an error if the directory cannot be created.
pub fn local_key_directory() -> Result<PathBuf, KeyError> {
    let directory = within_home(directories()?.config_dir())?;
    make_key_directory(&directory)?;
    Ok(directory)
}

/// Checks that a private key exists and that other users cannot read it. The key itself is not read.
///
/// # Errors
/// [`KeyError`].
pub fn check_private_key(source: &KeySource) -> Result<(), KeyError> {
    let shown = source.shown();
    match source {
        KeySource::Local => open_file(&local_key_path()?, &shown, true).map(|_| ()),
        KeySource::File(path) => open_file(path, &shown, true).map(|_| ()),
        KeySource::Variable(name) if std::env::var_os(name).is_none() => {
            Err(KeyError::Variable(name.clone()))
        }
        KeySource::Variable(_) | KeySource::StandardInput => Ok(()),
    }
}

/// Reads a private key. A file must not be readable by others.
///
/// # Errors
/// [`KeyError`].
pub fn read_private_key(source: &KeySource, ask: AskPassword<'_>) -> Result<PrivateKey, KeyError> {
    let shown = source.shown();
    let text = match source {
        KeySource::Local => read_file(&local_key_path()?, &shown, true)?,
        KeySource::File(path) => read_file(path, &shown, true)?,
        other => read_other(other, &shown)?,
    };
    PrivateKey::from_pem(&text, &shown, ask)
}

/// Writes `PREFIX.key` (0600) and `PREFIX.pub`. Neither may exist. Missing directories are created for this user only.
///
/// # Errors
/// [`KeyError::Exists`], [`KeyError::Write`]. After an error, neither file exists unless it existed before.
pub fn write_key_pair(
    key: &PrivateKey,
    private_path: &Path,
    public_path: &Path,
    password: Option<&Password>,
) -> Result<(), KeyError> {
    for path in [private_path, public_path] {
        if fs::symlink_metadata(path).is_ok() {
            return Err(KeyError::Exists(path.to_path_buf()));
        }
    }
    if let Some(directory) = private_path.parent().filter(|path| !path.as_os_str().is_empty()) {
        make_key_directory(directory)?;
    }
    let private = key.to_pem(password)?;
    write_new(private_path, private.as_bytes(), 0o600)?;
    write_new(public_path, key.public_key().to_pem().as_bytes(), 0o644).inspect_err(|_| {
        // A private key without its public key would block the next attempt.
        let _ = fs::remove_file(private_path);
    })
}

fn make_key_directory(directory: &Path) -> Result<(), KeyError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| KeyError::Write { path: directory.to_path_buf(), source })
}

/// Writes a file atomically: it is complete under its name, or it does not exist.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), KeyError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_path_buf()),
        _ => KeyError::Write { path: path.to_path_buf(), source },
    };
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".modelseal-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::sign::{KeyAlgorithm, read_public_key};

    fn nobody(_: &str) -> io::Result<Option<Password>> {
        Ok(None)
    }

    #[test]
    fn key_pair_reads_back_and_is_never_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join("new").join(name);
        for (algorithm, name) in
            [(KeyAlgorithm::P256, "a"), (KeyAlgorithm::P384, "b"), (KeyAlgorithm::Ed25519, "c")]
        {
            let key = PrivateKey::generate(algorithm).expect("makes a key");
            let (private, public) = (at(name), at(&format!("{name}.pub")));
            write_key_pair(&key, &private, &public, None).expect("writes");
            let mode = fs::metadata(&private).expect("is there").mode() & 0o7777;
            assert_eq!(mode, 0o600);
            assert_eq!(fs::metadata(at("")).expect("is there").mode() & 0o777, 0o700);
            let read = read_private_key(&KeySource::File(private.clone()), &mut nobody);
            assert_eq!(read.expect("reads").public_key(), key.public_key());
            let read = read_public_key(&KeySource::File(public.clone()));
            assert_eq!(read.expect("reads"), key.public_key());

            let again = write_key_pair(&key, &private, &public, None);
            assert!(matches!(again, Err(KeyError::Exists(_))));
            fs::remove_file(&private).expect("removes");
            let again = write_key_pair(&key, &private, &public, None);
            assert!(matches!(again, Err(KeyError::Exists(_))));
            assert!(!private.exists());
        }
    }

    #[test]
    fn encrypted_key_opens_only_with_its_password() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("k.key");
        let key = PrivateKey::generate(KeyAlgorithm::P256).expect("makes a key");
        let password = Password::new("correct horse".to_string());
        write_key_pair(&key, &path, &path.with_extension("pub"), Some(&password)).expect("writes");
        let source = KeySource::File(path);
        let open = |answer: Option<&str>| {
            let answer = answer.map(|text| Password::new(text.to_string()));
            read_private_key(&source, &mut |_| Ok(answer.clone()))
        };
        assert!(open(Some("correct horse")).is_ok());
        assert!(matches!(open(Some("wrong")), Err(KeyError::WrongPassword(_))));
        assert!(matches!(open(Some("")), Err(KeyError::WrongPassword(_))));
        assert!(matches!(open(None), Err(KeyError::NoPassword(_))));
    }

    #[test]
    fn key_reader_rejects_exposed_keys_and_special_files_without_waiting() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let key = PrivateKey::generate(KeyAlgorithm::P256).expect("makes a key");
        write_key_pair(&key, &at("k.key"), &at("k.pub"), None).expect("writes");
        fs::set_permissions(at("k.key"), Permissions::from_mode(0o640)).expect("sets the mode");
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RWXU).expect("fifo");
        fs::write(at("long"), "x".repeat(100_000)).expect("writes");
        fs::set_permissions(at("long"), Permissions::from_mode(0o600)).expect("sets the mode");
        let read = |name: &str| match read_private_key(&KeySource::File(at(name)), &mut nobody) {
            Ok(_) => panic!("{name} was read"),
            Err(error) => error,
        };
        assert!(matches!(read("k.key"), KeyError::Exposed { mode: 0o640, .. }));
        assert!(matches!(read("."), KeyError::NotRegular { kind: "a directory", .. }));
        assert!(matches!(read("fifo"), KeyError::NotRegular { kind: "a FIFO", .. }));
        assert!(matches!(read("none"), KeyError::Missing(_)));
        assert!(matches!(read("long"), KeyError::Malformed { .. }));
    }
}
