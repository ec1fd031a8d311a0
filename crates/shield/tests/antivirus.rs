//! Virus scanners behind the shield: nothing infected passes, whatever they do.

#![allow(
    clippy::format_push_string,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and owns both ends"
)]

mod bench;

use std::sync::atomic::Ordering;

use bench::clamd::{Clamd, Does, INFECTED, RealClamd, TEST_FILES, with_file};
use bench::mta::{Mta, milter_address, milter_config};
use bench::{Backend, Shield, config, free_address, get};
use jiff::{Timestamp, ToSpan as _};

/// A scanner's answer to VERSION, so many hours after its definitions were made.
fn version(hours: i64) -> String {
    let date = Timestamp::now() - hours.hours();
    let date = date.strftime("%a %b %e %H:%M:%S %Y");
    format!("ClamAV 1.4.6/27400/{date}")
}

const PLAIN: &[u8] = b"From: a@client.example\r\nSubject: hello\r\n\r\nnothing but text\r\n";

/// By the scanner alone, without the shield's own rules.
fn milter(more: &str) -> (tempfile::TempDir, Shield, Mta) {
    let directory = tempfile::tempdir().unwrap();
    let config = milter_config(&format!("[content]\nlevel = \"off\"\n{more}"));
    let mut shield = Shield::start(directory.path(), &config);
    let address = milter_address(&mut shield);
    let mut mta = Mta::connect(address);
    mta.client("client.example", "192.0.2.1", "client.example");
    (directory, shield, mta)
}

#[test]
fn whatever_a_scanner_does_no_infected_message_passes() {
    let clamd = Clamd::start(&version(1));
    let (_directory, _shield, mut mta) = milter(&clamd.engine("one", ""));
    let infected = with_file("a.bin", INFECTED.as_bytes());
    let coded = format!("Content-Type: text/html\r\n\r\n{INFECTED}\r\n");
    let clean = with_file("a.bin", b"nothing");
    let to = ["b@site.example"];
    for does in [
        Does::Scans,
        Does::Hangs,
        Does::Dies,
        Does::Leaves,
        Does::Confuses,
        Does::Babbles,
        Does::TooSmall,
        Does::Scans,
    ] {
        clamd.now(does);
        let answer = mta.message("a@client.example", &to, coded.as_bytes());
        let expected = if does == Does::Scans {
            "550 5.7.1 "
        } else {
            "451 4.7.1 "
        };
        assert!(answer.refused_with(expected), "{does:?}: {answer:?}");
        let answer = mta.message("a@client.example", &to, &infected);
        // The scripted scanner reads no base64: what it does not answer is what counts.
        assert!(
            answer.accepted() == (does == Does::Scans),
            "{does:?}: {answer:?}"
        );
        let answer = mta.message("a@client.example", &to, &clean);
        assert_eq!(
            answer.accepted(),
            does == Does::Scans,
            "{does:?}: {answer:?}"
        );
        // What can hold nothing goes on meanwhile.
        let answer = mta.message("a@client.example", &to, PLAIN);
        assert!(answer.accepted(), "{does:?}: {answer:?}");
    }
}

/// Octets in base64, that are no part of a message and that the message does not call base64 either.
fn coded(octets: &[u8]) -> String {
    let whole = String::from_utf8(with_file("a.pdf", octets)).unwrap();
    let coded = whole.rsplit_once("\r\n\r\n").unwrap().1;
    let coded = coded.split_once("--b--").unwrap().0;
    format!("see below\r\n\r\n{coded}\r\nthat was it\r\n")
}

fn document(holds: &str) -> String {
    coded(format!("%PDF-1.4\n{holds}\n{}", "1 0 obj\n".repeat(40)).as_bytes())
}

/// A tar archive of so many small files.
fn archive(count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for nth in 0..count {
        let mut head = vec![0; 512];
        let mut put =
            |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, &format!("{nth}.txt"));
        put(100, "0000644");
        put(124, "00000000007");
        put(148, "        ");
        put(156, "0");
        put(257, "ustar");
        put(263, "00");
        let sum: u32 = head.iter().map(|octet| u32::from(*octet)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(head);
        out.extend(format!("note {nth:02}").as_bytes());
        out.extend(vec![0; 505]);
    }
    out.extend(vec![0; 1024]);
    out
}

fn hidden() -> Vec<u8> {
    format!(
        "From: a@client.example\r\nSubject: x\r\n\r\n{}",
        document(INFECTED)
    )
    .into_bytes()
}

#[test]
fn what_only_an_unusual_reading_finds_is_scanned_by_itself() {
    let clamd = Clamd::start(&version(1));
    let archive = with_file("a.bin", INFECTED.as_bytes());
    for (parts, infected) in [
        ("none", &[] as &[Vec<u8>]),
        ("unusual", &[hidden()]),
        ("all", &[hidden(), archive]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let config = milter_config(&format!(
            "[antivirus]\nparts = \"{parts}\"\n{}",
            clamd.engine("one", "")
        ));
        let mut shield = Shield::start(directory.path(), &config);
        let mut mta = Mta::connect(milter_address(&mut shield));
        mta.client("client.example", "192.0.2.1", "client.example");
        for message in [hidden(), with_file("a.bin", INFECTED.as_bytes())] {
            let answer = mta.message("a@client.example", &["b@site.example"], &message);
            let expected = infected.contains(&message);
            assert_eq!(
                answer.refused_with("550 5.7.1 a virus"),
                expected,
                "{parts}: {answer:?}"
            );
            assert_eq!(answer.accepted(), !expected, "{parts}: {answer:?}");
        }
    }
}

#[test]
fn what_no_scanner_was_given_does_not_pass_by_the_word_of_one() {
    let clamd = Clamd::start(&version(1));
    let directory = tempfile::tempdir().unwrap();
    let config = milter_config(&format!(
        "[antivirus]\nparts = \"all\"\none_is_enough = true\n{}",
        clamd.engine("one", "")
    ));
    let mut shield = Shield::start(directory.path(), &config);
    let mut mta = Mta::connect(milter_address(&mut shield));
    mta.client("client.example", "192.0.2.1", "client.example");
    let mut many = String::from(
        "From: a@client.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n",
    );
    for nth in 0..70 {
        many.push_str(&format!(
            "\r\n--b\r\nContent-Type: application/octet-stream; name=\"{nth}.bin\"\r\n\r\nnote {nth}\r\n"
        ));
    }
    many.push_str("\r\n--b--\r\n");
    // However many there are that anybody finds: they lie in the message that was scanned.
    let answer = mta.message("a@client.example", &["b@site.example"], many.as_bytes());
    assert!(answer.accepted(), "{answer:?}");
    shield.event("message");
    // Another try would change nothing.
    let hidden = format!("From: a@client.example\r\n\r\n{}", coded(&archive(70)));
    let answer = mta.message("a@client.example", &["b@site.example"], hidden.as_bytes());
    assert!(answer.refused_with("550 5.7.1 "), "{answer:?}");
    assert_eq!(shield.event("message")["rule"], "antivirus-too-many-parts");
}

#[test]
fn what_waits_for_a_scanner_counts_as_memory() {
    let clamd = Clamd::start(&version(1));
    let directory = tempfile::tempdir().unwrap();
    // For two large messages, and what is handed out of one of them.
    let engine = clamd
        .engine("one", "")
        .replace("seconds = 1", "seconds = 5");
    let config = milter_config(&format!("[content]\nmemory = 40960\n{engine}"));
    let mut shield = Shield::start(directory.path(), &config);
    let address = milter_address(&mut shield);
    let large = format!(
        "From: a@client.example\r\n\r\n{}",
        document(&"x".repeat(9_000))
    );
    let small = format!("From: a@client.example\r\n\r\n{}", document("x"));
    let answer = |message: &str| {
        let mut mta = Mta::connect(address);
        mta.client("client.example", "192.0.2.1", "client.example");
        mta.message("a@client.example", &["b@site.example"], message.as_bytes())
    };
    clamd.now(Does::Hangs);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| answer(&large));
        bench::until(|| clamd.hung.load(Ordering::SeqCst) > 0);
        clamd.now(Does::Scans);
        for (message, expected) in [(&large, false), (&small, true)] {
            let answer = answer(message);
            assert_eq!(answer.accepted(), expected, "{answer:?}");
            if !expected {
                assert!(answer.refused_with("451 4.7.1 "), "{answer:?}");
                assert_eq!(shield.event("message")["rule"], "antivirus-late");
            }
        }
        assert!(!waits.join().unwrap().accepted());
    });
    assert!(answer(&large).accepted(), "there is room again");
}

#[test]
fn a_message_that_finds_no_room_is_put_off_at_every_door_and_that_is_told() {
    let clamd = Clamd::start(&version(1));
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(&[]);
    let engine = clamd
        .engine("one", "")
        .replace("seconds = 1", "seconds = 300");
    let more = format!(
        "[content]\nmemory = 8192\nseconds = 5\n{engine}\n\
         [[milter]]\nname = \"filter\"\nsocket = \"inet:127.0.0.1:0\"\n"
    );
    let mut shield = Shield::start(directory.path(), &config(&[backend.address], &more));
    let address = milter_address(&mut shield);
    let to = ["b@site.example"];
    let mta = || {
        let mut mta = Mta::connect(address);
        mta.client("client.example", "192.0.2.1", "client.example");
        mta
    };
    clamd.now(Does::Hangs);
    let mut waits = mta();
    waits.envelope("a@client.example", &to);
    waits.content(&[PLAIN, &b"x".repeat(10_000)].concat());
    bench::until(|| clamd.hung.load(Ordering::SeqCst) > 0);

    let answer = mta().message("a@client.example", &to, PLAIN);
    assert!(answer.refused_with("451 4.7.1 "), "{answer:?}");
    assert_eq!(shield.event("message")["why"], "no-room");
    let mut client = shield.client();
    client.begin();
    client.send(PLAIN);
    client.send(b".\r\n");
    let reply = client.reply();
    assert!(reply.starts_with("451 4.7.1 "), "{reply}");
    assert_eq!(shield.event("message")["why"], "no-room");
    assert_eq!(backend.taken(), []);
}

#[test]
fn a_message_that_takes_all_memory_is_scanned_with_its_parts() {
    let clamd = Clamd::start(&version(1));
    let directory = tempfile::tempdir().unwrap();
    let engine = clamd.engine("one", "");
    let config = milter_config(&format!("[content]\nmemory = 8192\n{engine}"));
    let mut shield = Shield::start(directory.path(), &config);
    let address = milter_address(&mut shield);
    for (holds, expected) in [("x", true), (INFECTED, false)] {
        let message = format!(
            "From: a@client.example\r\n\r\n{}",
            document(&format!("{}{holds}", "x".repeat(9_000)))
        );
        let mut mta = Mta::connect(address);
        mta.client("client.example", "192.0.2.1", "client.example");
        let answer = mta.message("a@client.example", &["b@site.example"], message.as_bytes());
        assert_eq!(answer.accepted(), expected, "{answer:?}");
    }
}

#[test]
fn where_policy_says_so_nothing_passes_without_a_scanner() {
    let clamd = Clamd::start(&version(1));
    clamd.now(Does::Leaves);
    let more = format!(
        "[antivirus]\nwhen_dead = \"tempfail\"\n{}",
        clamd.engine("one", "")
    );
    let (_directory, mut shield, mut mta) = milter(&more);
    let answer = mta.message("a@client.example", &["b@site.example"], PLAIN);
    assert!(answer.refused_with("451 4.7.1 "), "{answer:?}");
    let line = shield.event("message");
    assert_eq!(line["verdict"], "tempfail");
    assert_eq!(line["rule"], "antivirus-closed");
}

#[test]
fn one_scanner_of_two_is_enough_to_refuse_and_none_to_pass() {
    let (one, other) = (Clamd::start(&version(1)), Clamd::start(&version(1)));
    let more = format!("{}{}", one.engine("one", ""), other.engine("other", ""));
    let (_directory, _shield, mut mta) = milter(&more);
    let coded = format!("Content-Type: text/html\r\n\r\n{INFECTED}\r\n");
    let clean = with_file("a.bin", b"nothing");
    let mut message =
        |message: &[u8]| mta.message("a@client.example", &["b@site.example"], message);
    assert!(message(coded.as_bytes()).refused_with("550 "));
    assert!(message(&clean).accepted());
    other.now(Does::Leaves);
    assert!(message(coded.as_bytes()).refused_with("550 "));
    assert!(message(&clean).refused_with("451 "));
}

#[test]
fn definitions_that_are_old_or_of_unknown_age_are_never_taken_for_fresh() {
    let clean = with_file("a.bin", b"nothing");
    for (answer, freshness, more, accepted) in [
        (version(1), "fresh", "", true),
        (version(100), "stale", "", false),
        ("ClamAV 1.4.6".to_owned(), "unknown", "", false),
        (
            "ClamAV 1.4.6".to_owned(),
            "unknown",
            "own_definitions = true",
            true,
        ),
    ] {
        let clamd = Clamd::start(&answer);
        let directory = tempfile::tempdir().unwrap();
        let config = milter_config(&format!(
            "metrics = \"127.0.0.1:0\"\n[content]\nlevel = \"off\"\n{}",
            clamd.engine("one", more)
        ));
        let mut shield = Shield::start(directory.path(), &config);
        let said = if freshness == "fresh" {
            "antivirus-up"
        } else {
            "definitions-not-fresh"
        };
        let line = shield.event(said);
        assert_eq!(line["freshness"], freshness);
        assert_eq!(line["alert"], freshness != "fresh");
        let address = milter_address(&mut shield);
        let mut mta = Mta::connect(address);
        let answer = mta.message("a@client.example", &["b@site.example"], &clean);
        assert_eq!(answer.accepted(), accepted, "{freshness}: {answer:?}");
        // Plain text goes on in any case.
        assert!(
            mta.message("a@client.example", &["b@site.example"], PLAIN)
                .accepted()
        );
    }
}

#[test]
fn a_scanner_may_have_any_name_in_the_metrics() {
    let clamd = Clamd::start(&version(1));
    let directory = tempfile::tempdir().unwrap();
    let metrics = free_address();
    let config = milter_config(&format!(
        "metrics = \"{metrics}\"\n{}",
        clamd.engine("the \\\"second\\\"", "")
    ));
    let mut shield = Shield::start(directory.path(), &config);
    shield.event("antivirus-up");
    let line = r#"mailkeep_shield_antivirus_up{engine="the \"second\""} 1"#;
    let text = get(metrics, "/metrics");
    assert!(text.contains(line), "{text}");
}

/// Sends each of Debian's test files through a real clamd, by the milter and by the proxy.
#[test]
fn every_test_file_is_found_by_a_real_scanner() {
    let directory = tempfile::tempdir().unwrap();
    let Some(clamd) = RealClamd::start(directory.path()) else {
        println!(
            "skipped: every_test_file_is_found_by_a_real_scanner: no clamav-daemon, no clamav-testfiles"
        );
        return;
    };
    let backend = Backend::start(&["PIPELINING"]);
    let more = format!("[content]\nlevel = \"off\"\n{}", clamd.engine());
    let config = format!(
        "{}[[milter]]\nname = \"filter\"\nsocket = \"inet:127.0.0.1:0\"\n",
        config(&[backend.address], &more)
    );
    let mut shield = Shield::start(directory.path(), &config);
    let mut client = shield.client();
    let mut mta = Mta::connect(milter_address(&mut shield));
    let (mut by_milter, mut by_proxy, mut count) = (0, 0, 0);
    for entry in std::fs::read_dir(TEST_FILES).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let message = with_file(&name, &std::fs::read(&path).unwrap());
        count += 1;
        let answer = mta.message("a@client.example", &["b@site.example"], &message);
        by_milter += usize::from(answer.refused_with("550 5.7.1 "));
        if answer.accepted() {
            println!("{name} was not found");
        }
        client.begin();
        client.send(&message);
        client.send(b".\r\n");
        let reply = client.reply();
        by_proxy += usize::from(reply.starts_with("550 5.7.1 "));
    }
    println!("found of {count} test files: {by_milter} by milter, {by_proxy} by proxy");
    assert_eq!((by_milter, by_proxy, count), (44, 44, 44));
    assert!(backend.taken().is_empty());
    client.begin();
    client.send(&with_file("a.txt", b"nothing"));
    client.send(b".\r\n");
    assert_eq!(client.reply(), "250 2.0.0 queued as 1\r\n");
}

#[test]
fn nothing_infected_passes_while_a_real_scanner_is_killed_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mut clamd) = RealClamd::start(directory.path()) else {
        println!(
            "skipped: nothing_infected_passes_while_a_real_scanner_is_killed_and_comes_back: no clamav-daemon"
        );
        return;
    };
    let (_directory, _shield, mut mta) = milter(&clamd.engine());
    let infected = with_file(
        "clam.zip",
        &std::fs::read(format!("{TEST_FILES}/clam.zip")).unwrap(),
    );
    let clean = with_file("a.txt", b"nothing");
    for round in 0..3 {
        let mut message =
            |message: &[u8]| mta.message("a@client.example", &["b@site.example"], message);
        assert!(message(&infected).refused_with("550 "), "{round}");
        assert!(message(&clean).accepted(), "{round}");
        clamd.kill();
        for _ in 0..3 {
            assert!(message(&infected).refused_with("451 "), "{round}");
            assert!(message(&clean).refused_with("451 "), "{round}");
            assert!(message(PLAIN).accepted(), "{round}");
        }
        clamd.restart();
    }
}
