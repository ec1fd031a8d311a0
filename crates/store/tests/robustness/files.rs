//! The files themselves: whose, of which schema, of which realm.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use mailkeep_model::Realm;
use mailkeep_store::{SqliteStore, Store, StoreError};
use rusqlite::Connection;

use super::{assert_small_state, open, small_state};
use crate::conformance::event;

#[test]
fn a_new_state_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("a").join("state");
    let mut store = open(&state).unwrap();
    store.append_event(&event(1)).unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(state.clone()), 0o700);
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(path.clone()), 0o600, "{}", path.display());
    }
}

#[test]
fn a_newer_schema_is_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    small_state(dir.path());
    let conn = Connection::open(dir.path().join("mailkeep.db")).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    for error in [
        open(dir.path()).unwrap_err(),
        SqliteStore::open_read_only(dir.path(), Realm::Live).unwrap_err(),
    ] {
        assert!(
            matches!(error, StoreError::NewerSchema { found: 99, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("use that newer one"), "{error}");
    }
}

#[test]
fn the_other_realm_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    small_state(dir.path());
    for error in [
        SqliteStore::open(dir.path(), Realm::Drill).unwrap_err(),
        SqliteStore::open_read_only(dir.path(), Realm::Drill).unwrap_err(),
    ] {
        assert_eq!(error.kind(), "other-realm");
        assert!(
            error
                .to_string()
                .contains("belongs to the realm live, not drill"),
            "{error}"
        );
    }
    assert_small_state(dir.path());
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mailkeep.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE bookmarks (url TEXT)")
        .unwrap();
    drop(conn);
    let before = fs::read(&path).unwrap();
    assert_eq!(open(dir.path()).unwrap_err().kind(), "not-mailkeep");
    assert!(before == fs::read(&path).unwrap());
}

#[test]
fn reading_needs_something_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    for state in [dir.path(), &missing] {
        let error = SqliteStore::open_read_only(state, Realm::Live).unwrap_err();
        assert_eq!(error.kind(), "no-state");
        assert!(error.to_string().contains("import feeds first"), "{error}");
    }
    assert!(!missing.exists());
}

#[test]
fn a_file_in_place_of_the_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(open(&file).unwrap_err().kind(), "directory");
}

#[test]
fn a_reader_sees_what_a_living_writer_commits() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path()).unwrap();
    let mut reader = SqliteStore::open_read_only(dir.path(), Realm::Live).unwrap();
    writer.append_event(&event(1)).unwrap();
    assert_eq!(reader.events_after(0, 9).unwrap().len(), 1);
    assert_eq!(
        reader.append_event(&event(2)).unwrap_err().kind(),
        "read-only"
    );
    drop(writer);
    assert_eq!(reader.events_after(0, 9).unwrap().len(), 1);
}

#[test]
fn reading_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    small_state(dir.path());
    let path = dir.path().join("mailkeep.db");
    let before = (
        fs::read(&path).unwrap(),
        fs::metadata(&path).unwrap().modified().unwrap(),
    );
    let store = open(dir.path()).unwrap();
    store.feeds().unwrap();
    assert!(!dir.path().join("mailkeep.writing").exists());
    drop(store);
    let after = (
        fs::read(&path).unwrap(),
        fs::metadata(&path).unwrap().modified().unwrap(),
    );
    assert!(before == after);
    assert_eq!(
        fs::metadata(dir.path().join("mailkeep.db-wal"))
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn small_writes_do_not_let_the_log_grow() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..200 {
        let mut store = open(dir.path()).unwrap();
        store.append_event(&event(n)).unwrap();
    }
    let log = fs::metadata(dir.path().join("mailkeep.db-wal"))
        .unwrap()
        .len();
    assert!(log < 1_200_000, "{log}");
}

#[test]
fn a_creation_that_was_killed_is_finished_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let conn = Connection::open(dir.path().join("mailkeep.db")).unwrap();
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .unwrap();
    drop(conn);
    let error = SqliteStore::open_read_only(dir.path(), Realm::Live).unwrap_err();
    assert_eq!(error.kind(), "no-state");
    small_state(dir.path());
    assert_small_state(dir.path());
}

#[test]
fn a_moved_away_state_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    small_state(dir.path());
    let mut store = open(dir.path()).unwrap();
    fs::rename(dir.path().join("mailkeep.db"), dir.path().join("aside.db")).unwrap();
    let error = store.append_event(&event(2)).unwrap_err();
    assert_eq!(error.kind(), "moved", "{error:?}");
}
