//! A drawn fleet of any size that repeats itself as real fleets do. Shared by the example beside it
//! and by the benchmarks of the workspace (`#[path]`): no dependency but the model, and equal input
//! draws equal hosts.
//!
//! How real fleets repeat themselves, and what is drawn here:
//!
//! * A host's *set* of packages is that of its role: a few hundred distinct sets over six platforms,
//!   each of them the platform's base system, one mail server of three, and what the role adds.
//! * A host's *versions* follow from the day it was last patched, because all hosts of a platform
//!   draw from one archive. Most hosts are patched within weeks, a tail is years behind.
//! * One host in three *deviates*: up to four packages are missing, or held at an older version.
//!
//! Hosts are numbered as an inventory numbers them: neighbours have nothing in common.

use mailkeep_model::{Ecosystem, Platform, VersionScheme};

/// What to draw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    /// Source packages on each host; at least 20.
    pub(crate) packages_per_host: usize,
    /// Distinct sets of packages over the whole fleet.
    pub(crate) sets: usize,
    /// Draws another fleet.
    pub(crate) seed: u64,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            packages_per_host: 600,
            sets: 300,
            seed: 1,
        }
    }
}

/// A fleet to draw hosts from; it holds its archives and sets, never its hosts.
#[derive(Debug)]
pub(crate) struct DrawnFleet {
    archives: Vec<Archive>,
    sets: Vec<Set>,
    seed: u64,
}

/// The packages of one platform and all versions they ever had.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Whose archive.
    pub(crate) platform: Platform,
    /// Its source packages.
    pub(crate) packages: Vec<ArchivePackage>,
}

/// One source package in an archive.
#[derive(Debug)]
pub(crate) struct ArchivePackage {
    /// The name of the source package.
    pub(crate) name: String,
    /// Its versions, oldest first, each with the week it was published in.
    pub(crate) versions: Vec<(u16, String)>,
}

#[derive(Debug)]
struct Set {
    archive: usize,
    packages: Vec<usize>,
}

/// Weeks an archive's history spans.
const WEEKS: u16 = 200;

/// Platforms with their share of the fleet in percent.
const PLATFORMS: [(Ecosystem, &str, usize); 6] = [
    (Ecosystem::Debian, "bookworm", 40),
    (Ecosystem::Debian, "trixie", 20),
    (Ecosystem::Debian, "bullseye", 10),
    (Ecosystem::Ubuntu, "24.04", 15),
    (Ecosystem::Ubuntu, "22.04", 5),
    (Ecosystem::RedHat, "9", 10),
];

/// Mail servers: every host has one of them.
const MAIL_SERVERS: [&str; 3] = ["postfix", "exim4", "sendmail"];

/// Packages of every host, whose advisories concern the whole platform.
const EVERYWHERE: [&str; 8] = [
    "openssl", "glibc", "zlib", "systemd", "openssh", "gnutls28", "curl", "bash",
];

impl DrawnFleet {
    /// Draws archives and sets.
    pub(crate) fn new(spec: Spec) -> Self {
        let mut draw = Draw(spec.seed);
        // Hosts share most of their packages, and no two roles share all: so more names than a
        // host has, and the first of them in every set.
        let packages_per_host = spec.packages_per_host.max(20);
        let names = packages_per_host * 3;
        let archives: Vec<Archive> = PLATFORMS
            .iter()
            .map(|(ecosystem, release, _)| {
                Archive::draw(&mut draw, Platform::new(ecosystem.clone(), release), names)
            })
            .collect();
        let base = packages_per_host / 2;
        let sets = (0..spec.sets.max(PLATFORMS.len()))
            .map(|i| {
                let archive = share(i % 100);
                let server = EVERYWHERE.len() + draw.below(MAIL_SERVERS.len());
                let mut packages: Vec<usize> = (0..EVERYWHERE.len()).collect();
                packages.push(server);
                let first = EVERYWHERE.len() + MAIL_SERVERS.len();
                packages.extend(first..first + base);
                // What a role adds: a stretch of neighbours, as packages of one purpose go
                // together, from a place of its own.
                let rest = packages_per_host.saturating_sub(packages.len());
                let start = first + base + draw.below(names - base - rest - first);
                packages.extend(start..start + rest);
                packages.truncate(packages_per_host);
                Set { archive, packages }
            })
            .collect();
        Self {
            archives,
            sets,
            seed: spec.seed,
        }
    }

    /// The archives the hosts were installed from.
    pub(crate) fn archives(&self) -> &[Archive] {
        &self.archives
    }

    /// Draws one host: its platform, and into `packages` the names and versions of its source
    /// packages. Any host can be drawn at any time, in any order.
    pub(crate) fn host<'a>(
        &'a self,
        host_no: u32,
        packages: &mut Vec<(&'a str, &'a str)>,
    ) -> &'a Platform {
        let mut draw = Draw(self.seed ^ (u64::from(host_no) << 20));
        draw.next();
        let set = &self.sets[draw.below(self.sets.len())];
        let archive = &self.archives[set.archive];
        // Nine of ten were patched within the last ten weeks.
        let behind = if draw.below(10) > 0 {
            draw.below(10)
        } else {
            draw.below(usize::from(WEEKS))
        };
        let patched = WEEKS - u16::try_from(behind).unwrap_or(WEEKS);
        let deviations = if draw.below(3) == 0 {
            1 + draw.below(4)
        } else {
            0
        };

        packages.clear();
        packages.extend(set.packages.iter().map(|at| {
            let package = &archive.packages[*at];
            (&*package.name, package.version_at(patched))
        }));
        for _ in 0..deviations {
            let at = draw.below(packages.len());
            if draw.below(2) == 0 {
                packages.swap_remove(at);
            } else if let Some(package) = set.packages.get(at) {
                let package = &archive.packages[*package];
                let held = u16::try_from(draw.below(usize::from(WEEKS))).unwrap_or(WEEKS);
                packages[at] = (&package.name, package.version_at(held));
            }
        }
        &archive.platform
    }
}

impl Archive {
    fn draw(draw: &mut Draw, platform: Platform, names: usize) -> Self {
        let mut packages = Vec::with_capacity(names);
        for i in 0..names {
            let known = EVERYWHERE.iter().chain(&MAIL_SERVERS).nth(i);
            let name = known.map_or_else(|| format!("lib{}{i}", draw.word()), |n| (*n).to_owned());
            // Most packages never change within a release; what everyone has changes often.
            let updates = match draw.below(10) {
                _ if known.is_some() => 8,
                0 => 1 + draw.below(8),
                1..=3 => 1,
                _ => 0,
            };
            let upstream = format!("{}.{}.{}", draw.below(9), draw.below(40), draw.below(12));
            let epoch = ["", "", "", "", "1:"][draw.below(5)];
            let revision = 1 + draw.below(6);
            let mut weeks: Vec<u16> = (0..updates)
                .map(|_| u16::try_from(1 + draw.below(usize::from(WEEKS))).unwrap_or(WEEKS))
                .collect();
            weeks.sort_unstable();
            weeks.insert(0, 0);
            let versions = weeks
                .into_iter()
                .enumerate()
                .map(|(update, week)| {
                    let tail = match (platform.ecosystem.version_scheme(), update) {
                        (VersionScheme::Rpm, 0) => ".el9".to_owned(),
                        (VersionScheme::Rpm, n) => format!(".el9_4.{n}"),
                        (_, 0) => String::new(),
                        (_, n) => format!("+deb12u{n}"),
                    };
                    (week, format!("{epoch}{upstream}-{revision}{tail}"))
                })
                .collect();
            packages.push(ArchivePackage { name, versions });
        }
        Self { platform, packages }
    }
}

impl ArchivePackage {
    /// The newest version published up to a week.
    fn version_at(&self, week: u16) -> &str {
        let newest = self.versions.iter().rev().find(|(w, _)| *w <= week);
        newest.or(self.versions.first()).map_or("0", |(_, v)| v)
    }
}

/// The platform of the `percent`-th of a hundred sets.
fn share(percent: usize) -> usize {
    let mut left = percent;
    for (i, (_, _, share)) in PLATFORMS.iter().enumerate() {
        if left < *share {
            return i;
        }
        left -= share;
    }
    0
}

/// `SplitMix64`.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not zero.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).unwrap_or(0)
    }

    pub(crate) fn word(&mut self) -> String {
        (0..3 + self.below(8))
            .map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap_or(0)))
            .collect()
    }
}
