//! Archives of which the members are listed and, where they are stored, read; their old ways of packing are not.

use std::borrow::Cow;

use super::{Member, Sink, Trouble, Unread};
use crate::octets::{find, name, piece, place, rest, some, u8_at, u16le, u32le, until_zero};

/// Hands on a member of which the content is there only if it was stored.
fn give(sink: &mut Sink<'_>, title: String, stored: Option<&[u8]>, why: Unread) -> bool {
    let (octets, unread) = match stored {
        Some(content) => sink.stored(content),
        None => (Cow::Borrowed(&[][..]), Some(why)),
    };
    sink.member(Member {
        names: vec![title],
        octets,
        unread,
        ..Member::default()
    })
}

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
        let why = if flags & 1 != 0 {
            Unread::Encrypted
        } else {
            Unread::Method("arj".to_owned())
        };
        let stored = (method == 0 && flags & 1 == 0).then_some(content);
        if !give(sink, title, stored, why) {
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
                let taken = extended(from, &mut next, &mut title, &mut folder);
                head = head.saturating_add(taken);
                packed = packed.saturating_sub(taken);
            }
        } else {
            head = usize::from(u16le(from, 0).unwrap_or(0));
            let mut next = 24;
            extended(from, &mut next, &mut title, &mut folder);
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
        let stored = (method == b"-lh0-" || method == b"-lz4-").then_some(content);
        if method != b"-lhd-"
            && !give(
                sink,
                name(until_zero(&full)),
                stored,
                Unread::Method("lzh".to_owned()),
            )
        {
            return;
        }
        at = at.saturating_add(head.max(22)).saturating_add(packed);
    }
    if at == 0 {
        sink.trouble(Trouble::Damaged("its head is none"));
    }
}

/// Extended heads from `next` on: each ends with the size of the one after. Gives back how long they are together.
fn extended(from: &[u8], next: &mut usize, title: &mut Vec<u8>, folder: &mut Vec<u8>) -> usize {
    let mut taken = 0;
    for _ in 0..64 {
        let Some(size) = u16le(from, *next)
            .map(usize::from)
            .filter(|size| *size >= 3)
        else {
            return taken;
        };
        let head = some(from, next.saturating_add(2), size);
        match u8_at(head, 0) {
            Some(1) => *title = some(head, 1, size.saturating_sub(3)).to_vec(),
            Some(2) => *folder = some(head, 1, size.saturating_sub(3)).to_vec(),
            _ => {}
        }
        taken += size;
        *next = next.saturating_add(size);
    }
    taken
}

/// Compiled help: the names in its listing. What it holds is packed by LZX over all files together.
pub(super) fn chm(octets: &[u8], sink: &mut Sink<'_>) {
    let Some(listing) = find(octets, b"PMGL") else {
        sink.trouble(Trouble::NotUnpacked);
        return;
    };
    let mut at = listing.saturating_add(20);
    let number = |at: &mut usize| -> Option<usize> {
        let mut value = 0_usize;
        for _ in 0..9 {
            let octet = u8_at(octets, *at)?;
            *at = at.saturating_add(1);
            value = value.checked_shl(7)? | usize::from(octet & 0x7f);
            if octet & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    while let Some(length) = number(&mut at).filter(|length| (1..=1024).contains(length)) {
        let Some(title) = piece(octets, at, length) else {
            break;
        };
        at = at.saturating_add(length);
        let (Some(_), Some(_), Some(size)) = (number(&mut at), number(&mut at), number(&mut at))
        else {
            break;
        };
        // Those with a double colon are its own.
        if size == 0
            || title.starts_with(b"::")
            || title.starts_with(b"/#")
            || title.starts_with(b"/$")
        {
            continue;
        }
        let title = name(title.strip_prefix(b"/").unwrap_or(title));
        if !give(sink, title, None, Unread::Method("chm".to_owned())) {
            return;
        }
    }
}

/// ACE: heads of a stated size.
pub(super) fn ace(octets: &[u8], sink: &mut Sink<'_>) {
    let mut at = 0_usize;
    while let Some(size) = u16le(octets, at.saturating_add(2)).map(usize::from) {
        let head = some(octets, at.saturating_add(4), size);
        if head.len() < size || size < 3 {
            break;
        }
        let flags = u16le(head, 1).unwrap_or(0);
        let added = if flags & 1 != 0 {
            u32le(head, 3).map_or(0, place)
        } else {
            0
        };
        at = at.saturating_add(4).saturating_add(size);
        if u8_at(head, 0) == Some(1) {
            let length = usize::from(u16le(head, 29).unwrap_or(0));
            let title = name(some(head, 31, length));
            let why = if flags & 0x4000 != 0 {
                Unread::Encrypted
            } else {
                Unread::Method("ace".to_owned())
            };
            let content = some(octets, at, added);
            let stored = (u8_at(head, 23) == Some(0) && flags & 0x4000 == 0).then_some(content);
            if !give(sink, title, stored, why) {
                return;
            }
        }
        at = at.saturating_add(added);
    }
}
