//! Objects in rich text: hexadecimal digits behind `\objdata`, which are an OLE 1.0 object (MS-OLEDS 2.2.5). Writers
//! of exploits scatter control words and blanks among the digits, which Word passes over; so does this. Where readers of
//! rich text differ in what such scattering is, both objects come out, and that they differ is said.

use std::borrow::Cow;

use memchr::memmem;

use super::{Member, Sink, Trouble, ole};
use crate::LimitReached;
use crate::octets::{count, place, place64, rest, some, u32le, until_zero};

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let mut beyond = 0;
    for at in memmem::find_iter(octets, b"\\objdata") {
        if at < beyond {
            continue;
        }
        let text = rest(octets, at.saturating_add(8));
        let (most, limit) = sink.allowance();
        let (object, length) = digits(text, place64(most), Reading::Loose);
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
        // Most consist of digits and nothing else.
        let is_plain = memchr::memchr2(b'\\', b'{', some(text, 0, length)).is_none()
            && !text.first().is_some_and(u8::is_ascii_digit);
        if sink.stopped {
            return;
        }
        if is_plain {
            continue;
        }
        let (most, limit) = sink.allowance();
        let (other, _) = digits(text, place64(most), Reading::Strict);
        let is_cut = count(&other) >= most;
        sink.pay(count(&other));
        if is_cut {
            sink.limit(LimitReached(limit));
        } else if other != object {
            sink.trouble(Trouble::Ambiguous(
                "what stands among the digits of an object programs read differently".to_owned(),
            ));
            if !other.is_empty() && !give(&other, sink) {
                return;
            }
        }
        if sink.stopped {
            return;
        }
    }
}

/// How the digits of an object are read. Programs differ in what they take of that which stands among them, and writers of
/// exploits know which does what; no honest program writes anything there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// All digits count but those of control words and of characters by number.
    Loose,
    /// Not those within groups, nor those that stand for a character by number where it cannot be shown; words end after so
    /// many letters and digits as programs have room for.
    Strict,
}

/// Letters of a control word and digits of its number for which some programs have room.
const LETTERS_MAX: usize = 32;
const NUMBER_MAX: usize = 10;

/// The octets that the digits say, and how far they go.
fn digits(text: &[u8], most: usize, reading: Reading) -> (Vec<u8>, usize) {
    let is_strict = reading == Reading::Strict;
    let mut object = Vec::new();
    let mut half: Option<u8> = None;
    let mut depth = 0_usize;
    // Characters that stand for one by number, and how many do from here on.
    let (mut skipped, mut instead) = (0_usize, 1_usize);
    let mut at = 0;
    // A number behind the word that all begins with is the word's.
    if !is_strict {
        at = number(text, 0, usize::MAX).1;
    }
    while let Some(octet) = text.get(at) {
        at += 1;
        if object.len() >= most {
            break;
        }
        match octet {
            b'{' => depth += 1,
            b'}' if depth == 0 => break,
            b'}' => depth -= 1,
            b'\\' => {
                if text.get(at) == Some(&b'\'') {
                    // A character by its number: its digits are none of the object's, but perhaps its octet is.
                    if is_strict {
                        half = None;
                        object.push(b'\'');
                    }
                    at += 3;
                    continue;
                }
                let word = rest(text, at);
                let room = if is_strict { LETTERS_MAX } else { usize::MAX };
                let letters = word
                    .iter()
                    .take(room)
                    .take_while(|letter| letter.is_ascii_alphabetic())
                    .count();
                let word = some(word, 0, letters);
                let room = if is_strict { NUMBER_MAX } else { usize::MAX };
                let (value, end) = number(text, at.saturating_add(letters), room);
                at = end.max(at.saturating_add(1));
                match word {
                    b"bin" => {
                        // Octets as they are, behind one blank.
                        if text.get(at) == Some(&b' ') || !is_strict {
                            at = at.saturating_add(1);
                        }
                        if is_strict {
                            half = None;
                        }
                        let length = value.and_then(|value| usize::try_from(value).ok());
                        let length = length.unwrap_or(0);
                        object.extend_from_slice(some(text, at, length.min(most)));
                        at = at.saturating_add(length);
                    }
                    b"uc" => {
                        instead = value
                            .and_then(|value| usize::try_from(value).ok())
                            .unwrap_or(1);
                    }
                    b"u" if is_strict => skipped = instead,
                    _ => {}
                }
            }
            digit => {
                if skipped > 0 && !digit.is_ascii_whitespace() {
                    skipped -= 1;
                    continue;
                }
                let Some(value) = char::from(*digit)
                    .to_digit(16)
                    .and_then(|value| u8::try_from(value).ok())
                    .filter(|_| depth == 0 || !is_strict)
                else {
                    continue;
                };
                match half.take() {
                    Some(high) => object.push(high << 4 | value),
                    None => half = Some(value),
                }
            }
        }
    }
    (object, at)
}

/// The number of a control word, of so many digits at most, and where it ends.
pub(crate) fn number(text: &[u8], at: usize, room: usize) -> (Option<i64>, usize) {
    let sign = usize::from(text.get(at) == Some(&b'-'));
    let digits = rest(text, at.saturating_add(sign))
        .iter()
        .take(room)
        .take_while(|digit| digit.is_ascii_digit())
        .count();
    if digits == 0 {
        return (None, at);
    }
    let end = at.saturating_add(sign).saturating_add(digits);
    let number = std::str::from_utf8(some(text, at, end.saturating_sub(at))).ok();
    (number.and_then(|number| number.parse().ok()), end)
}

/// Hands on what an object holds.
fn give(object: &[u8], sink: &mut Sink<'_>) -> bool {
    if let Some(link) = linked(object) {
        return sink.member(Member {
            names: vec!["link".to_owned()],
            types: vec![ole::LINK.to_owned()],
            octets: Cow::Borrowed(link),
            inner: true,
            ..Member::default()
        });
    }
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

/// Where a linked object lies (MS-OLEDS 2.2.6).
fn linked(object: &[u8]) -> Option<&[u8]> {
    if u32le(object, 4)? != 1 {
        return None;
    }
    let class = place(u32le(object, 8)?);
    let at = class.checked_add(12)?;
    let length = place(u32le(object, at)?);
    Some(until_zero(some(object, at.checked_add(4)?, length)))
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
