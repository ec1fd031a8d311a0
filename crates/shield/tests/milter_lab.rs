//! The milter behind a real Postfix and a real Sendmail of Debian, in the lab.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::format_push_string,
    reason = "a test stops at the first surprise, and says what it saw"
)]

mod bench;

use std::net::SocketAddr;

use bench::clamd::{Clamd, INFECTED};
use bench::dns::{Dns, Zone};
use bench::lab::{go_inside, greeted};
use bench::mta::milter_config;
use bench::{Client, Shield, until};
use xtask::lab::{Family, Lab, Pairing, Wanted};

/// Where the inner test finds the two servers.
const INNER: &str = "MAILKEEP_SHIELD_MILTER_LAB";

/// Where the hosts reach the shield: the address of the lab's bridge.
const MILTER: &str = "198.19.255.254";
const PORT: u16 = 11_332;

const RECIPIENT: &str = "probe@shield.test";

#[test]
fn postfix_and_sendmail_do_as_the_shield_says() {
    let wanted = Wanted {
        hosts: 2,
        families: vec![Family::Postfix, Family::Sendmail],
        regions: 1,
        pairing: Pairing::Synthetic,
    };
    let Some((lab, turn)) = Lab::for_test("shield_milter", &wanted).unwrap() else {
        return;
    };
    lab.take_mail_for("shield.test").unwrap();
    // As docs/shield.md has it.
    let says = |host: &str, script: &str| lab.says(host, script).unwrap();
    says(
        "h01",
        &format!(
            "postconf -e smtpd_milters=inet:{MILTER}:{PORT} milter_default_action=tempfail \
             milter_protocol=6 && postfix reload"
        ),
    );
    says(
        "h02",
        &format!(
            "sed -i \"s/^MAILER_DEFINITIONS/INPUT_MAIL_FILTER(\\`mailkeep', \
             \\`S=inet:{PORT}@{MILTER}, F=T, T=S:60s;R:60s;E:5m')dnl\\n&/\" /etc/mail/sendmail.mc && \
             {{ yes | sendmailconfig >/dev/null 2>&1; service sendmail restart; }}"
        ),
    );
    let hosts = lab.hosts().unwrap();
    let addresses: Vec<String> = hosts
        .iter()
        .map(|host| format!("{}:25", host.address))
        .collect();
    go_inside(&lab, INNER, &addresses.join(","));
    for host in ["h01", "h02"] {
        let box_of = || says(host, "cat /var/mail/probe 2>/dev/null || true");
        // A server may deliver the last before the first.
        until(|| {
            let mailbox = box_of();
            ["clean", "again"]
                .iter()
                .all(|mark| mailbox.contains(&format!("X-Mark: {mark}")))
        });
        let mailbox = box_of();
        println!("{host}: {mailbox}");
        assert_eq!(mailbox.matches("X-Mark: clean").count(), 1, "{host}");
        assert!(!mailbox.contains("X-Mark: infected"), "{host}");
        assert!(!mailbox.contains("X-Mark: unguarded"), "{host}");
        // What the shield wrote stands there, what claimed to be its own does not, and what is another's does.
        assert!(
            mailbox.contains("Authentication-Results: shield.example;\n\tspf="),
            "{host}"
        );
        assert!(!mailbox.contains("forged"), "{host}");
        assert!(
            mailbox.contains("Authentication-Results: other.example; spf=pass"),
            "{host}"
        );
    }
    drop(turn);
}

#[test]
#[ignore = "started by postfix_and_sendmail_do_as_the_shield_says, in the lab's network"]
fn the_part_inside_the_lab() {
    let servers: Vec<SocketAddr> = std::env::var(INNER)
        .unwrap()
        .split(',')
        .map(|text| text.parse().unwrap())
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let clamd = Clamd::start("ClamAV 1.4.6");
    let dns = Dns::start(Zone::default());
    let config = milter_config(&format!(
        "[content]\nlevel = \"off\"\n[authentication]\nnameservers = [\"{}\"]\n{}",
        dns.address,
        clamd.engine("one", "own_definitions = true")
    ))
    .replace("127.0.0.1:0", &format!("0.0.0.0:{PORT}"));
    let shield = Shield::start(directory.path(), &config);
    // Sendmail may still be starting.
    for server in &servers {
        until(|| std::net::TcpStream::connect(server).is_ok());
    }
    until(|| std::net::TcpStream::connect((MILTER, PORT)).is_ok());

    let clean = "Authentication-Results: shield.example; dkim=pass (forged)\r\n\
                 Authentication-Results: other.example; spf=pass\r\n\
                 From: a@client.example\r\nX-Mark: clean\r\n\r\nwell\r\n";
    let infected = format!("From: a@client.example\r\nX-Mark: infected\r\n\r\n{INFECTED}\r\n");
    for server in &servers {
        // Two in one session, refused first: what was refused must leave nothing behind.
        let mut client = greeted(*server);
        let reply = send(&mut client, &infected);
        println!("{server}: {reply}");
        assert!(
            reply.starts_with("550 5.7.1 a virus was found: Test.100%-Virus (reference "),
            "{server}: {reply}"
        );
        let reply = send(&mut client, clean);
        assert!(reply.starts_with("250 "), "{server}: {reply}");
    }
    // Without its filter a server takes nothing.
    drop(shield);
    for server in &servers {
        let mut client = Client::connect(*server);
        let banner = client.reply();
        let reply = if banner.starts_with("220 ") {
            client.ask("EHLO sender.example");
            send(
                &mut client,
                "From: a@client.example\r\nX-Mark: unguarded\r\n\r\nx\r\n",
            )
        } else {
            banner
        };
        println!("{server} without the shield: {reply}");
        assert!(reply.starts_with('4'), "{server}: {reply}");
    }
    let _shield = Shield::start(directory.path(), &config);
    until(|| std::net::TcpStream::connect((MILTER, PORT)).is_ok());
    for server in &servers {
        let mut client = greeted(*server);
        let reply = send(
            &mut client,
            "From: a@client.example\r\nX-Mark: again\r\n\r\nx\r\n",
        );
        assert!(reply.starts_with("250 "), "{server}: {reply}");
    }
}

/// Sends a message, and gives the first answer that is no yes, or the last one.
fn send(client: &mut Client, message: &str) -> String {
    for line in [
        "MAIL FROM:<a@client.example>",
        &format!("RCPT TO:<{RECIPIENT}>"),
        "DATA",
    ] {
        let reply = client.ask(line);
        if !reply.starts_with(['2', '3']) {
            return reply;
        }
    }
    client.send(message.as_bytes());
    client.ask(".")
}
