//! What strangers may send is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn every_message_of_the_corpus_is_survived() {
    replay("from_header", mailkeep_inspect::from::fuzz);
    replay("message", mailkeep_inspect::readings::fuzz);
}

#[test]
fn every_bundle_and_signature_of_the_corpus_is_survived() {
    replay("bundle", mailkeep_inspect::rules::fuzz_bundle);
    replay("bundle_signature", mailkeep_inspect::rules::fuzz_signature);
}

#[test]
fn no_record_of_a_log_of_suricata_is_lost() {
    replay("eve", mailkeep_inspect::rules::fuzz_eve);
}

#[test]
fn virtual_patches_find_the_same_alone_and_beside_each_other() {
    replay("patch_rules", mailkeep_inspect::rules::fuzz_condition);
}

#[test]
fn every_record_of_a_kept_message_is_written_as_it_was_read() {
    replay("small_texts", mailkeep_inspect::kept::fuzz);
}
