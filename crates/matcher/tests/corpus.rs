//! What the fuzzers have found in versions and rows is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use mailkeep_matcher::{PackageRows, version};
use replay::replay;

#[test]
fn every_pair_of_versions_of_the_corpus_is_ordered_or_refused() {
    replay("versions", version::fuzz);
}

#[test]
fn every_row_of_the_corpus_is_read_or_called_damaged() {
    replay("index_rows", |data| {
        let mut rows = PackageRows::new();
        rows.push(0, 0, data);
        drop(rows.of(0));
    });
}
