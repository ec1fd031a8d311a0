//! What the fuzzers have found in plans and windows is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use mailkeep_plan::{document, windows};
use replay::replay;

#[test]
fn every_window_of_the_corpus_is_the_planners_and_the_checkers() {
    replay("maintenance_windows", windows::fuzz);
}

#[test]
fn every_plan_of_the_corpus_is_checked_and_drawn_or_refused() {
    replay("plan_file", document::fuzz_read);
}
