//! Images of CDs and DVDs: ISO 9660 with the names of Joliet and of Rock Ridge (ECMA-119, IEEE P1282), and UDF beside it
//! or alone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::{Member, Sink, Trouble, Unread, udf};
use crate::octets::{count, name, piece, place, place64, some, u8_at, u16le, u32le, utf16be};
use crate::{Limit, LimitReached};

const SECTOR: usize = 2048;

/// Directories within directories; the standard has eight.
const DEPTH: usize = 32;

/// Names of one place on the disk; those beyond are of a file of their own.
const NAMES_MAX: usize = 16;

/// More than any disk in a message lists.
const RECORDS_MAX: usize = 200_000;

/// What one place on the disk is called.
#[derive(Default)]
struct Found {
    names: Vec<String>,
    link: Option<String>,
}

pub(super) fn iso(octets: &[u8], sink: &mut Sink<'_>) {
    let Some(image) = cooked(octets, sink) else {
        sink.trouble(Trouble::Damaged("it has no sectors"));
        return;
    };
    let mut files: BTreeMap<(usize, usize, usize), Found> = BTreeMap::new();
    let mut roots = 0;
    for number in 16..48 {
        let Some(descriptor) = piece(&image, number * SECTOR, SECTOR) else {
            break;
        };
        if piece(descriptor, 1, 5) != Some(b"CD001") {
            break;
        }
        let joliet = matches!(piece(descriptor, 88, 3), Some(b"%/@" | b"%/C" | b"%/E"));
        match u8_at(descriptor, 0) {
            Some(1 | 2) => {}
            Some(255) => break,
            _ => continue,
        }
        roots += 1;
        let block = match u16le(descriptor, 128) {
            Some(512) => 512,
            Some(1024) => 1024,
            _ => SECTOR,
        };
        let root = some(descriptor, 156, 34);
        let mut walk = Walk {
            image: &image,
            block,
            joliet,
            seen: BTreeSet::new(),
            files: &mut files,
            most: sink.budget.limits().members.saturating_mul(2),
            left: RECORDS_MAX,
        };
        walk.directory(root, "", 0);
        if walk.left == 0 {
            sink.limit(LimitReached(Limit::Parts));
            return;
        }
    }
    let udf = udf::is_there(&image);
    if roots == 0 && !udf {
        // A system that is not known here.
        sink.trouble(Trouble::NotUnpacked);
        return;
    }
    if udf && !bridge(&image, &mut files, sink) {
        return;
    }
    for ((_, start, length), found) in files {
        let content = some(&image, start, length);
        let whole = content.len() == length;
        let (kept, limited) = sink.stored(content);
        let more = sink.member(Member {
            names: found.names,
            link: found.link,
            octets: kept,
            unread: limited.or((!whole).then_some(Unread::Damaged)),
            ..Member::default()
        });
        if !more {
            return;
        }
    }
}

/// Files of UDF, which Windows shows rather than the others of the same disk. One in one piece that both list has the names of
/// both; others are handed on at once. False: there is no sense in going on.
fn bridge(
    image: &[u8],
    files: &mut BTreeMap<(usize, usize, usize), Found>,
    sink: &mut Sink<'_>,
) -> bool {
    let most = sink.budget.limits().members.saturating_mul(2);
    let Some(found) = udf::files(image, most, RECORDS_MAX) else {
        sink.trouble(Trouble::NotUnpacked);
        return true;
    };
    if found.unread {
        sink.trouble(Trouble::NotUnpacked);
    }
    if found.two {
        let why = "it has two file systems of UDF";
        sink.trouble(Trouble::Ambiguous(why.to_owned()));
    }
    for file in found.files {
        if let [(start, length)] = file.extents.as_slice()
            && !file.symbolic
            && let Some(both) = files.get_mut(&(0, *start, *length))
            && both.names.len() < NAMES_MAX
        {
            if !both.names.contains(&file.path) {
                both.names.insert(0, file.path);
            }
            continue;
        }
        let (allowed, limit) = sink.allowance();
        let most = place64(allowed);
        let content = udf::content(image, &file.extents, most.saturating_add(1));
        let kept = some(&content, 0, most);
        let unread = if kept.len() < content.len() {
            Some(sink.reached(limit))
        } else {
            None
        };
        sink.pay(count(kept));
        let more = sink.member(Member {
            names: vec![file.path],
            octets: Cow::Borrowed(kept),
            unread,
            // Where it leads is kept in pieces; that it is one is enough for what lies below it.
            link: file.symbolic.then(String::new),
            ..Member::default()
        });
        if !more {
            return false;
        }
    }
    if found.more {
        sink.limit(LimitReached(Limit::Parts));
        return false;
    }
    true
}

/// The image with 2048 octets a sector, as it is in most; of raw sectors the heads and sums are taken off.
fn cooked<'a>(octets: &'a [u8], sink: &mut Sink<'_>) -> Option<Cow<'a, [u8]>> {
    if piece(octets, 0x8001, 5).is_some_and(|mark| mark != b"\0\0\0\0\0")
        && !octets.starts_with(b"\0\xff\xff\xff")
    {
        return Some(Cow::Borrowed(octets));
    }
    let head = [(0x9311, 16), (0x9319, 24)]
        .into_iter()
        .find(|(at, _)| piece(octets, *at, 5) == Some(b"CD001"));
    let Some((_, head)) = head else {
        return (octets.len() > 0x8800).then_some(Cow::Borrowed(octets));
    };
    let (most, limit) = sink.allowance();
    let mut plain = Vec::new();
    for sector in octets.chunks(2352) {
        plain.extend_from_slice(some(sector, head, SECTOR));
        if count(&plain) > most {
            sink.limit(LimitReached(limit));
            return None;
        }
    }
    sink.produced(&plain);
    Some(Cow::Owned(plain))
}

struct Walk<'w> {
    image: &'w [u8],
    block: usize,
    joliet: bool,
    seen: BTreeSet<usize>,
    files: &'w mut BTreeMap<(usize, usize, usize), Found>,
    most: usize,
    /// Records that may still be looked at: directories may overlap.
    left: usize,
}

impl Walk<'_> {
    /// Takes in all that a directory lists.
    fn directory(&mut self, record: &[u8], path: &str, depth: usize) {
        let (Some(extent), Some(length)) =
            (u32le(record, 2).map(place), u32le(record, 10).map(place))
        else {
            return;
        };
        let start = extent.saturating_mul(self.block);
        if depth > DEPTH {
            // What is below is not looked at, and that is said.
            self.left = 0;
            return;
        }
        if !self.seen.insert(start) {
            return;
        }
        let image = self.image;
        let listing = some(image, start, length);
        let mut at = 0;
        while at < listing.len() && self.files.len() < self.most {
            let size = usize::from(u8_at(listing, at).unwrap_or(0));
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                return;
            }
            if size == 0 {
                // No record goes over the end of a sector.
                at = (at / SECTOR + 1) * SECTOR;
                continue;
            }
            let record = some(listing, at, size);
            at = at.saturating_add(size);
            self.record(record, path, depth);
        }
    }

    fn record(&mut self, record: &[u8], path: &str, depth: usize) {
        let flags = u8_at(record, 25).unwrap_or(0);
        let length = usize::from(u8_at(record, 32).unwrap_or(0));
        let raw = some(record, 33, length);
        if raw == b"\0" || raw == b"\x01" {
            return;
        }
        let system = some(record, 33 + length + usize::from(length % 2 == 0), 255);
        let plain = if self.joliet { utf16be(raw) } else { name(raw) };
        let plain = plain.split(';').next().unwrap_or_default().to_owned();
        let (rock, link) = rock_ridge(system);
        let join = |title: &str| {
            if path.is_empty() {
                title.to_owned()
            } else {
                format!("{path}/{title}")
            }
        };
        let title = rock.as_deref().unwrap_or(&plain);
        if flags & 2 != 0 {
            self.directory(record, &join(title), depth + 1);
            return;
        }
        let (Some(extent), Some(size)) =
            (u32le(record, 2).map(place), u32le(record, 10).map(place))
        else {
            return;
        };
        let start = extent.saturating_mul(self.block);
        // Links have no content, and must not fall together.
        let apart = if size == 0 { self.files.len() + 1 } else { 0 };
        let full = self
            .files
            .get(&(apart, start, size))
            .is_some_and(|found| found.names.len() >= NAMES_MAX);
        let apart = if full { self.files.len() + 1 } else { apart };
        let found = self.files.entry((apart, start, size)).or_default();
        // The longer name is the one that programs show.
        for title in [rock.as_deref(), Some(plain.trim_end_matches('.'))]
            .into_iter()
            .flatten()
        {
            let full = join(title);
            if !found.names.contains(&full) {
                if self.joliet {
                    found.names.insert(0, full);
                } else {
                    found.names.push(full);
                }
            }
        }
        found.link = found.link.take().or(link);
    }
}

/// The name (`NM`) and the goal of a link (`SL`) that Rock Ridge adds.
fn rock_ridge(system: &[u8]) -> (Option<String>, Option<String>) {
    let (mut title, mut link): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
    let mut at = 0;
    while let Some(length) = u8_at(system, at + 2).map(usize::from) {
        if length < 4 {
            break;
        }
        let field = some(system, at, length);
        match piece(field, 0, 2) {
            Some(b"NM") => title
                .get_or_insert_default()
                .extend_from_slice(some(field, 5, length)),
            Some(b"SL") => {
                let goal = link.get_or_insert_default();
                let mut part = 5;
                while let (Some(flags), Some(size)) = (u8_at(field, part), u8_at(field, part + 1)) {
                    if !goal.is_empty() && !goal.ends_with(b"/") {
                        goal.push(b'/');
                    }
                    match flags & 0x0e {
                        2 => goal.push(b'.'),
                        4 => goal.extend_from_slice(b".."),
                        8 => goal.push(b'/'),
                        _ => goal.extend_from_slice(some(field, part + 2, usize::from(size))),
                    }
                    part += 2 + usize::from(size);
                }
            }
            _ => {}
        }
        at += length;
    }
    (
        title.map(|found| name(&found)),
        link.map(|found| name(&found)),
    )
}
