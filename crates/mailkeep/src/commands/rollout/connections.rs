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
/// bytes (unix(7)): a host's name there takes 20, and ssh some for a while.
const PREFIX: &str = "mailkeep-";

/// Locked for as long as the process lives that a directory belongs to.
const LOCK: &str = "owner";

/// A directory without a lock is this old before it is anybody's to clear: its owner may be about to
/// make one.
const SETTLED: Duration = Duration::from_mins(1);

/// Directories that are made before it is given up.
const TRIES: u32 = 5;

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
            // A host that went away is noticed, also under a connection that is shared.
            "ServerAliveInterval=10",
            "ServerAliveCountMax=3",
        ] {
            ssh.extra.extend(["-o", option].map(str::to_owned));
        }
        ssh.shared = Some(made.directory.path().to_owned());
        Ok(made)
    }

    fn below(place: &Path) -> anyhow::Result<Self> {
        let what = || "cannot make a directory for ssh's sockets";
        for _ in 0..TRIES {
            let directory = tempfile::Builder::new()
                .prefix(PREFIX)
                .tempdir_in(place)
                .with_context(what)?;
            if let Some(lock) = own(directory.path()).with_context(what)? {
                clear(place, directory.path());
                return Ok(Self {
                    directory,
                    _lock: lock,
                });
            }
        }
        anyhow::bail!("{}: each was removed as soon as it was made", what())
    }
}

/// Locks a directory of ours. `None` where another process was faster, took it for one that was left,
/// and has removed it.
fn own(directory: &Path) -> io::Result<Option<File>> {
    let path = directory.join(LOCK);
    let of_its_time = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(error),
    };
    let lock = match File::create(&path) {
        Ok(lock) => lock,
        Err(error) => return of_its_time(error),
    };
    lock.lock()?;
    // Whoever clears has the lock until all is gone.
    match fs::symlink_metadata(&path) {
        Ok(there) => Ok((there.ino() == lock.metadata()?.ino()).then_some(lock)),
        Err(error) => of_its_time(error),
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
        if named && path != own {
            clear_if_left(&path, own).ok();
        }
    }
}

/// Removes a directory if it is one of ours whose owner is gone.
fn clear_if_left(path: &Path, own: &Path) -> io::Result<()> {
    let (of, mine) = (fs::symlink_metadata(path)?, fs::metadata(own)?);
    if !of.is_dir() || of.uid() != mine.uid() {
        return Ok(());
    }
    match File::options().write(true).open(path.join(LOCK)) {
        // The lock is kept until all is gone: an owner that waits for it looks then.
        Ok(lock) => match lock.try_lock() {
            Ok(()) => fs::remove_dir_all(path),
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A clock that was set back makes it younger, never older.
            let age = SystemTime::elapsed(&of.modified()?).unwrap_or_default();
            // Only an empty one can be removed so.
            if age > SETTLED {
                fs::remove_dir(path)?;
            }
            Ok(())
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

    #[test]
    fn a_directory_that_was_cleared_before_it_was_locked_is_not_gone_on_with() {
        let place = tempfile::tempdir().unwrap();
        let made = place.path().join("mailkeep-aB3dE6");
        fs::create_dir(&made).unwrap();
        let clearing = File::create(made.join(LOCK)).unwrap();
        clearing.lock().unwrap();
        std::thread::scope(|scope| {
            // Before it, between its two looks, or after it: wherever the owner is by now.
            let owner = scope.spawn(|| own(&made));
            // At once, as far as the owner can tell.
            fs::rename(&made, place.path().join("cleared")).unwrap();
            drop(clearing);
            assert!(owner.join().unwrap().unwrap().is_none());
        });
    }

    #[test]
    fn controllers_that_start_at_once_leave_each_other_their_directories() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let start = || {
                let made = (0..50).map(|_| SharedConnections::below(place.path()).unwrap());
                made.collect::<Vec<_>>()
            };
            let starts = [(); 4].map(|()| scope.spawn(start));
            for made in starts.map(|start| start.join().unwrap()).iter().flatten() {
                assert!(made.directory.path().join(LOCK).exists());
            }
        });
    }
}
