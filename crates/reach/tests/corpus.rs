//! What the fuzzers have found in keys, checksums and replies is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use mailkeep_reach::{fetch, hosts, probe};
use replay::replay;

#[test]
fn every_answer_about_probes_of_the_corpus_is_survived() {
    replay("probe_answers", probe::fuzz);
}

#[test]
fn every_small_text_of_the_corpus_is_survived_as_checksums_key_status_and_answer_of_ssh() {
    replay("small_texts", |data| {
        drop(fetch::parse_checksums(data));
        drop(fetch::dearmor_key(data));
        drop(fetch::read_status(data));
        hosts::fuzz(data);
    });
}
