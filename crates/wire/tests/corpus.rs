//! What a client or a server may send is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn every_client_of_the_corpus_is_survived() {
    replay("smtp_client", mailkeep_wire::fuzz::client);
}

#[test]
fn every_server_of_the_corpus_is_survived() {
    replay("smtp_server", mailkeep_wire::fuzz::server);
}
