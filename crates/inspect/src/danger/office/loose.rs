//! What can be told of a part that is no well-formed XML, by its letters alone.

use super::{PROGRAMS, code_format, has_word, is_shared_document};
use crate::danger::{Said, shown};
use crate::octets::{begins, find, holds, some};
use crate::{Limit, LimitReached};

/// Elements of one name that are looked at.
const ELEMENTS_MAX: usize = 20_000;

/// How much of an element is looked at.
const ELEMENT: usize = 4096;

pub(super) fn judge(xml: &[u8], said: &mut Said<'_>) {
    let lower = xml.to_ascii_lowercase();
    let mut is_cut = false;
    let mut each = |name: &[u8], see: &mut dyn FnMut(&[u8])| {
        for (nth, at) in memchr::memmem::find_iter(&lower, name).enumerate() {
            if nth >= ELEMENTS_MAX {
                is_cut = true;
                break;
            }
            see(some(&lower, at.saturating_add(name.len()), ELEMENT));
        }
    };
    let mut instructions = Vec::new();
    for name in [&b"instrtext"[..], b"instr"] {
        each(name, &mut |from| {
            let begin =
                memchr::memchr2(b'>', b'=', from).map_or(0, |begin| begin.saturating_add(1));
            let text = some(from, begin, ELEMENT);
            let end = memchr::memchr(b'<', text).unwrap_or(text.len());
            instructions.extend_from_slice(some(text, 0, end));
        });
        instructions.push(b'\n');
    }
    let names_program = PROGRAMS
        .iter()
        .any(|program| holds(&instructions, program.as_bytes()));
    let mut starts =
        holds(&instructions, b"ddeauto") || (names_program && has_word(&instructions, b"dde"));
    each(b"ddeservice", &mut |from| {
        let service = value(from);
        starts |= PROGRAMS
            .iter()
            .any(|program| begins(service, program.as_bytes()));
    });
    let mut formats = Vec::new();
    each(b"formatcode", &mut |from| {
        formats.push(value(from).to_vec());
    });
    let mut targets = Vec::new();
    each(b"relationship ", &mut |from| {
        let end = memchr::memchr(b'>', from).unwrap_or(from.len());
        let element = some(from, 0, end);
        if let Some(at) = find(element, b"target=") {
            let target = value(some(element, at.saturating_add(6), ELEMENT));
            if let Some(rule) = rule_of(element, target) {
                targets.push((rule, target.to_vec()));
            }
        }
    });
    if starts {
        said.say("office-dde", "starts a program by DDE", "");
    }
    for format in formats {
        code_format(&format, said);
    }
    targets.truncate(super::SAID_MAX);
    for (rule, target) in targets {
        said.say(
            rule,
            "loads something from elsewhere",
            shown(&crate::octets::name(&target)),
        );
    }
    if is_cut {
        said.limit(LimitReached(Limit::Readings));
    }
}

/// The value behind an attribute's name.
fn value(from: &[u8]) -> &[u8] {
    let value = from.trim_ascii_start();
    let value = value.strip_prefix(b"=").unwrap_or_default();
    let Some((quote, value)) = value.trim_ascii_start().split_first() else {
        return b"";
    };
    let end = memchr::memchr(*quote, value).unwrap_or(value.len());
    some(value, 0, end)
}

/// The rule that speaks of a relation, both in small letters.
fn rule_of(element: &[u8], target: &[u8]) -> Option<&'static str> {
    let web = target.starts_with(b"http");
    let script = target.starts_with(b"mhtml:")
        || target.starts_with(b"script:")
        || holds(target, b"!x-usc:")
        || holds(target, b"ms-msdt:");
    let object = holds(element, b"/oleobject") && !is_shared_document(target);
    if script || (web && (object || holds(element, b"/frame"))) {
        Some("office-object-external")
    } else {
        (web && holds(element, b"/attachedtemplate")).then_some("office-template-external")
    }
}
