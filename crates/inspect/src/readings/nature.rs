//! What a part may be, by all readings of its `Content-Type`.

use super::head::Head;
use super::lines::{trim, trim_end};
use super::params::{Parsed, Value, texts};
use super::words::decode_words;

/// What a part is, by all readings of its headers together.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each may be so whatever the others are"
)]
pub(super) struct Nature {
    /// It may be a multipart, with these boundaries.
    pub(super) multipart: Option<Vec<Vec<u8>>>,
    /// A reader may fail to see a multipart here.
    pub(super) multipart_uncertain: bool,
    /// It may be a message.
    pub(super) message: bool,
    /// It may be anything else, of these types.
    pub(super) leaf: bool,
    pub(super) types: Vec<String>,
    /// It is no multipart, and yet has a boundary.
    pub(super) stray: Vec<Vec<u8>>,
    pub(super) digest: bool,
    /// It has more boundaries than are followed.
    pub(super) cut_off: bool,
}

/// More boundaries of one part are not followed.
const MAX_BOUNDARIES: usize = 16;

/// What a part is: by its types, or by what it is without one.
pub(super) fn nature(head: &Head<'_>, types: &[Vec<Parsed>], default: &[u8]) -> Nature {
    let mut nature = Nature::default();
    let mut mains: Vec<(Vec<u8>, Vec<Vec<u8>>)> = Vec::new();
    let mut plain = false;
    // The boundaries of each reading: where they differ, one may be blind to the parts.
    let mut told: Option<Vec<Vec<u8>>> = None;
    for (field, parsed) in head.types.iter().zip(types) {
        for parsed in parsed {
            for value in &parsed.readings {
                plain |= value.parameters.iter().any(|(name, _)| name == b"boundary");
                let boundaries = boundaries(value);
                nature.multipart_uncertain |= boundaries.iter().any(Vec::is_empty)
                    || told.as_ref().is_some_and(|told| *told != boundaries)
                    || !value.searched && boundaries.len() > 1;
                told.get_or_insert_with(|| boundaries.clone());
                mains.push((value.main.clone(), boundaries));
            }
            if !parsed.main_strict || parsed.open || !field.certain {
                nature.multipart_uncertain = true;
            }
        }
    }
    if mains.is_empty() {
        mains.push((default.to_vec(), Vec::new()));
    }
    let all: Vec<Vec<u8>> = {
        let mut all = Vec::new();
        for boundary in mains.iter().flat_map(|(_, boundaries)| boundaries) {
            if all.contains(boundary) {
                continue;
            }
            if all.len() >= MAX_BOUNDARIES {
                nature.cut_off = true;
                break;
            }
            all.push(boundary.clone());
        }
        all
    };
    for (main, _) in &mains {
        let main = String::from_utf8_lossy(main).into_owned();
        if main.starts_with("multipart") {
            nature.multipart = Some(all.clone());
            nature.multipart_uncertain |= !main.contains('/');
            nature.digest |= main == "multipart/digest";
        } else if matches!(
            main.as_str(),
            "message/rfc822" | "message/global" | "message/news" | "message"
        ) {
            nature.message = true;
        } else {
            // An odd way to write a multipart is no other part beside it.
            nature.leaf = true;
        }
        if !nature.types.contains(&main) && nature.types.len() < 8 {
            nature.types.push(main);
        }
    }
    // A boundary by RFC 2231 is one that few readers know.
    nature.multipart_uncertain |= !plain;
    if nature.multipart.is_none() {
        nature.stray = all;
    }
    nature
}

/// Every boundary that one reading of a type may name.
fn boundaries(value: &Value) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut add = |boundary: Vec<u8>| {
        if !boundary.is_empty() && !found.contains(&boundary) {
            found.push(boundary);
        }
    };
    for text in texts(value, b"boundary").texts {
        if let Some(decoded) = decode_words(&text.octets) {
            add(decoded.usual.into_bytes());
        }
        let trimmed = trim_end(&text.octets).to_vec();
        add(text.octets);
        add(trimmed);
    }
    // Some readers take no boundary for one of no letters, and cut at lines of two dashes.
    let is_empty = |(name, text): &(Vec<u8>, Vec<u8>)| name == b"boundary" && trim(text).is_empty();
    if found.is_empty() && value.parameters.iter().any(is_empty) {
        found.push(Vec::new());
    }
    found
}
