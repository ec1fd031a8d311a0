//! What a part may be, by all readings of its `Content-Type`.

use super::charsets::decode;
use super::head::Head;
use super::lines::{is_blank, trim, trim_end};
use super::params::{Parsed, Value, texts};
use super::words::decode_words;
use crate::{Budget, LimitReached};

/// What a part is, by all readings of its headers together.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each may be so whatever the others are"
)]
pub(super) struct Nature {
    /// It may be a multipart, with these boundaries.
    pub(super) multipart: Option<Vec<Vec<u8>>>,
    /// A reader may fail to see a multipart here.
    pub(super) multipart_uncertain: bool,
    /// Boundaries that few readers see: they count where lines of the body have them.
    guessed: Vec<Vec<u8>>,
    /// It may be a message.
    pub(super) message: bool,
    /// Few readers take it for a message: those that go by what stands before the slash.
    pub(super) rare_message: bool,
    /// It may be anything else, of these types.
    pub(super) leaf: bool,
    pub(super) types: Vec<String>,
    /// It is no multipart, and yet has a boundary.
    pub(super) stray: Vec<Vec<u8>>,
    pub(super) digest: bool,
    /// It has more boundaries than are followed.
    pub(super) cut_off: bool,
}

/// More boundaries of one part are not followed.
const MAX_BOUNDARIES: usize = 16;

impl Nature {
    /// Takes those boundaries that few readers see and that the body of a multipart has.
    pub(super) fn admit(&mut self, body: &[u8], budget: &mut Budget) -> Result<(), LimitReached> {
        let Some(boundaries) = &mut self.multipart else {
            return Ok(());
        };
        for guess in std::mem::take(&mut self.guessed) {
            if boundaries.contains(&guess) {
                continue;
            }
            budget.search(body.len())?;
            if has_line_of(body, &guess) {
                boundaries.push(guess);
                self.multipart_uncertain = true;
            }
        }
        Ok(())
    }
}

/// Whether a line is a boundary and nothing else.
fn has_line_of(body: &[u8], boundary: &[u8]) -> bool {
    let line = [b"--", boundary].concat();
    memchr::memmem::find_iter(body, &line).any(|at| {
        let begins = at == 0 || body.get(at - 1) == Some(&b'\n');
        let behind = body.get(at + line.len()..).unwrap_or_default();
        let behind = behind.strip_prefix(b"--").unwrap_or(behind);
        let end = behind.iter().find(|octet| !is_blank(**octet));
        begins && matches!(end, None | Some(b'\r' | b'\n'))
    })
}

/// What a part is: by its types, or by what it is without one.
pub(super) fn nature(head: &Head<'_>, types: &[Vec<Parsed>], default: &[u8]) -> Nature {
    let mut nature = Nature::default();
    let mut mains: Vec<(Vec<u8>, Vec<Vec<u8>>)> = Vec::new();
    let mut plain = false;
    // The boundaries of each reading: where they differ, one may be blind to the parts.
    let mut told: Option<Vec<Vec<u8>>> = None;
    for (field, parsed) in head.types.iter().zip(types) {
        for parsed in parsed {
            for value in &parsed.readings {
                plain |= value.parameters.iter().any(|(name, _)| name == b"boundary");
                let boundaries = boundaries(value, &mut nature.guessed);
                nature.cut_off |= nature.guessed.len() > MAX_BOUNDARIES;
                nature.multipart_uncertain |= boundaries.iter().any(Vec::is_empty)
                    || told.as_ref().is_some_and(|told| *told != boundaries)
                    || !value.searched && boundaries.len() > 1;
                told.get_or_insert_with(|| boundaries.clone());
                mains.push((value.main.clone(), boundaries));
            }
            if !parsed.main_strict || parsed.open || !field.certain {
                nature.multipart_uncertain = true;
            }
        }
    }
    if mains.is_empty() {
        mains.push((default.to_vec(), Vec::new()));
    }
    let all: Vec<Vec<u8>> = {
        let mut all = Vec::new();
        for boundary in mains.iter().flat_map(|(_, boundaries)| boundaries) {
            if all.contains(boundary) {
                continue;
            }
            if all.len() >= MAX_BOUNDARIES {
                nature.cut_off = true;
                break;
            }
            all.push(boundary.clone());
        }
        all
    };
    for (main, _) in &mains {
        let main = String::from_utf8_lossy(main).into_owned();
        if main.starts_with("multipart") {
            nature.multipart = Some(all.clone());
            nature.multipart_uncertain |= !main.contains('/');
            nature.digest |= main == "multipart/digest";
        } else if matches!(
            main.as_str(),
            "message/rfc822" | "message/global" | "message/news" | "message"
        ) {
            nature.message = true;
        } else {
            // An odd way to write a multipart is no other part beside it.
            nature.leaf = true;
            nature.rare_message |= main.starts_with("message");
        }
        if !nature.types.contains(&main) && nature.types.len() < 8 {
            nature.types.push(main);
        }
    }
    // A boundary by RFC 2231 is one that few readers know.
    nature.multipart_uncertain |= !plain;
    if nature.multipart.is_none() {
        nature.stray = all;
    }
    nature
}

/// Every boundary that one reading of a type may name; those that few readers see go to `guessed`.
fn boundaries(value: &Value, guessed: &mut Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut add = |boundary: Vec<u8>| {
        if !boundary.is_empty() && !found.contains(&boundary) {
            found.push(boundary);
        }
    };
    for text in texts(value, b"boundary").texts {
        let words = decode_words(&text.octets);
        let rare = match (&words, &text.charset) {
            (Some(words), _) => words.rare.clone(),
            (None, Some(charset)) => {
                let text = decode(&text.octets, charset);
                guess(text.usual.into_bytes(), guessed);
                text.rare
            }
            (None, None) => None,
        };
        if let Some(rare) = rare {
            guess(rare.into_bytes(), guessed);
        }
        if let Some(decoded) = words {
            add(decoded.usual.into_bytes());
        }
        let trimmed = trim_end(&text.octets).to_vec();
        for cut in cut_short(&trimmed) {
            guess(cut.to_vec(), guessed);
        }
        add(text.octets);
        add(trimmed);
    }
    // Some readers take no boundary for one of no letters, and cut at lines of two dashes.
    let is_empty = |(name, text): &(Vec<u8>, Vec<u8>)| name == b"boundary" && trim(text).is_empty();
    if found.is_empty() && value.parameters.iter().any(is_empty) {
        found.push(Vec::new());
    }
    found
}

/// One of no letters would be found in texts.
fn guess(boundary: Vec<u8>, guessed: &mut Vec<Vec<u8>>) {
    if boundary.iter().any(u8::is_ascii_alphanumeric)
        && guessed.len() <= MAX_BOUNDARIES
        && !guessed.contains(&boundary)
    {
        guessed.push(boundary);
    }
}

/// The longest boundary (RFC 2046 section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// A boundary as readers have it that take only what the standard lets stand there: without quotes that are none, up to
/// what has no place outside of quotes, no longer than may be.
fn cut_short(boundary: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let odd = |octet: &u8| !octet.is_ascii_graphic() || b"'<>[]".contains(octet);
    let begin = boundary.iter().position(|octet| !odd(octet));
    let end = boundary.iter().rposition(|octet| !odd(octet));
    let (Some(begin), Some(end)) = (begin, end) else {
        return found;
    };
    let bare = boundary.get(begin..=end).unwrap_or_default();
    if bare.len() < boundary.len() {
        found.push(bare);
    }
    let special = |octet: &u8| !octet.is_ascii_graphic() || b"()<>@,;:/[]?".contains(octet);
    if let Some(end) = bare.iter().position(special) {
        found.extend(bare.get(..end));
    }
    found.extend(
        bare.get(..MAX_BOUNDARY)
            .filter(|cut| cut.len() < bare.len()),
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_cut_where_a_reader_may_stop() {
        let check = |boundary: &str, expected: &[&str]| {
            let found: Vec<_> = cut_short(boundary.as_bytes())
                .into_iter()
                .map(|cut| std::str::from_utf8(cut).unwrap())
                .collect();
            assert_eq!(found, expected, "{boundary}");
        };
        check("abc", &[]);
        check("----=_Part.1+2", &[]);
        check("abc@x", &["abc"]);
        check("abc\u{b}", &["abc"]);
        check("'abc'", &["abc"]);
        check("abc def", &["abc"]);
        check(&"a".repeat(71), &[&"a".repeat(70)]);
    }

    #[test]
    fn only_a_whole_line_is_a_boundary() {
        for body in ["--abc\r\nx", "x\n--abc \t\nx", "x\n--abc--"] {
            assert!(has_line_of(body.as_bytes(), b"abc"), "{body}");
        }
        for body in ["--abcd\r\n", "x --abc\r\n", "--abc/d\r\n", "-abc"] {
            assert!(!has_line_of(body.as_bytes(), b"abc"), "{body}");
        }
    }
}
