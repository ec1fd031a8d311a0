//! Numbers between dots: Exchange builds (`15.02.1118.007`), and every product or registry that
//! documents no other order. Our own rule; the parts, in the order they are compared:
//!
//! * Numbers compare by value; missing ones are zero (`4.97` equals `4.97.0`); `.`, `-`, `_`, `+`
//!   and a change between digits and letters only separate.
//! * A pre-release word is older than its absence (`4.98-RC1`, `1.0.0-beta2`, `2.0~1`), whatever its
//!   case. The words: `~`, then dev, alpha, beta, milestone (or `m1`), preview, rc, snapshot. One
//!   letter between two numbers is Python's short form: `1.0a1`, `1.0b2`, `1.0c1` (PEP 440).
//! * Any other word is newer than its absence and older than a further number: `1.0.2` < `1.0.2k` <
//!   `1.0.2zg` < `1.0.2.1`; `9.3` < `9.3p2`; `8.8.15` < `8.8.15_P40`; `1.0` < `1.0.post1`. Words
//!   compare by their bytes in lower case.
//! * A last word `final`, `ga` or `release` says nothing.
//!
//! What is no version is refused: it begins with a letter (`master`), is a range (`< 4.97`), a
//! sentence, a wildcard (`4.x`), or has PEP 440's `1!` epoch.
//!
//! Key: numbers without trailing zeros, word, numbers, word, and so on; [`END`].

use super::{VersionError, illegal, push_number, shown, split_run};

/// A pre-release word; its rank follows.
const PRE: u8 = 1;
const END: u8 = 2;
/// Any other word; its bytes follow, then [`WORD_END`].
const WORD: u8 = 3;
const WORD_END: u8 = 0;

pub(super) fn write(text: &str, out: &mut Vec<u8>) -> Result<(), VersionError> {
    let body = after_v(text)?;
    if let Some(character) = body.chars().find(|c| !is_allowed(*c)) {
        return Err(illegal(text, character));
    }
    // A part that is only an `x` is none; `1.0.2x` is a version of OpenSSL.
    if body.split('.').any(|part| part.eq_ignore_ascii_case("x")) {
        return Err(wildcard(text));
    }

    let mut rest = body.as_bytes();
    let mut zeros = 0;
    let mut after_digit = false;
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'0'..=b'9' => {
                let (digits, after) = split_run(rest, |b| b.is_ascii_digit());
                push_unless_trailing_zero(digits, &mut zeros, out);
                after_digit = true;
                rest = after;
                continue;
            }
            b'~' => {
                zeros = 0;
                out.extend_from_slice(&[PRE, 0]);
                rest = after;
            }
            b'A'..=b'Z' | b'a'..=b'z' => {
                let (word, after) = split_run(rest, |b| b.is_ascii_alphabetic());
                let between_digits = after_digit && after.first().is_some_and(u8::is_ascii_digit);
                zeros = 0;
                write_word(word, after, between_digits, out);
                rest = after;
            }
            _ => rest = after,
        }
        after_digit = false;
    }
    out.push(END);
    Ok(())
}

fn write_word(word: &[u8], after: &[u8], between_digits: bool, out: &mut Vec<u8>) {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let numbered = after.first().is_some_and(u8::is_ascii_digit);
    let rank = if is("dev") || is("nightly") {
        1
    } else if is("alpha") || (between_digits && is("a")) {
        2
    } else if is("beta") || (between_digits && is("b")) {
        3
    } else if is("milestone") || (numbered && is("m")) {
        4
    } else if is("pre") || is("preview") {
        5
    } else if is("rc") || is("cr") || (between_digits && is("c")) {
        6
    } else if is("snapshot") {
        7
    } else if after.is_empty() && (is("final") || is("ga") || is("release")) {
        return;
    } else {
        out.push(WORD);
        out.extend(word.iter().map(u8::to_ascii_lowercase));
        out.push(WORD_END);
        return;
    };
    out.extend_from_slice(&[PRE, rank]);
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '~')
}

/// The text without a leading `v`, if it then begins with a digit.
pub(super) fn after_v(text: &str) -> Result<&str, VersionError> {
    let body = text.strip_prefix(['v', 'V']).unwrap_or(text);
    if body.starts_with(|c: char| c.is_ascii_digit()) {
        Ok(body)
    } else {
        Err(VersionError::NoNumber {
            version: shown(text),
        })
    }
}

#[cold]
pub(super) fn wildcard(text: &str) -> VersionError {
    VersionError::Wildcard {
        version: shown(text),
    }
}

/// Appends a number, but holds zeros back in `zeros` until one follows that is none: so missing
/// numbers equal zeros. The caller sets `zeros` to 0 where the row of numbers ends.
pub(super) fn push_unless_trailing_zero(digits: &[u8], zeros: &mut usize, out: &mut Vec<u8>) {
    if digits.iter().all(|d| *d == b'0') {
        *zeros += 1;
        return;
    }
    for _ in 0..std::mem::take(zeros) {
        push_number(out, b"");
    }
    push_number(out, digits);
}
