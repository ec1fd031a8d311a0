//! What can go wrong below, and what it means for whoever asked.

use std::path::PathBuf;

use rusqlite::{ErrorCode, ffi};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Source, StoreError};

/// Where a store lives. For one in memory the paths are only names.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) database: PathBuf,
}

/// A failure not yet put into words for a person.
#[derive(Debug)]
pub(super) enum Fault {
    /// Something stored cannot be read back.
    Damaged(Source),
    /// Something cannot be written as JSON.
    Encode(serde_json::Error),
    /// SQLite refused.
    Sqlite(rusqlite::Error),
    /// Already in words.
    Store(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What `quick_check` found.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Damage(pub(super) String);

pub(super) fn encode<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(Fault::Encode)
}

pub(super) fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::Damaged(error.into()))
}

/// SQLite's own code, where the failure came from it.
pub(super) fn code(error: &rusqlite::Error) -> Option<ErrorCode> {
    error.sqlite_error_code()
}

/// The same failure again, as far as it came from SQLite itself: so that an import can report a
/// full disk though its work already took the error away.
pub(super) fn again(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => {
            rusqlite::Error::SqliteFailure(*code, text.clone())
        }
        other => rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_ERROR),
            Some(other.to_string()),
        ),
    }
}

impl Place {
    /// Puts a failure into words.
    pub(super) fn explain(&self, doing: &'static str, fault: Fault) -> StoreError {
        let dir = self.dir.clone();
        let path = self.database.clone();
        let error = match fault {
            Fault::Store(error) => return error,
            Fault::Damaged(source) => return StoreError::Corrupt { path, source },
            Fault::Encode(error) => {
                return StoreError::Database {
                    dir,
                    doing,
                    source: error.into(),
                };
            }
            Fault::Sqlite(error) => error,
        };
        let extended = error.sqlite_error().map(|e| e.extended_code);
        match code(&error) {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { dir },
            Some(ErrorCode::DiskFull) => StoreError::DiskFull { dir },
            // The file shared between processes (-shm) could not grow; SQLite does not tell the
            // cause apart, and a full disk is the usual one.
            Some(ErrorCode::SystemIoFailure)
                if extended == Some(ffi::SQLITE_IOERR_SHMSIZE)
                    || extended == Some(ffi::SQLITE_IOERR_SHMMAP) =>
            {
                StoreError::DiskFull { dir }
            }
            Some(ErrorCode::SystemIoFailure) => StoreError::Io {
                dir,
                source: error.into(),
            },
            Some(ErrorCode::ReadOnly) if extended == Some(ffi::SQLITE_READONLY_DBMOVED) => {
                StoreError::Moved { path }
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::ReadOnly { dir },
            Some(ErrorCode::CannotOpen) => StoreError::CannotOpen {
                path,
                source: error.into(),
            },
            // None: a column of another type, a text that is not UTF-8. We never wrote that.
            // Unknown (SQLITE_ERROR): our statements are fixed and tested, so what SQLite can make
            // nothing of is the schema within the file.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
            | None => StoreError::Corrupt {
                path,
                source: error.into(),
            },
            Some(_) => StoreError::Database {
                dir,
                doing,
                source: error.into(),
            },
        }
    }
}
