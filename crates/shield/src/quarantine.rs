//! Messages that are kept from their recipients: written encrypted, and deleted when their time is over.
//!
//! Entry: [`Quarantine::keep`]. Here alone the shield takes a message upon itself: it is on the disk, with its record,
//! before the sender is told `250`. It holds no key to read what it wrote; whoever has one works on the same folder with
//! `mailkeep shield quarantine`.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mailkeep_inspect::kept::{Kept, MESSAGES, RECORDS};
use serde::Deserialize;
use tempfile::NamedTempFile;
use thiserror::Error;

/// The file that is locked while a message is written with its record, or things are deleted: not both at once, whichever
/// process does them, and by whichever of its configurations.
const LOCK: &str = "lock";
/// How long one waits for it, and how often it is tried.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What the configuration says: `[quarantine]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuarantineFile {
    /// Where messages are kept. Made where it is not there.
    folder: PathBuf,
    /// Public keys of those who may read them, as `age-keygen -y` prints them: `age1...`.
    readers: Vec<String>,
    /// How long, in days.
    #[serde(default = "thirty")]
    days: u32,
}

fn thirty() -> u32 {
    30
}

/// Why messages cannot be kept as the configuration says.
#[derive(Debug, Error)]
pub(crate) enum QuarantineError {
    /// Nobody could read them.
    #[error(
        "[quarantine] readers names nobody: make a key with age-keygen, and write what `age-keygen -y` prints"
    )]
    NoReader,
    /// Not a key.
    #[error("[quarantine] readers: {0:?} is no public key of age: {1}")]
    Reader(String, &'static str),
    /// The folder.
    #[error("cannot make the folder {0} of [quarantine]")]
    Folder(PathBuf, #[source] io::Error),
}

/// What was deleted because its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Expired {
    /// Records.
    pub(crate) records: u64,
    /// Messages that no record speaks of any more.
    pub(crate) messages: u64,
    /// Records that cannot be read: they stay, and with them every message.
    pub(crate) unreadable: u64,
}

/// Where messages are kept.
pub(crate) struct Quarantine {
    folder: PathBuf,
    readers: Vec<age::x25519::Recipient>,
    days: u32,
}

impl std::fmt::Debug for Quarantine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Quarantine")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Quarantine {
    /// Checks the keys, and makes the folder.
    pub(crate) fn new(file: &QuarantineFile) -> Result<Self, QuarantineError> {
        let mut readers = Vec::new();
        for text in &file.readers {
            let reader = text
                .parse()
                .map_err(|why| QuarantineError::Reader(text.clone(), why))?;
            readers.push(reader);
        }
        if readers.is_empty() {
            return Err(QuarantineError::NoReader);
        }
        for part in [RECORDS, MESSAGES] {
            let folder = file.folder.join(part);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|error| QuarantineError::Folder(folder, error))?;
        }
        Ok(Self {
            folder: file.folder.clone(),
            readers,
            days: file.days,
        })
    }

    /// When a message that is taken now is deleted, in seconds of the Unix epoch.
    pub(crate) fn until(&self, at: u64) -> u64 {
        at.saturating_add(u64::from(self.days) * 86_400)
    }

    /// Writes a message and its record to the disk: both, or there is an error and no record. Blocks.
    ///
    /// `kept.digest` must be the message's [`mailkeep_inspect::kept::digest_of`]. A record of the same id is never
    /// written over: it is an error, and the sender keeps his message.
    pub(crate) fn keep(&self, kept: &Kept, message: &[u8]) -> io::Result<()> {
        let _turn = self.turn()?;
        let messages = self.folder.join(MESSAGES);
        let path = messages.join(format!("{}.age", kept.digest));
        if !path.try_exists()? {
            let mut file = NamedTempFile::new_in(&messages)?;
            let readers = self
                .readers
                .iter()
                .map(|reader| reader as &dyn age::Recipient);
            let encryptor = age::Encryptor::with_recipients(readers).map_err(io::Error::other)?;
            let mut writer = encryptor.wrap_output(&mut file)?;
            writer.write_all(message)?;
            writer.finish()?;
            put(file, &path)?;
        }
        let records = self.folder.join(RECORDS);
        let mut file = NamedTempFile::new_in(&records)?;
        file.write_all(kept.write().as_bytes())?;
        put(file, &records.join(format!("{}.json", kept.id)))
    }

    /// Waits until nobody else writes or deletes here, but not for long: a process that was stopped may hold the lock, and a
    /// message that waits for it holds up others. Until what it gives is dropped nobody does.
    fn turn(&self) -> io::Result<File> {
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.folder.join(LOCK))?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(LOOK_EVERY);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "another process holds the quarantine's lock",
                    ));
                }
            }
        }
    }

    /// Deletes records whose time is over, and messages of which no record is left. Blocks.
    ///
    /// What it cannot delete keeps it from nothing else, and is the error. What is not the quarantine's own stays.
    pub(crate) fn expire(&self, now: u64) -> io::Result<Expired> {
        let _turn = self.turn()?;
        let mut expired = Expired::default();
        let mut failed = Ok(());
        let mut removed = |path: &Path| {
            let removed = fs::remove_file(path);
            let is_gone = removed.is_ok();
            failed = std::mem::replace(&mut failed, Ok(())).and(removed);
            is_gone
        };
        let mut spoken_of = BTreeSet::new();
        for entry in fs::read_dir(self.folder.join(RECORDS))? {
            let path = entry?.path();
            if is_half_written(&path) {
                removed(&path);
            }
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match fs::read(&path).map(|octets| Kept::read(&octets)) {
                Ok(Ok(kept)) if kept.until <= now && removed(&path) => expired.records += 1,
                Ok(Ok(kept)) => {
                    spoken_of.insert(format!("{}.age", kept.digest));
                }
                Ok(Err(_)) | Err(_) => expired.unreadable += 1,
            }
        }
        if expired.unreadable > 0 {
            failed?;
            return Ok(expired);
        }
        for entry in fs::read_dir(self.folder.join(MESSAGES))? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let is_message = path.extension().is_some_and(|extension| extension == "age");
            let is_over = name.to_str().is_none_or(|name| !spoken_of.contains(name));
            if is_half_written(&path) {
                removed(&path);
            } else if is_message && is_over && removed(&path) {
                expired.messages += 1;
            }
        }
        failed?;
        Ok(expired)
    }
}

/// Whether a shield was killed while it wrote this: nobody was told that it is there.
fn is_half_written(path: &Path) -> bool {
    let name = path.file_name();
    name.is_some_and(|name| name.as_encoded_bytes().starts_with(b".tmp"))
}

/// Gives a file a name that none has; it and its folder are on the disk then.
fn put(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use mailkeep_inspect::kept::digest_of;

    use super::*;

    const NOW: u64 = 1_795_000_000;

    fn quarantine(folder: &Path) -> (Quarantine, age::x25519::Identity) {
        let key = age::x25519::Identity::generate();
        let file = QuarantineFile {
            folder: folder.join("quarantine"),
            readers: vec![key.to_public().to_string()],
            days: 30,
        };
        (Quarantine::new(&file).unwrap(), key)
    }

    fn kept(id: &str, message: &[u8], until: u64) -> Kept {
        Kept {
            format: 1,
            id: id.to_owned(),
            at: NOW,
            until,
            digest: digest_of(message),
            octets: message.len() as u64,
            listener: "mx".to_owned(),
            client: String::new(),
            sender: "a@example.net".to_owned(),
            recipients: vec!["b@example.org".to_owned()],
            subject: String::new(),
            from: String::new(),
            rule: "office-macro".to_owned(),
            text: String::new(),
            rules: Vec::new(),
        }
    }

    fn files(quarantine: &Quarantine, part: &str) -> usize {
        fs::read_dir(quarantine.folder.join(part)).unwrap().count()
    }

    #[test]
    fn a_kept_message_is_unreadable_without_the_key_and_whole_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (quarantine, key) = quarantine(folder.path());
        let message = b"Subject: secret plans\r\n\r\nsecret plans\r\n".repeat(5_000);
        let kept = kept("a-1", &message, NOW + 1);
        quarantine.keep(&kept, &message).unwrap();
        let path = quarantine
            .folder
            .join(MESSAGES)
            .join(format!("{}.age", kept.digest));
        let octets = fs::read(path).unwrap();
        assert!(!octets.windows(6).any(|six| six == b"secret"));
        assert_eq!(age::decrypt(&key, &octets).unwrap(), message);
        let another = age::x25519::Identity::generate();
        assert!(age::decrypt(&another, &octets).is_err());
        let record = quarantine.folder.join(RECORDS).join("a-1.json");
        assert_eq!(Kept::read(&fs::read(record).unwrap()).unwrap(), kept);
    }

    #[test]
    fn equal_messages_are_kept_once_and_stay_until_the_last_record_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (quarantine, _) = quarantine(folder.path());
        let message = b"one and the same";
        quarantine
            .keep(&kept("a-1", message, NOW + 10), message)
            .unwrap();
        quarantine
            .keep(&kept("a-2", message, NOW + 20), message)
            .unwrap();
        assert_eq!(
            (files(&quarantine, RECORDS), files(&quarantine, MESSAGES)),
            (2, 1)
        );
        let gone = quarantine.expire(NOW + 10).unwrap();
        assert_eq!((gone.records, gone.messages), (1, 0));
        let gone = quarantine.expire(NOW + 20).unwrap();
        assert_eq!((gone.records, gone.messages), (1, 1));
        assert_eq!(
            (files(&quarantine, RECORDS), files(&quarantine, MESSAGES)),
            (0, 0)
        );
    }

    #[test]
    fn a_record_that_cannot_be_read_keeps_every_message() {
        let folder = tempfile::tempdir().unwrap();
        let (quarantine, _) = quarantine(folder.path());
        quarantine.keep(&kept("a-1", b"x", NOW), b"x").unwrap();
        fs::write(quarantine.folder.join(RECORDS).join("a-2.json"), "{").unwrap();
        let gone = quarantine.expire(NOW + 1).unwrap();
        assert_eq!((gone.records, gone.messages, gone.unreadable), (1, 0, 1));
        assert_eq!(files(&quarantine, MESSAGES), 1);
    }

    #[test]
    fn a_record_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (quarantine, _) = quarantine(folder.path());
        let first = kept("a-1", b"x", NOW);
        quarantine.keep(&first, b"x").unwrap();
        assert!(quarantine.keep(&kept("a-1", b"y", NOW), b"y").is_err());
        let record = quarantine.folder.join(RECORDS).join("a-1.json");
        assert_eq!(Kept::read(&fs::read(record).unwrap()).unwrap(), first);
    }

    #[test]
    fn nothing_is_deleted_while_another_configuration_or_process_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, _) = quarantine(folder.path());
        let (deleter, _) = quarantine(folder.path());
        let turn = writer.turn().unwrap();
        let (say, said) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            let expired = deleter.expire(NOW);
            say.send(()).unwrap();
            expired
        });
        let early = said.recv_timeout(std::time::Duration::from_millis(50));
        assert!(early.is_err(), "it did not wait for its turn");
        drop(turn);
        assert_eq!(waiting.join().unwrap().unwrap(), Expired::default());
    }

    #[test]
    fn a_process_that_never_lets_go_holds_nobody_up_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let (holder, _) = quarantine(folder.path());
        let (waiter, _) = quarantine(folder.path());
        let _turn = holder.turn().unwrap();
        let error = waiter.keep(&kept("a-1", b"x", NOW), b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_others_put_there_stays_and_keeps_nothing_from_expiring() {
        let folder = tempfile::tempdir().unwrap();
        let (quarantine, _) = quarantine(folder.path());
        for part in [RECORDS, MESSAGES] {
            fs::create_dir(quarantine.folder.join(part).join("notes")).unwrap();
            fs::write(quarantine.folder.join(part).join("README"), "ours").unwrap();
        }
        quarantine.keep(&kept("a-1", b"x", NOW), b"x").unwrap();
        let expired = quarantine.expire(NOW + 31 * 86_400).unwrap();
        assert_eq!((expired.records, expired.messages), (1, 1));
        assert_eq!(
            (files(&quarantine, RECORDS), files(&quarantine, MESSAGES)),
            (2, 2)
        );
    }

    #[test]
    fn what_cannot_be_deleted_is_told_of_and_keeps_nothing_else_from_expiring() {
        let folder = tempfile::tempdir().unwrap();
        let (quarantine, _) = quarantine(folder.path());
        let messages = quarantine.folder.join(MESSAGES);
        fs::create_dir(messages.join("0.age")).unwrap();
        for (id, message) in [("a-1", &b"x"[..]), ("a-2", b"y"), ("a-3", b"z")] {
            quarantine.keep(&kept(id, message, NOW), message).unwrap();
        }
        assert!(quarantine.expire(NOW + 1).is_err());
        assert_eq!(
            (files(&quarantine, RECORDS), files(&quarantine, MESSAGES)),
            (0, 1)
        );
    }

    #[test]
    fn what_a_killed_shield_left_half_written_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (quarantine, _) = quarantine(folder.path());
        for part in [RECORDS, MESSAGES] {
            fs::write(quarantine.folder.join(part).join(".tmpabc"), "half").unwrap();
        }
        quarantine.expire(NOW).unwrap();
        assert_eq!(
            (files(&quarantine, RECORDS), files(&quarantine, MESSAGES)),
            (0, 0)
        );
    }

    #[test]
    fn where_the_disk_refuses_there_is_an_error_and_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let (quarantine, _) = quarantine(folder.path());
        fs::remove_dir(quarantine.folder.join(MESSAGES)).unwrap();
        assert!(quarantine.keep(&kept("a-1", b"x", NOW), b"x").is_err());
        assert_eq!(files(&quarantine, RECORDS), 0);
    }

    #[test]
    fn keys_that_are_none_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |readers: &[&str]| QuarantineFile {
            folder: folder.path().to_owned(),
            readers: readers.iter().map(|reader| (*reader).to_owned()).collect(),
            days: 30,
        };
        assert!(matches!(
            Quarantine::new(&file(&[])),
            Err(QuarantineError::NoReader)
        ));
        let error = Quarantine::new(&file(&["age1nonsense"])).unwrap_err();
        assert!(error.to_string().contains("age1nonsense"), "{error}");
    }
}
