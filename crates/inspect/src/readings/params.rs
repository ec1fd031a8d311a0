//! The values of `Content-Type` and `Content-Disposition`, by every way to take them apart.
//!
//! Entry: [`parse`]. A value that keeps to RFC 2045 section 5.1 has one reading. Any other is read as several kinds of
//! readers do: with comments or without, with escapes or without, cut at each semicolon, searched.

use super::lines::{find, is_space, trim, trim_end, trim_start};

/// A value, as one reader takes it apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    /// What stands before the parameters, in lower case: `type/subtype`, or a disposition.
    pub(super) main: Vec<u8>,
    /// Parameters in order: name in lower case, value without quotes.
    pub(super) parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// Found by searching the value for names of parameters.
    pub(super) searched: bool,
}

/// All readings of a value.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    /// The usual one first.
    pub(super) readings: Vec<Value>,
    /// What stands before the parameters keeps to the grammar.
    pub(super) main_strict: bool,
    /// A quote does not end, or a zero stands in it: a reader may give it up as a whole.
    pub(super) open: bool,
}

/// What parameters are searched for where a value is not in order.
const SEARCHED: [&[u8]; 3] = [b"boundary", b"filename", b"name"];

/// No more of a value is read; the rules refuse a longer header.
const MAX_VALUE: usize = 64 << 10;

/// No more of a parameter that is searched for is read.
const MAX_SEARCHED: usize = 1 << 10;

/// No more parameters are read; the rules refuse more.
const MAX_PARAMETERS: usize = 400;

/// Takes an unfolded value apart.
pub(super) fn parse(value: &[u8]) -> Parsed {
    let value = value.get(..MAX_VALUE).unwrap_or(value);
    // Within quotes, a second one is a word like any other; but not to those who cut at each semicolon.
    let twice = find(value, b"boundary", 0)
        .is_some_and(|first| find(value, b"boundary", first + 8).is_some());
    if !twice && let Some(value) = strict(value) {
        return Parsed {
            readings: vec![value],
            main_strict: true,
            open: false,
        };
    }
    let mut readings = Vec::new();
    for reading in [
        lenient(value, Manner::Rfc),
        lenient(value, Manner::Literal),
        naive(value),
        search(value),
    ] {
        if !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    Parsed {
        readings,
        main_strict: strict_main(value).is_some(),
        open: memchr::memchr_iter(b'"', value).count() % 2 == 1 || value.contains(&0),
    }
}

fn is_token(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&octet)
}

/// What stands before the first semicolon, if it keeps to the grammar, and the rest.
fn strict_main(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let semicolon = memchr::memchr(b';', value).unwrap_or(value.len());
    let (main, rest) = value.split_at(semicolon);
    let main = trim(main);
    let mut slashes = 0;
    for octet in main {
        if *octet == b'/' {
            slashes += 1;
        } else if !is_token(*octet) {
            return None;
        }
    }
    if slashes > 1 || main.is_empty() || main.starts_with(b"/") || main.ends_with(b"/") {
        return None;
    }
    Some((main, rest))
}

fn strict(value: &[u8]) -> Option<Value> {
    let (main, mut rest) = strict_main(value)?;
    let mut parameters = Vec::new();
    while let Some((b';', behind)) = rest.split_first() {
        let text = trim_start(behind);
        if text.is_empty() {
            break;
        }
        let equals = text.iter().position(|octet| !is_token(*octet))?;
        let (name, behind) = text.split_at(equals);
        let (b'=', behind) = behind.split_first()? else {
            return None;
        };
        if name.is_empty() || parameters.len() >= MAX_PARAMETERS {
            return None;
        }
        if let Some((b'"', quoted)) = behind.split_first() {
            let end = memchr::memchr2(b'"', b'\\', quoted)?;
            let (text, behind) = quoted.split_at(end);
            let (b'"', behind) = behind.split_first()? else {
                return None;
            };
            let blank = |octet: Option<&u8>| octet.is_some_and(|octet| is_space(*octet));
            if text.iter().any(|octet| *octet < b' ' && *octet != b'\t')
                || name
                    .get(..8)
                    .is_some_and(|name| name.eq_ignore_ascii_case(b"boundary"))
                    && (blank(text.first()) || blank(text.last()))
                || has_parameter(text)
            {
                return None;
            }
            parameters.push((name.to_ascii_lowercase(), text.to_vec()));
            rest = trim_start(behind);
        } else {
            let end = memchr::memchr(b';', behind).unwrap_or(behind.len());
            let (text, behind) = behind.split_at(end);
            let text = trim_end(text);
            if (text.is_empty() && name.eq_ignore_ascii_case(b"boundary"))
                || text
                    .iter()
                    .any(|octet| *octet <= b' ' || *octet == 0x7f || b"()\\\"".contains(octet))
            {
                return None;
            }
            parameters.push((name.to_ascii_lowercase(), text.to_vec()));
            rest = behind;
        }
    }
    if !trim(rest).is_empty() && !rest.starts_with(b";") {
        return None;
    }
    Some(Value {
        main: main.to_ascii_lowercase(),
        parameters,
        searched: false,
    })
}

/// Whether a quoted text looks as if a parameter that matters stood in it: who searches for those finds it there.
fn has_parameter(text: &[u8]) -> bool {
    memchr::memchr_iter(b'=', text).any(|equals| {
        let before = text.get(..equals).unwrap_or_default();
        let end = before
            .iter()
            .rposition(|octet| !(octet.is_ascii_digit() || b" \t*".contains(octet)))
            .map_or(0, |last| last + 1);
        let before = before.get(..end).unwrap_or_default();
        SEARCHED.iter().any(|name| {
            before
                .len()
                .checked_sub(name.len())
                .and_then(|begin| before.get(begin..))
                .is_some_and(|end| end.eq_ignore_ascii_case(name))
        })
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Comments are passed over, a backslash quotes.
    Rfc,
    /// There are no comments, and a backslash is itself.
    Literal,
}

/// Cuts at semicolons that are not quoted.
fn lenient(value: &[u8], manner: Manner) -> Value {
    let mut pieces: Vec<Vec<u8>> = vec![Vec::new()];
    let mut quoted = false;
    let mut closed = false;
    let mut comment = 0_usize;
    let mut octets = value.iter().copied();
    while let Some(octet) = octets.next() {
        let kept = match octet {
            b'\\' if manner == Manner::Rfc && (quoted || comment > 0) => {
                let next = octets.next();
                if comment > 0 { None } else { next }
            }
            b'(' if manner == Manner::Rfc && !quoted => {
                comment += 1;
                None
            }
            b')' if comment > 0 => {
                comment -= 1;
                None
            }
            _ if comment > 0 => None,
            b'"' => {
                quoted = !quoted;
                closed = !quoted;
                continue;
            }
            // Behind a quote, a blank ends a value as a semicolon does.
            b' ' | b'\t' if closed && !quoted => Some(b';'),
            other => Some(other),
        };
        closed = false;
        let kept = match kept {
            Some(b';') if !quoted && comment == 0 => {
                if pieces.len() > MAX_PARAMETERS {
                    break;
                }
                pieces.push(Vec::new());
                None
            }
            Some(0 | b'\r' | b'\n') => None,
            other => other,
        };
        if let (Some(octet), Some(piece)) = (kept, pieces.last_mut()) {
            piece.push(octet);
        }
    }
    let mut pieces = pieces.into_iter();
    let main = pieces.next().unwrap_or_default();
    Value {
        main: main_of(&main, manner == Manner::Rfc),
        parameters: pieces.filter_map(|piece| parameter(&piece)).collect(),
        searched: false,
    }
}

/// Cuts at every semicolon.
fn naive(value: &[u8]) -> Value {
    let mut pieces = value.split(|octet| *octet == b';');
    let main = main_of(pieces.next().unwrap_or_default(), false);
    let parameters = pieces
        .take(MAX_PARAMETERS)
        .filter_map(parameter)
        .map(|(name, value)| {
            let value = value.strip_prefix(b"\"").unwrap_or(&value);
            let end = memchr::memchr(0, value).unwrap_or(value.len());
            let value = value.get(..end).unwrap_or_default();
            let value = value.strip_suffix(b"\"").unwrap_or(value);
            (name, before_next(value).to_vec())
        })
        .collect();
    Value {
        main,
        parameters,
        searched: false,
    }
}

/// A value up to a quote that a blank follows: a semicolon is missing there.
fn before_next(value: &[u8]) -> &[u8] {
    match memchr::memchr(b'"', value) {
        Some(end) if value.get(end + 1).copied().is_some_and(is_space) => {
            value.get(..end).unwrap_or_default()
        }
        _ => value,
    }
}

/// Searches for the parameters that matter, wherever they stand.
fn search(value: &[u8]) -> Value {
    let mut parameters = Vec::new();
    for name in SEARCHED {
        let mut at = 0;
        while parameters.len() < MAX_PARAMETERS
            && let Some(found) = find(value, name, at)
        {
            at = found + name.len();
            let inside = found
                .checked_sub(1)
                .and_then(|before| value.get(before))
                .is_some_and(u8::is_ascii_alphanumeric);
            let rest = value.get(at..).unwrap_or_default();
            let stars = rest
                .iter()
                .take_while(|octet| **octet == b'*' || octet.is_ascii_digit())
                .count();
            let (stars, rest) = rest.split_at(stars);
            let mut rest = trim_start(rest);
            if rest.starts_with(b"(") {
                let comment = rest.get(..MAX_SEARCHED).unwrap_or(rest);
                let Some(end) = memchr::memchr(b')', comment) else {
                    continue;
                };
                rest = trim_start(rest.get(end + 1..).unwrap_or_default());
            }
            let Some((b'=', rest)) = rest.split_first() else {
                continue;
            };
            if inside {
                continue;
            }
            let rest = trim_start(rest);
            let rest = rest.get(..MAX_SEARCHED).unwrap_or(rest);
            let mut full = name.to_vec();
            full.extend_from_slice(stars);
            let text = if let Some((b'"', quoted)) = rest.split_first() {
                let end = memchr::memchr(b'"', quoted).unwrap_or(quoted.len());
                let behind = quoted.get(end + 1..).unwrap_or_default();
                if trim_start(behind).starts_with(b"\"") {
                    // From the first quote to the last, to some.
                    let end = memchr::memchr(b';', quoted).unwrap_or(quoted.len());
                    let all = trim_end(quoted.get(..end).unwrap_or_default());
                    let all = all.strip_suffix(b"\"").unwrap_or(all);
                    parameters.push((full.clone(), all.to_vec()));
                }
                quoted.get(..end)
            } else {
                let end = rest
                    .iter()
                    .position(|octet| is_space(*octet) || b";,\"".contains(octet));
                rest.get(..end.unwrap_or(rest.len()))
            };
            parameters.push((full, text.unwrap_or_default().to_vec()));
        }
    }
    let end = value
        .iter()
        .position(|octet| b";,".contains(octet))
        .unwrap_or(value.len());
    let mut main = trim(value.get(..end).unwrap_or_default());
    // A semicolon may be missing.
    if let Some(blank) = main.iter().position(|octet| is_space(*octet))
        && main
            .get(..blank)
            .is_some_and(|before| before.contains(&b'/'))
        && !main
            .get(..blank)
            .is_some_and(|before| before.ends_with(b"/"))
    {
        main = main.get(..blank).unwrap_or_default();
    }
    Value {
        main: main_of(main, true),
        parameters,
        searched: true,
    }
}

/// A type without blanks, and if `bare` without quotes and control octets.
fn main_of(text: &[u8], bare: bool) -> Vec<u8> {
    trim(text)
        .iter()
        .filter(|octet| !bare || (octet.is_ascii_graphic() && !b"\"'\\<>".contains(octet)))
        .map(u8::to_ascii_lowercase)
        .collect()
}

fn parameter(piece: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let equals = memchr::memchr(b'=', piece)?;
    let (name, value) = piece.split_at(equals);
    let name = trim(name);
    if name.is_empty() {
        return None;
    }
    Some((
        name.iter()
            .filter(|octet| **octet == b' ' || octet.is_ascii_graphic())
            .map(u8::to_ascii_lowercase)
            .collect(),
        trim(value.get(1..).unwrap_or_default()).to_vec(),
    ))
}

/// The octets of one parameter, and the charset it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) octets: Vec<u8>,
    pub(super) charset: Option<Vec<u8>>,
    /// Few readers see it so.
    pub(super) rare: bool,
}

/// A text of one parameter, and how many pieces it came in.
pub(super) struct Texts {
    pub(super) texts: Vec<Text>,
    /// Pieces by RFC 2231 section 3.
    pub(super) segments: usize,
}

/// One of the pieces that a parameter comes in (RFC 2231 section 3).
#[derive(Clone, Copy)]
struct Piece<'v> {
    number: u32,
    /// Its number is written as the standard has it.
    strict: bool,
    coded: bool,
    text: &'v [u8],
}

/// Every text that a parameter may have, by RFC 2231 and without it, in one reading.
pub(super) fn texts(value: &Value, name: &[u8]) -> Texts {
    let mut texts: Vec<Text> = Vec::new();
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    for (full, text) in &value.parameters {
        let Some(rest) = full.strip_prefix(name) else {
            continue;
        };
        if rest.is_empty() {
            add(&mut texts, text.clone(), None, value.searched);
            continue;
        }
        // Some pass over blanks here.
        let Some(number) = trim_start(rest).strip_prefix(b"*").map(trim) else {
            continue;
        };
        if number.is_empty() {
            let (octets, charset) = extended(text);
            add(&mut texts, octets, charset, value.searched);
            continue;
        }
        let (number, coded) = match number.strip_suffix(b"*") {
            Some(number) => (number, true),
            None => (number, false),
        };
        pieces.push(Piece {
            number: number_of(number).unwrap_or(u32::try_from(pieces.len()).unwrap_or(u32::MAX)),
            strict: is_strict_number(number),
            coded,
            text,
        });
    }
    let rare = value.searched;
    let strict: Vec<Piece<'_>> = pieces
        .iter()
        .filter(|piece| piece.strict)
        .copied()
        .collect();
    let odd = strict.len() < pieces.len();
    // Who knows no number but those of the standard leaves the others out.
    join_all(&mut texts, &strict, false, rare);
    if odd {
        join_all(&mut texts, &pieces, true, rare);
    }
    Texts {
        texts,
        segments: pieces.len(),
    }
}

/// Pieces put together, by every reading of their order.
fn join_all(texts: &mut Vec<Text>, pieces: &[Piece<'_>], odd: bool, rare: bool) {
    if pieces.is_empty() {
        return;
    }
    let mut sorted = pieces.to_vec();
    sorted.sort_by_key(|piece| piece.number);
    let mut first = sorted.clone();
    first.dedup_by_key(|piece| piece.number);
    let mut last: Vec<_> = sorted.iter().rev().copied().collect();
    last.dedup_by_key(|piece| piece.number);
    last.reverse();
    let in_order = pieces
        .iter()
        .zip(0_u32..)
        .all(|(piece, count)| piece.number == count);
    join(texts, &first, rare);
    if !in_order || odd {
        // Some stop at the first gap, some take the pieces as they come.
        let whole = first
            .iter()
            .zip(0_u32..)
            .take_while(|(piece, count)| piece.number == *count)
            .count();
        join(texts, first.get(..whole).unwrap_or_default(), rare);
        join(texts, &last, rare);
        join(texts, pieces, rare);
    }
}

fn add(texts: &mut Vec<Text>, octets: Vec<u8>, charset: Option<Vec<u8>>, rare: bool) {
    let text = Text {
        octets,
        charset,
        rare,
    };
    if !text.octets.is_empty() && !texts.contains(&text) {
        texts.push(text);
    }
}

fn join(texts: &mut Vec<Text>, pieces: &[Piece<'_>], rare: bool) {
    let mut octets = Vec::new();
    let mut charset = None;
    for (index, piece) in pieces.iter().enumerate() {
        if !piece.coded {
            octets.extend_from_slice(piece.text);
        } else if index == 0 {
            let (decoded, named) = extended(piece.text);
            octets.extend(decoded);
            charset = named;
        } else {
            octets.extend(percent(piece.text));
        }
    }
    add(texts, octets, charset, rare);
}

/// RFC 2231 section 3: digits without a zero before them.
fn is_strict_number(number: &[u8]) -> bool {
    number == b"0"
        || !number.is_empty() && !number.starts_with(b"0") && number.iter().all(u8::is_ascii_digit)
}

/// The number of a piece, as those read it who take more than the standard has.
fn number_of(number: &[u8]) -> Option<u32> {
    let number = trim(number);
    let number = match number.split_first() {
        Some((b'+' | b'-', number)) => number,
        _ => number,
    };
    let number = match number {
        [b'0', b'x' | b'X', number @ ..] => number,
        _ => number,
    };
    if number.is_empty() {
        return None;
    }
    number.iter().try_fold(0, |number: u32, digit| {
        digit.is_ascii_digit().then(|| {
            number
                .saturating_mul(10)
                .saturating_add(u32::from(digit - b'0'))
        })
    })
}

/// `charset'language'text`, with octets as `%XX` (RFC 2231 section 4).
fn extended(text: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut pieces = text.splitn(3, |octet| *octet == b'\'');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(charset), Some(_), Some(text)) => (
            percent(text),
            (!charset.is_empty()).then(|| charset.to_vec()),
        ),
        _ => (percent(text), None),
    }
}

/// Octets with each `%XX` decoded; what is no such thing is kept.
pub(crate) fn percent(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((octet, behind)) = rest.split_first() {
        if *octet == b'%'
            && let [high, low, behind @ ..] = behind
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = behind;
        } else {
            out.push(*octet);
            rest = behind;
        }
    }
    out
}

/// The value of a hexadecimal digit.
pub(super) const fn hex(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundaries(value: &str) -> Vec<String> {
        let mut found = Vec::new();
        for reading in parse(value.as_bytes()).readings {
            for text in texts(&reading, b"boundary").texts {
                let text = String::from_utf8(text.octets).unwrap();
                if !found.contains(&text) {
                    found.push(text);
                }
            }
        }
        found
    }

    #[test]
    fn what_keeps_to_the_grammar_has_one_reading() {
        for value in [
            "text/plain",
            "multipart/mixed; boundary=\"=_a b\"",
            "multipart/mixed; boundary=----=_Next;",
            "Multipart/Signed; micalg=pgp-sha1; protocol=\"application/pgp-signature\"; boundary=\"x\"",
        ] {
            assert_eq!(parse(value.as_bytes()).readings.len(), 1, "{value}");
        }
    }

    #[test]
    fn boundaries_by_every_reading() {
        let check = |value: &str, expected: &[&str]| {
            let found = boundaries(value);
            for one in expected {
                assert!(found.iter().any(|other| other == one), "{value}: {found:?}");
            }
        };
        check("multipart/mixed; boundary=a; boundary=b", &["a", "b"]);
        check("multipart/mixed; boundary=\"a\\b\"", &["ab", "a\\b"]);
        check("multipart/mixed; boundary=a(b)", &["a", "a(b)"]);
        check("multipart/mixed; boundary=(x)a", &["a", "(x)a"]);
        check("multipart/mixed boundary=a", &["a"]);
        check("multipart/mixed; boundary*0=a; boundary*1=b", &["ab"]);
        check("multipart/mixed; boundary*1=b; boundary*0=a", &["ab", "ba"]);
        check("multipart/mixed; boundary*=us-ascii''a%62", &["ab"]);
        check(
            "multipart/mixed; x=\"; boundary=a; \"; boundary=b",
            &["a", "b"],
        );
        check("multipart/mixed; x=\"; boundary=a; y=\"", &["a"]);
        check("multipart/mixed; boundary = a", &["a"]);
        check("multipart/mixed; boundary(c)=a; boundary=b", &["a", "b"]);
        check("multipart/mixed; boundary=\"a\0b\"", &["ab", "a"]);
        check(
            "multipart/mixed; boundary*0000000=a; boundary*0000001=b",
            &["ab"],
        );
    }

    #[test]
    fn pieces_are_put_together_however_they_are_numbered() {
        let check = |value: &str, expected: &[&str]| {
            let found = boundaries(&format!("multipart/mixed; {value}"));
            assert_eq!(found, expected, "{value}");
        };
        for numbers in [
            ["00000000", "00000001"],
            ["+0", "+1"],
            ["-1", "0"],
            ["0x0", "0x1"],
            [" 0", " 1"],
            ["x", "y"],
            ["4294967296", "99999999999999999999999"],
        ] {
            let [one, two] = numbers;
            let value = format!("boundary*{one}=a; boundary*{two}=b");
            let found = boundaries(&format!("multipart/mixed; {value}"));
            assert!(found.iter().any(|one| one == "ab"), "{value}: {found:?}");
        }
        check("boundary *0=a; boundary *1=b", &["ab"]);
        check("boundary**=us-ascii''a%62", &["ab"]);
        // Who does not know such a number leaves the piece out.
        check("boundary*0=a; boundary*1=b; boundary*+2=c", &["ab", "abc"]);
    }

    #[test]
    fn types_without_what_does_not_belong() {
        let mains = |value: &str| -> Vec<String> {
            parse(value.as_bytes())
                .readings
                .iter()
                .map(|value| String::from_utf8(value.main.clone()).unwrap())
                .collect()
        };
        for value in [
            "(x)multipart/mixed; boundary=a",
            "multi(x)part/mixed; boundary=a",
            "multipart / mixed; boundary=a",
            "\"multipart/mixed\"; boundary=a",
            "multipart/mixed, boundary=a",
            "multipart/mixed boundary=a",
        ] {
            assert!(
                mains(value).contains(&"multipart/mixed".to_owned()),
                "{value}"
            );
        }
    }
}
