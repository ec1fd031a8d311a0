//! Octets of headers to text: charsets, and the encoded words of RFC 2047.

use encoding_rs::{Encoding, WINDOWS_1252};

use super::encodings::{Base64, base64_as};
use super::lines::{find, is_space};
use super::params::hex;

/// Text in a charset that a header names; an unknown one is taken for UTF-8 or Windows-1252.
pub(super) fn decode(octets: &[u8], charset: Option<&[u8]>) -> String {
    if let Some(charset) = charset {
        let charset = charset
            .split(|octet| *octet == b'*')
            .next()
            .unwrap_or(charset);
        if charset.eq_ignore_ascii_case(b"utf-7")
            || charset.eq_ignore_ascii_case(b"unicode-1-1-utf-7")
        {
            return utf7(octets);
        }
        if charset.eq_ignore_ascii_case(b"utf-32") || charset.eq_ignore_ascii_case(b"ucs-4") {
            return octets
                .chunks(4)
                .filter_map(|four| {
                    let four: [u8; 4] = four.try_into().ok()?;
                    char::from_u32(u32::from_be_bytes(four))
                        .or_else(|| char::from_u32(u32::from_le_bytes(four)))
                })
                .filter(|letter| *letter != '\u{feff}')
                .collect();
        }
        if charset.eq_ignore_ascii_case(b"utf-16") && !octets.starts_with(&[0xff, 0xfe]) {
            return encoding_rs::UTF_16BE.decode(octets).0.into_owned();
        }
        if let Some(encoding) = Encoding::for_label(charset) {
            return encoding.decode(octets).0.into_owned();
        }
    }
    guess(octets)
}

fn guess(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => WINDOWS_1252
            .decode_without_bom_handling(octets)
            .0
            .into_owned(),
    }
}

/// Text with its encoded words decoded; none, if it has none. Takes them wherever they stand, as most readers do.
pub(super) fn decode_words(octets: &[u8]) -> Option<String> {
    find(octets, b"=?", 0)?;
    // No word begins behind the last end of one: without this, each beginning would be followed to the end.
    let last = memchr::memmem::rfind(octets, b"?=")?;
    let mut out = String::new();
    // What one charset has brought so far: letters may be cut between two words.
    let mut pending: Option<(Vec<u8>, Vec<u8>)> = None;
    let mut rest = octets;
    let mut decoded = false;
    while let Some(begin) = find(rest, b"=?", 0)
        && octets.len() - rest.len() + begin < last
    {
        let (before, word) = rest.split_at(begin);
        let Some((charset, letters, behind)) = word_at(word) else {
            flush(&mut out, &mut pending);
            let two = begin + 2;
            out.push_str(&guess(rest.get(..two).unwrap_or_default()));
            rest = rest.get(two..).unwrap_or_default();
            continue;
        };
        decoded = true;
        let only_blanks = before.iter().copied().all(is_space);
        match &mut pending {
            Some((same, octets)) if only_blanks && same.eq_ignore_ascii_case(charset) => {
                octets.extend(letters);
            }
            other => {
                let adjacent = other.is_some() && only_blanks;
                flush(&mut out, other);
                if !adjacent {
                    out.push_str(&guess(before));
                }
                *other = Some((charset.to_vec(), letters));
            }
        }
        rest = behind;
    }
    flush(&mut out, &mut pending);
    out.push_str(&guess(rest));
    decoded.then_some(out)
}

fn flush(out: &mut String, pending: &mut Option<(Vec<u8>, Vec<u8>)>) {
    if let Some((charset, octets)) = pending.take() {
        out.push_str(&decode(&octets, Some(&charset)));
    }
}

/// The word that begins here: its charset, its octets, and what stands behind it.
fn word_at(word: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let word = word.strip_prefix(b"=?")?;
    let end = memchr::memchr(b'?', word)?;
    let (charset, behind) = word.split_at(end);
    let [b'?', how, b'?', text @ ..] = behind else {
        return None;
    };
    if charset.is_empty() || charset.len() > 60 {
        return None;
    }
    let end = find(text, b"?=", 0)?;
    let (letters, behind) = text.split_at(end);
    let behind = behind.get(2..)?;
    let octets = match how.to_ascii_lowercase() {
        b'b' => base64_as(letters, Base64::Resumes),
        b'q' => quoted(letters),
        _ => return None,
    };
    Some((charset, octets, behind))
}

/// The encoding Q (RFC 2047 section 4.2).
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((octet, behind)) = rest.split_first() {
        rest = behind;
        match octet {
            b'_' => out.push(b' '),
            b'=' => {
                if let [high, low, further @ ..] = behind
                    && let (Some(high), Some(low)) = (hex(*high), hex(*low))
                {
                    out.push(high << 4 | low);
                    rest = further;
                } else {
                    out.push(b'=');
                }
            }
            other => out.push(*other),
        }
    }
    out
}

/// UTF-7 (RFC 2152).
fn utf7(octets: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = octets;
    while let Some((octet, behind)) = rest.split_first() {
        rest = behind;
        if *octet != b'+' {
            out.push(char::from(*octet));
            continue;
        }
        let length = behind
            .iter()
            .position(|octet| !(octet.is_ascii_alphanumeric() || b"+/".contains(octet)))
            .unwrap_or(behind.len());
        let (coded, after) = behind.split_at(length);
        if coded.is_empty() {
            out.push('+');
        } else {
            let wide: Vec<u16> = base64_as(coded, Base64::Skips)
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

    #[test]
    fn words_are_decoded_wherever_they_stand() {
        let check = |octets: &str, expected: &str| {
            assert_eq!(
                decode_words(octets.as_bytes()).as_deref(),
                Some(expected),
                "{octets}"
            );
        };
        check("=?utf-8?Q?a=2Eexe?=", "a.exe");
        check("=?UTF-8?B?YS5leGU=?=", "a.exe");
        check("x=?us-ascii?q?y?=z", "xyz");
        check("=?utf-8?B?w7w=?= =?utf-8?q?=2Eexe?=", "ü.exe");
        check("=?utf-8?Q?=C3?=\r\n =?utf-8?Q?=BC?=", "ü");
        check("=?iso-2022-jp?B?GyRCPSE8MRsoQg==?=.txt", "宗識.txt");
        check("=?nobody-knows?Q?a=2Eexe?=", "a.exe");
        check("=?utf-7?Q?a+AC4-exe?=", "a.exe");
        check("=?utf-16?B?AGEALgBlAHgAZQ==?=", "a.exe");
        assert_eq!(decode_words(b"plain=?"), None);
    }
}
