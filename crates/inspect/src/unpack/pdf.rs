//! PDF: embedded files, and the objects that are packed together, in which actions and scripts lie.
//!
//! No cross-reference is followed: every object is found where it stands, as readers do that mend broken files. Where
//! an object stands twice, or a dictionary has a key twice, readers take one or the other, and both are tried.
//! Filters of pictures are left alone.

mod filters;
mod value;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use memchr::memmem;

use self::filters::Filter;
use self::value::{Value, meets, unescaped, value};
use super::{Member, Sink, Unread};
use crate::octets::{any_of, find, holds, rest, some, utf16be};
use crate::{Limit, LimitReached};

/// The type given to packed objects, so that whoever judges content looks for actions in them.
pub(crate) const OBJECTS: &str = "application/x-pdf-objects";

/// More streams than the largest books have.
const STREAMS_MAX: usize = 100_000;

/// Where objects begin, of more than the largest books have.
const OBJECTS_MAX: usize = 1 << 20;

/// Objects of one number that are tried: an older and a newer one, and what may be put between.
const SAME_MAX: usize = 4;

/// Heads of objects before a stream that are looked at: one is its own, others may stand in strings of it.
const HEADS_MAX: usize = 16;

/// References that are followed: each packed stream may have some.
const LOOKUPS_MAX: usize = 8192;

/// How much of an object is its dictionary, where it is looked up by its number.
const DICTIONARY_MAX: usize = 4096;

/// Dictionaries of embedded files that are looked at: more than a message may have files.
const TITLES_MAX: usize = 4096;

/// Octets of their names. Honest ones are as short as those of other files.
const TITLE_OCTETS_MAX: usize = 16 << 20;

/// `/EF`, each of its letters as it is or as a number.
static EMBEDDED: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| any_of(&[b"/EF", b"/#45F", b"/#45#46", b"/E#46"]));

/// A stream whose content matters, or may.
struct Stream<'o> {
    number: Option<u32>,
    dictionary: &'o [u8],
    /// From its beginning to the end of all.
    body: &'o [u8],
    /// It is an embedded file by its own type.
    embedded: bool,
}

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let mut pdf = Pdf {
        octets,
        objects: None,
        titles: BTreeMap::new(),
        titles_left: TITLES_MAX,
        title_octets_left: TITLE_OCTETS_MAX,
        lookups_left: LOOKUPS_MAX,
        cut_off: false,
    };
    // Without all of them an embedded file may pass for any other stream.
    if pdf.titles(octets).is_none() {
        sink.limit(LimitReached(Limit::Parts));
        return;
    }
    let mut streams = Vec::new();
    let mut count = 0_usize;
    let (mut at, mut before) = (0, 0);
    while let Some(found) = find(rest(octets, at), b"stream") {
        let mark = at.saturating_add(found);
        at = mark.saturating_add(6);
        if mark >= 3 && some(octets, mark - 3, 3) == b"end" {
            before = at;
            continue;
        }
        count += 1;
        if count > STREAMS_MAX {
            sink.limit(LimitReached(Limit::Parts));
            return;
        }
        let head = some(octets, before, mark - before);
        before = at;
        let begin = object_begin(head);
        let dictionary = rest(head, begin);
        let number = object_number(some(head, 0, begin.saturating_sub(3)));
        let (embedded, objects) = {
            let dictionary = unescaped(dictionary);
            (
                holds(&dictionary, b"EmbeddedFile"),
                holds(&dictionary, b"/ObjStm"),
            )
        };
        let start = match some(octets, at, 2) {
            b"\r\n" => at + 2,
            [b'\n' | b'\r', ..] => at + 1,
            _ => at,
        };
        let stream = Stream {
            number,
            dictionary,
            body: rest(octets, start),
            embedded,
        };
        if objects || embedded {
            at = start.saturating_add(find(stream.body, b"endstream").unwrap_or(stream.body.len()));
        }
        if objects && !embedded {
            if !pdf.objects(&stream, sink) {
                return;
            }
        } else if embedded || number.is_some() {
            streams.push(stream);
        }
    }
    for stream in streams {
        let names = stream.number.and_then(|number| pdf.titles.get(&number));
        if !stream.embedded && names.is_none() {
            continue;
        }
        let names = names.cloned().unwrap_or_default();
        for (content, unread) in pdf.contents(&stream, sink) {
            let member = Member {
                names: names.clone(),
                octets: content,
                unread,
                ..Member::default()
            };
            if !sink.member(member) {
                return;
            }
        }
    }
    if pdf.cut_off {
        sink.limit(LimitReached(Limit::Parts));
    }
}

/// Where behind the beginning of its object a dictionary stands, before a stream. A string in it may look like one; the
/// object begins where, strings left aside, no other ends behind.
fn object_begin(head: &[u8]) -> usize {
    let mut begin = None;
    let mut end = head.len();
    for nth in 0..=HEADS_MAX {
        let Some(at) = memmem::rfind(some(head, 0, end), b"obj") else {
            break;
        };
        if nth == HEADS_MAX {
            return 0;
        }
        end = at;
        if some(head, 0, at).ends_with(b"end") {
            continue;
        }
        let behind = at.saturating_add(3);
        if begin.is_some() && meets(rest(head, behind), b"endobj") {
            break;
        }
        begin = Some(behind);
    }
    begin.unwrap_or(0)
}

/// The number of the object that a head ends with: `12 0`.
fn object_number(head: &[u8]) -> Option<u32> {
    let head = rest(head, head.len().saturating_sub(64));
    let mut words = head
        .rsplit(|octet| !octet.is_ascii_digit())
        .filter(|word| !word.is_empty());
    words.next()?;
    std::str::from_utf8(words.next()?).ok()?.parse().ok()
}

struct Pdf<'o> {
    octets: &'o [u8],
    /// Numbers of objects and where each begins, in order, once that is asked for.
    objects: Option<Vec<(u32, usize)>>,
    /// The names of embedded files, by the number of the object that holds each.
    titles: BTreeMap<u32, Vec<String>>,
    titles_left: usize,
    title_octets_left: usize,
    lookups_left: usize,
    /// More objects or references than are looked at.
    cut_off: bool,
}

impl<'o> Pdf<'o> {
    /// Hands on objects that are packed together. False: there is no sense in going on.
    fn objects(&mut self, stream: &Stream<'o>, sink: &mut Sink<'_>) -> bool {
        for (content, unread) in self.contents(stream, sink) {
            if self.titles(&content).is_none() {
                sink.limit(LimitReached(Limit::Parts));
                return false;
            }
            let member = Member {
                types: vec![OBJECTS.to_owned()],
                octets: content,
                // Writers often get these wrong, and readers do not mind; a limit or a way of packing is another thing.
                unread: unread.filter(|unread| *unread != Unread::Damaged),
                inner: true,
                ..Member::default()
            };
            if !sink.member(member) {
                return false;
            }
        }
        true
    }

    /// Where the objects of this number begin. None: there are more than are looked at.
    fn of_number(&mut self, number: u32) -> Option<&[(u32, usize)]> {
        if self.objects.is_none() {
            let mut objects = Vec::new();
            for at in memmem::find_iter(self.octets, b"obj") {
                let head = some(self.octets, at.saturating_sub(64), at.min(64));
                if head.ends_with(b"end") {
                    continue;
                }
                if objects.len() >= OBJECTS_MAX {
                    // Nor is it of any use to look again.
                    self.lookups_left = 0;
                    return None;
                }
                objects.extend(object_number(head).map(|number| (number, at.saturating_add(3))));
            }
            objects.sort_unstable();
            self.objects = Some(objects);
        }
        let objects = self.objects.as_deref().unwrap_or_default();
        let begin = objects.partition_point(|(other, _)| *other < number);
        let end = objects.partition_point(|(other, _)| *other <= number);
        // The newest are the last.
        objects.get(begin.max(end.saturating_sub(SAME_MAX))..end)
    }

    /// What a value may be: itself, or the objects that it refers to.
    fn resolved(&mut self, found: &Value) -> Vec<Value> {
        let Value::Reference(number) = found else {
            return vec![found.clone()];
        };
        let octets = self.octets;
        let left = self.lookups_left.checked_sub(1);
        self.lookups_left = left.unwrap_or(0);
        let objects = left.and_then(|_| self.of_number(*number));
        let Some(objects) = objects else {
            self.cut_off = true;
            return Vec::new();
        };
        objects
            .iter()
            .filter_map(|(_, at)| value(some(octets, *at, DICTIONARY_MAX)))
            .collect()
    }

    /// All that a key of a dictionary may be: some readers take the first of several, some the last.
    fn entry(&mut self, dictionary: &Value, keys: [&[u8]; 2]) -> Vec<Value> {
        let Value::Dictionary(entries) = dictionary else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (key, value) in entries {
            if keys.contains(&&**key) && found.len() < SAME_MAX {
                found.extend(self.resolved(value));
            }
        }
        found
    }

    /// What a stream may hold: one content, unless readers may take one filter or another.
    fn contents(
        &mut self,
        stream: &Stream<'o>,
        sink: &mut Sink<'_>,
    ) -> Vec<(Cow<'o, [u8]>, Option<Unread>)> {
        let dictionary = value(stream.dictionary).unwrap_or(Value::Other);
        // The length is right where the end stands behind it; what is packed may hold the word.
        let is_end = |length: usize| {
            let behind = some(stream.body, length, 16).trim_ascii_start();
            length > 0 && behind.starts_with(b"endstream")
        };
        let length = self
            .entry(&dictionary, [b"Length", b"Length"])
            .into_iter()
            .find_map(|length| match length {
                Value::Number(length) if is_end(length) => Some(length),
                _ => None,
            });
        let end = length.or_else(|| find(stream.body, b"endstream"));
        let raw = some(stream.body, 0, end.unwrap_or(stream.body.len()));
        // Bodies may lie over each other.
        if !sink.read(crate::octets::count(raw)) {
            return Vec::new();
        }
        let filters = self.entry(&dictionary, [b"Filter", b"F"]);
        let parameters = self.entry(&dictionary, [b"DecodeParms", b"DP"]);
        let ways = filters.len().max(parameters.len()).clamp(1, SAME_MAX);
        let mut contents = Vec::new();
        for way in 0..ways {
            let pick = |values: &[Value]| values.get(way).or(values.last()).cloned();
            let chain = self.chain(pick(&filters), pick(&parameters));
            contents.push(filters::decode(&chain, raw, sink));
        }
        contents
    }

    /// Filters in order, each with its parameters.
    fn chain(&mut self, names: Option<Value>, parameters: Option<Value>) -> Vec<Filter> {
        let list = |value: Option<Value>| match value {
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
            None => Vec::new(),
        };
        let mut parameters = list(parameters).into_iter();
        let mut chain = Vec::new();
        for name in list(names).into_iter().take(filters::MAX + 1) {
            let parameters = parameters.next().map(|one| self.resolved(&one));
            let parameters = parameters.and_then(|found| found.into_iter().next_back());
            if let Some(Value::Name(name)) = self.resolved(&name).into_iter().next_back() {
                let number = |pdf: &mut Self, key: &[u8]| {
                    let values = pdf.entry(parameters.as_ref()?, [key, key]);
                    values.into_iter().find_map(|value| match value {
                        Value::Number(number) => Some(number),
                        _ => None,
                    })
                };
                chain.push(Filter {
                    predictor: number(self, b"Predictor"),
                    colors: number(self, b"Colors"),
                    bits: number(self, b"BitsPerComponent"),
                    columns: number(self, b"Columns"),
                    early: number(self, b"EarlyChange"),
                    name,
                });
            }
        }
        chain
    }

    /// Notes the names of embedded files, from the dictionaries that have `/EF`. None: there are more than are looked at.
    fn titles(&mut self, octets: &[u8]) -> Option<()> {
        let search = EMBEDDED.as_ref()?;
        for found in search.find_iter(octets) {
            self.titles_left = self.titles_left.checked_sub(1)?;
            let at = found.start();
            let files = value(some(octets, found.end(), 1024)).unwrap_or(Value::Other);
            let mut numbers = Vec::new();
            for files in self.resolved(&files) {
                let Value::Dictionary(entries) = files else {
                    continue;
                };
                for (_, file) in entries {
                    match file {
                        Value::Reference(number) if !numbers.contains(&number) => {
                            numbers.push(number);
                        }
                        _ => {}
                    }
                }
            }
            if numbers.is_empty() {
                continue;
            }
            let names = self.names(octets, at)?;
            for number in numbers {
                let titles = self.titles.entry(number).or_default();
                for name in &names {
                    if !titles.contains(name) {
                        self.title_octets_left = self.title_octets_left.checked_sub(name.len())?;
                        titles.push(name.clone());
                    }
                }
            }
        }
        Some(())
    }

    /// The names that stand around `/EF`.
    fn names(&mut self, octets: &[u8], at: usize) -> Option<Vec<String>> {
        let from = at.saturating_sub(1024);
        let around = some(octets, from, 2048);
        let mid = at - from;
        let begin = memmem::rfind(some(around, 0, mid), b" obj").unwrap_or(0);
        let end = find(rest(around, mid), b"endobj").map_or(around.len(), |end| mid + end);
        let object = unescaped(some(around, begin, end.saturating_sub(begin)));
        let mut names = Vec::new();
        for key in [b"/UF".as_slice(), b"/F"] {
            for place in memmem::find_iter(&object, key) {
                let value = rest(&object, place + key.len()).trim_ascii_start();
                // A reference is a rare thing here, and so many keys are not.
                let texts = match value.first() {
                    Some(b'(') => vec![self::value::value(value)?],
                    Some(b'<') if value.get(1) != Some(&b'<') => vec![self::value::value(value)?],
                    Some(b'0'..=b'9') if names.len() < SAME_MAX => {
                        let found = self::value::value(value)?;
                        self.resolved(&found)
                    }
                    _ => continue,
                };
                for text in texts {
                    let Value::Text(text) = text else {
                        continue;
                    };
                    self.title_octets_left = self.title_octets_left.checked_sub(text.len())?;
                    let text = title(&text);
                    if !text.is_empty() && !names.contains(&text) {
                        names.push(text);
                    }
                }
            }
        }
        Some(names)
    }
}

/// A string as a name: UTF-16 where it says so.
fn title(octets: &[u8]) -> String {
    match octets.strip_prefix(b"\xfe\xff") {
        Some(wide) => utf16be(wide),
        None => crate::octets::name(octets),
    }
}

/// Digits up to `>`.
pub(super) fn hexadecimal(text: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = text
        .iter()
        .take_while(|octet| **octet != b'>')
        .filter_map(|octet| char::from(*octet).to_digit(16))
        .filter_map(|digit| u8::try_from(digit).ok())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair.first().copied().unwrap_or(0) << 4 | pair.get(1).copied().unwrap_or(0))
        .collect()
}
