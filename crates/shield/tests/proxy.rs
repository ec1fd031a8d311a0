//! The shield between a client and a backend on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::panic,
    reason = "a test stops at the first surprise, and owns both ends"
)]

#[path = "proxy/behind.rs"]
mod behind;
mod bench;
#[path = "proxy/dialogues.rs"]
mod dialogues;
#[path = "proxy/endurance.rs"]
mod endurance;
#[path = "proxy/lmtp.rs"]
mod lmtp;
#[path = "proxy/names.rs"]
mod names;
#[path = "../../wire/tests/dialogue/octets.rs"]
mod octets;
#[path = "proxy/patches.rs"]
mod patches;
#[path = "proxy/place.rs"]
mod place;
#[path = "proxy/submission.rs"]
mod submission;

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use bench::{
    Backend, Client, PATIENCE, Shield, config, config_with_xclient, free_address, get, until,
};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

const OFFER: &[&str] = &[
    "PIPELINING",
    "8BITMIME",
    "SIZE 100000000",
    "DSN",
    "SMTPUTF8",
    "CHUNKING",
    "XEXCH50",
];

fn stand() -> (TempDir, Backend, Shield) {
    stand_with(OFFER, "")
}

fn stand_with(offer: &[&str], more: &str) -> (TempDir, Backend, Shield) {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(offer);
    let shield = Shield::start(directory.path(), &config(&[backend.address], more));
    (directory, backend, shield)
}

/// Before a backend that is told of clients by XCLIENT.
fn stand_with_xclient(offer: &[&str]) -> (TempDir, Backend, Shield) {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(offer);
    let text = config_with_xclient(&[backend.address], "");
    let shield = Shield::start(directory.path(), &text);
    (directory, backend, shield)
}

#[test]
fn a_message_goes_on_written_anew_and_is_acknowledged_by_the_backends_word() {
    let (_directory, backend, mut shield) = stand();
    let mut client = shield.client();
    let offered = client.ask("EHLO client.example");
    assert!(
        !offered.contains("CHUNKING") && !offered.contains("XEXCH50"),
        "{offered}"
    );
    assert!(
        offered.contains("SIZE 52428800") && offered.contains("DSN"),
        "{offered}"
    );
    assert_eq!(
        client.ask("mail FROM: <a@client.example> body=8bitmime ret=hdrs"),
        "250 2.1.0 sender fine\r\n"
    );
    assert_eq!(
        client.ask("RCPT TO:<b@site.example> NOTIFY=NEVER"),
        "250 2.1.5 recipient fine\r\n"
    );
    assert!(client.ask("DATA").starts_with("354 "));
    client.send(b"Subject: caf\xc3\xa9\r\n\r\n..dot\r\n. \r\nend\r\n.\r\n");
    assert_eq!(client.reply(), "250 2.0.0 queued as 1\r\n");
    assert_eq!(client.ask("QUIT"), "221 2.0.0 goodbye\r\n");

    let taken = backend.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(
        taken[0].mail,
        "MAIL FROM:<a@client.example> BODY=8BITMIME RET=HDRS"
    );
    assert_eq!(
        taken[0].recipients,
        ["RCPT TO:<b@site.example> NOTIFY=NEVER"]
    );
    let text = String::from_utf8(taken[0].wire.clone()).unwrap();
    let (received, rest) = text.split_once("\r\nSubject:").unwrap();
    assert!(
        received.starts_with("Received: from client.example ([127.0.0.1])\r\n\tby shield.example "),
        "{received}"
    );
    assert_eq!(rest, " caf\u{e9}\r\n\r\n..dot\r\n \r\nend\r\n");

    let line = shield.event("message");
    assert_eq!(line["verdict"], "accept");
    assert_eq!(line["backend"], backend.address.to_string());
    assert!(received.contains(line["trace"].as_str().unwrap()));
    assert!(
        !line.to_string().contains("a@client.example"),
        "no address is logged"
    );
}

#[test]
fn nothing_is_acknowledged_before_the_backend_has_it() {
    let (_directory, backend, shield) = stand();
    backend.orders.lock().unwrap().holds = true;
    let mut client = shield.client();
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    backend.until(|orders| orders.taken.len() == 1);
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert_eq!(client.reply(), "", "the backend has not answered yet");
    backend.orders.lock().unwrap().holds = false;
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.reply(), "250 2.0.0 queued as 1\r\n");
}

#[test]
fn whatever_the_backend_fails_at_the_sender_keeps_the_message() {
    for (command, answer) in [
        (".", ""),
        (".", "250 fine\n"),
        (".", "garbage\r\n"),
        (".", "250-fine\r\n251 fine\r\n"),
        (".", "421 4.3.2 going down\r\n"),
        (".", "354 what\r\n"),
        ("DATA", "250 what\r\n"),
        ("DATA", "421 4.3.2 going down\r\n"),
    ] {
        let (_directory, backend, mut shield) = stand();
        backend.answer(command, answer);
        let mut client = shield.client();
        client.begin();
        client.send(b"A: b\r\n\r\n.\r\n");
        let reply = client.reply();
        assert!(
            reply.starts_with("451 4.4.1 "),
            "{command:?} {answer:?}: {reply}"
        );
        assert_eq!(shield.event("message")["verdict"], "tempfail");
        assert!(
            client.ask("NOOP").starts_with("250 "),
            "the session goes on"
        );
    }
}

#[test]
fn an_answer_that_nobody_asked_for_acknowledges_nothing() {
    for command in ["RCPT", "DATA"] {
        let (_directory, backend, shield) = stand();
        let mut client = shield.client();
        client.ask("EHLO client.example");
        assert!(client.ask("MAIL FROM:<>").starts_with("250 "));
        let answer = if command == "DATA" {
            "354 go\r\n250 2.0.0 early\r\n"
        } else {
            "250 fine\r\n354 go\r\n250 2.0.0 early\r\n"
        };
        backend.answer(command, answer);
        client.ask("RCPT TO:<c@d>");
        assert!(client.ask("DATA").starts_with("354 "));
        client.send(b"A: b\r\n\r\n.\r\n");
        let reply = client.reply();
        assert!(reply.starts_with("451 4.4.1 "), "{command}: {reply}");
    }
}

#[test]
fn a_client_whom_the_backend_refuses_takes_it_from_nobody_else() {
    let (_directory, backend, shield) = stand_with_xclient(&["XCLIENT ADDR"]);
    backend.answer("EHLO bad.example", "550 5.7.1 not with that name\r\n");
    let mut bad = shield.client();
    assert!(bad.ask("EHLO bad.example").starts_with("250-"));
    assert_eq!(bad.ask("MAIL FROM:<>"), "550 5.7.1 not with that name\r\n");
    let mut other = shield.client();
    other.begin();
    other.send(b"A: b\r\n\r\n.\r\n");
    assert!(other.reply().starts_with("250 "));
}

#[test]
fn a_backend_that_is_lost_at_any_command_is_a_temporary_failure() {
    for command in ["MAIL", "RCPT"] {
        let (_directory, backend, shield) = stand();
        backend.answer(command, "");
        let mut client = shield.client();
        client.send(b"EHLO client.example\r\n");
        client.reply();
        // Pipelined, as most do: no answer may be a permanent one for the recipient.
        client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n");
        let replies = [client.reply(), client.reply(), client.reply()];
        // What follows a MAIL that was refused for now is out of order, and no word on a recipient.
        let (first, others) = if command == "MAIL" {
            ("451", "503 5.5.1 ")
        } else {
            ("250", "451 4.4.1 ")
        };
        assert!(replies[0].starts_with(first), "{replies:?}");
        assert!(
            replies[1].starts_with(others) && replies[2].starts_with(others),
            "{replies:?}"
        );
    }
}

#[test]
fn a_refusal_of_the_backend_reaches_the_sender_with_its_reason() {
    let (_directory, backend, shield) = stand();
    backend.answer("RCPT TO:<no@", "550-5.1.1 no such\r\n550 5.1.1 user\r\n");
    backend.answer("RCPT TO:<bare@", "550\r\n");
    backend.answer(".", "554 5.7.1 not wanted\r\n");
    let mut client = shield.client();
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert_eq!(client.reply(), "554 5.7.1 not wanted\r\n");
    assert!(client.ask("MAIL FROM:<>").starts_with("250 "));
    assert_eq!(
        client.ask("RCPT TO:<no@site.example>"),
        "550-5.1.1 no such\r\n550 5.1.1 user\r\n"
    );
    assert_eq!(
        client.ask("RCPT TO:<bare@site.example>"),
        "550 5.0.0 no reason given\r\n"
    );
}

#[test]
fn a_smuggled_message_never_reaches_the_backend() {
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r\n.\r",
        "\r\n\0.\r\n",
    ] {
        let (_directory, backend, mut shield) = stand();
        let mut client = shield.client();
        client.begin();
        let smuggled = format!(
            "A: b\r\n\r\nx{end}MAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nB: c\r\n\r\n.\r\n"
        );
        client.send(smuggled.as_bytes());
        let reply = client.reply();
        assert!(reply.starts_with("550 5.6.0 "), "{end:?}: {reply}");
        let line = shield.event("message");
        assert!(reply.contains(line["trace"].as_str().unwrap()), "{reply}");
        drop(client);
        shield.event("session");
        assert_eq!(backend.taken(), []);
        assert!(!backend.commands().iter().any(|line| line.contains("evil")));
    }
}

#[test]
fn bare_line_feeds_of_a_trusted_network_become_line_ends_of_one_message() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    let exception = "[[exception]]\nrule = \"bare-lf-in-content\"\naction = \"monitor\"\nnetworks = [\"127.0.0.0/8\"]\n";
    let text = config(&[backend.address], "") + exception;
    let mut shield = Shield::start(directory.path(), &text);
    let mut client = shield.client();
    client.begin();
    client.send(b"A: b\n\nfirst\n.\nMAIL FROM:<evil@b>\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    let taken = backend.taken();
    assert_eq!(taken.len(), 1);
    assert!(
        taken[0]
            .wire
            .ends_with(b"A: b\r\n\r\nfirst\r\n..\r\nMAIL FROM:<evil@b>\r\n\r\n")
    );
    assert_eq!(shield.event("monitored")["rule"], "bare-lf-in-content");
}

#[test]
fn a_large_message_goes_through_the_spool_unchanged() {
    let (directory, backend, shield) = stand_with(OFFER, "[limits]\nmemory_per_message = 1000\n");
    let mut client = shield.client();
    client.begin();
    let mut body = String::from("A: b\r\n\r\n");
    for nth in 0..60_000 {
        body.push_str(&format!("line {nth} .\r\n"));
    }
    client.send(body.as_bytes());
    client.send(b".\r\n");
    assert!(client.reply().starts_with("250 "));
    let wire = backend.taken()[0].wire.clone();
    assert!(wire.ends_with(body.as_bytes()));
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        1,
        "the spool has no names"
    );
}

#[test]
fn a_spool_that_cannot_be_written_is_a_temporary_failure() {
    let more = "spool = \"/proc/no-such-directory\"\n[limits]\nmemory_per_message = 1000\n";
    let (_directory, backend, shield) = stand_with(OFFER, more);
    let mut client = shield.client();
    client.begin();
    client.send("a".repeat(40_000).as_bytes());
    client.send(b"\r\n.\r\n");
    assert!(client.reply().starts_with("451 "));
    assert_eq!(backend.taken(), []);
    // And what stays in memory goes on.
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
}

#[test]
fn a_backend_that_hung_up_on_a_slow_client_is_asked_anew() {
    let (_directory, backend, shield) = stand();
    let mut client = shield.client();
    client.begin();
    backend.answer_once("DATA", "");
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    assert_eq!(backend.taken().len(), 1);
    let commands = backend.commands();
    let mails = commands.iter().filter(|line| line.starts_with("MAIL"));
    assert_eq!(mails.count(), 2);
}

#[test]
fn the_backend_is_told_of_the_client_where_it_listens() {
    let (_directory, backend, shield) = stand_with_xclient(&["XCLIENT NAME ADDR PORT PROTO HELO"]);
    let mut client = shield.client();
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    let port = client.stream.local_addr().unwrap().port();
    let told = format!("XCLIENT NAME=[TEMPUNAVAIL] ADDR=127.0.0.1 PORT={port} PROTO=ESMTP");
    let commands = backend.commands();
    let at = commands.iter().position(|line| *line == told).unwrap();
    assert_eq!(commands[at + 1], "EHLO client.example");
    assert_eq!(
        backend.taken()[0].wire,
        b"A: b\r\n\r\n",
        "the backend writes the trace header"
    );
}

#[test]
fn without_a_backend_clients_are_told_to_come_again_and_can() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    backend.answer("EHLO", "");
    let mut shield = Shield::start(directory.path(), &config(&[backend.address], ""));
    let mut client = Client::connect(shield.address());
    assert!(client.reply().starts_with("421 4.3.2 "));
    backend.orders.lock().unwrap().answers.clear();
    shield.event("backend-up");
    shield.client().begin();
}

#[test]
fn another_backend_takes_over() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (Backend::start(OFFER), Backend::start(OFFER));
    let shield = Shield::start(directory.path(), &config(&[one.address, other.address], ""));
    one.answer("EHLO", "");
    for _ in 0..4 {
        let mut client = shield.client();
        client.begin();
        client.send(b"A: b\r\n\r\n.\r\n");
        assert!(client.reply().starts_with("250 "));
    }
    assert_eq!(other.taken().len(), 4);
}

#[test]
fn who_speaks_too_early_or_in_tongues_is_shown_out() {
    let (_directory, _backend, mut shield) = stand_with(OFFER, "[limits]\ngreet_delay_ms = 300\n");
    let mut client = Client::connect(shield.address());
    client.send(b"EHLO client.example\r\n");
    assert!(client.reply().starts_with("554 5.5.0 "));
    assert_eq!(client.reply(), "");
    assert_eq!(shield.event("refused")["rule"], "talks-before-banner");
    let mut client = shield.client();
    assert!(client.ask("GET / HTTP/1.1").starts_with("521 5.5.1 "));
    assert_eq!(client.reply(), "");
}

#[test]
fn sessions_are_bounded() {
    let (_directory, _backend, shield) = stand_with(OFFER, "[limits]\nsessions_per_client = 2\n");
    let (_one, two) = (shield.client(), shield.client());
    let mut third = Client::connect(shield.address());
    assert!(third.reply().starts_with("421 4.7.0 "));
    drop(two);
    until(|| {
        let mut client = Client::connect(shield.address());
        client.reply().starts_with("220 ")
    });
}

#[test]
fn ipv6_has_a_listener_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    let text = config(&[backend.address], "").replace("127.0.0.1:0", "[::1]:0");
    let shield = Shield::start(directory.path(), &text);
    let mut client = shield.client();
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    let wire = String::from_utf8(backend.taken()[0].wire.clone()).unwrap();
    assert!(wire.contains("([IPv6:::1])"), "{wire}");
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let notified = UnixDatagram::bind(&socket).unwrap();
    notified.set_read_timeout(Some(PATIENCE)).unwrap();
    let backend = Backend::start(OFFER);
    let path = socket.to_str().unwrap();
    let mut shield = Shield::start_with(
        directory.path(),
        &config(&[backend.address], ""),
        &[("NOTIFY_SOCKET", path)],
    );
    let mut said = [0; 64];
    let count = notified.recv(&mut said).unwrap();
    assert_eq!(&said[..count], b"READY=1");
    shield.signal(Signal::TERM);
    let count = notified.recv(&mut said).unwrap();
    assert_eq!(&said[..count], b"STOPPING=1");
    assert!(shield.wait().success());
}

#[test]
fn on_sigterm_idle_clients_are_told_and_a_message_comes_to_its_end() {
    let (_directory, backend, mut shield) = stand();
    let mut idle = shield.client();
    let mut busy = shield.client();
    busy.begin();
    busy.send(b"A: b\r\n\r\n");
    shield.signal(Signal::TERM);
    assert!(idle.reply().starts_with("421 4.3.2 "));
    // Nobody new is let in.
    until(|| TcpStream::connect(shield.address()).is_err());
    busy.send(b"x\r\n.\r\n");
    assert!(busy.reply().starts_with("250 "));
    assert!(busy.reply().starts_with("421 "));
    assert!(shield.wait().success());
    assert_eq!(backend.taken().len(), 1);
    assert_eq!(shield.event("stopped")["sessions_cut"], 0);
}

#[test]
fn counters_are_served_for_prometheus() {
    // The port is not told, so one is chosen.
    let free = free_address();
    let (_directory, _backend, shield) = stand_with(OFFER, &format!("metrics = \"{free}\""));
    let mut client = shield.client();
    assert!(client.ask("BDAT 1").starts_with("502 5.5.1 "));
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    let text = get(free, "/metrics");
    for line in [
        "mailkeep_shield_messages_total{verdict=\"accept\"} 1",
        "mailkeep_shield_rule_total{rule=\"chunking\",family=\"G6\",action=\"refuse\"} 1",
        "mailkeep_shield_sessions 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn who_is_silent_at_the_metrics_address_keeps_nobody_from_the_state() {
    let free = free_address();
    let (_directory, _backend, _shield) = stand_with(OFFER, &format!("metrics = \"{free}\""));
    let silent: Vec<_> = (0..8)
        .map(|_| std::net::TcpStream::connect(free).unwrap())
        .collect();
    let began = std::time::Instant::now();
    assert!(get(free, "/status").starts_with('{'));
    // Each of them may be so for five seconds.
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(silent);
}

#[test]
fn a_recipient_with_more_than_the_backend_offers_now_is_to_come_again() {
    let (_directory, backend, shield) = stand_with(&["DSN"], "");
    let mut client = shield.client();
    assert!(client.ask("EHLO client.example").contains("250-DSN\r\n"));
    backend.orders.lock().unwrap().offer = Vec::new();
    let refused = "555 5.5.4 unsupported\r\n";
    backend.answer("RCPT TO:<b@backend.example> NOTIFY", refused);
    assert!(client.ask("MAIL FROM:<a@b.example>").starts_with("250 "));
    let reply = client.ask("RCPT TO:<b@backend.example> NOTIFY=NEVER");
    assert!(reply.starts_with("451 "), "{reply}");
    let reply = client.ask("RCPT TO:<b@backend.example>");
    assert!(reply.starts_with("250 "), "{reply}");
}

/// A certificate for `shield.example` in a directory, as PEM files.
fn certificate(directory: &std::path::Path, name: &str) -> String {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    std::fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

fn tls_config(directory: &std::path::Path, backend: &Backend) -> String {
    let at = directory.display();
    let listener = format!("certificate = \"{at}/cert.pem\"\nkey = \"{at}/key.pem\"\n[[backend]]");
    config(&[backend.address], "").replace("[[backend]]", &listener)
}

fn secure(
    mut client: Client,
    root: &str,
) -> std::io::Result<Client<StreamOwned<ClientConnection, TcpStream>>> {
    assert!(client.ask("EHLO client.example").contains("STARTTLS"));
    assert!(client.ask("STARTTLS").starts_with("220 "));
    over_tls(client.stream, root)
}

fn over_tls(
    stream: TcpStream,
    root: &str,
) -> std::io::Result<Client<StreamOwned<ClientConnection, TcpStream>>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("shield.example").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(Client { stream })
}

#[test]
fn starttls_begins_anew_and_its_certificate_is_read_again_on_sighup() {
    let directory = tempfile::tempdir().unwrap();
    let old = certificate(directory.path(), "shield.example");
    let backend = Backend::start(OFFER);
    let mut shield = Shield::start(directory.path(), &tls_config(directory.path(), &backend));
    let mut client = secure(shield.client(), &old).unwrap();
    assert!(
        client.ask("MAIL FROM:<>").starts_with("503 "),
        "EHLO was forgotten"
    );
    assert!(!client.ask("EHLO client.example").contains("STARTTLS"));
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    let wire = String::from_utf8(backend.taken()[0].wire.clone()).unwrap();
    assert!(wire.contains("with ESMTPS id"), "{wire}");

    // A broken file changes nothing; a good one holds for whoever comes next, and ends nobody's session.
    std::fs::write(directory.path().join("cert.pem"), "nothing").unwrap();
    shield.signal(Signal::HUP);
    shield.event("reload-refused");
    secure(shield.client(), &old).unwrap();
    let new = certificate(directory.path(), "shield.example");
    shield.signal(Signal::HUP);
    shield.event("reloaded");
    secure(shield.client(), &new).unwrap();
    assert!(secure(shield.client(), &old).is_err());
    assert!(client.ask("NOOP").starts_with("250 "));
}

#[test]
fn octets_behind_starttls_end_the_session() {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path(), "shield.example");
    let backend = Backend::start(OFFER);
    let mut shield = Shield::start(directory.path(), &tls_config(directory.path(), &backend));
    let mut client = shield.client();
    client.ask("EHLO client.example");
    client.send(b"STARTTLS\r\nEHLO injected\r\n");
    assert!(client.reply().starts_with("554 5.5.0 "));
    assert_eq!(client.reply(), "");
    assert_eq!(shield.event("refused")["rule"], "starttls-injection");
}

#[test]
fn every_line_of_the_log_is_one_object_with_a_time_and_sessions_have_a_trace() {
    let (_directory, _backend, mut shield) = stand();
    let mut client = shield.client();
    client.ask("ETRN x\u{7f}");
    drop(client);
    shield.event("session");
    for line in &shield.log {
        assert!(
            line["time"].is_string() && line["event"].is_string(),
            "{line}"
        );
        let of_session = ["refused", "message", "monitored", "session"].map(Value::from);
        assert!(
            !of_session.contains(&line["event"]) || line["trace"].is_string(),
            "{line}"
        );
    }
}
