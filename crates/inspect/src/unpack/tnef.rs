//! Outlook's wrapping (winmail.dat): attachments, messages within, and the body in rich text (MS-OXTNEF).
//!
//! Read strictly where servers were not (CVE-2006-0002, CVE-2009-0098): lengths that lead beyond the end, and sums
//! that are wrong, are [`Trouble::Damaged`]; what was read until then is given.

use std::borrow::Cow;

use super::{Member, Sink, Trouble};
use crate::octets::{name, piece, place, rest, some, u16le, u32le, until_zero, utf16le};

/// The type given to a property that names a sound to play, of which the content is the name (CVE-2023-23397).
pub(crate) const REMINDER: &str = "text/x-reminder-file";

/// What is said where a sum is wrong.
pub(crate) const WRONG_SUM: &str = "an attribute's sum is wrong";

const TITLE: u32 = 0x0001_8010;
const DATA: u32 = 0x0006_800f;
const MESSAGE_PROPERTIES: u32 = 0x0006_9003;
const ATTACHMENT: u32 = 0x0006_9005;
const RENDER_DATA: u32 = 0x0006_9002;

/// Names that one attachment may have; Outlook gives it three.
const NAMES_MAX: usize = 16;

/// How many properties an attribute may have.
const PROPERTIES_MAX: u32 = 4096;

#[derive(Default)]
struct Attachment {
    names: Vec<String>,
    types: Vec<String>,
    data: Vec<u8>,
    any: bool,
}

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let mut at = 6;
    let mut attachment = Attachment::default();
    while at < octets.len() {
        let (Some(level), Some(id), Some(length)) = (
            octets.get(at).copied(),
            u32le(octets, at + 1),
            u32le(octets, at + 5).map(place),
        ) else {
            // Blanks and zeros that a transport added are none of it.
            if rest(octets, at)
                .iter()
                .any(|octet| !matches!(octet, 0 | b'\r' | b'\n' | b' '))
            {
                sink.trouble(Trouble::Damaged("an attribute ends early"));
            }
            break;
        };
        if !matches!(level, 1 | 2) {
            if rest(octets, at)
                .iter()
                .any(|octet| !matches!(octet, 0 | b'\r' | b'\n' | b' '))
            {
                sink.trouble(Trouble::Damaged("an attribute belongs to nothing"));
            }
            break;
        }
        let start = at + 9;
        let Some(content) = piece(octets, start, length) else {
            sink.trouble(Trouble::Damaged(
                "an attribute is said to be longer than the whole",
            ));
            // A lenient reader takes what is there.
            take(id, some(octets, start, length), &mut attachment, sink);
            break;
        };
        let after = start.saturating_add(length);
        let sum = content
            .iter()
            .fold(0_u16, |sum, octet| sum.wrapping_add(u16::from(*octet)));
        match u16le(octets, after) {
            Some(stated) if stated == sum => {}
            Some(_) => sink.trouble(Trouble::Damaged(WRONG_SUM)),
            None => sink.trouble(Trouble::Damaged("an attribute ends early")),
        }
        if id == RENDER_DATA && !finish(&mut attachment, sink) {
            return;
        }
        take(id, content, &mut attachment, sink);
        if sink.stopped {
            return;
        }
        at = after.saturating_add(2);
    }
    finish(&mut attachment, sink);
}

/// Hands on the attachment that was gathered.
fn finish(attachment: &mut Attachment, sink: &mut Sink<'_>) -> bool {
    let done = std::mem::take(attachment);
    if done.names.len() > NAMES_MAX || done.types.len() > NAMES_MAX {
        sink.trouble(Trouble::Damaged("an attachment has too many names"));
    }
    if !done.any {
        return true;
    }
    let (octets, unread) = sink.stored(&done.data);
    sink.member(Member {
        names: done.names,
        types: done.types,
        octets,
        unread,
        ..Member::default()
    })
}

/// Takes an attribute in.
fn take(id: u32, content: &[u8], attachment: &mut Attachment, sink: &mut Sink<'_>) {
    match id {
        TITLE => {
            attachment.any = true;
            add(&mut attachment.names, name(until_zero(content)));
        }
        DATA => {
            attachment.any = true;
            attachment.data = content.to_vec();
        }
        ATTACHMENT => {
            let whole = properties(content, &mut |property| match property.id {
                0x3707 if attachment.names.len() <= NAMES_MAX => {
                    attachment.names.insert(0, property.text());
                }
                0x3704 => add(&mut attachment.names, property.text()),
                0x370e => add(&mut attachment.types, property.text().to_ascii_lowercase()),
                0x3701 if !property.value.is_empty() => {
                    attachment.any = true;
                    // An embedded message is wrapped itself, behind the number of its interface.
                    let wrapped = rest(property.value, 16);
                    let whole = wrapped.starts_with(b"\x78\x9f\x3e\x22")
                        || wrapped.starts_with(b"\xd0\xcf\x11\xe0");
                    attachment.data = if property.kind & 0xfff == 0x0d && whole {
                        wrapped.to_vec()
                    } else {
                        property.value.to_vec()
                    };
                }
                _ => {}
            });
            if !whole {
                sink.trouble(Trouble::Damaged("a property ends early"));
            }
        }
        MESSAGE_PROPERTIES => message(content, sink),
        _ => {}
    }
}

fn add(texts: &mut Vec<String>, text: String) {
    if !text.is_empty() && texts.len() <= NAMES_MAX && !texts.contains(&text) {
        texts.push(text);
    }
}

/// The properties of a message that hold something: its body, and the sound of a reminder.
fn message(content: &[u8], sink: &mut Sink<'_>) {
    let mut found: Vec<(&'static str, &'static str, Vec<u8>)> = Vec::new();
    let whole = properties(
        content,
        &mut |property| match (property.id, property.named) {
            (0x1009, _) => found.push(("body.rtf", "text/rtf", property.value.to_vec())),
            (0x1013, _) => found.push(("body.html", "text/html", property.value.to_vec())),
            (_, Some(0x851f)) => found.push(("reminder", REMINDER, property.text().into_bytes())),
            _ => {}
        },
    );
    if !whole {
        sink.trouble(Trouble::Damaged("a property ends early"));
    }
    for (title, kind, value) in found {
        let octets = if kind == "text/rtf" {
            let (most, _) = sink.allowance();
            rich_text(&value, crate::octets::place64(most))
        } else {
            value
        };
        sink.produced(&octets);
        let more = sink.member(Member {
            names: vec![title.to_owned()],
            types: vec![kind.to_owned()],
            octets: Cow::Owned(octets),
            inner: true,
            ..Member::default()
        });
        if !more {
            return;
        }
    }
}

/// One value of a property.
struct Property<'a> {
    id: u16,
    kind: u16,
    /// The number it has by name, where it has one.
    named: Option<u32>,
    value: &'a [u8],
}

impl Property<'_> {
    fn text(&self) -> String {
        if self.kind & 0xfff == 0x1f {
            utf16le(self.value)
        } else {
            name(until_zero(self.value))
        }
    }
}

/// Reads properties; false where they end early (MS-OXTNEF 2.1.3.4).
fn properties(content: &[u8], give: &mut dyn FnMut(&Property<'_>)) -> bool {
    read_properties(content, give).is_some()
}

fn read_properties(content: &[u8], give: &mut dyn FnMut(&Property<'_>)) -> Option<()> {
    let count = u32le(content, 0)?;
    if count > PROPERTIES_MAX {
        return None;
    }
    let padded = |length: usize| length.div_ceil(4).saturating_mul(4);
    let mut at = 4_usize;
    for _ in 0..count {
        let kind = u16le(content, at)?;
        let id = u16le(content, at + 2)?;
        at += 4;
        let mut named = None;
        if id >= 0x8000 {
            let name_kind = u32le(content, at + 16)?;
            at += 20;
            if name_kind == 0 {
                named = u32le(content, at);
                at += 4;
            } else {
                let length = place(u32le(content, at)?);
                at = at.checked_add(4)?.checked_add(padded(length))?;
            }
        }
        let plain = kind & 0x0fff;
        let fixed = match plain {
            0x0002..=0x0004 | 0x000a | 0x000b => Some(4),
            0x0005..=0x0007 | 0x0014 | 0x0040 => Some(8),
            0x0048 => Some(16),
            0x0001 => Some(0),
            0x001e | 0x001f | 0x0102 | 0x000d => None,
            _ => return None,
        };
        let many = kind & 0x1000 != 0;
        let values = if many || fixed.is_none() {
            let values = u32le(content, at)?;
            at += 4;
            values
        } else {
            1
        };
        if values > PROPERTIES_MAX {
            return None;
        }
        for _ in 0..values {
            let length = if let Some(length) = fixed {
                length
            } else {
                let length = place(u32le(content, at)?);
                at += 4;
                length
            };
            let value = piece(content, at, length)?;
            // Values without octets may be as many as they like.
            if fixed == Some(0) {
                break;
            }
            give(&Property {
                id,
                kind,
                named,
                value,
            });
            at = at.checked_add(padded(length))?;
        }
    }
    Some(())
}

/// Rich text as messages keep it: a window of 4 KiB that begins with what all of them have (MS-OXRTFCP).
fn rich_text(packed: &[u8], most: usize) -> Vec<u8> {
    const BEFORE: &[u8] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";
    let size = u32le(packed, 4).map_or(0, place).min(most);
    match piece(packed, 8, 4) {
        Some(b"MELA") => return some(packed, 16, size).to_vec(),
        Some(b"LZFu") => {}
        _ => return Vec::new(),
    }
    let mut window = [b' '; 4096];
    for (slot, octet) in window.iter_mut().zip(BEFORE) {
        *slot = *octet;
    }
    let mut at = BEFORE.len();
    let mut text = Vec::new();
    let mut input = rest(packed, 16).iter().copied();
    while let Some(flags) = input.next() {
        for bit in 0..8 {
            if text.len() >= size {
                return text;
            }
            if flags & (1 << bit) == 0 {
                let Some(octet) = input.next() else {
                    return text;
                };
                put(octet, &mut window, &mut at, &mut text);
                continue;
            }
            let (Some(high), Some(low)) = (input.next(), input.next()) else {
                return text;
            };
            let from = usize::from(high) << 4 | usize::from(low >> 4);
            if from == at {
                return text;
            }
            for step in 0..usize::from(low & 0x0f) + 2 {
                let octet = window.get((from + step) % 4096).copied().unwrap_or(0);
                put(octet, &mut window, &mut at, &mut text);
            }
        }
    }
    text
}

fn put(octet: u8, window: &mut [u8; 4096], at: &mut usize, text: &mut Vec<u8>) {
    if let Some(slot) = window.get_mut(*at) {
        *slot = octet;
    }
    *at = (*at + 1) % 4096;
    text.push(octet);
}
