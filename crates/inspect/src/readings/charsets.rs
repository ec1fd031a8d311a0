//! Octets of headers to text, by the charsets that headers name.
//!
//! Entry: [`decode`]. Readers of mail know more charsets than browsers do, by more names, and each by its own list. What
//! a label may mean to some is read so, beside the usual reading.

use encoding_rs::{Encoding, ISO_2022_JP, REPLACEMENT, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::encodings::{Base64, base64_as};
use super::params::hex;

/// Text, as most readers and as few of them see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) usual: String,
    /// If it differs.
    pub(super) rare: Option<String>,
}

/// No label is longer; what follows is not looked at.
const MAX_LABEL: usize = 40;

/// Text in a charset that a header names; an unknown one is taken for UTF-8 or Windows-1252.
pub(super) fn decode(octets: &[u8], charset: &[u8]) -> Text {
    // A language may follow (RFC 2231 section 5).
    let label = charset
        .split(|octet| *octet == b'*')
        .next()
        .unwrap_or(charset);
    let known = Encoding::for_label(label);
    let (usual, rare) = match known {
        Some(encoding) if !is_odd(encoding) => {
            let rare = Encoding::for_bom(octets)
                .filter(|(marked, _)| *marked != encoding)
                .map(|_| encoding.decode(octets).0.into_owned());
            let usual = encoding.decode_with_bom_removal(octets).0.into_owned();
            (usual, rare)
        }
        _ => odd(octets, known, &plain(label)),
    };
    Text {
        rare: rare.filter(|rare| *rare != usual),
        usual,
    }
}

/// Text whose charset nobody names.
pub(super) fn guess(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => WINDOWS_1252
            .decode_without_bom_handling(octets)
            .0
            .into_owned(),
    }
}

/// Those that readers do not agree on: browsers refuse some, and take no zero for what it is in others.
fn is_odd(encoding: &Encoding) -> bool {
    [REPLACEMENT, UTF_16BE, UTF_16LE, ISO_2022_JP].contains(&encoding)
}

/// A label as the most tolerant readers compare it: small letters and digits, up to `//` of a converter's option.
fn plain(label: &[u8]) -> String {
    let end = memchr::memmem::find(label, b"//").unwrap_or(label.len());
    label
        .get(..end)
        .unwrap_or_default()
        .iter()
        .filter(|octet| octet.is_ascii_alphanumeric())
        .take(MAX_LABEL)
        .map(|octet| char::from(octet.to_ascii_lowercase()))
        .collect()
}

fn odd(octets: &[u8], known: Option<&'static Encoding>, label: &str) -> (String, Option<String>) {
    if label.contains("utf7") || label == "u7" {
        let shift = if label.contains("imap") { b'&' } else { b'+' };
        return (utf7(octets, shift), Some(guess(octets)));
    }
    if label.contains("escape") {
        return (escaped(octets), Some(guess(octets)));
    }
    if label == "punycode" {
        let end = memchr::memrchr(b'-', octets).unwrap_or(0);
        let basic = octets.get(..end).unwrap_or_default();
        return (guess(basic), Some(guess(octets)));
    }
    if let Some(width) = width(label) {
        let (first, second) = order(octets, label, width);
        return (
            wide(octets, width, first),
            Some(wide(octets, width, second)),
        );
    }
    match known {
        Some(encoding) if encoding == ISO_2022_JP => (
            encoding.decode_with_bom_removal(octets).0.into_owned(),
            Some(guess(&unshifted(octets))),
        ),
        // Browsers refuse it whole; most others take what is ASCII in it for that.
        Some(_) => (guess(&unshifted(octets)), Some(guess(octets))),
        None if is_ebcdic(label) => (guess(octets), Some(ebcdic(octets))),
        None => (guess(octets), Some(guess(&unshifted(octets)))),
    }
}

/// How many octets one letter takes, if more than one.
fn width(label: &str) -> Option<usize> {
    let has = |words: &[&str]| words.iter().any(|word| label.contains(word));
    if has(&["utf8", "ascii", "latin"]) {
        None
    } else if has(&["utf32", "ucs4", "wchar", "internal"]) || label == "u32" {
        Some(4)
    } else if has(&["utf16", "ucs2", "unicode", "cp1200", "cp1201"]) || label == "u16" {
        Some(2)
    } else {
        None
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Big,
    Little,
}

/// In which order octets of a letter stand: as the label says, or their mark, or as zeros let one think; and the other.
fn order(octets: &[u8], label: &str, width: usize) -> (Order, Order) {
    let says = |end: &str, words: [&str; 2]| {
        label.ends_with(end) || words.iter().any(|word| label.contains(word))
    };
    let is_big = if says("be", ["big", "1201"]) || label.ends_with("fffe") {
        true
    } else if says("le", ["little", "feff"]) || octets.starts_with(&[0xff, 0xfe]) {
        false
    } else {
        let zeros = |at: usize| {
            let letters = octets.chunks_exact(width);
            letters.filter(|letter| letter.get(at) == Some(&0)).count()
        };
        zeros(0) >= zeros(width - 1)
    };
    if is_big {
        (Order::Big, Order::Little)
    } else {
        (Order::Little, Order::Big)
    }
}

fn wide(octets: &[u8], width: usize, order: Order) -> String {
    let units = octets.chunks_exact(width).map(|letter| {
        let add = |unit: u32, octet: &u8| unit << 8 | u32::from(*octet);
        match order {
            Order::Big => letter.iter().fold(0, add),
            Order::Little => letter.iter().rev().fold(0, add),
        }
    });
    let text: String = if width == 2 {
        let units: Vec<u16> = units.filter_map(|unit| u16::try_from(unit).ok()).collect();
        String::from_utf16_lossy(&units)
    } else {
        units
            .map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    };
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// Whether some reader may take a label for a code page of mainframes.
fn is_ebcdic(label: &str) -> bool {
    let number = label.strip_prefix("cs").unwrap_or(label);
    ["ebcdic", "ibm", "osf"]
        .iter()
        .any(|word| label.contains(word))
        || number.starts_with("cp")
        || !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit())
}

/// EBCDIC, as far as all its code pages are alike: letters, digits and the signs that names have.
fn ebcdic(octets: &[u8]) -> String {
    octets
        .iter()
        .map(|octet| match octet {
            0 => '\0',
            // What controls, and shows as nothing.
            0x01..=0x3f => '\u{200b}',
            0x40 | 0x41 => ' ',
            0x4b => '.',
            0x4d => '(',
            0x4e => '+',
            0x50 => '&',
            0x5c => '*',
            0x5d => ')',
            0x5e => ';',
            0x60 => '-',
            0x61 => '/',
            0x6b => ',',
            0x6c => '%',
            0x6d => '_',
            0x6f => '?',
            0x7a => ':',
            0x7d => '\'',
            0x7e => '=',
            0x7f => '"',
            0x81..=0x89 => char::from(octet - 0x81 + b'a'),
            0x91..=0x99 => char::from(octet - 0x91 + b'j'),
            0xa2..=0xa9 => char::from(octet - 0xa2 + b's'),
            0xc1..=0xc9 => char::from(octet - 0xc1 + b'A'),
            0xd1..=0xd9 => char::from(octet - 0xd1 + b'J'),
            0xe2..=0xe9 => char::from(octet - 0xe2 + b'S'),
            0xf0..=0xf9 => char::from(octet - 0xf0 + b'0'),
            _ => char::REPLACEMENT_CHARACTER,
        })
        .collect()
}

/// Without what switches between charsets (ECMA-35, and HZ by RFC 1843), and without zeros.
fn unshifted(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((octet, behind)) = rest.split_first() {
        rest = behind;
        match (octet, behind.first()) {
            (0x1b, _) => {
                let between = behind
                    .iter()
                    .take_while(|octet| (b' '..=b'/').contains(*octet))
                    .count();
                rest = behind.get(between + 1..).unwrap_or_default();
            }
            (0 | 0x0e | 0x0f, _) => {}
            (b'~', Some(b'{' | b'}' | b'\n')) => rest = behind.get(1..).unwrap_or_default(),
            (b'~', Some(b'~')) => {
                out.push(b'~');
                rest = behind.get(1..).unwrap_or_default();
            }
            _ => out.push(*octet),
        }
    }
    out
}

/// What Python calls `unicode_escape`: signs by their number, behind a backslash.
fn escaped(octets: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = octets;
    while let Some((octet, behind)) = rest.split_first() {
        rest = behind;
        let (b'\\', Some((kind, digits))) = (octet, behind.split_first()) else {
            out.push(char::from(*octet));
            continue;
        };
        let (digits, most, base) = match kind {
            b'x' => (digits, 2, 16),
            b'u' => (digits, 4, 16),
            b'U' => (digits, 8, 16),
            b'0'..=b'7' => (behind, 3, 8),
            b'\n' => {
                rest = digits;
                continue;
            }
            _ => {
                out.push('\\');
                continue;
            }
        };
        let mut number = 0_u32;
        let mut count = 0;
        for digit in digits.iter().take(most) {
            let Some(digit) = hex(*digit).map(u32::from).filter(|digit| *digit < base) else {
                break;
            };
            number = number.wrapping_mul(base).wrapping_add(digit);
            count += 1;
        }
        if count == 0 {
            out.push('\\');
            continue;
        }
        out.push(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = digits.get(count..).unwrap_or_default();
    }
    out
}

/// UTF-7 (RFC 2152), or as IMAP has it (RFC 3501 section 5.1.3).
pub(crate) fn utf7(octets: &[u8], shift: u8) -> String {
    let mut out = String::new();
    let mut rest = octets;
    while let Some((octet, behind)) = rest.split_first() {
        rest = behind;
        if *octet != shift {
            out.push(char::from(*octet));
            continue;
        }
        let length = behind
            .iter()
            .position(|octet| {
                !(octet.is_ascii_alphanumeric()
                    || b"+/".contains(octet)
                    || (*octet == b',' && shift == b'&'))
            })
            .unwrap_or(behind.len());
        let (coded, after) = behind.split_at(length);
        if coded.is_empty() {
            out.push(char::from(shift));
        } else {
            let slashed: Vec<u8> = coded
                .iter()
                .map(|octet| if *octet == b',' { b'/' } else { *octet })
                .collect();
            let wide: Vec<u16> = base64_as(&slashed, Base64::Skips)
                .chunks_exact(2)
                .map(|pair| {
                    pair.iter()
                        .fold(0, |unit, octet| unit << 8 | u16::from(*octet))
                })
                .collect();
            out.push_str(&String::from_utf16_lossy(&wide));
        }
        rest = after.strip_prefix(b"-").unwrap_or(after);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name` is one of the readings.
    fn check(octets: &[u8], charset: &str, name: &str) {
        let text = decode(octets, charset.as_bytes());
        assert!(
            text.usual == name || text.rare.as_deref() == Some(name),
            "{charset}: {text:?}"
        );
    }

    #[test]
    fn letters_of_several_octets_are_read_in_either_order() {
        for label in [
            "utf-16",
            "UTF16BE",
            "utf_16_be",
            "UCS-2BE",
            "ISO-10646-UCS-2",
            "csUnicode",
            "UnicodeBigUnmarked",
            "utf-16le",
        ] {
            check(b"\0a\0.\0j\0s", label, "a.js");
            check(b"a\0.\0j\0s\0", label, "a.js");
        }
        for label in ["utf-32", "UTF32BE", "UCS-4LE", "csUCS4", "WCHAR_T"] {
            check(b"\0\0\0.\0\0\0j\0\0\0s", label, ".js");
            check(b".\0\0\0j\0\0\0s\0\0\0", label, ".js");
        }
        let text = decode(b"\xff\xfea\0.\0b\0", b"utf-16");
        assert_eq!(text.usual, "a.b");
    }

    #[test]
    fn a_charset_of_mainframes_is_read() {
        for label in [
            "IBM037",
            "cp500",
            "037",
            "csIBM037",
            "ebcdic-cp-us",
            "CP037//",
        ] {
            check(
                b"\x89\x95\xa5\x96\x89\x83\x85\x4b\x91\xa2",
                label,
                "invoice.js",
            );
            check(b"\xc1\xf1\x4b\xc5\xe7\xc5", label, "A1.EXE");
        }
        check(b"a.js", "cp850", "a.js");
    }

    #[test]
    fn a_charset_that_browsers_refuse_is_read_as_ascii() {
        for label in [
            "iso-2022-kr",
            "hz-gb-2312",
            "ISO-2022-CN-EXT",
            "replacement",
        ] {
            check(b"a.js", label, "a.js");
        }
        check(b"\x1b$)Ca.\x0ej\x0fs", "iso-2022-kr", "a.js");
        check(b"a.j~\ns", "hz-gb-2312", "a.js");
        check(b"a.\x1b(Bj\x0fs", "iso-2022-jp", "a.js");
    }

    #[test]
    fn a_charset_nobody_knows_is_read_as_ascii() {
        for label in ["", "x-unknown", "unknown-8bit", "nobody-knows"] {
            check(b"a.js", label, "a.js");
            check("ü.js".as_bytes(), label, "ü.js");
            check(b"\xfc.js", label, "ü.js");
        }
    }

    #[test]
    fn utf7_has_many_names() {
        for label in ["utf-7", "UTF7", "unicode_1_1_utf_7", "U7", "csUTF7"] {
            check(b"a+AC4-js", label, "a.js");
            check(b"a.+AGoAcw-", label, "a.js");
        }
        check(b"a&AC4-js", "utf-7-imap", "a.js");
    }

    #[test]
    fn escapes_are_read() {
        check(b"a\\x2ejs", "unicode_escape", "a.js");
        check(b"a\\u002ejs", "raw-unicode-escape", "a.js");
        check(b"a\\56js\\", "unicode_escape", "a.js\\");
        check(b"a.js-", "punycode", "a.js");
    }

    #[test]
    fn a_mark_of_another_charset_hides_nothing() {
        check(b"\xff\xfea.js", "iso-8859-1", "ÿþa.js");
        check(b"\xff\xfea\0.\0j\0s\0", "utf-8", "a.js");
    }

    #[test]
    fn what_all_read_alike_has_one_reading() {
        for (octets, label) in [
            (&b"\xc3\xbc.pdf"[..], "utf-8"),
            (b"\xfc.pdf", "iso-8859-15"),
            (b"\xb0\xa1.hwp", "euc-kr"),
            (b"a.pdf", "x-unknown"),
            (b"a.pdf", "iso-2022-kr"),
        ] {
            assert_eq!(decode(octets, label.as_bytes()).rare, None, "{label}");
        }
    }
}
