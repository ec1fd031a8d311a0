//! ZIP, as both kinds of programs read it: by the directory at its end, and by the heads before the members.
//!
//! A member that only one of them would see is given all the same, and is said ([`Trouble::Ambiguous`]);
//! one with two names has both. (APPNOTE.TXT 6.3.10.)

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;

use super::inflate::{self, Packed};
use super::{Member, Sink, Trouble, Unread};
use crate::octets::{name, piece, place, place64, rest, some, u16le, u32le, u64le};
use crate::{Limit, LimitReached};

/// As the directory, or a head, says of a member.
#[derive(Debug, Clone)]
struct Entry {
    name: Vec<u8>,
    /// A second name, in UTF-8, that some programs prefer (extra field 0x7075).
    unicode: Option<Vec<u8>>,
    flags: u16,
    method: u16,
    packed: u64,
    unpacked: u64,
    /// Where its head lies.
    head: usize,
    /// Its attributes say that it is a symbolic link.
    symbolic: bool,
}

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let listed = directory(octets, sink);
    let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
    let mut heads: BTreeSet<usize> = BTreeSet::new();
    let most = entries_max(sink);
    let has_directory = listed.is_some();
    let listed = listed.unwrap_or_default();
    let more = listed.len() > most;
    for entry in listed {
        heads.insert(entry.head);
        let Some((local, start)) = local(octets, entry.head) else {
            sink.trouble(Trouble::Damaged(
                "its directory names a member that is not there",
            ));
            let more = sink.member(Member {
                names: names(&[&entry]),
                unread: Some(Unread::Damaged),
                ..Member::default()
            });
            if !more {
                return;
            }
            continue;
        };
        let second = other_reading(octets, start, &entry, &local);
        // What follows the shorter one is a head for those who go by it.
        let shorter = second
            .as_ref()
            .map_or(entry.packed, |(second, _)| second.packed.min(entry.packed));
        taken.insert(start, start.saturating_add(place64(shorter)));
        if !same_name(&entry.name, &local.name) {
            sink.trouble(Trouble::Ambiguous(format!(
                "its directory says {}, the head before the member {}",
                crate::danger::shown(&name(&entry.name)),
                crate::danger::shown(&name(&local.name))
            )));
        }
        if !one(octets, start, &entry, &[&entry, &local], sink) {
            return;
        }
        if let Some((second, differs)) = second {
            if let Some(differs) = differs {
                sink.trouble(Trouble::Ambiguous(differs.into()));
            }
            if !one(octets, start, &second, &[&local, &entry], sink) {
                return;
            }
        }
    }
    if more {
        sink.limit(LimitReached(Limit::Parts));
        return;
    }
    unlisted(octets, has_directory, &heads, &taken, sink);
}

/// The member as the head before it says, where that is not what the directory says, and how the two contradict each other.
/// A head that was written before the member was packed (bit 3 of its flags) need not know anything.
fn other_reading(
    octets: &[u8],
    start: usize,
    entry: &Entry,
    local: &Entry,
) -> Option<(Entry, Option<&'static str>)> {
    let early = local.flags & 8 != 0;
    let stated = local.packed != 0 && local.packed != 0xffff_ffff;
    let opened = entry.flags & !local.flags & 1 != 0;
    let method = entry.method != local.method;
    let size = stated && entry.packed != local.packed;
    // Neither says how long it is: those who read from the front find its end, if it is not right there.
    let endless =
        early && !stated && entry.packed == 0 && !some(octets, start, 2).starts_with(b"PK");
    if !(opened || method || size || endless) {
        return None;
    }
    let packed = match local.packed {
        _ if stated => local.packed,
        _ if entry.packed != 0 => entry.packed,
        _ => length(octets, start, local),
    };
    let differs = if opened {
        Some("its directory says that a member is encrypted, the head before it that it is not")
    } else if method && !early {
        Some("its directory and a head differ in how a member is packed")
    } else if size && !early {
        Some("its directory and a head differ in how long a member is")
    } else {
        None
    };
    let second = Entry {
        packed,
        ..local.clone()
    };
    Some((second, differs))
}

/// How many entries of a directory are read: folders are no members, and pay nothing.
fn entries_max(sink: &Sink<'_>) -> usize {
    sink.budget.limits().members.saturating_mul(4)
}

/// Members that no directory lists: a program that reads from the front sees them.
fn unlisted(
    octets: &[u8],
    has_directory: bool,
    heads: &BTreeSet<usize>,
    taken: &BTreeMap<usize, usize>,
    sink: &mut Sink<'_>,
) {
    let mut beyond = 0;
    let mut found = 0_usize;
    for head in memmem::find_iter(octets, b"PK\x03\x04") {
        if head < beyond || heads.contains(&head) {
            continue;
        }
        let within = taken.range(..=head).next_back();
        if within.is_some_and(|(_, end)| head < *end) {
            continue;
        }
        let Some((entry, start)) = local(octets, head) else {
            continue;
        };
        if !plausible(&entry) {
            continue;
        }
        found += 1;
        if found > sink.budget.limits().members {
            sink.limit(LimitReached(Limit::Parts));
            return;
        }
        beyond = start.saturating_add(place64(entry.packed));
        if has_directory {
            sink.trouble(Trouble::Ambiguous(format!(
                "its directory does not list {}",
                crate::danger::shown(&name(&entry.name))
            )));
        }
        let entry = Entry {
            packed: length(octets, start, &entry),
            ..entry
        };
        if !one(octets, start, &entry, &[&entry], sink) {
            return;
        }
    }
    if found == 0 && !has_directory && heads.is_empty() {
        sink.trouble(Trouble::Damaged("it has no directory and no member"));
    }
}

/// How long a member is of which only the head is known. What is packed ends itself; what is stored while its length was
/// not known ends at the mark behind it.
fn length(octets: &[u8], start: usize, entry: &Entry) -> u64 {
    match (entry.packed, entry.method, entry.flags & 8) {
        // What is encrypted is not read, however long it is.
        (0, _, _) if entry.flags & 1 != 0 => 0,
        (0, 0, 0) => 0,
        (0, 0, _) => {
            let end = memmem::find(rest(octets, start), b"PK\x07\x08");
            end.map_or(u64::MAX, |end| u64::try_from(end).unwrap_or(u64::MAX))
        }
        (0, _, _) => u64::MAX,
        (packed, _, _) => packed,
    }
}

/// Whether a head is one, and not four octets that happen to look so.
fn plausible(entry: &Entry) -> bool {
    !entry.name.is_empty() && entry.name.len() <= 1024 && matches!(entry.method, 0..=20 | 93..=99)
}

/// Unpacks one member and hands it on.
fn one(octets: &[u8], start: usize, entry: &Entry, said: &[&Entry], sink: &mut Sink<'_>) -> bool {
    let names = names(said);
    let directory = entry.name.ends_with(b"/") && entry.packed == 0;
    if directory && !names.iter().any(|name| name.contains("..")) {
        return true;
    }
    let packed = some(octets, start, place64(entry.packed));
    let (content, unread): (Cow<'_, [u8]>, Option<Unread>) =
        if entry.flags & 1 != 0 || entry.method == 99 {
            (Cow::Borrowed(&[]), Some(Unread::Encrypted))
        } else {
            unpack(packed, entry, sink)
        };
    let link = entry.symbolic.then(|| name(some(&content, 0, 4096)));
    sink.member(Member {
        names,
        octets: content,
        unread,
        link,
        ..Member::default()
    })
}

fn unpack<'a>(
    packed: &'a [u8],
    entry: &Entry,
    sink: &mut Sink<'_>,
) -> (Cow<'a, [u8]>, Option<Unread>) {
    let (most, _) = sink.allowance();
    let meter = sink.meter();
    let metered = Packed::new(packed, &meter);
    let decoder = match entry.method {
        0 => {
            let short = entry.packed != u64::MAX && crate::octets::count(packed) < entry.packed;
            let (kept, limited) = sink.stored(packed);
            return (kept, limited.or(short.then_some(Unread::Damaged)));
        }
        8 => Ok(inflate::deflate(metered)),
        9 => Ok(inflate::deflate64(metered)),
        12 => Ok(inflate::bzip2(metered)),
        14 => {
            let size = if entry.flags & 2 != 0 || entry.unpacked == 0 {
                u64::MAX
            } else {
                entry.unpacked
            };
            inflate::lzma_in_zip(metered, size, most)
        }
        93 | 20 => Ok(inflate::zstd(metered)),
        95 => Ok(inflate::xz(metered)),
        98 => inflate::ppmd_in_zip(metered, &meter),
        method => {
            let title = match method {
                1 => "shrink",
                2..=5 => "reduce",
                6 => "implode",
                96 => "jpeg",
                97 => "wavpack",
                _ => "an unknown one",
            };
            return (Cow::Borrowed(&[]), Some(Unread::Method(title.to_owned())));
        }
    };
    let Ok(mut decoder) = decoder else {
        return (Cow::Borrowed(&[]), Some(Unread::Damaged));
    };
    // PPMd need not mark its end; programs take as much as is stated.
    let expected = (entry.method == 98 && entry.unpacked > 0).then_some(entry.unpacked);
    let (unpacked, unread) = sink.unpack_metered(&mut decoder, expected, &meter);
    (Cow::Owned(unpacked), unread)
}

fn names(said: &[&Entry]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in said {
        for found in [entry.unicode.as_ref(), Some(&entry.name)]
            .into_iter()
            .flatten()
        {
            let found = name(found);
            if !names.contains(&found) {
                names.push(found);
            }
        }
    }
    names
}

/// Whether two names are one, but for what honest programs differ in: the slash, and letters outside ASCII.
fn same_name(one: &[u8], other: &[u8]) -> bool {
    let plain = |octets: &[u8]| -> Vec<u8> {
        octets
            .iter()
            .filter(|octet| octet.is_ascii())
            .map(|octet| if *octet == b'\\' { b'/' } else { *octet })
            .collect()
    };
    one == other
        || ((!one.is_ascii()
            || !other.is_ascii()
            || one.contains(&b'\\')
            || other.contains(&b'\\'))
            && plain(one) == plain(other))
}

/// The head before a member, and where its content begins.
fn local(octets: &[u8], head: usize) -> Option<(Entry, usize)> {
    let fixed = piece(octets, head, 30)?;
    if !fixed.starts_with(b"PK\x03\x04") {
        return None;
    }
    // No program makes longer names, and heads may overlap by the million.
    let name_length = usize::from(u16le(fixed, 26)?);
    if name_length > super::NAME_MAX {
        return None;
    }
    let extra_length = usize::from(u16le(fixed, 28)?);
    let name_at = head.checked_add(30)?;
    let title = piece(octets, name_at, name_length)?.to_vec();
    let extra = some(octets, name_at.checked_add(name_length)?, extra_length);
    let mut entry = Entry {
        name: title,
        unicode: None,
        flags: u16le(fixed, 6)?,
        method: u16le(fixed, 8)?,
        packed: u64::from(u32le(fixed, 18)?),
        unpacked: u64::from(u32le(fixed, 22)?),
        head,
        symbolic: false,
    };
    extras(extra, &mut entry);
    let start = name_at
        .checked_add(name_length)?
        .checked_add(extra_length)?;
    Some((entry, start))
}

/// The directory's entries; none where there is no directory.
fn directory(octets: &[u8], sink: &mut Sink<'_>) -> Option<Vec<Entry>> {
    let end = crate::octets::find_last(octets, b"PK\x05\x06")?;
    let fixed = piece(octets, end, 22)?;
    let mut entries = u64::from(u16le(fixed, 10)?);
    let mut size = u64::from(u32le(fixed, 12)?);
    let mut offset = u64::from(u32le(fixed, 16)?);
    let mut directory_end = end;
    if (entries == 0xffff || size == 0xffff_ffff || offset == 0xffff_ffff)
        && let Some(locator) = end.checked_sub(20)
        && piece(octets, locator, 4) == Some(b"PK\x06\x07")
        && let Some(large) = u64le(octets, locator.saturating_add(8)).map(place64)
    {
        // It lies right before its locator, where something was put before the archive.
        let at = [Some(large), locator.checked_sub(56)]
            .into_iter()
            .flatten()
            .find(|at| piece(octets, *at, 4) == Some(b"PK\x06\x06"));
        if let Some(at) = at {
            entries = u64le(octets, at.saturating_add(32))?;
            size = u64le(octets, at.saturating_add(40))?;
            offset = u64le(octets, at.saturating_add(48))?;
            directory_end = at;
        }
    }
    if u16le(fixed, 4) != Some(0) && u16le(fixed, 4) != Some(0xffff) {
        sink.trouble(Trouble::Damaged("it is one of several pieces"));
    }
    // What was put before the archive shifts all places: by as much as its directory lies further.
    let start = directory_end
        .checked_sub(place64(size))
        .filter(|start| entries == 0 || piece(octets, *start, 4) == Some(b"PK\x01\x02"))
        .or_else(|| {
            Some(place64(offset)).filter(|at| piece(octets, *at, 4) == Some(b"PK\x01\x02"))
        });
    let Some(start) = start else {
        sink.trouble(Trouble::Damaged("its directory is not where its end says"));
        return None;
    };
    let shift = start.saturating_sub(place64(offset));
    let mut listed = Vec::new();
    let mut at = start;
    let most = entries_max(sink);
    while listed.len() <= most {
        let Some(fixed) = piece(octets, at, 46).filter(|fixed| fixed.starts_with(b"PK\x01\x02"))
        else {
            break;
        };
        let name_length = usize::from(u16le(fixed, 28)?);
        let extra_length = usize::from(u16le(fixed, 30)?);
        let comment_length = usize::from(u16le(fixed, 32)?);
        let name_at = at.saturating_add(46);
        let mut entry = Entry {
            name: some(octets, name_at, name_length).to_vec(),
            unicode: None,
            flags: u16le(fixed, 8)?,
            method: u16le(fixed, 10)?,
            packed: u64::from(u32le(fixed, 20)?),
            unpacked: u64::from(u32le(fixed, 24)?),
            head: u32le(fixed, 42).map_or(0, place),
            // Made on Unix, and of that file type.
            symbolic: fixed.get(5) == Some(&3)
                && u32le(fixed, 38).is_some_and(|mode| (mode >> 16) & 0o170_000 == 0o120_000),
        };
        let extra = some(octets, name_at.saturating_add(name_length), extra_length);
        extras(extra, &mut entry);
        entry.head = entry.head.saturating_add(shift);
        listed.push(entry);
        at = name_at
            .saturating_add(name_length)
            .saturating_add(extra_length)
            .saturating_add(comment_length);
    }
    if u64::try_from(listed.len()).is_ok_and(|found| found < entries && found <= 0xffff)
        && listed.len() <= most
    {
        sink.trouble(Trouble::Damaged("its directory ends early"));
    }
    Some(listed)
}

/// Extra fields: large sizes, and another name.
fn extras(mut extra: &[u8], entry: &mut Entry) {
    while let (Some(id), Some(length)) = (u16le(extra, 0), u16le(extra, 2)) {
        let field = some(extra, 4, usize::from(length));
        match id {
            0x0001 => {
                let mut at = 0;
                let mut next = |needed: bool| {
                    let value = needed.then(|| u64le(field, at)).flatten();
                    if value.is_some() {
                        at += 8;
                    }
                    value
                };
                if let Some(size) = next(entry.unpacked == 0xffff_ffff) {
                    entry.unpacked = size;
                }
                if let Some(size) = next(entry.packed == 0xffff_ffff) {
                    entry.packed = size;
                }
                if let Some(head) = next(entry.head == place(0xffff_ffff)) {
                    entry.head = place64(head);
                }
            }
            0x7075 => entry.unicode = Some(rest(field, 5).to_vec()),
            _ => {}
        }
        extra = rest(extra, usize::from(length).saturating_add(4));
    }
}
