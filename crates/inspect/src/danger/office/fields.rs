//! Fields of a document (ECMA-376-1 section 17.16): instructions, cut in pieces anywhere, between marks.

use std::collections::BTreeMap;

use super::{PROGRAMS, has_word};
use crate::octets::{begins, holds};
use crate::xml::{Element, Piece};

/// The namespaces in which marks and instructions stand: of ISO/IEC 29500 in both its forms, and of Word 2003.
const NAMESPACES: [&str; 3] = [
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "http://purl.oclc.org/ooxml/wordprocessingml/main",
    "http://schemas.microsoft.com/office/word/2003/wordml",
];

/// More prefixes than these no document has.
const PREFIXES_MAX: usize = 1000;

/// Fields within fields, beyond which the outermost are not told apart any more.
const DEPTH_MAX: usize = 200;

/// The fields of one document while it is read.
#[derive(Default)]
pub(super) struct Fields {
    open: Vec<Field>,
    /// Instructions outside of any field, one a line.
    outside: String,
    /// All pieces, whosever they are.
    pieces: String,
    /// The element whose text is read: how deep it lies, and what its text is.
    reading: Option<(usize, Place)>,
    /// What each prefix stands for.
    prefixes: BTreeMap<String, Known>,
    depth: usize,
    /// The innermost elements that Word may pass over with all that lies in them, or not: how deep they lie, and their number
    /// (ISO/IEC 29500-3, section 9).
    optional: Vec<(usize, usize)>,
    optionals: usize,
    /// Another program may see other fields than are seen here.
    is_odd: bool,
    starts: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Instruction,
    /// Text of a field's result, or of none.
    Text,
    /// What is marked as deleted, or is not Word's.
    Other,
}

/// What a prefix stands for, in all of a document.
#[derive(Default, Clone, Copy)]
struct Known {
    word: bool,
    other: bool,
}

#[derive(Default)]
struct Field {
    keyword: Keyword,
    instruction: String,
    /// Its instruction is over, its result follows.
    has_result: bool,
    /// Its instruction holds another field.
    is_computed: bool,
    /// The optional element in which it began.
    within: Option<usize>,
}

impl Fields {
    pub(super) fn see(&mut self, piece: &Piece<'_>) {
        match piece {
            Piece::Begin(element) => {
                self.depth += 1;
                self.begin(element);
            }
            Piece::End(_) => {
                let ends = |at: usize| at >= self.depth;
                if self.reading.is_some_and(|(at, _)| ends(at)) {
                    self.reading = None;
                }
                if self.optional.last().is_some_and(|(at, _)| ends(*at)) {
                    self.optional.pop();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            Piece::Text(text) => {
                if let Some((at, place)) = self.reading {
                    self.text(text, place, at < self.depth);
                }
            }
        }
    }

    fn begin(&mut self, element: &Element<'_>) {
        for (prefix, namespace) in element.namespaces() {
            let is_known = NAMESPACES.contains(&namespace.as_str());
            if self.prefixes.len() < PREFIXES_MAX {
                let known = self.prefixes.entry(prefix).or_default();
                known.word |= is_known;
                known.other |= !is_known;
            } else {
                self.is_odd = true;
            }
        }
        let name = element.name();
        let is_field = matches!(name, "instrText" | "delInstrText" | "fldChar" | "fldSimple");
        let is_word = self.is_word(element.prefix(), is_field);
        if !is_word || matches!(name, "Choice" | "Fallback") {
            self.optionals += 1;
            self.optional.push((self.depth, self.optionals));
        }
        if name == "fldSimple" {
            let outer = self.open.last_mut().filter(|outer| !outer.has_result);
            if let Some(outer) = outer {
                outer.is_computed = true;
                let letters = element.values("instr");
                let letters = letters.filter_map(|instruction| quoted(&instruction));
                letters.for_each(|letters| outer.take(&letters, true));
            }
            for instruction in element.values("instr") {
                self.starts |= starts(&instruction, false);
            }
            return;
        }
        if name == "fldChar" && is_word {
            self.mark(element);
        }
        let place = match name {
            "instrText" if is_word => Place::Instruction,
            "instrText" | "delInstrText" => Place::Other,
            "t" if is_word => Place::Text,
            _ => return,
        };
        // Within such an element there is none.
        if self.reading.is_none() {
            self.reading = Some((self.depth, place));
            if place == Place::Instruction && self.open.is_empty() {
                // Of what stands in no field, each piece may be an instruction of its own.
                self.outside.push('\n');
            }
        }
    }

    /// Whether an element is Word's, by its prefix; one that was not declared is taken for what it is as a rule.
    fn is_word(&mut self, prefix: &str, is_field: bool) -> bool {
        let Some(known) = self.prefixes.get(prefix) else {
            return matches!(prefix, "" | "w");
        };
        self.is_odd |= is_field && known.word && known.other;
        known.word
    }

    fn mark(&mut self, element: &Element<'_>) {
        let within = self.optional.last().map(|(_, number)| *number);
        let mut kinds = element.values("fldCharType");
        // A mark in an element that is passed over, perhaps, of a field that began outside.
        let is_stray = |field: &Field| !field.has_result && field.within != within;
        match kinds.next().as_deref() {
            Some("begin") => {
                if self.open.len() >= DEPTH_MAX {
                    // Some programs forget to end them. What is still an instruction is another matter.
                    let first = self.open.remove(0);
                    self.starts |= first.starts();
                    self.is_odd |= !first.has_result;
                }
                if let Some(outer) = self.open.last_mut().filter(|outer| !outer.has_result) {
                    outer.is_computed = true;
                }
                self.open.push(Field {
                    within,
                    ..Field::default()
                });
            }
            Some("separate") => {
                if let Some(field) = self.open.last_mut() {
                    self.is_odd |= is_stray(field);
                    field.has_result = true;
                }
            }
            Some("end") => {
                let Some(field) = self.open.pop() else {
                    return;
                };
                self.is_odd |= is_stray(&field);
                self.starts |= field.starts();
                let outer = self.open.last_mut().filter(|outer| !outer.has_result);
                if let (Some(outer), Some(letters)) = (outer, quoted(&field.instruction)) {
                    outer.take(&letters, true);
                }
            }
            _ => self.is_odd = true,
        }
        self.is_odd |= kinds.next().is_some();
    }

    fn text(&mut self, text: &str, place: Place, is_child: bool) {
        let within = self.optional.last().map(|(_, number)| *number);
        // The result of a field within an instruction is part of it, if it is the result that it will have.
        let innermost = self.open.len().checked_sub(1);
        let field = self.open.iter_mut().enumerate().rev();
        let mut field = field.filter(|(_, field)| !field.has_result);
        match (field.next(), place) {
            (Some((nth, field)), place) => {
                let may_be_none = is_child
                    || place == Place::Other
                    || field.within != within
                    || Some(nth) != innermost;
                field.take(text, may_be_none);
            }
            (None, Place::Instruction) => self.outside.push_str(text),
            (None, _) => return,
        }
        self.pieces.push_str(text);
    }

    /// Whether one of them starts a program by DDE.
    pub(super) fn starts_program(mut self) -> bool {
        let unclosed = std::mem::take(&mut self.open);
        let together = self.outside.replace('\n', "");
        self.starts
            || unclosed.iter().any(Field::starts)
            || self
                .outside
                .lines()
                .any(|instruction| starts(instruction, false))
            || starts(&together, false)
            || (self.is_odd && self.speaks_of_it())
    }

    /// Whether the letters of such an instruction are among the pieces, whatever belongs together.
    fn speaks_of_it(&self) -> bool {
        let lower = self.pieces.to_ascii_lowercase();
        let mut letters = lower.bytes();
        b"ddeauto"
            .iter()
            .all(|wanted| letters.any(|letter| letter == *wanted))
            || (names_program(lower.as_bytes()) && has_word(lower.as_bytes(), b"dde"))
    }
}

impl Field {
    /// Goes on with its instruction, if this is part of it.
    fn take(&mut self, text: &str, may_be_none: bool) {
        let before = self.keyword;
        self.keyword.take(text);
        if may_be_none {
            self.keyword.0 |= before.0;
        }
        self.instruction.push_str(text);
    }

    fn starts(&self) -> bool {
        self.keyword.is_automatic()
            || (self.keyword.is_dde()
                && (self.is_computed
                    || names_program(&self.instruction.to_ascii_lowercase().into_bytes())))
    }
}

/// How much of `ddeauto` an instruction may have had so far: a bit for each number of letters, and one for `dde` alone.
#[derive(Clone, Copy)]
struct Keyword(u16);

impl Default for Keyword {
    fn default() -> Self {
        Self(1)
    }
}

impl Keyword {
    const WORD: [u8; 7] = *b"ddeauto";
    const WHOLE: u16 = 1 << 7;
    const ALONE: u16 = 1 << 8;

    fn take(&mut self, text: &str) {
        for letter in text.bytes() {
            // Nothing is left to be told.
            if self.0 & !(Self::WHOLE | Self::ALONE) == 0 {
                return;
            }
            let mut next = self.0 & (Self::WHOLE | Self::ALONE);
            for (nth, wanted) in Self::WORD.iter().enumerate() {
                if self.0 & (1 << nth) == 0 {
                    continue;
                }
                if letter.eq_ignore_ascii_case(wanted) {
                    next |= 1 << (nth + 1);
                } else if nth == 0 && !letter.is_ascii_alphanumeric() {
                    next |= 1;
                } else if nth == 3 && !letter.is_ascii_alphabetic() {
                    next |= Self::ALONE;
                }
            }
            self.0 = next;
        }
    }

    const fn is_automatic(self) -> bool {
        self.0 & Self::WHOLE != 0
    }

    const fn is_dde(self) -> bool {
        self.0 & (Self::ALONE | 1 << 3) != 0
    }
}

fn names_program(lower: &[u8]) -> bool {
    holds(lower, b".exe")
        || PROGRAMS
            .iter()
            .any(|program| holds(lower, program.as_bytes()))
}

/// Whether an instruction is one of DDE that starts a program: by itself, or one whose name shows or is computed. Indexes name it
/// in quotes.
pub(super) fn starts(instruction: &str, is_computed: bool) -> bool {
    let begin = instruction.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let word = begin.as_bytes();
    if begins(word, b"ddeauto") {
        return true;
    }
    begins(word, b"dde")
        && !word.get(3).is_some_and(u8::is_ascii_alphabetic)
        && (is_computed || names_program(&word.to_ascii_lowercase()))
}

/// The letters that a field gives by their numbers (`QUOTE 68 68 69`).
fn quoted(instruction: &str) -> Option<String> {
    let mut words = instruction.split_ascii_whitespace();
    words
        .next()
        .filter(|word| word.eq_ignore_ascii_case("quote"))?;
    words
        .map(|number| {
            let number = number.trim_matches('"');
            let number = match number
                .strip_prefix("0x")
                .or_else(|| number.strip_prefix("0X"))
            {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => number.parse().ok(),
            };
            char::from_u32(number?)
        })
        .collect()
}
