//! Opening the database: files, settings, checks, migrations.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mailkeep_model::Realm;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::fault::{Damage, Fault, Place, code};
use super::marker::Marker;
use super::{kept, schema};
use crate::StoreError;

/// Name of the database within the state directory.
const DATABASE: &str = "mailkeep.db";

/// How long a writer waits for another before it gives up.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a page, measured with benches/paths.rs: rows of 1 to 5 KB make smaller pages spill into
/// chains of overflow pages (an import takes twice the time with 4 KiB), and larger pages make every
/// small write dearer for no gain.
const PAGE_SIZE: u32 = 16 * 1024;

/// Pages in the write-ahead log from which a commit carries them into the database (1 MiB). The next
/// process reads the whole log when it opens it first, at about 1 ms for each MiB.
const CHECKPOINT_PAGES: u32 = 64;

/// The page cache, in KiB. Small, because a check reads almost every page once: memory used again is
/// faster than fresh memory from the system. For the same reason nothing is mapped: measured, the
/// page faults of a mapping cost twice what the reads cost, and a mapping turns a failing disk into
/// a killed process.
const CACHE_KIB: u32 = 256;

/// The page cache during an import, in KiB, for feeds that do not come in the order of their keys.
const IMPORT_CACHE_KIB: u32 = 8 * 1024;

impl Place {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            database: dir.join(DATABASE),
        }
    }

    pub(super) fn in_memory() -> Self {
        Self {
            dir: ":memory:".into(),
            database: ":memory:".into(),
        }
    }

    /// Bytes in the write-ahead log; 0 where there is none.
    pub(super) fn wal_bytes(&self) -> u64 {
        let mut path = self.database.clone().into_os_string();
        path.push("-wal");
        fs::metadata(PathBuf::from(path)).map_or(0, |found| found.len())
    }
}

/// Opens for writing; creates what is missing.
pub(super) fn read_write(place: &Place, realm: Realm) -> Result<Connection, StoreError> {
    let directory = |source| StoreError::Directory {
        dir: place.dir.clone(),
        source,
    };
    let missing = match fs::metadata(&place.database) {
        Ok(found) => {
            check_length(found.len(), place)?;
            found.len() == 0
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(directory(error)),
    };
    let mut lock = None;
    if missing {
        create_files(place).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull {
                dir: place.dir.clone(),
            },
            _ => directory(error),
        })?;
        lock = lock_directory(&place.dir)?;
    }
    let opened = (|| {
        let mut conn = connect(&place.database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // Refused the one, SQLite opens for the other.
        if conn.is_readonly("main")? {
            return Err(Fault::Store(StoreError::ReadOnly {
                dir: place.dir.clone(),
            }));
        }
        settings(&conn)?;
        let mut version = identify(&conn, place)?;
        if version < schema::VERSION {
            if lock.is_none() {
                lock = lock_directory(&place.dir)?;
                version = identify(&conn, place)?;
            }
            migrate(&mut conn, version, realm)?;
        }
        for_writing(&conn)?;
        check_contents(&conn, place, realm)?;
        if let Some(mark) = Marker::left_behind(&place.dir) {
            quick_check(&conn)?;
            mark.clear();
        }
        Ok(conn)
    })();
    drop(lock);
    opened.map_err(|fault| place.explain("open", fault))
}

/// Opens for reading only; changes nothing that counts.
pub(super) fn read_only(place: &Place, realm: Realm) -> Result<Connection, StoreError> {
    match fs::metadata(&place.database) {
        Ok(found) => check_length(found.len(), place)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::NoState {
                dir: place.dir.clone(),
            });
        }
        Err(source) => {
            return Err(StoreError::Directory {
                dir: place.dir.clone(),
                source,
            });
        }
    }
    let open = || {
        let conn = connect(&place.database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        settings(&conn)?;
        check_whole(&conn, place, realm)?;
        Ok(conn)
    };
    match open() {
        // The log and its index are missing and we may not create them: a copy of the file on a
        // read-only medium, say. Nobody can be writing then, for a mailkeep that writes leaves both
        // files behind. Only this case may skip the locks.
        Err(Fault::Sqlite(error))
            if matches!(
                code(&error),
                Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)
            ) && place.wal_bytes() == 0 =>
        {
            let conn = connect(
                Path::new(&immutable_uri(&place.database)),
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
            );
            conn.map_err(Fault::from).and_then(|conn| {
                settings(&conn)?;
                check_whole(&conn, place, realm)?;
                Ok(conn)
            })
        }
        other => other,
    }
    .map_err(|fault| place.explain("open", fault))
}

/// Makes an empty database in memory.
pub(super) fn in_memory(place: &Place, realm: Realm) -> Result<Connection, StoreError> {
    (|| {
        let mut conn = Connection::open_in_memory()?;
        settings(&conn)?;
        migrate(&mut conn, 0, realm)?;
        Ok(conn)
    })()
    .map_err(|fault| place.explain("open", fault))
}

/// Looks at every page; finds what opening alone does not.
pub(super) fn quick_check(conn: &Connection) -> Result<(), Fault> {
    let mut found = String::new();
    conn.pragma_query(None, "quick_check", |row| {
        let line: String = row.get(0)?;
        if line != "ok" && found.len() < 1000 {
            if !found.is_empty() {
                found.push_str("; ");
            }
            found.push_str(&line);
        }
        Ok(())
    })?;
    if found.is_empty() {
        Ok(())
    } else {
        Err(Fault::Damaged(Damage(found.replace('\n', " ")).into()))
    }
}

/// SQLite takes a file shorter than its smallest page for an empty one, and would start anew.
fn check_length(bytes: u64, place: &Place) -> Result<(), StoreError> {
    if (1..512).contains(&bytes) {
        let damage = Damage(format!("it is {bytes} bytes long"));
        return Err(place.explain("open", Fault::Damaged(damage.into())));
    }
    Ok(())
}

fn create_files(place: &Place) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&place.dir)?;
    // SQLite gives the files beside it the same permissions.
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&place.database)
    {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// One process at a time creates or migrates: turning on the log is not safe against another that
/// does the same. Without a lock where the file system has none.
fn lock_directory(dir: &Path) -> Result<Option<File>, StoreError> {
    let Ok(file) = File::open(dir) else {
        return Ok(None);
    };
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(fs::TryLockError::Error(_)) => return Ok(None),
            Err(fs::TryLockError::WouldBlock) if Instant::now() >= until => {
                return Err(StoreError::Busy {
                    dir: dir.to_owned(),
                });
            }
            Err(fs::TryLockError::WouldBlock) => {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Settings that belong to a connection, not to the file.
fn settings(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    // The last to close would copy the log into the database and sync it, and remove both files
    // beside it. We do the first where it is due (see `SqliteStore::settle`) and never the second:
    // a reader that may not create them needs them.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.execute_batch(&format!(
        "PRAGMA cell_size_check = ON;
         PRAGMA foreign_keys = ON;
         PRAGMA cache_size = -{CACHE_KIB};"
    ))
}

fn for_writing(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "PRAGMA synchronous = NORMAL;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA temp_store = MEMORY;"
    ))
}

/// Makes room for an import, until the connection is closed.
pub(super) fn for_importing(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(&format!("PRAGMA cache_size = -{IMPORT_CACHE_KIB}"))
}

/// Says which schema the file has; 0 where it is empty.
fn identify(conn: &Connection, place: &Place) -> Result<i64, Fault> {
    let application: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let path = || place.database.clone();
    if application != schema::APPLICATION_ID {
        let objects: i64 =
            conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        return if application == 0 && version == 0 && objects == 0 {
            Ok(0)
        } else {
            Err(Fault::Store(StoreError::NotMailkeep { path: path() }))
        };
    }
    if version > schema::VERSION {
        return Err(Fault::Store(StoreError::NewerSchema {
            path: path(),
            found: version,
            known: schema::VERSION,
        }));
    }
    Ok(version)
}

/// Checks that a file of the current schema is whole, as far as that costs nothing, and of our
/// realm.
fn check_contents(conn: &Connection, place: &Place, realm: Realm) -> Result<(), Fault> {
    let names = format!("'{}'", schema::TABLES.join("','"));
    let tables: i64 = conn.query_row(
        &format!("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ({names})"),
        [],
        |row| row.get(0),
    )?;
    if usize::try_from(tables) != Ok(schema::TABLES.len()) {
        return Err(Fault::Damaged(
            Damage("a table is missing".to_owned()).into(),
        ));
    }
    let name: String = conn.query_row("SELECT realm FROM meta", [], |row| row.get(0))?;
    let found = [Realm::Drill, Realm::Live]
        .into_iter()
        .find(|realm| realm.name() == name)
        .ok_or_else(|| Fault::Damaged(Damage(format!("unknown realm {name:?}")).into()))?;
    if found == realm {
        Ok(())
    } else {
        Err(Fault::Store(StoreError::OtherRealm {
            path: place.database.clone(),
            found,
            wanted: realm,
        }))
    }
}

fn check_whole(conn: &Connection, place: &Place, realm: Realm) -> Result<(), Fault> {
    let version = identify(conn, place)?;
    if version == 0 {
        return Err(Fault::Store(StoreError::NoState {
            dir: place.dir.clone(),
        }));
    }
    if version < schema::VERSION {
        return Err(Fault::Store(StoreError::OlderSchema {
            path: place.database.clone(),
            found: version,
            known: schema::VERSION,
        }));
    }
    check_contents(conn, place, realm)
}

/// Brings the file from `version` to the current schema, one transaction for each step.
fn migrate(conn: &mut Connection, version: i64, realm: Realm) -> Result<(), Fault> {
    if version == 0 {
        conn.execute_batch(&format!("PRAGMA page_size = {PAGE_SIZE}"))?;
        // Answers with the mode it came to; in memory that is another one.
        conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    }
    conn.execute_batch("PRAGMA synchronous = FULL")?;
    for (step, sql) in (1_i64..).zip(schema::MIGRATIONS) {
        if step <= version {
            continue;
        }
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if now >= step {
            // Another process was faster.
            continue;
        }
        tx.execute_batch(sql)?;
        if step == 1 {
            tx.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
            tx.execute(
                "INSERT INTO meta (one, realm) VALUES (1, ?1)",
                [realm.name()],
            )?;
        }
        if step == 3 {
            kept::convert(&tx)?;
        }
        tx.pragma_update(None, "user_version", step)?;
        tx.commit()?;
    }
    Ok(())
}

/// The path as a URI that promises SQLite that the file does not change.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push('%');
            for nibble in [byte >> 4, byte & 0xf] {
                uri.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
            }
        }
    }
    uri.push_str("?immutable=1");
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_signs_of_its_own_survives_as_a_uri() {
        assert_eq!(
            immutable_uri(Path::new("/a b/100%?#/mailkeep.db")),
            "file:/a%20b/100%25%3F%23/mailkeep.db?immutable=1"
        );
    }
}
