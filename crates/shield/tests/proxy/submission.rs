//! Mail of one's own people: AUTH is passed to the backend, only over TLS, and mail comes behind it.

use std::net::TcpStream;

use rustls::{ClientConnection, StreamOwned};
use tempfile::TempDir;

use super::bench::{Backend, Client, Shield, config};
use super::{certificate, over_tls, secure};

type Secured = Client<StreamOwned<ClientConnection, TcpStream>>;

const OFFERS_AUTH: &[&str] = &["SIZE", "AUTH PLAIN LOGIN CRAM-MD5 NTLM SCRAM-SHA-256-PLUS"];

struct Stand {
    backend: Backend,
    shield: Shield,
    root: String,
    _directory: TempDir,
}

fn stand(kind: &str, more: &str) -> Stand {
    let directory = tempfile::tempdir().unwrap();
    let root = certificate(directory.path(), "shield.example");
    let backend = Backend::start(OFFERS_AUTH);
    let at = directory.path().display();
    let listener = format!(
        "kind = \"{kind}\"\ncertificate = \"{at}/cert.pem\"\nkey = \"{at}/key.pem\"\n{more}\n[[backend]]"
    );
    let text = config(&[backend.address], "").replace("[[backend]]", &listener);
    let shield = Shield::start(directory.path(), &text);
    Stand {
        backend,
        shield,
        root,
        _directory: directory,
    }
}

fn submission() -> (Stand, Secured) {
    let stand = stand("submission", "");
    let mut client = secure(stand.shield.client(), &stand.root).unwrap();
    let offered = client.ask("EHLO client.example");
    assert!(offered.contains("AUTH LOGIN PLAIN\r\n"), "{offered}");
    (stand, client)
}

fn mail(client: &mut Secured) -> String {
    for line in [
        "MAIL FROM:<a@own.example> AUTH=<>",
        "RCPT TO:<b@site.example>",
        "DATA",
    ] {
        let reply = client.ask(line);
        assert!(
            reply.starts_with("250 ") || reply.starts_with("354 "),
            "{line}: {reply}"
        );
    }
    client.send(b"A: b\r\n\r\n.\r\n");
    client.reply()
}

#[test]
fn auth_is_passed_to_the_backend_that_then_takes_the_mail() {
    let (mut stand, mut client) = submission();
    stand.backend.answer("AUTH PLAIN", "334 \r\n");
    stand
        .backend
        .answer("AHVzZXIAc2VjcmV0", "235 2.7.0 welcome\r\n");
    assert!(
        client
            .ask("MAIL FROM:<a@own.example>")
            .starts_with("530 5.7.0 ")
    );
    assert_eq!(client.ask("AUTH PLAIN"), "334 \r\n");
    assert_eq!(client.ask("AHVzZXIAc2VjcmV0"), "235 2.7.0 welcome\r\n");
    // Asked again, who it is does not change, and the backend that knows it stays.
    client.ask("EHLO client.example");
    assert!(mail(&mut client).starts_with("250 "));
    assert!(mail(&mut client).starts_with("250 "));
    let taken = stand.backend.taken();
    assert_eq!(taken[0].mail, "MAIL FROM:<a@own.example> AUTH=<>");
    let wire = String::from_utf8(taken[0].wire.clone()).unwrap();
    assert!(wire.contains("with ESMTPSA id"), "{wire}");
    let commands = stand.backend.commands();
    let count = |verb: &str| {
        commands
            .iter()
            .filter(|line| line.starts_with(verb))
            .count()
    };
    assert_eq!((count("AUTH"), count("MAIL")), (1, 2), "{commands:?}");
    assert_eq!(stand.shield.event("authenticated")["mechanism"], "PLAIN");
    assert_eq!(stand.shield.event("message")["authenticated"], true);
    drop(client);
    stand.shield.event("session");
    let log: String = stand.shield.log.iter().map(ToString::to_string).collect();
    for secret in ["AHVzZXIAc2VjcmV0", "secret", "user\\u0000"] {
        assert!(!log.contains(secret), "credentials are not logged: {log}");
    }
}

#[test]
fn what_the_backend_says_of_credentials_is_what_the_client_hears() {
    let (mut stand, mut client) = submission();
    stand.backend.answer("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n");
    stand.backend.answer("dXNlcg==", "334 UGFzc3dvcmQ6\r\n");
    stand.backend.answer("d3Jvbmc=", "535 5.7.8 wrong\r\n");
    stand.backend.answer("*", "501 5.7.0 gave up\r\n");
    assert_eq!(client.ask("AUTH LOGIN"), "334 VXNlcm5hbWU6\r\n");
    assert_eq!(client.ask("dXNlcg=="), "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(client.ask("d3Jvbmc="), "535 5.7.8 wrong\r\n");
    assert_eq!(stand.shield.event("auth-failed")["code"], 535);
    assert!(client.ask("MAIL FROM:<>").starts_with("530 "));
    assert_eq!(client.ask("AUTH LOGIN dXNlcg=="), "334 VXNlcm5hbWU6\r\n");
    assert_eq!(client.ask("*"), "501 5.7.0 gave up\r\n");
    // What is not base64 never reaches the backend.
    assert_eq!(client.ask("AUTH LOGIN"), "334 VXNlcm5hbWU6\r\n");
    assert!(client.ask("dXNlcg=").starts_with("501 5.5.2 "));
    assert_eq!(stand.shield.event("refused")["rule"], "auth-required");
    assert_eq!(stand.shield.event("refused")["rule"], "auth-base64");
    let commands = stand.backend.commands();
    assert!(!commands.contains(&"dXNlcg=".to_owned()));
    // Each attempt had a conversation of its own, and three are enough.
    let greetings = commands.iter().filter(|line| line.starts_with("EHLO"));
    assert_eq!(greetings.count(), 4, "one is the look: {commands:?}");
    assert!(client.ask("AUTH LOGIN").starts_with("421 4.7.0 "));
    assert_eq!(client.reply(), "");
}

#[test]
fn nothing_but_the_backends_own_yes_authenticates() {
    for (answer, expected) in [
        ("250 2.0.0 fine\r\n", "454 4.7.0 "),
        ("334 not base64\r\n", "454 4.7.0 "),
        ("421 4.3.2 going\r\n", "454 4.7.0 "),
        ("", "454 4.7.0 "),
        ("454 4.7.0 later\r\n", "454 4.7.0 later"),
    ] {
        let (stand, mut client) = submission();
        stand.backend.answer("AUTH", answer);
        let reply = client.ask("AUTH PLAIN AHVzZXIAc2VjcmV0");
        assert!(reply.starts_with(expected), "{answer:?}: {reply}");
        assert!(client.ask("MAIL FROM:<>").starts_with("530 "), "{answer:?}");
    }
    let (stand, mut client) = submission();
    // One who gives up is not let in by a backend that misheard.
    stand.backend.answer("AUTH PLAIN", "334 \r\n");
    stand.backend.answer("*", "235 2.7.0 welcome\r\n");
    client.ask("AUTH PLAIN");
    assert!(client.ask("*").starts_with("454 4.7.0 "));
    assert!(client.ask("MAIL FROM:<>").starts_with("530 "));
}

#[test]
fn a_server_that_asks_without_end_is_left() {
    let (stand, mut client) = submission();
    stand.backend.answer("AUTH LOGIN", "334 \r\n");
    stand.backend.answer("AAAA", "334 \r\n");
    let mut reply = client.ask("AUTH LOGIN");
    let mut asked = 0;
    while reply.starts_with("334 ") {
        asked += 1;
        assert!(asked < 20, "it goes on for ever");
        // Three octets, none of them NUL.
        reply = client.ask("QUJD");
        if reply.starts_with("250 ") {
            unreachable!("it is no success");
        }
        if asked == 1 {
            stand.backend.answer("QUJD", "334 \r\n");
        }
    }
    assert!(reply.starts_with("454 "), "{reply}");
}

#[test]
fn an_authenticated_client_whose_backend_is_lost_connects_anew() {
    let (stand, mut client) = submission();
    stand.backend.answer("AUTH PLAIN", "235 2.7.0 welcome\r\n");
    assert!(
        client
            .ask("AUTH PLAIN AHVzZXIAc2VjcmV0")
            .starts_with("235 ")
    );
    stand.backend.answer_once("MAIL", "");
    assert!(client.ask("MAIL FROM:<>").starts_with("421 4.4.2 "));
    assert_eq!(client.reply(), "");
    // And one that is lost at the message itself is not asked without a password.
    let mut client = secure(stand.shield.client(), &stand.root).unwrap();
    client.ask("EHLO client.example");
    assert!(
        client
            .ask("AUTH PLAIN AHVzZXIAc2VjcmV0")
            .starts_with("235 ")
    );
    stand.backend.answer_once("DATA", "");
    assert!(mail(&mut client).starts_with("451 4.4.1 "));
    assert_eq!(stand.backend.taken(), []);
}

#[test]
fn in_clear_no_password_is_asked_for_and_no_mail_taken() {
    let mut stand = stand("submission", "");
    let mut client = stand.shield.client();
    let offered = client.ask("EHLO client.example");
    assert!(
        offered.contains("STARTTLS") && !offered.contains("AUTH"),
        "{offered}"
    );
    assert!(
        client
            .ask("AUTH PLAIN AHVzZXIAc2VjcmV0")
            .starts_with("502 5.5.1 ")
    );
    assert!(client.ask("MAIL FROM:<>").starts_with("530 5.7.0 "));
    assert_eq!(stand.shield.event("refused")["rule"], "auth-not-offered");
    assert_eq!(stand.shield.event("refused")["rule"], "auth-required");
}

#[test]
fn submissions_is_tls_from_the_first_octet() {
    let stand = stand("submissions", "mechanisms = [\"plain\"]");
    stand.backend.answer("AUTH PLAIN", "235 2.7.0 welcome\r\n");
    let stream = TcpStream::connect(stand.shield.address()).unwrap();
    let mut client = over_tls(stream, &stand.root).unwrap();
    assert!(client.reply().starts_with("220 shield.example "));
    let offered = client.ask("EHLO client.example");
    assert!(
        offered.contains("AUTH PLAIN\r\n") && !offered.contains("STARTTLS"),
        "{offered}"
    );
    assert!(client.ask("AUTH LOGIN").starts_with("504 5.5.4 "));
    assert!(client.ask("STARTTLS").starts_with("503 "));
    assert!(
        client
            .ask("AUTH PLAIN AHVzZXIAc2VjcmV0")
            .starts_with("235 ")
    );
    assert!(mail(&mut client).starts_with("250 "));
}

#[test]
fn strangers_are_offered_no_auth_though_the_backend_does() {
    let stand = stand("mx", "");
    let mut client = secure(stand.shield.client(), &stand.root).unwrap();
    let offered = client.ask("EHLO client.example");
    assert!(!offered.contains("AUTH"), "{offered}");
    assert!(
        client
            .ask("AUTH PLAIN AHVzZXIAc2VjcmV0")
            .starts_with("502 5.5.1 ")
    );
    assert!(mail_of_a_stranger(&mut client).starts_with("250 "));
}

fn mail_of_a_stranger(client: &mut Secured) -> String {
    for line in [
        "MAIL FROM:<a@own.example>",
        "RCPT TO:<b@site.example>",
        "DATA",
    ] {
        client.ask(line);
    }
    client.send(b"A: b\r\n\r\n.\r\n");
    client.reply()
}
