//! AUTH (RFC 4954): mechanisms, and what a client sends in an exchange.
//!
//! Entry: [`Mechanism`], [`Mechanisms`], [`AuthData`]. Passwords pass through: they are checked by nobody here, kept
//! nowhere, and `Debug` does not show them.

use std::fmt;

use crate::rules::Rule;

/// A mechanism that may be passed on. Those that bind to the TLS channel (`-PLUS`) cannot cross a proxy; NTLM,
/// GSSAPI and EXTERNAL have been ways into servers, and are not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// CRAM-MD5 (RFC 2195)
    CramMd5,
    /// LOGIN
    Login,
    /// OAUTHBEARER (RFC 7628)
    OauthBearer,
    /// PLAIN (RFC 4616)
    Plain,
    /// SCRAM-SHA-1 (RFC 5802)
    ScramSha1,
    /// SCRAM-SHA-256 (RFC 7677)
    ScramSha256,
    /// XOAUTH2
    Xoauth2,
}

impl Mechanism {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::CramMd5,
        Self::Login,
        Self::OauthBearer,
        Self::Plain,
        Self::ScramSha1,
        Self::ScramSha256,
        Self::Xoauth2,
    ];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CramMd5 => "CRAM-MD5",
            Self::Login => "LOGIN",
            Self::OauthBearer => "OAUTHBEARER",
            Self::Plain => "PLAIN",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Xoauth2 => "XOAUTH2",
        }
    }

    /// The mechanism of that name, in whatever case.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
}

/// A set of mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mechanisms(u8);

impl Mechanisms {
    /// Whether it holds this one.
    pub const fn contains(self, mechanism: Mechanism) -> bool {
        self.0 & (1 << mechanism as u8) != 0
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those it holds.
    pub fn iter(self) -> impl Iterator<Item = Mechanism> {
        let all = Mechanism::ALL.iter().copied();
        all.filter(move |mechanism| self.contains(*mechanism))
    }
}

impl FromIterator<Mechanism> for Mechanisms {
    fn from_iter<I: IntoIterator<Item = Mechanism>>(all: I) -> Self {
        let bits = all.into_iter().map(|mechanism| 1 << mechanism as u8);
        Self(bits.fold(0, |all, one: u8| all | one))
    }
}

/// What a client sends in an exchange: base64 as RFC 4648 section 4 has it, kept encoded.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthData(String);

impl AuthData {
    /// Takes base64 that is whole: nothing but its alphabet, padded, and with no bits left over (Exim read past its
    /// buffer where padding was left out, CVE-2018-6789; Dovecot where there was a tab, CVE-2026-33603). What it
    /// holds has as many NULs as the mechanism wants: two for PLAIN, none for others.
    pub fn parse(mechanism: Mechanism, octets: &[u8]) -> Result<Self, Rule> {
        let decoded = decode(octets).ok_or(Rule::AuthBase64)?;
        let nulls = memchr::memchr_iter(0, &decoded).count();
        let wanted = if mechanism == Mechanism::Plain { 2 } else { 0 };
        if nulls != wanted {
            return Err(Rule::AuthNul);
        }
        let text = String::from_utf8(octets.to_vec())
            .ok()
            .ok_or(Rule::AuthBase64)?;
        Ok(Self(text))
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// It is a secret.
impl fmt::Debug for AuthData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// RFC 4648 section 4, and nothing that only some decoders take.
fn decode(octets: &[u8]) -> Option<Vec<u8>> {
    let (groups, left) = octets.as_chunks::<4>();
    if !left.is_empty() {
        return None;
    }
    let mut decoded = Vec::with_capacity(groups.len() * 3);
    for (nth, group) in groups.iter().enumerate() {
        let [a, b, c, d] = *group;
        let last = nth + 1 == groups.len();
        let (first, second) = (value(a)?, value(b)?);
        match (c, d) {
            (b'=', b'=') if last && second.trailing_zeros() >= 4 => {
                decoded.push(first << 2 | second >> 4);
            }
            (_, b'=') if last && value(c)?.trailing_zeros() >= 2 => {
                decoded.extend([first << 2 | second >> 4, second << 4 | value(c)? >> 2]);
            }
            _ => {
                let (third, fourth) = (value(c)?, value(d)?);
                decoded.extend([
                    first << 2 | second >> 4,
                    second << 4 | third >> 2,
                    third << 6 | fourth,
                ]);
            }
        }
    }
    Some(decoded)
}

fn value(octet: u8) -> Option<u8> {
    match octet {
        b'A'..=b'Z' => Some(octet - b'A'),
        b'a'..=b'z' => Some(octet - b'a' + 26),
        b'0'..=b'9' => Some(octet - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The plain way, to compare with.
    fn encode(octets: &[u8]) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in octets.chunks(3) {
            let mut word = [0; 3];
            word[..chunk.len()].copy_from_slice(chunk);
            let bits = u32::from_be_bytes([0, word[0], word[1], word[2]]);
            for place in 0..4 {
                let index = (bits >> (18 - 6 * place)) & 63;
                text.push(if place > chunk.len() {
                    '='
                } else {
                    char::from(ALPHABET[index as usize])
                });
            }
        }
        text
    }

    #[test]
    fn plain_has_two_nuls_and_others_have_none() {
        let check = |mechanism, octets: &[u8], expected: Result<(), Rule>| {
            let got = AuthData::parse(mechanism, encode(octets).as_bytes()).map(drop);
            assert_eq!(got, expected, "{octets:?}");
        };
        check(Mechanism::Plain, b"\0user\0secret", Ok(()));
        check(Mechanism::Plain, b"user\0secret", Err(Rule::AuthNul));
        check(Mechanism::Plain, b"a\0b\0c\0d", Err(Rule::AuthNul));
        check(Mechanism::Login, b"user", Ok(()));
        check(Mechanism::Login, b"user\0", Err(Rule::AuthNul));
        check(
            Mechanism::Xoauth2,
            b"user=a\x01auth=Bearer b\x01\x01",
            Ok(()),
        );
        check(Mechanism::Login, b"", Ok(()));
    }

    #[test]
    fn base64_that_only_some_decoders_take_is_refused() {
        for text in [
            "A", "AA", "AAA", "AA=", "AAAAA", "A===", "====", "AA==AAAA", "AB==", "AAB=", "AA\t=",
            " AAA", "AAA ", "AA-_", "AA=A", "\u{e9}AA", "=",
        ] {
            let got = AuthData::parse(Mechanism::Login, text.as_bytes()).map(drop);
            assert_eq!(got, Err(Rule::AuthBase64), "{text:?}");
        }
    }

    #[test]
    fn credentials_do_not_show_by_accident() {
        let data = AuthData::parse(Mechanism::Login, b"c2VjcmV0").unwrap();
        assert_eq!(format!("{data:?}"), "...");
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(octets in proptest::collection::vec(any::<u8>(), 0..50)) {
            prop_assert_eq!(decode(encode(&octets).as_bytes()), Some(octets));
        }

        #[test]
        fn what_is_decoded_was_encoded_so(text in "[A-Da-d=/+ ]{0,12}") {
            if let Some(octets) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(&octets), text);
            }
        }
    }
}
