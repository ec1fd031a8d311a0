//! Text from hosts and feeds, made safe to show.

use std::borrow::Cow;

/// Whether a character must not reach a terminal: control characters (C0, C1, DEL), and the
/// bidirectional overrides and isolates that make a line read otherwise than it is (Unicode
/// Standard Annex 9).
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Replaces every unsafe character by U+FFFD; a tab, line feed or carriage return becomes a space.
/// Borrows where there is nothing to replace.
pub fn printable(text: &str) -> Cow<'_, str> {
    // Nearly every text is plain ASCII, and a pass over its bytes is the cheapest that tells so.
    let plain = text.bytes().all(|b| matches!(b, b' '..=b'~'));
    if plain || !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.chars()
            .map(|c| match c {
                '\t' | '\n' | '\r' => ' ',
                c if is_unsafe(c) => '\u{fffd}',
                c => c,
            })
            .collect(),
    )
}

/// [`printable`] of a text of one's own; the same text where there is nothing to replace.
pub fn printable_owned(text: String) -> String {
    match printable(&text) {
        Cow::Owned(replaced) => replaced,
        Cow::Borrowed(_) => text,
    }
}

/// [`printable`], cut to at most `max` characters, the last of them an ellipsis where it was cut.
pub fn printable_max(text: &str, max: usize) -> String {
    let text = printable(text);
    if text.len() <= max || text.chars().nth(max).is_none() {
        return text.into_owned();
    }
    let mut cut: String = text.chars().take(max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_do_not_survive() {
        assert_eq!(
            printable("a\u{1b}[2Jb\u{9b}c\u{7f}"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}"
        );
        assert_eq!(printable("one\ttwo\nthree"), "one two three");
        assert_eq!(printable("exe\u{202e}fdp.txt"), "exe\u{fffd}fdp.txt");
        assert!(matches!(printable("plain Größe"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_long_text_is_cut_with_an_ellipsis() {
        assert_eq!(printable_max("abcdef", 4), "abc…");
        assert_eq!(printable_max("abcd", 4), "abcd");
    }
}
