//! Last, without regard to structure: headers of parts and runs of base64 wherever they stand.
//!
//! No reader shows what is found here as it is; but whatever way a message is broken that the readings do not
//! know, an attachment still has to stand in it somewhere, and be decoded by somebody.

use super::encodings::{Base64, Encoding, base64_as, decode, encodings, looks_base64};
use super::head::{Head, single};
use super::lines::{Lines, LinesWith, trim, trim_start};
use super::names::{names, readings_of};
use super::walk::{Walker, is_file, is_textual};
use crate::{Budget, Limit};

/// Reads whatever stands behind headers of content as a part, if no reading has read it. What it found, by number;
/// but not what it holds if it goes on behind what looks like a boundary.
pub(super) fn loose_parts(
    walker: &mut Walker<'_>,
    budget: &mut Budget,
    octets: &[u8],
    raw: bool,
) -> Vec<usize> {
    let mut all = Vec::new();
    // Where headers of content begin, and where parts may end: also at the next such headers.
    let mut begins: Vec<usize> = Vec::new();
    let mut ends: Vec<usize> = Vec::new();
    for line in LinesWith::new(octets, b'-') {
        if line.text.starts_with(b"--") {
            ends.push(line.start);
            continue;
        }
        let text = trim_start(line.text);
        if matches!(text.first(), Some(b'c' | b'C'))
            && text
                .get(..8)
                .is_some_and(|begin| begin.eq_ignore_ascii_case(b"content-"))
        {
            begins.push(line.start + (line.text.len() - text.len()));
            ends.push(line.start);
        }
    }
    let mut behind = 0;
    for from in begins.iter().copied() {
        if from < behind {
            continue;
        }
        let head = single(octets.get(from..).unwrap_or_default());
        let body = octets.len() - head.body.len();
        behind = body;
        if head.body.is_empty() || (raw && walker.bodies.contains(&body)) {
            continue;
        }
        let next = |places: &[usize]| {
            let place = places.partition_point(|place| *place < body);
            places.get(place).copied().unwrap_or(octets.len())
        };
        // A line that looks like a boundary may as well be one of those that decoders pass over.
        let (near, far) = (next(&ends), next(&begins));
        let is_empty = |end: usize| trim(octets.get(body..end).unwrap_or_default()).is_empty();
        if is_empty(far) {
            continue;
        }
        if raw {
            walker.bodies.insert(body);
        }
        let types: Vec<_> = head.types.iter().map(readings_of).collect();
        let is_container = types
            .iter()
            .flatten()
            .flat_map(|parsed| &parsed.readings)
            .any(|value| {
                value.main.starts_with(b"multipart") || value.main.starts_with(b"message")
            });
        if is_container {
            continue;
        }
        let dispositions: Vec<_> = head.dispositions.iter().map(readings_of).collect();
        let part = Part {
            names: names(&dispositions, &types).all,
            place: format!("octet {from}"),
            head,
        };
        for (end, is_far) in [(near, false), (far, true)] {
            let text = octets.get(body..end).unwrap_or_default();
            if is_empty(end) || (is_far && far == near) {
                continue;
            }
            let Some((found, encoded)) = part.read(walker, budget, text, is_far) else {
                return all;
            };
            if !is_far || is_empty(near) {
                all.extend(found);
            }
            if raw && encoded {
                walker.decoded.push(body..end);
            }
        }
    }
    all
}

/// Headers of content that no reading has read.
struct Part<'m> {
    head: Head<'m>,
    names: Vec<String>,
    place: String,
}

impl Part<'_> {
    /// Reads `text` as its body; `encoded_only`: not as it stands. The numbers of what it found, and whether it was encoded;
    /// none where a limit was reached.
    fn read(
        &self,
        walker: &mut Walker<'_>,
        budget: &mut Budget,
        text: &[u8],
        encoded_only: bool,
    ) -> Option<(Vec<usize>, bool)> {
        let mut all = Vec::new();
        let mut ways: Vec<Encoding> = self
            .head
            .encodings
            .iter()
            .flat_map(|field| encodings(field.value, text).0)
            .collect();
        let mut guessed = false;
        if ways.iter().all(|way| *way == Encoding::Identity) {
            ways.push(Encoding::Identity);
            guessed = looks_base64(text);
            if guessed {
                ways.push(Encoding::Base64);
            }
        }
        ways.dedup();
        let mut encoded = false;
        for way in ways {
            let plain = way == Encoding::Identity;
            if plain
                && (encoded_only || self.names.is_empty() && is_textual(text) && !is_file(text))
            {
                continue;
            }
            encoded |= !plain;
            for decoded in decode(text, way, budget.octets_left()) {
                if decoded.cut_off {
                    walker.limit(budget.exhaust(Limit::Octets), "");
                    return None;
                }
                let octets = decoded.octets.into_owned();
                if guessed && way == Encoding::Base64 && !is_file(&octets) {
                    continue;
                }
                all.push(walker.add_rare(budget, octets, &self.names, &self.place)?);
            }
        }
        Some((all, encoded))
    }
}

/// The fewest letters that are taken for base64 where nothing says so.
const SHORTEST: usize = 32;

/// So many letters are decoded to see what they are the beginning of.
const SAMPLE: usize = 8 << 10;

/// Decodes whatever looks like base64 in the raw message and was not decoded.
pub(super) fn runs(walker: &mut Walker<'_>, budget: &mut Budget) {
    let raw = walker.raw;
    let mut decoded = std::mem::take(&mut walker.decoded);
    decoded.sort_by_key(|range| range.start);
    let mut at = 0;
    for range in decoded {
        if range.start > at {
            runs_in(
                walker,
                budget,
                raw.get(at..range.start).unwrap_or_default(),
                "",
            );
        }
        at = at.max(range.end);
    }
    runs_in(walker, budget, raw.get(at..).unwrap_or_default(), "");
}

/// Decodes whatever looks like base64 in a text.
pub(super) fn runs_in(walker: &mut Walker<'_>, budget: &mut Budget, octets: &[u8], place: &str) {
    let mut at = 0;
    while let Some(start) = next_run(octets, at) {
        let end = end_of_run(octets, start);
        at = end.max(start + 1);
        let run = octets.get(start..end).unwrap_or_default();
        if run.len() < SHORTEST {
            continue;
        }
        let Some(found) = first_notable(run) else {
            continue;
        };
        let place = if place.is_empty() {
            "octets that look like base64".to_owned()
        } else {
            format!("{place}/octets that look like base64")
        };
        if walker.add_rare(budget, found, &[], &place).is_none() {
            return;
        }
    }
}

/// What a run decodes to from the first of its lines that begins as a file does. Lines before it must be words
/// of a text: in the middle of base64 a line may begin like anything.
fn first_notable(run: &[u8]) -> Option<Vec<u8>> {
    let mut looked = 0;
    for line in Lines::new(run) {
        let text = trim(line.text);
        if line.start == 0 || text.len() >= FULL_LINE {
            looked += 1;
            let rest = run.get(line.start..).unwrap_or_default();
            let head = rest.get(..SAMPLE).unwrap_or(rest);
            if is_file(&base64_as(head, Base64::Resumes)) {
                return Some(base64_as(rest, Base64::Resumes));
            }
        }
        if text.len() >= 2 * FULL_LINE || looked >= MAX_LOOKS {
            break;
        }
    }
    None
}

/// So many letters in a line are no word of a text.
const FULL_LINE: usize = 20;

/// So many lines of one run are looked at: each costs a sample.
const MAX_LOOKS: usize = 8;

const fn is_letter(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/')
}

/// Where the next run of letters begins that is longer than words are: at a beginning that a file has, in base64.
fn next_run(octets: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    // All up to here belongs to a run.
    let mut known = from;
    loop {
        let end = at + SHORTEST;
        let new = octets.get(known.max(at)..end)?;
        // Looked at from its end: most of a text, whose words are short, is not looked at.
        if let Some(other) = new.iter().rposition(|octet| !is_of_run(*octet)) {
            at = known.max(at) + other + 1;
            known = at;
            continue;
        }
        known = end;
        let all = octets.get(at..end)?;
        match all.iter().position(|octet| is_letter(*octet)) {
            Some(0) => return Some(at),
            skip => at += skip.unwrap_or(SHORTEST),
        }
    }
}

const fn is_of_run(octet: u8) -> bool {
    is_letter(octet) || matches!(octet, b'\r' | b'\n' | b'=')
}

fn end_of_run(octets: &[u8], start: usize) -> usize {
    octets
        .get(start..)
        .and_then(|rest| {
            rest.iter().position(|octet| {
                !is_letter(*octet) && !matches!(octet, b'\r' | b'\n' | b'=' | b' ' | b'\t')
            })
        })
        .map_or(octets.len(), |length| start + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Limits;

    fn found(message: &str) -> Vec<(Vec<u8>, bool)> {
        let mut budget = Budget::new(&Limits::default());
        super::super::read(message.as_bytes(), &mut budget)
            .contents
            .into_iter()
            .map(|found| (found.content.octets.into_owned(), found.usual))
            .collect()
    }

    proptest! {
        #[test]
        fn the_next_run_begins_at_the_first_letter_that_enough_follow(
            text in "([a+=\\r\\n]{0,40}[ =\\n-]{0,4}){0,4}", from in 0_usize..9) {
            let octets = text.as_bytes();
            let begins = |start: &usize| {
                let run = octets.get(*start..*start + SHORTEST);
                is_letter(octets[*start]) && run.is_some_and(|run| run.iter().all(|one| is_of_run(*one)))
            };
            prop_assert_eq!(next_run(octets, from), (from..octets.len()).find(begins));
        }
    }

    #[test]
    fn base64_in_a_text_is_found_and_counts_as_rare() {
        let contents =
            found("Subject: x\r\n\r\nHello\r\nTVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAAA\r\n");
        assert_eq!(contents.len(), 2);
        assert!(contents[1].0.starts_with(b"MZ\x90"));
        assert!(!contents[1].1);
    }

    #[test]
    fn headers_of_content_in_a_text_are_read() {
        let contents = found(
            "Subject: x\r\n\r\nHello\r\nContent-Type: application/x; name=a.exe\r\nContent-Transfer-Encoding: base64\r\n\r\nTVqQAAM=\r\n",
        );
        assert!(
            contents
                .iter()
                .any(|(octets, usual)| octets == b"MZ\x90\0\x03" && !usual)
        );
    }

    #[test]
    fn plain_text_brings_nothing_forth() {
        assert_eq!(
            found("Subject: x\r\n\r\nHello, this is a text.\r\n").len(),
            1
        );
    }
}
