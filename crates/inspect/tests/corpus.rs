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
    replay("message", mailkeep_inspect::readings::fuzz);
}
