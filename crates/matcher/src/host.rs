//! A host's facts arranged for judging: one entry for each source package and version.

use std::collections::BTreeMap;

use mailkeep_model::{
    Candidate, Ecosystem, HostFacts, InstalledPackage, Platform, Surface, VersionScheme,
};

use crate::row::package_key;
use crate::surface::surfaces;
use crate::version;

/// One source package in one version on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePackage<'a> {
    /// Whose package, and of which release.
    pub platform: Platform,
    /// Source package name.
    pub name: &'a str,
    /// Source version.
    pub version: &'a str,
    /// Key of `version`; `None` where it cannot be ordered.
    pub key: Option<Vec<u8>>,
    /// Names of its installed binary packages, sorted.
    pub binaries: Vec<&'a str>,
    /// RPM modularity label.
    pub module: Option<&'a str>,
    /// The nearest surface of its binaries.
    pub surface: Surface,
    /// Version the host's own package manager offers, as a source version, and from where; `None`
    /// where it was not seen or cannot be told from the binary's version.
    pub offered: Option<Offered<'a>>,
    /// Mail processes that still run an older build of it.
    pub stale: Vec<StaleRun<'a>>,
}

impl SourcePackage<'_> {
    /// Its RPM modularity label, where it has one.
    pub(crate) fn label(&self) -> Option<&str> {
        self.module
            .filter(|label| !label.is_empty() && *label != "(none)")
    }

    /// Whether it is a backport (backports.debian.org).
    pub(crate) fn is_backport(&self) -> bool {
        self.platform.ecosystem == Ecosystem::Debian && self.version.contains("~bpo")
    }

    /// The key of another version of it, numbered as its own is judged: a backport without its
    /// suffix.
    pub(crate) fn comparable_key(&self, version: &str) -> Option<Vec<u8>> {
        let version = if self.is_backport() {
            as_built_from(version)
        } else {
            version
        };
        key_of(self.platform.ecosystem.version_scheme(), version)
    }
}

/// The version a backport was built from: `1.2-3~bpo12+1` is a rebuild of `1.2-3`.
pub(crate) fn as_built_from(version: &str) -> &str {
    version.split_once("~bpo").map_or(version, |(base, _)| base)
}

/// What the host's own package manager offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered<'a> {
    /// Version.
    pub version: &'a str,
    /// Its key.
    pub key: Vec<u8>,
    /// Repository, as the package manager names it.
    pub origin: Option<&'a str>,
}

/// A process that runs code which is no longer on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleRun<'a> {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub process: &'a str,
    /// The file that was replaced.
    pub path: &'a str,
    /// The source version it runs, where it is known.
    pub ran: Option<&'a str>,
}

/// A host's facts by source package.
#[derive(Debug, Clone)]
pub struct HostView<'a> {
    /// The facts.
    pub facts: &'a HostFacts,
    /// Source packages, sorted by platform, name, version.
    pub packages: Vec<SourcePackage<'a>>,
}

impl<'a> HostView<'a> {
    /// Arranges the facts. Packages of no known platform are left out; coverage reports them.
    pub fn new(facts: &'a HostFacts) -> Self {
        let surfaces = surfaces(facts);
        let candidates: BTreeMap<&str, &Candidate> = facts
            .candidates
            .items()
            .iter()
            .map(|c| (&*c.package, c))
            .collect();
        let mut binaries = Vec::with_capacity(facts.packages.len());
        for (package, surface) in facts.packages.iter().zip(surfaces) {
            let vendor = foreign_vendor(facts, package);
            let platform = match &package.ecosystem {
                Some(ecosystem) => PlatformKey::Own(ecosystem),
                None if vendor.is_some() => PlatformKey::Foreign(vendor.unwrap_or_default()),
                None if facts.platform.is_some() => PlatformKey::Host,
                None => continue,
            };
            let source: (PlatformKey<'_>, &'a str, &'a str) =
                (platform, &package.source, &package.source_version);
            binaries.push((source, package, surface));
        }
        // They come by the name of the binary, which is mostly near that of its source.
        binaries.sort_by_key(|(source, ..)| *source);
        let packages = binaries
            .chunk_by(|a, b| a.0 == b.0)
            .filter_map(|group| {
                let &((platform, name, version), ..) = group.first()?;
                let platform = platform.resolve(facts)?;
                let surface = group.iter().map(|(_, _, surface)| *surface).min()?;
                let binaries: Vec<&'a InstalledPackage> =
                    group.iter().map(|(_, package, _)| *package).collect();
                Some(source_package(
                    facts,
                    platform,
                    name,
                    version,
                    &binaries,
                    surface,
                    &candidates,
                ))
            })
            .collect();
        Self { facts, packages }
    }

    /// Every key under which a statement about these packages may lie, with the number of the
    /// package it would be about: its source name, and for RPM each binary name.
    pub fn keys(&self) -> Vec<(usize, String)> {
        let mut keys = Vec::with_capacity(self.packages.len());
        for (at, package) in self.packages.iter().enumerate() {
            let ecosystem = &package.platform.ecosystem;
            keys.push((at, package_key(ecosystem, package.name)));
            if ecosystem.version_scheme() == VersionScheme::Rpm {
                for binary in package.binaries.iter().filter(|b| **b != package.name) {
                    keys.push((at, package_key(ecosystem, binary)));
                }
            }
        }
        keys
    }

    /// The platforms its packages belong to, each once.
    pub fn platforms(&self) -> Vec<&Platform> {
        let mut platforms: Vec<&Platform> = self.packages.iter().map(|p| &p.platform).collect();
        platforms.sort();
        platforms.dedup();
        platforms
    }
}

/// Sorts a host's own packages before foreign ones without cloning the platform for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PlatformKey<'a> {
    Host,
    Own(&'a Ecosystem),
    Foreign(&'a str),
}

impl PlatformKey<'_> {
    fn resolve(self, facts: &HostFacts) -> Option<Platform> {
        match self {
            Self::Host => facts.platform.clone(),
            Self::Foreign(vendor) => Some(Platform::new(Ecosystem::Other(vendor.into()), "")),
            Self::Own(ecosystem) => match &facts.platform {
                Some(platform) if platform.ecosystem == *ecosystem => Some(platform.clone()),
                _ => Some(Platform::new(ecosystem.clone(), "")),
            },
        }
    }
}

/// The builder of an RPM package, where it is not the host's distributor: EPEL's packages on
/// `AlmaLinux` are not `AlmaLinux`'s, and its advisories do not speak of them.
fn foreign_vendor<'a>(facts: &HostFacts, package: &'a InstalledPackage) -> Option<&'a str> {
    let own: &[&str] = match facts.platform.as_ref()?.ecosystem {
        Ecosystem::AlmaLinux => &["almalinux"],
        Ecosystem::Fedora => &["fedora"],
        Ecosystem::OpenSuse => &["opensuse", "suse"],
        Ecosystem::OracleLinux => &["oracle"],
        Ecosystem::RedHat => &["red hat", "centos"],
        Ecosystem::RockyLinux => &["rocky"],
        Ecosystem::Suse => &["suse"],
        Ecosystem::Debian | Ecosystem::Ubuntu | Ecosystem::Exchange | Ecosystem::Other(_) => {
            return None;
        }
    };
    let vendor = package
        .vendor
        .as_deref()
        .filter(|v| !v.is_empty() && *v != "(none)")?;
    let lower = vendor.to_lowercase();
    (!own.iter().any(|name| lower.contains(name))).then_some(vendor)
}

fn source_package<'a>(
    facts: &'a HostFacts,
    platform: Platform,
    name: &'a str,
    version: &'a str,
    binaries: &[&'a InstalledPackage],
    surface: Surface,
    candidates: &BTreeMap<&str, &'a Candidate>,
) -> SourcePackage<'a> {
    let scheme = platform.ecosystem.version_scheme();
    let mut names: Vec<&str> = binaries.iter().map(|b| &*b.name).collect();
    names.sort_unstable();
    names.dedup();
    SourcePackage {
        key: key_of(scheme, version),
        offered: offered(scheme, version, binaries, candidates),
        stale: stale_runs(facts, binaries),
        module: binaries.iter().find_map(|b| b.module.as_deref()),
        platform,
        name,
        version,
        binaries: names,
        surface,
    }
}

pub(crate) fn key_of(scheme: VersionScheme, version: &str) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(version.len() + 8);
    version::write_key(scheme, version, &mut key).ok()?;
    Some(key)
}

/// A binary's version stands for its source's only where the two agree, a rebuild's `+bN` aside
/// (Debian Developer's Reference 5.10.2.1).
pub(crate) fn without_rebuild(version: &str) -> &str {
    match version.rsplit_once("+b") {
        Some((base, number))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            base
        }
        _ => version,
    }
}

fn offered<'a>(
    scheme: VersionScheme,
    installed: &str,
    binaries: &[&'a InstalledPackage],
    candidates: &BTreeMap<&str, &'a Candidate>,
) -> Option<Offered<'a>> {
    // The lowest, so that a fix counts as installable only when every binary can have it.
    binaries
        .iter()
        .filter(|b| without_rebuild(&b.version) == without_rebuild(&b.source_version))
        .filter_map(|b| candidates.get(&*b.name))
        .filter_map(|candidate| {
            let version = without_rebuild(&candidate.version);
            let backport = scheme == VersionScheme::Dpkg && installed.contains("~bpo");
            let key = key_of(
                scheme,
                if backport {
                    as_built_from(version)
                } else {
                    version
                },
            )?;
            Some(Offered {
                version,
                key,
                origin: candidate.origin.as_deref(),
            })
        })
        .min_by(|a, b| a.key.cmp(&b.key))
}

fn stale_runs<'a>(facts: &'a HostFacts, binaries: &[&'a InstalledPackage]) -> Vec<StaleRun<'a>> {
    let mut runs = Vec::new();
    for process in facts.processes.items() {
        for file in process.stale.items() {
            let Some(owner) = file.package.as_deref() else {
                continue;
            };
            let Some(binary) = binaries.iter().find(|b| &*b.name == owner) else {
                continue;
            };
            let tells_source =
                without_rebuild(&binary.version) == without_rebuild(&binary.source_version);
            runs.push(StaleRun {
                pid: process.pid,
                process: &process.name,
                path: &file.path,
                ran: file
                    .ran_version
                    .as_deref()
                    .filter(|_| tells_source)
                    .map(without_rebuild),
            });
        }
    }
    runs
}
