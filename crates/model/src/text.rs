//! Text from hosts and feeds, made safe to show.

use std::borrow::Cow;

use jiff::civil::Date;

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
    // Nearly every text is plain ASCII.
    if is_plain_ascii(text) || !text.chars().any(is_unsafe) {
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

/// Whether all of it is printable ASCII.
pub fn is_plain_ascii(text: &str) -> bool {
    all_bytes(text, |b| matches!(b, b' '..=b'~'))
}

/// Whether every byte of a text passes a simple test. For the cheapest look at a text there is: each
/// block is looked at as a whole, without an early end, and the last one may overlap the one before.
pub fn all_bytes(text: &str, is: impl Fn(u8) -> bool) -> bool {
    fn fails<const N: usize>(block: &[u8; N], is: &impl Fn(u8) -> bool) -> bool {
        let fold = |failed, b: &u8| failed | u8::from(!is(*b));
        block.iter().fold(0, fold) != 0
    }
    let bytes = text.as_bytes();
    if let Some(last) = bytes.last_chunk::<16>() {
        let blocks = bytes.as_chunks::<16>().0;
        return !blocks.iter().any(|block| fails(block, &is)) && !fails(last, &is);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return !fails(first, &is) && !fails(last, &is);
    }
    bytes.iter().all(|b| is(*b))
}

/// A day as it shows itself, in `room`; `None` before the year 0. Every finding has several, and this takes
/// a fifth of the time.
pub fn day(day: Date, room: &mut [u8; 10]) -> Option<&str> {
    let year = u16::try_from(day.year()).ok()?;
    let two = |number: u16| {
        [number / 10 % 10, number % 10].map(|digit| b'0' + u8::try_from(digit).unwrap_or(0))
    };
    let [century, decade] = [two(year / 100), two(year)];
    let month = two(u16::from(day.month().unsigned_abs()));
    let days = two(u16::from(day.day().unsigned_abs()));
    *room = [
        century[0], century[1], decade[0], decade[1], b'-', month[0], month[1], b'-', days[0],
        days[1],
    ];
    str::from_utf8(room).ok()
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
    fn a_day_is_written_as_it_shows_itself() {
        for (year, month, of_month) in [(2026, 11, 22), (0, 1, 1), (987, 6, 5), (9999, 12, 31)] {
            let day = Date::constant(year, month, of_month);
            assert_eq!(super::day(day, &mut [0; 10]), Some(&*day.to_string()));
        }
        assert_eq!(super::day(Date::constant(-44, 3, 15), &mut [0; 10]), None);
    }

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
    fn one_odd_byte_is_found_wherever_it_stands() {
        for length in 0..70 {
            let plain = "a".repeat(length);
            assert!(is_plain_ascii(&plain), "{length}");
            for at in 0..length {
                let mut odd = plain.clone();
                odd.replace_range(at..=at, "\u{7f}");
                assert!(!is_plain_ascii(&odd), "{at} of {length}");
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_with_an_ellipsis() {
        assert_eq!(printable_max("abcdef", 4), "abc…");
        assert_eq!(printable_max("abcd", 4), "abcd");
    }
}
