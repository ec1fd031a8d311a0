//! One `ssh` connection to each host for all that a rollout does there: a handshake costs both sides more
//! than most acts do.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use mailkeep_reach::hosts::SshOptions;
use tempfile::TempDir;

/// What the name of a directory begins with; six letters of chance follow. The path of a socket has 108
/// bytes (unix(7)): `%C` takes 40, and ssh some for a while.
const PREFIX: &str = "mailkeep-";

/// Locked for as long as the process lives that a directory belongs to.
const LOCK: &str = "owner";

/// A directory without a lock is this old before it is anybody's to clear: its owner may be about to
/// make one.
const SETTLED: Duration = Duration::from_mins(1);

/// The sockets of the connections lie in a directory of their own, nobody else's to use, which goes with
/// this value; the connections end by themselves when they were idle for a minute.
pub(super) struct SharedConnections {
    directory: TempDir,
    _lock: File,
}

impl SharedConnections {
    /// Lets `ssh` share its connections. What killed processes left is cleared.
    pub(super) fn new(ssh: &mut SshOptions) -> anyhow::Result<Self> {
        let made = Self::below(&short_directory())?;
        for option in [
            "ControlMaster=auto".to_owned(),
            format!("ControlPath={}/%C", made.directory.path().display()),
            "ControlPersist=60".to_owned(),
            // A host that went away is noticed, also under a connection that is shared.
            "ServerAliveInterval=10".to_owned(),
            "ServerAliveCountMax=3".to_owned(),
        ] {
            ssh.extra.extend(["-o".to_owned(), option]);
        }
        Ok(made)
    }

    fn below(place: &Path) -> anyhow::Result<Self> {
        let what = || "cannot make a directory for ssh's sockets";
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(place)
            .with_context(what)?;
        let lock = File::create(directory.path().join(LOCK)).with_context(what)?;
        lock.lock().with_context(what)?;
        clear(place, directory.path());
        Ok(Self {
            directory,
            _lock: lock,
        })
    }
}

/// Removes the directories of processes that are gone. In vain is no matter: they are small.
fn clear(place: &Path, own: &Path) {
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let named = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .is_some_and(|rest| rest.len() == 6 && rest.chars().all(char::is_alphanumeric));
        if named && path != own && is_left(&path, own).unwrap_or(false) {
            fs::remove_dir_all(&path).ok();
        }
    }
}

/// Whether a directory is one of ours whose owner is gone.
fn is_left(path: &Path, own: &Path) -> io::Result<bool> {
    let (of, mine) = (fs::symlink_metadata(path)?, fs::metadata(own)?);
    if !of.is_dir() || of.uid() != mine.uid() {
        return Ok(false);
    }
    match File::options().write(true).open(path.join(LOCK)) {
        Ok(lock) => Ok(!matches!(lock.try_lock(), Err(TryLockError::WouldBlock))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_empty = fs::read_dir(path)?.next().is_none();
            // A clock that was set back makes it younger, never older.
            let age = SystemTime::elapsed(&of.modified()?).unwrap_or_default();
            Ok(is_empty && age > SETTLED)
        }
        Err(error) => Err(error),
    }
}

fn short_directory() -> PathBuf {
    let usual = std::env::temp_dir();
    if usual.as_os_str().len() <= 30 {
        usual
    } else {
        Path::new("/tmp").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_controller_left_goes_and_what_belongs_to_a_live_one_stays() {
        let place = tempfile::tempdir().unwrap();
        let left = |name: &str, files: &[&str]| {
            let path = place.path().join(name);
            fs::create_dir(&path).unwrap();
            for file in files {
                File::create(path.join(file)).unwrap();
            }
            path
        };
        let alive = SharedConnections::below(place.path()).unwrap();
        let killed = left("mailkeep-aB3dE6", &[LOCK, "a-socket"]);
        let strangers = [
            left("mailkeep-notes", &[]),
            left("mailkeep-aB3dEf", &["something"]),
            left("mailkeep-young1", &[]),
            left("other", &[LOCK]),
        ];
        let old = left("mailkeep-old001", &[]);
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        File::open(&old).unwrap().set_modified(long_ago).unwrap();
        let own = SharedConnections::below(place.path()).unwrap();
        assert!(!killed.exists() && !old.exists());
        for kept in strangers.iter().map(PathBuf::as_path) {
            assert!(kept.exists(), "{}", kept.display());
        }
        let alive_at = alive.directory.path().to_owned();
        assert!(alive_at.exists() && own.directory.path().exists());
        drop(alive);
        assert!(!alive_at.exists());
    }
}
