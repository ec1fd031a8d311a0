//! The servers behind: which are used, what they are told, and whose fault it is when one fails.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::bench::{Backend, Client, Shield, config, config_with_xclient};
use super::{OFFER, stand, stand_with, stand_with_xclient};

/// One whole message, and the answer to it.
fn send(client: &mut Client) -> String {
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    client.reply()
}

#[test]
fn a_backend_that_would_take_every_client_for_the_shield_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    let text = config_with_xclient(&[backend.address], "");
    let mut shield = Shield::start(directory.path(), &text);
    let down = shield
        .log
        .iter()
        .find(|line| line["event"] == "backend-down");
    assert_eq!(down.unwrap()["why"], "backend-without-xclient");
    let mut client = Client::connect(shield.address());
    assert!(client.reply().starts_with("421 4.3.2 "));
    backend.orders.lock().unwrap().offer = vec!["XCLIENT ADDR".to_owned()];
    shield.event("backend-up");
    assert!(send(&mut shield.client()).starts_with("250 "));
}

#[test]
fn a_backend_that_had_enough_of_a_silent_client_takes_its_next_message() {
    let (_directory, backend, shield) = stand();
    let mut client = shield.client();
    assert!(send(&mut client).starts_with("250 "));
    for answer in ["", "421 4.4.2 timeout\r\n"] {
        backend.answer_once("MAIL", answer);
        assert!(send(&mut client).starts_with("250 "), "{answer:?}");
    }
    assert_eq!(backend.taken().len(), 3);
}

#[test]
fn a_client_whose_name_makes_the_backend_hang_up_takes_it_from_nobody_else() {
    let (_directory, backend, shield) = stand_with_xclient(&["XCLIENT ADDR"]);
    backend.answer("EHLO bad.example", "");
    for _ in 0..3 {
        let mut bad = shield.client();
        assert!(bad.ask("EHLO bad.example").starts_with("250"));
        assert!(bad.ask("MAIL FROM:<>").starts_with("451 4.4.1 "));
        assert!(send(&mut shield.client()).starts_with("250 "));
    }
}

#[test]
fn a_backend_that_is_full_is_not_down() {
    let (_directory, backend, shield) = stand();
    let full = Some("421 4.7.0 too many connections\r\n".to_owned());
    backend.orders.lock().unwrap().banner = full;
    let mut client = shield.client();
    client.ask("EHLO client.example");
    assert!(client.ask("MAIL FROM:<>").starts_with("451 4.4.1 "));
    backend.orders.lock().unwrap().banner = None;
    assert!(send(&mut shield.client()).starts_with("250 "));
}

#[test]
fn a_backend_that_came_back_is_asked_again_within_a_second_or_two() {
    let (_directory, backend, mut shield) = stand();
    let mut client = shield.client();
    client.ask("EHLO client.example");
    backend.answer("EHLO", "");
    assert!(client.ask("MAIL FROM:<>").starts_with("451 4.4.1 "));
    shield.event("backend-down");
    backend.orders.lock().unwrap().answers.clear();
    let began = Instant::now();
    shield.event("backend-up");
    assert!(began.elapsed() < Duration::from_secs(6));
}

#[test]
fn a_backend_that_hangs_does_not_keep_the_shield_from_its_work() {
    let directory = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs = silent.local_addr().unwrap();
    let backend = Backend::start(OFFER);
    let text = config(&[hangs, backend.address], "");
    let began = Instant::now();
    let shield = Shield::start(directory.path(), &text);
    assert!(began.elapsed() < Duration::from_secs(12));
    for _ in 0..2 {
        assert!(send(&mut shield.client()).starts_with("250 "));
    }
}

#[test]
fn a_backend_is_told_when_a_client_calls_itself_otherwise() {
    let (_directory, backend, shield) = stand_with_xclient(&["XCLIENT ADDR"]);
    let mut client = shield.client();
    assert!(send(&mut client).starts_with("250 "));
    assert!(client.ask("EHLO other.example").starts_with("250"));
    assert!(client.ask("MAIL FROM:<>").starts_with("250 "));
    let commands = backend.commands();
    let told = commands
        .iter()
        .rposition(|line| line == "EHLO other.example");
    let mail = commands.iter().rposition(|line| line.starts_with("MAIL"));
    assert!(told.is_some() && told < mail, "{commands:?}");
}

#[test]
fn what_a_backend_asks_for_unasked_reaches_no_client() {
    let (_directory, backend, shield) = stand();
    backend.answer_once("RCPT", "334 VXNlcm5hbWU6\r\n");
    let mut client = shield.client();
    client.ask("EHLO client.example");
    client.ask("MAIL FROM:<>");
    assert!(client.ask("RCPT TO:<a@b>").starts_with("451 4.4.1 "));
}

#[test]
fn octets_that_come_one_by_one_do_not_hold_a_session() {
    let (_directory, _backend, mut shield) = stand_with(OFFER, "[limits]\nidle_seconds = 1\n");
    let mut client = shield.client();
    client.ask("EHLO client.example");
    let began = Instant::now();
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut said = String::new();
    while said.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "it is held");
        if std::io::Write::write_all(&mut client.stream, b"N").is_err() {
            break;
        }
        said = client.reply();
    }
    assert!(said.starts_with("421 4.4.2 "), "{said:?}");
    assert_eq!(shield.event("session")["end"], "late");
}

#[test]
fn a_client_that_does_not_read_its_answers_gets_them_all_the_same() {
    let (_directory, _backend, shield) = stand();
    let mut client = shield.client();
    client.ask("EHLO client.example");
    let asked = 4000;
    client.send("VRFY\r\n".repeat(asked).as_bytes());
    for _ in 0..asked {
        assert!(client.reply().starts_with("252 "));
    }
}
