//! Claims about what makes work, and what does not.

use std::cmp::Ordering;

use jiff::civil::date;
use mailkeep_model::{
    Candidate, Ecosystem, Evidence, FactsSource, FeedId, HostFacts, Listener, OsRelease, Region,
    RegionName, Rule, Seen, Surface, UnknownReason, Verdict,
};

use super::*;

/// Versions of these tests are ordered as text.
fn as_text(_scheme: VersionScheme, a: &str, b: &str) -> Ordering {
    a.cmp(b)
}

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn name() -> HostName {
    HostName::new("mx1").unwrap()
}

fn fleet() -> Fleet {
    let mut fleet = Fleet::default();
    let region = RegionName::new("eu").unwrap();
    fleet.regions.insert(
        region.clone(),
        Region {
            time_zone: "Europe/Berlin".to_owned(),
            owner: None,
            windows: Vec::new(),
            pilot: false,
        },
    );
    let host = Host {
        region: Some(region),
        exposed: Some(false),
        ..Host::default()
    };
    fleet.hosts.insert(name(), host);
    fleet
}

fn package(name: &str, version: &str, source: &str) -> InstalledPackage {
    InstalledPackage {
        name: name.into(),
        version: version.into(),
        arch: "amd64".into(),
        source: source.into(),
        source_version: version.into(),
        ecosystem: None,
        module: None,
        vendor: None,
        depends: Vec::new(),
        provides: Vec::new(),
    }
}

fn facts(packages: &[(&str, &str, &str)], candidates: &[(&str, &str)]) -> HostFacts {
    HostFacts {
        host: name(),
        seen_at: now(),
        source: FactsSource::Ssh,
        os: OsRelease::default(),
        platform: Some(Platform::new(Ecosystem::Debian, "12")),
        packages: packages.iter().map(|(n, v, s)| package(n, v, s)).collect(),
        processes: Seen::No,
        listeners: Seen::Yes(vec![
            Listener {
                address: "0.0.0.0".parse().unwrap(),
                port: 25,
                pid: None,
                banner: None,
            },
            Listener {
                address: "127.0.0.1".parse().unwrap(),
                port: 10025,
                pid: None,
                banner: None,
            },
            Listener {
                address: "::".parse().unwrap(),
                port: 22,
                pid: None,
                banner: None,
            },
        ]),
        candidates: Seen::Yes(
            candidates
                .iter()
                .map(|(package, version)| Candidate {
                    package: (*package).into(),
                    version: (*version).into(),
                    origin: None,
                    index_as_of: None,
                })
                .collect(),
        ),
        limitations: Vec::new(),
    }
}

fn finding(source: &str, status: Status) -> Finding {
    Finding {
        host: name(),
        verdict: Verdict {
            advisory: AdvisoryId::new("CVE-2026-40001").unwrap(),
            aliases: Vec::new(),
            title: "".into(),
            platform: Platform::new(Ecosystem::Debian, "12"),
            package: source.into(),
            binaries: Vec::new(),
            installed: "1".into(),
            fixed: None,
            status,
            surface: Surface::Mail,
            urgency: None,
            cvss: None,
            evidence: Evidence {
                source: FeedId::new("debian").unwrap(),
                rule: Rule::DistributorFixedVersion,
                compared: None,
                reason: "a test".to_owned(),
                unknown: (status == Status::Unknown).then_some(UnknownReason::NoFeed),
                source_stale: false,
                others: Vec::new(),
                notes: Vec::new(),
            },
        },
        severity: Severity::High,
        score: None,
        kev: false,
        epss: None,
        decision: None,
        lane: Some(Lane::Regular),
        deadline: Some(date(2026, 12, 6)),
        first_seen: None,
        owner: None,
    }
}

fn only(findings: &[Finding], facts: &HostFacts) -> Result<HostWork, NotPlannedReason> {
    let seen = BTreeMap::from([(name(), facts)]);
    let (mut work, mut left_out) = work_from(&fleet(), findings, &seen, now(), &as_text);
    assert_eq!(work.len() + left_out.len(), 1);
    match work.pop() {
        Some(work) => Ok(work),
        None => Err(left_out.pop().unwrap().reason),
    }
}

fn change(name: &str, from: &str, to: &str) -> PackageChange {
    PackageChange {
        name: name.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

const POSTFIX: [(&str, &str, &str); 3] = [
    ("postfix", "3.7-1", "postfix"),
    ("postfix-pcre", "3.7-1", "postfix"),
    ("openssl", "3.0-1", "openssl"),
];

#[test]
fn all_binaries_of_a_source_move_together_to_the_candidate() {
    let facts = facts(
        &POSTFIX,
        &[
            ("postfix", "3.7-2"),
            ("postfix-pcre", "3.7-2"),
            ("openssl", "3.0-9"),
        ],
    );
    let work = only(&[finding("postfix", Status::FixAvailable)], &facts).unwrap();
    assert_eq!(
        work.packages,
        [
            change("postfix", "3.7-1", "3.7-2"),
            change("postfix-pcre", "3.7-1", "3.7-2")
        ]
    );
    assert_eq!(
        (work.family.as_str(), work.platform.as_str()),
        ("postfix", "Debian:12")
    );
    assert_eq!(work.ports, [25].into());
    assert_eq!(work.deadline, Some(date(2026, 12, 6)));
}

#[test]
fn a_restart_is_a_change_from_a_version_to_itself() {
    let facts = facts(&POSTFIX, &[("postfix", "3.7-1")]);
    let work = only(&[finding("postfix", Status::RestartPending)], &facts).unwrap();
    assert_eq!(
        work.packages,
        [
            change("postfix", "3.7-1", "3.7-1"),
            change("postfix-pcre", "3.7-1", "3.7-1")
        ]
    );
}

#[test]
fn a_fix_the_host_cannot_install_is_no_work() {
    let published = facts(&POSTFIX, &[("postfix", "3.7-1")]);
    for status in [Status::FixPublished, Status::FixAvailable] {
        let reason = only(&[finding("postfix", status)], &published).unwrap_err();
        assert_eq!(reason.name(), "no-candidate");
    }
    for status in [Status::NoFix, Status::WillNotFix] {
        let reason = only(&[finding("postfix", status)], &published).unwrap_err();
        assert_eq!(reason.name(), "no-fix");
    }
    let reason = only(&[finding("postfix", Status::Mitigated)], &published).unwrap_err();
    assert_eq!(reason.name(), "mitigated");
    let reason = only(&[finding("postfix", Status::Unknown)], &published).unwrap_err();
    assert_eq!(reason.name(), "needs-person");
}

#[test]
fn a_mitigation_changes_no_version_and_names_the_package_whose_fix_ends_it() {
    let facts = facts(&POSTFIX, &[]);
    let found = finding("postfix", Status::NoFix);
    let named = AdvisoryId::new("CVE-2026-40001").unwrap();
    let work = mitigation(&fleet(), &facts, &[(&found, &named)]).unwrap();
    assert_eq!(work.packages[0], change("postfix", "3.7-1", "3.7-1"));
    assert_eq!(work.mitigates, [(named, "postfix".to_owned())].into());
    assert_eq!(work.closes, BTreeSet::new());
    // Of what is not installed nothing can be restarted.
    let other = finding("exim4", Status::NoFix);
    let named = AdvisoryId::new("CVE-2026-40001").unwrap();
    assert_eq!(mitigation(&fleet(), &facts, &[(&other, &named)]), None);
}

#[test]
fn what_cannot_be_fixed_does_not_stop_what_can() {
    let facts = facts(&POSTFIX, &[("postfix", "3.7-2"), ("postfix-pcre", "3.7-2")]);
    let findings = [
        finding("openssl", Status::NoFix),
        finding("postfix", Status::FixAvailable),
    ];
    assert_eq!(only(&findings, &facts).unwrap().packages.len(), 2);
}

#[test]
fn where_candidates_were_not_seen_the_distributors_version_is_taken() {
    let mut facts = facts(&POSTFIX, &[]);
    facts.candidates = Seen::No;
    let mut found = finding("postfix", Status::FixAvailable);
    found.verdict.fixed = Some("3.7-3".into());
    let work = only(&[found], &facts).unwrap();
    assert_eq!(work.packages[0], change("postfix", "3.7-1", "3.7-3"));
}

#[test]
fn dovecot_across_2_4_needs_a_person() {
    let facts = facts(
        &[("dovecot-core", "1:2.3.19-1", "dovecot")],
        &[("dovecot-core", "1:2.4.1-1")],
    );
    let reason = only(&[finding("dovecot", Status::FixAvailable)], &facts).unwrap_err();
    assert_eq!(reason.name(), "needs-person");
    let within = super::tests::facts(
        &[("dovecot-core", "1:2.3.19-1", "dovecot")],
        &[("dovecot-core", "1:2.3.19-2")],
    );
    assert!(only(&[finding("dovecot", Status::FixAvailable)], &within).is_ok());
}

#[test]
fn facts_that_are_missing_or_old_are_no_ground_for_a_change() {
    let findings = [finding("postfix", Status::FixAvailable)];
    let (work, left_out) = work_from(&fleet(), &findings, &BTreeMap::new(), now(), &as_text);
    assert_eq!(
        (work.len(), left_out[0].reason.name()),
        (0, "facts-missing")
    );
    let mut facts = facts(&POSTFIX, &[("postfix", "3.7-2")]);
    facts.seen_at = "2026-11-01T00:00:00Z".parse().unwrap();
    assert_eq!(only(&findings, &facts).unwrap_err().name(), "facts-too-old");
}

#[test]
fn exploited_urgent_exposed_findings_weigh_more() {
    let mut worst = finding("postfix", Status::FixAvailable);
    assert_eq!(risk_of(&worst, Exposure::Internal), 4);
    (worst.kev, worst.lane, worst.severity) = (true, Some(Lane::Emergency), Severity::Critical);
    assert_eq!(risk_of(&worst, Exposure::Exposed), 8 * 4 * 4 * 2);
    worst.severity = Severity::Unknown;
    (worst.kev, worst.lane) = (false, None);
    assert_eq!(risk_of(&worst, Exposure::Internal), 1);
}
