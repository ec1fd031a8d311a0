//! UDF, the file system of DVDs and of today's disk images (ECMA-167, OSTA UDF 1.02 to 2.60), as far as nothing is
//! mapped: what is written once and in one partition. Beside ISO 9660 on the same disk it is what Windows shows.

use std::collections::{BTreeMap, BTreeSet};

use crate::octets::{piece, place, place64, some, u8_at, u16le, u32le, u64le, utf16be};

/// Directories within directories.
const DEPTH: usize = 32;

/// Descriptors of a volume: programs write some ten.
const DESCRIPTORS: usize = 256;

/// Types of files (ECMA-167 4/14.6.6).
const DIRECTORY: u8 = 4;
const SYMBOLIC: u8 = 12;

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
    /// Something is listed, and not read here: it is mapped, or what describes it is of another form.
    pub(super) unread: bool,
    /// There are two file systems: which of them a program shows depends on where it looks first.
    pub(super) two: bool,
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

/// All files; none where the file system cannot be found. `most` files and `left` entries of directories and pieces of
/// files are looked at.
pub(super) fn files(image: &[u8], most: usize, left: usize) -> Option<Found> {
    let mut volumes: Vec<Volume> = Vec::new();
    let mut found = Found::default();
    // An anchor lies in sector 256, and at the end; sectors have the size of the medium's. Each names two places.
    for sector in [2048_usize, 512, 4096] {
        let last = (image.len() / sector).checked_sub(1)?;
        for number in [256, last, last.saturating_sub(256)] {
            let anchor = number * sector;
            if tag(image, anchor) != Some(2) {
                continue;
            }
            for extent in [16, 24] {
                if let Some(volume) = volume(image, sector, anchor + extent, &mut found)
                    && !volumes.contains(&volume)
                {
                    volumes.push(volume);
                }
            }
        }
    }
    found.two |= volumes.len() > 1;
    let mut walk = Walk {
        image,
        block: 0,
        maps: Vec::new(),
        seen: BTreeSet::new(),
        most,
        left,
        listed: image.len(),
        found,
    };
    if volumes.is_empty() {
        return None;
    }
    for volume in volumes {
        walk.volume(volume);
    }
    Some(walk.found)
}

/// What the descriptors of a volume say.
#[derive(PartialEq, Eq)]
struct Volume {
    block: usize,
    /// Where each partition begins; none: it is mapped.
    maps: Vec<Option<usize>>,
    /// Partition and block of what describes the files.
    set: (u16, u32),
}

/// A descriptor of a sequence, and its number in it: the highest prevails (ECMA-167 3/8.4.3).
type Numbered<T> = (u32, T);

/// Keeps which of two prevails; of one number and not the same, a program may take either.
fn prevail<T: PartialEq>(kept: &mut Option<Numbered<T>>, other: Numbered<T>, two: &mut bool) {
    match kept {
        Some(kept) if kept.0 == other.0 => *two |= kept.1 != other.1,
        Some(kept) if kept.0 > other.0 => {}
        _ => *kept = Some(other),
    }
}

/// Reads the descriptors that lie in the extent that is named here.
fn volume(image: &[u8], sector: usize, extent: usize, found: &mut Found) -> Option<Volume> {
    let length = place(u32le(image, extent)?);
    let start = place(u32le(image, extent + 4)?).checked_mul(sector)?;
    let mut partitions: BTreeMap<u16, Option<Numbered<usize>>> = BTreeMap::new();
    let mut volumes: BTreeMap<u32, usize> = BTreeMap::new();
    for nth in 0..length / sector {
        let at = start.checked_add(nth.checked_mul(sector)?)?;
        let kind = tag(image, at);
        if nth >= DESCRIPTORS {
            found.unread |= kind.is_some();
            break;
        }
        match kind {
            Some(5) => {
                let first = place(u32le(image, at + 188)?).checked_mul(sector)?;
                let kept = partitions.entry(u16le(image, at + 22)?).or_default();
                prevail(kept, (u32le(image, at + 16)?, first), &mut found.two);
            }
            Some(6) => {
                let other = volumes.entry(u32le(image, at + 16)?).or_insert(at);
                found.two |= logical(image, *other) != logical(image, at);
            }
            // The sequence goes on elsewhere.
            Some(3) => found.unread = true,
            Some(8) | None => break,
            Some(_) => {}
        }
    }
    let (_, volume) = volumes.pop_last()?;
    let block = place(u32le(image, volume + 212)?);
    if !matches!(block, 512 | 1024 | 2048 | 4096) {
        return None;
    }
    let mut maps = Vec::new();
    let mut at = volume + 440;
    for _ in 0..place(u32le(image, volume + 268)?).min(16) {
        let map = (u8_at(image, at)?, u8_at(image, at + 1)?);
        let partition = u16le(image, at + 4)?;
        let first = partitions.get(&partition).copied().flatten();
        maps.push(first.filter(|_| map == (1, 6)).map(|(_, first)| first));
        at += usize::from(map.1.max(1));
    }
    let set = (u16le(image, volume + 256)?, u32le(image, volume + 252)?);
    Some(Volume { block, maps, set })
}

/// What of a logical volume's descriptor says where its files are.
fn logical(image: &[u8], at: usize) -> [Option<&[u8]>; 3] {
    [
        piece(image, at + 212, 4),
        piece(image, at + 248, 24),
        piece(image, at + 440, 72),
    ]
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
    maps: Vec<Option<usize>>,
    seen: BTreeSet<usize>,
    most: usize,
    left: usize,
    /// Octets of directories that may still be read: they may overlap, and do not on any disk that a program wrote.
    listed: usize,
    found: Found,
}

/// What the entry of a file says.
struct Entry {
    kind: u8,
    extents: Vec<(usize, usize)>,
}

impl Walk<'_> {
    fn volume(&mut self, volume: Volume) {
        self.block = volume.block;
        self.maps = volume.maps;
        self.seen.clear();
        let (partition, block) = volume.set;
        let Some(set) = self.at(partition, block) else {
            return;
        };
        let root = (tag(self.image, set) == Some(256))
            .then(|| Some((u16le(self.image, set + 408)?, u32le(self.image, set + 404)?)));
        let Some((partition, block)) = root.flatten() else {
            self.found.unread = true;
            return;
        };
        if let Some(root) = self.at(partition, block)
            && let Some(entry) = self.entry(root, partition)
        {
            self.directory(root, &entry, "", 0);
        }
    }

    /// Where a block of a partition lies.
    fn at(&mut self, partition: u16, block: u32) -> Option<usize> {
        let first = self.maps.get(usize::from(partition)).copied().flatten();
        self.found.unread |= first.is_none();
        place(block).checked_mul(self.block)?.checked_add(first?)
    }

    fn directory(&mut self, at: usize, entry: &Entry, path: &str, depth: usize) {
        if !self.seen.insert(at) {
            return;
        }
        let listing = content(self.image, &entry.extents, self.listed.saturating_add(1));
        let over = listing.len() > self.listed;
        self.listed = self.listed.saturating_sub(listing.len());
        if depth > DEPTH || over {
            self.found.more = true;
            return;
        }
        let mut at = 0;
        while tag(&listing, at) == Some(257) {
            if self.found.files.len() >= self.most || !self.pays() {
                self.found.more = true;
                return;
            }
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
            let Some(entry) = self.entry(place, partition) else {
                continue;
            };
            let full = if path.is_empty() {
                title
            } else {
                format!("{path}/{title}")
            };
            // Some programs believe the listing, others the entry.
            if flags & 2 != 0 || entry.kind == DIRECTORY {
                self.directory(place, &entry, &full, depth + 1);
            }
            if entry.kind != DIRECTORY {
                self.found.files.push(File {
                    path: full,
                    symbolic: entry.kind == SYMBOLIC,
                    extents: entry.extents,
                });
            }
        }
    }

    /// Pays for one thing more to be looked at; false: there has been enough.
    fn pays(&mut self) -> bool {
        let more = self.left > 0;
        self.left = self.left.saturating_sub(1);
        more
    }

    /// The entry of a file that lies in a partition, with its pieces. None: it is not of a form that is read here.
    fn entry(&mut self, at: usize, home: u16) -> Option<Entry> {
        let entry = self.entry_at(at, home);
        self.found.unread |= entry.is_none();
        entry
    }

    /// ECMA-167 4/14.9 and 14.17. What names no partition lies in that of the entry (4/14.14.1).
    fn entry_at(&mut self, at: usize, home: u16) -> Option<Entry> {
        let image = self.image;
        let (extended, fixed) = match tag(image, at)? {
            261 => (168, 176),
            266 => (208, 216),
            _ => return None,
        };
        // By any other strategy than this there may be a newer entry behind it.
        self.found.unread |= u16le(image, at + 20)? != 4;
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
        while let (Some(extent), Some(block)) = (u32le(descriptors, 0), u32le(descriptors, 4)) {
            if !self.pays() {
                self.found.more = true;
                return Some(entry);
            }
            let partition = if form == 0 {
                home
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
