//! What a page carries in itself: files as `data:` addresses, and long runs of base64 in its scripts, from which a
//! script makes a file that never passed a filter (smuggling). Pictures and fonts are what pages carry honestly,
//! and are left out.

use std::borrow::Cow;

use super::{Member, Sink};
use crate::kind::{self, Class, Kind};
use crate::octets::{count, some};

/// Runs shorter than this hold no file that matters.
const RUN_MIN: usize = 64;

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let mut at = 0;
    while at < octets.len() {
        let start = at;
        while octets.get(at).is_some_and(|octet| is_base64(*octet)) {
            at += 1;
        }
        let length = at - start;
        if length < RUN_MIN {
            at += 1;
            continue;
        }
        // Lines of one file, as MIME breaks them.
        while octets.get(at).is_some_and(|octet| {
            is_base64(*octet) || matches!(octet, b'\r' | b'\n' | b'=' | b' ' | b'\t')
        }) {
            at += 1;
        }
        let run = some(octets, start, at - start);
        let head = base64(some(run, 0, 1024));
        if !interesting(kind::of(&head)) {
            continue;
        }
        let (allowed, limit) = sink.allowance();
        let mut content = base64(run);
        let over = count(&content) > allowed;
        content.truncate(crate::octets::place64(allowed));
        let unread = over.then(|| sink.reached(limit));
        sink.produced(&content);
        let more = sink.member(Member {
            octets: Cow::Owned(content),
            unread,
            inner: true,
            ..Member::default()
        });
        if !more {
            return;
        }
    }
}

fn interesting(kind: Kind) -> bool {
    matches!(
        kind.class(),
        Class::Program
            | Class::Archive
            | Class::Disk
            | Class::Shortcut
            | Class::Document
            | Class::Script
    )
}

fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/')
}

/// Base64 as browsers read it: what is no letter of it is passed over.
pub(super) fn base64(text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for octet in text {
        let value = match octet {
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            octets.push(u8::try_from((bits >> held) & 0xff).unwrap_or(0));
        }
    }
    octets
}
