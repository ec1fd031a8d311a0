//! PDF: embedded files, and the objects that are packed together, in which actions and scripts lie.
//!
//! No cross-reference is followed: every object is found where it stands, as readers do that mend broken files.
//! Filters but Flate, hexadecimal and ASCII85 are left alone.

use std::borrow::Cow;
use std::collections::BTreeMap;

use memchr::memmem;

use super::{Member, Sink, Unread, inflate};
use crate::octets::{find, holds, rest, some, utf16be};
use crate::{Limit, LimitReached};

/// The type given to packed objects, so that whoever judges content looks for actions in them.
pub(crate) const OBJECTS: &str = "application/x-pdf-objects";

/// More streams than the largest books have.
const STREAMS_MAX: usize = 100_000;

/// How much of an object before its stream is its dictionary.
const DICTIONARY_MAX: usize = 4096;

/// Dictionaries of embedded files that are looked at: more than a message may have files.
const TITLES_MAX: usize = 4096;

/// Octets of their names. Honest ones are as short as those of other files.
const TITLE_OCTETS_MAX: usize = 16 << 20;

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    // Without all of them an embedded file may pass for any other stream.
    let Some(titles) = titles(octets) else {
        sink.limit(LimitReached(Limit::Parts));
        return;
    };
    let mut at = 0;
    let mut streams = 0;
    while let Some(found) = find(rest(octets, at), b"stream") {
        let mark = at.saturating_add(found);
        at = mark.saturating_add(6);
        if mark >= 3 && some(octets, mark - 3, 3) == b"end" {
            continue;
        }
        streams += 1;
        if streams > STREAMS_MAX {
            sink.limit(LimitReached(Limit::Parts));
            return;
        }
        let before = mark.saturating_sub(DICTIONARY_MAX);
        let head = some(octets, before, mark - before);
        let begin = memmem::rfind(head, b" obj").map_or(0, |begin| begin.saturating_add(4));
        let dictionary = rest(head, begin);
        let number = object_number(some(head, 0, begin.saturating_sub(4)));
        let embedded = holds(dictionary, b"EmbeddedFile")
            || number.is_some_and(|number| titles.contains_key(&number));
        let objects = holds(dictionary, b"/ObjStm");
        if !embedded && !objects {
            continue;
        }
        let start = match some(octets, at, 2) {
            b"\r\n" => at + 2,
            [b'\n' | b'\r', ..] => at + 1,
            _ => at,
        };
        let body = rest(octets, start);
        let end = find(body, b"endstream").unwrap_or(body.len());
        let raw = some(body, 0, end);
        at = start.saturating_add(end);
        let (content, unread) = unfilter(dictionary, raw, sink);
        let names = number.and_then(|number| titles.get(&number)).cloned();
        let member = if embedded {
            Member {
                names: names.unwrap_or_default(),
                octets: content,
                unread,
                ..Member::default()
            }
        } else {
            Member {
                types: vec![OBJECTS.to_owned()],
                octets: content,
                // Writers often get these wrong, and readers do not mind; a limit or a way of packing is another thing.
                unread: unread.filter(|unread| *unread != Unread::Damaged),
                inner: true,
                ..Member::default()
            }
        };
        if !sink.member(member) {
            return;
        }
    }
}

/// The number of the object that a head ends with: `12 0`.
fn object_number(head: &[u8]) -> Option<u32> {
    let mut words = head
        .rsplit(|octet| !octet.is_ascii_digit())
        .filter(|word| !word.is_empty());
    words.next()?;
    std::str::from_utf8(words.next()?).ok()?.parse().ok()
}

fn unfilter<'a>(
    dictionary: &[u8],
    raw: &'a [u8],
    sink: &mut Sink<'_>,
) -> (Cow<'a, [u8]>, Option<Unread>) {
    let mut plain: Cow<'_, [u8]> = Cow::Borrowed(raw);
    if holds(dictionary, b"ASCIIHexDecode") || holds(dictionary, b"/AHx") {
        plain = Cow::Owned(hexadecimal(raw));
    } else if holds(dictionary, b"ASCII85Decode") || holds(dictionary, b"/A85") {
        plain = Cow::Owned(ascii85(raw));
    }
    if holds(dictionary, b"FlateDecode") || holds(dictionary, b"/Fl ") || holds(dictionary, b"/Fl]")
    {
        let (unpacked, unread) = sink.unpack(&mut inflate::zlib(&plain), None);
        return (Cow::Owned(unpacked), unread);
    }
    if ["LZWDecode", "Crypt", "RunLengthDecode"]
        .iter()
        .any(|filter| holds(dictionary, filter.as_bytes()))
    {
        return (
            Cow::Borrowed(&[]),
            Some(Unread::Method("another filter".to_owned())),
        );
    }
    match plain {
        Cow::Borrowed(raw) => sink.stored(raw),
        Cow::Owned(octets) => {
            sink.produced(&octets);
            (Cow::Owned(octets), None)
        }
    }
}

pub(super) fn hexadecimal(text: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = text
        .iter()
        .take_while(|octet| **octet != b'>')
        .filter_map(|octet| char::from(*octet).to_digit(16))
        .filter_map(|digit| u8::try_from(digit).ok())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair.first().copied().unwrap_or(0) << 4 | pair.get(1).copied().unwrap_or(0))
        .collect()
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

/// The names of embedded files, by the number of the object that holds each: from the dictionaries that have `/EF`. None:
/// there are more than are looked at.
fn titles(octets: &[u8]) -> Option<BTreeMap<u32, Vec<String>>> {
    let mut titles = BTreeMap::new();
    let mut left = TITLE_OCTETS_MAX;
    for (nth, at) in memmem::find_iter(octets, b"/EF").enumerate() {
        if nth >= TITLES_MAX {
            return None;
        }
        let after = some(octets, at, 256);
        let Some(number) = find(after, b"/F ")
            .or_else(|| find(after, b"/UF "))
            .and_then(|reference| {
                let digits = rest(after, reference)
                    .iter()
                    .skip_while(|octet| !octet.is_ascii_digit());
                let digits: Vec<u8> = digits
                    .take_while(|octet| octet.is_ascii_digit())
                    .copied()
                    .collect();
                std::str::from_utf8(&digits).ok()?.parse::<u32>().ok()
            })
        else {
            continue;
        };
        let from = at.saturating_sub(1024);
        let around = some(octets, from, 2048);
        let mid = at - from;
        let begin = memmem::rfind(some(around, 0, mid), b" obj").unwrap_or(0);
        let end = find(rest(around, mid), b"endobj").map_or(around.len(), |end| mid + end);
        let object = some(around, begin, end.saturating_sub(begin));
        let mut names = Vec::new();
        for key in [b"/UF".as_slice(), b"/F"] {
            for place in memmem::find_iter(object, key) {
                let value = rest(object, place + key.len()).trim_ascii_start();
                let Some(text) = string(value) else {
                    continue;
                };
                left = left.checked_sub(text.len())?;
                if !text.is_empty() && !names.contains(&text) {
                    names.push(text);
                }
            }
        }
        titles.insert(number, names);
    }
    Some(titles)
}

/// A string: in parentheses, or in digits.
fn string(value: &[u8]) -> Option<String> {
    let octets = match value.first()? {
        b'(' => {
            let mut text = Vec::new();
            let mut input = value.iter().skip(1);
            while let Some(octet) = input.next() {
                match octet {
                    b')' => break,
                    b'\\' => text.extend(input.next()),
                    octet => text.push(*octet),
                }
                if text.len() > 1024 {
                    break;
                }
            }
            text
        }
        b'<' if value.get(1) != Some(&b'<') => hexadecimal(some(value, 1, 2048)),
        _ => return None,
    };
    Some(match octets.strip_prefix(b"\xfe\xff") {
        Some(wide) => utf16be(wide),
        None => crate::octets::name(&octets),
    })
}
