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

/// Fields within fields, beyond which nothing is told apart any more.
const DEPTH_MAX: usize = 200;

/// The fields of one document while it is read.
#[derive(Default)]
pub(super) struct Fields {
    open: Vec<Field>,
    /// Instructions outside of any field.
    outside: String,
    /// All pieces, whosever they are; lines part what begins anew.
    pieces: String,
    /// What is read next is part of an instruction.
    instruction: Option<Place>,
    /// What each prefix stands for: whether for one of [`NAMESPACES`] alone.
    prefixes: BTreeMap<String, bool>,
    /// The branches of alternatives that are open, by number, and how many there were.
    branches: Vec<usize>,
    branch: usize,
    /// Another program may see other fields than are seen here.
    is_odd: bool,
    starts: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Instruction,
    /// Text of a field's result, or of none.
    Text,
    /// What is marked as deleted.
    Deleted,
}

#[derive(Default)]
struct Field {
    instruction: String,
    /// Its instruction is over, its result follows.
    has_result: bool,
    /// Its instruction holds another field.
    is_computed: bool,
    /// The branch in which it began.
    branch: Option<usize>,
}

impl Fields {
    pub(super) fn see(&mut self, piece: &Piece<'_>) {
        match piece {
            Piece::Begin(element) => self.begin(element),
            Piece::End(name) => match *name {
                "instrText" | "delInstrText" | "t" => self.instruction = None,
                "Choice" | "Fallback" => {
                    self.branches.pop();
                }
                _ => {}
            },
            Piece::Text(text) => {
                if let Some(place) = self.instruction {
                    self.text(text, place);
                }
            }
        }
    }

    fn begin(&mut self, element: &Element<'_>) {
        for (prefix, namespace) in element.namespaces() {
            let is_known = NAMESPACES.contains(&namespace.as_str());
            if self.prefixes.len() < PREFIXES_MAX {
                let always = self.prefixes.entry(prefix).or_insert(is_known);
                *always &= is_known;
            } else {
                self.is_odd = true;
            }
        }
        let name = element.name();
        let place = match name {
            "instrText" => Place::Instruction,
            "delInstrText" => Place::Deleted,
            "t" => Place::Text,
            "fldChar" => return self.mark(element),
            "fldSimple" => {
                self.known(element);
                for instruction in element.values("instr") {
                    self.starts |= starts(&instruction, false);
                    self.pieces.push('\n');
                    self.pieces.push_str(&instruction);
                }
                return;
            }
            "Choice" | "Fallback" => {
                self.branch += 1;
                self.branches.push(self.branch);
                return;
            }
            _ => return,
        };
        if place != Place::Text {
            self.known(element);
            self.same_branch();
        }
        self.is_odd |= place == Place::Deleted;
        self.instruction = Some(place);
        if place == Place::Instruction && self.open.is_empty() {
            // Of what stands in no field, each piece may be an instruction of its own.
            self.outside.push('\n');
        }
    }

    /// Whether an element is one of Word's shows by its namespace; a prefix that was not declared is taken for what it is as
    /// a rule.
    fn known(&mut self, element: &Element<'_>) {
        let prefix = element.prefix();
        let is_usual = matches!(prefix, "" | "w");
        self.is_odd |= !self.prefixes.get(prefix).copied().unwrap_or(is_usual);
    }

    /// Of alternatives one is read, and which is not known: a field that begins before them and goes on in one.
    fn same_branch(&mut self) {
        let branch = self.branches.last().copied();
        self.is_odd |= self
            .open
            .last()
            .is_some_and(|field| !field.has_result && field.branch != branch);
    }

    fn mark(&mut self, element: &Element<'_>) {
        self.known(element);
        self.same_branch();
        let kinds = element.values("fldCharType");
        match kinds.first().map(String::as_str) {
            Some("begin") if self.open.len() < DEPTH_MAX => {
                self.pieces.push('\n');
                if let Some(outer) = self.open.last_mut().filter(|outer| !outer.has_result) {
                    outer.is_computed = true;
                }
                self.open.push(Field {
                    branch: self.branches.last().copied(),
                    ..Field::default()
                });
            }
            Some("separate") => {
                if let Some(field) = self.open.last_mut() {
                    field.has_result = true;
                }
            }
            Some("end") => {
                let Some(field) = self.open.pop() else {
                    return;
                };
                self.starts |= field.starts();
                let outer = self.open.last_mut().filter(|outer| !outer.has_result);
                if let (Some(outer), Some(letters)) = (outer, quoted(&field.instruction)) {
                    outer.instruction.push_str(&letters);
                }
            }
            _ => self.is_odd = true,
        }
        self.is_odd |= kinds.len() > 1;
    }

    fn text(&mut self, text: &str, place: Place) {
        // The result of a field within an instruction is part of it.
        let field = self.open.iter_mut().rev().find(|field| !field.has_result);
        match (field, place) {
            (_, Place::Deleted) => {}
            (Some(field), _) => field.instruction.push_str(text),
            (None, Place::Instruction) => self.outside.push_str(text),
            (None, Place::Text) => return,
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

    /// Whether its pieces, whatever belongs together, could be such an instruction.
    fn speaks_of_it(&self) -> bool {
        let lower = self.pieces.to_ascii_lowercase();
        let lower = lower.as_bytes();
        holds(lower, b"ddeauto") || (names_program(lower) && has_word(lower, b"dde"))
    }
}

impl Field {
    fn starts(&self) -> bool {
        starts(&self.instruction, self.is_computed)
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
        .map(|number| char::from_u32(number.trim_matches('"').parse().ok()?))
        .collect()
}
