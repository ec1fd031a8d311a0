//! One entry of an OSV record's `affected`: whose package, which versions.

use mailkeep_model::{Ecosystem, PackageKind, Platform, RangeEnd, VersionRange, VersionScheme};
use serde::Deserialize;

use crate::fixes::{Said, urgency};
use crate::lenient;
use crate::product::cpe::Cpe;
use crate::product::distribution::Release;
use crate::text::{self, Str};

/// Versions listed one by one that are kept for an entry; npm lists thousands.
const VERSIONS_MAX: usize = 20_000;

/// Ecosystems of the schema that are no distribution known here.
const KNOWN: &[&str] = &[
    "Alpaquita",
    "Alpine",
    "Android",
    "BellSoft Hardened Containers",
    "Bioconductor",
    "Bitnami",
    "Chainguard",
    "ConanCenter",
    "CRAN",
    "crates.io",
    "Echo",
    "FreeBSD",
    "GHC",
    "GIT",
    "GitHub Actions",
    "Go",
    "Hackage",
    "Hex",
    "Julia",
    "Kubernetes",
    "Linux",
    "Mageia",
    "Maven",
    "MinimOS",
    "npm",
    "NuGet",
    "opam",
    "openEuler",
    "OSS-Fuzz",
    "Packagist",
    "Photon OS",
    "Pub",
    "PyPI",
    "Root",
    "RubyGems",
    "SwiftURL",
    "VSCode",
    "Wolfi",
];

#[derive(Deserialize)]
pub(super) struct Affected<'a> {
    #[serde(borrow, default)]
    package: Option<Package<'a>>,
    #[serde(borrow, default)]
    ranges: Option<Vec<Range<'a>>>,
    #[serde(borrow, default)]
    versions: Option<Vec<Str<'a>>>,
    #[serde(borrow, default)]
    pub(super) severity: Option<Vec<Severity<'a>>>,
    #[serde(borrow, default)]
    ecosystem_specific: lenient::Object<Specific<'a>>,
}

#[derive(Deserialize)]
struct Package<'a> {
    #[serde(borrow)]
    ecosystem: Str<'a>,
    #[serde(borrow)]
    name: Str<'a>,
    #[serde(borrow, default)]
    purl: Option<Str<'a>>,
}

#[derive(Deserialize)]
struct Range<'a> {
    #[serde(borrow, rename = "type")]
    kind: Str<'a>,
    #[serde(borrow, default)]
    repo: Option<Str<'a>>,
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    introduced: Option<Str<'a>>,
    #[serde(borrow, default)]
    fixed: Option<Str<'a>>,
    #[serde(borrow, default)]
    last_affected: Option<Str<'a>>,
    #[serde(borrow, default)]
    limit: Option<Str<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Severity<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow)]
    pub(super) score: Str<'a>,
}

/// What distributions add: Debian `urgency`, Red Hat and Ubuntu `severity`.
#[derive(Deserialize)]
struct Specific<'a> {
    #[serde(borrow, default)]
    urgency: lenient::Text<'a>,
    #[serde(borrow, default)]
    severity: lenient::Text<'a>,
}

/// Whose package, in which release.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ecosystem: Ecosystem,
    pub(super) release: Option<Box<str>>,
    /// Whether it is an ecosystem of the schema.
    pub(super) known: bool,
}

/// What can be used of an entry, and what was odd about the rest.
pub(super) struct Usable {
    pub(super) said: Said,
    pub(super) odd: Vec<String>,
}

impl Place {
    pub(super) fn is_rpm(&self) -> bool {
        self.ecosystem.version_scheme() == VersionScheme::Rpm
    }

    /// RPM distributions name binary packages, Debian and Ubuntu source packages.
    pub(super) fn kind(&self) -> PackageKind {
        if self.is_rpm() {
            PackageKind::Binary
        } else {
            PackageKind::Source
        }
    }

    /// Reads `affected[].package.ecosystem`.
    fn of(text: &str) -> Self {
        let (base, rest) = text.split_once(':').unwrap_or((text, ""));
        let ecosystem = Ecosystem::from(text::line(base, 100).into_string());
        let known = ecosystem.is_distribution() || KNOWN.contains(&base);
        Self {
            release: release(&ecosystem, rest),
            ecosystem,
            known,
        }
    }
}

/// The release as [`Platform::release`] names it. What a customer pays for beside the mainline
/// (Ubuntu Pro, Red Hat's extended streams) is a release of its own here, so that its fixes never
/// answer for a host without it.
fn release(ecosystem: &Ecosystem, rest: &str) -> Option<Box<str>> {
    if rest.is_empty() {
        return None;
    }
    let found = match ecosystem {
        Ecosystem::Debian => return text::token(&Platform::new(Ecosystem::Debian, rest).release),
        Ecosystem::Ubuntu => return text::token(rest.strip_suffix(":LTS").unwrap_or(rest)),
        Ecosystem::RedHat => {
            Cpe::parse(&format!("cpe:/o:redhat:{rest}")).and_then(|cpe| Release::from_cpe(&cpe))
        }
        Ecosystem::Suse => Release::from_name(&format!("SUSE {rest}")),
        Ecosystem::OpenSuse => Release::from_name(&format!("openSUSE {rest}")),
        _ => None,
    };
    match found {
        Some(found) => Some(found.release),
        None => Some(text::line(rest, 100)),
    }
}

impl Affected<'_> {
    pub(super) fn place(&self) -> Place {
        match &self.package {
            Some(package) => Place::of(&package.ecosystem),
            None => Place::of("GIT"),
        }
    }

    /// The package's name; without a package, the repository's.
    pub(super) fn name(&self) -> Option<&str> {
        if let Some(package) = &self.package {
            return Some(&package.name);
        }
        let repo = self
            .ranges
            .iter()
            .flatten()
            .find_map(|range| range.repo.as_deref())?;
        let name = repo.trim_end_matches('/').rsplit('/').next()?;
        Some(name.strip_suffix(".git").unwrap_or(name))
    }

    /// The name in a distribution's package URL. Of other ecosystems the two are written
    /// differently (`@scope/name`, `group:artifact`), and a difference means nothing.
    pub(super) fn name_in_purl(&self) -> Option<String> {
        let purl = self.package.as_ref()?.purl.as_deref()?;
        let rest = purl
            .strip_prefix("pkg:deb/")
            .or_else(|| purl.strip_prefix("pkg:rpm/"))?;
        let path = rest.split(['?', '#', '@']).next()?;
        let name = path.rsplit('/').next()?;
        Some(percent_decoded(name)).filter(|name| !name.is_empty())
    }

    pub(super) fn said(&self) -> Usable {
        let mut odd = Vec::new();
        let mut said = Said::default();
        for range in self.ranges.iter().flatten() {
            match &*range.kind {
                // Commits: nothing installed tells its commit. `versions` lists what they mean.
                "GIT" => {}
                "ECOSYSTEM" | "SEMVER" => said.ranges.extend(ranges(&range.events, &mut odd)),
                other => odd.push(format!("unknown type of range {other:?}; left out")),
            }
        }
        let versions = self.versions.as_deref().unwrap_or_default();
        if versions.len() > VERSIONS_MAX {
            odd.push(format!(
                "more than {VERSIONS_MAX} versions; the others left out"
            ));
        }
        let mut bad = 0;
        for version in versions.iter().take(VERSIONS_MAX) {
            match text::token(version) {
                Some(version) => said.versions.push(version),
                None => bad += 1,
            }
        }
        if bad > 0 {
            odd.push(format!("{bad} of its versions are none; left out"));
        }
        if let Some(specific) = self.ecosystem_specific.get() {
            let words = [specific.urgency.get(), specific.severity.get()];
            said.urgency = words.into_iter().find_map(urgency);
            said.end_of_life = specific.urgency.get() == "end-of-life";
        }
        Usable { said, odd }
    }
}

/// Pairs events into ranges.
///
/// The schema sorts events by version first, which takes the ecosystem's order. Without it: each
/// `introduced` opens a range and the next end closes it, as databases write them; a single pair is
/// read in either order. An end that nothing opened is taken from the beginning, which errs on the
/// side of affected, and is named.
fn ranges(events: &[Event<'_>], odd: &mut Vec<String>) -> Vec<VersionRange> {
    let mut starts = Vec::new();
    let mut ends = Vec::new();
    // In order of place; an event that says two things says them in this order.
    for (at, event) in events.iter().enumerate() {
        if let Some(version) = &event.introduced {
            starts.push((at, version));
        }
        // A fix outweighs the other two; `limit` is no more than a bound on what was looked at.
        if let Some(version) = &event.fixed {
            ends.push((at, version, RangeEnd::Fixed as fn(Box<str>) -> RangeEnd));
        } else if let Some(version) = &event.last_affected {
            ends.push((
                at,
                version,
                RangeEnd::LastAffected as fn(Box<str>) -> RangeEnd,
            ));
        } else if let Some(version) = &event.limit {
            ends.push((at, version, RangeEnd::Limit as fn(Box<str>) -> RangeEnd));
        }
    }
    let mut version = |text: &Str<'_>| {
        let version = text::token(text);
        if version.is_none() {
            odd.push(format!("{:?} is no version", text::line(text, 60)));
        }
        version
    };
    let single = starts.len() == 1 && ends.len() == 1;
    let mut all = Vec::new();
    let mut ends = ends.into_iter().peekable();
    let mut strays = 0;
    for (index, (at, start)) in starts.iter().enumerate() {
        let next = starts.get(index + 1).map_or(usize::MAX, |(at, _)| *at);
        while !single && ends.next_if(|(end, ..)| end < at).is_some() {
            strays += 1;
        }
        let end = ends.next_if(|(end, ..)| single || *end < next);
        // Further ends before the next start add nothing: the first one closed it.
        while ends.next_if(|(end, ..)| *end < next).is_some() {}
        let introduced = match &***start {
            "0" => None,
            _ => match version(start) {
                Some(version) => Some(version),
                None => continue,
            },
        };
        let end = match end {
            None => RangeEnd::Open,
            // An end that cannot be read bounds nothing.
            Some((_, text, kind)) => version(text).map_or(RangeEnd::Open, kind),
        };
        all.push(VersionRange { introduced, end });
    }
    if starts.is_empty() {
        for (_, text, kind) in ends {
            if let Some(version) = version(text) {
                all.push(VersionRange {
                    introduced: None,
                    end: kind(version),
                });
            }
            strays += 1;
        }
    }
    if strays > 0 {
        odd.push("a range ends that never began".to_owned());
    } else if events.is_empty() {
        odd.push("a range without events".to_owned());
    }
    all
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = (byte == b'%').then(|| {
            let mut ahead = rest.clone();
            let digits = [ahead.next()?, ahead.next()?];
            let text = std::str::from_utf8(&digits).ok()?;
            let decoded = u8::from_str_radix(text, 16).ok()?;
            rest = ahead;
            Some(decoded)
        });
        bytes.push(decoded.flatten().unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ecosystem: &str, expected: &str) {
        let place = Place::of(ecosystem);
        let release = place.release.as_deref().unwrap_or("-");
        assert_eq!(format!("{} {release}", place.ecosystem), expected);
    }

    #[test]
    fn ecosystems_name_their_release_as_hosts_do() {
        check("Debian:12", "Debian bookworm");
        check("Debian", "Debian -");
        check("Ubuntu:22.04:LTS", "Ubuntu 22.04");
        check("Ubuntu:24.10", "Ubuntu 24.10");
        check("Ubuntu:Pro:16.04:LTS", "Ubuntu Pro:16.04");
        check("AlmaLinux:9", "AlmaLinux 9");
        check("Rocky Linux:9", "Rocky Linux 9");
        check("Red Hat:enterprise_linux:9::appstream", "Red Hat 9");
        check("Red Hat:rhel_eus:9.2::baseos", "Red Hat 9.2-eus");
        check("SUSE:Linux Enterprise Server 15 SP5", "SUSE 15.5");
        check("openSUSE:Leap 15.5", "openSUSE 15.5");
        check("openSUSE:Tumbleweed", "openSUSE tumbleweed");
        check("crates.io", "crates.io -");
        check("Alpine:v3.20", "Alpine v3.20");
    }

    #[test]
    fn only_ecosystems_of_the_schema_are_known() {
        assert!(Place::of("PyPI").known);
        assert!(Place::of("Rocky Linux:9").known);
        assert!(!Place::of("Plan 9:4").known);
    }

    fn pair(events: &str) -> (Vec<String>, usize) {
        let events: Vec<Event<'_>> = serde_json::from_str(events).unwrap();
        let mut odd = Vec::new();
        let ranges = ranges(&events, &mut odd)
            .into_iter()
            .map(|range| {
                let start = range.introduced.unwrap_or_default();
                match range.end {
                    RangeEnd::Fixed(end) => format!("[{start},{end})"),
                    RangeEnd::LastAffected(end) => format!("[{start},{end}]"),
                    RangeEnd::Limit(end) => format!("[{start},{end}?"),
                    RangeEnd::Open => format!("[{start},"),
                }
            })
            .collect();
        (ranges, odd.len())
    }

    #[test]
    fn events_pair_into_ranges() {
        for (events, expected, odd) in [
            (r#"[{"introduced": "0"}, {"fixed": "2"}]"#, &["[,2)"][..], 0),
            (r#"[{"fixed": "2"}, {"introduced": "1"}]"#, &["[1,2)"], 0),
            (r#"[{"introduced": "1", "fixed": "2"}]"#, &["[1,2)"], 0),
            (
                r#"[{"introduced": "1"}, {"fixed": "2"}, {"introduced": "3"}, {"last_affected": "4"}, {"introduced": "5"}]"#,
                &["[1,2)", "[3,4]", "[5,"],
                0,
            ),
            (
                r#"[{"introduced": "1"}, {"introduced": "2"}, {"fixed": "3"}]"#,
                &["[1,", "[2,3)"],
                0,
            ),
            (r#"[{"introduced": "1"}, {"limit": "3"}]"#, &["[1,3?"], 0),
            (
                r#"[{"introduced": "1"}, {"fixed": "2"}, {"fixed": "3"}]"#,
                &["[1,2)"],
                0,
            ),
            (r#"[{"fixed": "2"}]"#, &["[,2)"], 1),
            (r#"[{"introduced": "1"}, {"fixed": "2 b"}]"#, &["[1,"], 1),
            ("[]", &[], 1),
        ] {
            let (ranges, odds) = pair(events);
            assert_eq!(
                (ranges.as_slice(), odds),
                (
                    expected
                        .iter()
                        .map(|s| (*s).to_owned())
                        .collect::<Vec<_>>()
                        .as_slice(),
                    odd
                ),
                "{events}"
            );
        }
    }

    #[test]
    fn a_name_is_read_out_of_a_package_url() {
        assert_eq!(percent_decoded("libstdc%2B%2b%zz%"), "libstdc++%zz%");
    }
}
