//! A download on disk that can be gone on with.
//!
//! Beside the file lies `FILE.state`: whose bytes these are. Without it, or where it does not fit,
//! the bytes are worth nothing. It is removed when the download is complete.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::FetchError;
use super::error::file_error;

/// Longest state file read, in bytes; ours have some hundreds.
const MAX_STATE: u64 = 16 * 1024;

/// Whose bytes a partial download holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// Location without credentials.
    pub(super) location: String,
    /// A strong `ETag`, or a `Last-Modified` that is strong (RFC 9110 section 8.8.2.2).
    pub(super) validator: String,
    /// `Last-Modified`: a 206 need not repeat it (RFC 9110 section 15.3.7).
    #[serde(default)]
    pub(super) last_modified: Option<String>,
    /// Whether the bytes are under the content coding `gzip`; a 206 need not repeat that either.
    #[serde(default)]
    pub(super) gzip: bool,
}

/// The download file, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    url: String,
    have: u64,
    origin: Option<Origin>,
}

impl Partial {
    /// Opens or makes it, and finds out what of it can be used for `location`.
    pub(super) fn open(path: &Path, location: &str, url: &str) -> Result<Self, FetchError> {
        let fail = |doing, source| file_error(doing, path, url, 0, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| fail("open", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FetchError::Busy {
                    path: path.to_owned(),
                });
            }
            // A file system without locks: as before there were any.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(fail("lock", e)),
        }
        let have = file.seek(SeekFrom::End(0)).map_err(|e| fail("read", e))?;
        let origin =
            read_origin(&state_path(path)).filter(|origin| origin.location == location && have > 0);
        let mut partial = Self {
            file,
            path: path.to_owned(),
            url: url.to_owned(),
            have,
            origin,
        };
        if partial.origin.is_none() && partial.have > 0 {
            partial.discard()?;
        }
        Ok(partial)
    }

    /// Bytes there.
    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// From where the rest can be asked for, and of what it is the rest.
    pub(super) fn resume_point(&self) -> Option<(u64, &Origin)> {
        let origin = self.origin.as_ref()?;
        (self.have > 0).then_some((self.have, origin))
    }

    /// Begins anew: a body from its first byte follows.
    pub(super) fn restart(&mut self, origin: Option<&Origin>) -> Result<(), FetchError> {
        self.discard()?;
        // Without a state file the download merely cannot be resumed.
        if let Some(origin) = origin
            && let Ok(json) = serde_json::to_vec(origin)
            && std::fs::write(state_path(&self.path), json).is_ok()
        {
            self.origin = Some(origin.clone());
        }
        Ok(())
    }

    /// Drops what is there.
    pub(super) fn discard(&mut self) -> Result<(), FetchError> {
        remove_state(&self.path);
        self.origin = None;
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(|e| file_error("empty", &self.path, &self.url, self.have, e))?;
        self.have = 0;
        Ok(())
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file
            .write_all(bytes)
            .map_err(|e| file_error("write", &self.path, &self.url, self.have, e))?;
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// It is complete: nothing is left to resume. What was sent under the content coding `gzip`
    /// is unpacked, into at most `limit` bytes. Gives the file's length.
    pub(super) fn complete(mut self, gzip: bool, limit: u64) -> Result<u64, FetchError> {
        if gzip && let Err(error) = self.unpack(limit) {
            std::fs::remove_file(beside(&self.path, ".plain")).ok();
            self.discard()?;
            return Err(error);
        }
        remove_state(&self.path);
        Ok(self.have)
    }

    fn unpack(&mut self, limit: u64) -> Result<(), FetchError> {
        let plain = beside(&self.path, ".plain");
        let fail = |doing, source| file_error(doing, &plain, &self.url, self.have, source);
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(|e| fail("read", e))?;
        let mut reader = MultiGzDecoder::new(BufReader::new(&self.file));
        let mut writer = File::create(&plain).map_err(|e| fail("open", e))?;
        let mut buffer = vec![0; 64 * 1024];
        let mut length = 0;
        loop {
            let read = reader
                .read(&mut buffer)
                .map_err(|source| match source.kind() {
                    io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::UnexpectedEof => FetchError::BadAnswer {
                        url: self.url.clone(),
                        reason: "what it calls gzip cannot be unpacked".to_owned(),
                    },
                    _ => file_error("read", &self.path, &self.url, self.have, source),
                })?;
            if read == 0 {
                break;
            }
            length += read as u64;
            if length > limit {
                return Err(FetchError::TooLarge {
                    url: self.url.clone(),
                    limit,
                });
            }
            writer
                .write_all(buffer.get(..read).unwrap_or_default())
                .map_err(|e| fail("write", e))?;
        }
        std::fs::rename(&plain, &self.path).map_err(|e| fail("rename", e))?;
        self.have = length;
        Ok(())
    }

    /// A failed download that holds nothing leaves nothing.
    pub(super) fn abandon(self) {
        if self.have == 0 {
            self.remove();
        }
    }

    /// It is not wanted.
    pub(super) fn remove(self) {
        remove_state(&self.path);
        // What stays is empty or dropped by the next fetch.
        std::fs::remove_file(&self.path).ok();
    }
}

fn state_path(path: &Path) -> PathBuf {
    beside(path, ".state")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove_state(path: &Path) {
    std::fs::remove_file(state_path(path)).ok();
}

fn read_origin(path: &Path) -> Option<Origin> {
    let mut json = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_STATE)
        .read_to_end(&mut json)
        .ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://feeds.example.org/a";

    fn origin() -> Origin {
        Origin {
            location: URL.into(),
            validator: "\"v1\"".into(),
            ..Origin::default()
        }
    }

    #[test]
    fn an_interrupted_download_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.part");
        let mut first = Partial::open(&path, URL, URL).unwrap();
        first.restart(Some(&origin())).unwrap();
        first.write(b"half").unwrap();
        drop(first);

        let mut second = Partial::open(&path, URL, URL).unwrap();
        assert_eq!(second.resume_point(), Some((4, &origin())));
        second.write(b"whole").unwrap();
        assert_eq!(second.complete(false, 100).unwrap(), 9);
        assert_eq!(std::fs::read(&path).unwrap(), b"halfwhole");
        assert!(!state_path(&path).exists());
    }

    #[test]
    fn bytes_of_another_source_or_of_none_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.part");
        let mut first = Partial::open(&path, URL, URL).unwrap();
        first.restart(Some(&origin())).unwrap();
        first.write(b"half").unwrap();
        drop(first);
        let other = Partial::open(&path, "https://elsewhere.example.org/", URL).unwrap();
        assert_eq!((other.have(), other.resume_point()), (0, None));
        drop(other);

        std::fs::write(&path, b"stray").unwrap();
        std::fs::write(state_path(&path), b"{garbage").unwrap();
        let stray = Partial::open(&path, URL, URL).unwrap();
        assert_eq!(stray.have(), 0);
    }

    #[test]
    fn two_downloads_never_share_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.part");
        let _first = Partial::open(&path, URL, URL).unwrap();
        let second = Partial::open(&path, URL, URL).unwrap_err();
        assert_eq!(second.kind(), "busy");
    }

    #[test]
    fn a_full_disk_is_named() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            eprintln!("skipped: a_full_disk_is_named: no /dev/full");
            return;
        }
        let mut partial = Partial {
            file: OpenOptions::new().write(true).open(full).unwrap(),
            path: full.to_owned(),
            url: URL.into(),
            have: 7,
            origin: None,
        };
        let error = partial.write(b"x").unwrap_err();
        assert_eq!(error.kind(), "disk-full");
        assert!(error.to_string().contains("no room"), "{error}");
    }
}
