//! One file in one stream: gzip, xz, bzip2, Zstandard, LZMA; and what DOS, the Macintosh and Usenet had.

use std::borrow::Cow;

use super::inflate::{self, Packed};
use super::{Member, Sink, Trouble, Unread};
use crate::kind::{self, Kind};
use crate::octets::{name, place, rest, some, u8_at, u16be, u16le, u32be, u32le, until_zero};

/// More members than any program writes.
const LZIP_MEMBERS_MAX: usize = 64;

/// gzip: the head of its first member may name the file (RFC 1952). Further members go on where it ends.
pub(super) fn gzip(octets: &[u8], sink: &mut Sink<'_>) {
    let names = gzip_name(octets).into_iter().collect();
    let meter = sink.meter();
    let mut decoder = inflate::gzip(Packed::new(octets, &meter));
    let (unpacked, unread) = sink.unpack_metered(&mut decoder, None, &meter);
    drop(decoder);
    give(sink, names, unpacked, unread);
}

fn gzip_name(octets: &[u8]) -> Option<String> {
    let flags = u8_at(octets, 3)?;
    if flags & 8 == 0 {
        return None;
    }
    let mut at = 10;
    if flags & 4 != 0 {
        at += usize::from(u16le(octets, at)?) + 2;
    }
    Some(name(until_zero(some(octets, at, 4096))))
}

/// The others.
pub(super) fn squeezed(octets: &[u8], kind: Kind, sink: &mut Sink<'_>) {
    if kind == Kind::Lzip && crate::octets::holds(octets, b"LZIP\0") {
        lzip_members(octets, sink);
        return;
    }
    let meter = sink.meter();
    let packed = Packed::new(octets, &meter);
    let (most, _) = sink.allowance();
    let decoder = match kind {
        Kind::Xz => Ok(inflate::xz(packed)),
        Kind::Bzip2 => Ok(inflate::bzip2(packed)),
        Kind::Zstd => Ok(inflate::zstd(packed)),
        Kind::Lzip => Ok(inflate::lzip(packed)),
        _ => inflate::lzma_alone(packed, most),
    };
    let Ok(mut decoder) = decoder else {
        sink.trouble(Trouble::Damaged("it has no proper head"));
        return;
    };
    let (unpacked, unread) = sink.unpack_metered(&mut decoder, None, &meter);
    // What lies in it may be packed again, and a dictionary takes up to 128 MiB.
    drop(decoder);
    give(sink, Vec::new(), unpacked, unread);
}

/// Members of lzip in a file that has one of the version before the first, each read by itself.
fn lzip_members(octets: &[u8], sink: &mut Sink<'_>) {
    let mut whole = Vec::new();
    let mut unread = None;
    for (count, at) in memchr::memmem::find_iter(octets, b"LZIP").enumerate() {
        if count >= LZIP_MEMBERS_MAX {
            sink.trouble(Trouble::NotUnpacked);
            break;
        }
        if !matches!(u8_at(octets, at + 4), Some(0 | 1)) {
            continue;
        }
        let (most, _) = sink.allowance();
        let meter = sink.meter();
        let packed = Packed::new(rest(octets, at), &meter);
        let Ok(mut decoder) = inflate::lzip_member(packed, most) else {
            continue;
        };
        let (unpacked, why) = sink.unpack_metered(&mut decoder, None, &meter);
        drop(decoder);
        whole.extend(unpacked);
        unread = unread.or(why);
        if sink.stopped {
            break;
        }
    }
    give(sink, Vec::new(), whole, unread);
}

/// `MacBinary`, and `AppleSingle` (RFC 1740, appendix A): a name and two forks.
pub(super) fn mac_file(octets: &[u8], sink: &mut Sink<'_>) {
    let (title, forks) = if octets.first_chunk() == Some(b"\0\x05\x16\0") {
        let entry = |number: u32| {
            let count = usize::from(u16be(octets, 24).unwrap_or(0));
            (0..count)
                .map(|nth| some(octets, 26 + 12 * nth, 12))
                .find(|entry| u32be(entry, 0) == Some(number))
                .map(|entry| {
                    (
                        u32be(entry, 4).map_or(0, place),
                        u32be(entry, 8).map_or(0, place),
                    )
                })
        };
        let (at, length) = entry(3).unwrap_or_default();
        (some(octets, at, length), [entry(1), entry(2)])
    } else {
        let length = |at: usize| u32be(octets, at).map_or(0, place);
        let padded = |length: usize| length.div_ceil(128).saturating_mul(128);
        // The second version may put a head of its own between.
        let more = usize::from(u16be(octets, 120).unwrap_or(0));
        let data = padded(more).saturating_add(128);
        let resource = data.saturating_add(padded(length(83)));
        let title = some(octets, 2, usize::from(u8_at(octets, 1).unwrap_or(0)));
        (
            title,
            [Some((data, length(83))), Some((resource, length(87)))],
        )
    };
    // Some readers make no file of an empty fork; its name is judged all the same.
    for (nth, fork) in forks.into_iter().enumerate() {
        let Some((at, length)) = fork.filter(|(_, length)| nth == 0 || *length > 0) else {
            continue;
        };
        let content = some(octets, at, length);
        let (kept, limited) = sink.stored(content);
        let more = sink.member(Member {
            names: vec![name(title)],
            octets: kept,
            unread: limited.or((content.len() < length).then_some(Unread::Damaged)),
            ..Member::default()
        });
        if !more {
            return;
        }
    }
}

fn give(sink: &mut Sink<'_>, names: Vec<String>, octets: Vec<u8>, unread: Option<Unread>) {
    sink.member(Member {
        names,
        octets: Cow::Owned(octets),
        unread,
        ..Member::default()
    });
}

/// COMPRESS.EXE: eight flags, then a literal or a place in a window of 4 KiB each.
pub(super) fn szdd(octets: &[u8], sink: &mut Sink<'_>) {
    let (start, length) = if octets.starts_with(b"SZDD") {
        (14, u32le(octets, 10))
    } else if octets.starts_with(b"SZ ") {
        (12, u32le(octets, 8))
    } else {
        sink.trouble(Trouble::NotUnpacked);
        return;
    };
    let (most, limit) = sink.allowance();
    let most = place(u32::try_from(most).unwrap_or(u32::MAX));
    let mut window = [b' '; 4096];
    let mut at = 4096 - 16_usize;
    let mut unpacked = Vec::new();
    let mut input = rest(octets, start).iter().copied();
    let mut put = |octet: u8, window: &mut [u8; 4096], unpacked: &mut Vec<u8>| {
        if let Some(slot) = window.get_mut(at) {
            *slot = octet;
        }
        at = (at + 1) % 4096;
        unpacked.push(octet);
    };
    'all: while let Some(flags) = input.next() {
        for bit in 0..8 {
            if unpacked.len() >= most {
                break 'all;
            }
            if flags & (1 << bit) != 0 {
                let Some(literal) = input.next() else {
                    break 'all;
                };
                put(literal, &mut window, &mut unpacked);
                continue;
            }
            let (Some(low), Some(high)) = (input.next(), input.next()) else {
                break 'all;
            };
            let from = usize::from(low) | (usize::from(high & 0xf0) << 4);
            let count = usize::from(high & 0x0f) + 3;
            for step in 0..count {
                let octet = window.get((from + step) % 4096).copied().unwrap_or(0);
                put(octet, &mut window, &mut unpacked);
            }
        }
    }
    let unread = if unpacked.len() >= most {
        unpacked.truncate(most);
        Some(sink.reached(limit))
    } else if length
        .map(place)
        .is_some_and(|length| length > unpacked.len())
    {
        Some(Unread::Damaged)
    } else {
        None
    };
    sink.produced(&unpacked);
    give(sink, Vec::new(), unpacked, unread);
}

/// Letters of a line of `BinHex` that no other text has: honest lines have 64.
const BINHEX_LINE_MIN: usize = 32;

/// Octets of `BinHex` that hold its head: a name of 63 octets, the rest, and runs that are none.
const BINHEX_HEAD: usize = 96;

/// Where the letters of the next file in `BinHex` begin: behind the first colon that begins a line of them, if a head
/// comes of it. Readers look at nothing before that.
pub(crate) fn binhex_at(octets: &[u8], from: usize) -> Option<usize> {
    let text = rest(octets, from);
    let first = (from == 0 && text.starts_with(b":")).then_some(1);
    let others = memchr::memmem::find_iter(text, b"\n:").map(|at| at.saturating_add(2));
    first.into_iter().chain(others).find_map(|start| {
        let start = from.saturating_add(start);
        let line = some(octets, start, BINHEX_LINE_MIN);
        let letters = line.iter().filter(|octet| binhex_value(**octet).is_some());
        if letters.count() < BINHEX_LINE_MIN {
            return None;
        }
        let (packed, _) = binhex_letters(some(octets, start, BINHEX_HEAD * 2));
        let plain = binhex_runs(&packed, BINHEX_HEAD);
        let length = usize::from(u8_at(&plain, 0)?);
        let name = some(&plain, 1, length);
        // Behind the name a zero, and forks that no mail is as large as.
        let is_head = (1..=63).contains(&length)
            && name.len() == length
            && !name.iter().any(u8::is_ascii_control)
            && u8_at(&plain, length + 1) == Some(0)
            && u8_at(&plain, length + 12).is_none_or(|high| high < 0x10)
            && u8_at(&plain, length + 16).is_none_or(|high| high < 0x10);
        is_head.then_some(start)
    })
}

fn binhex_value(letter: u8) -> Option<u8> {
    const ALPHABET: &[u8; 64] =
        b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";
    let at = memchr::memchr(letter, ALPHABET)?;
    u8::try_from(at).ok()
}

/// Six bits a letter, up to the next colon; and how much that was.
fn binhex_letters(text: &[u8]) -> (Vec<u8>, usize) {
    let mut packed = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for (at, octet) in text.iter().enumerate() {
        if octet.is_ascii_whitespace() {
            continue;
        }
        let Some(value) = binhex_value(*octet) else {
            return (packed, at);
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            packed.push(u8::try_from((bits >> held) & 0xff).unwrap_or(0));
        }
    }
    (packed, text.len())
}

/// Runs of an octet written out, up to about so many octets.
fn binhex_runs(packed: &[u8], most: usize) -> Vec<u8> {
    let mut plain: Vec<u8> = Vec::new();
    let mut input = packed.iter().copied();
    while let Some(octet) = input.next() {
        if plain.len() >= most {
            break;
        }
        if octet != 0x90 {
            plain.push(octet);
            continue;
        }
        match input.next() {
            Some(0) => plain.push(0x90),
            Some(count) => {
                let last = plain.last().copied().unwrap_or(0);
                plain.extend(std::iter::repeat_n(last, usize::from(count) - 1));
            }
            None => break,
        }
    }
    plain
}

/// `BinHex` 4.0 (RFC 1741): six bits a character, runs, then a name and two forks; of any number of files.
pub(super) fn binhex(octets: &[u8], sink: &mut Sink<'_>) {
    let mut next = binhex_at(octets, 0);
    if next.is_none() {
        // None that looks like one: behind the words that stand before one.
        let Some(mark) = crate::octets::find(&octets.to_ascii_lowercase(), b"binhex") else {
            return;
        };
        let colon = memchr::memchr(b':', rest(octets, mark));
        next = colon.map(|colon| mark + colon + 1);
        if next.is_none() {
            sink.trouble(Trouble::Damaged("it has no content"));
        }
    }
    while let Some(start) = next {
        let (packed, length) = binhex_letters(rest(octets, start));
        binhex_file(&packed, sink);
        if sink.stopped {
            return;
        }
        next = binhex_at(octets, start.saturating_add(length).saturating_add(1));
    }
}

fn binhex_file(packed: &[u8], sink: &mut Sink<'_>) {
    let (most, limit) = sink.allowance();
    let most = place(u32::try_from(most).unwrap_or(u32::MAX));
    let mut plain = binhex_runs(packed, most);
    let over = plain.len() >= most;
    plain.truncate(most);
    sink.produced(&plain);
    let length = usize::from(u8_at(&plain, 0).unwrap_or(0));
    let title = name(some(&plain, 1, length));
    // The name, a zero, type, creator, flags, both lengths, a sum.
    let info = length + 2;
    let length = u32be(&plain, info + 10).map_or(0, place);
    let resource = u32be(&plain, info + 14).map_or(0, place);
    let body = info + 20;
    let unread = if over {
        Some(sink.reached(limit))
    } else {
        (plain.len() < body.saturating_add(length)).then_some(Unread::Damaged)
    };
    give(
        sink,
        vec![title.clone()],
        some(&plain, body, length).to_vec(),
        unread,
    );
    if resource > 0 && u16be(&plain, body.saturating_add(length)).is_some() {
        let fork = some(
            &plain,
            body.saturating_add(length).saturating_add(2),
            resource,
        );
        give(sink, vec![title], fork.to_vec(), None);
    }
}

/// uuencode, of any number of files one after another.
pub(super) fn uuencode(octets: &[u8], sink: &mut Sink<'_>) {
    let mut lines = octets.split(|octet| *octet == b'\n').peekable();
    while let Some(line) = lines.next() {
        let Some(title) = kind::uuencode_begin(line) else {
            continue;
        };
        let base64 = line.starts_with(b"begin-base64");
        let mut unpacked = Vec::new();
        let mut ended = false;
        // Where another begins, this one has no end.
        while let Some(line) = lines.next_if(|line| kind::uuencode_begin(line).is_none()) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line == b"end" || line.starts_with(b"====") {
                ended = true;
                break;
            }
            if base64 {
                unpacked.extend(super::html::base64(line));
            } else {
                uu_line(line, &mut unpacked);
            }
        }
        sink.produced(&unpacked);
        let unread = (!ended).then_some(Unread::Damaged);
        give(sink, vec![name(title)], unpacked, unread);
        if sink.stopped {
            return;
        }
    }
}

/// One line: its length, then six bits a character.
fn uu_line(line: &[u8], unpacked: &mut Vec<u8>) {
    let Some((first, packed)) = line.split_first() else {
        return;
    };
    let value = |octet: u8| u32::from(octet.wrapping_sub(0x20) & 0x3f);
    let mut left = usize::from(first.wrapping_sub(0x20) & 0x3f);
    for group in packed.chunks(4) {
        let bits = (0..4).fold(0_u32, |bits, at| {
            (bits << 6) | value(group.get(at).copied().unwrap_or(0x20))
        });
        let three = bits.to_be_bytes();
        let count = left.min(3);
        unpacked.extend_from_slice(some(&three, 1, count));
        left -= count;
        if left == 0 {
            break;
        }
    }
}
