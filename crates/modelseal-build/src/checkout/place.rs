//! Copies inputs that git does not hold into a clone, at the paths that its recipe expects.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Checkout, Error};
use crate::inputs;
use crate::recipe::Recipe;
use modelseal_format::context::Context;
use modelseal_format::digest::{
    self, Algorithms, Consumer, Digest, EntryKind, Symlinks, directory_hash, hash_file, walk,
};
use modelseal_format::manifest::DependencyDigest;

/// A declared input that git may not hold.
pub struct Declared<'a> {
    /// The name in the manifest: `data/NAME`, `base/NAME`, `params/PATH` or `environment/PATH`.
    pub name: String,
    /// The path that the recipe names.
    pub path: &'a str,
    /// The path on this machine.
    pub from: PathBuf,
    symlinks: Symlinks,
    /// Whether its digest is that of its bytes. The digest of a sealed archive is not.
    is_plain: bool,
}

impl Declared<'_> {
    /// The paths that are read: the input itself, and the links inside it that are followed.
    pub fn read(&self) -> Vec<PathBuf> {
        let follows = self.symlinks == Symlinks::Follow;
        let entries = follows.then(|| walkdir::WalkDir::new(&self.from).min_depth(1)).into_iter().flatten();
        let links = entries.flatten().filter(walkdir::DirEntry::path_is_symlink);
        [self.from.clone()].into_iter().chain(links.map(walkdir::DirEntry::into_path)).collect()
    }
}

/// The data, base models, parameter files and environment files of a recipe, relative to `directory`. For data sources,
/// the paths in `data` take precedence.
pub fn declared<'a>(
    recipe: &'a Recipe,
    directory: &Path,
    data: &BTreeMap<String, PathBuf>,
) -> Vec<Declared<'a>> {
    let at = |path: &str| directory.join(path);
    let tables = &recipe.tables;
    let sources = tables.data.iter().map(|source| Declared {
        name: format!("data/{}", source.name.get_ref()),
        path: source.path.get_ref(),
        from: data.get(source.name.get_ref()).cloned().unwrap_or_else(|| at(source.path.get_ref())),
        symlinks: source.symlinks,
        is_plain: true,
    });
    let bases = tables.base.iter().map(|base| Declared {
        name: format!("base/{}", base.name.get_ref()),
        path: base.path.get_ref(),
        from: at(base.path.get_ref()),
        symlinks: base.symlinks,
        is_plain: false,
    });
    let file = |kind: &str, path: &'a str| Declared {
        name: format!("{kind}/{path}"),
        path,
        from: at(path),
        symlinks: Symlinks::Refuse,
        is_plain: true,
    };
    let params = tables.params.files.iter().map(|path| file("params", path.get_ref()));
    let environment = tables.environment.files.iter().map(|path| file("environment", path.get_ref()));
    sources.chain(bases).chain(params).chain(environment).collect()
}

impl Checkout {
    /// Copies an input to its place, read-only, unless the commit already contains it. The copied bytes are the hashed
    /// bytes.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Differs`], [`Error::Io`].
    pub fn place(&self, input: &Declared<'_>, expected: Option<&DependencyDigest>) -> Result<(), Error> {
        let (kind, name) = input.name.split_once('/').unwrap_or((&input.name, ""));
        let what = || format!("{kind} {}", modelseal_format::display::name(name));
        if Path::new(input.path).is_absolute() {
            return check_absolute(input, expected, what(), &self.context);
        }
        let target = self.recipe.directory().join(input.path);
        if target.symlink_metadata().is_ok() {
            return Ok(());
        }
        self.check_within(&target)?;
        let absent = |_| Error::Absent { what: what(), path: input.from.clone() };
        let metadata = fs::metadata(&input.from).map_err(absent)?;
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|source| Error::io(parent, source))?;
        }
        let copied = if metadata.is_dir() {
            DependencyDigest::directory(copy_directory(&input.from, &target, input.symlinks, &self.context)?)
        } else {
            DependencyDigest::file(copy_file(&input.from, &target, Symlinks::Follow, &self.context)?)
        };
        match expected.filter(|_| input.is_plain) {
            Some(expected) if expected.tagged() != copied.tagged() => Err(Error::Differs {
                what: what(),
                path: input.from.clone(),
                expected: expected.tagged(),
                actual: copied.tagged(),
            }),
            _ => Ok(()),
        }
    }
}

/// Checks that an input with an absolute path is where the recipe expects it, because it cannot be placed in a clone.
fn check_absolute(
    input: &Declared<'_>,
    expected: Option<&DependencyDigest>,
    what: String,
    context: &Context,
) -> Result<(), Error> {
    let path = PathBuf::from(input.path);
    if input.from != path {
        return Err(Error::Absolute { what, path });
    }
    if !path.exists() {
        return Err(Error::Absent { what, path });
    }
    let Some(expected) = expected.filter(|_| input.is_plain) else { return Ok(()) };
    let found = inputs::read_source(&path, input.symlinks, None, None, context)?.digest.tagged();
    if found == expected.tagged() {
        return Ok(());
    }
    Err(Error::Differs { what, path, expected: expected.tagged(), actual: found })
}

fn copy_directory(from: &Path, to: &Path, symlinks: Symlinks, context: &Context) -> Result<Digest, Error> {
    let is_git = |path: &str, _: bool| path == ".git";
    let tree = walk(from, symlinks, &is_git, context).map_err(inputs::Error::from)?;
    fs::create_dir(to).map_err(|source| Error::io(to, source))?;
    let mut digests = Vec::new();
    let mut directories = vec![to.to_path_buf()];
    for entry in &tree.entries {
        let special =
            |kind| inputs::Error::Special { path: from.join(entry.shown()), kind, may_follow: true };
        let (Some(path), EntryKind::File | EntryKind::EmptyDirectory) = (entry.path(), &entry.kind) else {
            let kind = match entry.kind {
                EntryKind::Special(kind) => kind,
                _ => "not a UTF-8 name",
            };
            return Err(special(kind).into());
        };
        let target = to.join(path);
        let directory =
            if entry.kind == EntryKind::EmptyDirectory { Some(target.as_path()) } else { target.parent() };
        if let Some(directory) = directory.filter(|directory| !directory.exists()) {
            fs::create_dir_all(directory).map_err(|source| Error::io(directory, source))?;
            directories.extend(directory.ancestors().take_while(|above| *above != to).map(Path::to_path_buf));
        }
        if entry.kind == EntryKind::File {
            digests.push((path, copy_file(&from.join(path), &target, symlinks, context)?));
        }
    }
    for directory in directories {
        let read_only = Permissions::from_mode(0o555);
        fs::set_permissions(&directory, read_only).map_err(|source| Error::io(&directory, source))?;
    }
    Ok(directory_hash(digests))
}

fn copy_file(from: &Path, to: &Path, symlinks: Symlinks, context: &Context) -> Result<Digest, Error> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o444).open(to);
    let mut copy = Copy(opened.map_err(|source| Error::io(to, source))?);
    let read = hash_file(from, Algorithms::SHA256, symlinks, &mut [&mut copy], context);
    let digests = read.map_err(inputs::Error::from)?.digests;
    let lost =
        || digest::Error::Io { path: from.to_path_buf(), source: io::Error::other("nothing was hashed") };
    Ok(digests.sha256.ok_or_else(lost).map_err(inputs::Error::from)?)
}

/// Writes the bytes that are read.
struct Copy(File);

impl Consumer for Copy {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.0.write_all(chunk)
    }
}
