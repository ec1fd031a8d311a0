//! UDF, the file system of DVDs and of today's disk images (ECMA-167, OSTA UDF 1.02 to 2.60), as far as nothing is
//! mapped: what is written once and in one partition. Beside ISO 9660 on the same disk it is what Windows shows.

use std::collections::BTreeSet;

use crate::octets::{piece, place, place64, some, u8_at, u16le, u32le, u64le, utf16be};

/// Directories within directories.
const DEPTH: usize = 32;

/// Pieces of one file.
const EXTENTS_MAX: usize = 4096;

/// A file: its path, and where its pieces lie: at what octet, and how many.
pub(super) struct File {
    pub(super) path: String,
    pub(super) extents: Vec<(usize, usize)>,
    /// Its type says that it is a symbolic link.
    pub(super) symbolic: bool,
}

/// What a walk over the file system found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) files: Vec<File>,
    /// There is more than was looked at.
    pub(super) more: bool,
    /// Something is mapped in a way that is not read here.
    pub(super) mapped: bool,
}

/// Whether the descriptors at the beginning of a disk name this file system.
pub(super) fn is_there(image: &[u8]) -> bool {
    (16..48).any(|sector| {
        matches!(
            piece(image, sector * 2048 + 1, 5),
            Some(b"NSR02" | b"NSR03")
        )
    })
}

/// All files; none where the file system cannot be found. `most` files and `left` entries of directories are looked at.
pub(super) fn files(image: &[u8], most: usize, left: usize) -> Option<Found> {
    // The anchor lies in sector 256, and at the end; sectors have the size of the medium's.
    let (sector, anchor) = [2048_usize, 512, 4096].into_iter().find_map(|sector| {
        let last = (image.len() / sector).checked_sub(1)?;
        let at = [256, last, last.saturating_sub(256)];
        let mut places = at.into_iter().map(|number| number * sector);
        let at = places.find(|at| tag(image, *at) == Some(2))?;
        Some((sector, at))
    })?;
    let length = place(u32le(image, anchor + 16)?);
    let start = place(u32le(image, anchor + 20)?).checked_mul(sector)?;
    let mut partitions: Vec<(u16, usize)> = Vec::new();
    let mut volume = None;
    for nth in 0..(length / sector).min(256) {
        let at = start.checked_add(nth * sector)?;
        match tag(image, at) {
            Some(5) => {
                let first = place(u32le(image, at + 188)?).checked_mul(sector)?;
                partitions.push((u16le(image, at + 22)?, first));
            }
            Some(6) => volume = Some(at),
            Some(8) | None => break,
            Some(_) => {}
        }
    }
    let volume = volume?;
    let block = place(u32le(image, volume + 212)?);
    if !matches!(block, 512 | 1024 | 2048 | 4096) {
        return None;
    }
    let mut found = Found::default();
    let mut maps = Vec::new();
    let mut at = volume + 440;
    for _ in 0..place(u32le(image, volume + 268)?).min(16) {
        let map = (u8_at(image, at)?, u8_at(image, at + 1)?);
        let partition = u16le(image, at + 4)?;
        let first = partitions.iter().find(|(number, _)| *number == partition);
        maps.push(match (map, first) {
            ((1, 6), Some((_, first))) => Some(*first),
            _ => None,
        });
        at += usize::from(map.1.max(1));
    }
    let mut walk = Walk {
        image,
        block,
        maps,
        seen: BTreeSet::new(),
        most,
        left,
        found: &mut found,
    };
    let set = walk.at(u16le(image, volume + 256)?, u32le(image, volume + 252)?);
    let Some(set) = set.filter(|at| tag(image, *at) == Some(256)) else {
        found.mapped = true;
        return Some(found);
    };
    let root = walk.at(u16le(image, set + 408)?, u32le(image, set + 404)?);
    if let Some(root) = root {
        walk.directory(root, "", 0);
    }
    Some(found)
}

/// The number of a descriptor whose sum is right.
fn tag(image: &[u8], at: usize) -> Option<u16> {
    let tag = piece(image, at, 16)?;
    let sum = tag
        .iter()
        .enumerate()
        .filter(|(nth, _)| *nth != 4)
        .fold(0_u8, |sum, (_, octet)| sum.wrapping_add(*octet));
    (u8_at(tag, 4) == Some(sum)).then(|| u16le(tag, 0))?
}

struct Walk<'w> {
    image: &'w [u8],
    block: usize,
    /// Where each partition begins; none: it is mapped.
    maps: Vec<Option<usize>>,
    seen: BTreeSet<usize>,
    most: usize,
    left: usize,
    found: &'w mut Found,
}

/// What the entry of a file says.
struct Entry {
    kind: u8,
    extents: Vec<(usize, usize)>,
}

impl Walk<'_> {
    /// Where a block of a partition lies.
    fn at(&mut self, partition: u16, block: u32) -> Option<usize> {
        match self.maps.get(usize::from(partition)) {
            Some(Some(first)) => place(block).checked_mul(self.block)?.checked_add(*first),
            Some(None) => {
                self.found.mapped = true;
                None
            }
            None => None,
        }
    }

    fn directory(&mut self, at: usize, path: &str, depth: usize) {
        if depth > DEPTH {
            self.found.more = true;
            return;
        }
        if !self.seen.insert(at) {
            return;
        }
        let Some(entry) = self.entry(at) else {
            return;
        };
        let listing = content(self.image, &entry.extents, self.image.len());
        let mut at = 0;
        while tag(&listing, at) == Some(257) {
            if self.left == 0 || self.found.files.len() >= self.most {
                self.found.more = true;
                return;
            }
            self.left -= 1;
            let flags = u8_at(&listing, at + 18).unwrap_or(0);
            let length = usize::from(u8_at(&listing, at + 19).unwrap_or(0));
            let use_length = usize::from(u16le(&listing, at + 36).unwrap_or(0));
            let title = name(some(&listing, at + 38 + use_length, length));
            let block = u32le(&listing, at + 24).unwrap_or(0);
            let partition = u16le(&listing, at + 28).unwrap_or(0);
            at += (38 + use_length + length).next_multiple_of(4);
            // Deleted, or the directory above.
            if flags & 0x0c != 0 {
                continue;
            }
            let Some(place) = self.at(partition, block) else {
                continue;
            };
            let full = if path.is_empty() {
                title
            } else {
                format!("{path}/{title}")
            };
            if flags & 2 != 0 {
                self.directory(place, &full, depth + 1);
            } else if let Some(entry) = self.entry(place) {
                self.found.files.push(File {
                    path: full,
                    symbolic: entry.kind == 12,
                    extents: entry.extents,
                });
            }
        }
    }

    /// The entry of a file (ECMA-167 4/14.9 and 14.17), with its pieces.
    fn entry(&mut self, at: usize) -> Option<Entry> {
        let image = self.image;
        let (extended, fixed) = match tag(image, at)? {
            261 => (168, 176),
            266 => (208, 216),
            _ => return None,
        };
        let mut left = place64(u64le(image, at + 56)?);
        let kind = u8_at(image, at + 27)?;
        let form = u16le(image, at + 34)? & 7;
        let start = (at + fixed).checked_add(place(u32le(image, at + extended)?))?;
        let length = place(u32le(image, at + extended + 4)?);
        let mut entry = Entry {
            kind,
            extents: Vec::new(),
        };
        if form == 3 {
            entry.extents.push((start, length.min(left)));
            return Some(entry);
        }
        let size = if form == 0 { 8 } else { 16 };
        let mut descriptors = some(image, start, length);
        for _ in 0..EXTENTS_MAX {
            let (Some(extent), Some(block)) = (u32le(descriptors, 0), u32le(descriptors, 4)) else {
                return Some(entry);
            };
            let partition = if form == 0 {
                0
            } else {
                u16le(descriptors, 8).unwrap_or(0)
            };
            descriptors = some(descriptors, size, usize::MAX);
            let octets = place(extent & 0x3fff_ffff);
            match extent >> 30 {
                // Recorded.
                0 if octets > 0 => {
                    let octets = octets.min(left);
                    left -= octets;
                    if let Some(at) = self.at(partition, block) {
                        entry.extents.push((at, octets));
                    }
                }
                0 => return Some(entry),
                // The list goes on elsewhere.
                3 => {
                    let more = self.at(partition, block)?;
                    if tag(image, more) != Some(258) {
                        return Some(entry);
                    }
                    let length = place(u32le(image, more + 20)?);
                    descriptors = some(image, more + 24, length);
                }
                // Allocated only: zeros, which hold nothing.
                _ => left = left.saturating_sub(octets),
            }
        }
        self.found.more = true;
        Some(entry)
    }
}

/// What pieces hold together, at most so many octets.
pub(super) fn content(image: &[u8], extents: &[(usize, usize)], most: usize) -> Vec<u8> {
    let mut content = Vec::new();
    for (at, length) in extents {
        let room = most.saturating_sub(content.len());
        content.extend_from_slice(some(image, *at, (*length).min(room)));
    }
    content
}

/// A name: of one octet or of two a letter, as its first one says (UDF 2.1.1).
fn name(octets: &[u8]) -> String {
    let Some((form, letters)) = octets.split_first() else {
        return String::new();
    };
    match form {
        16 | 255 => utf16be(letters),
        _ => letters.iter().map(|octet| char::from(*octet)).collect(),
    }
}
