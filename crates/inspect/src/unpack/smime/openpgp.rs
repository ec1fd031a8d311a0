//! `OpenPGP`: a file that is signed, compressed or merely wrapped (RFC 9580 sections 5.6 and 5.9). What is encrypted
//! stays so.

use std::borrow::Cow;
use std::io::Read;

use super::super::inflate::{self, Decoder};
use super::super::{Member, Sink, Trouble, Unread, html};
use crate::octets::{find, name, piece, place, rest, some, u8_at, u16be, u32be};

/// What a text begins with that stands for packets (RFC 9580 section 6.2).
const ARMOR: &[u8] = b"-----BEGIN PGP MESSAGE";

/// Compressed packets within compressed packets: honest ones are one.
const DEPTH_MAX: usize = 4;

/// Packets one after another: two, and as many again for each signature.
const PACKETS_MAX: usize = 64;

const SIGNATURE: u8 = 2;
const ONE_PASS: u8 = 4;
const COMPRESSED: u8 = 8;
const MARKER: u8 = 10;
const LITERAL: u8 = 11;

/// Whether octets are packets of which something comes forth.
pub(crate) fn is_openpgp(octets: &[u8]) -> bool {
    let octets = packets(some(octets, 0, 4096));
    let Some(packet) = Packet::at(&octets, 0) else {
        return false;
    };
    match packet.tag {
        COMPRESSED => {
            let mut head = [0; 1];
            let decoder = decoder(&packet.body);
            decoder.is_some_and(|mut decoder| decoder.read(&mut head).is_ok_and(|read| read > 0))
                && matches!(
                    tag(head[0]),
                    Some(SIGNATURE | ONE_PASS | COMPRESSED | MARKER | LITERAL)
                )
        }
        // Of version 3 or 6.
        ONE_PASS => packet.body.len() <= 100 && matches!(u8_at(&packet.body, 0), Some(3 | 6)),
        LITERAL => {
            let length = u8_at(&packet.body, 1).map_or(0, usize::from);
            // A text may begin with these letters, but none of its lengths is below that of a blank.
            length < 32
                && matches!(u8_at(&packet.body, 0), Some(b'b' | b't' | b'u'))
                && piece(&packet.body, 2, length)
                    .is_some_and(|name| !name.iter().any(u8::is_ascii_control))
        }
        _ => false,
    }
}

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let octets = packets(octets);
    if let Cow::Owned(octets) = &octets {
        sink.produced(octets);
    }
    files(&octets, DEPTH_MAX, sink);
}

/// The octets that an armor stands for.
fn packets(octets: &[u8]) -> Cow<'_, [u8]> {
    let start = octets.trim_ascii_start();
    if !start.starts_with(ARMOR) {
        return Cow::Borrowed(octets);
    }
    // Behind its headers is an empty line; blanks in it do not count.
    let mut at = 0;
    for line in start.split_inclusive(|octet| *octet == b'\n') {
        at += line.len();
        if line.trim_ascii().is_empty() {
            break;
        }
    }
    let text = rest(start, at);
    let end = find(text, b"-----END").unwrap_or(text.len());
    Cow::Owned(html::base64(some(text, 0, end)))
}

fn files(octets: &[u8], depth: usize, sink: &mut Sink<'_>) {
    let mut at = 0;
    for _ in 0..PACKETS_MAX {
        let Some(packet) = Packet::at(octets, at) else {
            return;
        };
        at = packet.end;
        if let Cow::Owned(body) = &packet.body {
            sink.produced(body);
        }
        if sink.stopped {
            return;
        }
        match packet.tag {
            COMPRESSED if depth > 0 => {
                if let Some(mut decoder) = decoder(&packet.body) {
                    let (inner, unread) = sink.unpack(&mut decoder, None);
                    drop(decoder);
                    if let Some(Unread::Limit(reached)) = unread {
                        sink.trouble(Trouble::Limit(reached));
                    }
                    files(&inner, depth - 1, sink);
                }
            }
            LITERAL => {
                let body = packet.body;
                let length = u8_at(&body, 1).map_or(0, usize::from);
                let title = name(some(&body, 2, length));
                // Behind the name is a date.
                let (content, unread) = sink.stored(rest(&body, length.saturating_add(6)));
                let more = sink.member(Member {
                    // A name that says not to write a file.
                    names: Some(title)
                        .filter(|title| !title.is_empty() && title != "_CONSOLE")
                        .into_iter()
                        .collect(),
                    octets: content,
                    unread,
                    ..Member::default()
                });
                if !more {
                    return;
                }
            }
            SIGNATURE | ONE_PASS | MARKER => {}
            _ => return,
        }
    }
}

/// By its first octet, how a body is compressed (RFC 9580 section 9.4).
fn decoder(body: &[u8]) -> Option<Decoder<'_>> {
    let (how, packed) = body.split_first()?;
    match how {
        0 => Some(Box::new(packed)),
        1 => Some(inflate::deflate(packed)),
        2 => Some(inflate::zlib(packed)),
        3 => Some(inflate::bzip2(packed)),
        _ => None,
    }
}

struct Packet<'o> {
    tag: u8,
    body: Cow<'o, [u8]>,
    /// Where the next begins.
    end: usize,
}

impl<'o> Packet<'o> {
    /// A packet; one that breaks off has what is left (RFC 9580 section 4.2).
    fn at(octets: &'o [u8], at: usize) -> Option<Self> {
        let first = u8_at(octets, at)?;
        let tag = tag(first)?;
        let at = at.saturating_add(1);
        if first & 0x40 == 0 {
            let (start, length) = match first & 3 {
                0 => (at + 1, usize::from(u8_at(octets, at)?)),
                1 => (at + 2, usize::from(u16be(octets, at)?)),
                2 => (at + 4, place(u32be(octets, at)?)),
                _ => (at, usize::MAX),
            };
            return Some(Self {
                tag,
                body: Cow::Borrowed(some(octets, start, length)),
                end: start.saturating_add(length),
            });
        }
        let mut body = Cow::Borrowed(&[][..]);
        let mut at = at;
        loop {
            let first = u8_at(octets, at)?;
            let (start, length) = match first {
                0..=191 => (at + 1, usize::from(first)),
                192..=223 => {
                    let low = usize::from(u8_at(octets, at + 1)?);
                    (at + 2, (usize::from(first - 192) << 8) + low + 192)
                }
                224..=254 => (at + 1, 1 << (first & 0x1f)),
                255 => (at + 5, place(u32be(octets, at + 1)?)),
            };
            let more = some(octets, start, length);
            at = start.saturating_add(length);
            if body.is_empty() {
                body = Cow::Borrowed(more);
            } else {
                body.to_mut().extend_from_slice(more);
            }
            // Only a part; the next one has a length as well.
            let is_part = matches!(first, 224..=254) && at < octets.len();
            if !is_part {
                return Some(Self { tag, body, end: at });
            }
        }
    }
}

/// What kind of packet begins with this octet.
const fn tag(first: u8) -> Option<u8> {
    match first {
        0xc0.. => Some(first & 0x3f),
        0x80.. => Some(first >> 2 & 0x0f),
        _ => None,
    }
}
