//! Texts out of feeds, checked before they become part of a statement.
//!
//! Everything here is on the path of every record, so plain ASCII, nearly all there is, is told
//! apart first and costs one pass.

use std::borrow::Cow;
use std::ops::Deref;

use mailkeep_model::text::{is_unsafe, printable_max};

/// Longest title kept, in characters.
pub(crate) const TITLE_MAX: usize = 160;

/// Longest note kept, in characters.
pub(crate) const NOTE_MAX: usize = 300;

/// Longest name or version believed, in bytes: twice the longest in Debian's and Red Hat's archives.
const TOKEN_MAX: usize = 255;

/// A package name, version or release: not empty, at most 255 bytes, no white space, nothing
/// unprintable. `None` is none of these.
pub(crate) fn token(text: &str) -> Option<Box<str>> {
    if text.is_empty() || text.len() > TOKEN_MAX {
        return None;
    }
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    if plain || !text.chars().any(|c| c.is_whitespace() || is_unsafe(c)) {
        Some(text.into())
    } else {
        None
    }
}

/// One printable line of at most `max` characters.
pub(crate) fn line(text: &str, max: usize) -> Box<str> {
    let text = text.trim();
    if text.len() <= max && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        text.into()
    } else {
        printable_max(text, max).into()
    }
}

/// A JSON string that borrows where it holds no escapes; `Cow` alone does not, within an `Option`
/// or as a key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Str<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Deref for Str<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_no_white_space_and_nothing_unprintable() {
        assert_eq!(token("1:2.3-4+b1").as_deref(), Some("1:2.3-4+b1"));
        assert_eq!(token("größe").as_deref(), Some("größe"));
        for bad in ["", "a b", "a\u{1b}[m", "a\u{a0}b", &"x".repeat(256)] {
            assert_eq!(token(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_line_is_trimmed_printable_and_bounded() {
        assert_eq!(&*line(" a\u{1b}b\nc ", 160), "a\u{fffd}b c");
        assert_eq!(
            &*line(&"é".repeat(200), 160),
            format!("{}…", "é".repeat(159))
        );
    }
}
