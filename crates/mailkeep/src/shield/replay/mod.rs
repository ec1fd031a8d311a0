//! A site's own mail held against the rules of the shield, before they refuse anything.
//!
//! Entry: [`sessions`] follows the SMTP sessions of a capture and hands out what their commands break, and each message;
//! [`of_message`] looks at a message that lies in a file. Both say what would be refused, and refuse nothing. The content
//! of a message is judged by whoever asks, as any other.

pub mod capture;
pub mod dialogue;
pub mod exceptions;
pub mod streams;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Read;
use std::rc::Rc;

use mailkeep_inspect::rules::Compiled;
use mailkeep_inspect::{Reason, Verdict};
use mailkeep_model::text::printable_max;
use mailkeep_wire::{
    Action, Actions, Command, ContentLimits, ContentReader, Offer, Progress, Rule,
};
use serde::Serialize;

use self::capture::{CaptureError, Skipped};
use self::dialogue::{Dialogue, Piece, Pieces};
use self::exceptions::Exceptions;
use self::streams::{Limits, Streams};

/// Characters of what was seen that are shown.
const SHOWN: usize = 120;

/// Which rules one belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// The generic rules on SMTP.
    Generic,
    /// The virtual patches of a bundle.
    Patch,
    /// The rules on what is in a message.
    Content,
}

impl Group {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Generic => "generic",
            Self::Patch => "patch",
        }
    }
}

/// What a rule does where it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acts {
    /// It refuses.
    Refuse,
    /// It would, were it enforced: it is set to be monitored.
    Monitor,
    /// It tells, and no more.
    Notice,
}

impl Acts {
    const fn of(action: Action) -> Self {
        match action {
            Action::Refuse => Self::Refuse,
            Action::Monitor => Self::Monitor,
        }
    }

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Notice => "notice",
            Self::Refuse => "refuse",
        }
    }
}

/// A rule that applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// Its stable name.
    pub rule: String,
    /// Which rules it belongs to.
    pub group: Group,
    /// What it does.
    pub acts: Acts,
    /// What it is about.
    pub text: String,
    /// What it saw.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// Where: a command, or the place in a message; empty for the message itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub place: String,
}

impl Hit {
    /// A generic rule, and the command it applies to, if it is one.
    pub fn generic(rule: Rule, acts: Acts, command: &str) -> Self {
        let reply = rule.reply().to_wire();
        // Behind the two codes.
        let text = reply.trim_end().splitn(3, ' ').nth(2).unwrap_or_default();
        Self {
            rule: rule.name().to_owned(),
            group: Group::Generic,
            acts,
            text: text.to_owned(),
            evidence: String::new(),
            place: command.to_owned(),
        }
    }

    /// What a rule of a bundle or on content says.
    pub fn of(reason: Reason, group: Group) -> Self {
        Self {
            acts: match (reason.verdict, group) {
                (Verdict::Accept, Group::Patch) => Acts::Monitor,
                (Verdict::Accept, _) => Acts::Notice,
                _ => Acts::Refuse,
            },
            rule: reason.rule.into_owned(),
            group,
            text: reason.text,
            evidence: reason.evidence,
            place: reason.place,
        }
    }
}

/// Follows the sessions of a capture to servers at these ports, and hands out what they tell, in the order of their ends.
/// `each` says whether more is wanted; packets that could not be followed are counted.
///
/// # Errors
/// The capture could not be read to its end; what stood before was handed out.
pub fn sessions(
    reader: impl Read + Send,
    ports: &[u16],
    patches: Option<&Compiled>,
    exceptions: &Exceptions,
    limits: Limits,
    skipped: &mut Skipped,
    each: &mut dyn FnMut(Piece) -> bool,
) -> Result<(), CaptureError> {
    let pieces: Pieces = Rc::new(RefCell::new(VecDeque::new()));
    let to = Rc::clone(&pieces);
    let mut begin = move |pair| Dialogue::new(pair, patches, exceptions, Rc::clone(&to));
    let mut streams = Streams::new(ports, limits, &mut begin);
    let mut wanted = true;
    let mut hand_out = || {
        while wanted && let Some(piece) = take(&pieces) {
            wanted = each(piece);
        }
        wanted
    };
    let read = capture::segments(reader, limits.block, skipped, &mut |segment| {
        streams.take(segment);
        hand_out()
    });
    streams.end();
    hand_out();
    read
}

fn take(pieces: &Pieces) -> Option<Piece> {
    pieces.borrow_mut().pop_front()
}

/// What the generic rules say of a message in a file, and what they and a bundle's say of the commands that would have
/// brought it, as far as its headers tell: `Return-Path`, `Delivered-To`, `X-Original-To`, `Envelope-To`. Also the message
/// as it goes over the wire.
pub fn of_message(
    octets: &[u8],
    patches: Option<&Compiled>,
    exceptions: &Exceptions,
) -> (Vec<Hit>, Vec<u8>) {
    let mut hits = Vec::new();
    let actions = exceptions.of_anybody();
    let acts = |rule| Acts::of(actions.of(rule));
    let (content, reader) = by_wire(octets);
    let monitored = reader.monitored().iter().map(|rule| (*rule, acts(*rule)));
    let refused = reader.refused().map(|rule| (rule, Acts::Refuse));
    hits.extend(
        monitored
            .chain(refused)
            .map(|(rule, acts)| Hit::generic(rule, acts, "")),
    );
    for line in commands(octets) {
        let shown = printable_max(&String::from_utf8_lossy(&line), SHOWN);
        match Command::parse(&line, &everything()) {
            Ok((_, rules)) => {
                hits.extend(
                    rules
                        .into_iter()
                        .map(|rule| Hit::generic(rule, acts(rule), &shown)),
                );
            }
            Err(rule) => hits.push(Hit::generic(rule, acts(rule), &shown)),
        }
        for reason in patches.iter().flat_map(|patches| patches.command(&line)) {
            let mut hit = Hit::of(reason, Group::Patch);
            if hit.place.is_empty() {
                hit.place.clone_from(&shown);
            }
            hits.push(hit);
        }
    }
    (hits, content)
}

/// Every rule that may be is monitored, so that one does not hide the next.
fn all_monitored() -> Actions {
    let monitored = |actions: Actions, rule: &Rule| actions.with(*rule, Action::Monitor);
    Rule::ALL.iter().fold(Actions::default(), monitored)
}

/// A message as the shield takes it out of the stream, and the reader that did, which knows what its form breaks.
/// A message whose lines all end with LF was stored so, and is taken to have come with CRLF.
fn by_wire(octets: &[u8]) -> (Vec<u8>, ContentReader) {
    let stored = memchr::memmem::find(octets, b"\r\n").is_none();
    let mut stream = Vec::with_capacity(octets.len() + octets.len() / 32 + 16);
    let mut rest = octets;
    while !rest.is_empty() {
        if rest.starts_with(b".") && (stored || stream.is_empty() || stream.ends_with(b"\r\n")) {
            stream.push(b'.');
        }
        let end = memchr::memchr(b'\n', rest);
        let (line, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        match line.strip_suffix(b"\n") {
            Some(text) if stored => {
                stream.extend_from_slice(text);
                stream.extend_from_slice(b"\r\n");
            }
            _ => stream.extend_from_slice(line),
        }
        rest = after;
    }
    if !stream.is_empty() && !stream.ends_with(b"\r\n") {
        stream.extend_from_slice(b"\r\n");
    }
    stream.extend_from_slice(b".\r\n");
    let mut reader = ContentReader::new(all_monitored(), ContentLimits::default());
    let mut content = Vec::with_capacity(stream.len());
    let (_, progress) = reader.read(&stream, &mut content);
    debug_assert_ne!(progress, Progress::More, "the stream is whole");
    (content, reader)
}

/// The commands that brought a message, as its headers tell them. No more recipients than a few: a mailbox has one.
fn commands(octets: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut sender = false;
    for line in octets.split(|octet| *octet == b'\n').take(200) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || lines.len() > 8 {
            break;
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let (verb, path): (&[u8], Vec<u8>) = match name.to_ascii_lowercase().as_slice() {
            b"return-path" if !sender => {
                sender = true;
                (b"MAIL FROM:", value.to_vec())
            }
            b"delivered-to" | b"x-original-to" | b"envelope-to" => {
                (b"RCPT TO:", [b"<", value, b">"].concat())
            }
            _ => continue,
        };
        let mut line = [verb, path.as_slice()].concat();
        if sender && verb.starts_with(b"MAIL") && !value.is_ascii() {
            line.extend_from_slice(b" SMTPUTF8");
        }
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

/// What a server offers that the shield could offer, too.
fn everything() -> Offer {
    Offer {
        eight_bit: true,
        dsn: true,
        enhanced: true,
        pipelining: true,
        size: Some(0),
        utf8: true,
        ..Offer::default()
    }
}

/// For fuzzing: any octets as a capture, by small limits. What is held stays within them, and a message that was told of
/// is one of its session.
///
/// # Panics
/// Where that does not hold.
pub fn fuzz(octets: &[u8]) {
    let limits = Limits {
        connections: 8,
        octets: 256 << 10,
        early: 16 << 10,
        block: 16 << 10,
    };
    let mut skipped = Skipped::new();
    let mut held = 0;
    let exceptions = Exceptions::default();
    let read = sessions(
        octets,
        &[25],
        None,
        &exceptions,
        limits,
        &mut skipped,
        &mut |piece| {
            if let Piece::Message {
                content, number, ..
            } = piece
            {
                assert!(number > 0, "messages are counted from one on");
                held += content.map_or(0, |content| content.len());
            }
            true
        },
    );
    // Octets are told once, but for line ends that are made whole.
    assert!(
        held <= 2 * octets.len(),
        "{held} octets of {}",
        octets.len()
    );
    read.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(octets: &str) -> (String, Vec<String>) {
        let (hits, content) = of_message(octets.as_bytes(), None, &Exceptions::default());
        let rules = hits.into_iter().map(|hit| hit.rule).collect();
        (String::from_utf8(content).unwrap(), rules)
    }

    #[test]
    fn a_stored_message_goes_over_the_wire_as_it_came() {
        let (content, rules) = said("A: b\n\n.\n..\n.x\nend");
        assert_eq!(content, "A: b\r\n\r\n.\r\n..\r\n.x\r\nend\r\n");
        assert!(rules.is_empty());
        let (content, rules) = said("A: b\r\n\r\n.\r\nx\ny\r\n");
        assert_eq!(content, "A: b\r\n\r\n.\r\nx\r\ny\r\n");
        assert_eq!(rules, ["bare-lf-in-content"]);
    }

    #[test]
    fn headers_tell_the_envelope() {
        let (_, rules) = said("Return-Path: <a@b@c>\nDelivered-To: grace@example.org\nX: y\n\n");
        assert_eq!(rules, ["address-syntax"]);
        let lines = commands(
            b"Delivered-To: g@e.org\nReturn-Path: <>\nReturn-Path: <x>\n\nDelivered-To: no\n",
        );
        assert_eq!(
            lines,
            [b"RCPT TO:<g@e.org>".to_vec(), b"MAIL FROM:<>".to_vec()]
        );
    }
}
