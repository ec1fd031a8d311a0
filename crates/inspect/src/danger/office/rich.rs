//! What rich text does when it is opened: fields of DDE, a template from elsewhere.

use memchr::memmem;

use super::{fields, parts};
use crate::danger::Said;
use crate::octets::{holds, rest, some};
use crate::unpack::rtf_number as number;
use crate::{Limit, LimitReached};

pub(super) fn judge(octets: &[u8], said: &mut Said<'_>) {
    let template = groups(octets, b"\\template", &mut |group| {
        parts::template(&group.text, said);
    });
    let mut starts = false;
    let field = groups(octets, b"\\fldinst", &mut |group| {
        starts |= fields::starts(&group.text, group.is_computed);
    });
    if starts {
        said.say("office-dde", "starts a program by DDE", "a field");
    }
    if !(template && field) {
        said.limit(LimitReached(Limit::Readings));
    }
}

/// The text of a group.
#[derive(Default)]
struct Group {
    text: String,
    /// Another of its kind lies in it.
    is_computed: bool,
    /// How many groups are open in it, and how many more in those that readers pass over.
    depth: usize,
    hidden: usize,
}

/// The text of all groups that a control word begins, by each number of characters that may stand for one that is given by
/// its own, and by either text of those that are given twice. False where they lie more deeply than is looked into.
fn groups(octets: &[u8], word: &[u8], see: &mut dyn FnMut(&Group)) -> bool {
    let (mut beyond, mut is_whole) = (0, true);
    for at in memmem::find_iter(octets, word) {
        let from = at.saturating_add(word.len());
        if at < beyond || octets.get(from).is_some_and(u8::is_ascii_alphabetic) {
            continue;
        }
        let text = rest(octets, from);
        let (mut end, all) = read(text, word, 1, false, see);
        is_whole &= all;
        let inner = some(text, 0, end);
        let mut ways = Vec::new();
        if holds(inner, b"\\ud") {
            ways.push((1, true));
        }
        if holds(inner, b"\\u") {
            let before = some(octets, at.saturating_sub(NEAR), at.min(NEAR));
            let stated = memmem::rfind(before, b"\\uc")
                .and_then(|at| number(before, at.saturating_add(3), NEAR).0)
                .and_then(|number| usize::try_from(number).ok());
            ways.push((0, false));
            ways.extend(
                stated
                    .filter(|stated| *stated > 1)
                    .map(|stated| (stated, false)),
            );
        }
        for (instead, twofold) in ways {
            let (to, all) = read(text, word, instead, twofold, see);
            end = end.max(to);
            is_whole &= all;
        }
        beyond = from.saturating_add(end);
    }
    is_whole
}

/// How far back it is looked for how many characters stand for one.
const NEAR: usize = 512;

/// Groups of one kind within one another that are told apart.
const DEPTH_MAX: usize = 100;

/// Reads a group to its end, and gives back where that is, and whether all of it was read. `twofold`: where a text is given
/// twice (`\\upr`), the second is taken, in Unicode, which programs of today show.
fn read(
    text: &[u8],
    word: &[u8],
    instead: usize,
    twofold: bool,
    see: &mut dyn FnMut(&Group),
) -> (usize, bool) {
    let mut open = vec![Group::default()];
    let (mut instead, mut is_whole) = (instead, true);
    // Characters that still stand for one by number; the first of two texts comes next.
    let (mut skipped, mut first) = (0_usize, false);
    // The first half of a character beyond 16 bits.
    let mut high = None;
    let mut at = 0;
    while let Some(octet) = text.get(at) {
        at = at.saturating_add(1);
        let hidden = open.last().map_or(0, |group| group.hidden);
        let letter = match octet {
            b'{' => {
                skipped = 0;
                let passes = std::mem::take(&mut first) || is_hidden(rest(text, at), word, twofold);
                if let Some(group) = open.last_mut() {
                    if hidden > 0 || passes {
                        group.hidden += 1;
                    } else {
                        group.depth += 1;
                    }
                }
                continue;
            }
            b'}' => {
                skipped = 0;
                if open.last_mut().is_some_and(Group::ends) {
                    open.pop().iter().for_each(&mut *see);
                    match open.last_mut() {
                        // It began within a group of its own.
                        Some(outer) => outer.ends(),
                        None => return (at, is_whole),
                    };
                }
                continue;
            }
            b'\r' | b'\n' => continue,
            b'\\' => {
                let letters = rest(text, at)
                    .iter()
                    .take_while(|letter| letter.is_ascii_alphabetic())
                    .count();
                let found = some(text, at, letters);
                if letters == 0 {
                    let symbol = text.get(at).copied().unwrap_or(b'\\');
                    at = at.saturating_add(1);
                    match symbol {
                        b'\'' => {
                            let digits = some(text, at, 2);
                            at = at.saturating_add(2);
                            let value = std::str::from_utf8(digits).ok();
                            let value = value.and_then(|text| u8::from_str_radix(text, 16).ok());
                            char::from(value.unwrap_or(b'?'))
                        }
                        b'{' | b'}' | b'\\' => char::from(symbol),
                        b'~' | b'\r' | b'\n' | b'\t' => ' ',
                        _ => continue,
                    }
                } else {
                    let (value, end) = number(text, at.saturating_add(letters), usize::MAX);
                    at = end;
                    if text.get(at) == Some(&b' ') {
                        at = at.saturating_add(1);
                    }
                    let positive = value.and_then(|value| usize::try_from(value).ok());
                    match found {
                        b"bin" => {
                            at = at.saturating_add(positive.unwrap_or(0));
                            continue;
                        }
                        b"uc" => {
                            instead = positive.unwrap_or(1);
                            continue;
                        }
                        b"u" => {
                            skipped = instead;
                            let unit = value.unwrap_or(0).rem_euclid(1 << 16);
                            let unit = u16::try_from(unit).unwrap_or(0);
                            let letter = wide(&mut high, unit);
                            if let (Some(letter), 0, Some(group)) =
                                (letter, hidden, open.last_mut())
                            {
                                group.text.push(letter);
                            }
                            continue;
                        }
                        b"par" | b"line" | b"tab" => ' ',
                        b"upr" => {
                            first = twofold;
                            continue;
                        }
                        found if rest(word, 1) == found => {
                            if open.len() >= DEPTH_MAX {
                                is_whole = false;
                                continue;
                            }
                            // Also in what is passed over: it may be known to a reader.
                            if let Some(outer) = open.last_mut() {
                                outer.is_computed |= hidden == 0;
                            }
                            open.push(Group::default());
                            continue;
                        }
                        _ => continue,
                    }
                }
            }
            letter => char::from(*letter),
        };
        if skipped > 0 {
            skipped -= 1;
        } else if let (0, Some(group)) = (hidden, open.last_mut()) {
            group.text.push(letter);
        }
    }
    open.iter().for_each(see);
    (at, is_whole)
}

impl Group {
    /// Ends the innermost group in it; true where that is itself.
    fn ends(&mut self) -> bool {
        if self.hidden > 0 {
            self.hidden -= 1;
            return false;
        }
        let is_over = self.depth == 0;
        self.depth = self.depth.saturating_sub(1);
        is_over
    }
}

/// Whether a group is one that readers pass over that do not know it, and not another field's.
fn is_hidden(text: &[u8], word: &[u8], twofold: bool) -> bool {
    let text = text.trim_ascii_start();
    text.strip_prefix(b"\\*").is_some_and(|text| {
        let text = text.trim_ascii_start();
        let is_second = twofold
            && text.starts_with(b"\\ud")
            && !text.get(3).is_some_and(u8::is_ascii_alphabetic);
        !(is_second || text.starts_with(word))
    })
}

/// The character that 16 bits make, by themselves or with those before.
fn wide(high: &mut Option<u16>, unit: u16) -> Option<char> {
    let before = high.take();
    let units = before.into_iter().chain([unit]);
    if (0xd800..0xdc00).contains(&unit) {
        *high = Some(unit);
        return None;
    }
    char::decode_utf16(units).last()?.ok()
}
