//! Opaque S/MIME: a message within a signature, or compressed (RFC 8551 sections 3.5.2 and 3.6). What is encrypted
//! stays so. Neither signature nor certificate is looked at.

use std::borrow::Cow;

use super::{Member, Sink, inflate};
use crate::octets::{find, place, rest, some, u8_at};

/// 1.2.840.113549.1.7.1 (data), with its tag.
const DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";

/// 1.2.840.113549.1.9.16.1.9 (compressed data).
pub(crate) const COMPRESSED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09";

/// 1.2.840.113549.1.7.2 (signed data).
pub(crate) const SIGNED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let Some(at) = find(octets, DATA) else {
        return;
    };
    // The sequence around it holds nothing else: the signature stands for another part.
    if at >= 2 && some(octets, at - 2, 2) == b"\x30\x0b" {
        return;
    }
    let content = strings(rest(octets, at.saturating_add(DATA.len())));
    if content.is_empty() {
        return;
    }
    sink.produced(&content);
    if sink.stopped {
        return;
    }
    let compressed = find(some(octets, 0, 64), COMPRESSED).is_some();
    let (entity, unread) = if compressed {
        sink.unpack(&mut inflate::zlib(&content), None)
    } else {
        (content, None)
    };
    // An entity is a message less the fields of one: with this it is known to be one.
    let message = [b"MIME-Version: 1.0\r\n".as_slice(), &entity].concat();
    sink.member(Member {
        types: vec!["message/rfc822".to_owned()],
        octets: Cow::Owned(message),
        unread,
        inner: true,
        ..Member::default()
    });
}

/// The strings of octets that the content consists of, in one piece or in several.
fn strings(octets: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut within = false;
    let mut at = 0;
    while let (Some(tag), Some((start, length))) =
        (u8_at(octets, at), length(octets, at.saturating_add(1)))
    {
        match tag {
            // The wrapping, and a string that is made of strings.
            0xa0 if at == 0 => at = start,
            0x24 => {
                within = true;
                at = start;
            }
            0x04 => {
                let length = length.unwrap_or(usize::MAX);
                content.extend_from_slice(some(octets, start, length));
                at = start.saturating_add(length);
                if !within {
                    break;
                }
            }
            _ => break,
        }
    }
    content
}

/// Where content begins, and how long it is; none: until its end is marked (X.690 section 8.1.3).
fn length(octets: &[u8], at: usize) -> Option<(usize, Option<usize>)> {
    let first = u8_at(octets, at)?;
    let start = at.saturating_add(1);
    match first {
        0x80 => Some((start, None)),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let number = some(octets, start, count)
                .iter()
                .fold(0_u32, |number, octet| number << 8 | u32::from(*octet));
            Some((start.saturating_add(count), Some(place(number))))
        }
        0x85.. => None,
        short => Some((start, Some(usize::from(short)))),
    }
}
