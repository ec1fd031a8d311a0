//! RAR, before version 5 and since: the names, sizes, links and encryption of its members, and the content of those
//! that are stored. There is no free decoder of RAR's own packing that is fit for this; a packed member is judged by
//! its name, and an anti-virus engine looks inside. (technote.txt of RAR 4 and 5.)

use std::borrow::Cow;

use super::{Member, Sink, Trouble, Unread};
use crate::octets::{
    find, name, piece, place, place64, rest, some, u8_at, u16le, u32le, until_zero,
};

/// Before version 5: blocks of a fixed head.
pub(super) fn read4(octets: &[u8], sink: &mut Sink<'_>) {
    let mut at = find(octets, b"Rar!\x1a\x07\0").map_or(0, |found| found.saturating_add(7));
    while let Some(head) = piece(octets, at, 7) {
        let block_type = head.get(2).copied().unwrap_or(0);
        let flags = u16le(head, 3).unwrap_or(0);
        let size = usize::from(u16le(head, 5).unwrap_or(0));
        if size < 7 || !(0x72..=0x7b).contains(&block_type) {
            sink.trouble(Trouble::Damaged("a block is none"));
            return;
        }
        let block = some(octets, at, size);
        let mut data = 0;
        if flags & 0x8000 != 0 || block_type == 0x74 {
            data = u64::from(u32le(block, 7).unwrap_or(0));
        }
        match block_type {
            0x73 if flags & 0x80 != 0 => {
                sink.trouble(Trouble::EncryptedNames);
                return;
            }
            0x74 => {
                if flags & 0x100 != 0 {
                    data |= u64::from(u32le(block, 32).unwrap_or(0)) << 32;
                }
                let content = some(octets, at.saturating_add(size), place64(data));
                if !member4(block, flags, content, data, sink) {
                    return;
                }
            }
            0x7b => return,
            _ => {}
        }
        at = at.saturating_add(size).saturating_add(place64(data));
    }
}

fn member4(block: &[u8], flags: u16, content: &[u8], size: u64, sink: &mut Sink<'_>) -> bool {
    let (Some(host), Some(method), Some(length), Some(attributes)) = (
        u8_at(block, 15),
        u8_at(block, 25),
        u16le(block, 26),
        u32le(block, 28),
    ) else {
        sink.trouble(Trouble::Damaged("a block is none"));
        return false;
    };
    let title_at = if flags & 0x100 != 0 { 40 } else { 32 };
    let title = some(block, title_at, usize::from(length));
    let mut names = vec![];
    if flags & 0x200 != 0 && memchr::memchr(0, title).is_some() {
        names.push(unicode4(title));
    }
    let plain = name(until_zero(title));
    if !names.contains(&plain) {
        names.push(plain);
    }
    let directory = flags & 0xe0 == 0xe0;
    if directory && !names.iter().any(|name| name.contains("..")) {
        return true;
    }
    let symbolic = host == 3 && attributes & 0xf000 == 0xa000;
    give(
        names,
        flags & 4 != 0,
        flags & 3 != 0,
        method == 0x30,
        symbolic.then(|| name(some(content, 0, 4096))),
        content,
        size,
        sink,
    )
}

/// RAR's own packing of UTF-16: two bits say for each character how it follows from the plain name.
fn unicode4(title: &[u8]) -> String {
    let plain = until_zero(title);
    let mut packed = rest(title, plain.len().saturating_add(1)).iter().copied();
    let high = u16::from(packed.next().unwrap_or(0)) << 8;
    let mut units: Vec<u16> = Vec::new();
    let (mut flags, mut bits) = (0_u8, 0);
    while units.len() < 2048 {
        if bits == 0 {
            let Some(next) = packed.next() else {
                break;
            };
            flags = next;
            bits = 8;
        }
        bits -= 2;
        let mut octet = || packed.next().map(u16::from);
        match (flags >> bits) & 3 {
            0 => match octet() {
                Some(low) => units.push(low),
                None => break,
            },
            1 => match octet() {
                Some(low) => units.push(high | low),
                None => break,
            },
            2 => match (octet(), octet()) {
                (Some(low), Some(up)) => units.push(up << 8 | low),
                _ => break,
            },
            _ => {
                let Some(length) = octet() else {
                    break;
                };
                let count = usize::from(length & 0x7f) + 2;
                let add = if length & 0x80 != 0 { octet() } else { None };
                for _ in 0..count {
                    let low = plain.get(units.len()).copied().unwrap_or(0);
                    units.push(match add {
                        Some(add) => {
                            high | u16::from(low.wrapping_add(u8::try_from(add).unwrap_or(0)))
                        }
                        None => u16::from(low),
                    });
                }
            }
        }
    }
    units.retain(|unit| *unit != 0);
    String::from_utf16_lossy(&units)
}

#[expect(
    clippy::too_many_arguments,
    reason = "both formats say just these things of a member"
)]
fn give(
    names: Vec<String>,
    encrypted: bool,
    split: bool,
    stored: bool,
    link: Option<String>,
    content: &[u8],
    size: u64,
    sink: &mut Sink<'_>,
) -> bool {
    let (octets, unread) = if encrypted {
        (Cow::Borrowed(&[][..]), Some(Unread::Encrypted))
    } else if !stored {
        (
            Cow::Borrowed(&[][..]),
            Some(Unread::Method("rar".to_owned())),
        )
    } else {
        let (kept, limited) = sink.stored(content);
        let short = crate::octets::count(content) < size;
        let why = if split {
            Some(Unread::Split)
        } else {
            short.then_some(Unread::Damaged)
        };
        (kept, limited.or(why))
    };
    sink.member(Member {
        names,
        octets,
        unread,
        link,
        ..Member::default()
    })
}

/// What is left of a block since version 5.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    /// Seven bits an octet, the low ones first.
    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for nth in 0..10_u32 {
            let (first, left) = self.0.split_first()?;
            self.0 = left;
            value |= u64::from(first & 0x7f).checked_shl(7 * nth).unwrap_or(0);
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, count: usize) {
        self.0 = rest(self.0, count);
    }
}

/// Since version 5: blocks of numbers of any length.
pub(super) fn read5(octets: &[u8], sink: &mut Sink<'_>) {
    let mut at = find(octets, b"Rar!\x1a\x07\x01\0").map_or(0, |found| found.saturating_add(8));
    while at.saturating_add(7) <= octets.len() {
        let mut input = Input(rest(octets, at.saturating_add(4)));
        let before = input.0.len();
        let Some(size) = input
            .number()
            .map(place64)
            .filter(|size| *size > 0 && *size <= 2 << 20)
        else {
            sink.trouble(Trouble::Damaged("a block is none"));
            return;
        };
        let head = at
            .saturating_add(4)
            .saturating_add(before.saturating_sub(input.0.len()));
        let Some(block) = piece(octets, head, size) else {
            sink.trouble(Trouble::Damaged("a block ends early"));
            return;
        };
        let start = head.saturating_add(size);
        match block5(block, octets, start, sink) {
            Some(Next::At(next)) if next > at => at = next,
            Some(_) => return,
            None => {
                sink.trouble(Trouble::Damaged("a block is none"));
                return;
            }
        }
    }
}

enum Next {
    At(usize),
    End,
}

fn block5(block: &[u8], octets: &[u8], start: usize, sink: &mut Sink<'_>) -> Option<Next> {
    let mut input = Input(block);
    let block_type = input.number()?;
    let flags = input.number()?;
    let extra_size = if flags & 1 != 0 {
        place64(input.number()?)
    } else {
        0
    };
    let data_size = if flags & 2 != 0 { input.number()? } else { 0 };
    let next = Next::At(start.saturating_add(place64(data_size)));
    match block_type {
        2 => {}
        4 => {
            sink.trouble(Trouble::EncryptedNames);
            return Some(Next::End);
        }
        5 => return Some(Next::End),
        _ => return Some(next),
    }
    let file_flags = input.number()?;
    let _unpacked = input.number()?;
    let _attributes = input.number()?;
    if file_flags & 2 != 0 {
        input.skip(4);
    }
    if file_flags & 4 != 0 {
        input.skip(4);
    }
    let compression = input.number()?;
    let _host = input.number()?;
    let length = place64(input.number()?);
    let title = name(some(input.0, 0, length));
    let extra = rest(block, block.len().saturating_sub(extra_size));
    let (encrypted, link) = extras5(extra);
    if file_flags & 1 != 0 && !title.contains("..") {
        return Some(next);
    }
    let content = some(octets, start, place64(data_size));
    // Bits 7 to 9 say how it is packed; none: not at all.
    let stored = compression & 0x380 == 0;
    let more = give(
        vec![title],
        encrypted,
        flags & 0x18 != 0,
        stored || link.is_some(),
        link,
        content,
        data_size,
        sink,
    );
    Some(if more { next } else { Next::End })
}

/// Whether a member is encrypted, and where it leads if it is a link.
fn extras5(extra: &[u8]) -> (bool, Option<String>) {
    let mut encrypted = false;
    let mut link = None;
    let mut input = Input(extra);
    while let Some(size) = input.number().map(place64) {
        let mut record = Input(some(input.0, 0, size));
        input.skip(size);
        match record.number() {
            Some(1) => encrypted = true,
            Some(5) => {
                let kind = record.number();
                let flags = record.number();
                let length = record.number().map_or(0, place64);
                // A copy of another member is a link, too, but leads nowhere else.
                if kind.is_some_and(|kind| kind <= 5) && flags.is_some() {
                    link = Some(name(some(record.0, 0, length.min(place(1 << 16)))));
                }
            }
            _ => {}
        }
    }
    (encrypted, link)
}
