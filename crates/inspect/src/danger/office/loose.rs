//! What can be told of a part that is no well-formed XML, by its letters alone.

use super::{PROGRAMS, code_format, has_word, parts};
use crate::danger::Said;
use crate::octets::{find, holds, rest, some};
use crate::{Budget, Limit, LimitReached};

/// Elements of one name that are looked at.
const ELEMENTS_MAX: usize = 20_000;

/// How much of an element is looked at.
const ELEMENT: usize = 4096;

pub(super) fn judge(xml: &[u8], budget: &mut Budget, said: &mut Said<'_>) {
    let lower = xml.to_ascii_lowercase();
    let mut reached = None;
    // Each sees what stands behind its name, and says how much of that nobody else has to see.
    let mut each = |name: &[u8], see: &mut dyn FnMut(&[u8]) -> usize| {
        let mut at = 0;
        let mut count = 0;
        while reached.is_none()
            && let Some(next) = find(rest(&lower, at), name)
        {
            at += next + name.len();
            let from = some(&lower, at, ELEMENT);
            if from.first().is_some_and(u8::is_ascii_alphanumeric) {
                continue;
            }
            count += 1;
            let paid = budget.search(from.len());
            reached = paid.err();
            if count > ELEMENTS_MAX {
                reached = Some(LimitReached(Limit::Readings));
            }
            at += see(from);
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
            begin + end
        });
        instructions.push(b'\n');
    }
    let names_program = PROGRAMS
        .iter()
        .any(|program| holds(&instructions, program.as_bytes()));
    let mut starts =
        holds(&instructions, b"ddeauto") || (names_program && has_word(&instructions, b"dde"));
    each(b"ddeservice", &mut |from| {
        let service = crate::octets::name(value(from));
        starts |= parts::is_program(&service, &[]);
        0
    });
    each(b"formatcode", &mut |from| {
        code_format(value(from), said);
        0
    });
    each(b"relationship", &mut |from| {
        let end = memchr::memchr(b'>', from).unwrap_or(from.len());
        let element = some(from, 0, end);
        if let Some(at) = find(element, b"target=") {
            let target = value(some(element, at.saturating_add(6), ELEMENT));
            let target = parts::plain(&crate::octets::name(target));
            let is = |kind: &str| holds(element, format!("/{kind}").as_bytes());
            parts::relation(&is, &target, said);
        }
        0
    });
    if starts {
        said.say("office-dde", "starts a program by DDE", "");
    }
    if let Some(reached) = reached {
        said.limit(reached);
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
