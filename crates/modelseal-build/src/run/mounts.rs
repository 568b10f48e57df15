//! Other names that mounts give to a file or directory.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One line of the list of mounts (`proc_pid_mountinfo(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// The file system: its numbers, as the kernel writes them.
    device: String,
    /// The directory of the file system that is mounted.
    root: PathBuf,
    /// Where it is mounted.
    point: PathBuf,
    /// The directories that an overlay combines. Its files can be found there as well.
    layers: Vec<PathBuf>,
}

/// The mounts of this process.
#[derive(Debug, Clone)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads the current mounts. No command can change them.
    pub fn read() -> Self {
        Self(mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()))
    }

    /// Returns other paths of the same file or directory, which exist because a directory above it is mounted twice.
    /// `path` must have its links resolved.
    pub(super) fn other_names(&self, path: &Path) -> Vec<PathBuf> {
        let identity =
            |path: &Path| path.symlink_metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let names = names_in(&self.0, path);
        let mut layers = in_layers(&self.0, path);
        layers.retain(|name| identity(name).is_some());
        if names.is_empty() {
            return layers;
        }
        let own = identity(path);
        // A path that another mount covers does not exist.
        names.into_iter().filter(|name| own.is_some() && identity(name) == own).chain(layers).collect()
    }

    /// Returns other places where parts of a directory can be found, because they are mounted there or come from there.
    pub(super) fn parts_elsewhere(&self, directory: &Path) -> Vec<PathBuf> {
        let elsewhere = |path: &PathBuf| !path.starts_with(directory) && !directory.starts_with(path);
        parts_in(&self.0, directory).into_iter().filter(elsewhere).collect()
    }

    /// The innermost mount that contains a path.
    pub fn around(&self, path: &Path) -> Option<PathBuf> {
        let path = path.canonicalize().ok()?;
        Some(inside_of(&self.0, &path)?.0.point.clone())
    }

    /// A mount point that is this path or below it. `path` must have its links resolved.
    pub fn within(&self, path: &Path) -> Option<PathBuf> {
        self.points().find(|point| point.starts_with(path)).map(Path::to_path_buf)
    }

    /// All mount points.
    pub(super) fn points(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|mount| mount.point.as_path())
    }
}

fn parts_in(mounts: &[Mount], directory: &Path) -> Vec<PathBuf> {
    let into = mounts.iter().filter(|mount| mount.point.starts_with(directory) && mount.point != directory);
    let into = into.flat_map(|mount| {
        let names = names_in(mounts, &mount.point);
        // A file system that is mounted nowhere else has only this name.
        names.into_iter().chain(mount.layers.iter().cloned())
    });
    let Some((own, inside)) = inside_of(mounts, directory) else { return into.collect() };
    let out = mounts.iter().filter(|mount| {
        mount.device == own.device && mount.root.starts_with(&inside) && mount.root != inside
    });
    into.chain(out.map(|mount| mount.point.clone())).collect()
}

/// The same path in the layers of an overlay.
fn in_layers(mounts: &[Mount], path: &Path) -> Vec<PathBuf> {
    let Some((own, inside)) = inside_of(mounts, path) else { return Vec::new() };
    let inside = inside.strip_prefix("/").unwrap_or(&inside);
    own.layers.iter().map(|layer| join(layer, inside)).filter(|name| name != path).collect()
}

/// Returns the mount through which a path is visible, and the path in its file system. If two mounts have the same
/// mount point, the later one is visible.
fn inside_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<(&'a Mount, PathBuf)> {
    let around = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    let own = around.max_by_key(|mount| mount.point.components().count())?;
    Some((own, join(&own.root, path.strip_prefix(&own.point).ok()?)))
}

/// The other names of some directories.
pub(super) struct OtherNames(Vec<(PathBuf, PathBuf)>);

impl OtherNames {
    /// Collects the names. Links in `directories` must be resolved.
    pub(super) fn of<'a>(mounts: &Mounts, directories: impl Iterator<Item = &'a Path>) -> Self {
        let pairs = directories
            .flat_map(|own| mounts.other_names(own).into_iter().map(|other| (other, own.to_path_buf())));
        Self(pairs.collect())
    }

    /// Translates a path under another name into paths in the directories.
    pub(super) fn of_path(&self, path: &Path) -> Vec<PathBuf> {
        let own = |(other, own): &(PathBuf, PathBuf)| Some(join(own, path.strip_prefix(other).ok()?));
        self.0.iter().filter_map(own).collect()
    }
}

fn mounts(list: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(2);
        let device = fields.next()?.to_string();
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        let mut rest = fields.skip_while(|field| *field != "-").skip(1);
        let is_overlay = rest.next() == Some("overlay");
        let options = rest.nth(1).filter(|_| is_overlay).unwrap_or_default();
        Some(Mount { device, root, point, layers: layers(options) })
    };
    list.lines().filter_map(mount).collect()
}

/// The directories that the options of an overlay name.
fn layers(options: &str) -> Vec<PathBuf> {
    let named = options.split(',').filter_map(|option| option.split_once('='));
    let named = named.filter(|(name, _)| matches!(*name, "upperdir" | "lowerdir" | "lowerdir+" | "datadir+"));
    let paths = named.flat_map(|(_, paths)| paths.split(':').filter(|path| path.starts_with('/')));
    paths.map(unescape).collect()
}

fn names_in(mounts: &[Mount], path: &Path) -> Vec<PathBuf> {
    let Some((own, inside)) = inside_of(mounts, path) else { return Vec::new() };
    let same = mounts.iter().filter(|mount| mount.device == own.device);
    let names = same.filter_map(|mount| Some(join(&mount.point, inside.strip_prefix(&mount.root).ok()?)));
    names.filter(|name| name != path).collect()
}

/// Joins without a trailing slash.
fn join(directory: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { directory.to_path_buf() } else { directory.join(rest) }
}

/// Decodes spaces and similar characters, which are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits =
            after.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_give_the_other_name_of_a_directory_that_is_mounted_twice() {
        let list = "21 1 8:1 / / rw - ext4 /dev/a rw\n\
                    22 21 8:2 /@home /home rw - btrfs /dev/b rw\n\
                    23 21 8:2 /@home/ann /opt/a\\040b rw - btrfs /dev/b rw\n\
                    24 21 8:1 /srv /mnt rw - ext4 /dev/a rw\nbroken\n";
        let mounts = mounts(list);
        assert_eq!(mounts.len(), 4);
        let names = |path: &str| names_in(&mounts, Path::new(path));
        assert_eq!(names("/home/ann"), [Path::new("/opt/a b")]);
        assert_eq!(names("/home/ann/.ssh"), [Path::new("/opt/a b/.ssh")]);
        assert_eq!(names("/opt/a b/.ssh"), [Path::new("/home/ann/.ssh")]);
        assert_eq!(names("/srv/x"), [Path::new("/mnt/x")]);
        assert!(names("/home/bob").is_empty() && names("/etc").is_empty());
    }

    #[test]
    fn mounts_give_the_other_places_of_the_parts_of_a_directory() {
        let list = "21 1 8:1 / / rw - ext4 /dev/a rw\n\
                    22 21 8:1 /home/ann/.ssh /srv/share rw - ext4 /dev/a rw\n\
                    23 21 8:1 /data/aws /home/ann/.aws rw - ext4 /dev/a rw\n\
                    24 21 0:9 / /home/ann/x rw - tmpfs none rw\n";
        let mounts = mounts(list);
        let parts = parts_in(&mounts, Path::new("/home/ann"));
        assert_eq!(parts, [Path::new("/data/aws"), Path::new("/srv/share")]);
    }

    #[test]
    fn mounts_give_the_layer_paths_of_a_file_in_an_overlay() {
        let list = "21 1 8:1 / / rw - ext4 /dev/a rw\n\
                    22 21 0:30 / /home rw,relatime shared:1 - overlay overlay rw,lowerdir=/a\\040b:/c,upperdir=/up,workdir=/w\n";
        let mounts = mounts(list);
        let names = in_layers(&mounts, Path::new("/home/ann/key"));
        assert_eq!(names, ["/a b/ann/key", "/c/ann/key", "/up/ann/key"].map(PathBuf::from));
        assert!(in_layers(&mounts, Path::new("/etc")).is_empty());
    }
}
