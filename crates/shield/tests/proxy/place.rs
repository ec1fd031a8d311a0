//! Where the shield stands: behind another proxy, below systemd, before backends that come and go.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use mailkeep_wire::ProxyHeader;
use rustix::process::Signal;

use super::bench::{Backend, Client, PATIENCE, Shield, config, until};
use super::{OFFER, certificate, over_tls, stand, stand_with, tls_config};

/// A configuration whose listener believes what comes from loopback.
fn behind_a_proxy(backend: &Backend) -> String {
    let listener = "proxy_from = [\"127.0.0.0/8\"]\n[[backend]]";
    config(&[backend.address], "").replace("[[backend]]", listener)
}

fn header(client: &str) -> ProxyHeader {
    let addresses = Some((client.parse().unwrap(), "198.51.100.1:25".parse().unwrap()));
    ProxyHeader { addresses }
}

#[test]
fn a_listed_proxy_says_who_the_client_is() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    let text = behind_a_proxy(&backend) + "[limits]\nsessions_per_client = 1\n";
    let mut shield = Shield::start(directory.path(), &text);
    for (first, address) in [
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n".to_vec(),
            "192.0.2.7",
        ),
        (header("[2001:db8::7]:4711").to_wire(), "2001:db8::7"),
    ] {
        let mut client = Client::connect(shield.address());
        client.send(&first);
        assert!(client.reply().starts_with("220 "));
        client.begin();
        client.send(b"A: b\r\n\r\n.\r\n");
        assert!(client.reply().starts_with("250 "));
        let line = shield.event("message");
        assert_eq!(line["client"], address);
        // Sessions are counted for the client, not for the proxy.
        let mut second = Client::connect(shield.address());
        second.send(&first);
        assert!(second.reply().starts_with("421 4.7.0 "), "{address}");
        drop(client);
        let session = |line: &serde_json::Value| line["end"] == "gone";
        while !session(&shield.event("session")) {}
    }
    let wire = String::from_utf8(backend.taken()[0].wire.clone()).unwrap();
    assert!(wire.contains("([192.0.2.7])"), "{wire}");
}

#[test]
fn a_listed_proxy_must_say_who_the_client_is_and_nobody_else_may() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    let mut shield = Shield::start(directory.path(), &behind_a_proxy(&backend));
    let mut client = Client::connect(shield.address());
    client.send(b"EHLO client.example\r\n");
    assert_eq!(client.reply(), "");
    assert_eq!(
        shield.event("proxy-header-failed")["why"],
        "no-proxy-header"
    );
    // EXIM-Security-2026-05-19.1: a length that the addresses do not fit into.
    let mut short = header("192.0.2.7:1").to_wire();
    short[15] = 11;
    let mut client = Client::connect(shield.address());
    client.send(&short);
    assert_eq!(client.reply(), "");
    assert_eq!(
        shield.event("proxy-header-failed")["why"],
        "proxy-header-addresses"
    );
    drop(shield);

    let (_directory, _backend, mut shield) = stand();
    let mut client = shield.client();
    client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n");
    assert!(client.reply().starts_with("521 5.7.0 "));
    assert_eq!(shield.event("refused")["rule"], "proxy-command");
    drop(shield);

    let (_directory, _backend, shield) = stand_with(OFFER, "");
    let mut client = shield.client();
    client.send(&header("192.0.2.7:1").to_wire());
    assert!(client.reply().starts_with('5'));
}

#[test]
fn a_proxy_that_looks_whether_the_shield_is_there_is_greeted() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    let shield = Shield::start(directory.path(), &behind_a_proxy(&backend));
    let mut client = Client::connect(shield.address());
    client.send(&ProxyHeader { addresses: None }.to_wire());
    assert!(client.reply().starts_with("220 "));
    assert!(client.ask("QUIT").starts_with("221 "));
}

#[test]
fn tls_begins_behind_the_proxys_header() {
    let directory = tempfile::tempdir().unwrap();
    let root = certificate(directory.path(), "shield.example");
    let backend = Backend::start(OFFER);
    let text = tls_config(directory.path(), &backend).replace(
        "name = \"mx\"",
        "name = \"mx\"\nkind = \"submissions\"\nproxy_from = [\"127.0.0.1\"]",
    );
    let mut shield = Shield::start(directory.path(), &text);
    let mut stream = std::net::TcpStream::connect(shield.address()).unwrap();
    stream.write_all(&header("192.0.2.7:1").to_wire()).unwrap();
    let mut client = over_tls(stream, &root).unwrap();
    assert!(client.reply().starts_with("220 "));
    client.ask("QUIT");
    assert_eq!(shield.event("session")["client"], "192.0.2.7");
}

#[test]
fn a_backend_that_takes_proxy_headers_is_told_of_the_client_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    backend.orders.lock().unwrap().proxied = Some(Vec::new());
    let text = config(&[backend.address], "").replace("xclient = false", "proxy = \"v2\"");
    let shield = Shield::start(directory.path(), &text);
    let mut client = shield.client();
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    let here = client.stream.local_addr().unwrap();
    let proxied = backend.orders.lock().unwrap().proxied.clone().unwrap();
    // The look is the shield's own.
    assert_eq!(proxied[0].addresses, None);
    assert_eq!(proxied[1].addresses, Some((here, shield.address())));
    assert!(
        backend
            .commands()
            .contains(&"EHLO client.example".to_owned())
    );
    assert_eq!(
        backend.taken()[0].wire,
        b"A: b\r\n\r\n",
        "the backend writes the trace header"
    );
    // What it says to this client is said of this client.
    backend.orders.lock().unwrap().banner = Some("554 5.7.1 not you\r\n".to_owned());
    let mut client = shield.client();
    client.ask("EHLO client.example");
    assert_eq!(client.ask("MAIL FROM:<>"), "554 5.7.1 not you\r\n");
    backend.orders.lock().unwrap().banner = None;
    assert!(client.ask("MAIL FROM:<>").starts_with("250 "));
}

#[test]
fn a_backend_is_drained_and_taken_back_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (Backend::start(OFFER), Backend::start(OFFER));
    let text = config(&[one.address, other.address], "");
    let mut shield = Shield::start(directory.path(), &text);
    // Each has a client that stays.
    let mut clients = [shield.client(), shield.client()];
    for client in &mut clients {
        client.begin();
    }
    let drained = text.replacen("xclient = false", "xclient = false\ndrain = true", 1);
    std::fs::write(directory.path().join("shield.toml"), &drained).unwrap();
    shield.signal(Signal::HUP);
    let reloaded = shield.event("reloaded");
    assert_eq!(reloaded["waits_for_restart"], serde_json::json!([]));
    // What has begun comes to its end, and what comes next goes elsewhere.
    for client in &mut clients {
        client.send(b"A: b\r\n\r\n.\r\n");
        assert!(client.reply().starts_with("250 "));
        client.begin();
        client.send(b"A: b\r\n\r\n.\r\n");
        assert!(client.reply().starts_with("250 "));
    }
    assert_eq!(
        shield.event("backend-drained")["backend"],
        one.address.to_string()
    );
    assert_eq!((one.taken().len(), other.taken().len()), (1, 3));
    std::fs::write(directory.path().join("shield.toml"), &text).unwrap();
    shield.signal(Signal::HUP);
    // Whoever looks after the backend may be the first to say it.
    let [taken_back, _] = shield.each_event(["backend-taken-back", "reloaded"]);
    assert_eq!(taken_back["backend"], one.address.to_string());
    for _ in 0..2 {
        let mut client = shield.client();
        client.begin();
        client.send(b"A: b\r\n\r\n.\r\n");
        assert!(client.reply().starts_with("250 "));
    }
    assert_eq!((one.taken().len(), other.taken().len()), (2, 4));
    // What only a restart can change is said.
    std::fs::write(
        directory.path().join("shield.toml"),
        text.replace("xclient = false", "xclient = true")
            + "[limits]\nsessions = 7\n[[milter]]\nname = \"filter\"\nsocket = \"inet:127.0.0.1:0\"\n",
    )
    .unwrap();
    shield.signal(Signal::HUP);
    assert_eq!(
        shield.event("reloaded")["waits_for_restart"],
        serde_json::json!(["limits", "backend", "milter"])
    );
}

#[test]
fn sockets_of_systemd_stay_open_while_the_shield_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let text = config(&[backend.address], "").replace("127.0.0.1:0", &address.to_string());
    let file = directory.path().join("shield.toml");
    std::fs::write(&file, &text).unwrap();
    let start = || {
        // As systemd does: the socket is descriptor 3, and the process knows that it is meant.
        Command::new("sh")
            .args([
                "-c",
                "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --config \"$1\"",
            ])
            .arg(env!("CARGO_BIN_EXE_mailkeep-shield"))
            .arg(&file)
            .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    for _ in 0..2 {
        // Nobody serves it, and nobody is turned away.
        let mut client = Client::connect(address);
        let mut shield = start();
        assert!(client.reply().starts_with("220 "));
        client.begin();
        client.send(b"A: b\r\n\r\n.\r\n");
        assert!(client.reply().starts_with("250 "));
        shield.kill().unwrap();
        shield.wait().unwrap();
    }
    assert_eq!(backend.taken().len(), 2);
    // A socket that no listener names would have clients wait for nobody.
    std::fs::write(&file, text.replace(&address.to_string(), "127.0.0.1:0")).unwrap();
    assert_eq!(start().wait().unwrap().code(), Some(2));
}

#[test]
fn systemd_hears_that_the_shield_is_alive() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let notified = UnixDatagram::bind(&socket).unwrap();
    notified.set_read_timeout(Some(PATIENCE)).unwrap();
    let backend = Backend::start(OFFER);
    let environment = [
        ("NOTIFY_SOCKET", socket.to_str().unwrap()),
        ("WATCHDOG_USEC", "100000"),
    ];
    let text = config(&[backend.address], "");
    let _shield = Shield::start_with(directory.path(), &text, &environment);
    let mut said = 0;
    until(|| {
        let mut text = [0; 64];
        let count = notified.recv(&mut text).unwrap();
        &text[..count] == b"WATCHDOG=1"
    });
    while said < 2 {
        let mut text = [0; 64];
        let count = notified.recv(&mut text).unwrap();
        said += usize::from(&text[..count] == b"WATCHDOG=1");
    }
}

#[test]
fn a_server_is_guarded_by_one_command_without_a_file() {
    let backend = Backend::start(OFFER);
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailkeep-shield"));
        command
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let behind = backend.address.to_string();
    let mut child = run(&[
        "--listen",
        "127.0.0.1:0",
        "--guard",
        &behind,
        "--client-by",
        "header",
    ]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let listening = lines.find(|line| line.as_ref().unwrap().contains("\"listening\""));
    let listening: serde_json::Value = serde_json::from_str(&listening.unwrap().unwrap()).unwrap();
    let mut client = Client::connect(listening["address"].as_str().unwrap().parse().unwrap());
    assert!(client.reply().starts_with("220 "));
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    child.kill().unwrap();
    child.wait().unwrap();
    for args in [
        &["--listen", "127.0.0.1:0"][..],
        &["--guard", &behind],
        &["--listen", "here", "--guard", &behind],
        &[
            "--listen",
            "127.0.0.1:0",
            "--guard",
            &behind,
            "--client-by",
            "trust",
        ],
        &[
            "--listen",
            "127.0.0.1:0",
            "--guard",
            &behind,
            "--config",
            "x",
        ],
        &["--listen"],
    ] {
        assert_eq!(run(args).wait().unwrap().code(), Some(2), "{args:?}");
    }
}
