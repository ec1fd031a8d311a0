//! Octets to lines.

/// One line: where it begins, where its text ends, and where the next begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'m> {
    pub(super) start: usize,
    pub(super) next: usize,
    /// Without its line end: the line feed, and all carriage returns before it.
    pub(super) text: &'m [u8],
}

/// Goes through octets line by line.
#[derive(Debug, Clone)]
pub(super) struct Lines<'m> {
    octets: &'m [u8],
    at: usize,
}

impl<'m> Lines<'m> {
    pub(super) fn new(octets: &'m [u8]) -> Self {
        Self { octets, at: 0 }
    }
}

impl<'m> Iterator for Lines<'m> {
    type Item = Line<'m>;

    fn next(&mut self) -> Option<Line<'m>> {
        let start = self.at;
        let rest = self.octets.get(start..).filter(|rest| !rest.is_empty())?;
        let (length, next) = match memchr::memchr(b'\n', rest) {
            Some(feed) => (feed, start + feed + 1),
            None => (rest.len(), start + rest.len()),
        };
        self.at = next;
        let mut text = rest.get(..length).unwrap_or_default();
        while let Some((b'\r', before)) = text.split_last() {
            text = before;
        }
        Some(Line { start, next, text })
    }
}

/// Goes through those lines that hold an octet: what is rare is found much faster than lines are.
#[derive(Debug, Clone)]
pub(super) struct LinesWith<'m> {
    octets: &'m [u8],
    wanted: u8,
    at: usize,
}

impl<'m> LinesWith<'m> {
    /// `wanted` is no part of a line end.
    pub(super) fn new(octets: &'m [u8], wanted: u8) -> Self {
        Self {
            octets,
            wanted,
            at: 0,
        }
    }
}

impl<'m> Iterator for LinesWith<'m> {
    type Item = Line<'m>;

    fn next(&mut self) -> Option<Line<'m>> {
        let rest = self.octets.get(self.at..)?;
        let (before, _) = rest.split_at_checked(memchr::memchr(self.wanted, rest)?)?;
        let skipped = memchr::memrchr(b'\n', before).map_or(0, |feed| feed + 1);
        let start = self.at + skipped;
        let line = Lines {
            octets: self.octets,
            at: start,
        }
        .next()?;
        self.at = line.next;
        Some(line)
    }
}

/// Whether an octet is a blank within a line.
pub(super) const fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Whether an octet is a blank or part of a line end.
pub(super) const fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// Without blanks and line ends before and behind.
pub(super) fn trim(octets: &[u8]) -> &[u8] {
    trim_end(trim_start(octets))
}

/// Without blanks and line ends before.
pub(super) fn trim_start(mut octets: &[u8]) -> &[u8] {
    while let Some((first, rest)) = octets.split_first()
        && is_space(*first)
    {
        octets = rest;
    }
    octets
}

/// Without blanks and line ends behind.
pub(super) fn trim_end(mut octets: &[u8]) -> &[u8] {
    while let Some((last, rest)) = octets.split_last()
        && is_space(*last)
    {
        octets = rest;
    }
    octets
}

/// Where `needle`, in lower case, first stands at or behind `from`, without regard to case.
pub(super) fn find(octets: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = from;
    loop {
        let rest = octets.get(at..)?;
        let found = memchr::memchr2(first, first.to_ascii_uppercase(), rest)?;
        let candidate = rest.get(found..found + needle.len())?;
        if candidate.eq_ignore_ascii_case(needle) {
            return Some(at + found);
        }
        at += found + 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_end_with_lf_or_crlf_or_the_end() {
        let texts: Vec<&[u8]> = Lines::new(b"a\r\nb\n\r\r\n\nc")
            .map(|line| line.text)
            .collect();
        assert_eq!(texts, [&b"a"[..], b"b", b"", b"", b"c"]);
    }

    proptest! {
        #[test]
        fn lines_with_an_octet_are_those_of_all_lines_that_hold_it(text in "[-a\r\n]{0,40}") {
            let seen = |line: Line<'_>| (line.start, line.next, line.text.to_vec());
            let all = Lines::new(text.as_bytes()).filter(|line| line.text.contains(&b'-'));
            let with = LinesWith::new(text.as_bytes(), b'-');
            prop_assert_eq!(with.map(seen).collect::<Vec<_>>(), all.map(seen).collect::<Vec<_>>());
        }
    }

    #[test]
    fn finding_ignores_case() {
        assert_eq!(find(b"x; BoundArY=1", b"boundary", 0), Some(3));
        assert_eq!(find(b"bound", b"boundary", 0), None);
    }
}
