//! Many clients, slow ones, large messages, a full disk, certificates out of date: nothing lost, and memory bounded.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::bench::mta::{Mta, milter_address, milter_config};
use super::bench::{Backend, Client, Shield, config};
use super::{OFFER, secure, stand_with, tls_config};

/// Resident memory of the program, in KiB.
fn memory(shield: &Shield) -> u64 {
    status(shield, "VmRSS:")
}

/// A number of the program's that the kernel knows.
fn status(shield: &Shield, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", shield.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

#[test]
fn a_backend_that_is_slow_holds_its_own_clients_up_and_loses_nothing() {
    const CLIENTS: usize = 12;
    const SLOW: Duration = Duration::from_millis(200);
    let (_directory, backend, shield) = stand_with(OFFER, "");
    backend.orders.lock().unwrap().slow = SLOW;
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut client = shield.client();
            scope.spawn(move || {
                client.begin();
                client.send(b"A: b\r\n\r\n.\r\n");
                assert!(client.reply().starts_with("250 "));
            });
        }
    });
    let took = began.elapsed();
    // Each waits for five answers, of a backend that serves all at once.
    let one_by_one = SLOW * 5 * u32::try_from(CLIENTS).unwrap();
    assert!(took > SLOW * 5 && took < one_by_one / 2, "{took:?}");
    assert_eq!(backend.taken().len(), CLIENTS);
}

/// As many descriptors as this process may have.
fn all_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[test]
#[ignore = "takes a minute and 20,000 descriptors: cargo nextest run -p mailkeep-shield --test proxy \
            --run-ignored only --no-capture ten_thousand"]
fn ten_thousand_idle_clients_take_little_and_nobody_elses_place() {
    const CLIENTS: usize = 10_000;
    all_descriptors();
    let (_directory, _backend, shield) = stand_with(
        OFFER,
        "[limits]\nsessions = 20000\nsessions_per_client = 20000\n",
    );
    drop(shield.client());
    let before = memory(&shield);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(shield.client());
    }
    let all = memory(&shield);
    let each = (all - before) / CLIENTS as u64;
    println!("{CLIENTS} idle clients: {all} KiB in all, {each} KiB each");
    assert!(each < 64, "{each} KiB for each idle client");
    let mut client = shield.client();
    let began = Instant::now();
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    println!("one more client was served in {:?}", began.elapsed());
}

#[test]
#[ignore = "takes minutes and a gigabyte of disk: cargo nextest run -p mailkeep-shield --test proxy \
            --run-ignored only --no-capture largest_size"]
fn a_message_of_the_largest_size_on_every_connection_takes_bounded_memory() {
    const CLIENTS: usize = 1000;
    const SIZE: usize = 1 << 20;
    all_descriptors();
    // As many as there may be, each as large as it may be, and all looked into.
    let (_directory, backend, shield) = stand_with(
        OFFER,
        &format!(
            "[limits]\nmessage_size = {SIZE}\nsessions_per_client = 1000\n[content]\nmemory = 67108864\n"
        ),
    );
    backend.orders.lock().unwrap().forgets = true;
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| shield.client()).collect();
    let before = memory(&shield);
    let head = "From: a@client.example\r\n\r\n";
    let line = format!("{}\r\n", "x".repeat(998));
    let mut body = head.to_owned() + &line.repeat((SIZE - head.len()) / line.len());
    body.push_str(&"y".repeat(SIZE - body.len() - 2));
    body.push_str("\r\n");
    for client in &mut clients {
        client.begin();
    }
    for piece in body.as_bytes().chunks(64 << 10) {
        for client in &mut clients {
            client.send(piece);
        }
    }
    let under_way = memory(&shield);
    for client in &mut clients {
        client
            .stream
            .set_read_timeout(Some(Duration::from_mins(20)))
            .unwrap();
        client.send(b".\r\n");
    }
    let mut answers = std::collections::BTreeMap::new();
    for client in &mut clients {
        let reply = client.reply();
        *answers.entry(reply[..3].to_owned()).or_insert(0_usize) += 1;
    }
    let most = status(&shield, "VmHWM:");
    println!(
        "{CLIENTS} messages of {} KiB: {before} KiB before, {under_way} KiB under way, {most} KiB at most; {answers:?}",
        SIZE / 1024
    );
    // What there was no room for in time comes again.
    let acknowledged = answers.get("250").copied().unwrap_or(0);
    assert_eq!(
        acknowledged + answers.get("451").copied().unwrap_or(0),
        CLIENTS
    );
    assert_eq!(backend.taken().len(), acknowledged);
    assert!(most < 1 << 20, "{most} KiB");
}

#[test]
fn idle_clients_take_little_and_nobody_elses_place() {
    const CLIENTS: usize = 300;
    let (_directory, _backend, shield) =
        stand_with(OFFER, "[limits]\nsessions_per_client = 1000\n");
    drop(shield.client());
    let before = memory(&shield);
    let clients: Vec<_> = (0..CLIENTS).map(|_| shield.client()).collect();
    let each = (memory(&shield).saturating_sub(before)) / CLIENTS as u64;
    println!("{CLIENTS} idle clients: {each} KiB each");
    assert!(each < 64, "{each} KiB for each idle client");
    let mut client = shield.client();
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    drop(clients);
}

#[test]
fn a_message_that_drips_is_cut_off_and_the_backend_never_sees_it() {
    let (_directory, backend, mut shield) = stand_with(OFFER, "[limits]\nmessage_seconds = 1\n");
    let mut client = shield.client();
    client.begin();
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let began = Instant::now();
    let mut said = String::new();
    while said.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "it is held");
        if client.stream.write_all(b"x").is_err() {
            break;
        }
        said = client.reply();
    }
    assert!(said.starts_with("421 4.4.2 "), "{said:?}");
    assert_eq!(shield.event("session")["end"], "late");
    assert_eq!(backend.taken(), []);
    assert!(!backend.commands().contains(&"DATA".to_owned()));
}

#[test]
fn a_large_message_on_every_connection_takes_bounded_memory() {
    const CLIENTS: usize = 8;
    let line = format!("{}\r\n", "x".repeat(998));
    let piece = line.repeat(64);
    // Together far more than may be held.
    let pieces = (4 << 20) / piece.len();
    let (_directory, backend, shield) = stand_with(OFFER, "");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| shield.client()).collect();
    let before = memory(&shield);
    for client in &mut clients {
        client.begin();
        client.send(b"A: b\r\n\r\n");
    }
    for _ in 0..pieces {
        for client in &mut clients {
            client.send(piece.as_bytes());
        }
    }
    let held = memory(&shield).saturating_sub(before) / CLIENTS as u64;
    println!(
        "{CLIENTS} messages of {} KiB under way: {held} KiB each",
        pieces * piece.len() / 1024
    );
    assert!(held < 1500, "{held} KiB for each message under way");
    for client in &mut clients {
        client.send(b".\r\n");
        assert!(client.reply().starts_with("250 "));
    }
    let taken = backend.taken();
    assert_eq!(taken.len(), CLIENTS);
    let ends = taken
        .iter()
        .filter(|taken| taken.wire.ends_with(piece.as_bytes()));
    assert_eq!(ends.count(), CLIENTS);
}

#[test]
fn on_a_full_disk_the_sender_keeps_what_does_not_fit() {
    // In many pieces, and in two of which the last one does not fit.
    for (memory, lines) in [(1000, 10_000), (300_000, 5700)] {
        if !on_a_full_disk(memory, lines) {
            println!(
                "skipped: on_a_full_disk_the_sender_keeps_what_does_not_fit: no namespaces here"
            );
            return;
        }
    }
}

/// False where that cannot be tried here.
fn on_a_full_disk(memory: usize, lines: usize) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().display();
    let spool = directory.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let mount = format!("mount -t tmpfs -o size=512k none {}", spool.display());
    let own = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script]);
        command
    };
    let works = own(&mount).stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        return false;
    }
    let backend = Backend::start(OFFER);
    let text = config(
        &[backend.address],
        &format!("spool = \"{at}/spool\"\n[limits]\nmemory_per_message = {memory}\n"),
    );
    let script = format!("{mount} && exec \"$0\" \"$@\"");
    let mut shield = Shield::start_by(own(&script), directory.path(), &text);
    let mut client = shield.client();
    let body = [
        "A: b\r\n\r\n",
        &format!("{}\r\n", "x".repeat(98)).repeat(lines),
    ]
    .concat();
    for _ in 0..2 {
        client.begin();
        client.send(body.as_bytes());
        client.send(b".\r\n");
        assert_eq!(
            client.reply(),
            "451 4.3.0 the message could not be stored here; try again later\r\n"
        );
        shield.event("spool-failed");
        let line = shield.event("message");
        assert_eq!(line["verdict"], "tempfail");
        assert_eq!(line["why"], "spool-failed");
    }
    assert_eq!(backend.taken(), []);
    // What fits goes on: nothing is left behind by those that did not.
    client.begin();
    client.send(&body.as_bytes()[..400_008]);
    client.send(b".\r\n");
    assert!(client.reply().starts_with("250 "));
    assert_eq!(backend.taken().len(), 1);
    true
}

#[test]
fn a_spool_that_fails_at_the_last_octets_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(OFFER);
    let gone = directory.path().join("spool");
    std::fs::create_dir(&gone).unwrap();
    let more = format!(
        "spool = \"{}\"\n[limits]\nmemory_per_message = 1000\n",
        gone.display()
    );
    let mut shield = Shield::start(directory.path(), &config(&[backend.address], &more));
    std::fs::remove_dir(&gone).unwrap();
    let mut client = shield.client();
    client.begin();
    // All of it at once.
    client.send(format!("A: b\r\n\r\n{}\r\n.\r\n", "x".repeat(2000)).as_bytes());
    assert!(client.reply().starts_with("451 4.3.0 "));
    shield.event("spool-failed");
    assert_eq!(shield.event("message")["why"], "spool-failed");
    assert_eq!(backend.taken(), []);
}

#[test]
fn a_mail_server_keeps_what_its_filter_cannot_store_and_the_log_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("spool");
    std::fs::create_dir(&gone).unwrap();
    let more = format!(
        "spool = \"{}\"\n[limits]\nmemory_per_message = 1000\n",
        gone.display()
    );
    let mut shield = Shield::start(directory.path(), &milter_config(&more));
    std::fs::remove_dir(&gone).unwrap();
    let mut mta = Mta::connect(milter_address(&mut shield));
    mta.client("client.example", "192.0.2.1", "client.example");
    mta.envelope("a@client.example", &["b@site.example"]);
    mta.content(format!("A: b\r\n\r\n{}\r\n", "x".repeat(2000)).as_bytes());
    // It does what it was told for a filter that hangs up.
    assert_eq!(mta.answer(), None);
    assert_eq!(shield.event("spool-failed")["milter"], "filter");
    assert_eq!(shield.event("milter-broken")["why"], "spool-failed");
}

/// A certificate for `backend.example` that ends in this year.
fn of_backend(year: i32) -> (Arc<ServerConfig>, String) {
    let mut params = rcgen::CertificateParams::new(vec!["backend.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], der)
        .unwrap();
    (Arc::new(config), certificate.pem())
}

#[test]
fn a_backend_must_show_a_certificate_that_holds_and_nothing_is_said_in_clear() {
    for (year, name, why) in [
        (2090, "backend.example", None),
        (2021, "backend.example", Some("backend-tls")),
        (2090, "another.example", Some("backend-tls")),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let backend = Backend::start(&["STARTTLS", "SIZE"]);
        let (tls, root) = of_backend(year);
        backend.orders.lock().unwrap().tls = Some(tls);
        let roots = directory.path().join("roots.pem");
        std::fs::write(&roots, root).unwrap();
        let at = roots.display();
        let text =
            config(&[backend.address], "") + &format!("starttls = \"{name}\"\nroots = \"{at}\"\n");
        let shield = Shield::start(directory.path(), &text);
        if let Some(why) = why {
            let down = shield
                .log
                .iter()
                .find(|line| line["event"] == "backend-down");
            assert_eq!(down.unwrap()["why"], why, "{year} {name}");
            let mut client = Client::connect(shield.address());
            assert!(client.reply().starts_with("421 4.3.2 "));
            let commands = backend.commands();
            assert!(!commands.iter().any(|line| line.starts_with("MAIL")));
            continue;
        }
        let mut client = shield.client();
        client.begin();
        client.send(b"A: b\r\n\r\n.\r\n");
        assert!(client.reply().starts_with("250 "));
        let commands = backend.commands();
        let secured = commands.iter().rposition(|line| line == "STARTTLS");
        let mail = commands.iter().position(|line| line.starts_with("MAIL"));
        assert!(secured.is_some() && secured < mail, "{commands:?}");
    }
}

#[test]
fn over_tls_too_an_answer_that_nobody_asked_for_acknowledges_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(&["STARTTLS"]);
    let (tls, root) = of_backend(2090);
    backend.orders.lock().unwrap().tls = Some(tls);
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, root).unwrap();
    let text = config(&[backend.address], "")
        + &format!(
            "starttls = \"backend.example\"\nroots = \"{}\"\n",
            roots.display()
        );
    let shield = Shield::start(directory.path(), &text);
    let mut client = shield.client();
    client.ask("EHLO client.example");
    client.ask("MAIL FROM:<>");
    // Three answers to one command: in one record of TLS, as in one segment.
    backend.answer_once("RCPT", "250 fine\r\n354 go\r\n250 2.0.0 early\r\n");
    client.ask("RCPT TO:<c@d>");
    assert!(client.ask("DATA").starts_with("354 "));
    client.send(b"A: b\r\n\r\n.\r\n");
    let reply = client.reply();
    // It is asked anew, from the beginning.
    assert!(reply.starts_with("250 2.0.0 queued"), "{reply}");
    assert_eq!(backend.taken().len(), 1);
}

#[test]
fn a_certificate_that_has_ended_is_told_and_mail_still_comes() {
    let directory = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["shield.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(directory.path().join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(directory.path().join("key.pem"), key.serialize_pem()).unwrap();
    let backend = Backend::start(OFFER);
    let mut shield = Shield::start(directory.path(), &tls_config(directory.path(), &backend));
    let told = shield.event("certificate-expired");
    assert_eq!(told["not_after"], "2021-01-01T00:00:00Z");
    assert!(
        secure(shield.client(), &certificate.pem()).is_err(),
        "whoever looks is warned"
    );
    let mut client = shield.client();
    client.begin();
    client.send(b"A: b\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
}

/// A TLS 1.2 hello that asks for this name.
fn hello(name: &[u8]) -> Vec<u8> {
    let short = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let mut names = vec![0];
    names.extend(short(name.len()));
    names.extend(name);
    let mut extensions = Vec::new();
    for (kind, content) in [
        (0_u16, [&short(names.len())[..], &names].concat()),
        (10, b"\0\x02\0\x17".to_vec()),
        (13, b"\0\x04\x04\x03\x08\x04".to_vec()),
    ] {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(short(content.len()));
        extensions.extend(content);
    }
    let mut body = b"\x03\x03".to_vec();
    body.extend([7; 32]);
    // No session, two cipher suites (ECDHE with AES-GCM), no compression.
    body.extend(b"\0\0\x04\xc0\x2b\xc0\x2f\x01\0");
    body.extend(short(extensions.len()));
    body.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend(short(body.len()));
    handshake.extend(body);
    let mut record = b"\x16\x03\x01".to_vec();
    record.extend(short(handshake.len()));
    record.extend(handshake);
    record
}

#[test]
fn a_name_in_the_handshake_that_is_no_host_name_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    super::certificate(directory.path(), "shield.example");
    let backend = Backend::start(OFFER);
    let text = tls_config(directory.path(), &backend)
        .replace("name = \"mx\"", "name = \"mx\"\nkind = \"submissions\"");
    let mut shield = Shield::start(directory.path(), &text);
    let mut answer = |name: &[u8]| {
        let mut stream = TcpStream::connect(shield.address()).unwrap();
        stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
        stream.write_all(&hello(name)).unwrap();
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        if first[0] == 0x15 {
            shield.event("handshake-failed");
        }
        first[0]
    };
    // 0x16 is a handshake that goes on, 0x15 an alert. The look-alike first.
    assert_eq!(answer(b"shield.example"), 0x16);
    assert_eq!(answer(b"mx_1.example"), 0x16);
    // CVE-2019-15846 begins with a backslash at the end.
    for name in [
        &b"shield.example\\"[..],
        b"shield\0.example",
        b"shield.example\n",
        b"a b",
        b"$(id)",
        b"",
        &[b'a'; 300],
    ] {
        assert_eq!(answer(name), 0x15, "{name:?}");
    }
}
