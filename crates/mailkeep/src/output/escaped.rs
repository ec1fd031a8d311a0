//! JSON that is safe to look at: what must not reach a terminal is written as an escape.
//!
//! JSON itself only demands escapes below U+0020 (RFC 8259 section 7). DEL, the C1 controls and
//! the bidirectional overrides would pass through; written as `\u009b` they mean the same to a
//! program and nothing to a terminal.

use std::io::{self, BufWriter, Write};

use mailkeep_model::text::is_unsafe;
use serde::Serialize;
use serde_json::ser::Formatter;

/// Writes a value as one JSON document with a line feed at its end. Buffered: the serialiser writes
/// a few bytes at a time.
pub fn write_json(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Escaping::default());
    value.serialize(&mut serializer)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// One line for each field of the document and for each member of its lists: a person and `grep` find
/// a finding in it, and it takes three quarters of the bytes and of the time of indented JSON.
#[derive(Default)]
struct Escaping {
    depth: usize,
    /// The innermost list or object has a member already.
    filled: bool,
}

impl Escaping {
    /// Depth of a member of a list: below it, all is on its line.
    const MEMBER: usize = 2;

    fn begin<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        out.write_all(bracket)
    }

    fn end<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.filled && self.depth < Self::MEMBER {
            self.new_line(out)?;
        }
        self.filled = true;
        out.write_all(bracket)
    }

    fn next<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.filled = true;
        if !first {
            out.write_all(b",")?;
        }
        if self.depth <= Self::MEMBER {
            self.new_line(out)?;
        }
        Ok(())
    }

    fn new_line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        out.write_all(match self.depth {
            0 => b"\n",
            1 => b"\n  ",
            _ => b"\n    ",
        })
    }
}

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Nearly every text; one pass over the bytes tells.
        if fragment.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return out.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, unsafe_char)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            let (safe, tail) = rest.split_at(at);
            out.write_all(safe.as_bytes())?;
            let mut units = [0; 2];
            for unit in unsafe_char.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = tail.get(unsafe_char.len_utf8()..).unwrap_or_default();
        }
        out.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }
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

    #[test]
    fn each_member_of_a_list_has_a_line_of_its_own() {
        let mut bytes = Vec::new();
        let value = serde_json::json!({"a": [{"b": [1, {}]}, []], "c": {}, "d": {"e": 1}});
        write_json(&value, &mut bytes).unwrap();
        let expected = "{\n  \"a\":[\n    {\"b\":[1,{}]},\n    []\n  ],\n  \"c\":{},\n  \"d\":{\n    \"e\":1\n  }\n}\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
}
