//! What the fuzzers have found in fleet files and inventories is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use mailkeep::feeds::deb;
use mailkeep::fleet::{self, import};
use replay::replay;

#[test]
fn every_package_file_of_the_corpus_is_survived() {
    replay("deb_package", deb::fuzz);
}

#[test]
fn every_fleet_file_of_the_corpus_is_read_or_refused() {
    replay("fleet_file", |data| drop(fleet::parse_bytes(data)));
}

#[test]
fn every_inventory_of_the_corpus_is_written_as_a_fleet_file() {
    replay("inventories", import::fuzz);
}
