//! The encoded words of RFC 2047.

use super::charsets::{Text, decode, guess};
use super::encodings::{Base64, base64_as};
use super::lines::{find, is_space};
use super::params::hex;

/// Text with its encoded words decoded; none, if it has none. Takes them wherever they stand, as most readers do.
pub(super) fn decode_words(octets: &[u8]) -> Option<Text> {
    find(octets, b"=?", 0)?;
    // No word begins behind the last end of one: without this, each beginning would be followed to the end.
    let last = memchr::memmem::rfind(octets, b"?=")?;
    let mut out = Out::default();
    let mut pending: Option<Pending> = None;
    let mut rest = octets;
    let mut decoded = false;
    while let Some(begin) = find(rest, b"=?", 0)
        && octets.len() - rest.len() + begin < last
    {
        let (before, word) = rest.split_at(begin);
        let Some((charset, letters, behind)) = word_at(word) else {
            out.flush(&mut pending);
            let two = begin + 2;
            out.push(&guess(rest.get(..two).unwrap_or_default()));
            rest = rest.get(two..).unwrap_or_default();
            continue;
        };
        decoded = true;
        let only_blanks = before.iter().copied().all(is_space);
        match &mut pending {
            Some(same) if only_blanks && same.charset.eq_ignore_ascii_case(charset) => {
                same.octets.extend(letters);
            }
            other => {
                let adjacent = other.is_some() && only_blanks;
                out.flush(other);
                if !adjacent {
                    out.push(&guess(before));
                }
                *other = Some(Pending {
                    charset: charset.to_vec(),
                    octets: letters,
                });
            }
        }
        rest = behind;
    }
    out.flush(&mut pending);
    out.push(&guess(rest));
    decoded.then_some(out.0)
}

/// What one charset has brought so far: letters may be cut between two words.
struct Pending {
    charset: Vec<u8>,
    octets: Vec<u8>,
}

/// Text as it grows.
#[derive(Default)]
struct Out(Text);

impl Out {
    fn push(&mut self, text: &str) {
        self.0.usual.push_str(text);
        if let Some(rare) = &mut self.0.rare {
            rare.push_str(text);
        }
    }

    fn flush(&mut self, pending: &mut Option<Pending>) {
        let Some(pending) = pending.take() else {
            return;
        };
        let text = decode(&pending.octets, &pending.charset);
        if let Some(rare) = text.rare {
            let before = &self.0.usual;
            let all = self.0.rare.get_or_insert_with(|| before.clone());
            all.push_str(&rare);
            self.0.usual.push_str(&text.usual);
        } else {
            self.push(&text.usual);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_decoded_wherever_they_stand() {
        let check = |octets: &str, expected: &str| {
            assert_eq!(
                decode_words(octets.as_bytes()).map(|text| text.usual),
                Some(expected.to_owned()),
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

    #[test]
    fn a_word_in_an_odd_charset_has_a_rare_reading() {
        let text = decode_words(b"a =?us-ascii?Q?b?= =?IBM037?B?S5Gi?= =?us-ascii?Q?_c?=").unwrap();
        assert_eq!(text.rare.as_deref(), Some("a b.js c"));
        assert_ne!(text.usual, "a b.js c");
    }
}
