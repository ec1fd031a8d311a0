//! The names of a part, by every reading.

use super::charsets::{decode, guess};
use super::head::Field;
use super::head::unfold;
use super::params::{Parsed, parse, percent, texts};
use super::words::decode_words;

/// What readers may call a part.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Every name, the most usual first.
    pub(super) all: Vec<String>,
    /// One header, read in two usual ways, gives names of two kinds.
    pub(super) ambiguous: Option<(String, String)>,
    /// The two headers give names of two kinds.
    pub(super) differ: Option<(String, String)>,
    /// The most pieces one parameter came in.
    pub(super) segments: usize,
    /// The most parameters of one header.
    pub(super) parameters: usize,
    /// There are more names than are kept.
    pub(super) cut_off: bool,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    name: String,
    rare: bool,
}

/// A header's value by all its readings: as it is folded, and with folds drawn together where that differs.
pub(super) fn readings_of(field: &Field<'_>) -> Vec<Parsed> {
    let usual = unfold(field.value, false);
    let mut found = vec![parse(&usual)];
    // Some readers drop the blanks that a fold begins with: a matter only where it falls into a word.
    if matches!(usual, std::borrow::Cow::Owned(_)) {
        let joined = parse(&unfold(field.value, true));
        if found
            .first()
            .is_some_and(|usual| usual.readings != joined.readings)
        {
            found.push(joined);
        }
    }
    found
}

/// The names of a part, from its `Content-Disposition` and `Content-Type` headers.
pub(super) fn names(dispositions: &[Vec<Parsed>], types: &[Vec<Parsed>]) -> Names {
    let mut names = Names::default();
    let first = candidates(dispositions, b"filename", &mut names);
    let second = candidates(types, b"name", &mut names);
    names.ambiguous = two_kinds(&first).or_else(|| two_kinds(&second));
    if names.ambiguous.is_none()
        && let (Some(one), Some(two)) = (kind_of(&first), kind_of(&second))
        && differ(one, two)
    {
        names.differ = Some((one.to_owned(), two.to_owned()));
    }
    for candidate in first.into_iter().chain(second) {
        if !names.all.contains(&candidate.name) {
            names.all.push(candidate.name);
        }
    }
    // Not asked for by any standard, and taken by some readers.
    let mut crossed = Names::default();
    for candidate in candidates(dispositions, b"name", &mut crossed)
        .into_iter()
        .chain(candidates(types, b"filename", &mut crossed))
    {
        if !names.all.contains(&candidate.name) {
            names.all.push(candidate.name);
        }
    }
    names.cut_off |= crossed.cut_off || names.all.len() > MAX_NAMES;
    names.all.truncate(MAX_NAMES);
    names
}

/// More names of one part are not kept.
const MAX_NAMES: usize = 32;

fn candidates(headers: &[Vec<Parsed>], name: &[u8], names: &mut Names) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut cut_off = false;
    let mut add = |name: String, rare: bool| {
        if name.is_empty() {
            return;
        }
        if let Some(other) = found.iter_mut().find(|other| other.name == name) {
            other.rare &= rare;
        } else if found.len() < MAX_NAMES {
            found.push(Candidate { name, rare });
        } else {
            cut_off = true;
        }
    };
    for parsed in headers.iter().flatten() {
        for value in &parsed.readings {
            names.parameters = names.parameters.max(value.parameters.len());
            let texts = texts(value, name);
            names.segments = names.segments.max(texts.segments);
            for text in texts.texts {
                let decoded = match &text.charset {
                    Some(charset) => Some(decode(&text.octets, charset)),
                    None => decode_words(&text.octets),
                };
                if let Some(decoded) = decoded {
                    // Where words stand in what is decoded, some decode them as well.
                    if let Some(inner) = decode_words(decoded.usual.as_bytes()) {
                        add(inner.usual, true);
                    }
                    add(decoded.usual, text.rare);
                    if let Some(rare) = decoded.rare {
                        add(rare, true);
                    }
                    if text.charset.is_none() {
                        add(guess(&text.octets), true);
                    }
                } else {
                    add(guess(&text.octets), text.rare);
                }
                let bare = text
                    .octets
                    .trim_ascii()
                    .strip_prefix(b"'")
                    .unwrap_or(&text.octets);
                let bare = bare.strip_suffix(b"'").unwrap_or(bare);
                let bare = bare.strip_suffix(b"\\").unwrap_or(bare);
                if bare != text.octets {
                    add(guess(bare), true);
                }
                if text.octets.contains(&b'%') {
                    let octets = percent(&text.octets);
                    if octets != text.octets {
                        add(guess(&octets), true);
                    }
                }
                // A backslash may be dropped without quotes, too.
                if text.octets.contains(&b'\\') {
                    let octets: Vec<u8> = text
                        .octets
                        .iter()
                        .copied()
                        .filter(|octet| *octet != b'\\')
                        .collect();
                    add(guess(&octets), true);
                }
                if let Some(end) = memchr::memchr(0, &text.octets) {
                    let before = text.octets.get(..end).unwrap_or_default();
                    add(guess(before), false);
                }
            }
        }
    }
    names.cut_off |= cut_off;
    found
}

/// Two usual names with different extensions.
fn two_kinds(candidates: &[Candidate]) -> Option<(String, String)> {
    let mut usual = candidates
        .iter()
        .filter(|candidate| !candidate.rare && !extension(&candidate.name).is_empty());
    let first = usual.next()?;
    let second = usual.find(|other| extension(&other.name) != extension(&first.name))?;
    Some((first.name.clone(), second.name.clone()))
}

fn kind_of(candidates: &[Candidate]) -> Option<&str> {
    candidates
        .iter()
        .find(|candidate| !candidate.rare && !extension(&candidate.name).is_empty())
        .map(|candidate| candidate.name.as_str())
}

/// Whether two headers name files of two kinds. One may be cut short, and some kinds have two endings; what does not look
/// like an ending is none.
fn differ(one: &str, two: &str) -> bool {
    let ending = |name: &str| -> Option<String> {
        let (_, after) = name.trim_end().rsplit_once('.')?;
        let is_one = (1..=5).contains(&after.len())
            && after.bytes().all(|octet| octet.is_ascii_alphanumeric());
        is_one.then(|| match after.to_ascii_lowercase().as_str() {
            "jpeg" | "jpe" => "jpg".to_owned(),
            "mpeg" => "mpg".to_owned(),
            "text" => "txt".to_owned(),
            "tgz" => "gz".to_owned(),
            "txz" => "xz".to_owned(),
            other => other.to_owned(),
        })
    };
    // A date at its end is no ending.
    if one.starts_with(two) || two.starts_with(one) {
        return false;
    }
    match (ending(one), ending(two)) {
        (Some(one), Some(two)) => !one.starts_with(&two) && !two.starts_with(&one),
        _ => false,
    }
}

/// What follows the last dot, in lower case, letters and digits only.
fn extension(name: &str) -> String {
    name.rsplit_once('.')
        .map_or_else(String::new, |(_, after)| {
            after
                .chars()
                .filter(|letter| letter.is_alphanumeric())
                .flat_map(char::to_lowercase)
                .take(16)
                .collect()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(disposition: &str, content_type: &str) -> Names {
        let field = |value: &'static [u8]| Field {
            value,
            certain: true,
        };
        let leak = |text: &str| -> &'static [u8] {
            Box::leak(text.to_owned().into_boxed_str()).as_bytes()
        };
        names(
            &[readings_of(&field(leak(disposition)))],
            &[readings_of(&field(leak(content_type)))],
        )
    }

    #[test]
    fn one_name_however_it_is_written() {
        let check = |disposition: &str, expected: &str| {
            let names = of(disposition, "application/pdf");
            assert_eq!(
                names.all.first().map(String::as_str),
                Some(expected),
                "{disposition}"
            );
            assert_eq!(names.ambiguous, None, "{disposition}");
        };
        check("attachment; filename=a.pdf", "a.pdf");
        check("attachment; filename=\"a b.pdf\"", "a b.pdf");
        check("attachment; filename=\"=?utf-8?B?w7wucGRm?=\"", "ü.pdf");
        check("attachment; filename*=utf-8''%c3%bc.pdf", "ü.pdf");
        check("attachment; filename*0=\"a \"; filename*1=b.pdf", "a b.pdf");
        check(
            "attachment; filename*0*=utf-8''%c3%bc; filename*1=.pdf",
            "ü.pdf",
        );
        check(
            "attachment;\r\n filename=\"a long\r\n name.pdf\"",
            "a long name.pdf",
        );
        check("attachment; filename=my file (1).pdf", "my file .pdf");
    }

    #[test]
    fn words_within_what_is_decoded_are_decoded() {
        for disposition in [
            "attachment; filename=\"=?utf-8?Q?=3D=3Futf-8=3FQ=3Finvoice=3D2Ejs=3F=3D?=\"",
            "attachment; filename*=utf-8''%3D%3Futf-8%3FQ%3Finvoice%3D2Ejs%3F%3D",
        ] {
            let names = of(disposition, "application/pdf");
            assert!(
                names.all.contains(&"invoice.js".to_owned()),
                "{disposition}: {names:?}"
            );
            assert_eq!(names.ambiguous, None, "{disposition}");
        }
    }

    #[test]
    fn names_that_depend_on_the_reader() {
        let check = |disposition: &str| {
            let names = of(disposition, "application/pdf");
            assert!(names.ambiguous.is_some(), "{disposition}: {names:?}");
            assert!(
                names.all.iter().any(|name| name.ends_with("exe")),
                "{disposition}: {names:?}"
            );
        };
        check("attachment; filename=a.txt; filename=a.exe");
        check("attachment; filename=a.txt; filename*=utf-8''a.exe");
        check("attachment; filename=a.txt; filename*0=a.e; filename*1=xe");
        check("attachment; filename*0=a; filename*1=.exe; filename*1=.txt");
    }

    #[test]
    fn names_that_few_readers_find() {
        for disposition in [
            "attachment; x=\"; filename=invoice.js; y=\"; filename=report.txt",
            "attachment; x=\"; filename=invoice.js; y=\"",
            "attachment; filename=invoice.j\\s",
            "attachment; filename=\"\" \"invoice.js\"",
        ] {
            let names = of(disposition, "application/octet-stream");
            assert!(
                names.all.iter().any(|name| name.ends_with("invoice.js")),
                "{disposition}: {names:?}"
            );
        }
    }

    #[test]
    fn a_plain_name_and_a_coded_one_of_the_same_kind_agree() {
        let names = of(
            "attachment; filename=\"EURO rates.pdf\"; filename*=utf-8''%e2%82%ac%20rates.pdf",
            "application/pdf; name=\"EURO rates.pdf\"",
        );
        assert_eq!(names.ambiguous, None);
        assert_eq!(names.differ, None);
    }

    #[test]
    fn two_headers_may_differ() {
        let names = of("attachment; filename=a.txt", "text/plain; name=a.exe");
        assert_eq!(names.ambiguous, None);
        assert!(names.differ.is_some());
    }
}
