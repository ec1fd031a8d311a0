//! What the fuzzers have found in fleet files, inventories and captures is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use mailkeep::feeds::deb;
use mailkeep::fleet::{self, import};
use mailkeep::shield::replay as shield_replay;
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

#[test]
fn every_capture_of_the_corpus_is_followed_within_its_limits() {
    replay("capture", shield_replay::fuzz);
}
