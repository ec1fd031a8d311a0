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

mod builder;

use std::collections::BTreeMap;

use mailkeep_model::{Platform, VersionScheme};
use roaring::{MultiOps, RoaringBitmap};

pub use self::builder::FleetIndexBuilder;
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

    #[test]
    fn hosts_of_many_blocks_stay_whole_dense_or_sparse() {
        let mut builder = FleetIndex::builder();
        let (dense, sparse) = (|n: u32| n.is_multiple_of(3), |n: u32| n.is_multiple_of(97));
        for host_no in (60_000..200_000).filter(|n| dense(*n) || sparse(*n)) {
            let packages = [("dense", dense(host_no)), ("sparse", sparse(host_no))];
            let carried = packages.iter().filter(|(_, carried)| *carried);
            builder.add_host(host_no, &bookworm(), carried.map(|(name, _)| (*name, "1")));
        }
        let index = builder.build();
        for (name, carries) in [("dense", dense as fn(u32) -> bool), ("sparse", sparse)] {
            let found = index.affected(&bookworm(), name, &[KeyRange::ALL]);
            assert!(
                found.iter().eq((60_000..200_000).filter(|n| carries(*n))),
                "{name}"
            );
        }
    }

    proptest! {
        #[test]
        fn affected_is_what_a_loop_over_all_hosts_finds(
            installed in prop::collection::vec(
                (prop_oneof![0_u32..20, 65_530_u32..65_550], "[ab]", "(1:)?[012](\\.[012])?(~1|-1|-0)?"), 0..120),
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
