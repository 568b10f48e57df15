//! Lets only one build at a time work in a work tree.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::Error;
use crate::run;
use modelseal_format::context::Cancel;

/// Pause between two attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(50);

/// Locks a work tree, and waits until another build releases it.
///
/// Each build moves or reads the artifact, and covers paths that do not exist. Returns `None` where the file system
/// does not support locks.
pub(super) fn lock(
    root: &Path,
    listener: &dyn run::Listener,
    cancel: &Cancel,
) -> Result<Option<File>, Error> {
    let failed = |source| Error::Directory { path: root.to_path_buf(), source };
    let directory = File::open(root).map_err(failed)?;
    let mut is_told = false;
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(Some(directory)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if cancel.is_requested() => {
                return Err(Error::run(run::Error::Interrupted));
            }
            Err(TryLockError::WouldBlock) => {}
        }
        if !is_told {
            listener.blocked(root);
            is_told = true;
        }
        std::thread::sleep(PAUSE);
    }
}
