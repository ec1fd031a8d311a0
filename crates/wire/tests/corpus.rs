//! What a client or a server may send is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use proptest::prelude::*;
use replay::replay;

#[test]
fn every_client_of_the_corpus_is_survived() {
    replay("smtp_client", mailkeep_wire::fuzz::client);
}

#[test]
fn every_server_of_the_corpus_is_survived() {
    replay("smtp_server", mailkeep_wire::fuzz::server);
}

#[test]
fn every_proxy_of_the_corpus_is_survived() {
    replay("smtp_proxy_header", mailkeep_wire::fuzz::proxy);
}

/// What sessions are made of, and what breaks them.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = proptest::sample::select(vec![
        "EHLO a\r\n",
        "HELO a\r\n",
        "MAIL FROM:<a@b>\r\n",
        "MAIL FROM:<> SIZE=1 BODY=8BITMIME\r\n",
        "RCPT TO:<c@d>\r\n",
        "DATA\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "QUIT\r\n",
        "BDAT 3\r\n",
        "AUTH PLAIN\r\n",
        "AUTH LOGIN c2VjcmV0\r\n",
        "AHUAcA==\r\n",
        "*\r\n",
        "A: b\r\n\r\n",
        ".\r\n",
        "\r\n.\r\n",
        "\r",
        "\n",
        "\r\n",
        ".",
        "\0",
        "\u{e9}",
        "Received: x\r\n",
        "x",
        " ",
    ]);
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_split_of_a_session_gives_the_same_steps(cut in any::<u8>(), stream in pieces()) {
        let mut data = vec![cut % 40];
        data.extend(stream);
        mailkeep_wire::fuzz::client(&data);
    }

    #[test]
    fn any_octets_of_a_client_are_survived(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        mailkeep_wire::fuzz::client(&data);
        mailkeep_wire::fuzz::server(&data);
        mailkeep_wire::fuzz::proxy(&data);
    }
}
