//! Handing a probe in: what is certain about it, however the other side behaves. Finding it again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mailkeep_reach::hosts::RunLimits;
use mailkeep_reach::probe::{
    Arrivals, Cover, HandIn, Probe, ProbeLimits, ProbeServer, arrived_locally, greets, hand_in,
};

/// What a server says, and when it goes away.
#[derive(Clone, Copy)]
enum Says {
    /// To the connection, or to the next command.
    Reply(&'static str),
    /// To the final dot.
    Dot(&'static str),
    /// It reads all of the message and closes without a word.
    CloseAfterDot,
    /// It closes.
    Close,
    /// It says nothing until the client gives up.
    Silence,
}

/// A server of one connection; gives back every line it got.
fn server(script: &'static [Says]) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        let mut got = Vec::new();
        let mut read = |got: &mut Vec<String>| {
            let mut line = String::new();
            let count = reader.read_line(&mut line).unwrap_or(0);
            got.push(line.trim_end().to_owned());
            count > 0
        };
        for (at, says) in script.iter().enumerate() {
            if at > 0 && matches!(says, Says::Reply(_)) {
                read(&mut got);
            }
            match says {
                Says::Reply(reply) => stream.write_all(reply.as_bytes()).unwrap(),
                Says::Dot(reply) => {
                    while read(&mut got) && got.last().unwrap() != "." {}
                    stream.write_all(reply.as_bytes()).unwrap();
                }
                Says::CloseAfterDot => {
                    while read(&mut got) && got.last().unwrap() != "." {}
                    return got;
                }
                Says::Close => return got,
                Says::Silence => {
                    while read(&mut got) {}
                    return got;
                }
            }
        }
        read(&mut got);
        got
    });
    (port, thread)
}

fn probe() -> Probe {
    Probe {
        from: "probe@example.org".to_owned(),
        to: "sink@example.net".to_owned(),
        id: "mailkeep-0a1b2c3d-inbound-mx-17@example.org".to_owned(),
        subject: "mailkeep probe 17 of inbound-mx".to_owned(),
        date: "2026-11-21T10:00:00Z".parse().unwrap(),
    }
}

fn limits() -> ProbeLimits {
    ProbeLimits {
        connect: Duration::from_secs(5),
        total: Duration::from_secs(10),
    }
}

fn hand(port: u16, limits: ProbeLimits) -> HandIn {
    let server = ProbeServer {
        address: "127.0.0.1".to_owned(),
        port,
        hello: "controller.example.org".to_owned(),
    };
    hand_in(&server, &probe(), limits)
}

use Says::{Close, CloseAfterDot, Dot, Reply, Silence};

const READY: Says = Reply("220 mx1 ESMTP\r\n");
const OK: Says = Reply("250 2.1.0 Ok\r\n");
const HELLO: Says = Reply("250-mx1\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n");
const GO: Says = Reply("354 End data with <CR><LF>.<CR><LF>\r\n");

fn refusal(outcome: HandIn) -> String {
    match outcome {
        HandIn::Refused { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_accepted_message_is_whole_and_asks_for_no_answer() {
    let (port, server) = server(&[READY, HELLO, OK, OK, GO, Dot("250 2.0.0 queued as 4F\r\n")]);
    assert_eq!(
        hand(port, limits()),
        HandIn::Accepted {
            reply: "250 2.0.0 queued as 4F".to_owned(),
            cover: Cover::Plain,
        }
    );
    let got = server.join().unwrap();
    assert_eq!(
        got[..4],
        [
            "EHLO controller.example.org",
            "MAIL FROM:<probe@example.org>",
            "RCPT TO:<sink@example.net>",
            "DATA"
        ]
    );
    for line in [
        "Message-ID: <mailkeep-0a1b2c3d-inbound-mx-17@example.org>",
        "Date: Sat, 21 Nov 2026 10:00:00 +0000",
        "Auto-Submitted: auto-generated",
        "QUIT",
    ] {
        assert!(got.iter().any(|seen| seen == line), "{line}: {got:?}");
    }
}

#[test]
fn a_connection_that_ends_before_the_final_dot_is_a_refusal() {
    for (script, what) in [
        (&[Close][..], "greeting"),
        (&[READY, HELLO, Close], "MAIL FROM"),
        (&[READY, HELLO, OK, OK, Close], "DATA"),
        (&[Reply("421 4.3.2 draining\r\n")], "421 4.3.2 draining"),
        (
            &[READY, HELLO, OK, Reply("451 4.7.1 greylisted\r\n")],
            "RCPT TO: 451",
        ),
        (
            &[READY, HELLO, Reply("530 5.7.0 STARTTLS first\r\n")],
            "530",
        ),
        (
            &[READY, HELLO, OK, OK, GO, Dot("452 4.3.1 full\r\n")],
            "final dot: 452",
        ),
        (&[Reply("SSH-2.0-OpenSSH_10\r\n")], "no SMTP reply"),
        (&[Reply("220-\u{1b}[31m\r\nx\r\n")], "no SMTP reply"),
    ] {
        let (port, server) = server(script);
        let why = refusal(hand(port, limits()));
        assert!(why.contains(what), "{what}: {why}");
        assert!(!why.contains('\u{1b}'), "{why}");
        server.join().unwrap();
    }
}

#[test]
fn a_port_that_nobody_listens_on_is_a_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert!(refusal(hand(port, limits())).starts_with("connect: "));
}

#[test]
fn a_connection_that_ends_after_the_final_dot_leaves_it_unknown() {
    for script in [
        &[READY, HELLO, OK, OK, GO, CloseAfterDot][..],
        &[READY, HELLO, OK, OK, GO, Dot("nonsense\r\n")],
    ] {
        let (port, server) = server(script);
        let outcome = hand(port, limits());
        assert!(matches!(outcome, HandIn::Unknown { .. }), "{outcome:?}");
        server.join().unwrap();
    }
}

#[test]
fn silence_ends_in_time() {
    let soon = ProbeLimits {
        connect: Duration::from_millis(200),
        total: Duration::from_millis(200),
    };
    let (port, silent) = server(&[Silence]);
    let why = refusal(hand(port, soon));
    assert!(why.contains("time"), "{why}");
    silent.join().unwrap();
}

#[test]
fn a_server_without_ehlo_is_greeted_the_old_way() {
    let (port, server) = server(&[
        READY,
        Reply("502 what?\r\n"),
        Reply("250 mx1\r\n"),
        OK,
        OK,
        GO,
        Dot("250 ok\r\n"),
    ]);
    assert!(matches!(hand(port, limits()), HandIn::Accepted { .. }));
    let got = server.join().unwrap();
    assert_eq!(got[1], "HELO controller.example.org");
}

#[test]
fn only_what_a_server_refuses_for_good_is_refused_for_good() {
    const SHUT: Says = Reply("421 4.3.2 draining\r\n");
    const GREYLISTED: Says = Reply("450 4.2.0 Greylisted\r\n");
    const NO_RELAY: Says = Reply("554 5.7.1 Relay access denied\r\n");
    for (script, lasts) in [
        (&[SHUT][..], false),
        (&[READY, HELLO, OK, GREYLISTED], false),
        (&[READY, HELLO, OK, NO_RELAY], true),
        (&[Close], false),
    ] {
        let (port, _) = server(script);
        let HandIn::Refused { for_good, why } = hand(port, limits()) else {
            panic!("it is refused");
        };
        assert_eq!(for_good, lasts, "{why}");
    }
}

#[test]
fn a_server_greets_or_does_not() {
    let greeted = |port: u16| {
        let server = ProbeServer {
            address: "127.0.0.1".to_owned(),
            port,
            hello: "controller.example.org".to_owned(),
        };
        greets(&server, limits())
    };
    let (port, thread) = server(&[READY, HELLO]);
    assert_eq!(greeted(port), Ok(()));
    assert_eq!(
        thread.join().unwrap(),
        ["EHLO controller.example.org", "QUIT"]
    );
    let (port, _) = server(&[READY, Close]);
    assert!(greeted(port).is_err());
    let (port, _) = server(&[Reply("421 4.3.2 draining\r\n")]);
    assert_eq!(
        greeted(port),
        Err("greeting: 421 4.3.2 draining".to_owned())
    );
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    assert!(greeted(nobody).unwrap_err().starts_with("connect: "));
}

/// What a server that offers STARTTLS makes of it.
#[derive(Clone, Copy, PartialEq)]
enum Upgrade {
    Works,
    Refused,
    Garbage,
    /// Words in clear, right behind its 220.
    Injected,
    /// Not a word after its 220.
    Hangs,
    /// It closes once TLS stands.
    Leaves,
    /// 454, and then nothing without TLS.
    Insists,
}

/// A server that serves connections until a message was taken; gives back all commands, those under TLS
/// marked.
fn secured(
    upgrade: Upgrade,
    certificate: &common::TestCertificate,
) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::clone(&certificate.config);
    let thread = thread::spawn(move || {
        let mut got = Vec::new();
        loop {
            let mut stream = common::accept(&listener);
            stream.write_all(b"220 mx1 ESMTP\r\n").unwrap();
            if commands(&mut stream, Some(upgrade), "", &mut got) {
                return got;
            }
            match upgrade {
                Upgrade::Works => {
                    let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                    let mut stream = rustls::StreamOwned::new(connection, stream);
                    if commands(&mut stream, None, "tls ", &mut got) {
                        return got;
                    }
                }
                Upgrade::Garbage => drop(stream.write_all(b"no handshake at all\r\n")),
                Upgrade::Hangs => drop(stream.read_to_end(&mut Vec::new())),
                Upgrade::Leaves => {
                    let mut connection =
                        rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                    drop(connection.complete_io(&mut stream));
                }
                Upgrade::Refused | Upgrade::Injected | Upgrade::Insists => {}
            }
        }
    });
    (port, thread)
}

/// Answers commands; whether a message was taken, else STARTTLS was said or the client is gone.
fn commands(
    stream: &mut (impl Read + Write),
    upgrade: Option<Upgrade>,
    mark: &str,
    got: &mut Vec<String>,
) -> bool {
    let (mut in_data, mut taken) = (false, false);
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) => line.push(byte[0]),
                _ => return taken,
            }
        }
        let line = String::from_utf8(line).unwrap().trim_end().to_owned();
        if in_data {
            in_data = line != ".";
            taken |= !in_data;
            if taken {
                stream.write_all(b"250 2.0.0 queued\r\n").unwrap();
            }
            continue;
        }
        got.push(format!("{mark}{line}"));
        let answer: &[u8] = match (line.split(' ').next().unwrap(), upgrade) {
            ("EHLO", Some(_)) => b"250-mx1\r\n250-starttls\r\n250 SMTPUTF8\r\n",
            ("MAIL", Some(Upgrade::Insists)) => b"530 5.7.0 Must issue STARTTLS first\r\n",
            ("STARTTLS", Some(Upgrade::Refused | Upgrade::Insists)) => b"454 4.7.0 not now\r\n",
            ("STARTTLS", Some(Upgrade::Injected)) => b"220 go\r\n250 you are welcome\r\n",
            ("STARTTLS", _) => b"220 go\r\n",
            ("DATA", _) => b"354 go on\r\n",
            _ => b"250 ok\r\n",
        };
        in_data = line == "DATA";
        stream.write_all(answer).unwrap();
        stream.flush().unwrap();
        if line == "STARTTLS" {
            return false;
        }
    }
}

#[test]
fn where_starttls_is_offered_a_message_goes_under_tls_and_the_certificate_is_on_record() {
    // For nobody that the client knows, under a name that is not the server's.
    let certificate = common::certificate(&["somebody.example"]);
    let (port, server) = secured(Upgrade::Works, &certificate);
    let HandIn::Accepted { cover, .. } = hand(port, limits()) else {
        panic!("it is not taken");
    };
    let Cover::Tls {
        version,
        certificate: digest,
    } = cover
    else {
        panic!("{cover:?}");
    };
    assert_eq!((version, digest.len()), ("TLSv1.3", 64));
    let got = server.join().unwrap();
    assert_eq!(
        got[..4],
        [
            "EHLO controller.example.org",
            "STARTTLS",
            "tls EHLO controller.example.org",
            "tls MAIL FROM:<probe@example.org>"
        ]
    );
}

#[test]
fn where_starttls_fails_a_message_goes_without_and_that_is_on_record() {
    let certificate = common::certificate(&["mx1.example"]);
    for (upgrade, says) in [
        (Upgrade::Refused, "454"),
        (Upgrade::Garbage, ""),
        (Upgrade::Injected, "more was said before TLS"),
        (Upgrade::Hangs, "time"),
        (Upgrade::Leaves, "EHLO under TLS"),
    ] {
        let (port, server) = secured(upgrade, &certificate);
        let outcome = hand(port, limits());
        let HandIn::Accepted { cover, .. } = outcome else {
            panic!("it is not taken: {outcome:?}");
        };
        let Cover::Failed { why } = cover else {
            panic!("{cover:?}");
        };
        assert!(why.contains(says), "{why}");
        let got = server.join().unwrap();
        assert_eq!(
            got[2..4],
            [
                "EHLO controller.example.org",
                "MAIL FROM:<probe@example.org>"
            ]
        );
    }
}

#[test]
fn who_takes_nothing_without_tls_does_not_refuse_for_good_while_tls_fails() {
    let certificate = common::certificate(&["mx1.example"]);
    let (port, _) = secured(Upgrade::Insists, &certificate);
    let HandIn::Refused { why, for_good } = hand(port, limits()) else {
        panic!("it is taken");
    };
    assert!(!for_good, "{why}");
    assert!(why.contains("530") && why.contains("454"), "{why}");
}

#[test]
fn nothing_unfit_for_smtp_is_sent() {
    let server = ProbeServer {
        address: "127.0.0.1".to_owned(),
        port: 1,
        hello: "a".to_owned(),
    };
    for bad in ["a b@c", "a@b>\r\nRCPT TO:<x@y", "", "a\u{e9}@b"] {
        let mut unfit = probe();
        unfit.to = bad.to_owned();
        let why = refusal(hand_in(&server, &unfit, limits()));
        assert!(why.starts_with("before connecting"), "{why}");
    }
}

const PREFIX: &str = "mailkeep-0a1b2c3d-inbound-mx-";

fn look(mailbox: &Path, from: u64) -> Arrivals {
    arrived_locally(
        mailbox.to_str().unwrap(),
        PREFIX,
        from,
        RunLimits::default(),
    )
    .unwrap()
}

fn message(number: u64) -> String {
    format!(
        "Return-Path: <probe@example.org>\nReceived: from x\nMessage-Id: <{PREFIX}{number}@example.org>\n\
         Subject: s\n\nbody\n"
    )
}

#[test]
fn probes_are_found_in_an_mbox_and_copies_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sink");
    assert_eq!(look(&path, 0), Arrivals::default(), "not there yet");
    let mut text = String::new();
    for number in [1, 2, 2, 5] {
        text.push_str("From probe@example.org Sat Nov 21 10:00:00 2026\n");
        text.push_str(&message(number));
        text.push('\n');
    }
    // Another's probe, and one that is only quoted.
    text.push_str(
        "From x Sat Nov 21 10:00:00 2026\nMessage-ID: <mailkeep-ffffffff-inbound-mx-9@x>\n\n",
    );
    text.push_str("Message-ID: <");
    text.push_str(PREFIX);
    text.push_str("8@example.org>\n\n");
    std::fs::write(&path, text).unwrap();
    assert_eq!(
        look(&path, 0).copies,
        BTreeMap::from([(1, 1), (2, 2), (5, 1)])
    );
    assert_eq!(look(&path, 3).copies, BTreeMap::from([(2, 2), (5, 1)]));
}

#[test]
fn probes_are_found_in_a_maildir_and_copies_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    for part in ["new", "cur", "tmp"] {
        std::fs::create_dir(dir.path().join(part)).unwrap();
    }
    assert_eq!(look(dir.path(), 0), Arrivals::default());
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    put("new/1.M1P1.mx1", &message(1));
    put("new/2.M1P1.mx1,S=3", &message(2));
    put("cur/3.M1P1.mx1,S=3:2,S", &message(2));
    put("tmp/4.M1P1.mx1", &message(4));
    let bounce = format!("Message-ID: <other@x>\n\nMessage-ID: <{PREFIX}7@example.org>\n");
    put("cur/5.M1P1.mx1:2,", &bounce);
    assert_eq!(look(dir.path(), 0).copies, BTreeMap::from([(1, 1), (2, 2)]));
}
