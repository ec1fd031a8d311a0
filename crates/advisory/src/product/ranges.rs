//! Version ranges as people and CSAF documents write them.
//!
//! CSAF 2.0 section 3.1.2.3.2: a range is a `vers` specifier (`vers:generic/>=2.9|<=4.1`), or, for
//! what has no version scheme, free text in the manner of the vers-like specifier (`<1.2.3`). CVE
//! records carry the same texts in `version` (`>= 2.6.0, < 2.9.0`). Entry: [`parse`].

use std::cmp::Ordering;

use mailkeep_model::{RangeEnd, VersionRange};

use super::is_keepable;

/// What a text says of versions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Versions {
    /// Every version is meant.
    pub all: bool,
    /// Ranges.
    pub ranges: Vec<VersionRange>,
    /// Versions named one by one.
    pub versions: Vec<Box<str>>,
    /// Words before the version, which tell a variant of the product (`Warehouse <5.1.0`).
    pub variant: Option<Box<str>>,
}

/// Longest range text looked at, in bytes, and the most constraints in it: real ones stay below
/// 2,000 and 60.
const MAX_TEXT: usize = 8192;
const MAX_CONSTRAINTS: usize = 1024;

/// Reads a text; `None` where nothing certain can be made of it.
///
/// `<X` ends before X, and X is taken for the fixed version. `>X` includes X itself, for a range
/// here begins with its first version: the error is on the side of the warning. `!=X` (vers) cannot
/// be said and is left out, on the same side.
pub fn parse(text: &str) -> Option<Versions> {
    let text = text.trim();
    if text.len() > MAX_TEXT || text.is_empty() {
        return None;
    }
    if let Some(vers) = text.strip_prefix("vers:") {
        let (_, constraints) = vers.split_once('/')?;
        return constraint_list(constraints.split('|'), true);
    }
    if is_all(text) {
        return Some(Versions {
            all: true,
            ..Versions::default()
        });
    }
    let (variant, rest) = split_variant(text);
    let Some(rest) = rest else {
        return Some(Versions {
            all: true,
            variant: Some(variant.into()),
            ..Versions::default()
        });
    };
    let parts = rest.split(['|', ',']).flat_map(|part| part.split(" and "));
    let mut versions = constraint_list(parts, false)?;
    versions.variant = (!variant.is_empty()).then(|| variant.into());
    Some(versions)
}

/// Whether a text means every version.
pub(crate) fn is_all(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "*" | "all" | "all versions" | "any" | "vers:all/*"
    )
}

/// Whether a text stands where no version is known.
pub(crate) fn is_unspecified(text: &str) -> bool {
    matches!(
        text.trim().to_ascii_lowercase().as_str(),
        "" | "-" | "?" | "n/a" | "na" | "none" | "unknown" | "unspecified" | "0"
    )
}

/// The words before the first version or operator, and the rest from there on; no rest where there
/// is no version at all.
fn split_variant(text: &str) -> (&str, Option<&str>) {
    let mut from = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim().trim_start_matches(['v', 'V']);
        let lower = word.trim().to_ascii_lowercase();
        if bare.starts_with(|c: char| c.is_ascii_digit() || "<>=≤≥*".contains(c))
            || matches!(
                lower.as_str(),
                "before" | "prior" | "through" | "until" | "up"
            )
        {
            let (variant, rest) = text.split_at(from);
            return (variant.trim(), Some(rest));
        }
        from += word.len();
    }
    (text, None)
}

fn constraint_list<'a>(parts: impl Iterator<Item = &'a str>, strict: bool) -> Option<Versions> {
    let mut found = Versions::default();
    let mut open: Option<Box<str>> = None;
    for (count, part) in parts.enumerate() {
        if count >= MAX_CONSTRAINTS {
            return None;
        }
        for (operator, version) in constraints(part.trim(), strict)? {
            match operator {
                Operator::All => found.all = true,
                Operator::Is => found.versions.push(version),
                Operator::Not => {}
                Operator::From => {
                    if let Some(introduced) = open.replace(version) {
                        found.ranges.push(range(Some(introduced), RangeEnd::Open));
                    }
                }
                Operator::Before => {
                    found
                        .ranges
                        .push(range(open.take(), RangeEnd::Fixed(version)));
                }
                Operator::Through => {
                    found
                        .ranges
                        .push(range(open.take(), RangeEnd::LastAffected(version)));
                }
            }
        }
    }
    if let Some(introduced) = open {
        found.ranges.push(range(Some(introduced), RangeEnd::Open));
    }
    (found.all || !found.ranges.is_empty() || !found.versions.is_empty()).then_some(found)
}

fn range(introduced: Option<Box<str>>, end: RangeEnd) -> VersionRange {
    VersionRange {
        introduced: introduced.filter(|version| !is_beginning(version)),
        end,
    }
}

/// `0` and `0.0` stand for the beginning.
pub(crate) fn is_beginning(version: &str) -> bool {
    is_unspecified(version) || version.bytes().all(|b| matches!(b, b'0' | b'.' | b'*'))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    All,
    Before,
    From,
    Is,
    Not,
    Through,
}

/// The constraints of one part: mostly one, two in `7.0.0 through 7.0.3` and `>=1.0 <2.0`.
fn constraints(part: &str, strict: bool) -> Option<Vec<(Operator, Box<str>)>> {
    if part == "*" {
        return Some(vec![(Operator::All, "*".into())]);
    }
    let operators = [
        (">=", Operator::From),
        ("<=", Operator::Through),
        ("!=", Operator::Not),
        ("==", Operator::Is),
        ("≥", Operator::From),
        ("≤", Operator::Through),
        (">", Operator::From),
        ("<", Operator::Before),
        ("=", Operator::Is),
        ("before ", Operator::Before),
        ("prior to ", Operator::Before),
        ("up to and including ", Operator::Through),
        ("up to ", Operator::Through),
        ("through ", Operator::Through),
        ("until ", Operator::Before),
    ];
    for (text, operator) in operators {
        let Some(rest) = part.strip_prefix(text) else {
            continue;
        };
        let rest = rest.trim();
        // A second operator in the same part: `>=1.0 <2.0`.
        if let Some(at) = rest
            .find([' ', '<', '>'])
            .filter(|_| operator == Operator::From)
        {
            let (first, second) = rest.split_at(at);
            let second = second.trim();
            if second.starts_with(['<', '≤']) {
                let mut both = vec![(operator, version(first, strict)?)];
                both.extend(constraints(second, strict)?);
                return Some(both);
            }
        }
        return Some(vec![(operator, version(rest, strict)?)]);
    }
    for (joint, end) in [
        (" through ", Operator::Through),
        (" up to and including ", Operator::Through),
        (" to ", Operator::Through),
        (" before ", Operator::Before),
    ] {
        if let Some((from, to)) = part.split_once(joint) {
            return Some(vec![
                (Operator::From, version(from.trim(), strict)?),
                (end, version(to.trim(), strict)?),
            ]);
        }
    }
    for tail in [
        " and earlier",
        " and below",
        " and prior",
        " or earlier",
        " or below",
        " and older",
    ] {
        if let Some(last) = part.strip_suffix(tail) {
            return Some(vec![(Operator::Through, version(last.trim(), strict)?)]);
        }
    }
    Some(vec![(Operator::Is, version(part, strict)?)])
}

/// A version, taken as it stands. In free text it must begin with a digit and have at most two words
/// (`12.0.4 IF2`), else it is a sentence.
fn version(text: &str, strict: bool) -> Option<Box<str>> {
    let text = text.trim().trim_end_matches('.');
    let bare = text
        .strip_prefix(['v', 'V'])
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let text = bare.unwrap_or(text);
    if !is_keepable(text) || text.contains(['<', '>', '|']) {
        return None;
    }
    let plain = strict
        || (text.starts_with(|c: char| c.is_ascii_digit())
            && text.split_whitespace().count() <= 2
            && !text.to_ascii_lowercase().contains("version"));
    plain.then(|| text.into())
}

/// `1.2.x` and `1.2.*` without the wildcard.
fn stem(version: &str) -> Option<&str> {
    let stem = [".x", ".X", ".*"]
        .into_iter()
        .find_map(|tail| version.strip_suffix(tail))?;
    stem.ends_with(|c: char| c.is_ascii_digit()).then_some(stem)
}

/// The first version that is no `1.2.*` any more: `1.3`.
pub(crate) fn after_wildcard(version: &str) -> Option<String> {
    let stem = stem(version)?;
    let (front, number) = match stem.rsplit_once('.') {
        Some((front, number)) => (Some(front), number),
        None => (None, stem),
    };
    let next = number.parse::<u64>().ok()?.checked_add(1)?;
    Some(match front {
        Some(front) => format!("{front}.{next}"),
        None => next.to_string(),
    })
}

/// `1.2.x` as a range: from `1.2` to before `1.3`, which is not said to be a fix.
pub(crate) fn wildcard_range(version: &str) -> Option<VersionRange> {
    Some(VersionRange {
        introduced: Some(stem(version)?.into()),
        end: RangeEnd::Limit(after_wildcard(version)?.into()),
    })
}

/// The same range with its wildcards spelt out.
pub(crate) fn without_wildcards(range: VersionRange) -> VersionRange {
    VersionRange {
        introduced: range.introduced.map(|version| match stem(&version) {
            Some(stem) => stem.into(),
            None => version,
        }),
        end: match range.end {
            RangeEnd::LastAffected(last) => match after_wildcard(&last) {
                Some(next) => RangeEnd::Limit(next.into()),
                None => RangeEnd::LastAffected(last),
            },
            RangeEnd::Fixed(fixed) => match stem(&fixed) {
                Some(stem) => RangeEnd::Fixed(stem.into()),
                None => RangeEnd::Fixed(fixed),
            },
            end => end,
        },
    }
}

/// Orders two versions piece by piece: digits as numbers, the rest as text; what ends first is less.
/// Good enough to tell which fix belongs to which range; never used to judge a host.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let mut a = pieces(a).into_iter();
    let mut b = pieces(b).into_iter();
    loop {
        let ordering = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => {
                let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
                if digit(a) && digit(b) {
                    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
                    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
                } else {
                    a.cmp(b)
                }
            }
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest
            .find(|c: char| c.is_ascii_digit() != digits)
            .unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(end);
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The ranges as `introduced..end`, then the single versions, then the variant.
    fn print(text: &str) -> Option<String> {
        let versions = parse(text)?;
        let mut words = Vec::new();
        if versions.all {
            words.push("all".to_owned());
        }
        for range in &versions.ranges {
            let from = range.introduced.as_deref().unwrap_or_default();
            words.push(match &range.end {
                RangeEnd::Fixed(to) => format!("{from}..{to}"),
                RangeEnd::LastAffected(to) => format!("{from}..={to}"),
                RangeEnd::Limit(to) => format!("{from}..limit {to}"),
                RangeEnd::Open => format!("{from}.."),
            });
        }
        words.extend(versions.versions.iter().map(ToString::to_string));
        if let Some(variant) = &versions.variant {
            words.push(format!("({variant})"));
        }
        Some(words.join(" "))
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(print(text).as_deref(), Some(expected), "{text}");
    }

    #[test]
    fn ranges_of_documents_are_read() {
        check("vers:generic/>=2.9|<=4.1", "2.9..=4.1");
        check("vers:deb/>=1|<2|>=3|<4", "1..2 3..4");
        check("vers:generic/1.2|1.3|!=1.4", "1.2 1.3");
        check("vers:all/*", "all");
        check("<1.2.3", "..1.2.3");
        check("<= 1.14.0", "..=1.14.0");
        check(">= 2.6.0, < 2.9.0", "2.6.0..2.9.0");
        check(">=1.0|<2.3", "1.0..2.3");
        check(">=1.0 <2.3", "1.0..2.3");
        check(">= 4.0", "4.0..");
        check("<12.0.4 IF2", "..12.0.4 IF2");
        check("4.2", "4.2");
        check("v4.2", "4.2");
        check("*", "all");
    }

    #[test]
    fn words_before_the_version_are_the_variant() {
        check("Warehouse <5.1.0", "..5.1.0 (Warehouse)");
        check("FortiMail before 7.2.0", "..7.2.0 (FortiMail)");
        check("exim 4.95", "4.95 (exim)");
        check("FortiMail 7.0.1, 7.0.0", "7.0.1 7.0.0 (FortiMail)");
        check("FortiMail 7.0.0 through 7.0.3", "7.0.0..=7.0.3 (FortiMail)");
        check("on Cloud Pak for Data", "all (on Cloud Pak for Data)");
    }

    #[test]
    fn what_is_no_range_is_not_guessed_at() {
        for text in [
            "",
            "6.2.168 and below and version 6.4.274 and below.",
            "1.0 is affected if built with Lua",
            "vers:generic",
            "<",
        ] {
            assert_eq!(print(text), None, "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_piece_by_piece() {
        for (less, greater) in [
            ("2.3.21", "2.3.21.1"),
            ("2.3.21.1", "3.0.0"),
            ("7.10.6-rev9", "7.10.6-rev10"),
            ("15.02.1258.034", "15.2.1544.4"),
            ("", "0"),
        ] {
            assert_eq!(natural(less, greater), Ordering::Less, "{less} {greater}");
            assert_eq!(natural(greater, less), Ordering::Greater);
        }
        assert_eq!(natural("1.02", "1.2"), Ordering::Equal);
    }

    #[test]
    fn wildcards_are_ranges() {
        let range = |from: &str, end| VersionRange {
            introduced: Some(from.into()),
            end,
        };
        assert_eq!(
            wildcard_range("0.104.x"),
            Some(range("0.104", RangeEnd::Limit("0.105".into())))
        );
        assert_eq!(wildcard_range("0.104.1"), None);
        assert_eq!(wildcard_range("patch.x"), None);
        let wild = range("1.6.x", RangeEnd::LastAffected("10.1.2063.x".into()));
        assert_eq!(
            without_wildcards(wild),
            range("1.6", RangeEnd::Limit("10.1.2064".into()))
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "(vers:)?[ -~≤é]{0,60}", other in ".{0,30}") {
            let _ = parse(&text);
            let _ = (parse(&other), natural(&text, &other));
        }

        #[test]
        fn a_printed_range_is_read_back(from in 1u16.., to in 1u16..) {
            let expected = VersionRange {
                introduced: Some(format!("{from}.1").into()),
                end: RangeEnd::Fixed(format!("{to}.2").into()),
            };
            for text in [format!("vers:x/>={from}.1|<{to}.2"), format!(">= {from}.1, < {to}.2")] {
                prop_assert_eq!(parse(&text).unwrap().ranges, vec![expected.clone()]);
            }
        }
    }
}
