//! The shield before the real Exim, Sendmail, `OpenSMTPD`, and Dovecot by LMTP, of Debian, in the lab.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::format_push_string,
    reason = "a test stops at the first surprise, and says what it saw"
)]

mod bench;

use std::path::PathBuf;

use bench::lab::{go_inside, greeted};
use bench::{Client, Shield, until};
use xtask::lab::{Family, Lab, Pairing, Wanted};

/// Where the inner test finds the lab.
const INNER: &str = "MAILKEEP_SHIELD_BEHIND_LAB";

/// Its listener before Dovecot's Unix socket.
const SOCKET: &str = "dovecot-socket";

const FAMILIES: [Family; 4] = [
    Family::Exim,
    Family::Sendmail,
    Family::Opensmtpd,
    Family::Dovecot,
];

/// As docs/shield.md has it: what the shield's configuration says of each, by which port, and what makes it so.
fn backend(family: Family) -> (&'static str, u16, &'static str) {
    match family {
        Family::Opensmtpd => (
            "proxy = \"v2\"",
            25,
            "sed -i 's/^listen on 0.0.0.0$/& proxy-v2/' /etc/smtpd.conf && { service opensmtpd stop; \
             while pgrep -x smtpd; do sleep 0.1; done; service opensmtpd start; } >/dev/null 2>&1",
        ),
        Family::Dovecot => (
            "protocol = \"lmtp\"",
            24,
            "printf '%s\\n' 'login_trusted_networks = 198.18.0.0/15' 'service lmtp {' \
             'inet_listener lmtp {' 'address = 0.0.0.0' 'port = 24' '}' '}' >>/etc/dovecot/local.conf && \
             useradd -m full && mkdir /home/full/Maildir && chmod 700 /home/full/Maildir && \
             { service dovecot restart; } >/dev/null 2>&1",
        ),
        _ => ("xclient = false", 25, "true"),
    }
}

/// What a user of a host has got.
fn mailbox(lab: &Lab, host: &str, user: &str) -> String {
    let script = format!("cat /var/mail/{user} /home/{user}/Maildir/new/* 2>/dev/null || true");
    lab.says(host, &script).unwrap()
}

fn count(text: &str, mark: &str) -> usize {
    text.matches(&format!("X-Mark: {mark}")).count()
}

#[test]
fn real_servers_behind_the_shield_get_what_is_acknowledged_and_nothing_else() {
    let wanted = Wanted {
        hosts: 4,
        families: FAMILIES.to_vec(),
        regions: 1,
        pairing: Pairing::Synthetic,
    };
    let Some((lab, turn)) = Lab::for_test("shield_behind", &wanted).unwrap() else {
        return;
    };
    lab.take_mail_for("shield.test").unwrap();
    let hosts = lab.hosts().unwrap();
    for (host, family) in hosts.iter().zip(FAMILIES) {
        assert_eq!(host.family, family.name());
        lab.says(&host.name, backend(family).2).unwrap();
    }
    go_inside(&lab, INNER, lab.root().to_str().unwrap());
    for (host, family) in hosts.iter().zip(FAMILIES) {
        // A server may deliver the second before the first.
        until(|| {
            let text = mailbox(&lab, &host.name, "probe");
            ["first", "second"]
                .iter()
                .all(|mark| count(&text, mark) > 0)
        });
        let text = mailbox(&lab, &host.name, "probe");
        println!("{family}: {text:.1500}");
        for mark in ["first", "second"] {
            assert_eq!(count(&text, mark), 1, "{family}: {mark}");
        }
        assert_eq!(count(&text, "smuggled"), 0, "{family}");
        assert!(text.contains("\n.dot\n"), "{family}");
        // Each knows who the client is, or the shield's own header says so.
        let received = match family {
            Family::Opensmtpd | Family::Dovecot => "[127.0.0.1]",
            _ => "by shield.example (Mailkeep shield)",
        };
        assert!(text.contains(received), "{family}");
        if family == Family::Dovecot {
            assert_eq!(count(&text, "by its socket"), 1, "{text}");
            for user in ["probe", "full"] {
                let text = mailbox(&lab, &host.name, user);
                assert_eq!(count(&text, "to both"), 1, "{user}: {text}");
            }
        }
    }
    drop(turn);
}

#[test]
#[ignore = "started by real_servers_behind_the_shield_get_what_is_acknowledged_and_nothing_else, in the lab's network"]
fn the_part_inside_the_lab() {
    let lab = Lab::open(PathBuf::from(std::env::var_os(INNER).unwrap())).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut config = "name = \"shield.example\"\n".to_owned();
    let hosts = lab.hosts().unwrap();
    for (host, family) in hosts.iter().zip(FAMILIES) {
        let (how, port, _) = backend(family);
        config.push_str(&format!(
            "[[listener]]\nname = \"{family}\"\naddress = [\"127.0.0.1:0\"]\n\
             [[backend]]\naddress = \"{}:{port}\"\nlisteners = [\"{family}\"]\n{how}\n",
            host.address
        ));
    }
    // Dovecot once more, at the socket of its own machine.
    let dovecot = hosts.last().unwrap();
    let root = lab.pid(&dovecot.name).unwrap().unwrap();
    config.push_str(&format!(
        "[[listener]]\nname = \"{SOCKET}\"\naddress = [\"127.0.0.1:0\"]\n\
         [[backend]]\naddress = \"unix:/proc/{root}/root/run/dovecot/lmtp\"\nlisteners = [\"{SOCKET}\"]\n\
         protocol = \"lmtp\"\nxclient = false\n"
    ));
    let mut shield = Shield::start(directory.path(), &config);
    let listeners = shield.addresses.clone();
    // Some may still be starting.
    let mut up = 0;
    while up < listeners.len() {
        for line in shield.log.drain(..) {
            println!("{line}");
            up += usize::from(line["event"] == "backend-up");
        }
        if up < listeners.len() {
            shield.next_line();
        }
    }
    for (name, address) in &listeners {
        if name == SOCKET {
            let mut client = greeted(*address);
            let message = "From: a@client.example\r\nX-Mark: by its socket\r\n\r\nx\r\n";
            let (codes, reply) = send(&mut client, &["probe", "nobody-here"], message);
            println!("{name}: {codes:?} {reply}");
            assert_eq!((&codes[..], &reply[..4]), (&[250, 550][..], "250 "));
            continue;
        }
        // What the lab's Exim takes from its own network it looks at later.
        let (to, expected) = if name == "exim" {
            (&["probe"][..], &[250][..])
        } else {
            (&["probe", "nobody-here"][..], &[250, 550][..])
        };
        let mut client = greeted(*address);
        let first = "From: a@client.example\r\nX-Mark: first\r\n\r\n..dot\r\ncaf\u{e9}\r\n";
        let second = "From: a@client.example\r\nX-Mark: second\r\n\r\nwell\r\n";
        for message in [first, second] {
            let (codes, reply) = send(&mut client, to, message);
            println!("{name}: {codes:?} {reply}");
            assert_eq!(codes, expected, "{name}");
            assert!(reply.starts_with("250 "), "{name}: {reply}");
        }
        // What only some servers take for an end.
        let message = "X-Mark: smuggled\r\n\r\nx\n.\r\nMAIL FROM:<>\r\nRCPT TO:<probe@shield.test>\r\n\
                       DATA\r\nX-Mark: smuggled\r\n\r\nx\r\n";
        let (_, reply) = send(&mut client, &["probe"], message);
        assert!(reply.starts_with("550 5.6.0 "), "{name}: {reply}");

        if name == "dovecot" {
            let both = "From: a@client.example\r\nX-Mark: to both\r\n\r\nx\r\n";
            let mut client = greeted(*address);
            let (codes, reply) = send(&mut client, &["probe", "full"], both);
            println!("{name}: {codes:?} {reply}");
            assert_eq!(codes, [250, 250]);
            assert!(
                reply.starts_with("451 4.3.0 delivered to 1 of 2 "),
                "{reply}"
            );
            // Again, as a server does: who has it gets it no second time.
            let (codes, reply) = send(&mut client, &["probe", "full"], both);
            println!("{name}: {codes:?} {reply}");
            assert_eq!((&codes[..], &reply[..4]), (&[250, 250][..], "451 "));
            let host = &hosts.last().unwrap().name;
            lab.says(host, "chown full: /home/full/Maildir").unwrap();
            let (codes, reply) = send(&mut client, &["probe", "full"], both);
            assert_eq!((&codes[..], &reply[..4]), (&[250, 250][..], "250 "));
        }
    }
}

/// Sends a message; the code for each recipient, and the last answer.
fn send(client: &mut Client, to: &[&str], message: &str) -> (Vec<u16>, String) {
    let reply = client.ask("MAIL FROM:<a@client.example>");
    assert!(reply.starts_with("250 "), "{reply}");
    let code = |reply: String| reply[..3].parse::<u16>().unwrap();
    let codes = to
        .iter()
        .map(|to| code(client.ask(&format!("RCPT TO:<{to}@shield.test>"))))
        .collect();
    let reply = client.ask("DATA");
    assert!(reply.starts_with("354 "), "{reply}");
    client.send(message.as_bytes());
    (codes, client.ask("."))
}
