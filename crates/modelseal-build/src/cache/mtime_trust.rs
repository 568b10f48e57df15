//! Decides when a file's times show that it has not been written to.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use modelseal_format::digest::Stamp;

/// How long a file must be unchanged before its digest is remembered.
///
/// A system's clock may advance only every 10 ms.
const QUIET: Duration = Duration::from_secs(60);

/// Writes back what the file system of this directory or file has in memory.
#[cfg(target_os = "linux")]
pub(super) fn write_back(root: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(std::fs::File::open(root)?)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn write_back(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the file's next change would give it another stamp, except for the end of a write that began earlier (see
/// docs/decisions/0034).
///
/// A time in whole seconds comes from a file system that has no finer times, or from an image that a user made. Two
/// different contents could have such a time.
pub(super) fn is_settled(stamp: &Stamp, now: SystemTime) -> bool {
    let (seconds, nanoseconds) = stamp.changed();
    let Ok(seconds) = u64::try_from(seconds) else { return false };
    let changed = Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds.unsigned_abs());
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    nanoseconds != 0 && now.checked_sub(changed).is_some_and(|quiet| quiet >= QUIET)
}

/// Identifies the current boot of the machine.
///
/// After a crash, a file may have lost its new times and kept its new content, and device numbers are assigned again.
#[cfg(target_os = "linux")]
pub(super) fn boot() -> io::Result<Vec<u8>> {
    std::fs::read("/proc/sys/kernel/random/boot_id")
}

#[cfg(not(target_os = "linux"))]
pub(super) fn boot() -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The device of a local file system that only this kernel writes to, and whose inodes have a time that no program can
/// set: `ext2` to `ext4`, `xfs`, `btrfs`, `f2fs`, `zfs`, `bcachefs`.
///
/// A read-only mount was written elsewhere, and the layers below an overlay are not known.
#[cfg(target_os = "linux")]
pub(super) fn device(root: &Path) -> Option<u64> {
    use rustix::fs::{StatVfsMountFlags, statfs, statvfs};
    use std::os::unix::fs::MetadataExt;

    /// The numbers that `statfs` returns, from `linux/magic.h` and the file systems' own sources.
    const KNOWN: [u32; 6] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e];
    let is_known = KNOWN.contains(&(statfs(root).ok()?.f_type as u32));
    let is_writable = !statvfs(root).ok()?.f_flag.contains(StatVfsMountFlags::RDONLY);
    (is_known && is_writable).then(|| std::fs::metadata(root).ok().map(|metadata| metadata.dev()))?
}

#[cfg(not(target_os = "linux"))]
pub(super) fn device(_: &Path) -> Option<u64> {
    None
}
