//! Filters of streams (ISO 32000-2 section 7.4), applied one after another.

use std::borrow::Cow;

use super::super::{Sink, Unread, inflate};
use super::hexadecimal;
use crate::octets::{count, place64, some};

/// Filters one after another: honest streams have two.
pub(super) const MAX: usize = 8;

/// A filter and what it was told.
pub(super) struct Filter {
    pub(super) name: Vec<u8>,
    pub(super) predictor: Option<usize>,
    pub(super) colors: Option<usize>,
    pub(super) bits: Option<usize>,
    pub(super) columns: Option<usize>,
    pub(super) early: Option<usize>,
}

/// What a stream holds, and why that is not all.
pub(super) fn decode<'o>(
    chain: &[Filter],
    raw: &'o [u8],
    sink: &mut Sink<'_>,
) -> (Cow<'o, [u8]>, Option<Unread>) {
    if chain.len() > MAX {
        return other(b"many filters");
    }
    let mut plain = Cow::Borrowed(raw);
    let mut unread = None;
    for filter in chain {
        let (most, limit) = sink.allowance();
        let most = place64(most);
        let mut decoded = match filter.name.as_slice() {
            b"FlateDecode" | b"Fl" => {
                let (unpacked, trouble) = sink.unpack(&mut inflate::zlib(&plain), None);
                unread = trouble.or(unread);
                unpacked
            }
            b"ASCIIHexDecode" | b"AHx" => paid(hexadecimal(&plain), sink),
            b"ASCII85Decode" | b"A85" => paid(ascii85(&plain), sink),
            name @ (b"RunLengthDecode" | b"RL" | b"LZWDecode" | b"LZW") => {
                let unpacked = if name.starts_with(b"R") {
                    run_lengths(&plain, most)
                } else {
                    lzw(&plain, filter.early != Some(0), most)
                };
                if unpacked.len() >= most {
                    unread = Some(sink.reached(limit));
                }
                paid(unpacked, sink)
            }
            // That of everything, unless it names another.
            b"Crypt" => continue,
            name => return other(name),
        };
        if matches!(unread, Some(Unread::Limit(_))) {
            return (Cow::Owned(decoded), unread);
        }
        if let Some(predictor @ 2..) = filter.predictor {
            match unpredicted(filter, predictor, &decoded) {
                Some(octets) => decoded = paid(octets, sink),
                None => return other(b"a predictor"),
            }
        }
        plain = Cow::Owned(decoded);
    }
    match plain {
        Cow::Borrowed(raw) => sink.stored(raw),
        Cow::Owned(octets) => (Cow::Owned(octets), unread),
    }
}

fn other<'o>(name: &[u8]) -> (Cow<'o, [u8]>, Option<Unread>) {
    let name = crate::octets::name(some(name, 0, 40));
    (Cow::Borrowed(&[]), Some(Unread::Method(name)))
}

fn paid(octets: Vec<u8>, sink: &mut Sink<'_>) -> Vec<u8> {
    sink.pay(count(&octets));
    octets
}

fn ascii85(text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut group: Vec<u8> = Vec::new();
    let mut flush = |group: &mut Vec<u8>| {
        let count = group.len();
        if count == 0 {
            return;
        }
        group.resize(5, 84);
        let value = group.iter().fold(0_u32, |value, digit| {
            value.wrapping_mul(85).wrapping_add(u32::from(*digit))
        });
        octets.extend_from_slice(some(&value.to_be_bytes(), 0, count.saturating_sub(1)));
        group.clear();
    };
    for octet in text {
        match octet {
            b'!'..=b'u' => {
                group.push(octet - b'!');
                if group.len() == 5 {
                    flush(&mut group);
                }
            }
            b'z' if group.is_empty() => {
                group.resize(5, 0);
                flush(&mut group);
            }
            b'~' => break,
            _ => {}
        }
    }
    flush(&mut group);
    octets
}

/// A count and one octet, or a count and as many octets (ISO 32000-2 section 7.4.5).
fn run_lengths(packed: &[u8], most: usize) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut at = 0;
    while let Some(length) = packed.get(at)
        && plain.len() < most
        && *length != 128
    {
        at += 1;
        if *length < 128 {
            let literal = some(packed, at, usize::from(*length) + 1);
            plain.extend_from_slice(literal);
            at += usize::from(*length) + 1;
        } else if let Some(octet) = packed.get(at) {
            plain.extend(std::iter::repeat_n(*octet, 257 - usize::from(*length)));
            at += 1;
        }
    }
    plain.truncate(most);
    plain
}

/// LZW with codes of 9 to 12 bits, the high bit first (ISO 32000-2 section 7.4.4.2). `early`: codes grow one code sooner
/// than they must.
fn lzw(packed: &[u8], early: bool, most: usize) -> Vec<u8> {
    const CLEAR: usize = 256;
    let mut plain: Vec<u8> = Vec::new();
    // Where in what came forth each string of two and more begins, and how long it is.
    let mut strings: Vec<(usize, usize)> = Vec::new();
    let mut last: Option<(usize, usize)> = None;
    let (mut bits, mut held, mut width) = (0_u32, 0_u32, 9_u32);
    for octet in packed {
        bits = bits << 8 | u32::from(*octet);
        held += 8;
        if held < width {
            continue;
        }
        held -= width;
        let code = usize::try_from(bits >> held & ((1 << width) - 1)).unwrap_or(CLEAR);
        let begin = plain.len();
        match code {
            CLEAR => {
                strings.clear();
                width = 9;
                last = None;
                continue;
            }
            257 => break,
            literal @ 0..=255 => plain.extend(u8::try_from(literal)),
            code => {
                let known = strings.get(code - 258).copied();
                // The string that this very code makes: the last one and its first octet.
                let Some((from, length)) = known.or(last.map(|(from, length)| (from, length + 1)))
                else {
                    break;
                };
                for at in from..from + length {
                    plain.extend(plain.get(at).copied());
                }
            }
        }
        if let Some((from, length)) = last
            && strings.len() < 4096 - 258
        {
            strings.push((from, length + 1));
        }
        last = Some((begin, plain.len() - begin));
        let next = strings.len() + 259 + usize::from(early) - 1;
        width = match next {
            ..512 => 9,
            512..1024 => 10,
            1024..2048 => 11,
            _ => 12,
        };
        if plain.len() >= most {
            break;
        }
    }
    plain.truncate(most);
    plain
}

/// What was there before each octet was replaced by its difference from those beside and above it (ISO 32000-2 section
/// 7.4.4.4). None: in a way that is not undone here.
fn unpredicted(filter: &Filter, predictor: usize, octets: &[u8]) -> Option<Vec<u8>> {
    let colors = filter.colors.unwrap_or(1).clamp(1, 64);
    let bits = filter.bits.unwrap_or(8).clamp(1, 32);
    let columns = filter.columns.unwrap_or(1).max(1);
    let pixel = (colors * bits).div_ceil(8);
    let width = columns
        .checked_mul(colors * bits)
        .filter(|width| *width < 1 << 30)?
        .div_ceil(8);
    let mut plain = Vec::with_capacity(octets.len());
    if predictor < 10 {
        if bits != 8 {
            return None;
        }
        for row in octets.chunks(width) {
            for (at, octet) in row.iter().enumerate() {
                let left = (at >= pixel).then(|| plain.get(plain.len() - pixel).copied());
                plain.push(octet.wrapping_add(left.flatten().unwrap_or(0)));
            }
        }
        return Some(plain);
    }
    for row in octets.chunks(width + 1) {
        let (kind, row) = row.split_first()?;
        let begin = plain.len();
        for (at, octet) in row.iter().enumerate() {
            let before = |back: usize| {
                let place = plain.len().checked_sub(back);
                place
                    .and_then(|place| plain.get(place).copied())
                    .unwrap_or(0)
            };
            let (left, slant) = if at >= pixel {
                (before(pixel), before(width.saturating_add(pixel)))
            } else {
                (0, 0)
            };
            // Above the first row there is nothing.
            let (above, slant) = if begin == 0 {
                (0, 0)
            } else {
                (before(width), slant)
            };
            let guess = match kind {
                1 => left,
                2 => above,
                3 => u8::midpoint(left, above),
                4 => paeth(left, above, slant),
                _ => 0,
            };
            plain.push(octet.wrapping_add(guess));
        }
    }
    Some(plain)
}

/// The one of three that is nearest to where they point (PNG section 9.4).
fn paeth(left: u8, above: u8, slant: u8) -> u8 {
    let goal = i16::from(left) + i16::from(above) - i16::from(slant);
    let away = |octet: u8| (goal - i16::from(octet)).abs();
    if away(left) <= away(above) && away(left) <= away(slant) {
        left
    } else if away(above) <= away(slant) {
        above
    } else {
        slant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let packed = b"\x80\x0b\x60\x50\x22\x0c\x0c\x85\x01";
        assert_eq!(lzw(packed, true, 100), b"-----A---B");
        assert_eq!(run_lengths(b"\x02abc\xfed\x80x", 100), b"abcddd");
        assert_eq!(ascii85(b"9jqo^BlbD-~>"), b"Man is d");
    }

    #[test]
    fn all_ways_to_predict_are_undone() {
        let filter = Filter {
            name: Vec::new(),
            predictor: None,
            colors: Some(1),
            bits: Some(8),
            columns: Some(3),
            early: None,
        };
        let rows = b"\x00abc\x01\x01\x01\x01\x02\x01\x01\x01\x03\x01\x01\x01\x04\x01\x01\x01";
        let plain = unpredicted(&filter, 15, rows).unwrap();
        assert_eq!(
            plain,
            b"abc\x01\x02\x03\x02\x03\x04\x02\x03\x04\x03\x04\x05"
        );
    }
}
