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

/// Octets that are lost or changed on the way, by a sequence that is always the same.
#[test]
fn damaged_captures_are_followed_within_their_limits() {
    let mut state = 0x9e37_79b9_u32;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as usize % below.max(1)
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/capture");
    for file in std::fs::read_dir(folder).unwrap() {
        let whole = std::fs::read(file.unwrap().path()).unwrap();
        for _ in 0..100 {
            let mut octets = whole.clone();
            for _ in 0..=next(4) {
                let at = next(octets.len());
                match next(4) {
                    0 => octets.truncate(at),
                    1 => drop(octets.splice(at..octets.len().min(at + next(60)), [])),
                    2 => octets.insert(at, u8::try_from(next(256)).unwrap()),
                    _ => {
                        if let Some(octet) = octets.get_mut(at) {
                            *octet ^= 1 << next(8);
                        }
                    }
                }
            }
            shield_replay::fuzz(&octets);
        }
    }
}
