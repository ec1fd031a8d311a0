//! Archives of which the members are listed and, where they are stored, read; their old ways of packing are not.

use std::borrow::Cow;

use super::{Member, Sink, Trouble, Unread};
use crate::octets::{find, name, piece, place, some, u8_at, u16le, u32le};

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
