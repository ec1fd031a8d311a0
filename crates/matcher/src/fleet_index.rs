//! A whole fleet in memory: for each (platform, source package) its versions, sorted by key, each
//! with the compressed bitmap of the hosts that carry it.
//!
//! Entry: [`FleetIndex::builder`]. A new advisory is a binary search and a union of bitmaps
//! ([`FleetIndex::affected`]): its cost follows the answer, not the fleet. A whole-fleet check
//! judges each distinct (platform, package, version) once ([`FleetIndex::carriers`]) and expands
//! the verdict by its bitmap.
//!
//! Hosts are numbers here; the caller keeps their names. A version that has no place in its
//! scheme's order is no answer and no silence: it is kept, with its error and its hosts
//! ([`FleetIndex::unordered`]), to be answered `unknown`.

use std::collections::{BTreeMap, HashMap};

use mailkeep_model::{Platform, VersionScheme};
use roaring::{MultiOps, RoaringBitmap};

use crate::version::{self, VersionError, VersionKey};

/// The versions of a fleet's packages and who carries them.
#[derive(Debug, Clone, Default)]
pub struct FleetIndex {
    platforms: BTreeMap<Platform, BTreeMap<Box<str>, Package>>,
    hosts: RoaringBitmap,
}

/// One version of one source package on one platform, and its hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct Carriers {
    /// The version as the hosts wrote it. Two texts may have equal keys (`1.0` and `1.0-0`).
    pub version: Box<str>,
    /// Its place in the order of the platform's scheme.
    pub key: VersionKey,
    /// Numbers of the hosts that carry it.
    pub hosts: RoaringBitmap,
}

/// A version without a place in the order of its platform, and its hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct Unordered {
    /// The version as the hosts wrote it.
    pub version: Box<str>,
    /// Why it cannot be ordered.
    pub error: VersionError,
    /// Numbers of the hosts that carry it.
    pub hosts: RoaringBitmap,
}

/// A half-open range of version keys of one scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first version inside; `None` is from the beginning.
    pub from: Option<VersionKey>,
    /// The first version outside; `None` is without end.
    pub below: Option<VersionKey>,
}

impl KeyRange {
    /// Every version.
    pub const ALL: Self = Self {
        from: None,
        below: None,
    };

    /// Up to and with `last`, as a source says it that names the last affected version.
    pub fn through(from: Option<VersionKey>, last: &VersionKey) -> Self {
        // No key is a prefix of another, so nothing stands between a key and itself with a zero
        // behind it.
        let mut below = last.as_bytes().to_vec();
        below.push(0);
        Self {
            from,
            below: Some(VersionKey::from_bytes(&below)),
        }
    }

    /// Whether a version lies inside.
    pub fn contains(&self, key: &VersionKey) -> bool {
        self.from.as_ref().is_none_or(|from| from <= key)
            && self.below.as_ref().is_none_or(|below| key < below)
    }
}

/// How much an index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FleetCounts {
    /// Hosts.
    pub hosts: u64,
    /// Distinct pairs of platform and source package.
    pub packages: u64,
    /// Distinct triples of platform, source package and version: what a whole-fleet check judges.
    pub versions: u64,
    /// Pairs of a host and a package version: what a check host by host would judge.
    pub installed: u64,
    /// Versions that cannot be ordered, out of `versions`.
    pub unordered: u64,
}

impl FleetIndex {
    /// An empty fleet to fill.
    pub fn builder() -> FleetIndexBuilder {
        FleetIndexBuilder::default()
    }

    /// The hosts that carry `package` on `platform` in a version inside any of `ranges`. Touches
    /// only the versions inside.
    pub fn affected(
        &self,
        platform: &Platform,
        package: &str,
        ranges: &[KeyRange],
    ) -> RoaringBitmap {
        let Some(package) = self.package(platform, package) else {
            return RoaringBitmap::new();
        };
        ranges
            .iter()
            .flat_map(|range| package.inside(range))
            .map(|carriers| &carriers.hosts)
            .union()
    }

    /// The versions of `package` on `platform`, oldest first, each with its hosts.
    pub fn carriers(
        &self,
        platform: &Platform,
        package: &str,
    ) -> impl Iterator<Item = &Carriers> + use<'_> {
        self.package(platform, package)
            .into_iter()
            .flat_map(|package| &package.ordered)
    }

    /// The versions of `package` on `platform` that cannot be ordered: `unknown`, for each of these
    /// hosts.
    pub fn unordered(
        &self,
        platform: &Platform,
        package: &str,
    ) -> impl Iterator<Item = &Unordered> + use<'_> {
        self.package(platform, package)
            .into_iter()
            .flat_map(|package| &package.unordered)
    }

    /// The platforms of the fleet, in order.
    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.platforms.keys()
    }

    /// The source packages that any host of `platform` carries, in order.
    pub fn packages(&self, platform: &Platform) -> impl Iterator<Item = &str> + use<'_> {
        self.platforms
            .get(platform)
            .into_iter()
            .flat_map(|packages| packages.keys().map(|name| &**name))
    }

    /// All host numbers.
    pub fn hosts(&self) -> &RoaringBitmap {
        &self.hosts
    }

    /// How much the index holds.
    pub fn counts(&self) -> FleetCounts {
        let mut counts = FleetCounts {
            hosts: self.hosts.len(),
            ..FleetCounts::default()
        };
        for package in self.platforms.values().flat_map(BTreeMap::values) {
            counts.packages += 1;
            for carriers in &package.ordered {
                counts.versions += 1;
                counts.installed += carriers.hosts.len();
            }
            for unordered in &package.unordered {
                counts.versions += 1;
                counts.unordered += 1;
                counts.installed += unordered.hosts.len();
            }
        }
        counts
    }

    /// About how many bytes the index holds on the heap.
    pub fn memory_estimate(&self) -> u64 {
        let mut bytes = bitmap_bytes(&self.hosts);
        for (name, package) in self.platforms.values().flatten() {
            bytes += size_of::<(Box<str>, Package)>() as u64 + name.len() as u64;
            for carriers in &package.ordered {
                let text = carriers.version.len() + carriers.key.as_bytes().len();
                bytes += (size_of::<Carriers>() + text) as u64 + bitmap_bytes(&carriers.hosts);
            }
            for unordered in &package.unordered {
                let text = 2 * unordered.version.len();
                bytes += (size_of::<Unordered>() + text) as u64 + bitmap_bytes(&unordered.hosts);
            }
        }
        bytes
    }

    fn package(&self, platform: &Platform, package: &str) -> Option<&Package> {
        self.platforms.get(platform)?.get(package)
    }
}

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

/// What the index holds of one (platform, source package).
#[derive(Debug, Clone, Default)]
struct Package {
    /// Sorted by key, then text.
    ordered: Vec<Carriers>,
    /// Sorted by text.
    unordered: Vec<Unordered>,
}

impl Package {
    fn push(&mut self, scheme: VersionScheme, text: &str, hosts: RoaringBitmap) {
        let version = text.into();
        match version::key(scheme, text) {
            Ok(key) => self.ordered.push(Carriers {
                version,
                key,
                hosts,
            }),
            Err(error) => self.unordered.push(Unordered {
                version,
                error,
                hosts,
            }),
        }
    }

    fn sort(&mut self) {
        self.ordered
            .sort_unstable_by(|a, b| (&a.key, &a.version).cmp(&(&b.key, &b.version)));
        self.unordered
            .sort_unstable_by(|a, b| a.version.cmp(&b.version));
        self.ordered.shrink_to_fit();
        self.unordered.shrink_to_fit();
    }

    fn inside(&self, range: &KeyRange) -> &[Carriers] {
        let below = |bound: &Option<VersionKey>, none: usize| {
            bound.as_ref().map_or(none, |bound| {
                self.ordered
                    .partition_point(|carriers| carriers.key < *bound)
            })
        };
        let (start, end) = (
            below(&range.from, 0),
            below(&range.below, self.ordered.len()),
        );
        self.ordered.get(start..end).unwrap_or_default()
    }
}

/// The same set in the least memory: runs where they are shorter, and (a copy has none) no spare
/// capacity left from growing.
fn compact(mut hosts: RoaringBitmap) -> RoaringBitmap {
    hosts.optimize();
    hosts.clone()
}

/// Heap bytes of a compact bitmap.
fn bitmap_bytes(bitmap: &RoaringBitmap) -> u64 {
    /// A container: its key, its kind, and where its content is.
    const CONTAINER: u64 = 40;
    /// A container that is a plain set of 65,536 bits.
    const BITSET: u64 = 8192;
    let s = bitmap.statistics();
    u64::from(s.n_containers) * CONTAINER
        + u64::from(s.n_values_array_containers) * 2
        + u64::from(s.n_bitset_containers) * BITSET
        + s.n_bytes_run_containers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mailkeep_model::Ecosystem;
    use proptest::prelude::*;

    use super::*;

    fn bookworm() -> Platform {
        Platform::new(Ecosystem::Debian, "bookworm")
    }

    fn dpkg(text: &str) -> VersionKey {
        version::key(VersionScheme::Dpkg, text).unwrap()
    }

    fn below(text: &str) -> KeyRange {
        KeyRange {
            from: None,
            below: Some(dpkg(text)),
        }
    }

    fn three_hosts() -> FleetIndex {
        let mut builder = FleetIndex::builder();
        builder.add_host(1, &bookworm(), [("exim4", "4.96-15"), ("zlib", "1:1.2")]);
        builder.add_host(2, &bookworm(), [("exim4", "4.96-15+deb12u10")]);
        builder.add_host(7, &bookworm(), [("exim4", "4.96-15+deb12u9")]);
        builder.add_host(
            8,
            &Platform::new(Ecosystem::Debian, "trixie"),
            [("exim4", "4.98-1")],
        );
        builder.build()
    }

    fn check(index: &FleetIndex, ranges: &[KeyRange], expected: &[u32]) {
        let hosts = index.affected(&bookworm(), "exim4", ranges);
        assert_eq!(hosts.iter().collect::<Vec<_>>(), expected, "{ranges:?}");
    }

    #[test]
    fn an_advisory_finds_the_hosts_below_its_fix_on_its_platform_only() {
        let index = three_hosts();
        check(&index, &[below("4.96-15+deb12u10")], &[1, 7]);
        check(&index, &[below("4.96-15")], &[]);
        check(&index, &[KeyRange::ALL], &[1, 2, 7]);
        check(&index, &[], &[]);
        let elsewhere = Platform::new(Ecosystem::Ubuntu, "24.04");
        assert!(
            index
                .affected(&elsewhere, "exim4", &[KeyRange::ALL])
                .is_empty()
        );
        assert!(
            index
                .affected(&bookworm(), "exim", &[KeyRange::ALL])
                .is_empty()
        );
    }

    #[test]
    fn ranges_are_half_open_may_overlap_and_may_be_empty() {
        let index = three_hosts();
        let from = |from: &str, below: &str| KeyRange {
            from: Some(dpkg(from)),
            below: Some(dpkg(below)),
        };
        check(&index, &[from("4.96-15", "4.96-15+deb12u9")], &[1]);
        check(&index, &[from("4.97", "4.96")], &[]);
        check(
            &index,
            &[below("4.97"), below("4.96-15+deb12u1")],
            &[1, 2, 7],
        );
        let through = KeyRange::through(None, &dpkg("4.96-15+deb12u9"));
        check(&index, std::slice::from_ref(&through), &[1, 7]);
        assert!(through.contains(&dpkg("4.96-15+deb12u09")));
        assert!(!through.contains(&dpkg("4.96-15+deb12u9+b1")));
    }

    #[test]
    fn carriers_come_oldest_first_with_their_hosts() {
        let index = three_hosts();
        let seen: Vec<(&str, Vec<u32>)> = index
            .carriers(&bookworm(), "exim4")
            .map(|c| (&*c.version, c.hosts.iter().collect()))
            .collect();
        assert_eq!(
            seen,
            [
                ("4.96-15", vec![1]),
                ("4.96-15+deb12u9", vec![7]),
                ("4.96-15+deb12u10", vec![2]),
            ]
        );
        let names: Vec<&str> = index.packages(&bookworm()).collect();
        assert_eq!(names, ["exim4", "zlib"]);
        assert_eq!(index.platforms().count(), 2);
        assert_eq!(
            index.counts(),
            FleetCounts {
                hosts: 4,
                packages: 3,
                versions: 5,
                installed: 5,
                unordered: 0
            }
        );
    }

    #[test]
    fn a_version_without_a_place_in_the_order_is_kept_with_its_hosts() {
        let mut builder = FleetIndex::builder();
        builder.add_host(
            3,
            &bookworm(),
            [("exim4", "garbage:1"), ("exim4", "4.96-15")],
        );
        let index = builder.build();
        check(&index, &[KeyRange::ALL], &[3]);
        let unordered: Vec<&Unordered> = index.unordered(&bookworm(), "exim4").collect();
        assert_eq!(unordered.len(), 1);
        assert_eq!(unordered[0].error.kind(), "version-epoch-not-a-number");
        assert!(unordered[0].hosts.contains(3));
        assert_eq!(index.counts().unordered, 1);
    }

    #[test]
    fn memory_follows_the_distinct_versions_not_the_hosts() {
        let memory = |hosts: u32| {
            let mut builder = FleetIndex::builder();
            for host_no in 0..hosts {
                let packages = ["a", "b", "c", "d"].map(|name| (name, "1.0-1"));
                builder.add_host(host_no, &bookworm(), packages);
            }
            builder.build().memory_estimate()
        };
        assert!(memory(20_000) < 2 * memory(20), "{}", memory(20_000));
    }

    proptest! {
        #[test]
        fn affected_is_what_a_loop_over_all_hosts_finds(
            installed in prop::collection::vec(
                (0_u32..40, "[ab]", "(1:)?[012](\\.[012])?(~1|-1|-0)?"), 0..120),
            bounds in prop::collection::vec(
                (prop::option::of("[012]\\.[012](-1)?"), prop::option::of("(1:)?[012]\\.[012]")), 0..4),
        ) {
            let mut builder = FleetIndex::builder();
            for (host_no, name, version) in &installed {
                builder.add_host(*host_no, &bookworm(), [(&**name, &**version)]);
            }
            let index = builder.build();
            let ranges: Vec<KeyRange> = bounds
                .iter()
                .map(|(from, below)| KeyRange {
                    from: from.as_deref().map(dpkg),
                    below: below.as_deref().map(dpkg),
                })
                .collect();
            for package in ["a", "b"] {
                let expected: BTreeSet<u32> = installed
                    .iter()
                    .filter(|(_, name, version)| {
                        name == package && ranges.iter().any(|r| r.contains(&dpkg(version)))
                    })
                    .map(|(host_no, _, _)| *host_no)
                    .collect();
                let found: BTreeSet<u32> =
                    index.affected(&bookworm(), package, &ranges).iter().collect();
                prop_assert_eq!(found, expected);
            }
            let distinct: BTreeSet<(u32, &str, &str)> = installed
                .iter()
                .map(|(host_no, name, version)| (*host_no, &**name, &**version))
                .collect();
            prop_assert_eq!(index.counts().installed, distinct.len() as u64);
        }
    }
}
