//! A multipart body to its parts.

use std::ops::Range;

use super::lines::{Lines, LinesWith, is_blank, trim_end};

/// A body cut at its boundary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Split {
    /// Before the first boundary line.
    pub(super) preamble: Range<usize>,
    pub(super) parts: Vec<Range<usize>>,
    /// Behind the closing boundary line.
    pub(super) epilogue: Range<usize>,
}

/// A line that begins with the boundary.
#[derive(Debug, Clone, Copy)]
struct Mark {
    start: usize,
    next: usize,
    closes: bool,
    likeness: Likeness,
}

/// How much a line is like a boundary line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// Nothing but blanks stands behind the boundary, or `--`.
    Exact,
    /// It begins with the boundary.
    Begins,
    /// It is one but for blanks before it, the number of dashes, or the case of letters.
    Near,
}

/// One way to cut a body.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) split: Split,
    /// Its boundary stands alone in its lines.
    pub(super) exact: bool,
}

/// More boundary lines of one body are not kept; so many parts are beyond any limit.
pub(super) const MAX_MARKS: usize = 20_000;

/// Every way to cut a body at a boundary, the usual one first; none, if no line has the boundary.
pub(super) fn splits(body: &[u8], boundary: &[u8]) -> Vec<Cut> {
    let marks = marks(body, boundary);
    let mut found: Vec<Cut> = Vec::new();
    let closes = marks.iter().position(|mark| mark.closes);
    let behind = closes.is_some_and(|at| at + 1 < marks.len());
    // Strict readers first; then those who take whatever begins with the boundary; then those who go on behind the
    // end; last those who find it behind blanks, among more dashes, or in other letters.
    for likeness in [Likeness::Exact, Likeness::Begins, Likeness::Near] {
        if likeness != Likeness::Exact && !marks.iter().any(|mark| mark.likeness == likeness) {
            continue;
        }
        for ends in [true, false] {
            if !ends && !behind {
                continue;
            }
            let split = cut(body, &marks, likeness, ends);
            if !found.iter().any(|cut| cut.split == split) {
                found.push(Cut {
                    split,
                    exact: likeness == Likeness::Exact,
                });
            }
        }
    }
    // That a reader finds no parts counts only where another finds some.
    if found.iter().all(|cut| cut.split.parts.is_empty()) {
        found.clear();
    }
    found
}

fn marks(body: &[u8], boundary: &[u8]) -> Vec<Mark> {
    let mut marks = Vec::new();
    let bare = without_dashes(boundary);
    for line in LinesWith::new(body, b'-') {
        let plain = line
            .text
            .strip_prefix(b"--")
            .and_then(|text| text.strip_prefix(boundary));
        let near = || {
            let begin = line
                .text
                .iter()
                .position(|octet| !b" \t\0>-".contains(octet))?;
            let (before, text) = line.text.split_at(begin);
            let is_near = bare.len() > 2
                && before.contains(&b'-')
                && text
                    .get(..bare.len())
                    .is_some_and(|begin| begin.eq_ignore_ascii_case(bare));
            is_near.then(|| text.get(bare.len()..)).flatten()
        };
        let (rest, is_plain) = match plain {
            Some(rest) => (rest, true),
            None => match near() {
                Some(rest) => (rest, false),
                None => continue,
            },
        };
        let closing = rest.strip_prefix(b"--");
        let tail = closing.unwrap_or(rest);
        let alone = tail.iter().copied().all(is_blank);
        if !is_plain && !alone {
            continue;
        }
        if marks.len() >= MAX_MARKS {
            break;
        }
        marks.push(Mark {
            start: line.start,
            next: line.next,
            closes: closing.is_some(),
            likeness: match (is_plain, alone) {
                (true, true) => Likeness::Exact,
                (true, false) => Likeness::Begins,
                (false, _) => Likeness::Near,
            },
        });
    }
    marks
}

fn without_dashes(mut boundary: &[u8]) -> &[u8] {
    while let Some(rest) = boundary.strip_prefix(b"-") {
        boundary = rest;
    }
    boundary
}

fn cut(body: &[u8], marks: &[Mark], likeness: Likeness, ends: bool) -> Split {
    let mut split = Split {
        epilogue: body.len()..body.len(),
        ..Split::default()
    };
    let mut open: Option<usize> = None;
    let mut begun = false;
    for mark in marks.iter().filter(|mark| mark.likeness <= likeness) {
        let end = before_line(body, mark.start);
        if let Some(start) = open.take() {
            split.parts.push(start..end.max(start));
        }
        if !begun {
            split.preamble = 0..end;
            begun = true;
        }
        if mark.closes && ends {
            split.epilogue = mark.next..body.len();
            return split;
        }
        open = Some(mark.next);
    }
    if let Some(start) = open {
        split.parts.push(start..body.len());
    }
    split
}

/// Where the line before ends: its line end belongs to the boundary (RFC 2046 section 5.1.1).
fn before_line(body: &[u8], start: usize) -> usize {
    let before = body.get(..start).unwrap_or_default();
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    before.strip_suffix(b"\r").unwrap_or(before).len()
}

/// What the body itself seems to use as a boundary: the first line that begins with two dashes and is followed
/// by a header of content, be it behind others.
pub(super) fn inferred(body: &[u8]) -> Option<&[u8]> {
    LinesWith::new(body, b'-').find_map(|line| {
        let boundary = trim_end(line.text.strip_prefix(b"--")?);
        let behind = body.get(line.next..).unwrap_or_default();
        (!boundary.is_empty() && begins_part(behind)).then_some(boundary)
    })
}

/// Whether a header of content is among those at the beginning.
fn begins_part(octets: &[u8]) -> bool {
    // Each costs its sender a line, and is looked at once for each boundary line before it.
    const MOST: usize = 8;
    for line in Lines::new(octets).take(MOST) {
        let begin = line.text.get(..8).unwrap_or_default();
        if begin.eq_ignore_ascii_case(b"content-") {
            return true;
        }
        let name = line.text.split(|octet| *octet == b':').next();
        let is_name = name.is_some_and(|name| {
            name.len() < line.text.len() && name.iter().all(u8::is_ascii_graphic)
        });
        let folds = line.text.first().copied().is_some_and(is_blank);
        if !is_name && !folds {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str, boundary: &str) -> Vec<Vec<String>> {
        splits(body.as_bytes(), boundary.as_bytes())
            .into_iter()
            .map(|cut| {
                cut.split
                    .parts
                    .into_iter()
                    .map(|part| body.get(part).unwrap().to_owned())
                    .collect()
            })
            .collect()
    }

    #[test]
    fn plain_parts_have_one_reading() {
        assert_eq!(
            texts("pre\r\n--x\r\na\r\n--x \r\nb\r\n--x--\r\nepilogue", "x"),
            [["a", "b"]]
        );
        assert_eq!(texts("--x\na\n--x\nb\n", "x"), [["a", "b\n"]]);
    }

    #[test]
    fn junk_behind_a_boundary_gives_another_reading() {
        assert_eq!(
            texts("--x\na\n--xy\nb\n--x--\n", "x"),
            [vec!["a\n--xy\nb"], vec!["a", "b"]]
        );
    }

    #[test]
    fn parts_behind_the_end_are_another_reading() {
        assert_eq!(
            texts("--x\na\n--x--\n--x\nb\n--x--\n", "x"),
            [vec!["a"], vec!["a", "", "b", ""]]
        );
    }

    #[test]
    fn a_boundary_is_inferred_from_what_follows_it() {
        assert_eq!(
            inferred(b"-- \nsignature\n--abc\nContent-Type: text/plain\n\nx"),
            Some(&b"abc"[..])
        );
        assert_eq!(inferred(b"-- \nsignature\n"), None);
        assert_eq!(inferred(b"--a\n\nContent-Type: text/plain\n"), None);
        assert_eq!(
            inferred(b"--a\nX: y\n z\ncontent-type: text/plain\n"),
            Some(&b"a"[..])
        );
    }
}
