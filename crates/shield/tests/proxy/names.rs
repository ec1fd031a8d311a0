//! Names of clients: what name servers say, both ways, and what becomes of mail while they say nothing.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mailkeep_wire::ProxyHeader;

use super::OFFER;
use super::bench::dns::{Dns, Zone};
use super::bench::{Backend, Client, Shield, config, config_with_xclient};

/// A client of this address sends a message; how long that took.
fn send(shield: &Shield, address: &str) -> Duration {
    let began = Instant::now();
    let from = format!("{address}:4711").parse().unwrap();
    let header = ProxyHeader {
        addresses: Some((from, "198.51.100.1:25".parse().unwrap())),
    };
    let mut client = Client::connect(shield.address());
    client.send(&header.to_wire());
    assert!(client.reply().starts_with("220 "));
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    began.elapsed()
}

fn zone() -> Zone {
    let mut zone = Zone::default();
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    zone.ptr("7.2.0.192.in-addr.arpa", "Mail.Client.Example");
    zone.address("mail.client.example", address("192.0.2.7"));
    // It says it is somebody, who does not know of it.
    zone.ptr("8.2.0.192.in-addr.arpa", "mail.client.example");
    // Its owner writes what would be a header.
    zone.ptr("9.2.0.192.in-addr.arpa", "x\r\nBcc: y.example");
    zone
}

fn text(backend: &Backend, dns: &Dns, text: &str, more: &str) -> String {
    let proxied = text.replace("[[backend]]", "proxy_from = [\"127.0.0.0/8\"]\n[[backend]]");
    assert!(text.contains(&backend.address.to_string()));
    format!(
        "{proxied}[client_names]\n{more}[authentication]\nnameservers = [\"{}\"]\n",
        dns.address
    )
}

#[test]
fn a_name_that_both_sides_agree_on_is_told_and_no_other() {
    let dns = Dns::start(zone());
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(&["XCLIENT NAME ADDR"]);
    let told = config_with_xclient(&[backend.address], "");
    let shield = Shield::start(directory.path(), &text(&backend, &dns, &told, ""));
    for (address, name) in [
        ("192.0.2.7", "mail.client.example"),
        ("192.0.2.8", "[UNAVAILABLE]"),
        ("192.0.2.9", "[UNAVAILABLE]"),
        ("192.0.2.10", "[UNAVAILABLE]"),
    ] {
        send(&shield, address);
        let line = format!("XCLIENT NAME={name} ADDR={address}");
        assert!(
            backend.commands().contains(&line),
            "{:?}",
            backend.commands()
        );
    }

    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    let untold = config(&[backend.address], "");
    let mut shield = Shield::start(directory.path(), &text(&backend, &dns, &untold, ""));
    send(&shield, "192.0.2.7");
    assert_eq!(
        shield.event("message")["client_name"],
        "mail.client.example"
    );
    send(&shield, "192.0.2.8");
    let wires = backend.taken();
    for (taken, begin) in wires.iter().zip([
        "Received: from client.example (mail.client.example [192.0.2.7])\r\n",
        "Received: from client.example ([192.0.2.8])\r\n",
    ]) {
        let wire = String::from_utf8_lossy(&taken.wire);
        assert!(wire.starts_with(begin), "{wire}");
    }
}

#[test]
fn name_servers_that_are_dead_hold_mail_up_for_no_longer_than_is_said() {
    let mut dead = zone();
    dead.dead = true;
    let dns = Dns::start(dead);
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(&["XCLIENT NAME ADDR"]);
    let told = config_with_xclient(&[backend.address], "[content]\nlevel = \"off\"\n");
    // No mail is asked about its sender, so that only the name is waited for.
    let text =
        text(&backend, &dns, &told, "seconds = 1\n") + "trusted_networks = [\"192.0.2.0/24\"]\n";
    let shield = Shield::start(directory.path(), &text);
    let took = send(&shield, "192.0.2.7");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let line = "XCLIENT NAME=[TEMPUNAVAIL] ADDR=192.0.2.7".to_owned();
    assert!(backend.commands().contains(&line));
}
