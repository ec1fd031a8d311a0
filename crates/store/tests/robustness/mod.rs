//! What a state on disk survives: kills, full disks, damage, other users, other mailkeeps.

mod child;
mod damage;
mod files;

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use mailkeep_model::Realm;
use mailkeep_store::{FeedWriter, Space, SqliteStore, Store, StoreError};

use crate::conformance::{all, event, feed, import, status};

pub(crate) fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(dir, Realm::Live)
}

/// A state with one feed of one row, and one event.
pub(crate) fn small_state(dir: &Path) {
    let mut store = open(dir).unwrap();
    import(&mut store, "tracker", &[("a", "old")]).unwrap();
    store.append_event(&event(1)).unwrap();
}

/// That it still is as [`small_state`] left it, and can be used.
pub(crate) fn assert_small_state(dir: &Path) {
    let mut store = open(dir).unwrap();
    assert_eq!(all(&store, Space::Package), ["a tracker old"]);
    assert_eq!(store.feeds().unwrap(), [status("tracker", 1)]);
    assert_eq!(store.events_after(0, 10).unwrap().len(), 1);
    store.check_integrity().unwrap();
    import(&mut store, "tracker", &[("a", "old")]).unwrap();
}

/// Imports what does not fit into the cache, so that it reaches the disk before the end.
pub(crate) fn import_much(
    store: &mut SqliteStore,
    megabytes: u32,
    before_the_end: &mut dyn FnMut(),
) -> Result<(), StoreError> {
    store
        .import_feed(&feed("tracker"), &mut |writer: &mut dyn FeedWriter| {
            for n in 0..megabytes * 250 {
                writer.put(Space::Package, &format!("new{n:06}"), &[b'n'; 4000])?;
            }
            before_the_end();
            Ok(status("tracker", 1))
        })
        .map(drop)
}

#[test]
fn a_second_writer_waits_and_then_says_who_is_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    small_state(dir.path());
    let mut second = open(dir.path()).unwrap();
    second.set_busy_timeout(Duration::from_millis(50)).unwrap();
    let path = dir.path().to_owned();
    let (started, is_started) = mpsc::channel();
    let (end, may_end) = mpsc::channel();
    let first = std::thread::spawn(move || {
        let mut store = open(&path).unwrap();
        import_much(&mut store, 1, &mut || {
            started.send(()).unwrap();
            may_end.recv().unwrap();
        })
        .unwrap();
    });
    is_started.recv().unwrap();

    let error = second.append_event(&event(2)).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with("another mailkeep is writing to "),
        "{text}"
    );
    // Reading never waits.
    assert_eq!(all(&second, Space::Package), ["a tracker old"]);

    // Patient enough, it gets its turn.
    second.set_busy_timeout(Duration::from_mins(1)).unwrap();
    let (waiting, is_waiting) = mpsc::channel();
    let patient = std::thread::spawn(move || {
        waiting.send(()).unwrap();
        let seq = second.append_event(&event(2)).unwrap();
        (seq, all(&second, Space::Package).len())
    });
    is_waiting.recv().unwrap();
    end.send(()).unwrap();
    first.join().unwrap();
    assert_eq!(patient.join().unwrap(), (2, 250));
}

#[test]
fn many_may_create_one_state_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    std::thread::scope(|scope| {
        for n in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let mut store = open(path).unwrap();
                store.append_event(&event(n)).unwrap();
            });
        }
    });
    let store = open(&path).unwrap();
    assert_eq!(store.events_after(0, 100).unwrap().len(), 8);
}

#[test]
fn events_cannot_be_changed_by_any_sql() {
    let dir = tempfile::tempdir().unwrap();
    small_state(dir.path());
    let conn = rusqlite::Connection::open(dir.path().join("mailkeep.db")).unwrap();
    for sql in [
        "UPDATE event SET at = 0",
        "DELETE FROM event",
        "INSERT OR REPLACE INTO event (seq, at, body) VALUES (1, 0, '{}')",
        "INSERT INTO event (seq, at, body) VALUES (7, 0, '{}')",
        "INSERT INTO event (seq, at, body) VALUES (0, 0, '{}')",
    ] {
        let error = conn.execute(sql, []).unwrap_err().to_string();
        assert!(
            error.contains("append-only") || error.contains("without gaps"),
            "{sql}: {error}"
        );
    }
    drop(conn);
    assert_small_state(dir.path());
}

#[test]
fn a_store_failure_swallowed_by_the_work_still_fails_the_import() {
    let dir = tempfile::tempdir().unwrap();
    small_state(dir.path());
    let conn = rusqlite::Connection::open(dir.path().join("mailkeep.db")).unwrap();
    conn.execute_batch(
        "CREATE TRIGGER no_c BEFORE INSERT ON package_row WHEN NEW.key = 'c'
         BEGIN SELECT RAISE(ABORT, 'no c'); END;",
    )
    .unwrap();
    let mut store = open(dir.path()).unwrap();
    let error = store
        .import_feed(&feed("tracker"), &mut |writer: &mut dyn FeedWriter| {
            writer.put(Space::Package, "b", b"1")?;
            let refused = writer.put(Space::Package, "c", b"2");
            assert_eq!(refused.unwrap_err().kind(), "database");
            let after = writer.put(Space::Package, "d", b"3");
            assert_eq!(after.unwrap_err().kind(), "database");
            Ok(status("tracker", 2))
        })
        .unwrap_err();
    assert_eq!(error.kind(), "database");
    assert_eq!(all(&store, Space::Package), ["a tracker old"]);
}

#[test]
fn a_panic_in_the_work_leaves_the_old_rows() {
    let dir = tempfile::tempdir().unwrap();
    small_state(dir.path());
    let path = dir.path().to_owned();
    let panicked = std::thread::spawn(move || {
        let mut store = open(&path).unwrap();
        import_much(&mut store, 1, &mut || panic!("on purpose")).unwrap();
    });
    assert!(panicked.join().is_err());
    assert_small_state(dir.path());
}
