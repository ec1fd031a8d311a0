//! What the fuzzers have found in answers, journals and recipes is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use mailkeep_rollout::host::{answer, dialogue};
use mailkeep_rollout::{ledger, recipe};
use replay::replay;

#[test]
fn every_answer_of_a_host_of_the_corpus_is_survived() {
    replay("host_answer", answer::fuzz);
}

#[test]
fn every_answer_of_a_dialogue_of_the_corpus_is_survived() {
    replay("maintenance_dialogue", dialogue::fuzz);
}

#[test]
fn every_journal_of_probes_of_the_corpus_adds_up() {
    replay("probe_journal", ledger::fuzz);
}

#[test]
fn every_recipe_of_the_corpus_is_read_or_refused() {
    replay("recipe", recipe::fuzz);
}
