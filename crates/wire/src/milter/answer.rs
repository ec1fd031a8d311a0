//! What a mail server is told to do with a message. Entry: [`Settled`].

use super::packet::write;
use crate::reply::Reply;

/// `SMFIF_ADDHDRS`: add headers, and insert them.
pub(super) const ADD_HEADERS: u32 = 0x01;
/// `SMFIF_CHGHDRS`: change and remove headers.
pub(super) const CHANGE_HEADERS: u32 = 0x10;
/// `SMFIF_QUARANTINE`: hold in the server's own quarantine.
pub(super) const QUARANTINE: u32 = 0x20;

/// `SMFIR_CONTINUE`.
pub(super) const CONTINUE: u8 = b'c';

/// Something that happens to a header of a message that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderEdit {
    /// A header at the very top. A line feed in its value folds it.
    Insert {
        /// Its name.
        name: String,
        /// Its value, without the space in front.
        value: String,
    },
    /// The nth header of this name goes, counted from one.
    Remove {
        /// Its name.
        name: String,
        /// Which of them.
        nth: u32,
    },
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It goes on, with these changes. Removals come first, those of the last headers before those of the first, so
    /// that each number still means what it meant.
    Accept(Vec<HeaderEdit>),
    /// The server keeps it in its own quarantine, and says why there.
    Quarantine(Vec<HeaderEdit>, String),
    /// The server says that it took the message, and forgets it: only for one that is kept elsewhere.
    Discard,
    /// The sender is told this; a reply of `4xx` or `5xx`.
    Reply(Reply),
}

/// Appends all packets that say so. Where the server cannot quarantine, the sender is told `instead`: silence would be
/// acceptance.
pub(super) fn settle(
    out: &mut Vec<u8>,
    settled: &Settled,
    actions: u32,
    leading_space: bool,
    instead: &Reply,
) {
    let edits = match settled {
        Settled::Accept(edits) => edits,
        Settled::Quarantine(edits, why) if actions & QUARANTINE != 0 => {
            let mut data = line(why).into_bytes();
            data.push(0);
            write(out, b'q', &data);
            edits
        }
        Settled::Quarantine(..) => return reply(out, instead),
        Settled::Discard => return write(out, b'd', b""),
        Settled::Reply(answer) => return reply(out, answer),
    };
    if actions & CHANGE_HEADERS != 0 {
        let mut removals: Vec<(&str, u32)> = edits.iter().filter_map(removal).collect();
        removals.sort_by_key(|(_, nth)| std::cmp::Reverse(*nth));
        for (name, nth) in removals {
            let mut data = nth.to_be_bytes().to_vec();
            data.extend_from_slice(name.as_bytes());
            data.extend_from_slice(b"\0\0");
            write(out, b'm', &data);
        }
    }
    if actions & ADD_HEADERS != 0 {
        for edit in edits {
            if let HeaderEdit::Insert { name, value } = edit {
                let mut data = 0_u32.to_be_bytes().to_vec();
                data.extend(name.bytes().filter(u8::is_ascii_graphic));
                data.push(0);
                if leading_space {
                    data.push(b' ');
                }
                data.extend_from_slice(folded(value).as_bytes());
                data.push(0);
                write(out, b'i', &data);
            }
        }
    }
    write(out, CONTINUE, b"");
}

fn removal(edit: &HeaderEdit) -> Option<(&str, u32)> {
    match edit {
        HeaderEdit::Remove { name, nth } => Some((name, *nth)),
        HeaderEdit::Insert { .. } => None,
    }
}

/// `SMFIR_REPLYCODE`. Both servers take `%%` for one percent sign, and a single one for a mistake.
fn reply(out: &mut Vec<u8>, reply: &Reply) {
    let wire = reply.to_wire();
    let wire = wire.strip_suffix("\r\n").unwrap_or(&wire);
    let mut data = wire.replace('%', "%%").into_bytes();
    data.push(0);
    let letter = if matches!(reply.code() / 100, 4 | 5) {
        b'y'
    } else {
        // No other reply can be given: it would be taken for a mistake of the filter.
        data.clear();
        b't'
    };
    write(out, letter, &data);
}

/// One line of printable ASCII.
fn line(text: &str) -> String {
    let printable = text.chars().map(|c| match c {
        ' '..='~' => c,
        _ => '?',
    });
    printable.take(200).collect()
}

/// A value whose lines, but the first, begin with white space; anything else would be a header of its own.
fn folded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for (nth, line) in value.split('\n').enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            continue;
        }
        if nth > 0 {
            out.push('\n');
            if !line.starts_with([' ', '\t']) {
                out.push('\t');
            }
        }
        out.extend(line.chars().filter(|c| *c == '\t' || !c.is_control()));
    }
    out
}
