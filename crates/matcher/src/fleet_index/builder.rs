//! How hosts are added: pairs of package and version interned, hosts collected block by block.

use std::collections::{BTreeMap, HashMap};

use mailkeep_model::Platform;
use roaring::RoaringBitmap;

use super::{FleetIndex, Package};

/// Takes hosts one by one; give them in ascending order of their numbers, which only appends to
/// the bitmaps (any other order is right too, and slower).
#[derive(Debug, Default)]
pub struct FleetIndexBuilder {
    platforms: Vec<PlatformSeen>,
    hosts: RoaringBitmap,
}

impl FleetIndexBuilder {
    /// Adds a host: the names and versions of its *source* packages. A name may come more than
    /// once, with the same version (several binary packages) or with another one (co-installed
    /// kernels); a host may come more than once, with another platform.
    pub fn add_host<'a>(
        &mut self,
        host_no: u32,
        platform: &Platform,
        packages: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        self.hosts.insert(host_no);
        self.platform(platform).add(host_no, packages);
    }

    /// Sorts what was added.
    pub fn build(self) -> FleetIndex {
        FleetIndex {
            platforms: self
                .platforms
                .into_iter()
                .map(|seen| (seen.platform.clone(), seen.into_packages()))
                .collect(),
            hosts: compact(self.hosts),
        }
    }

    /// What was seen of a platform. A fleet has a handful of them.
    fn platform(&mut self, platform: &Platform) -> &mut PlatformSeen {
        let known = self.platforms.iter().position(|s| s.platform == *platform);
        let place = known.unwrap_or_else(|| {
            self.platforms.push(PlatformSeen::new(platform));
            self.platforms.len() - 1
        });
        &mut self.platforms[place]
    }
}

/// What was added of one platform: its pairs of package and version, interned.
///
/// A hundred thousand hosts of 600 packages are 60 million additions, and what they cost is waiting
/// for memory. So pairs are numbered as they first come: hosts list their packages in one order,
/// and what is read for one package lies beside what is read for the next.
#[derive(Debug)]
struct PlatformSeen {
    platform: Platform,
    /// The place of each pair in `pairs` and `hosts`, by [`write_pair`].
    numbers: HashMap<Box<[u8]>, u32>,
    pairs: Vec<Pair>,
    /// Names and versions, in the order of the pairs.
    texts: String,
    hosts: Vec<RoaringBitmap>,
    /// The upper half of the numbers of the hosts that are pending.
    block: u16,
    /// Room to write a pair into.
    scratch: Vec<u8>,
}

/// A package in one version, as it was added.
#[derive(Debug)]
struct Pair {
    /// Where its name begins in `texts`; its version follows the name.
    start: usize,
    name_len: u32,
    version_len: u32,
    /// The pairs that came after this one on hosts before, last seen first: likely so on the next.
    next: [u32; 2],
    /// Its hosts within the current block of 65,536, not yet in its bitmap: a bitmap looks up its
    /// greatest number, container by container and word by word, at each number appended.
    pending: Vec<u16>,
}

impl PlatformSeen {
    fn new(platform: &Platform) -> Self {
        Self {
            platform: platform.clone(),
            numbers: HashMap::new(),
            pairs: Vec::new(),
            texts: String::new(),
            hosts: Vec::new(),
            block: 0,
            scratch: Vec::new(),
        }
    }

    /// Adds a host with its packages.
    fn add<'a>(&mut self, host_no: u32, packages: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let [high, low] = halves(host_no);
        if high != self.block {
            self.flush();
            self.block = high;
        }
        let mut previous = 0;
        for (name, version) in packages {
            previous = self.number(name, version, previous);
            if let Some(pair) = self.pairs.get_mut(previous as usize) {
                pair.pending.push(low);
            }
        }
    }

    /// Moves the pending hosts into the bitmaps.
    fn flush(&mut self) {
        for (pair, hosts) in self.pairs.iter_mut().zip(&mut self.hosts) {
            if pair.pending.is_empty() {
                continue;
            }
            if !pair.pending.is_sorted() {
                pair.pending.sort_unstable();
            }
            *hosts |= block_bitmap(self.block, &pair.pending);
            pair.pending.clear();
        }
    }

    /// The number of a pair: one of the two that came after `previous` before, or by its hash.
    fn number(&mut self, name: &str, version: &str, previous: u32) -> u32 {
        let likely = self.pairs.get(previous as usize).map(|pair| pair.next);
        let guessed = likely
            .into_iter()
            .flatten()
            .find(|guess| self.is_pair(*guess, name, version));
        let number = guessed.unwrap_or_else(|| self.look_up(name, version));
        if let Some(pair) = self.pairs.get_mut(previous as usize)
            && pair.next[0] != number
        {
            pair.next = [number, pair.next[0]];
        }
        number
    }

    fn is_pair(&self, number: u32, name: &str, version: &str) -> bool {
        self.pairs.get(number as usize).is_some_and(|pair| {
            pair.name_len as usize == name.len()
                && pair.version_len as usize == version.len()
                && self.texts_of(pair) == (name, version)
        })
    }

    fn texts_of(&self, pair: &Pair) -> (&str, &str) {
        let name_end = pair.start + pair.name_len as usize;
        let end = name_end + pair.version_len as usize;
        let text = |range| self.texts.get(range).unwrap_or_default();
        (text(pair.start..name_end), text(name_end..end))
    }

    fn look_up(&mut self, name: &str, version: &str) -> u32 {
        write_pair(name, version, &mut self.scratch);
        if let Some(number) = self.numbers.get(&*self.scratch) {
            return *number;
        }
        // Four billion pairs, or texts of four GiB, would not fit into memory.
        let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let number = short(self.pairs.len());
        self.pairs.push(Pair {
            start: self.texts.len(),
            name_len: short(name.len()),
            version_len: short(version.len()),
            next: [number + 1; 2],
            pending: Vec::new(),
        });
        self.texts.push_str(name);
        self.texts.push_str(version);
        self.hosts.push(RoaringBitmap::new());
        self.numbers.insert(self.scratch.as_slice().into(), number);
        number
    }

    fn into_packages(mut self) -> BTreeMap<Box<str>, Package> {
        let scheme = self.platform.ecosystem.version_scheme();
        self.flush();
        let pairs = std::mem::take(&mut self.pairs);
        let all_hosts = std::mem::take(&mut self.hosts);
        let mut packages: BTreeMap<Box<str>, Package> = BTreeMap::new();
        for (pair, hosts) in pairs.into_iter().zip(all_hosts) {
            let (name, version) = self.texts_of(&pair);
            if !packages.contains_key(name) {
                packages.insert(name.into(), Package::default());
            }
            if let Some(package) = packages.get_mut(name) {
                package.push(scheme, version, compact(hosts));
            }
        }
        for package in packages.values_mut() {
            package.sort();
        }
        packages
    }
}

/// The upper and the lower half of a host's number.
fn halves(host_no: u32) -> [u16; 2] {
    let [a, b, c, d] = host_no.to_be_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

/// The set of the hosts of one block, whose lower halves are given in order.
fn block_bitmap(block: u16, sorted: &[u16]) -> RoaringBitmap {
    /// Above this a set of bits is smaller than a list of numbers.
    const DENSE: usize = 4096;
    let first = u32::from(block) << 16;
    if sorted.len() > DENSE {
        let mut bits = vec![0_u8; 8192];
        for low in sorted {
            if let Some(byte) = bits.get_mut(usize::from(low >> 3)) {
                *byte |= 1 << (low & 7);
            }
        }
        return RoaringBitmap::from_lsb0_bytes(first, &bits);
    }
    let mut bitmap = RoaringBitmap::new();
    for low in sorted {
        // An error says that a host named a package twice.
        bitmap.try_push(first | u32::from(*low)).unwrap_or_default();
    }
    bitmap
}

/// A pair as one text that no other pair has.
fn write_pair(name: &str, version: &str, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&name.len().to_le_bytes());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(version.as_bytes());
}

/// The same set in the least memory: runs where they are shorter, and (a copy has none) no spare
/// capacity left from growing.
fn compact(mut hosts: RoaringBitmap) -> RoaringBitmap {
    hosts.optimize();
    hosts.clone()
}
