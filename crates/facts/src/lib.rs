//! Host text to inventory: what a host prints, or its files hold, becomes [`HostFacts`].
//!
//! Entry: [`facts_from_root`] (os-release and dpkg status of a mounted root), [`facts_from_rpm_qa`],
//! [`facts_from_sbom`], and [`scan::parse_report`] (a live host, by [`scan::SCRIPT`]). The parts:
//! [`os_release`], [`dpkg`], [`rpm`], [`sbom`], [`scan`].
//!
//! **Invariant:** pure. The texts are arguments, and so is the time. Nothing here runs a command,
//! opens a file or asks a clock. Input is hostile: bad records become [`Problem`]s with a name and
//! the rest goes on; work and memory are bounded by the length of the input.

#![warn(clippy::indexing_slicing, clippy::string_slice)]

pub mod dpkg;
pub mod os_release;
pub mod rpm;
pub mod sbom;
pub mod scan;

use jiff::Timestamp;
use mailkeep_model::{
    FactsSource, HostFacts, HostName, InstalledPackage, Limitation, OsRelease, Platform, Problem,
    Seen,
};

pub use sbom::SbomError;

/// Facts of a mounted root directory: the text of `etc/os-release` and the bytes of
/// `var/lib/dpkg/status`. Running code cannot be seen that way, and the facts say so.
pub fn facts_from_root(
    host: HostName,
    seen_at: Timestamp,
    os_release: &str,
    dpkg_status: &[u8],
) -> (HostFacts, Vec<Problem>) {
    let (os, mut problems) = os_release::parse(os_release);
    let (packages, more) = dpkg::parse_status(dpkg_status);
    problems.extend(more);
    let platform = os_release::platform_of(&os);
    let facts = packages_only(host, seen_at, FactsSource::Root, os, platform, packages);
    (facts, problems)
}

/// Facts of `rpm -qa` output. Where no platform is given, the `*-release` package among them says
/// it ([`rpm::platform_hint`]).
pub fn facts_from_rpm_qa(
    host: HostName,
    seen_at: Timestamp,
    platform: Option<Platform>,
    text: &str,
) -> (HostFacts, Vec<Problem>) {
    let (packages, mut problems) = rpm::parse_qa(text);
    let platform = platform.or_else(|| rpm::platform_hint(&packages));
    if platform.is_none() {
        problems.push(Problem::new(
            "rpm -qa",
            "shows no *-release package of a known distribution; say which release this is",
        ));
    }
    let os = OsRelease::default();
    let facts = packages_only(host, seen_at, FactsSource::RpmQa, os, platform, packages);
    (facts, problems)
}

/// Facts of a `CycloneDX` or SPDX 2.3 SBOM in JSON.
pub fn facts_from_sbom(
    host: HostName,
    seen_at: Timestamp,
    json: &[u8],
) -> Result<(HostFacts, Vec<Problem>), SbomError> {
    let (sbom, problems) = sbom::parse(json)?;
    let facts = packages_only(
        host,
        seen_at,
        sbom.source,
        sbom.os,
        sbom.platform,
        sbom.packages,
    );
    Ok((facts, problems))
}

/// Facts of a road that shows packages and nothing that runs.
fn packages_only(
    host: HostName,
    seen_at: Timestamp,
    source: FactsSource,
    os: OsRelease,
    platform: Option<Platform>,
    packages: Vec<InstalledPackage>,
) -> HostFacts {
    let road = match source {
        FactsSource::CycloneDx | FactsSource::Spdx => "an SBOM lists packages only",
        FactsSource::RpmQa => "rpm -qa lists packages only",
        FactsSource::Local | FactsSource::Root | FactsSource::Ssh => "a mounted root does not run",
    };
    let limitations = ["processes", "listeners", "candidates"]
        .map(|what| Limitation {
            what: what.to_owned(),
            why: road.to_owned(),
        })
        .to_vec();
    HostFacts {
        host,
        seen_at,
        source,
        os,
        platform,
        packages,
        processes: Seen::No,
        listeners: Seen::No,
        candidates: Seen::No,
        limitations,
    }
}
