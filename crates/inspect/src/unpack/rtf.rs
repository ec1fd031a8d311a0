//! Objects in rich text: hexadecimal digits behind `\objdata`, which are an OLE 1.0 object (MS-OLEDS 2.2.5). Writers
//! of exploits scatter control words and blanks among the digits, which Word passes over; so does this.

use std::borrow::Cow;

use memchr::memmem;

use super::{Member, Sink, ole};
use crate::LimitReached;
use crate::octets::{count, place, place64, rest, some, u32le, until_zero};

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let mut beyond = 0;
    for at in memmem::find_iter(octets, b"\\objdata") {
        if at < beyond {
            continue;
        }
        let (most, limit) = sink.allowance();
        let (object, length) = digits(rest(octets, at.saturating_add(8)), place64(most));
        beyond = at.saturating_add(length);
        // What is cut is looked into all the same.
        let is_cut = count(&object) >= most;
        sink.pay(count(&object));
        if !object.is_empty() && !give(&object, sink) {
            return;
        }
        if is_cut {
            sink.limit(LimitReached(limit));
        }
        if sink.stopped {
            return;
        }
    }
}

/// The octets that the digits say, and how far they go.
fn digits(text: &[u8], most: usize) -> (Vec<u8>, usize) {
    let mut object = Vec::new();
    let mut half: Option<u8> = None;
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(octet) = text.get(at) {
        at += 1;
        match octet {
            b'{' => depth += 1,
            b'}' if depth == 0 => break,
            b'}' => depth -= 1,
            b'\\' => {
                if text.get(at) == Some(&b'\'') {
                    // A character by its number: its digits are none of the object's.
                    at += 3;
                    continue;
                }
                if some(text, at, 3) == b"bin" {
                    let number = some(text, at + 3, 10);
                    let end = number
                        .iter()
                        .position(|digit| !digit.is_ascii_digit())
                        .unwrap_or(number.len());
                    let length = std::str::from_utf8(some(number, 0, end))
                        .ok()
                        .and_then(|number| number.parse::<usize>().ok())
                        .unwrap_or(0);
                    let start = at + 3 + end + 1;
                    object.extend_from_slice(some(text, start, length.min(most)));
                    at = start.saturating_add(length);
                    continue;
                }
                // A control word, with its number.
                let word = some(text, at, 64);
                let letters = word
                    .iter()
                    .position(|letter| !letter.is_ascii_alphabetic())
                    .unwrap_or(word.len());
                let after = some(word, letters, 64);
                let number = after
                    .iter()
                    .position(|digit| !(digit.is_ascii_digit() || *digit == b'-'))
                    .unwrap_or(after.len());
                at += (letters + number).max(1);
            }
            digit => {
                let Some(value) = char::from(*digit)
                    .to_digit(16)
                    .and_then(|value| u8::try_from(value).ok())
                else {
                    continue;
                };
                match half.take() {
                    Some(high) => object.push(high << 4 | value),
                    None => half = Some(value),
                }
                if object.len() >= most {
                    break;
                }
            }
        }
    }
    (object, at)
}

/// Hands on what an object holds.
fn give(object: &[u8], sink: &mut Sink<'_>) -> bool {
    let Some((class, data)) = ole1(object) else {
        return sink.member(Member {
            octets: Cow::Borrowed(object),
            inner: true,
            ..Member::default()
        });
    };
    if class.eq_ignore_ascii_case(b"package")
        && let Some(package) = ole::package(data)
    {
        return sink.member(package);
    }
    sink.member(Member {
        names: vec![format!(
            "{} object",
            crate::octets::name(some(class, 0, 64))
        )],
        octets: Cow::Borrowed(data),
        inner: true,
        ..Member::default()
    })
}

/// The class and the content of an embedded object.
fn ole1(object: &[u8]) -> Option<(&[u8], &[u8])> {
    if u32le(object, 4)? != 2 {
        return None;
    }
    let mut at = 8_usize;
    let mut class: &[u8] = &[];
    for nth in 0..3 {
        let length = place(u32le(object, at)?);
        if nth == 0 {
            class = until_zero(some(object, at + 4, length.min(256)));
        }
        at = at.checked_add(4)?.checked_add(length)?;
    }
    let size = place(u32le(object, at)?);
    Some((class, some(object, at.checked_add(4)?, size)))
}
