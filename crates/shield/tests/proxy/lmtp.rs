//! Behind the shield a server that takes mail by LMTP, and answers once for each recipient.

use tempfile::TempDir;

use super::OFFER;
use super::bench::{Backend, Client, Shield, config, free_address, get};

fn stand() -> (TempDir, Backend, Shield) {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    let text = config(&[backend.address], "") + "protocol = \"lmtp\"\n";
    let shield = Shield::start(directory.path(), &text);
    (directory, backend, shield)
}

/// Offers a message; who was accepted, and what was said at its end.
fn send(client: &mut Client, to: &[&str], text: &str) -> (Vec<String>, String) {
    client.ask("EHLO client.example");
    let reply = client.ask("MAIL FROM:<a@client.example>");
    assert!(reply.starts_with("250 "), "{reply}");
    let mut accepted = Vec::new();
    for to in to {
        let reply = client.ask(&format!("RCPT TO:<{to}@site.example>"));
        if reply.starts_with("250 ") {
            accepted.push((*to).to_owned());
        } else {
            assert!(reply.starts_with("452 4.5.3 "), "{reply}");
        }
    }
    assert!(client.ask("DATA").starts_with("354 "));
    client.send(format!("A: b\r\n\r\n{text}\r\n.\r\n").as_bytes());
    (accepted, client.reply())
}

/// Who got what, each as often as it came.
fn delivered(backend: &Backend) -> Vec<(String, String)> {
    let taken = backend.taken();
    let one = |taken: &super::bench::Taken| {
        let to = taken.recipients[0].strip_prefix("RCPT TO:<").unwrap();
        let text = String::from_utf8_lossy(&taken.wire).into_owned();
        let text = text.trim_end().lines().last().unwrap().to_owned();
        (to.split('@').next().unwrap().to_owned(), text)
    };
    let mut all: Vec<_> = taken.iter().map(one).collect();
    all.sort();
    all
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(to, text): &(&str, &str)| ((*to).to_owned(), (*text).to_owned());
    all.iter().map(owned).collect()
}

fn tell(backend: &Backend, each: &[(&str, &str)]) {
    backend.orders.lock().unwrap().each = pairs(each);
}

#[test]
fn a_server_may_listen_at_a_socket_of_this_machine() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    let socket = directory.path().join("a \"quoted\" socket");
    backend.listen_at(&socket);
    let metrics = free_address();
    let text = config(&[backend.address], &format!("metrics = \"{metrics}\"")).replace(
        &format!("\"{}\"", backend.address),
        &format!("{:?}", format!("unix:{}", socket.display())),
    ) + "protocol = \"lmtp\"\n";
    let mut shield = Shield::start(directory.path(), &text);
    let (accepted, reply) = send(&mut shield.client(), &["one", "two"], "x");
    assert!(reply.starts_with("250 "), "{reply}");
    assert_eq!(accepted, ["one", "two"]);
    assert_eq!(delivered(&backend), pairs(&[("one", "x"), ("two", "x")]));
    // It is known by its path.
    let path = format!("unix:{}", socket.display());
    assert_eq!(shield.event("message")["backend"], path);
    let line = format!(
        r#"mailkeep_shield_backend_up{{backend="unix:{}/a \"quoted\" socket"}} 1"#,
        directory.path().display()
    );
    assert!(get(metrics, "/metrics").contains(&line), "{line}");
    // Nobody there: whoever sends tries again.
    std::fs::remove_file(&socket).unwrap();
    let mut client = shield.client();
    client.ask("EHLO client.example");
    let reply = client.ask("MAIL FROM:<a@client.example>");
    assert!(reply.starts_with("451 4.4.1 "), "{reply}");
}

#[test]
fn what_every_recipient_gets_is_acknowledged_once() {
    let (_directory, backend, mut shield) = stand();
    let mut client = shield.client();
    let (_, reply) = send(&mut client, &["one", "two"], "x");
    assert_eq!(reply, "250 2.0.0 delivered to 2 recipients\r\n");
    let line = shield.event("message");
    assert_eq!(
        (&line["recipients"], &line["delivered"]),
        (&2.into(), &2.into())
    );
    let (_, reply) = send(&mut client, &["one"], "y");
    assert_eq!(reply, "250 2.0.0 saved\r\n");
    let expected = [("one", "x"), ("one", "y"), ("two", "x")];
    assert_eq!(delivered(&backend), pairs(&expected));
    let commands = backend.commands();
    assert!(commands.iter().any(|line| line.starts_with("LHLO ")));
    assert!(!commands.iter().any(|line| line.starts_with("EHLO ")));
}

#[test]
fn what_nobody_gets_is_refused_and_for_now_where_one_may_still_get_it() {
    let (_directory, backend, shield) = stand();
    let gone = ("one", "550 5.2.1 gone\r\n");
    tell(&backend, &[gone, ("two", "452 4.2.2 full\r\n")]);
    let mut client = shield.client();
    let (_, reply) = send(&mut client, &["one", "two"], "x");
    assert_eq!(reply, "452 4.2.2 full\r\n");
    tell(&backend, &[gone, ("two", "552 5.2.2 full\r\n")]);
    let (_, reply) = send(&mut client, &["one", "two"], "x");
    assert_eq!(reply, "550 5.2.1 gone\r\n");
    // It dies before it speaks of the second one.
    tell(&backend, &[gone, ("two", "")]);
    let (_, reply) = send(&mut client, &["one", "two"], "x");
    assert!(reply.starts_with("451 4.4.1 "), "{reply}");
    assert_eq!(backend.taken(), []);
}

#[test]
fn what_some_get_comes_again_for_the_others_and_reaches_each_once() {
    // The second recipient is full, is refused for good, or the server dies before it speaks of him.
    for trouble in ["452 4.2.2 full\r\n", "552 5.2.2 full\r\n", ""] {
        let (_directory, backend, mut shield) = stand();
        tell(&backend, &[("two", trouble)]);
        let mut client = shield.client();
        let (_, reply) = send(&mut client, &["one", "two", "three"], "x");
        assert!(
            reply.starts_with("451 4.3.0 delivered to "),
            "{trouble:?}: {reply}"
        );
        assert_eq!(shield.event("message")["verdict"], "tempfail");
        let got = delivered(&backend);
        assert!(got.contains(&("one".to_owned(), "x".to_owned())), "{got:?}");

        // Another message of the same sender is another message.
        let (_, reply) = send(&mut client, &["one"], "y");
        assert!(reply.starts_with("250 "), "{trouble:?}: {reply}");

        // The sender brings it again to all three. Who has it gets it no second time, and is told apart from who has
        // it not.
        let (mut open, mut rounds) = (vec!["one", "two", "three"], 0);
        while !open.is_empty() {
            rounds += 1;
            assert!(rounds < 5, "{trouble:?}: {open:?}");
            if rounds == 2 {
                tell(&backend, &[]);
            }
            let (accepted, reply) = send(&mut client, &open, "x");
            if reply.starts_with("250 ") {
                open.retain(|who| !accepted.iter().any(|one| one == who));
            }
        }
        let expected = [("one", "x"), ("one", "y"), ("three", "x"), ("two", "x")];
        assert_eq!(delivered(&backend), pairs(&expected), "{trouble:?}");
    }
}

#[test]
fn a_refusal_at_the_second_try_is_of_nobody_but_who_is_refused() {
    let (_directory, backend, shield) = stand();
    tell(&backend, &[("two", "552 5.2.2 full\r\n")]);
    let mut client = shield.client();
    let (_, reply) = send(&mut client, &["one", "two"], "x");
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");
    // Others' mail of the same sender is not cut in two meanwhile: he may never come again.
    let (accepted, reply) = send(&mut client, &["three", "one"], "y");
    assert_eq!(accepted, ["three", "one"]);
    assert!(reply.starts_with("250 "), "{reply}");
    let (accepted, reply) = send(&mut client, &["two", "one"], "x");
    assert_eq!(accepted, ["two", "one"]);
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");
    let (accepted, reply) = send(&mut client, &["two", "one"], "x");
    assert_eq!(accepted, ["two"]);
    assert_eq!(reply, "552 5.2.2 full\r\n");
    let (accepted, reply) = send(&mut client, &["one"], "x");
    assert_eq!(accepted, ["one"]);
    assert!(reply.starts_with("250 "), "{reply}");
    let expected = [("one", "x"), ("one", "y"), ("three", "y")];
    assert_eq!(delivered(&backend), pairs(&expected));
}

/// What the shield's own rules refuse.
const EICAR: &str = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";

/// The first of two has it, since nobody looked; by now they look.
fn half_delivered() -> (TempDir, Backend, Shield, Client) {
    let (directory, backend, mut shield) = stand();
    tell(&backend, &[("two", "452 4.2.2 full\r\n")]);
    let mut client = shield.client();
    let file = directory.path().join("shield.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}[content]\nlevel = \"off\"\n")).unwrap();
    shield.signal(rustix::process::Signal::HUP);
    shield.event("reloaded");
    let (_, reply) = send(&mut client, &["one", "two"], EICAR);
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");
    std::fs::write(&file, &text).unwrap();
    shield.signal(rustix::process::Signal::HUP);
    shield.event("reloaded");
    (directory, backend, shield, client)
}

#[test]
fn what_is_refused_by_now_is_refused_to_nobody_who_has_it() {
    let (_directory, backend, _shield, mut client) = half_delivered();
    let (_, reply) = send(&mut client, &["one"], EICAR);
    assert!(reply.starts_with("250 "), "{reply}");
    let (_, reply) = send(&mut client, &["two"], EICAR);
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    assert_eq!(delivered(&backend).len(), 1);
}

#[test]
fn what_is_refused_by_now_is_refused_apart_from_who_has_it() {
    let (_directory, backend, mut shield, mut client) = half_delivered();
    let (_, reply) = send(&mut client, &["two", "one"], EICAR);
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");
    assert_eq!(shield.event("message")["verdict"], "tempfail");
    let (accepted, reply) = send(&mut client, &["two", "one"], EICAR);
    assert_eq!(accepted, ["two"]);
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    assert_eq!(shield.event("message")["verdict"], "refuse");
    let (accepted, reply) = send(&mut client, &["one"], EICAR);
    assert_eq!(accepted, ["one"]);
    assert!(reply.starts_with("250 "), "{reply}");
    assert_eq!(delivered(&backend).len(), 1);
}
