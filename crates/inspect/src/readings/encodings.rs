//! Content transfer encodings, by every reading.
//!
//! Entry: [`encodings`] says which encodings a header may mean, [`decode`] what a body may then hold.

use std::borrow::Cow;

use base64_simd::{Out, STANDARD_NO_PAD};

use super::files::{unix_files, yenc_files};
use super::lines::{Lines, is_blank, trim};
use super::params::hex;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Base64,
    QuotedPrintable,
    Unix,
    Yenc,
}

/// Which encodings one value may mean, the usual one first; `false`: it is not one of the names that standards give.
pub(super) fn encodings(value: &[u8], body: &[u8]) -> (Vec<Encoding>, bool) {
    let value = trim(value);
    if let Some(encoding) = exact(value) {
        return (vec![encoding], true);
    }
    let plain: Vec<u8> = without_comments(value)
        .iter()
        .filter(|octet| octet.is_ascii_alphanumeric())
        .map(u8::to_ascii_lowercase)
        .collect();
    let has = |word: &[u8]| plain.windows(word.len()).any(|window| window == word);
    let identity = [
        &b"7bit"[..],
        b"8bit",
        b"binary",
        b"7bits",
        b"8bits",
        b"none",
        b"plain",
    ];
    let mut found = vec![Encoding::Identity];
    if identity.contains(&plain.as_slice()) {
        return (found, true);
    }
    if has(b"base64") || has(b"b64") {
        found.push(Encoding::Base64);
    }
    if has(b"quoted") || has(b"printable") {
        found.push(Encoding::QuotedPrintable);
    }
    if has(b"uu") {
        found.push(Encoding::Unix);
    }
    if !found.contains(&Encoding::Base64) && looks_base64(body) {
        found.push(Encoding::Base64);
    }
    if !found.contains(&Encoding::QuotedPrintable) && looks_quoted(body) {
        found.push(Encoding::QuotedPrintable);
    }
    (found, plain.is_empty())
}

fn exact(value: &[u8]) -> Option<Encoding> {
    const NAMES: [(&[u8], Encoding); 15] = [
        (b"7bit", Encoding::Identity),
        (b"8bit", Encoding::Identity),
        (b"base64", Encoding::Base64),
        (b"quoted-printable", Encoding::QuotedPrintable),
        (b"binary", Encoding::Identity),
        (b"x-uuencode", Encoding::Unix),
        (b"uuencode", Encoding::Unix),
        (b"x-uue", Encoding::Unix),
        (b"uue", Encoding::Unix),
        (b"x-uu", Encoding::Unix),
        (b"x-uuencoded", Encoding::Unix),
        (b"x-yenc", Encoding::Yenc),
        (b"yenc", Encoding::Yenc),
        (b"8bits", Encoding::Identity),
        (b"7bits", Encoding::Identity),
    ];
    NAMES
        .iter()
        .find(|(name, _)| value.eq_ignore_ascii_case(name))
        .map(|(_, encoding)| *encoding)
}

fn without_comments(value: &[u8]) -> Vec<u8> {
    let mut depth = 0_usize;
    let mut out = Vec::with_capacity(value.len());
    for octet in value {
        match octet {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            other if depth == 0 => out.push(*other),
            _ => {}
        }
    }
    out
}

/// Whether a body is mostly base64: few octets of no such kind, and no words with blanks between.
pub(super) fn looks_base64(body: &[u8]) -> bool {
    let sample = body.get(..4096).unwrap_or(body);
    let mut letters = 0_usize;
    let mut others = 0_usize;
    for octet in sample {
        if octet.is_ascii_alphanumeric() || b"+/=-_".contains(octet) {
            letters += 1;
        } else if !matches!(octet, b'\r' | b'\n') {
            others += 1;
        }
    }
    letters >= 24 && others * 8 <= letters
}

/// Whether a body has several octets written as `=XX`.
fn looks_quoted(body: &[u8]) -> bool {
    let sample = body.get(..4096).unwrap_or(body);
    sample
        .windows(3)
        .filter(|window| {
            matches!(window, [b'=', high, low] if hex(*high).is_some() && hex(*low).is_some())
        })
        .take(3)
        .count()
        >= 3
}

/// What a body holds, by one way to decode it.
#[derive(Debug, Clone)]
pub(super) struct Decoded<'m> {
    pub(super) octets: Cow<'m, [u8]>,
    /// Too few readers decode so for the difference to count.
    pub(super) rare: bool,
    /// A name that the encoding itself carries.
    pub(super) name: Option<Vec<u8>>,
    /// No reading at all: there are more, and no octets left to hold them.
    pub(super) cut_off: bool,
}

impl<'m> Decoded<'m> {
    fn usual(octets: impl Into<Cow<'m, [u8]>>) -> Self {
        Self {
            octets: octets.into(),
            rare: false,
            name: None,
            cut_off: false,
        }
    }
}

/// Everything a body may hold under an encoding; the usual reading first. No more than about `most` octets.
pub(super) fn decode(body: &[u8], encoding: Encoding, most: u64) -> Vec<Decoded<'_>> {
    match encoding {
        Encoding::Identity => vec![Decoded::usual(body)],
        Encoding::Base64 => base64(body, most),
        Encoding::QuotedPrintable => quoted_printable(body),
        Encoding::Unix => files_or_whole(body, unix_files(body)),
        Encoding::Yenc => files_or_whole(body, yenc_files(body)),
    }
}

fn files_or_whole(body: &[u8], files: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<Decoded<'_>> {
    if files.is_empty() {
        return vec![Decoded::usual(body)];
    }
    files
        .into_iter()
        .enumerate()
        .map(|(index, (name, octets))| Decoded {
            octets: Cow::Owned(octets),
            rare: index > 0,
            name: Some(name),
            cut_off: false,
        })
        .collect()
}

/// How a decoder of base64 takes what should not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base64 {
    /// Passes over what is no letter, and ends at padding.
    Skips,
    /// Passes over what is no letter, and begins anew behind padding.
    Resumes,
    /// Passes over padding as well.
    Ignores,
    /// Ends at what is no letter.
    Stops,
    /// Takes `-` and `_` for letters.
    Url,
    /// Ends at an empty line.
    Paragraph,
    /// Begins anew in each line.
    Lines,
    /// Leaves out lines that hold what is no letter.
    CleanLines,
}

const PAD: u8 = 64;
const SPACE: u8 = 65;
const ILLEGAL: u8 = 66;

const TABLE: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [ILLEGAL; 256];
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    #[expect(clippy::indexing_slicing, reason = "constant, checked by the compiler")]
    while value < 64 {
        #[expect(clippy::cast_possible_truncation, reason = "below 64")]
        {
            table[letters[value] as usize] = value as u8;
        }
        value += 1;
    }
    #[expect(clippy::indexing_slicing, reason = "constant, checked by the compiler")]
    {
        table[b'=' as usize] = PAD;
        table[b' ' as usize] = SPACE;
        table[b'\t' as usize] = SPACE;
        table[b'\r' as usize] = SPACE;
        table[b'\n' as usize] = SPACE;
    }
    table
}

fn letter(octet: u8) -> u8 {
    TABLE.get(usize::from(octet)).copied().unwrap_or(ILLEGAL)
}

#[derive(Default)]
struct Quantum {
    bits: u32,
    letters: u8,
}

impl Quantum {
    fn push(&mut self, value: u8, out: &mut Vec<u8>) {
        self.bits = self.bits << 6 | u32::from(value);
        self.letters += 1;
        if self.letters == 4 {
            let [_, one, two, three] = self.bits.to_be_bytes();
            out.extend([one, two, three]);
            *self = Self::default();
        }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        let [_, one, two, _] =
            (self.bits << (6 * (4 - u32::from(self.letters.min(4))))).to_be_bytes();
        match self.letters {
            2 => out.push(one),
            3 => out.extend([one, two]),
            _ => {}
        }
        *self = Self::default();
    }
}

/// Decodes whole groups of letters, as nearly all are; gives what stands behind them.
fn groups<'b>(mut rest: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
    // As much as a line has, and no more than is looked at before it is told.
    loop {
        let mut octets = [0; 60];
        let mut whole = 0;
        let sixes = octets.as_chunks_mut::<6>().0;
        for ([a, b, c, d, e, f, g, h], six) in rest.as_chunks::<8>().0.iter().zip(sixes) {
            let (head, tail) = (group([*a, *b, *c, *d]), group([*e, *f, *g, *h]));
            if (head | tail) >= NO_GROUP {
                break;
            }
            let [_, _, decoded @ ..] = (u64::from(head) << 24 | u64::from(tail)).to_be_bytes();
            *six = decoded;
            whole += 1;
        }
        out.extend_from_slice(octets.get(..6 * whole).unwrap_or_default());
        rest = rest.get(8 * whole..).unwrap_or_default();
        if whole < 10 {
            break;
        }
    }
    while let Some((four, behind)) = rest.split_first_chunk()
        && let [0, decoded @ ..] = group(*four).to_be_bytes()
    {
        out.extend_from_slice(&decoded);
        rest = behind;
    }
    rest
}

/// Letters that are put together and decoded at once.
const AT_ONCE: usize = 4096;

/// Decodes lines of one length, as programs write them; gives what stands behind the letters of the last one.
fn lines<'b>(mut rest: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
    let window = rest.get(..AT_ONCE).unwrap_or(rest);
    let Some(step) = memchr::memchr(b'\n', window).map(|end| end + 1) else {
        return rest;
    };
    let end: &[u8] = match window.get(..step) {
        Some([.., b'\r', b'\n']) => b"\r\n",
        _ => b"\n",
    };
    let length = step - end.len();
    // Whole groups, so that none is parted by the end of a line; of short lines too little is gained.
    if !length.is_multiple_of(4) || length < 32 {
        return rest;
    }
    let mut letters = [0; AT_ONCE];
    let mut octets = [0; AT_ONCE / 4 * 3];
    let mut decode = |letters: &[u8]| {
        let decoded = STANDARD_NO_PAD.decode(letters, Out::from_slice(&mut octets));
        decoded
            .map(|decoded| out.extend_from_slice(decoded))
            .is_ok()
    };
    loop {
        let mut count = 0;
        let pairs = rest
            .chunks_exact(step)
            .zip(letters.chunks_exact_mut(length));
        for (line, place) in pairs {
            let Some((text, behind)) = line.split_at_checked(length) else {
                break;
            };
            // Octet by octet: to call a comparison for each line takes longer.
            if !behind.iter().eq(end) {
                break;
            }
            // The length that RFC 2045 section 6.8 gives, and nearly all have: to copy it takes no call.
            if let (Some(place), Some(text)) = (place.as_mut_array::<76>(), text.as_array::<76>()) {
                *place = *text;
            } else {
                place.copy_from_slice(text);
            }
            count += 1;
        }
        if !decode(letters.get(..count * length).unwrap_or_default()) {
            let lines = letters.chunks_exact(length).take(count);
            count = lines.take_while(|line| decode(line)).count();
        }
        // Whether an empty line follows is looked at by who asked.
        rest = rest
            .get((count * step).saturating_sub(end.len())..)
            .unwrap_or_default();
        let full = count == AT_ONCE / length;
        let next = rest.strip_prefix(end);
        match next {
            Some(next) if full && next.first().is_some_and(|one| letter(*one) < PAD) => rest = next,
            _ => return rest,
        }
    }
}

/// What four letters stand for; beyond 24 bits where one of them is none.
fn group([first, second, third, last]: [u8; 4]) -> u32 {
    let value = |table: &[u32; 256], octet: u8| {
        let value = table.get(usize::from(octet));
        value.copied().unwrap_or(NO_GROUP)
    };
    value(&FIRST, first) | value(&SECOND, second) | value(&THIRD, third) | value(&LAST, last)
}

const NO_GROUP: u32 = 1 << 24;

/// What each octet stands for, by its place in a group: four looks into tables take less than as many shifts.
static FIRST: [u32; 256] = placed(18);
static SECOND: [u32; 256] = placed(12);
static THIRD: [u32; 256] = placed(6);
static LAST: [u32; 256] = placed(0);

const fn placed(shift: u32) -> [u32; 256] {
    let mut placed = [NO_GROUP; 256];
    let mut octet = 0;
    #[expect(clippy::indexing_slicing, reason = "constant, checked by the compiler")]
    while octet < 256 {
        if TABLE[octet] < PAD {
            placed[octet] = (TABLE[octet] as u32) << shift;
        }
        octet += 1;
    }
    placed
}

/// What is not as it should be in base64.
#[derive(Default, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each may be so whatever the others are"
)]
struct Oddities {
    illegal: bool,
    url: bool,
    after_padding: bool,
    empty_line: bool,
    uneven_lines: bool,
}

/// The usual reading, and what is odd about it.
fn base64_usual(body: &[u8]) -> (Vec<u8>, Oddities) {
    let mut out = Vec::with_capacity(body.len() / 4 * 3 + 3);
    let mut quantum = Quantum::default();
    let mut odd = Oddities::default();
    let mut padded = false;
    // A line ended within a group.
    let mut cut = false;
    let mut begins_line = true;
    let mut rest = body;
    loop {
        if !padded && quantum.letters == 0 && rest.first().is_some_and(|one| letter(*one) < PAD) {
            if begins_line {
                rest = lines(rest, &mut out);
            }
            rest = groups(rest, &mut out);
        }
        let Some((octet, behind)) = rest.split_first() else {
            break;
        };
        rest = behind;
        begins_line = *octet == b'\n';
        match letter(*octet) {
            // However often it stands there: nothing is odd until letters follow.
            PAD => padded = true,
            SPACE => {
                if *octet == b'\n' {
                    cut |= quantum.letters != 0;
                    let line_end = rest.strip_prefix(b"\r").unwrap_or(rest);
                    odd.empty_line |= line_end.starts_with(b"\n");
                }
            }
            ILLEGAL => {
                odd.illegal = true;
                odd.url |= matches!(octet, b'-' | b'_');
            }
            _ if padded => {
                odd.after_padding = true;
            }
            value => {
                // Whether the last group is whole makes no difference to anybody.
                odd.uneven_lines |= cut;
                quantum.push(value, &mut out);
            }
        }
    }
    // Padding where no letters are missing is itself out of place, and harmless.
    quantum.flush(&mut out);
    (out, odd)
}

fn base64(body: &[u8], most: u64) -> Vec<Decoded<'_>> {
    let (octets, odd) = base64_usual(body);
    let mut held = octets.len() as u64;
    let mut found = vec![Decoded::usual(octets)];
    let mut cut_off = false;
    let mut add = |how: Base64, rare: bool| {
        // No reading has more than three octets of four.
        if held.saturating_add(body.len() as u64 / 4 * 3) > most {
            cut_off = true;
            return;
        }
        let octets = base64_as(body, how);
        // That a decoder finds nothing is a reading too, unless it is a rare one.
        let known = found
            .iter()
            .any(|other| other.octets.as_ref() == octets.as_slice());
        let nothing = rare && octets.is_empty();
        if !known && !nothing {
            held += octets.len() as u64;
            found.push(Decoded {
                rare,
                ..Decoded::usual(octets)
            });
        }
    };
    if odd.after_padding {
        add(Base64::Resumes, false);
        add(Base64::Ignores, false);
    }
    if odd.illegal {
        add(Base64::Stops, false);
        add(Base64::CleanLines, false);
    }
    if odd.url {
        add(Base64::Url, false);
    }
    if odd.after_padding || odd.illegal || odd.uneven_lines {
        add(Base64::Lines, true);
    }
    if odd.empty_line {
        add(Base64::Paragraph, true);
    }
    if cut_off {
        found.push(Decoded {
            rare: true,
            cut_off,
            ..Decoded::usual(&[][..])
        });
    }
    found
}

/// Decodes base64 as one kind of decoder does.
pub(super) fn base64_as(body: &[u8], how: Base64) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() / 4 * 3 + 3);
    let mut quantum = Quantum::default();
    if matches!(how, Base64::Lines | Base64::CleanLines | Base64::Paragraph) {
        let mut begun = false;
        for line in Lines::new(body) {
            let clean = line.text.iter().all(|octet| letter(*octet) <= SPACE);
            let empty = line.text.iter().copied().all(is_blank);
            if how == Base64::CleanLines && !clean {
                continue;
            }
            if how == Base64::Paragraph && empty && begun {
                break;
            }
            begun |= !empty;
            let mut rest = line.text;
            while let Some((octet, behind)) = rest.split_first() {
                rest = behind;
                match letter(*octet) {
                    value @ 0..=63 => quantum.push(value, &mut out),
                    PAD => quantum.flush(&mut out),
                    _ => {}
                }
                if quantum.letters == 0 {
                    rest = groups(rest, &mut out);
                }
            }
            if how == Base64::Lines {
                quantum.flush(&mut out);
            }
        }
        quantum.flush(&mut out);
        return out;
    }
    let mut rest = body;
    loop {
        if quantum.letters == 0 {
            rest = groups(rest, &mut out);
        }
        let Some((octet, behind)) = rest.split_first() else {
            break;
        };
        rest = behind;
        match letter(*octet) {
            PAD => match how {
                Base64::Resumes | Base64::Url => quantum.flush(&mut out),
                Base64::Ignores => {}
                _ => break,
            },
            SPACE => {}
            ILLEGAL => match (how, octet) {
                (Base64::Stops, _) => break,
                (Base64::Url, b'-') => quantum.push(62, &mut out),
                (Base64::Url, b'_') => quantum.push(63, &mut out),
                _ => {}
            },
            value => quantum.push(value, &mut out),
        }
    }
    quantum.flush(&mut out);
    out
}

fn quoted_printable(body: &[u8]) -> Vec<Decoded<'_>> {
    let (octets, escapes) = quoted_as(body, true);
    let mut found = vec![Decoded::usual(octets)];
    let mut rare = |octets: Vec<u8>| {
        found.push(Decoded {
            rare: true,
            ..Decoded::usual(octets)
        });
    };
    if escapes >= Escapes::Invalid {
        rare(quoted_as(body, false).0);
    }
    if escapes == Escapes::Split {
        rare(quoted_as(&joined(body), true).0);
    }
    found
}

/// Whether all that begins an escape is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Escapes {
    Valid,
    /// Some are none.
    Invalid,
    /// Some are, for who puts lines together before looking for escapes.
    Split,
}

/// Lines put together where a soft break (RFC 2045 section 6.7) parts them.
fn joined(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for line in Lines::new(body) {
        let mut text = line.text;
        while let Some((last, before)) = text.split_last()
            && is_blank(*last)
        {
            text = before;
        }
        match text.strip_suffix(b"=") {
            Some(text) => out.extend_from_slice(text),
            None => out.extend_from_slice(body.get(line.start..line.next).unwrap_or_default()),
        }
    }
    out
}

/// Decodes quoted-printable; `keeps`: an `=` that begins no escape stays. Tells which there were.
fn quoted_as(body: &[u8], keeps: bool) -> (Vec<u8>, Escapes) {
    let mut out = Vec::with_capacity(body.len());
    let mut escapes = Escapes::Valid;
    for line in Lines::new(body) {
        let mut text = line.text;
        while let Some((last, before)) = text.split_last()
            && is_blank(*last)
        {
            text = before;
        }
        let mut soft = false;
        while let Some(equals) = memchr::memchr(b'=', text) {
            let (plain, escape) = text.split_at(equals);
            out.extend_from_slice(plain);
            match escape {
                [_] => {
                    soft = true;
                    text = &[];
                }
                [_, high, low, behind @ ..] if hex(*high).is_some() && hex(*low).is_some() => {
                    out.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                    text = behind;
                }
                [_, behind @ ..] => {
                    let split = matches!(behind, b"=" | [_, b'=']);
                    escapes = escapes.max(if split {
                        Escapes::Split
                    } else {
                        Escapes::Invalid
                    });
                    if keeps {
                        out.push(b'=');
                    }
                    text = behind;
                }
                [] => break,
            }
        }
        if !soft {
            out.extend_from_slice(text);
            let end = line.start + line.text.len();
            out.extend_from_slice(body.get(end..line.next).unwrap_or_default());
        }
    }
    (out, escapes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(body: &str) -> Vec<String> {
        base64(body.as_bytes(), u64::MAX)
            .iter()
            .map(|decoded| String::from_utf8_lossy(&decoded.octets).into_owned())
            .collect()
    }

    #[test]
    fn plain_base64_has_one_reading() {
        assert_eq!(all("aGVs\r\nbG8gd29ybGQ=\r\n"), ["hello world"]);
        assert_eq!(all("aGVsbG8gd29ybGQ"), ["hello world"]);
        assert_eq!(all("aGVsbG8=\r\n\r\n"), ["hello"]);
        assert_eq!(all("aG VsbG8=\r\n"), ["hello"]);
    }

    #[test]
    fn broken_base64_has_several() {
        let check = |body: &str, expected: &[&str]| {
            let found = all(body);
            for one in expected {
                assert!(found.iter().any(|other| other == one), "{body}: {found:?}");
            }
        };
        check("aGVsbG8=d29ybGQ=", &["hello", "helloworld"]);
        check("aGVs*bG8=", &["hello", "hel"]);
        check("aGVs\r\njunk!\r\nbG8=", &["hello"]);
        check("aGVsbA\r\nd29ybGQ", &["hellworld"]);
        check("a=GVsbG8=", &["hello"]);
    }

    /// As slowly as can be.
    fn one_by_one(body: &[u8], how: Base64) -> Vec<u8> {
        let (mut out, mut quantum) = (Vec::new(), Quantum::default());
        for line in body.split_inclusive(|octet| *octet == b'\n') {
            for octet in line {
                match (letter(*octet), how) {
                    (value @ 0..=63, _) => quantum.push(value, &mut out),
                    (PAD, Base64::Lines | Base64::Resumes) => quantum.flush(&mut out),
                    (PAD, Base64::Ignores) => {}
                    (PAD, _) => {
                        quantum.flush(&mut out);
                        return out;
                    }
                    _ => {}
                }
            }
            if how == Base64::Lines {
                quantum.flush(&mut out);
            }
        }
        quantum.flush(&mut out);
        out
    }

    #[test]
    fn what_is_odd_between_lines_of_one_length_is_seen() {
        let line = "QUJD".repeat(19);
        for end in ["\n", "\r\n"] {
            for before in [1, 53, 54, 55, 108, 109] {
                let lines = format!("{line}{end}").repeat(before);
                let octets = "ABC".repeat(19 * before);
                let empty = all(&format!("{lines}{end}{line}"));
                assert_eq!(empty[1..], std::slice::from_ref(&octets)[..]);
                let padded = all(&format!("{lines}QQ=={end}{line}"));
                assert!(padded.contains(&format!("{octets}A")), "{before}");
                let junk = all(&format!("{lines}*{end}{line}"));
                assert!(junk.len() > 1 && junk.contains(&octets), "{before}");
                assert_eq!(all(&format!("{lines}{line}")).len(), 1);
            }
        }
    }

    proptest! {
        #[test]
        fn lines_of_one_length_are_decoded_as_others_are(
            length in 8..30_usize,
            count in 0..150_usize,
            changes in proptest::collection::vec((0..12_000_usize, any::<u8>()), 0..3),
            end in prop_oneof!["\n", "\r\n"],
        ) {
            let mut body = format!("{}{end}", "a9+Z".repeat(length)).repeat(count).into_bytes();
            for (at, octet) in changes {
                if let Some(place) = body.get_mut(at) {
                    *place = octet;
                }
            }
            prop_assert_eq!(base64_usual(&body).0, one_by_one(&body, Base64::Skips));
        }

        #[test]
        fn no_reading_of_base64_is_left_out_or_differs_by_how_fast_it_is_made(
            lines in proptest::collection::vec(
                prop_oneof!["[A-Za-z0-9+/]{0,90}", "[AB=]{0,9}", "[AB=*_ -]{0,9}"], 0..6),
            end in prop_oneof!["\n", "\r\n"],
        ) {
            let body = lines.join(&end);
            for body in [body.clone(), body + &end] {
                let body = body.as_bytes();
                let found: Vec<_> = base64(body, u64::MAX).iter().map(|one| one.octets.to_vec()).collect();
                prop_assert_eq!(&found[0], &one_by_one(body, Base64::Skips));
                for how in [Base64::Lines, Base64::Resumes, Base64::Ignores] {
                    let expected = one_by_one(body, how);
                    prop_assert_eq!(&base64_as(body, how), &expected, "{:?}", how);
                    prop_assert!(expected.is_empty() || found.contains(&expected), "{:?}", how);
                }
            }
        }
    }

    #[test]
    fn readings_that_nothing_is_left_for_are_said_to_be_missing() {
        let body = "Zm9v!=Zm9v-".repeat(100);
        let found = |most| base64(body.as_bytes(), most);
        assert!(found(u64::MAX).iter().all(|decoded| !decoded.cut_off));
        let few = found(1000);
        assert!(
            few.iter()
                .map(|decoded| decoded.octets.len())
                .sum::<usize>()
                <= 1000
        );
        assert!(few.last().is_some_and(|decoded| decoded.cut_off));
    }

    #[test]
    fn quoted_printable_keeps_or_drops_what_is_no_escape() {
        let found: Vec<Vec<u8>> = quoted_printable(b"=4D=5a=ZZ x=\r\ny \r\n")
            .iter()
            .map(|decoded| decoded.octets.to_vec())
            .collect();
        assert_eq!(found, [b"MZ=ZZ xy\r\n".to_vec(), b"MZZZ xy\r\n".to_vec()]);
    }

    #[test]
    fn an_escape_over_a_soft_break_is_read_as_one() {
        for body in [
            "=4D=\r\n=5A=\r\n x\r\n",
            "=4D=5=\r\nA x\r\n",
            "=4=  \r\nD==\r\n5A x\r\n",
        ] {
            let mut found = quoted_printable(body.as_bytes());
            let last = found.pop().unwrap();
            assert_eq!(last.octets, &b"MZ x\r\n"[..], "{body}");
            assert_eq!(last.rare, !found.is_empty(), "{body}");
        }
    }

    #[test]
    fn encodings_that_are_misspelt() {
        use Encoding::{Base64, Identity, QuotedPrintable, Unix};
        let check = |value: &str, expected: &[Encoding]| {
            assert_eq!(encodings(value.as_bytes(), b"").0, expected, "{value}");
        };
        check("base64", &[Base64]);
        check(" BASE64 \r\n", &[Base64]);
        check("\"base64\"", &[Identity, Base64]);
        check("base64,foo", &[Identity, Base64]);
        check("x-base64", &[Identity, Base64]);
        check("b a s e 6 4", &[Identity, Base64]);
        check("(x)base64", &[Identity, Base64]);
        check("quoted_printable", &[Identity, QuotedPrintable]);
        check("8-bit", &[Identity]);
        check("x-uuencode", &[Unix]);
        assert_eq!(
            encodings(b"nonsense", b"TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAA").0,
            [Identity, Base64]
        );
    }
}
