//! Damaged files: a typed error, or the right answer, and never a panic.

use std::fs;
use std::path::Path;

use mailkeep_model::Problem;
use mailkeep_store::{FeedWriter, Space, Store, StoreError};

use super::{assert_small_state, open, small_state};
use crate::conformance::{event, feed, host, import, status};

/// Bytes of a page, as in the header of every database made here.
const PAGE: usize = 16 * 1024;

/// A state with something in every table, wholly in the database file.
fn full_state(dir: &Path) -> Vec<u8> {
    let mut store = open(dir).unwrap();
    store
        .import_feed(&feed("tracker"), &mut |writer: &mut dyn FeedWriter| {
            for n in 0..40 {
                writer.put(Space::Package, &format!("p{n}"), &[7; 2500])?;
                writer.put(Space::Vulnerability, &format!("v{n}"), b"signal")?;
            }
            writer.put(Space::Package, "large", &vec![7; 60_000])?;
            writer.problem(&Problem::new("a", "b"))?;
            Ok(status("tracker", 40))
        })
        .unwrap();
    for n in 0..20 {
        store.append_event(&event(n)).unwrap();
    }
    import(&mut store, "osv", &[("p1", "x")]).unwrap();
    drop(store);
    assert_eq!(fs::metadata(dir.join("mailkeep.db-wal")).unwrap().len(), 0);
    fs::read(dir.join("mailkeep.db")).unwrap()
}

fn use_everything(dir: &Path) -> Result<(), StoreError> {
    let mut store = open(dir)?;
    store.feeds()?;
    store.feed_problems(&feed("tracker"))?;
    store.rows(Space::Package, &["p1", "p2", "large"], &mut |_, _, _| {})?;
    store.rows(Space::Vulnerability, &["v1", "v39"], &mut |_, _, _| {})?;
    store.all_rows(Space::Package, &mut |_, _, _| {})?;
    store.all_rows(Space::Vulnerability, &mut |_, _, _| {})?;
    store.events_after(0, 100)?;
    store.scan_of(&host("mx1"))?;
    store.findings_of("fleet")?;
    store.append_event(&event(1))?;
    import(&mut store, "tracker", &[("p1", "x")])?;
    store.check_integrity()
}

/// Writes a file, as if nobody had ever had it open.
fn put(dir: &Path, bytes: &[u8]) {
    for file in ["mailkeep.db-wal", "mailkeep.db-shm", "mailkeep.writing"] {
        if dir.join(file).exists() {
            fs::remove_file(dir.join(file)).unwrap();
        }
    }
    fs::write(dir.join("mailkeep.db"), bytes).unwrap();
}

#[test]
fn flipped_bytes_never_panic_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let whole = full_state(dir.path());
    put(dir.path(), &whole);
    use_everything(dir.path()).unwrap();
    // The header and the schema byte by byte, the rest in steps that share no factor with a page.
    let places = (0..100).chain((100..whole.len()).step_by(1999));
    let mut damaged = 0;
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        put(dir.path(), &bytes);
        if let Err(error) = use_everything(dir.path()) {
            damaged += 1;
            assert!(
                ["corrupt", "newer-schema", "not-mailkeep", "read-only"].contains(&error.kind()),
                "byte {at}: {error:?}"
            );
        }
    }
    assert!(damaged > 20, "{damaged}");
}

#[test]
fn a_page_that_makes_no_sense_is_found_by_a_check() {
    let dir = tempfile::tempdir().unwrap();
    let whole = full_state(dir.path());
    for page in 1..whole.len() / PAGE {
        let mut bytes = whole.clone();
        bytes[page * PAGE..page * PAGE + 512].fill(0xa5);
        put(dir.path(), &bytes);
        // Not on the way of an ordinary start ...
        let checked = open(dir.path()).and_then(|store| store.check_integrity());
        // ... but of one after a writer that did not end well.
        fs::write(dir.path().join("mailkeep.writing"), "").unwrap();
        let opened = open(dir.path());
        if let Err(error) = checked {
            assert_eq!(error.kind(), "corrupt", "page {page}: {error:?}");
            assert_eq!(opened.unwrap_err().kind(), "corrupt", "page {page}");
        } else {
            // Pages of a long row's bytes have no structure of their own.
            opened.unwrap();
        }
    }
}

#[test]
fn a_cut_file_says_how_to_start_again() {
    let dir = tempfile::tempdir().unwrap();
    let whole = full_state(dir.path());
    for len in [
        1,
        99,
        100,
        512,
        PAGE,
        PAGE + 1,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        put(dir.path(), &whole[..len]);
        let error = use_everything(dir.path()).unwrap_err();
        assert_eq!(error.kind(), "corrupt", "{len}: {error:?}");
        let text = error.to_string();
        assert!(text.contains("move it aside (mv "), "{text}");
        assert!(text.contains("import the feeds"), "{text}");
    }
    // Made by a process that was killed before it wrote anything.
    put(dir.path(), b"");
    assert!(open(dir.path()).unwrap().feeds().unwrap().is_empty());
}

#[test]
fn a_file_of_anything_else_is_not_taken_for_a_database() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "not a database\n".repeat(2000).as_bytes());
    assert_eq!(open(dir.path()).unwrap_err().kind(), "corrupt");
}

#[test]
fn a_mark_left_behind_by_a_sound_state_goes_away() {
    let dir = tempfile::tempdir().unwrap();
    small_state(dir.path());
    fs::write(dir.path().join("mailkeep.writing"), "").unwrap();
    assert_small_state(dir.path());
    assert!(!dir.path().join("mailkeep.writing").exists());
}
