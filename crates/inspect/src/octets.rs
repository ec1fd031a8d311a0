//! Reading numbers and pieces out of octets that may end anywhere.

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memmem;

/// `count` octets at `at`; none where they end before.
pub(crate) fn piece(octets: &[u8], at: usize, count: usize) -> Option<&[u8]> {
    octets.get(at..at.checked_add(count)?)
}

/// What lies from `at` on, at most `count` octets; empty beyond the end.
pub(crate) fn some(octets: &[u8], at: usize, count: usize) -> &[u8] {
    let start = at.min(octets.len());
    let end = start.saturating_add(count).min(octets.len());
    octets.get(start..end).unwrap_or(&[])
}

/// What lies from `at` on.
pub(crate) fn rest(octets: &[u8], at: usize) -> &[u8] {
    octets.get(at..).unwrap_or(&[])
}

fn array<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    piece(octets, at, N)?.try_into().ok()
}

/// The octet at `at`.
pub(crate) fn u8_at(octets: &[u8], at: usize) -> Option<u8> {
    octets.get(at).copied()
}

/// Two octets at `at`, the low one first.
pub(crate) fn u16le(octets: &[u8], at: usize) -> Option<u16> {
    array(octets, at).map(u16::from_le_bytes)
}

/// Four octets at `at`, the low one first.
pub(crate) fn u32le(octets: &[u8], at: usize) -> Option<u32> {
    array(octets, at).map(u32::from_le_bytes)
}

/// Eight octets at `at`, the low one first.
pub(crate) fn u64le(octets: &[u8], at: usize) -> Option<u64> {
    array(octets, at).map(u64::from_le_bytes)
}

/// Two octets at `at`, the high one first.
pub(crate) fn u16be(octets: &[u8], at: usize) -> Option<u16> {
    array(octets, at).map(u16::from_be_bytes)
}

/// Four octets at `at`, the high one first.
pub(crate) fn u32be(octets: &[u8], at: usize) -> Option<u32> {
    array(octets, at).map(u32::from_be_bytes)
}

/// A number that a file keeps in 32 bits, as a place in memory; the greatest where it does not fit.
pub(crate) fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A number that a file keeps in 64 bits, as a place in memory; the greatest where it does not fit.
pub(crate) fn place64(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// How many octets, as files count them.
pub(crate) fn count(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

/// Where `needle` begins.
pub(crate) fn find(octets: &[u8], needle: &[u8]) -> Option<usize> {
    memmem::find(octets, needle)
}

/// Where `needle`, which must not overlap itself, begins for the last time. Going forward takes a tenth of the time that
/// going back does, and hardly anything holds what is looked for.
pub(crate) fn find_last(octets: &[u8], needle: &[u8]) -> Option<usize> {
    memmem::find_iter(octets, needle).last()
}

/// One search for the first of several. None where none can be made, which of constants does not happen.
pub(crate) fn any_of(needles: &[&[u8]]) -> Option<AhoCorasick> {
    let builder = &mut AhoCorasick::builder();
    builder
        .match_kind(MatchKind::LeftmostFirst)
        .build(needles)
        .ok()
}

/// Whether `needle` is in it.
pub(crate) fn holds(octets: &[u8], needle: &[u8]) -> bool {
    find(octets, needle).is_some()
}

/// Whether it begins with `start`, in letters of either case.
pub(crate) fn begins(octets: &[u8], start: &[u8]) -> bool {
    octets
        .get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// Octets up to the first zero.
pub(crate) fn until_zero(octets: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, octets).unwrap_or(octets.len());
    some(octets, 0, end)
}

/// UTF-16 with the low octet first, up to its first zero; what is not UTF-16 is replaced.
pub(crate) fn utf16le(octets: &[u8]) -> String {
    let units = octets
        .chunks_exact(2)
        .filter_map(|pair| u16le(pair, 0))
        .take_while(|unit| *unit != 0);
    decoded(units)
}

/// UTF-16 with the low octet first, all of it without zeros; what is not UTF-16 is replaced.
pub(crate) fn utf16le_whole(octets: &[u8]) -> String {
    let units = octets
        .chunks_exact(2)
        .filter_map(|pair| u16le(pair, 0))
        .filter(|unit| *unit != 0);
    decoded(units)
}

/// UTF-16 with the high octet first, up to its first zero; what is not UTF-16 is replaced.
pub(crate) fn utf16be(octets: &[u8]) -> String {
    let units = octets
        .chunks_exact(2)
        .filter_map(|pair| u16be(pair, 0))
        .take_while(|unit| *unit != 0);
    decoded(units)
}

fn decoded(units: impl Iterator<Item = u16>) -> String {
    char::decode_utf16(units)
        .map(|found| found.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// A name in octets: UTF-8 where it is, else each octet a character of Latin-1.
pub(crate) fn name(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().map(|octet| char::from(*octet)).collect(),
    }
}
