//! Values as a PDF writes them (ISO 32000-2 section 7.3), read as leniently as its readers do.

use std::borrow::Cow;

use crate::octets::{rest, some, u8_at};

/// Values within values: more than any dictionary has.
const DEPTH_MAX: usize = 24;

/// Values within one.
const VALUES_MAX: usize = 10_000;

/// Octets of a string that are kept.
const TEXT_MAX: usize = 4096;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Name(Vec<u8>),
    Number(usize),
    Text(Vec<u8>),
    Array(Vec<Self>),
    Dictionary(Vec<(Vec<u8>, Self)>),
    /// The object of this number.
    Reference(u32),
    Other,
}

/// The value that begins here. What does not end is read as far as it goes.
pub(super) fn value(octets: &[u8]) -> Option<Value> {
    let mut reader = Reader {
        octets,
        at: 0,
        left: VALUES_MAX,
    };
    reader.value(DEPTH_MAX)
}

/// Where what stands in no string and no comment comes upon this word; none: it does not.
pub(super) fn meets(octets: &[u8], word: &[u8]) -> bool {
    let mut reader = Reader {
        octets,
        at: 0,
        left: 0,
    };
    while let Some(octet) = reader.peek() {
        match octet {
            b'(' => drop(reader.text()),
            b'/' => {
                reader.at += 1;
                reader.word();
            }
            octet if is_delimiter(octet) => reader.at += 1,
            _ if reader.word() == word => return true,
            _ => {}
        }
    }
    false
}

/// A name, without its `#` and digits (ISO 32000-2 section 7.3.5).
pub(super) fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'#', name).is_none() {
        return Cow::Borrowed(name);
    }
    let mut plain = Vec::with_capacity(name.len());
    let mut at = 0;
    while let Some(octet) = u8_at(name, at) {
        let digits = some(name, at.saturating_add(1), 2);
        let code = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| octet == b'#' && digits.len() == 2 && !digits.starts_with('+'))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(code.unwrap_or(octet));
        at += if code.is_some() { 3 } else { 1 };
    }
    Cow::Owned(plain)
}

const fn is_blank(octet: u8) -> bool {
    matches!(octet, 0 | b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

const fn is_delimiter(octet: u8) -> bool {
    matches!(
        octet,
        b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%'
    )
}

struct Reader<'o> {
    octets: &'o [u8],
    at: usize,
    /// Values that may still be read.
    left: usize,
}

impl<'o> Reader<'o> {
    /// What comes next, behind blanks and comments.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match u8_at(self.octets, self.at)? {
                b'%' => {
                    let line = rest(self.octets, self.at);
                    self.at += memchr::memchr2(b'\r', b'\n', line).unwrap_or(line.len());
                }
                octet if is_blank(octet) => self.at += 1,
                octet => return Some(octet),
            }
        }
    }

    fn word(&mut self) -> &'o [u8] {
        let tail = rest(self.octets, self.at);
        let end = tail
            .iter()
            .position(|octet| is_blank(*octet) || is_delimiter(*octet))
            .unwrap_or(tail.len());
        self.at += end;
        some(tail, 0, end)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        let depth = depth.checked_sub(1)?;
        let first = self.peek()?;
        Some(match first {
            b'/' => {
                self.at += 1;
                Value::Name(unescaped(self.word()).into_owned())
            }
            b'(' => Value::Text(self.text()),
            b'<' if u8_at(self.octets, self.at + 1) == Some(b'<') => {
                self.at += 2;
                Value::Dictionary(self.entries(depth))
            }
            b'<' => {
                let tail = rest(self.octets, self.at + 1);
                let end = memchr::memchr(b'>', tail).unwrap_or(tail.len());
                self.at += end + 2;
                Value::Text(super::hexadecimal(some(tail, 0, end.min(2 * TEXT_MAX))))
            }
            b'[' => {
                self.at += 1;
                let mut values = Vec::new();
                while self.peek().is_some_and(|next| next != b']') {
                    match self.value(depth) {
                        Some(value) => values.push(value),
                        None => break,
                    }
                }
                self.at += 1;
                Value::Array(values)
            }
            octet if is_delimiter(octet) => {
                self.at += 1;
                Value::Other
            }
            _ => self.number(),
        })
    }

    /// What stands between `<<` and `>>`. What has no key is passed over.
    fn entries(&mut self, depth: usize) -> Vec<(Vec<u8>, Value)> {
        let mut entries = Vec::new();
        while let Some(next) = self.peek() {
            if next == b'>' {
                self.at += 1;
                if u8_at(self.octets, self.at) == Some(b'>') {
                    self.at += 1;
                    break;
                }
                continue;
            }
            match self.value(depth) {
                Some(Value::Name(key)) => {
                    // A key without a value, before the end.
                    if self.peek() == Some(b'>') {
                        continue;
                    }
                    let Some(value) = self.value(depth) else {
                        break;
                    };
                    entries.push((key, value));
                }
                Some(_) => {}
                None => break,
            }
        }
        entries
    }

    /// A number, a reference (`12 0 R`), or another word.
    fn number(&mut self) -> Value {
        let Some(number) = digits(self.word()) else {
            return Value::Other;
        };
        let behind = self.at;
        if self.peek().is_some_and(|next| next.is_ascii_digit())
            && digits(self.word()).is_some()
            && self.peek() == Some(b'R')
            && self.word() == b"R"
            && let Ok(number) = u32::try_from(number)
        {
            return Value::Reference(number);
        }
        self.at = behind;
        Value::Number(number)
    }

    /// A string in parentheses (ISO 32000-2 section 7.3.4.2).
    fn text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut open = 0_usize;
        while let Some(octet) = u8_at(self.octets, self.at) {
            self.at += 1;
            let kept = match octet {
                b'(' => {
                    open += 1;
                    (open > 1).then_some(octet)
                }
                b')' => {
                    open -= 1;
                    if open == 0 {
                        break;
                    }
                    Some(octet)
                }
                b'\\' => self.escape(),
                octet => Some(octet),
            };
            if text.len() < TEXT_MAX {
                text.extend(kept);
            }
        }
        text
    }

    /// What stands behind a backslash: up to three digits, a letter, the end of a line.
    fn escape(&mut self) -> Option<u8> {
        let octet = u8_at(self.octets, self.at)?;
        let code = some(self.octets, self.at, 3);
        let count = code
            .iter()
            .take_while(|digit| matches!(digit, b'0'..=b'7'))
            .count();
        if count > 0 {
            self.at += count;
            let code = some(code, 0, count);
            return Some(code.iter().fold(0, |code: u8, digit| {
                code.wrapping_mul(8).wrapping_add(digit - b'0')
            }));
        }
        self.at += 1;
        match octet {
            b'\r' => {
                self.at += usize::from(u8_at(self.octets, self.at) == Some(b'\n'));
                None
            }
            b'\n' => None,
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'b' => Some(8),
            b'f' => Some(0x0c),
            octet => Some(octet),
        }
    }
}

/// A number without a sign and a point.
fn digits(word: &[u8]) -> Option<usize> {
    let is_number = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(word).ok().filter(|_| is_number)?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &[u8]) -> Value {
        Value::Name(text.to_vec())
    }

    #[test]
    fn values_are_read_as_they_may_be_written() {
        for (text, expected) in [
            ("/#46late#44ecode", name(b"FlateDecode")),
            ("% a comment\n/A#", name(b"A#")),
            ("/A#+1", name(b"A#+1")),
            ("12 0 R", Value::Reference(12)),
            ("12 0\nR]", Value::Reference(12)),
            ("12 0 Rx", Value::Number(12)),
            ("(a\\056j(s)\\\r\n)", Value::Text(b"a.j(s)".to_vec())),
            ("<61 2e>", Value::Text(b"a.".to_vec())),
            (
                "[/Fl\n12 0 R null]",
                Value::Array(vec![name(b"Fl"), Value::Reference(12), Value::Other]),
            ),
            (
                "<</A(>>)/B<</C 1>> >> stream",
                Value::Dictionary(vec![
                    (b"A".to_vec(), Value::Text(b">>".to_vec())),
                    (
                        b"B".to_vec(),
                        Value::Dictionary(vec![(b"C".to_vec(), Value::Number(1))]),
                    ),
                ]),
            ),
        ] {
            assert_eq!(value(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_never_ends_ends() {
        for text in ["[", "<<", "<</A", "(", "[/", ")", ">", "<</A<", "(\\", "%"] {
            let _read = value(text.repeat(100_000).as_bytes());
            let _read = value(text.as_bytes());
            assert!(!meets(text.repeat(1000).as_bytes(), b"endobj"));
        }
    }

    #[test]
    fn a_word_in_a_string_or_a_comment_is_none() {
        assert!(meets(b"<</A(b)>>endobj", b"endobj"));
        assert!(!meets(b"(\\( endobj)%endobj\r/endobj endobjx", b"endobj"));
    }
}
