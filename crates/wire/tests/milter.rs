//! Dialogues of mail servers with their filter (`tests/milter/*.testcase`), and what must be true of any.
//!
//! A line `> X TEXT` is a packet of the server with the letter X, `< X TEXT` one that is sent to it and no other, `< `
//! alone nothing. `= TEXT` is the message that is whole; `! reply CODE TEXT`, `! accept`, `! discard`, `! quarantine TEXT` settle
//! it. In TEXT `\0`, `\r`, `\n`, `\t`, `\\` and `\xNN` stand for octets.

#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test reads its dialogues"
)]

#[path = "dialogue/octets.rs"]
mod octets;
#[path = "../../../fuzz/replay.rs"]
mod replay;

use mailkeep_wire::milter::{HeaderEdit, Milter, MilterLimits, MilterStep, Settled};
use mailkeep_wire::{EnhancedCode, Reply};
use octets::octets;
use proptest::prelude::*;

fn packet(letter: u8, data: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(data.len() + 1)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    out.push(letter);
    out.extend_from_slice(data);
    out
}

/// What one line is about: a packet as octets.
fn line(rest: &str) -> Vec<u8> {
    let rest = rest.trim_start();
    let Some(letter) = rest.bytes().next() else {
        return Vec::new();
    };
    packet(letter, &octets(rest.get(2..).unwrap_or_default()))
}

fn settled(order: &str) -> Settled {
    let (word, rest) = order.split_once(' ').unwrap_or((order, ""));
    let edits = vec![
        HeaderEdit::Insert {
            name: "Authentication-Results".to_owned(),
            value: "mx.example;\n\tspf=pass".to_owned(),
        },
        HeaderEdit::Remove {
            name: "X-Forged".to_owned(),
            nth: 1,
        },
        HeaderEdit::Remove {
            name: "X-Forged".to_owned(),
            nth: 2,
        },
    ];
    match word {
        "accept" => Settled::Accept(edits),
        "discard" => Settled::Discard,
        "quarantine" => Settled::Quarantine(Vec::new(), rest.to_owned()),
        "reply" => {
            let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let code: u16 = code.parse().unwrap();
            let class = u8::try_from(code / 100).unwrap();
            Settled::Reply(Reply::new(code, EnhancedCode::new(class, 7, 1), text))
        }
        other => panic!("{other}"),
    }
}

/// Plays a dialogue, whole packets or octet by octet.
fn play(name: &str, dialogue: &str, piece: usize) {
    let mut milter = Milter::new(MilterLimits::default());
    let instead = Reply::new(451, EnhancedCode::new(4, 7, 1), "nobody can keep it");
    let mut sent = Vec::new();
    let mut content = Vec::new();
    let mut whole = false;
    let mut error = None;
    for (nth, text) in dialogue.lines().enumerate() {
        let place = format!("{name}:{}", nth + 1);
        let (mark, rest) = text.split_at(text.len().min(1));
        match mark {
            "" | "#" => {}
            ">" => {
                for part in line(rest).chunks(piece) {
                    milter.feed(part);
                    loop {
                        match milter.step(&mut content) {
                            Ok(MilterStep::Feed) => break,
                            Ok(MilterStep::Send(octets)) => sent.extend(octets),
                            Ok(MilterStep::Message { .. }) => whole = true,
                            Ok(MilterStep::Forget) => content.clear(),
                            Ok(MilterStep::Quit) => sent.extend(b"quit"),
                            Err(wrong) => {
                                error = Some(wrong.kind());
                                break;
                            }
                        }
                    }
                }
            }
            "<" => {
                let expected = line(rest);
                let got: Vec<u8> = sent.drain(..expected.len().min(sent.len())).collect();
                assert_eq!(
                    got.escape_ascii().to_string(),
                    expected.escape_ascii().to_string(),
                    "{place}"
                );
                if expected.is_empty() {
                    assert!(sent.is_empty(), "{place}: {}", sent.escape_ascii());
                }
            }
            "=" => {
                assert!(std::mem::take(&mut whole), "{place}: no message");
                assert_eq!(
                    content.escape_ascii().to_string(),
                    octets(rest.trim_start()).escape_ascii().to_string(),
                    "{place}"
                );
                content.clear();
            }
            "@" => assert_eq!(format!("{:?}", milter.envelope()), rest.trim(), "{place}"),
            "!" => sent.extend(milter.settle(&settled(rest.trim()), &instead)),
            "?" => assert_eq!(error.take(), Some(rest.trim()), "{place}"),
            other => panic!("{place}: {other:?}"),
        }
        if mark != "?" && mark != ">" {
            assert_eq!(error, None, "{place}");
        }
    }
}

#[test]
fn every_dialogue_goes_as_written() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/milter");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let dialogue = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        play(&name, &dialogue, usize::MAX);
        play(&name, &dialogue, 1);
        count += 1;
    }
    assert!(count >= 4, "{count} dialogues");
}

#[test]
fn every_server_of_the_corpus_is_survived() {
    replay::replay("milter", mailkeep_wire::milter::fuzz::server);
}

#[test]
fn a_packet_that_says_it_is_long_costs_nothing() {
    let mut milter = Milter::new(MilterLimits::default());
    milter.feed(b"\xff\xff\xff\xff");
    let error = milter.step(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), "milter-packet-length");
}

#[test]
fn an_envelope_beyond_its_limit_ends_the_connection() {
    let mut milter = Milter::new(MilterLimits::default());
    milter.feed(&packet(
        b'O',
        &[0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff],
    ));
    milter.feed(&packet(b'M', b"<a@client.example>\0"));
    let mut content = Vec::new();
    while milter.step(&mut content).unwrap() != MilterStep::Feed {}
    let ended = (0..20_000).find_map(|_| {
        milter.feed(&packet(b'R', b"<somebody@site.example>\0"));
        milter.step(&mut content).err()
    });
    assert_eq!(ended.unwrap().kind(), "milter-envelope-too-large");
}

#[test]
fn a_message_beyond_the_limit_is_told_to_be_too_large_and_is_not_kept() {
    let limits = MilterLimits {
        size: 1000,
        ..MilterLimits::default()
    };
    let mut milter = Milter::new(limits);
    milter.feed(&packet(
        b'O',
        &[0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff],
    ));
    milter.feed(&packet(b'M', b"<>\0"));
    milter.feed(&packet(b'N', b""));
    for _ in 0..10 {
        milter.feed(&packet(b'B', &[b'a'; 500]));
    }
    milter.feed(&packet(b'E', b""));
    let mut content = Vec::new();
    let step = loop {
        match milter.step(&mut content).unwrap() {
            MilterStep::Send(_) => {}
            step => break step,
        }
    };
    assert_eq!(
        step,
        MilterStep::Message {
            size: 5002,
            too_large: true
        }
    );
    assert!(content.len() <= 1000);
}

/// What conversations are made of, and what breaks them.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = proptest::sample::select(vec![
        packet(b'O', &[0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff]),
        packet(b'O', &[0, 0, 0, 2, 0, 0, 0, 0x3f, 0, 0, 0, 0x7f]),
        packet(b'D', b"Mi\x004BC\0{auth_authen}\0ada\0"),
        packet(b'C', b"client.example\x004\0\x19192.0.2.1\0"),
        packet(b'C', b"localhost\0L\0\0/run/x\0"),
        packet(b'H', b"client.example\0"),
        packet(b'M', b"<a@client.example>\0SIZE=3\0"),
        packet(b'R', b"<b@site.example>\0"),
        packet(b'T', b""),
        packet(b'L', b"Subject\0 one\n two\0"),
        packet(b'N', b""),
        packet(b'B', b"a%\r\n"),
        packet(b'E', b""),
        packet(b'A', b""),
        packet(b'K', b""),
        packet(b'U', b"FOO\0"),
        packet(b'Z', b""),
        packet(b'B', b""),
        b"\0".to_vec(),
    ]);
    let usual = proptest::collection::vec(piece.clone(), 0..25);
    (any::<bool>(), usual).prop_map(|(begun, pieces)| {
        let mut stream = Vec::new();
        if begun {
            stream.extend(packet(
                b'O',
                &[0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff],
            ));
            stream.extend(packet(b'M', b"<a@client.example>\0"));
        }
        stream.extend(pieces.concat());
        stream
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_split_of_a_connection_gives_the_same_messages(cut in any::<u8>(), stream in streams()) {
        let mut data = vec![cut % 40];
        data.extend(stream);
        mailkeep_wire::milter::fuzz::server(&data);
    }

    #[test]
    fn any_octets_of_a_server_are_survived(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        mailkeep_wire::milter::fuzz::server(&data);
    }
}
