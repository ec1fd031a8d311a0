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
pub mod impact;
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
    let unread = unread(&more);
    problems.extend(more);
    let platform = os_release::platform_of(&os);
    let mut facts = packages_only(host, seen_at, FactsSource::Root, os, platform, packages);
    facts.limitations.extend(unread);
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
    let rpm::Listing {
        packages,
        unread: mut problems,
        remark,
    } = rpm::read_qa(text);
    let unread = unread(&problems);
    problems.extend(remark);
    let platform = platform.or_else(|| rpm::platform_hint(&packages));
    if platform.is_none() {
        problems.push(Problem::new(
            "rpm -qa",
            "shows no *-release package of a known distribution; say which release this is",
        ));
    }
    let os = OsRelease::default();
    let mut facts = packages_only(host, seen_at, FactsSource::RpmQa, os, platform, packages);
    facts.limitations.extend(unread);
    (facts, problems)
}

/// Facts of a `CycloneDX` or SPDX 2.3 SBOM in JSON. They are of the time it says it was made;
/// `otherwise` where it says none.
pub fn facts_from_sbom(
    host: HostName,
    otherwise: Timestamp,
    json: &[u8],
) -> Result<(HostFacts, Vec<Problem>), SbomError> {
    let (sbom, problems) = sbom::parse(json)?;
    let mut facts = packages_only(
        host,
        sbom.created.unwrap_or(otherwise),
        sbom.source,
        sbom.os,
        sbom.platform,
        sbom.packages,
    );
    facts.limitations.extend(sbom.unread);
    Ok((facts, problems))
}

/// What bad records of a package list mean for its host: each may have been an installed package.
/// `None` where every one was read.
pub(crate) fn unread(bad: &[Problem]) -> Option<Limitation> {
    let first = bad.first()?;
    // Two things wrong with one record stand next to each other.
    let repeated = bad
        .iter()
        .zip(bad.iter().skip(1))
        .filter(|(one, next)| one.record == next.record)
        .count();
    let why = match bad.len() - repeated {
        1 => format!("1 record could not be read: {first}"),
        n => format!("{n} records could not be read: {first}"),
    };
    Some(Limitation {
        what: Limitation::PACKAGES.to_owned(),
        why: mailkeep_model::text::printable_max(&why, 200),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostName {
        HostName::new("mx1").unwrap()
    }

    #[test]
    fn a_root_shows_packages_and_says_that_nothing_runs() {
        let (facts, problems) = facts_from_root(
            host(),
            Timestamp::UNIX_EPOCH,
            "ID=debian\nVERSION_ID=\"12\"\n",
            b"Package: postfix\nStatus: install ok installed\nVersion: 3.7.11-0\n\n\
              Package: exim4-base\nStatus: deinstall ok config-files\nVersion: 4.96-15\n",
        );
        assert!(problems.is_empty());
        assert_eq!(facts.platform.unwrap().to_string(), "Debian:12");
        assert_eq!(
            facts.packages.len(),
            1,
            "removed but configured is not installed"
        );
        assert_eq!(facts.processes, Seen::No);
        assert_eq!(facts.limitations.len(), 3);
    }

    fn packages_limitation(facts: &HostFacts) -> Option<&str> {
        let mut found = facts
            .limitations
            .iter()
            .filter(|l| l.what == Limitation::PACKAGES);
        let why = found.next()?.why.as_str();
        assert_eq!(found.next(), None, "one limitation for all bad records");
        Some(why)
    }

    #[test]
    fn bad_records_of_any_list_are_one_limitation_of_the_facts() {
        let at = Timestamp::UNIX_EPOCH;
        let (facts, _) = facts_from_root(
            host(),
            at,
            "ID=debian\nVERSION_ID=\"12\"\n",
            b"Package: postfix\nStatus: install ok installed\n\n<<<<\nVersion: 2\n\n\
              Package: bash\nStatus: install ok installed\nVersion: 5.2\n",
        );
        assert_eq!(
            packages_limitation(&facts),
            Some(
                "2 records could not be read: dpkg status of postfix: is installed, but has no \
                 Version field"
            )
        );
        let list = "garbage\npostfix-BROKEN\nalmalinux-release-9.4-1.el9.x86_64\n";
        let (facts, _) = facts_from_rpm_qa(host(), at, None, list);
        assert_eq!(
            packages_limitation(&facts),
            Some(
                "2 records could not be read: rpm -qa line 1: is no name-version-release: \
                 \"garbage\""
            )
        );
        let json = br#"{"bomFormat":"CycloneDX","components":[
            {"type":"library","name":"postfix","version":"3.7"},
            {"type":"application","name":"app/Cargo.lock"}]}"#;
        let (facts, problems) = facts_from_sbom(host(), at, json).unwrap();
        assert_eq!(problems.len(), 2);
        assert_eq!(
            packages_limitation(&facts),
            Some("1 record could not be read: component postfix 3.7: has no package URL")
        );
    }

    #[test]
    fn what_is_only_said_of_a_list_leaves_it_whole() {
        let list = "almalinux-release-9.4-1.el9.x86_64\npostfix-3.5.25-1.el9.x86_64\n";
        let (facts, problems) = facts_from_rpm_qa(host(), Timestamp::UNIX_EPOCH, None, list);
        assert_eq!(problems.len(), 1);
        assert_eq!(packages_limitation(&facts), None);
    }

    #[test]
    fn an_rpm_list_without_a_release_package_has_no_platform_and_says_so() {
        let (facts, problems) = facts_from_rpm_qa(
            host(),
            Timestamp::UNIX_EPOCH,
            None,
            "postfix\t2\t3.5.25\t1.el9\tx86_64\tpostfix-3.5.25-1.el9.src.rpm\t(none)\n",
        );
        assert_eq!(facts.platform, None);
        assert_eq!(problems.len(), 1);
        let told = Platform::new(mailkeep_model::Ecosystem::RockyLinux, "9");
        let (facts, problems) =
            facts_from_rpm_qa(host(), Timestamp::UNIX_EPOCH, Some(told.clone()), "");
        assert_eq!((facts.platform, problems), (Some(told), vec![]));
    }

    #[test]
    fn an_sbom_keeps_what_belongs_to_other_ecosystems() {
        let json = br#"{"bomFormat":"CycloneDX","components":[
            {"type":"library","name":"rustls","purl":"pkg:cargo/rustls@0.23.1"}]}"#;
        let (facts, problems) = facts_from_sbom(host(), Timestamp::UNIX_EPOCH, json).unwrap();
        assert!(problems.is_empty());
        assert_eq!(facts.source, FactsSource::CycloneDx);
        let ecosystem = facts.packages[0].ecosystem.as_ref().unwrap();
        assert_eq!(ecosystem.name(), "crates.io");
    }
}
