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
    let mut pending: Option<Pending<'_>> = None;
    let mut rest = octets;
    let mut decoded = false;
    while let Some(begin) = find(rest, b"=?", 0)
        && octets.len() - rest.len() + begin < last
    {
        let (before, word) = rest.split_at(begin);
        let Some(word) = word_at(word) else {
            out.flush(&mut pending);
            let two = begin + 2;
            out.push(&guess(rest.get(..two).unwrap_or_default()));
            rest = rest.get(two..).unwrap_or_default();
            continue;
        };
        decoded = true;
        let only_blanks = before.iter().copied().all(is_space);
        match &mut pending {
            Some(same) if only_blanks && same.charset.eq_ignore_ascii_case(word.charset) => {
                same.take(&word);
            }
            other => {
                let adjacent = other.is_some() && only_blanks;
                out.flush(other);
                if !adjacent {
                    out.push(&guess(before));
                }
                let new = Pending {
                    charset: word.charset,
                    octets: Vec::new(),
                    letters: Vec::new(),
                    words: 0,
                };
                other.insert(new).take(&word);
            }
        }
        rest = word.behind;
    }
    out.flush(&mut pending);
    out.push(&guess(rest));
    decoded.then_some(out.0)
}

/// Text with its encoded words decoded.
pub(crate) fn decoded(octets: &[u8]) -> String {
    decode_words(octets).map_or_else(|| guess(octets), |text| text.usual)
}

/// The length of the encoded word that begins here; none where none does.
pub(crate) fn word_length(octets: &[u8]) -> Option<usize> {
    // Longer ones than lines are would be looked for from each beginning to the end of all.
    let word = word_at(octets.get(..1000).unwrap_or(octets))?;
    Some(octets.len().min(1000) - word.behind.len())
}

/// What one charset has brought so far: letters may be cut between two words.
struct Pending<'w> {
    charset: &'w [u8],
    octets: Vec<u8>,
    /// Of all words, if they are in base64: a group may be cut between two as well.
    letters: Vec<u8>,
    words: usize,
}

impl Pending<'_> {
    fn take(&mut self, word: &Word<'_>) {
        let is_first = self.words == 0;
        self.words += 1;
        if !word.is_base64 {
            self.octets.extend(quoted(word.letters));
            self.letters.clear();
            return;
        }
        self.octets.extend(base64_as(word.letters, Base64::Resumes));
        if is_first || !self.letters.is_empty() {
            self.letters.extend_from_slice(word.letters);
        }
    }

    /// The octets by groups that go on from word to word, if that makes a difference.
    fn joined(&self) -> Option<Vec<u8>> {
        if self.words < 2 || self.letters.is_empty() {
            return None;
        }
        Some(base64_as(&self.letters, Base64::Resumes)).filter(|joined| *joined != self.octets)
    }
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

    fn flush(&mut self, pending: &mut Option<Pending<'_>>) {
        let Some(pending) = pending.take() else {
            return;
        };
        let mut text = decode(&pending.octets, pending.charset);
        if let Some(joined) = pending.joined() {
            text.rare = Some(decode(&joined, pending.charset).usual);
        }
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

/// An encoded word, and what stands behind it.
struct Word<'w> {
    charset: &'w [u8],
    is_base64: bool,
    letters: &'w [u8],
    behind: &'w [u8],
}

/// The word that begins here. The standard has them no longer than 75 letters, and a charset in each; readers do not
/// care.
fn word_at(word: &[u8]) -> Option<Word<'_>> {
    let word = word.strip_prefix(b"=?")?;
    let end = memchr::memchr(b'?', word)?;
    let (charset, behind) = word.split_at(end);
    let [b'?', how, b'?', text @ ..] = behind else {
        return None;
    };
    let is_base64 = match how {
        b'b' | b'B' => true,
        b'q' | b'Q' => false,
        _ => return None,
    };
    let end = find(text, b"?=", 0)?;
    let (letters, behind) = text.split_at(end);
    Some(Word {
        charset,
        is_base64,
        letters,
        behind: behind.get(2..)?,
    })
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
    fn a_word_is_read_however_its_charset_is_written() {
        let long = format!("=?utf-8*{}?Q?a=2Eexe?=", "x".repeat(70));
        for word in [&long, "=??Q?a=2Eexe?=", "=?*en?B?YS5leGU=?="] {
            let text = decode_words(word.as_bytes()).unwrap();
            assert_eq!(text.usual, "a.exe", "{word}");
        }
    }

    #[test]
    fn a_group_that_is_cut_between_two_words_is_put_together() {
        let rare = |octets: &str| decode_words(octets.as_bytes()).unwrap().rare;
        let cut = "=?utf-8?B?aW52b2?= =?utf-8?B?ljZS5qcw==?=";
        assert_eq!(rare(cut).as_deref(), Some("invoice.js"));
        let thrice = "=?utf-8?B?YS5le?=\r\n =?utf-8?B?G?= =?utf-8?B?U=?=.";
        assert_eq!(rare(thrice).as_deref(), Some("a.exe."));
        assert_eq!(rare("=?utf-8?B?w7w=?= =?utf-8?B?LnBkZg==?="), None);
        assert_eq!(rare("=?utf-8?B?w7w=?= =?utf-8?Q?.pdf?="), None);
    }

    #[test]
    fn a_word_in_an_odd_charset_has_a_rare_reading() {
        let text = decode_words(b"a =?us-ascii?Q?b?= =?IBM037?B?S5Gi?= =?us-ascii?Q?_c?=").unwrap();
        assert_eq!(text.rare.as_deref(), Some("a b.js c"));
        assert_ne!(text.usual, "a b.js c");
    }
}
