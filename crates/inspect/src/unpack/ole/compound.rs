//! Compound files (MS-CFB): a file system in a file. Read leniently: what Office opens, and more, is read.

use std::collections::BTreeSet;

use crate::octets::{piece, place, rest, some, u16le, u32le, utf16le};

/// No chain goes on over this many sectors; 256 MiB have so many.
const CHAIN_MAX: usize = 1 << 19;

/// Entries of the directory that are looked at.
const ENTRIES_MAX: usize = 1 << 14;

/// Sector numbers from here on mean something else (MS-CFB 2.1).
const SPECIAL: u32 = 0xffff_fffa;

/// A stream: its path, with `/` between the parts, and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    /// Storages it lies in, and its name, with `/` between them.
    pub(crate) path: String,
    start: u32,
    size: usize,
}

impl Stream {
    /// Its own name.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The path of the storage it lies in.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// An opened file.
pub(crate) struct Compound<'a> {
    octets: &'a [u8],
    sector: usize,
    small_sector: usize,
    small_below: usize,
    fat: Vec<u32>,
    small_fat: Vec<u32>,
    small: Vec<u8>,
    streams: Vec<Stream>,
    /// Its directory lists more than are looked at.
    pub(crate) more: bool,
}

impl<'a> Compound<'a> {
    /// Opens a file; none where its head is none.
    pub(crate) fn open(octets: &'a [u8]) -> Option<Self> {
        let shift = u16le(octets, 30)
            .filter(|shift| (7..=16).contains(shift))
            .unwrap_or(9);
        let small_shift = u16le(octets, 32)
            .filter(|shift| (3..=12).contains(shift))
            .unwrap_or(6);
        let mut file = Self {
            octets,
            sector: 1 << shift,
            small_sector: 1 << small_shift,
            small_below: u32le(octets, 56).map_or(4096, place).min(1 << 20),
            fat: Vec::new(),
            small_fat: Vec::new(),
            small: Vec::new(),
            streams: Vec::new(),
            more: false,
        };
        file.fat = file.table();
        let directory = file.chain(u32le(octets, 48)?, usize::MAX);
        let small_fat = file.chain(u32le(octets, 60)?, usize::MAX);
        file.small_fat = small_fat
            .chunks_exact(4)
            .filter_map(|word| u32le(word, 0))
            .collect();
        let root = some(&directory, 0, 128);
        if root.len() < 128 {
            return None;
        }
        let small_size = u32le(root, 120).map_or(0, place);
        file.small = file.chain(u32le(root, 116)?, small_size);
        file.streams = streams(&directory);
        file.more = directory.len() / 128 > ENTRIES_MAX;
        Some(file)
    }

    /// All streams, those that no storage names included.
    pub(crate) fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// What a stream holds, as far as its chain goes, and at most so much.
    pub(crate) fn content(&self, stream: &Stream, most: usize) -> Vec<u8> {
        let size = stream.size.min(most);
        if stream.size >= self.small_below {
            return self.chain(stream.start, size);
        }
        let mut content = Vec::new();
        let mut sector = stream.start;
        let mut steps = 0;
        while content.len() < size && sector < SPECIAL && steps < CHAIN_MAX {
            let at = place(sector).saturating_mul(self.small_sector);
            let found = some(&self.small, at, self.small_sector);
            if found.is_empty() {
                break;
            }
            content.extend_from_slice(found);
            sector = self
                .small_fat
                .get(place(sector))
                .copied()
                .unwrap_or(u32::MAX);
            steps += 1;
        }
        content.truncate(size);
        content
    }

    fn at(&self, sector: u32) -> usize {
        place(sector).saturating_add(1).saturating_mul(self.sector)
    }

    /// The table of what follows what: its first 109 sectors stand in the head, others in a chain of their own.
    fn table(&self) -> Vec<u32> {
        let mut sectors: Vec<u32> = some(self.octets, 76, 109 * 4)
            .chunks_exact(4)
            .filter_map(|word| u32le(word, 0))
            .filter(|sector| *sector < SPECIAL)
            .collect();
        let mut next = u32le(self.octets, 68).unwrap_or(u32::MAX);
        let mut seen = BTreeSet::new();
        while next < SPECIAL && seen.insert(next) && seen.len() < 4096 {
            let block = some(self.octets, self.at(next), self.sector);
            let words: Vec<u32> = block
                .chunks_exact(4)
                .filter_map(|word| u32le(word, 0))
                .collect();
            let Some((last, listed)) = words.split_last() else {
                break;
            };
            sectors.extend(listed.iter().filter(|sector| **sector < SPECIAL));
            next = *last;
        }
        let most = self.octets.len() / self.sector.max(1) + 2;
        let mut fat = Vec::new();
        for sector in sectors {
            if fat.len() > most.saturating_mul(2) {
                break;
            }
            let Some(block) = piece(self.octets, self.at(sector), self.sector) else {
                // Its end is cut off: what follows would be out of step.
                let block = rest(self.octets, self.at(sector));
                fat.extend(block.chunks_exact(4).filter_map(|word| u32le(word, 0)));
                break;
            };
            fat.extend(block.chunks_exact(4).filter_map(|word| u32le(word, 0)));
        }
        fat
    }

    /// What a chain of sectors holds. No chain is longer than the file.
    fn chain(&self, start: u32, size: usize) -> Vec<u8> {
        let mut content = Vec::new();
        let mut sector = start;
        let most = size.min(self.octets.len());
        let mut steps = 0;
        while content.len() < most && sector < SPECIAL && steps < CHAIN_MAX {
            let found = some(self.octets, self.at(sector), self.sector);
            if found.is_empty() {
                break;
            }
            content.extend_from_slice(found);
            sector = self.fat.get(place(sector)).copied().unwrap_or(u32::MAX);
            steps += 1;
        }
        content.truncate(size);
        content
    }
}

/// The streams of a directory, with their paths.
fn streams(directory: &[u8]) -> Vec<Stream> {
    let entries: Vec<&[u8]> = directory.chunks_exact(128).take(ENTRIES_MAX).collect();
    let mut paths: Vec<Option<String>> = vec![None; entries.len()];
    // Storages keep their entries as a tree of siblings below one child.
    let root = entries
        .first()
        .and_then(|entry| u32le(entry, 76))
        .unwrap_or(u32::MAX);
    let mut open: Vec<(u32, String)> = vec![(root, String::new())];
    while let Some((number, folder)) = open.pop() {
        let Some(entry) = entries.get(place(number)) else {
            continue;
        };
        let Some(path) = paths.get_mut(place(number)) else {
            continue;
        };
        if path.is_some() {
            continue;
        }
        let title = title(entry);
        let full = if folder.is_empty() {
            title
        } else {
            format!("{folder}/{title}")
        };
        for sibling in [68, 72] {
            if let Some(number) = u32le(entry, sibling) {
                open.push((number, folder.clone()));
            }
        }
        if entry.get(66) == Some(&1)
            && full.len() < 2048
            && let Some(child) = u32le(entry, 76)
        {
            open.push((child, full.clone()));
        }
        *path = Some(full);
    }
    entries
        .iter()
        .zip(paths)
        .filter(|(entry, _)| entry.get(66) == Some(&2))
        .map(|(entry, path)| Stream {
            path: path.unwrap_or_else(|| title(entry)),
            start: u32le(entry, 116).unwrap_or(u32::MAX),
            size: u32le(entry, 120).map_or(0, place),
        })
        .collect()
}

fn title(entry: &[u8]) -> String {
    utf16le(some(entry, 0, 64)).replace('/', "_")
}
