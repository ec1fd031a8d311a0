//! Walks through a message and follows each reading.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use super::encodings::{Decoded, Encoding, decode, encodings};
use super::ends::{Shape, carriage_returns_as_ends, line_feeds_as_blanks};
use super::head::{Head, heads};
use super::lines::{Lines, find, trim_end};
use super::multipart::{Split, inferred, splits};
use super::names::{Names, names, readings_of};
use super::nature::{Nature, nature};
use super::params::Parsed;
use super::{Found, Note, Noted, Readings};
use crate::judge::rules;
use crate::kind::{self, Class, Kind};
use crate::{Budget, Content, ContentRule, Limit, LimitReached, Origin};

/// Attachments that one reading finds, by their numbers in the list of contents, in order.
type Set = Vec<usize>;

/// Follows readings, and remembers what they find.
pub(super) struct Walker<'a> {
    pub(super) raw: &'a [u8],
    pub(super) out: Readings<'a>,
    /// Contents by their length and how they begin and end.
    by_ends: HashMap<u64, Vec<Same>>,
    /// Where in the raw message bodies of parts begin that were read.
    pub(super) bodies: HashSet<usize>,
    /// What of the raw message was decoded.
    pub(super) decoded: Vec<Range<usize>>,
    /// Texts before and behind all parts that look as if parts stood in them.
    outside: Vec<(Vec<u8>, String)>,
    limits: Vec<LimitReached>,
    noted: HashMap<&'static str, HashSet<String>>,
}

/// Contents of the same octets, under whatever names.
struct Same {
    /// The first stands for all in sets.
    first: usize,
    others: Vec<usize>,
    /// How many octets that are, without blanks behind them.
    length: usize,
    /// Of all of them, once others came that begin and end alike.
    hash: Option<u64>,
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct At<'p> {
    place: &'p str,
    /// Few readers come here: what differs here counts for nothing.
    rare: bool,
}

impl At<'_> {
    /// Whether it is at the beginning of a message, and of no part of one.
    fn is_message(self) -> bool {
        self.place.is_empty() || self.place.ends_with("message")
    }
}

/// More texts outside of parts are not looked into.
const MAX_OUTSIDE: usize = 16;

/// More notes of one rule say nothing new. Of each rule by itself: what is harmless must not drown what is not.
const MAX_NOTES: usize = 20;

impl<'a> Walker<'a> {
    pub(super) fn new(raw: &'a [u8]) -> Self {
        Self {
            raw,
            out: Readings::default(),
            by_ends: HashMap::new(),
            bodies: HashSet::new(),
            decoded: Vec::new(),
            outside: Vec::new(),
            limits: Vec::new(),
            noted: HashMap::new(),
        }
    }

    pub(super) fn read(mut self, budget: &mut Budget) -> Readings<'a> {
        let raw = self.raw;
        let at = At {
            place: "",
            rare: false,
        };
        let usual = self.entity(budget, raw, b"text/plain", at);
        let shape = Shape::of(raw);
        if shape.bare_cr {
            let other = carriage_returns_as_ends(raw);
            let set = self.another(budget, &other, at);
            if set.is_some_and(|set| set != usual) {
                self.note(
                    &rules::MIME_AMBIGUOUS,
                    "a carriage return without a line feed",
                    at,
                );
            }
        }
        let rare = At { rare: true, ..at };
        if shape.nul {
            let other: Vec<u8> = raw.iter().copied().filter(|octet| *octet != 0).collect();
            let set = self.another(budget, &other, at);
            if set.is_some_and(|set| set != usual) {
                self.note(&rules::MIME_AMBIGUOUS, "an octet of zero", at);
            }
        }
        if shape.crlf && shape.bare_lf {
            let other = line_feeds_as_blanks(raw);
            self.another(budget, &other, rare);
        }
        for (text, place) in std::mem::take(&mut self.outside) {
            let found = super::carve::loose_parts(&mut self, budget, &text, false);
            let unknown = |id: &usize| self.out.contents.get(*id).is_some_and(|found| !found.usual);
            if found.iter().any(unknown) {
                let at = At {
                    place: &place,
                    rare: false,
                };
                self.note(
                    &rules::MIME_AMBIGUOUS,
                    "a part outside of the boundaries",
                    at,
                );
            }
        }
        super::carve::loose_parts(&mut self, budget, raw, true);
        super::carve::runs(&mut self, budget);
        self.out
    }

    /// Reads the whole message once more, with other line ends.
    fn another(&mut self, budget: &mut Budget, octets: &[u8], at: At<'_>) -> Option<Set> {
        let paid = budget
            .reading()
            .and_then(|()| budget.octets(octets.len() as u64));
        match paid {
            Ok(()) => Some(self.entity(budget, octets, b"text/plain", at)),
            Err(limit) => {
                self.limit(limit, at.place);
                None
            }
        }
    }

    fn entity(&mut self, budget: &mut Budget, octets: &[u8], default: &[u8], at: At<'_>) -> Set {
        if let Err(limit) = budget.part() {
            self.limit(limit, at.place);
            return Set::new();
        }
        let inner = budget.deeper(|budget| {
            let mut sets: Vec<(Set, &'static str)> = Vec::new();
            // A message in a digest needs no headers of its part (RFC 2046 section 5.1.5): the empty line is in order.
            let bare =
                default == b"message/rfc822" && matches!(octets, [b'\n', ..] | [b'\r', b'\n', ..]);
            for (index, head) in heads(octets, at.is_message()).iter().enumerate() {
                if index > 0 && (bare || !self.pays_reading(budget, at)) {
                    break;
                }
                if let Some(why) = head.why {
                    self.note(&rules::MIME_BROKEN, why, at);
                }
                let set = self.part(budget, head, default, at);
                sets.push((set, head.why.unwrap_or_default()));
            }
            self.agreed(sets, at)
        });
        inner.unwrap_or_else(|limit| {
            self.limit(limit, at.place);
            Set::new()
        })
    }

    fn part(&mut self, budget: &mut Budget, head: &Head<'_>, default: &[u8], at: At<'_>) -> Set {
        if !at.rare
            && let Some(block) = self.keep(budget, Cow::Borrowed(head.block), at)
        {
            self.out.heads.push((at.place.to_owned(), block));
        }
        if head.cut_off {
            self.limit(LimitReached(Limit::Readings), at.place);
        }
        let types: Vec<Vec<Parsed>> = head.types.iter().map(readings_of).collect();
        let dispositions: Vec<Vec<Parsed>> = head.dispositions.iter().map(readings_of).collect();
        let names = names(&dispositions, &types);
        self.names_noted(&names, at);
        if names.cut_off {
            self.limit(LimitReached(Limit::Readings), at.place);
        }
        let mut nature = nature(head, &types, default);
        if let Err(limit) = nature.admit(head.body, budget) {
            self.limit(limit, at.place);
        }
        for (list, what) in [
            (&head.types, "several Content-Type headers"),
            (&head.encodings, "several Content-Transfer-Encoding headers"),
            (&head.dispositions, "several Content-Disposition headers"),
        ] {
            if list.len() > 1 {
                self.note(&rules::MIME_BROKEN, what, at);
            }
        }
        for kind in &nature.types {
            if kind == "message/partial" {
                self.note(&rules::MESSAGE_PARTIAL, kind, at);
            } else if kind == "message/external-body" && !fetched_by_hand(&types, head.body) {
                self.note(&rules::MESSAGE_EXTERNAL_BODY, kind, at);
            }
        }
        if nature.cut_off {
            self.limit(LimitReached(Limit::Readings), at.place);
        }
        let encodings = self.encodings(head, at);
        let mut sets: Vec<(Set, &'static str)> = Vec::new();
        if let Some(boundaries) = &nature.multipart {
            let set = self.multipart(budget, head.body, boundaries, &encodings, nature.digest, at);
            sets.push((set, "a type that is not written as it should be"));
            if nature.multipart_uncertain && !nature.leaf {
                // Who sees no multipart shows text.
                sets.push((Set::new(), "a type that is not written as it should be"));
            }
        }
        if nature.message {
            let set = self.message(budget, head.body, &encodings, at);
            sets.push((set, "two types"));
            if !names.all.is_empty() {
                self.add(
                    Cow::Borrowed(&[]),
                    &names.all,
                    &nature.types,
                    Origin::Attachment,
                    at,
                    true,
                );
            }
        }
        if nature.leaf {
            let set = self.leaf(budget, head, &nature, &names, &encodings, &dispositions, at);
            sets.push((set, "two types"));
            if nature.multipart.is_none()
                && self
                    .cuts(budget, head.body, &nature.stray, at)
                    .iter()
                    .any(|(_, exact)| *exact)
                && self.pays_reading(budget, at)
            {
                let stray = &nature.stray;
                let set = self.multipart(budget, head.body, stray, &encodings, false, at);
                sets.push((set, "a boundary where no parts are"));
            }
        }
        self.agreed(sets, at)
    }

    /// The encodings that the headers may mean; the usual one first.
    fn encodings(&mut self, head: &Head<'_>, at: At<'_>) -> Vec<Encoding> {
        let mut found = Vec::new();
        let mut add = |encoding: Encoding| {
            if !found.contains(&encoding) {
                found.push(encoding);
            }
        };
        let mut broken = false;
        for field in &head.encodings {
            let (meant, clean) = encodings(field.value, head.body);
            broken |= !clean;
            for encoding in meant {
                add(encoding);
            }
            if !field.certain {
                broken = true;
                add(Encoding::Identity);
            }
        }
        if head.encodings.is_empty() {
            add(Encoding::Identity);
        }
        if broken {
            self.note(
                &rules::MIME_BROKEN,
                "an encoding that no standard names",
                at,
            );
        }
        found
    }

    fn multipart(
        &mut self,
        budget: &mut Budget,
        body: &[u8],
        boundaries: &[Vec<u8>],
        encodings: &[Encoding],
        digest: bool,
        at: At<'_>,
    ) -> Set {
        let mut sets: Vec<(Set, &'static str)> = Vec::new();
        let raw_cuts = self.cuts(budget, body, boundaries, at);
        let exact = raw_cuts.iter().any(|(_, exact)| *exact);
        let distinct = raw_cuts.len();
        for (index, (split, _)) in raw_cuts.iter().enumerate() {
            if index > 0 && !self.pays_reading(budget, at) {
                break;
            }
            let set = self.parts(budget, body, split, digest, at);
            sets.push((set, "its boundary can be read in more than one way"));
        }
        if distinct == 0 || !exact {
            if distinct > 0 {
                sets.push((Set::new(), "what stands behind its boundary"));
            } else if let Some(boundary) = inferred(body) {
                self.note(
                    &rules::MIME_BROKEN,
                    "no part has the boundary that is named",
                    at,
                );
                sets.push((Set::new(), "no part has the boundary that is named"));
                for cut in splits(body, boundary).iter().take(1) {
                    let set = self.parts(budget, body, &cut.split, digest, at);
                    sets.push((set, "no part has the boundary that is named"));
                }
            }
        }
        for encoding in encodings.iter().filter(|one| **one != Encoding::Identity) {
            self.note(&rules::MIME_BROKEN, "a multipart that is encoded", at);
            // Many honest senders say quoted-printable of a multipart and mean its parts.
            let rare = *encoding != Encoding::Base64 && distinct > 0;
            for decoded in decode(body, *encoding, budget.octets_left()) {
                if let Err(limit) = pay(budget, &decoded) {
                    self.limit(limit, at.place);
                    break;
                }
                let here = At {
                    rare: at.rare || rare || decoded.rare,
                    ..at
                };
                let inner = self.cuts(budget, &decoded.octets, boundaries, here);
                for (split, _) in &inner {
                    if !self.pays_reading(budget, at) {
                        break;
                    }
                    let set = self.parts(budget, &decoded.octets, split, digest, here);
                    if !here.rare {
                        sets.push((set, "a multipart that is encoded"));
                    }
                }
                if !inner.is_empty() && distinct == 0 {
                    sets.push((Set::new(), "a multipart that is encoded"));
                }
                super::carve::loose_parts(self, budget, &decoded.octets, false);
            }
        }
        if sets.is_empty() {
            self.text_files(budget, body, at);
        }
        self.agreed(sets, at)
    }

    /// Which ways to cut a body there are, by all boundaries; `true`: its boundary stands alone in its line.
    fn cuts(
        &mut self,
        budget: &mut Budget,
        body: &[u8],
        boundaries: &[Vec<u8>],
        at: At<'_>,
    ) -> Vec<(Split, bool)> {
        let mut found: Vec<(Split, bool)> = Vec::new();
        for boundary in boundaries {
            if let Err(limit) = budget.search(body.len()) {
                self.limit(limit, at.place);
                break;
            }
            for cut in splits(body, boundary) {
                if !found
                    .iter()
                    .any(|(other, _)| other.parts == cut.split.parts)
                {
                    found.push((cut.split, cut.exact));
                }
            }
        }
        found
    }

    fn parts(
        &mut self,
        budget: &mut Budget,
        body: &[u8],
        split: &Split,
        digest: bool,
        at: At<'_>,
    ) -> Set {
        let default: &[u8] = if digest {
            b"message/rfc822"
        } else {
            b"text/plain"
        };
        let mut all = Set::new();
        for (index, range) in split.parts.iter().enumerate() {
            if self.limits.contains(&LimitReached(Limit::Parts)) {
                break;
            }
            let number = index + 1;
            let place = if at.place.is_empty() {
                number.to_string()
            } else {
                format!("{}.{number}", at.place)
            };
            let part = body.get(range.clone()).unwrap_or_default();
            let here = At {
                place: &place,
                rare: at.rare,
            };
            all.extend(self.entity(budget, part, default, here));
        }
        for range in [&split.preamble, &split.epilogue] {
            let text = body.get(range.clone()).unwrap_or_default();
            if !at.rare && self.outside.len() < MAX_OUTSIDE && has_part_headers(text) {
                self.outside.push((text.to_vec(), at.place.to_owned()));
            }
            self.text_files(budget, text, at);
        }
        sorted(all)
    }

    fn message(
        &mut self,
        budget: &mut Budget,
        body: &[u8],
        encodings: &[Encoding],
        at: At<'_>,
    ) -> Set {
        let mut sets = Vec::new();
        let place = if at.place.is_empty() {
            "message".to_owned()
        } else {
            format!("{}.message", at.place)
        };
        for (index, encoding) in encodings.iter().enumerate() {
            if index > 0 && !self.pays_reading(budget, at) {
                break;
            }
            for decoded in decode(body, *encoding, budget.octets_left()) {
                let here = At {
                    place: &place,
                    rare: at.rare || decoded.rare,
                };
                if *encoding != Encoding::Identity {
                    if let Err(limit) = pay(budget, &decoded) {
                        self.limit(limit, at.place);
                        break;
                    }
                    super::carve::loose_parts(self, budget, &decoded.octets, false);
                }
                let set = self.entity(budget, &decoded.octets, b"text/plain", here);
                if !here.rare {
                    sets.push((set, "an encoded message"));
                }
            }
        }
        // An encoded message is against the standard: some readers take it as it stands.
        if !encodings.contains(&Encoding::Identity) && self.pays_reading(budget, at) {
            let here = At {
                place: &place,
                rare: true,
            };
            self.entity(budget, body, b"text/plain", here);
        }
        self.agreed(sets, at)
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of one part")]
    fn leaf(
        &mut self,
        budget: &mut Budget,
        head: &Head<'_>,
        nature: &Nature,
        names: &Names,
        encodings: &[Encoding],
        dispositions: &[Vec<Parsed>],
        at: At<'_>,
    ) -> Set {
        let body = head.body;
        if let Some(start) = self.offset(body) {
            self.bodies.insert(start);
        }
        let attached = dispositions
            .iter()
            .flatten()
            .flat_map(|parsed| &parsed.readings)
            .any(|value| value.main.starts_with(b"attach"));
        let text = nature
            .types
            .iter()
            .all(|kind| kind.starts_with("text") || !kind.contains('/'));
        let origin = if attached || !names.all.is_empty() || !text {
            Origin::Attachment
        } else {
            Origin::Body
        };
        let mut sets: Vec<(Set, &'static str)> = Vec::new();
        for encoding in encodings {
            let mut here = Vec::new();
            for decoded in decode(body, *encoding, budget.octets_left()) {
                if *encoding != Encoding::Identity
                    && let Err(limit) = pay(budget, &decoded)
                {
                    self.limit(limit, at.place);
                    break;
                }
                let textual = is_textual(&decoded.octets);
                let kind = (origin == Origin::Body).then(|| kind::of(&decoded.octets));
                let significant = kind.is_none_or(|kind| is_file_of(kind, &decoded.octets));
                let mut all_names = names.all.clone();
                if let Some(name) = &decoded.name {
                    all_names.push(super::charsets::guess(name));
                }
                let many = *encoding == Encoding::Unix || *encoding == Encoding::Yenc;
                let rare = At {
                    rare: at.rare || (decoded.rare && !many),
                    ..at
                };
                if textual && *encoding != Encoding::Identity {
                    super::carve::loose_parts(self, budget, &decoded.octets, false);
                    super::carve::runs_in(self, budget, &decoded.octets, at.place);
                }
                // Whoever decodes these does not ask what else stands there.
                if textual || text || *encoding == Encoding::Identity {
                    self.text_files(budget, &decoded.octets, at);
                }
                // An attachment that looks like a message is read as one whatever its type is.
                if nature.rare_message
                    && (origin == Origin::Body || kind::of(&decoded.octets) != Kind::Message)
                {
                    self.rare_message(budget, &decoded.octets, at);
                }
                let Some(octets) = self.keep(budget, decoded.octets, at) else {
                    break;
                };
                let before = self.out.contents.len();
                let id = self.add(octets, &all_names, &nature.types, origin, rare, false);
                if let Some(new) = self.out.contents.get_mut(before) {
                    new.kind = kind;
                }
                if !decoded.rare {
                    here.push(if significant { vec![id] } else { Set::new() });
                }
            }
            if *encoding != Encoding::Identity
                && let Some(start) = self.offset(body)
            {
                self.decoded.push(start..start + body.len());
            }
            let mut usual = here.into_iter();
            if let Some(set) = usual.next() {
                sets.push((set, "its encoding can be read in more than one way"));
            }
            sets.extend(usual.map(|set| (set, "octets that do not belong in its encoding")));
        }
        if !head.rare_encodings.is_empty() {
            self.rare_encodings(budget, head, nature, names, encodings, origin, at);
        }
        self.agreed(sets, at)
    }

    /// Follows encodings that few readers see.
    #[expect(clippy::too_many_arguments, reason = "all that is known of one part")]
    fn rare_encodings(
        &mut self,
        budget: &mut Budget,
        head: &Head<'_>,
        nature: &Nature,
        names: &Names,
        usual: &[Encoding],
        origin: Origin,
        at: At<'_>,
    ) {
        let mut rare = vec![Encoding::Identity];
        for field in &head.rare_encodings {
            for encoding in encodings(field.value, head.body).0 {
                if usual.contains(&encoding) || rare.contains(&encoding) {
                    continue;
                }
                rare.push(encoding);
                if !self.pays_reading(budget, at) {
                    return;
                }
                for decoded in decode(head.body, encoding, budget.octets_left()) {
                    if let Err(limit) = pay(budget, &decoded) {
                        self.limit(limit, at.place);
                        return;
                    }
                    let Some(octets) = self.keep(budget, decoded.octets, at) else {
                        return;
                    };
                    let here = At { rare: true, ..at };
                    self.add(octets, &names.all, &nature.types, origin, here, false);
                }
            }
        }
    }

    /// Follows what few readers take for a message.
    fn rare_message(&mut self, budget: &mut Budget, octets: &[u8], at: At<'_>) {
        if find(octets, b"content-", 0).is_none() || !self.pays_reading(budget, at) {
            return;
        }
        let place = format!("{}.message", at.place);
        let here = At {
            place: place.trim_start_matches('.'),
            rare: true,
        };
        self.entity(budget, octets, b"text/plain", here);
    }

    /// Files that stand in a text, as mail had them before MIME.
    pub(super) fn text_files(&mut self, budget: &mut Budget, text: &[u8], at: impl Into<Place>) {
        let place = at.into().0;
        let mut files = Vec::new();
        if find(text, b"begin", 0).is_some() {
            files = super::files::unix_files(text);
        }
        if memchr::memmem::find(text, b"=ybegin ").is_some() {
            files.extend(super::files::yenc_files(text));
        }
        if files.len() >= super::files::MAX_FILES {
            self.limit(LimitReached(Limit::Parts), &place);
        }
        for (name, octets) in files {
            if let Err(limit) = budget
                .part()
                .and_then(|()| budget.octets(octets.len() as u64))
            {
                self.limit(limit, &place);
                return;
            }
            let name = super::charsets::guess(&name);
            let place = format!("{place}/{name}");
            let at = At {
                place: place.trim_start_matches('/'),
                rare: true,
            };
            self.add(
                Cow::Owned(octets),
                &[name],
                &[],
                Origin::Attachment,
                at,
                false,
            );
        }
    }

    /// Notes content that a rare reading found.
    pub(super) fn add_rare(
        &mut self,
        budget: &mut Budget,
        octets: Vec<u8>,
        names: &[String],
        place: &str,
    ) -> Option<usize> {
        if let Err(limit) = budget
            .part()
            .and_then(|()| budget.octets(octets.len() as u64))
        {
            self.limit(limit, place);
            return None;
        }
        let at = At { place, rare: true };
        let id = self.add(
            Cow::Owned(octets),
            names,
            &[],
            Origin::Attachment,
            at,
            false,
        );
        Some(id)
    }

    fn add(
        &mut self,
        octets: Cow<'a, [u8]>,
        names: &[String],
        types: &[String],
        origin: Origin,
        at: At<'_>,
        message: bool,
    ) -> usize {
        let trimmed = trim_end(&octets);
        let contents = &mut self.out.contents;
        let new = contents.len();
        let alike = self.by_ends.entry(hash(&ends(trimmed))).or_default();
        let own = (!alike.is_empty()).then(|| hash(trimmed));
        let same = alike.iter_mut().find_map(|same| {
            let found = contents.get(same.first)?;
            let other = found.content.octets.get(..same.length)?;
            let is_same = found.message == message
                && Some(*same.hash.get_or_insert_with(|| hash(other))) == own
                && other == trimmed;
            is_same.then_some(same)
        });
        // The same octets under other names are another thing to somebody who opens them, and the same in a set.
        let first = if let Some(same) = same {
            for id in std::iter::once(same.first).chain(same.others.iter().copied()) {
                if let Some(found) = contents.get_mut(id)
                    && (found.content.names == names && found.content.types == types
                        || at.rare && names.is_empty())
                {
                    found.usual |= !at.rare;
                    if origin == Origin::Attachment {
                        found.content.origin = origin;
                    }
                    return same.first;
                }
            }
            same.others.push(new);
            same.first
        } else {
            alike.push(Same {
                first: new,
                others: Vec::new(),
                length: trimmed.len(),
                hash: own,
            });
            new
        };
        contents.push(Found {
            content: Content {
                octets,
                names: names.to_vec(),
                types: types.to_vec(),
                origin,
                place: at.place.to_owned(),
            },
            usual: !at.rare,
            message,
            kind: None,
        });
        first
    }

    /// What all readings found together; a note, where the usual ones differ.
    fn agreed(&mut self, sets: Vec<(Set, &'static str)>, at: At<'_>) -> Set {
        let mut sets = sets.into_iter();
        let Some((mut all, _)) = sets.next() else {
            return Set::new();
        };
        let first = all.clone();
        let mut differs = None;
        for (set, why) in sets {
            if set != first {
                differs.get_or_insert(why);
                all.extend(set);
            }
        }
        if let Some(why) = differs
            && !at.rare
        {
            self.note(&rules::MIME_AMBIGUOUS, why, at);
        }
        sorted(all)
    }

    fn pays_reading(&mut self, budget: &mut Budget, at: At<'_>) -> bool {
        budget
            .reading()
            .map_err(|limit| self.limit(limit, at.place))
            .is_ok()
    }

    fn names_noted(&mut self, names: &Names, at: At<'_>) {
        let both = |pair: &(String, String)| format!("{} and {}", pair.0, pair.1);
        if let Some(pair) = &names.ambiguous {
            self.note(&rules::NAME_AMBIGUOUS, &both(pair), at);
        }
        if let Some(pair) = &names.differ {
            self.note(&rules::NAME_DIFFERS, &both(pair), at);
        }
        if names.segments > rules::MAX_SEGMENTS {
            self.note(&rules::TOO_MANY_SEGMENTS, &names.segments.to_string(), at);
        }
        if names.parameters > rules::MAX_PARAMETERS {
            self.note(
                &rules::TOO_MANY_PARAMETERS,
                &names.parameters.to_string(),
                at,
            );
        }
    }

    fn note(&mut self, rule: &'static ContentRule, evidence: &str, at: At<'_>) {
        if at.rare {
            return;
        }
        let noted = self.noted.entry(rule.name).or_default();
        if noted.len() < MAX_NOTES && noted.insert(format!("{}\n{evidence}", at.place)) {
            self.out.notes.push(Note {
                what: Noted::Rule(rule),
                evidence: evidence.to_owned(),
                place: at.place.to_owned(),
            });
        }
    }

    pub(super) fn limit(&mut self, limit: LimitReached, place: &str) {
        if !self.limits.contains(&limit) {
            self.limits.push(limit);
            self.out.notes.push(Note {
                what: Noted::Limit(limit),
                evidence: String::new(),
                place: place.to_owned(),
            });
        }
    }

    /// Where octets stand in the raw message, if they do.
    pub(super) fn offset(&self, octets: &[u8]) -> Option<usize> {
        let start = (octets.as_ptr() as usize).checked_sub(self.raw.as_ptr() as usize)?;
        (start + octets.len() <= self.raw.len()).then_some(start)
    }

    /// Octets to be kept. What lies in the raw message is kept as it is; a copy out of anything else is paid for.
    fn keep(
        &mut self,
        budget: &mut Budget,
        octets: Cow<'_, [u8]>,
        at: At<'_>,
    ) -> Option<Cow<'a, [u8]>> {
        let octets = match octets {
            Cow::Owned(octets) => return Some(Cow::Owned(octets)),
            Cow::Borrowed(octets) => octets,
        };
        let raw = self
            .offset(octets)
            .and_then(|start| self.raw.get(start..start + octets.len()));
        if let Some(raw) = raw {
            return Some(Cow::Borrowed(raw));
        }
        match budget.octets(octets.len() as u64) {
            Ok(()) => Some(Cow::Owned(octets.to_vec())),
            Err(limit) => {
                self.limit(limit, at.place);
                None
            }
        }
    }
}

/// The name of a place, however it is at hand.
pub(super) struct Place(String);

impl From<At<'_>> for Place {
    fn from(at: At<'_>) -> Self {
        Self(at.place.to_owned())
    }
}

impl From<&str> for Place {
    fn from(place: &str) -> Self {
        Self(place.to_owned())
    }
}

/// Whether headers of a part stand in a text.
fn has_part_headers(text: &[u8]) -> bool {
    const NAMES: [&[u8]; 3] = [
        b"content-type:",
        b"content-transfer-encoding:",
        b"content-disposition:",
    ];
    Lines::new(text).any(|line| {
        matches!(line.text.first(), Some(b'c' | b'C'))
            && NAMES.iter().any(|name| {
                line.text
                    .get(..name.len())
                    .is_some_and(|begin| begin.eq_ignore_ascii_case(name))
            })
    })
}

/// Pays for what decoding brought forth.
fn pay(budget: &mut Budget, decoded: &Decoded<'_>) -> Result<(), LimitReached> {
    if decoded.cut_off {
        return Err(budget.exhaust(Limit::Octets));
    }
    budget.octets(decoded.octets.len() as u64)
}

fn sorted(mut set: Set) -> Set {
    set.sort_unstable();
    set.dedup();
    set
}

/// What nearly always differs where anything does.
fn ends(octets: &[u8]) -> (usize, &[u8], &[u8]) {
    const OCTETS: usize = 64;
    let tail = octets.len().saturating_sub(OCTETS);
    let head = octets.get(..OCTETS).unwrap_or(octets);
    (octets.len(), head, octets.get(tail..).unwrap_or_default())
}

fn hash(what: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Whether octets are what people attach, rather than text or what nobody can read.
pub(super) fn is_file(octets: &[u8]) -> bool {
    is_file_of(kind::of(octets), octets)
}

fn is_file_of(kind: Kind, octets: &[u8]) -> bool {
    // What virus scanners are tried with is made of letters alone.
    if octets.starts_with(b"X5O!P%@AP") {
        return true;
    }
    match kind.class() {
        Class::Program
        | Class::Script
        | Class::Shortcut
        | Class::Archive
        | Class::Disk
        | Class::Document
        | Class::Media => true,
        Class::Markup | Class::Message | Class::Other => false,
    }
}

/// One for each octet that no text has.
static ODD: [u8; 256] = odd();

const fn odd() -> [u8; 256] {
    let mut odd = [0; 256];
    let mut octet = 0;
    #[expect(clippy::indexing_slicing, reason = "constant, checked by the compiler")]
    while octet < b' ' as usize {
        odd[octet] = !matches!(octet, 0x09 | 0x0a | 0x0c | 0x0d | 0x1b) as u8;
        octet += 1;
    }
    odd
}

/// Whether octets look like text: few that no text has.
pub(super) fn is_textual(octets: &[u8]) -> bool {
    let sample = octets.get(..1024).unwrap_or(octets);
    // A look into a table for each octet: of what is no text, whether it is one can't be foreseen.
    let odd = sample.iter().map(|octet| {
        let odd = ODD.get(usize::from(*octet));
        usize::from(odd.copied().unwrap_or(0))
    });
    odd.sum::<usize>() * 50 <= sample.len() && !sample.contains(&0)
}
/// Whether what lies elsewhere is a text that is fetched by a program for it, as the IETF's announcements of drafts say
/// (RFC 2046 section 5.2.3): nothing of it comes by mail, and none opens it by itself.
fn fetched_by_hand(types: &[Vec<Parsed>], body: &[u8]) -> bool {
    let values = types.iter().flatten().flat_map(|parsed| &parsed.readings);
    let mut said = values.filter(|value| value.main == b"message/external-body");
    let by_hand = said.all(|value| {
        // In another form, which programs read otherwise (RFC 2231), a name says nothing certain.
        let is_plain = |(name, _): &(Vec<u8>, Vec<u8>)| {
            let bare = name.split(|octet| *octet == b'*').next();
            bare == Some(name.as_slice()) || !matches!(bare, Some(b"access-type" | b"name"))
        };
        let mut how = value
            .parameters
            .iter()
            .filter(|(name, _)| name == b"access-type");
        let names = value.parameters.iter().filter(|(name, _)| name == b"name");
        let programs = [&b"anon-ftp"[..], b"ftp", b"mail-server"];
        how.next()
            .is_some_and(|(_, how)| programs.contains(&&*how.to_ascii_lowercase()))
            && how.next().is_none()
            && value.parameters.iter().all(is_plain)
            && names
                .into_iter()
                .all(|(_, name)| name.to_ascii_lowercase().ends_with(b".txt"))
    });
    let is_text = |head: &Head<'_>| {
        let mut values = head
            .types
            .iter()
            .flat_map(readings_of)
            .flat_map(|one| one.readings);
        !head.types.is_empty() && values.all(|value| value.main == b"text/plain")
    };
    by_hand && heads(body, false).iter().all(is_text)
}
