//! What a page carries in itself: files as `data:` addresses, and long runs of base64 in its scripts, from which a
//! script makes a file that never passed a filter (smuggling). Pictures and fonts are what pages carry honestly,
//! and are left out.

use std::borrow::Cow;
use std::ops::Range;

use super::{Member, Sink};
use crate::Limit;
use crate::kind::{self, Class, Kind};
use crate::octets::{begins, count, place64, rest, some, u8_at};

/// Runs shorter than this hold no file that matters.
const RUN_MIN: usize = 64;

/// A run may be cut into pieces as short as this.
const PIECE_MIN: usize = 16;

/// Between pieces stand at most so many octets: an end of line, an indentation, quotes and what puts strings together.
const BETWEEN_MAX: usize = 40;

/// Octets between the scheme of an address and its comma.
const PARAMETERS_MAX: usize = 256;

/// How much of a file is looked at to tell what it is.
const HEAD: usize = 1024;

/// What looking at an address or a piece is charged: a page may be made of nothing else.
const LOOK_COST: usize = 256 << 10;

/// What each letter is charged that is put behind a piece: another piece may begin among them.
const JOIN_COST: usize = 64;

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let text = plain(octets);
    if let Cow::Owned(text) = &text {
        sink.produced(text);
    }
    let found = addresses(&text, sink);
    if !sink.stopped {
        runs(&text, &found, sink);
    }
}

/// A page with one octet a character, a calendar with its lines unfolded (RFC 5545 section 3.1).
fn plain(octets: &[u8]) -> Cow<'_, [u8]> {
    let low = match octets {
        [0xff, 0xfe, ..] => Some(0),
        [0xfe, 0xff, ..] => Some(1),
        [first, 0, ..] if *first != 0 => Some(0),
        [0, first, ..] if *first != 0 => Some(1),
        _ => None,
    };
    let text: Cow<'_, [u8]> = match low {
        Some(low) => {
            let units = octets.chunks_exact(2);
            let narrow = units.map(|pair| match (pair.get(low), pair.get(1 - low)) {
                (Some(octet), Some(0)) => *octet,
                _ => b'?',
            });
            Cow::Owned(narrow.collect())
        }
        None => Cow::Borrowed(octets),
    };
    let start = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let start = start.strip_prefix(b"?").unwrap_or(start);
    if !begins(start.trim_ascii_start(), b"begin:vcalendar") {
        return text;
    }
    let mut unfolded = Vec::with_capacity(text.len());
    let mut at = 0;
    for fold in memchr::memchr_iter(b'\n', &text) {
        if matches!(u8_at(&text, fold.saturating_add(1)), Some(b' ' | b'\t')) {
            let line = some(&text, at, fold - at);
            unfolded.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            at = fold.saturating_add(2);
        }
    }
    unfolded.extend_from_slice(rest(&text, at));
    Cow::Owned(unfolded)
}

/// Files in addresses (RFC 2397), wherever those stand; gives back where each file began and ended.
fn addresses(text: &[u8], sink: &mut Sink<'_>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for colon in memchr::memchr_iter(b':', text) {
        let scheme = colon.checked_sub(4).map(|start| some(text, start, 4));
        if !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data")) {
            continue;
        }
        let behind = some(text, colon.saturating_add(1), PARAMETERS_MAX);
        let Some(comma) = memchr::memchr3(b',', b'<', b'>', behind) else {
            continue;
        };
        let parameters = some(behind, 0, comma).trim_ascii_end();
        let start = colon.saturating_add(comma).saturating_add(2);
        let data = rest(text, start);
        let based = parameters
            .len()
            .checked_sub(6)
            .is_some_and(|at| begins(rest(parameters, at), b"base64"));
        let (head, _) = if based {
            based_data(data, HEAD)
        } else {
            let begin = some(data, 0, PIECE_MIN);
            // Text, or a drawing.
            if memchr::memchr_iter(b'%', begin).count() < 2 || begins(begin, b"%3c") {
                continue;
            }
            if let Err(reached) = sink.budget.search(LOOK_COST) {
                sink.limit(reached);
                break;
            }
            escaped_data(data, HEAD)
        };
        // As short as a run that holds no file.
        if head.len() < RUN_MIN / 4 * 3 || !interesting(kind::of(&head)) {
            continue;
        }
        let (allowed, limit) = sink.allowance();
        let most = place64(allowed);
        let (content, end) = if based {
            based_data(data, most.saturating_add(1))
        } else {
            escaped_data(data, most.saturating_add(1))
        };
        found.push(start..start.saturating_add(end));
        if !give(content, allowed, limit, sink) {
            break;
        }
    }
    found
}

/// For each octet that is wanted of an address so many are looked at: blanks count for nothing.
const LOOSE: usize = 8;

/// Base64 of an address, up to what does not belong there, and how much of the text that was. Blanks, and what stands for
/// them in an address or a page, are passed over.
fn based_data(text: &[u8], most: usize) -> (Vec<u8>, usize) {
    let mut letters = Vec::new();
    let mut at = 0;
    while let Some(octet) = u8_at(text, at)
        && letters.len() < most.saturating_mul(2)
        && at < most.saturating_mul(LOOSE)
    {
        match octet {
            octet if is_base64(octet) || matches!(octet, b'-' | b'_') => letters.push(octet),
            b' ' | b'\t' | b'\r' | b'\n' | 0x0c => {}
            b'%' => {
                let Some(octet) = escape(rest(text, at)) else {
                    break;
                };
                letters.push(octet);
                at += 2;
            }
            // `&#10;` and the like.
            b'&' => match memchr::memchr(b';', some(text, at, 12)) {
                Some(end) => at += end,
                None => break,
            },
            _ => break,
        }
        at += 1;
    }
    let mut octets = base64(&letters);
    octets.truncate(most);
    (octets, at)
}

/// An address without base64: octets, and `%4D` for some.
fn escaped_data(text: &[u8], most: usize) -> (Vec<u8>, usize) {
    let mut octets = Vec::new();
    let mut at = 0;
    while let Some(octet) = u8_at(text, at)
        && octets.len() < most
        && at < most.saturating_mul(LOOSE)
        && !matches!(octet, b'"' | b'\'' | b'<' | b'>')
    {
        if octet == b'%'
            && let Some(octet) = escape(rest(text, at))
        {
            octets.push(octet);
            at += 3;
        } else {
            // Ends of lines are left out of addresses.
            if !matches!(octet, b'\t' | b'\r' | b'\n') {
                octets.push(octet);
            }
            at += 1;
        }
    }
    (octets, at)
}

/// What `%4D` stands for.
fn escape(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(u8_at(text, at)?).to_digit(16);
    u8::try_from(digit(1)? << 4 | digit(2)?).ok()
}

/// Runs of base64 wherever they stand, but not where a file was found already.
fn runs(text: &[u8], found: &[Range<usize>], sink: &mut Sink<'_>) {
    let mut at = 0;
    while at < text.len() {
        let start = at;
        while text.get(at).is_some_and(|octet| is_base64(*octet)) {
            at += 1;
        }
        let length = at - start;
        if length < PIECE_MIN {
            at += 1;
            continue;
        }
        let is_piece = length < RUN_MIN;
        if is_piece && !begins_like_file(some(text, start, length)) {
            continue;
        }
        if !is_piece {
            // Lines of one file, as MIME breaks them.
            while text.get(at).is_some_and(|octet| {
                is_base64(*octet) || matches!(octet, b'\r' | b'\n' | b'=' | b' ' | b'\t')
            }) {
                at += 1;
            }
        }
        let known = found.partition_point(|range| range.end <= start);
        if found.get(known).is_some_and(|range| range.contains(&start)) {
            continue;
        }
        let kind = if is_piece {
            // Each piece is looked at with what comes behind it.
            if let Err(reached) = sink.budget.search(LOOK_COST) {
                sink.limit(reached);
                return;
            }
            let head = joined(text, start..at, HEAD);
            match kind::of(&base64(&head)) {
                _ if head.len() < RUN_MIN => continue,
                // Words may begin with these letters.
                Kind::Dos | Kind::Compress => continue,
                kind => kind,
            }
        } else {
            kind::of(&base64(some(text, start, HEAD.min(at - start))))
        };
        if !interesting(kind) {
            continue;
        }
        let run = joined(text, start..at, usize::MAX);
        if let Err(reached) = sink
            .budget
            .search((run.len() + start - at).saturating_mul(JOIN_COST))
        {
            sink.limit(reached);
            return;
        }
        let content = base64(&run);
        let (allowed, limit) = sink.allowance();
        if !give(content, allowed, limit, sink) {
            return;
        }
    }
}

/// Whether letters begin as those of programs, archives and documents do: `MZ`, `PK`, `7z` and so on.
fn begins_like_file(letters: &[u8]) -> bool {
    const HEADS: [&[u8]; 16] = [
        b"TV", b"UEsD", b"N3q8", b"UmFy", b"H4sI", b"Qlpo", b"/Td6", b"KLUv", b"f0VM", b"0M8R",
        b"JVBE", b"e1xy", b"TAAA", b"yv66", b"TFpJ", b"MDcw",
    ];
    HEADS.iter().any(|head| letters.starts_with(head))
}

/// A piece of base64 and those that come behind it, up to about so many letters, and to where another file begins.
fn joined(text: &[u8], first: Range<usize>, most: usize) -> Cow<'_, [u8]> {
    let mut at = first.end;
    let mut run = Cow::Borrowed(some(text, first.start, first.len()));
    while run.len() < most
        && let Some((between, length)) = next_piece(rest(text, at), most - run.len())
    {
        let piece = some(text, at + between, length);
        if length >= PIECE_MIN && begins_like_file(piece) {
            break;
        }
        run.to_mut().extend_from_slice(piece);
        at += between + length;
    }
    run
}

/// Where behind a piece of base64 the next one begins, and how long it is, up to `most`: there is nothing between but blanks, ends of
/// lines, and what parts strings in a script.
fn next_piece(text: &[u8], most: usize) -> Option<(usize, usize)> {
    let head = some(text, 0, BETWEEN_MAX);
    let is_quote = |octet: &u8| matches!(octet, b'"' | b'\'' | b'`');
    let is_blank = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\r' | b'\n' | b'\\' | b',');
    let blanks = |from: usize, more: fn(&u8) -> bool| {
        let blanks = rest(head, from).iter();
        from + blanks
            .take_while(|octet| is_blank(octet) || more(octet))
            .count()
    };
    let mut between = blanks(0, |_| false);
    if head.get(between).is_some_and(is_quote) {
        between = blanks(between + 1, |octet| matches!(octet, b'+' | b'.'));
        if !head.get(between).is_some_and(is_quote) {
            return None;
        }
        between += 1;
    }
    let piece = rest(text, between).iter().take(most);
    let length = piece.take_while(|octet| is_base64(**octet)).count();
    (between > 0 && length > 0).then_some((between, length))
}

/// Hands a file on. False: there is no sense in going on.
fn give(mut content: Vec<u8>, allowed: u64, limit: Limit, sink: &mut Sink<'_>) -> bool {
    let over = count(&content) > allowed;
    content.truncate(place64(allowed));
    let unread = over.then(|| sink.reached(limit));
    sink.produced(&content);
    sink.member(Member {
        octets: Cow::Owned(content),
        unread,
        inner: true,
        ..Member::default()
    })
}

fn interesting(kind: Kind) -> bool {
    matches!(
        kind.class(),
        Class::Program
            | Class::Archive
            | Class::Disk
            | Class::Shortcut
            | Class::Document
            | Class::Script
    )
}

fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/')
}

/// Base64 as browsers read it: what is no letter of it is passed over.
pub(super) fn base64(text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for octet in text {
        let value = match octet {
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            octets.push(u8::try_from((bits >> held) & 0xff).unwrap_or(0));
        }
    }
    octets
}
