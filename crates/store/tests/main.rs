//! The store's promises: the conformance suite, over every implementation, and what SQLite files
//! survive.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests make, break and kill what they look at, and helpers of tests are tests"
)]

mod conformance;
mod robustness;

use mailkeep_model::Realm;
use mailkeep_store::SqliteStore;

use crate::conformance::{Bench, conforms};

conforms!(sqlite_file, || {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    Bench {
        store: Box::new(SqliteStore::open(&path, Realm::Live).unwrap()),
        second: Some(Box::new(move || {
            Box::new(SqliteStore::open(&path, Realm::Live).unwrap())
        })),
        keep: Box::new(dir),
    }
});

conforms!(sqlite_in_memory, || Bench {
    store: Box::new(SqliteStore::open_in_memory(Realm::Live).unwrap()),
    second: None,
    keep: Box::new(()),
});
