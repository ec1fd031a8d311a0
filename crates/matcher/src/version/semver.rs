//! Semantic Versioning 2.0.0, section 11 (precedence).
//!
//! Numbers compare one by one; then a pre-release is older than the release; then its identifiers
//! one by one: numbers by value, below texts, which compare by bytes; fewer are older than more.
//! Build metadata (from `+`) does not count.
//!
//! Lenient where feeds are: a leading `v`; any count of numbers, missing ones are zero; leading
//! zeros; and whatever follows the numbers is a pre-release (`1.2.3rc1`, `1.2.3.Beta`), as npm's
//! loose mode has it.
//!
//! Key: the numbers without trailing zeros, [`END`], then [`RELEASE`] or [`PRE_RELEASE`] with the
//! identifiers and [`END`].

use super::{VersionError, dotted, illegal, push_number, split_run};

const END: u8 = 1;
const PRE_RELEASE: u8 = 2;
const RELEASE: u8 = 3;
/// An identifier that is a text; its bytes follow, then [`TEXT_END`]. Numbers must be below it, so
/// they are marked too.
const NUMBER: u8 = 2;
const TEXT: u8 = 3;
const TEXT_END: u8 = 0;

pub(super) fn write(text: &str, out: &mut Vec<u8>) -> Result<(), VersionError> {
    let core = dotted::after_v(text)?;
    let (core, _build_metadata) = core.split_once('+').unwrap_or((core, ""));
    if let Some(character) = core.chars().find(|c| !is_allowed(*c)) {
        return Err(illegal(text, character));
    }

    let mut rest = core.as_bytes();
    let mut zeros = 0;
    loop {
        let (digits, after) = split_run(rest, |b| b.is_ascii_digit());
        dotted::push_unless_trailing_zero(digits, &mut zeros, out);
        match after {
            [b'.', next @ ..] if next.first().is_some_and(u8::is_ascii_digit) => rest = next,
            _ => {
                rest = after;
                break;
            }
        }
    }
    out.push(END);

    if let [b'.', b'x' | b'X'] | [b'.', b'x' | b'X', b'.' | b'-', ..] = rest {
        return Err(dotted::wildcard(text));
    }
    if let [b'-' | b'.' | b'_', after @ ..] = rest {
        rest = after;
    }
    if rest.is_empty() {
        out.push(RELEASE);
        return Ok(());
    }
    out.push(PRE_RELEASE);
    for identifier in rest.split(|b| *b == b'.') {
        if !identifier.is_empty() && identifier.iter().all(u8::is_ascii_digit) {
            out.push(NUMBER);
            push_number(out, identifier);
        } else {
            out.push(TEXT);
            out.extend_from_slice(identifier);
            out.push(TEXT_END);
        }
    }
    out.push(END);
    Ok(())
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}
