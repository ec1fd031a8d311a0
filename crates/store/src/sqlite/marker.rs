//! Knowing whether the last writer ended well.
//!
//! A writer holds a shared lock on `mailkeep.writing` from its first write to its end, and the last
//! one to end removes the file. A file that nobody locks was left by a process that was killed, or
//! by a power cut; whoever opens the database next checks it once, in full.
//!
//! Best effort, on purpose: the file is not synced by itself, and where locks do not work (some
//! network file systems) nothing is checked. SQLite needs none of this to survive a kill; it is for
//! disks that lie.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const NAME: &str = "mailkeep.writing";

/// The shared lock of a writer.
#[derive(Debug)]
pub(super) struct Marker {
    file: File,
    path: PathBuf,
}

impl Marker {
    /// Says that this process writes.
    pub(super) fn set(dir: &Path) -> io::Result<Self> {
        let path = dir.join(NAME);
        // Another writer may remove the file between our opening and our locking it: then what we
        // hold is no longer what others find, and we try again.
        for _ in 0..100 {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?;
            // Where locks do not work the file still marks.
            drop(file.lock_shared());
            let held = file.metadata()?;
            match fs::metadata(&path) {
                Ok(found) if (found.dev(), found.ino()) == (held.dev(), held.ino()) => {
                    return Ok(Self { file, path });
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Ends well: the last writer takes the mark away.
    pub(super) fn clear(self) {
        if self.file.try_lock().is_ok() {
            // A mark that stays only costs the next process a check.
            drop(fs::remove_file(&self.path));
        }
    }

    /// Takes over the mark of a writer that did not end well, if there is one.
    pub(super) fn left_behind(dir: &Path) -> Option<Self> {
        let path = dir.join(NAME);
        let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
        file.try_lock().ok()?;
        Some(Self { file, path })
    }
}
