//! LHA, and ARJ, which packs by the same ways.

use std::borrow::Cow;

use super::inflate::{self, Packed};
use super::{Member, Sink, Trouble, Unread};
use crate::octets::{name, piece, place, place64, rest, some, u8_at, u16le, u32le, until_zero};

/// ARJ: heads of a stated size, each followed by extended heads and the content.
pub(super) fn arj(octets: &[u8], sink: &mut Sink<'_>) {
    let mut at = 0_usize;
    let mut first = true;
    while piece(octets, at, 2) == Some(b"\x60\xea") {
        let size = usize::from(u16le(octets, at.saturating_add(2)).unwrap_or(0));
        if size == 0 {
            return;
        }
        let head = some(octets, at.saturating_add(4), size);
        let fixed = usize::from(u8_at(head, 0).unwrap_or(0));
        let flags = u8_at(head, 4).unwrap_or(0);
        let method = u8_at(head, 5).unwrap_or(0xff);
        let packed = u32le(head, 12).map_or(0, place);
        let unpacked_size = u32le(head, 16).unwrap_or(0);
        let title = name(until_zero(rest(head, fixed)));
        at = at.saturating_add(4).saturating_add(size).saturating_add(4);
        while let Some(extended) = u16le(octets, at).map(usize::from) {
            at = at.saturating_add(2);
            if extended == 0 {
                break;
            }
            at = at.saturating_add(extended).saturating_add(4);
        }
        if first {
            first = false;
            continue;
        }
        let content = some(octets, at, packed);
        let (content, unread) = match method {
            _ if flags & 1 != 0 => (Cow::Borrowed(&[][..]), Some(Unread::Encrypted)),
            0 => sink.stored(content),
            // Its window is a little smaller than that of the way of LHA that it is.
            1..=3 => unpacked(content, *b"-lh6-", unpacked_size, sink),
            4 => fastest(content, unpacked_size, sink),
            _ => (
                Cow::Borrowed(&[][..]),
                Some(Unread::Method("arj".to_owned())),
            ),
        };
        if !give(sink, title, content, unread) {
            return;
        }
        at = at.saturating_add(packed);
    }
    if first {
        sink.trouble(Trouble::Damaged("its head is none"));
    }
}

/// LHA: heads of four levels.
pub(super) fn lzh(octets: &[u8], sink: &mut Sink<'_>) {
    let mut at = 0_usize;
    while let Some(method) = piece(octets, at.saturating_add(2), 5) {
        if !matches!(method, [b'-', _, _, _, b'-']) {
            break;
        }
        let from = rest(octets, at);
        let level = u8_at(from, 20).unwrap_or(0);
        let unpacked_size = u32le(from, 11).unwrap_or(0);
        let mut packed = u32le(from, 7).map_or(0, place);
        let mut title = Vec::new();
        let mut folder = Vec::new();
        let mut head;
        if level < 2 {
            head = usize::from(u8_at(from, 0).unwrap_or(0)) + 2;
            let length = usize::from(u8_at(from, 21).unwrap_or(0));
            title = some(from, 22, length).to_vec();
            if level == 1 {
                let mut next = head.saturating_sub(2);
                let taken = extended(from, &mut next, 2, &mut title, &mut folder);
                head = head.saturating_add(taken);
                packed = packed.saturating_sub(taken);
            }
        } else {
            // The last of them says its sizes in four octets.
            let (size, mut next, width) = match level {
                2 => (u16le(from, 0).map(usize::from), 24, 2),
                _ => (u32le(from, 24).map(place), 28, 4),
            };
            head = size.unwrap_or(0);
            extended(from, &mut next, width, &mut title, &mut folder);
        }
        let separators = |octets: &[u8]| -> Vec<u8> {
            octets
                .iter()
                .map(|octet| if *octet == 0xff { b'/' } else { *octet })
                .collect()
        };
        let mut full = separators(&folder);
        full.extend(separators(&title));
        let content = some(from, head, packed);
        if method != b"-lhd-" {
            let method = <[u8; 5]>::try_from(method).unwrap_or(*b"-lh?-");
            let (content, unread) = match &method {
                b"-lh0-" | b"-lz4-" | b"-pm0-" => sink.stored(content),
                _ => unpacked(content, method, unpacked_size, sink),
            };
            if !give(sink, name(until_zero(&full)), content, unread) {
                return;
            }
        }
        at = at.saturating_add(head.max(22)).saturating_add(packed);
    }
    if at == 0 {
        sink.trouble(Trouble::Damaged("its head is none"));
    }
}

/// Extended heads from `next` on: each ends with the size of the one after, in so many octets. Gives back how long they are
/// together.
fn extended(
    from: &[u8],
    next: &mut usize,
    width: usize,
    title: &mut Vec<u8>,
    folder: &mut Vec<u8>,
) -> usize {
    let mut taken = 0_usize;
    for _ in 0..64 {
        let size = match width {
            2 => u16le(from, *next).map(usize::from),
            _ => u32le(from, *next).map(place),
        };
        let Some(size) = size.filter(|size| (width + 1..1 << 16).contains(size)) else {
            return taken;
        };
        let head = some(from, next.saturating_add(width), size);
        let text = some(head, 1, size - width - 1);
        match u8_at(head, 0) {
            Some(1) => *title = text.to_vec(),
            Some(2) => *folder = text.to_vec(),
            _ => {}
        }
        taken = taken.saturating_add(size);
        *next = next.saturating_add(size);
    }
    taken
}

/// Hands on a member.
fn give(sink: &mut Sink<'_>, title: String, octets: Cow<'_, [u8]>, unread: Option<Unread>) -> bool {
    sink.member(Member {
        names: vec![title],
        octets,
        unread,
        ..Member::default()
    })
}

/// What was packed by a way of LHA.
fn unpacked<'a>(
    packed: &'a [u8],
    method: [u8; 5],
    size: u32,
    sink: &mut Sink<'_>,
) -> (Cow<'a, [u8]>, Option<Unread>) {
    let meter = sink.meter();
    let size = u64::from(size);
    let Ok(mut decoder) = inflate::lha(Packed::new(packed, &meter), method, size) else {
        let title = String::from_utf8_lossy(&method).into_owned();
        return (Cow::Borrowed(&[]), Some(Unread::Method(title)));
    };
    let (octets, unread) = sink.unpack_metered(&mut decoder, Some(size), &meter);
    (Cow::Owned(octets), unread)
}

/// ARJ's fastest way: for each place a length, of which none is an octet as it is, and how far back, in as many bits as
/// ones stand before them.
fn fastest<'a>(packed: &[u8], size: u32, sink: &mut Sink<'_>) -> (Cow<'a, [u8]>, Option<Unread>) {
    let (allowed, limit) = sink.allowance();
    let size = place(size);
    let most = size.min(place64(allowed));
    let mut bits = Bits { packed, at: 0 };
    let mut octets: Vec<u8> = Vec::new();
    while octets.len() < most {
        let Some(length) = bits.number(0, 7) else {
            break;
        };
        if length == 0 {
            let Some(octet) = bits.take(8) else {
                break;
            };
            octets.push(u8::try_from(octet).unwrap_or(0));
            continue;
        }
        let Some(back) = bits.number(9, 13) else {
            break;
        };
        for _ in 0..length + 2 {
            let from = octets.len().checked_sub(back + 1);
            let Some(octet) = from.and_then(|from| octets.get(from)).copied() else {
                return (Cow::Owned(octets), Some(Unread::Damaged));
            };
            octets.push(octet);
        }
    }
    octets.truncate(most);
    sink.produced(&octets);
    let unread = if most < size && octets.len() == most {
        Some(sink.reached(limit))
    } else {
        (octets.len() < size).then_some(Unread::Damaged)
    };
    (Cow::Owned(octets), unread)
}

/// Bits, the high ones first.
struct Bits<'a> {
    packed: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<usize> {
        let mut value = 0;
        for _ in 0..count {
            let octet = self.packed.get(self.at / 8)?;
            value = value << 1 | usize::from(octet >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// A number of `low` bits and one more for each one before it, to `high` at most; those before count, too.
    fn number(&mut self, low: usize, high: usize) -> Option<usize> {
        let (mut width, mut plus) = (low, 0);
        while width < high && self.take(1)? == 1 {
            plus += 1 << width;
            width += 1;
        }
        Some(plus + self.take(width)?)
    }
}
