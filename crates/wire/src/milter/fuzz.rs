//! Entry point for fuzzing: any octets, as a mail server may send them to its filter.

use super::packet::PacketReader;
use super::{HeaderEdit, Milter, MilterLimits, MilterStep, Settled};
use crate::reply::{EnhancedCode, Reply};

/// A server's octets. The first says in how large pieces they come; in whatever pieces, the same must be seen, within
/// the limits, and all that is sent must be packets.
///
/// # Panics
///
/// Where that is not so.
pub fn server(data: &[u8]) {
    let (first, stream) = data.split_first().unwrap_or((&0, &[]));
    let whole = run(stream, usize::MAX);
    let pieces = run(stream, usize::from(*first) + 1);
    assert!(
        whole == pieces,
        "another split of the stream gives other steps"
    );
}

fn run(stream: &[u8], piece: usize) -> Vec<(String, Vec<u8>)> {
    let limits = MilterLimits {
        size: 300,
        envelope: 1000,
    };
    let mut milter = Milter::new(limits);
    let mut seen = Vec::new();
    let mut content = Vec::new();
    for part in stream.chunks(piece.clamp(1, stream.len().max(1))) {
        milter.feed(part);
        loop {
            let step = match milter.step(&mut content) {
                Ok(MilterStep::Feed) => break,
                Ok(step) => step,
                Err(error) => {
                    seen.push((error.kind().to_owned(), Vec::new()));
                    return seen;
                }
            };
            match &step {
                MilterStep::Send(octets) => {
                    check(octets);
                    seen.push((String::new(), octets.clone()));
                }
                MilterStep::Message { size, too_large } => {
                    assert!(content.len() <= 300, "more was handed out than the limit");
                    assert!(
                        *too_large || *size == content.len() as u64,
                        "the size is not that of the content"
                    );
                    let envelope = milter.envelope().clone();
                    let settled = settled(&envelope.sender, &content);
                    let instead =
                        Reply::new(451, EnhancedCode::new(4, 7, 1), "it cannot be kept here");
                    let octets = milter.settle(&settled, &instead);
                    check(&octets);
                    seen.push((format!("{envelope:?} {size}"), std::mem::take(&mut content)));
                    seen.push((String::new(), octets));
                }
                MilterStep::Forget => content.clear(),
                MilterStep::Quit => return seen,
                MilterStep::Feed => {}
            }
        }
    }
    seen
}

/// Each way in turn, with what the server itself said as text: none of it may become a packet of its own.
fn settled(sender: &str, content: &[u8]) -> Settled {
    let text = String::from_utf8_lossy(content).into_owned();
    let edits = vec![
        HeaderEdit::Remove {
            name: "Authentication-Results".to_owned(),
            nth: 1,
        },
        HeaderEdit::Insert {
            name: "Authentication-Results".to_owned(),
            value: format!("{sender}\n{text}"),
        },
    ];
    match content.len() % 4 {
        0 => Settled::Accept(edits),
        1 => Settled::Quarantine(edits, text),
        2 => Settled::Discard,
        _ => Settled::Reply(Reply::new(550, EnhancedCode::new(5, 7, 1), &text)),
    }
}

/// That octets are packets, the last of which settles.
fn check(octets: &[u8]) {
    let mut reader = PacketReader::default();
    reader.room().extend_from_slice(octets);
    let mut last = 0;
    while let Ok(Some((letter, data))) = reader.next_packet() {
        last = letter;
        if letter == b'y' {
            let text = data.strip_suffix(b"\0").unwrap_or_default();
            assert!(!text.contains(&0), "a reply has a NUL within");
            assert!(
                text.len() > "550 5.7.1 ".len(),
                "a reply has no text behind its code"
            );
        }
    }
    assert!(reader.is_empty(), "octets are left that are no packet");
    assert!(
        matches!(last, b'c' | b'd' | b'y' | b't' | b'O'),
        "the last packet settles nothing"
    );
}
