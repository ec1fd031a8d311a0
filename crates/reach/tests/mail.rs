//! Mail to a relay on this machine that behaves well, or badly.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{TestCertificate, accept, certificate, closed_port};
use mailkeep_reach::notify::{Mail, MailCredentials, MailError, MailSettings, MailTls, send_mail};
use mailkeep_reach::{Roots, Secret};
use rustls::{ServerConnection, StreamOwned};

/// How the relay behaves.
#[derive(Clone, Copy, PartialEq)]
enum Relay {
    Takes,
    OffersNoTls,
    RefusesRecipient,
}

/// Serves one session; gives back what the client said before and after STARTTLS.
fn relay(behaviour: Relay, tls: Option<&TestCertificate>) -> (u16, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = tls.map(|certificate| Arc::clone(&certificate.config));
    let session = thread::spawn(move || {
        let mut stream = accept(&listener);
        stream.write_all(b"220 relay.test ESMTP\r\n").unwrap();
        let offers = config.is_some() && behaviour != Relay::OffersNoTls;
        let (before, wants_tls) = dialogue(&mut stream, behaviour, offers);
        if !wants_tls {
            return (before, String::new());
        }
        let connection = ServerConnection::new(config.unwrap()).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let (after, _) = dialogue(&mut stream, behaviour, false);
        (before, after)
    });
    (port, session)
}

/// Answers commands until the end, or until STARTTLS was accepted.
fn dialogue(stream: &mut (impl Read + Write), behaviour: Relay, starttls: bool) -> (String, bool) {
    let mut said = String::new();
    let mut in_data = false;
    loop {
        let mut line = Vec::new();
        // Byte by byte: what follows STARTTLS belongs to TLS.
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) => line.push(byte[0]),
                _ => return (said, false),
            }
        }
        let line = String::from_utf8(line).unwrap();
        said.push_str(&line);
        if in_data {
            in_data = line != ".\r\n";
            if !in_data {
                stream.write_all(b"250 taken\r\n").unwrap();
            }
            continue;
        }
        let verb = line.split([' ', '\r']).next().unwrap().to_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" if starttls => b"250-relay.test\r\n250 STARTTLS\r\n",
            "EHLO" => b"250-relay.test\r\n250 AUTH PLAIN\r\n",
            "STARTTLS" => b"220 go ahead\r\n",
            "AUTH" => b"235 welcome\r\n",
            "RCPT" if behaviour == Relay::RefusesRecipient => b"550 5.1.1 nobody here\r\n",
            "DATA" => b"354 go on\r\n",
            "QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        in_data = verb == "DATA";
        stream.write_all(answer).unwrap();
        stream.flush().unwrap();
        match verb.as_str() {
            "STARTTLS" => return (said, true),
            "QUIT" => return (said, false),
            _ => {}
        }
    }
}

fn settings(port: u16, tls: MailTls) -> MailSettings {
    MailSettings {
        server: "127.0.0.1".into(),
        port,
        tls,
        credentials: None,
        from: "Mailkeep <mailkeep@example.org>".into(),
        hello_name: Some("controller.example.org".into()),
        timeout: Duration::from_secs(10),
        roots: Roots::default(),
    }
}

fn send(settings: &MailSettings) -> Result<(), MailError> {
    let to = [
        "Harbour team <harbour@example.org>".to_owned(),
        "second@example.org".to_owned(),
    ];
    let mail = Mail {
        to: &to,
        subject: "2 patches due at the harbour",
        text: "mx1: exim4\n.\nmx2: exim4\n",
        html: Some("<p>mx1: exim4</p>"),
        calendar: None,
        date: "2026-11-21T10:00:00Z".parse().unwrap(),
    };
    send_mail(settings, &mail)
}

#[test]
fn a_message_is_sent_under_starttls_with_the_password_inside() {
    let certificate = certificate(&["127.0.0.1"]);
    let (port, session) = relay(Relay::Takes, Some(&certificate));
    let mut settings = settings(port, MailTls::Starttls);
    settings.roots.file = Some(certificate.file.clone());
    settings.credentials = Some(MailCredentials {
        user: "mailkeep".into(),
        password: Secret::new("hunter2"),
    });
    send(&settings).unwrap();
    let (before, after) = session.join().unwrap();
    assert_eq!(before, "EHLO controller.example.org\r\nSTARTTLS\r\n");
    for part in [
        "AUTH PLAIN ",
        "MAIL FROM:<mailkeep@example.org>",
        "RCPT TO:<harbour@example.org>",
        "RCPT TO:<second@example.org>",
        "Subject: 2 patches due at the harbour\r\n",
        "\r\n..\r\n",
        "multipart/alternative",
        "<p>mx1: exim4</p>",
    ] {
        assert!(after.contains(part), "{part} in {after}");
    }
}

#[test]
fn a_relay_without_starttls_gets_nothing() {
    let (port, session) = relay(Relay::OffersNoTls, None);
    let error = send(&settings(port, MailTls::Starttls)).unwrap_err();
    assert_eq!(error.kind(), "starttls-not-offered", "{error}");
    let (said, _) = session.join().unwrap();
    assert!(!said.contains("MAIL"), "{said}");
    assert!(!said.contains("AUTH"), "{said}");
}

#[test]
fn a_relay_nobody_vouches_for_gets_nothing() {
    let (shown, believed) = (certificate(&["127.0.0.1"]), certificate(&["127.0.0.1"]));
    let (port, session) = relay(Relay::Takes, Some(&shown));
    let mut settings = settings(port, MailTls::Starttls);
    settings.roots.file = Some(believed.file.clone());
    let error = send(&settings).unwrap_err();
    assert_eq!(error.kind(), "tls", "{error} {error:?}");
    let (before, after) = session.join().unwrap();
    assert!(!before.contains("MAIL"), "{before}");
    assert_eq!(after, "");
}

#[test]
fn a_relay_on_this_machine_may_do_without_tls() {
    let (port, session) = relay(Relay::Takes, None);
    send(&settings(port, MailTls::None)).unwrap();
    let (said, _) = session.join().unwrap();
    assert!(said.contains("DATA\r\n"), "{said}");
}

#[test]
fn a_refusal_is_told_with_its_code() {
    let (port, session) = relay(Relay::RefusesRecipient, None);
    let error = send(&settings(port, MailTls::None)).unwrap_err();
    assert_eq!(error.kind(), "refused");
    assert!(error.to_string().contains("550"), "{error}");
    session.join().unwrap();
}

#[test]
fn a_relay_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(listener.local_addr().unwrap().port(), MailTls::None);
    settings.timeout = Duration::from_millis(200);
    let error = send(&settings).unwrap_err();
    assert_eq!(error.kind(), "timed-out", "{error:?}");
}

#[test]
fn no_relay_at_all_is_unreachable() {
    let error = send(&settings(closed_port().port(), MailTls::None)).unwrap_err();
    assert_eq!(error.kind(), "unreachable");
}

#[test]
fn a_relay_that_is_none_is_told_from_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = settings(listener.local_addr().unwrap().port(), MailTls::None);
    let server = thread::spawn(move || {
        let mut stream = accept(&listener);
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").ok();
        let mut rest = String::new();
        BufReader::new(stream).read_line(&mut rest).ok();
    });
    let error = send(&settings).unwrap_err();
    assert_eq!(error.kind(), "unreachable", "{error:?}");
    server.join().unwrap();
}
