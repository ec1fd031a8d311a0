//! Version order: text to an order-preserving byte key, once.
//!
//! Entry: [`key`] and [`write_key`]. Two keys of one scheme compare as plain bytes exactly as the
//! distributor's own tool compares the two texts, and are equal where that tool calls them equal,
//! so that nothing parses a version again. A file for each scheme names the rules it follows:
//! `dpkg.rs`, `rpm.rs`, `semver.rs`, `dotted.rs`.
//!
//! **Invariant:** a key is a concatenation of codes none of which is a prefix of another one that
//! may stand at the same place. Keys of different schemes mean nothing to each other. A text that
//! has no place in the order is an error, never a guess: the caller answers `unknown`.

mod dotted;
mod dpkg;
mod rpm;
mod semver;

use std::borrow::Borrow;
use std::cmp::Ordering;

use mailkeep_model::VersionScheme;

/// Longest version accepted, in bytes, without surrounding white space. The longest of 192,046
/// versions in Debian's archive has 62; the limit only bounds the work on hostile input.
pub const MAX_VERSION_LEN: usize = 1024;

/// How many bytes of a refused version an error repeats.
const SHOWN_LEN: usize = 80;

/// A version as bytes whose plain order is the order of its scheme. Compare only keys of one
/// [`VersionScheme`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionKey(Box<[u8]>);

impl VersionKey {
    /// The bytes, to store or to compare.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes back bytes that came from [`Self::as_bytes`] or [`write_key`]; they are not checked.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl AsRef<[u8]> for VersionKey {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for VersionKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Why a text has no place in the order of its scheme. `version` is the text, cut where it is long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Nothing but white space.
    #[error("a version must not be empty")]
    Empty,
    /// A part that must be there is not: `1:`, `-1`, `1.0-` (dpkg refuses these too).
    #[error("the version {version:?} has an empty {part}")]
    EmptyPart {
        /// The version.
        version: Box<str>,
        /// Which part is empty.
        part: &'static str,
    },
    /// What stands before the first colon is not a number from zero up.
    #[error("the epoch of the version {version:?} is not a number")]
    EpochNotANumber {
        /// The version.
        version: Box<str>,
    },
    /// A character the scheme cannot order: white space inside, NUL, or an operator.
    #[error("the version {version:?} contains the character {character:?}")]
    IllegalCharacter {
        /// The version.
        version: Box<str>,
        /// The first such character.
        character: char,
    },
    /// No number where one must stand: `master`, `latest`.
    #[error("the version {version:?} does not begin with a number")]
    NoNumber {
        /// The version.
        version: Box<str>,
    },
    /// Longer than [`MAX_VERSION_LEN`].
    #[error("the version {version:?}... is {length} bytes long, more than 1024")]
    TooLong {
        /// How it begins.
        version: Box<str>,
        /// Its length in bytes.
        length: usize,
    },
    /// Names many versions: `1.2.x`.
    #[error("{version:?} stands for many versions, not for one")]
    Wildcard {
        /// The version.
        version: Box<str>,
    },
}

impl VersionError {
    /// A stable name for logs, metrics and tests.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "version-empty",
            Self::EmptyPart { .. } => "version-empty-part",
            Self::EpochNotANumber { .. } => "version-epoch-not-a-number",
            Self::IllegalCharacter { .. } => "version-illegal-character",
            Self::NoNumber { .. } => "version-no-number",
            Self::TooLong { .. } => "version-too-long",
            Self::Wildcard { .. } => "version-wildcard",
        }
    }
}

/// The key of a version.
pub fn key(scheme: VersionScheme, text: &str) -> Result<VersionKey, VersionError> {
    let mut out = Vec::new();
    write_key(scheme, text, &mut out)?;
    Ok(VersionKey(out.into_boxed_slice()))
}

/// Appends the bytes of a version's key to `out`: the bytes [`key`] wraps, without its allocation.
/// At most three times as many as the text has, and 16. On an error `out` is as it was.
pub fn write_key(scheme: VersionScheme, text: &str, out: &mut Vec<u8>) -> Result<(), VersionError> {
    let text = trimmed(text)?;
    let start = out.len();
    out.reserve(2 * text.len() + 16);
    let written = match scheme {
        VersionScheme::Dotted => dotted::write(text, out),
        VersionScheme::Dpkg => dpkg::write(text, out),
        VersionScheme::Rpm => rpm::write(text, out),
        VersionScheme::SemVer => semver::write(text, out),
    };
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Compares two versions once. Where one version meets many, make its [`key`] instead.
pub fn compare(scheme: VersionScheme, a: &str, b: &str) -> Result<Ordering, VersionError> {
    let mut a_key = Vec::new();
    write_key(scheme, a, &mut a_key)?;
    let mut b_key = Vec::new();
    write_key(scheme, b, &mut b_key)?;
    Ok(a_key.cmp(&b_key))
}

/// The upstream part of a version: for dpkg and rpm without epoch and revision (release), for the
/// others the whole text. Never fails; of a malformed version it is what is left of it.
pub fn upstream_part(scheme: VersionScheme, text: &str) -> &str {
    let text = text.trim_matches(is_space);
    match scheme {
        VersionScheme::Dotted | VersionScheme::SemVer => text,
        VersionScheme::Dpkg | VersionScheme::Rpm => {
            let rest = text.split_once(':').map_or(text, |(_, rest)| rest);
            rest.rsplit_once('-').map_or(rest, |(upstream, _)| upstream)
        }
    }
}

/// Entry point for the fuzzer: two texts, divided by a newline, under every scheme. Checks that
/// nothing panics, that comparison is antisymmetric, and that a refused text leaves nothing behind.
///
/// # Panics
///
/// Where one of these does not hold: that is what the fuzzer looks for.
pub fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (a, b) = text.split_once('\n').unwrap_or((&text, ""));
    for scheme in [
        VersionScheme::Dotted,
        VersionScheme::Dpkg,
        VersionScheme::Rpm,
        VersionScheme::SemVer,
    ] {
        let mut out = Vec::new();
        let written = write_key(scheme, a, &mut out);
        assert_eq!(written.is_err(), out.is_empty(), "{scheme:?} {a:?}");
        assert!(out.len() <= 3 * a.len() + 16, "{scheme:?} {a:?}");
        assert!(upstream_part(scheme, a).len() <= a.len());
        if let (Ok(there), Ok(back)) = (compare(scheme, a, b), compare(scheme, b, a)) {
            assert_eq!(there, back.reverse(), "{scheme:?} {a:?} {b:?}");
        }
    }
}

/// White space as C's `isspace` has it, which dpkg trims.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// The text without surrounding white space, if it is neither empty, nor too long, nor has white
/// space or NUL inside.
fn trimmed(text: &str) -> Result<&str, VersionError> {
    let text = text.trim_matches(is_space);
    if text.is_empty() {
        return Err(VersionError::Empty);
    }
    if text.len() > MAX_VERSION_LEN {
        return Err(VersionError::TooLong {
            version: shown(text),
            length: text.len(),
        });
    }
    if let Some(byte) = text.bytes().find(|b| matches!(b, 0 | b' ' | b'\t'..=b'\r')) {
        return Err(illegal(text, byte.into()));
    }
    Ok(text)
}

/// The first bytes of a refused text, for its error.
fn shown(text: &str) -> Box<str> {
    let end = text.floor_char_boundary(SHOWN_LEN);
    text.get(..end).unwrap_or_default().into()
}

#[cold]
fn illegal(version: &str, character: char) -> VersionError {
    VersionError::IllegalCharacter {
        version: shown(version),
        character,
    }
}

#[cold]
fn empty_part(version: &str, part: &'static str) -> VersionError {
    VersionError::EmptyPart {
        version: shown(version),
        part,
    }
}

#[cold]
fn epoch_not_a_number(version: &str) -> VersionError {
    VersionError::EpochNotANumber {
        version: shown(version),
    }
}

/// The lowest byte a number begins with; all other codes are below.
const NUMBER: u8 = 0x80;
/// A number of 127 digits or more: its digit count follows in two bytes.
const LONG_NUMBER: u8 = 0xff;

/// Appends a number: its count of digits without leading zeros, then those digits. So a number of
/// any length compares by value, zero is one byte, and no number is a prefix of another.
fn push_number(out: &mut Vec<u8>, digits: &[u8]) {
    let zeros = digits.iter().take_while(|d| **d == b'0').count();
    let (_, digits) = digits.split_at(zeros);
    match u8::try_from(digits.len()) {
        Ok(count) if count < LONG_NUMBER - NUMBER => out.push(NUMBER | count),
        _ => {
            out.push(LONG_NUMBER);
            // MAX_VERSION_LEN keeps the count far below the limit of two bytes.
            let count = u16::try_from(digits.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
    out.extend_from_slice(digits);
}

/// Cuts off the longest beginning whose bytes all satisfy `belongs`.
fn split_run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes
        .iter()
        .position(|b| !belongs(*b))
        .unwrap_or(bytes.len());
    bytes.split_at(end)
}

#[cfg(test)]
mod tests;
