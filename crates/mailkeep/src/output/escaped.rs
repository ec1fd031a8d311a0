//! JSON that is safe to look at: what must not reach a terminal is written as an escape.
//!
//! JSON itself only demands escapes below U+0020 (RFC 8259 section 7). DEL, the C1 controls and
//! the bidirectional overrides would pass through; written as `\u009b` they mean the same to a
//! program and nothing to a terminal.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use mailkeep_model::text::{all_bytes, is_unsafe};
use serde::Serialize;

mod serializer;

use serializer::Serializer;

/// Bytes gathered before they are written, at the next end of a line.
const FULL: usize = 1 << 16;

/// Writes a value as one JSON document with a line feed at its end. One line for each field of the
/// document and for each member of its lists: a person and `grep` find a finding in it, and it takes
/// three quarters of the bytes and of the time of indented JSON.
pub fn write_json(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let mut text = Text {
        out,
        bytes: Vec::with_capacity(FULL + FULL / 4),
        depth: 0,
        filled: false,
        shown: String::new(),
    };
    value.serialize(Serializer::new(&mut text))?;
    text.bytes.push(b'\n');
    text.hand_on()
}

/// The document as far as it is made: brackets, lines and escapes.
struct Text<'w> {
    out: &'w mut dyn Write,
    bytes: Vec<u8>,
    depth: usize,
    /// The innermost list or object has a member already.
    filled: bool,
    /// What a value showed last; only its room is used again.
    shown: String,
}

impl Text<'_> {
    /// Depth of a member of a list: below it, all is on its line.
    const MEMBER: usize = 2;

    fn begin(&mut self, bracket: u8) {
        self.depth += 1;
        self.filled = false;
        self.bytes.push(bracket);
    }

    fn end(&mut self, bracket: u8) -> io::Result<()> {
        self.depth -= 1;
        if self.filled && self.depth < Self::MEMBER {
            self.new_line()?;
        }
        self.filled = true;
        self.bytes.push(bracket);
        Ok(())
    }

    /// Before a member of the innermost list or object.
    fn next(&mut self) -> io::Result<()> {
        if self.filled {
            self.bytes.push(b',');
        }
        self.filled = true;
        if self.depth <= Self::MEMBER {
            self.new_line()?;
        }
        Ok(())
    }

    /// Before a field whose name needs no escape.
    fn field(&mut self, name: &'static str) -> io::Result<()> {
        if self.depth <= Self::MEMBER {
            self.next()?;
            self.bytes.push(b'"');
        } else {
            let begin: &[u8] = if self.filled { b",\"" } else { b"\"" };
            self.bytes.extend_from_slice(begin);
            self.filled = true;
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
        Ok(())
    }

    fn new_line(&mut self) -> io::Result<()> {
        self.bytes.push(b'\n');
        if self.bytes.len() >= FULL {
            self.hand_on()?;
        }
        self.bytes.extend_from_slice(match self.depth {
            0 => b"",
            1 => b"  ",
            _ => b"    ",
        });
        Ok(())
    }

    fn hand_on(&mut self) -> io::Result<()> {
        self.out.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }

    /// A name that needs no escape, as those of fields and variants.
    fn plain(&mut self, name: &'static str) {
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b'"');
    }

    fn string(&mut self, text: &str) {
        self.bytes.push(b'"');
        if is_plain(text) {
            self.bytes.extend_from_slice(text.as_bytes());
        } else {
            self.escaped(text);
        }
        self.bytes.push(b'"');
    }

    /// [`Text::string`] of what a value shows.
    fn shown(&mut self, value: &(impl fmt::Display + ?Sized)) {
        self.shown.clear();
        let _infallible = write!(self.shown, "{value}");
        let shown = std::mem::take(&mut self.shown);
        self.string(&shown);
        self.shown = shown;
    }

    fn escaped(&mut self, text: &str) {
        let mut rest = text;
        while let Some((at, found)) = rest.char_indices().find(|(_, c)| is_escaped(*c)) {
            let (safe, tail) = rest.split_at(at);
            self.bytes.extend_from_slice(safe.as_bytes());
            let short = match found {
                '"' | '\\' => Some(found),
                '\n' => Some('n'),
                '\r' => Some('r'),
                '\t' => Some('t'),
                _ => None,
            };
            if let Some(short) = short {
                self.bytes.push(b'\\');
                self.bytes
                    .extend_from_slice(short.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                for unit in found.encode_utf16(&mut [0; 2]) {
                    self.bytes
                        .extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
            rest = tail.get(found.len_utf8()..).unwrap_or_default();
        }
        self.bytes.extend_from_slice(rest.as_bytes());
    }
}

fn is_escaped(c: char) -> bool {
    matches!(c, '"' | '\\') || is_unsafe(c)
}

/// Whether all of it is printable ASCII without a sign that JSON escapes, as nearly every text is.
fn is_plain(text: &str) -> bool {
    all_bytes(text, |b| {
        matches!(b, b' '..=b'~') && b != b'"' && b != b'\\'
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_reads_back_the_same() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}b\u{2028}\"é\\";
        let mut bytes = Vec::new();
        write_json(&[hostile], &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text}");
        let back: Vec<String> = serde_json::from_str(&text).unwrap();
        assert_eq!(back, [hostile]);
    }

    #[derive(Serialize)]
    enum Odd {
        Unit,
        New(Option<i8>),
        Pair(u128, f32),
        Named { a: f64, b: char },
    }

    /// What is no JSON by itself is written as `serde_json` writes it.
    #[test]
    fn every_kind_of_value_means_what_it_means_to_serde_json() {
        let value = (
            [Odd::Unit, Odd::New(None), Odd::New(Some(-8))],
            [
                Odd::Pair(u128::MAX, 0.1),
                Odd::Named {
                    a: f64::NAN,
                    b: '\n',
                },
            ],
            std::collections::BTreeMap::from([("", 1), ("\u{9b}\"", 2)]),
            (true, 1.0, 1e300, ((), [0_u8; 0]), "é\t\u{10ffff}"),
        );
        let mut bytes = Vec::new();
        write_json(&value, &mut bytes).unwrap();
        let ours: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let theirs = serde_json::to_string(&value).unwrap();
        assert_eq!(
            ours,
            serde_json::from_str::<serde_json::Value>(&theirs).unwrap()
        );
    }

    #[test]
    fn a_document_longer_than_what_is_gathered_comes_out_whole() {
        let value = vec!["x".repeat(1000); 200];
        let mut bytes = Vec::new();
        write_json(&value, &mut bytes).unwrap();
        assert!(bytes.len() > FULL);
        assert_eq!(
            serde_json::from_slice::<Vec<String>>(&bytes).unwrap(),
            value
        );
    }

    #[test]
    fn a_name_that_is_no_text_is_refused() {
        let odd = std::collections::BTreeMap::from([(1, 2)]);
        let error = write_json(&odd, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("must be a text"), "{error}");
    }

    #[test]
    fn each_member_of_a_list_has_a_line_of_its_own() {
        let mut bytes = Vec::new();
        let value = serde_json::json!({"a": [{"b": [1, {}]}, []], "c": {}, "d": {"e": 1}});
        write_json(&value, &mut bytes).unwrap();
        let expected = "{\n  \"a\":[\n    {\"b\":[1,{}]},\n    []\n  ],\n  \"c\":{},\n  \"d\":{\n    \"e\":1\n  }\n}\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
}
