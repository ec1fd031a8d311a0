//! The traps of the field: each was a bug in somebody's scanner, each is a claim here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::cmp::Ordering;

use mailkeep_matcher::{
    FeedView, HostJudge, HostView, Judged, PackageRows, RowBuilder, judge_host, statement_key,
};
use mailkeep_model::{
    AdvisoryId, Candidate, Claim, ClaimKind, Ecosystem, FactsSource, FeedId, FeedKind, FeedState,
    HostFacts, HostName, InstalledPackage, MailProcess, MailRole, OpenState, OsRelease,
    PackageKind, Platform, RangeEnd, Rule, Seen, StaleFile, Statement, Status, Surface,
    UnknownReason, Urgency, Verdict, VersionRange, Voice,
};
use proptest::prelude::*;

fn package(source: &str, version: &str) -> InstalledPackage {
    InstalledPackage {
        name: source.into(),
        version: version.into(),
        arch: "amd64".into(),
        source: source.into(),
        source_version: version.into(),
        ecosystem: None,
        module: None,
        vendor: None,
        depends: vec![],
        provides: vec![],
    }
}

fn host(platform: Platform, packages: Vec<InstalledPackage>) -> HostFacts {
    HostFacts {
        host: HostName::new("mx1").unwrap(),
        seen_at: "2026-11-21T00:00:00Z".parse().unwrap(),
        source: FactsSource::Root,
        os: OsRelease::default(),
        platform: Some(platform),
        packages,
        processes: Seen::No,
        listeners: Seen::No,
        candidates: Seen::No,
        limitations: vec![],
    }
}

fn bookworm(packages: Vec<InstalledPackage>) -> HostFacts {
    host(Platform::new(Ecosystem::Debian, "12"), packages)
}

fn claim(release: &str, kind: ClaimKind) -> Claim {
    Claim {
        release: Some(release.into()),
        kind,
        urgency: None,
        note: None,
        in_repository: None,
    }
}

fn fixed(version: &str) -> ClaimKind {
    ClaimKind::FixedIn {
        version: version.into(),
    }
}

fn open(state: OpenState) -> ClaimKind {
    ClaimKind::Open { state }
}

fn statement(id: &str, package: &str, claims: Vec<Claim>) -> Statement {
    Statement {
        advisory: AdvisoryId::new(id).unwrap(),
        aliases: vec![],
        ecosystem: Ecosystem::Debian,
        package: package.into(),
        package_kind: PackageKind::Source,
        module: None,
        voice: Voice::Distributor,
        title: "".into(),
        cvss: None,
        claims,
    }
}

/// Judges facts by statements, each from a fresh feed of the kind given.
fn judge(facts: &HostFacts, said: &[(FeedKind, Statement)]) -> Judged {
    judge_with(facts, said, &vec![FeedState::Fresh; said.len()])
}

/// The same with the state of each feed.
fn judge_with(facts: &HostFacts, said: &[(FeedKind, Statement)], states: &[FeedState]) -> Judged {
    let ids: Vec<FeedId> = said
        .iter()
        .enumerate()
        .map(|(n, (kind, _))| FeedId::new(format!("{kind}-{n}")).unwrap())
        .collect();
    let feeds: Vec<FeedView<'_>> = said
        .iter()
        .zip(&ids)
        .zip(states)
        .map(|(((kind, _), id), state)| FeedView {
            id,
            kind: *kind,
            state: *state,
        })
        .collect();
    let view = HostView::new(facts);
    let keys = view.keys();
    let mut rows = PackageRows::new();
    let mut as_read = HostJudge::new(&view, &keys, &feeds, true);
    for (number, (_, key)) in keys.iter().enumerate() {
        for (feed, (_, statement)) in said.iter().enumerate() {
            if statement_key(statement) == *key {
                let body = RowBuilder::body_of([statement]);
                rows.push(number, feed, &body);
                as_read.push(number, feed, &body).unwrap();
            }
        }
    }
    let numbered: Vec<(usize, usize, &str)> = keys
        .iter()
        .enumerate()
        .map(|(number, (package, key))| (*package, number, key.as_str()))
        .collect();
    let judged = judge_host(&view, &numbered, &rows, &feeds, true).unwrap();
    assert_eq!(as_read.finish().unwrap(), judged, "judged as read");
    judged
}

fn tracker(statement: Statement) -> (FeedKind, Statement) {
    (FeedKind::DebianTracker, statement)
}

#[track_caller]
fn only(judged: Judged) -> Verdict {
    let [verdict] = judged
        .verdicts
        .try_into()
        .unwrap_or_else(|v| panic!("not one verdict: {v:#?}"));
    verdict
}

/// One tracker statement on one bookworm package.
#[track_caller]
fn check(installed: &str, claims: Vec<Claim>, status: Status, rule: Rule) -> Verdict {
    let facts = bookworm(vec![package("exim4", installed)]);
    let verdict = only(judge(
        &facts,
        &[tracker(statement("CVE-2026-0001", "exim4", claims))],
    ));
    assert_eq!(
        (verdict.status, verdict.evidence.rule),
        (status, rule),
        "{verdict:#?}"
    );
    verdict
}

#[test]
fn trap_1_fixed_version_zero_means_not_affected_even_for_a_version_that_sorts_below_zero() {
    let claims = vec![claim("bookworm", ClaimKind::NotAffected)];
    check(
        "0~20171227-1",
        claims,
        Status::NotAffected,
        Rule::DistributorNotAffected,
    );
}

#[test]
fn trap_2_a_version_the_archive_never_had_is_compared_not_looked_up() {
    let never_affected = vec![
        claim("bookworm", ClaimKind::NotAffected),
        claim("sid", fixed("4.98-1")),
    ];
    check(
        "4.90-1",
        never_affected,
        Status::NotAffected,
        Rule::DistributorNotAffected,
    );
    let fixed_long_ago = vec![claim("bookworm", fixed("4.92-2"))];
    let verdict = check(
        "4.94-1+local1",
        fixed_long_ago,
        Status::Fixed,
        Rule::DistributorFixedVersion,
    );
    assert_eq!(
        verdict.evidence.compared.unwrap().ordering,
        Ordering::Greater
    );
}

#[test]
fn trap_3_epochs_leading_zeros_letters_and_two_dashes_compare_as_dpkg_does() {
    for (installed, fixed_in, status) in [
        ("9:1.0-1", "10:0.1-1", Status::FixAvailable),
        ("10:0.1-1", "9:1.0-1", Status::Fixed),
        ("20081126:1-1", "1:99-1", Status::Fixed),
        ("1.02-1", "1.2-1", Status::Fixed),
        ("1.0a-1", "1.0-1", Status::Fixed),
        (
            "2-3.1-20221030-2",
            "2-3.1-20221030-10",
            Status::FixAvailable,
        ),
    ] {
        let rule = Rule::DistributorFixedVersion;
        check(
            installed,
            vec![claim("bookworm", fixed(fixed_in))],
            status,
            rule,
        );
    }
}

#[test]
fn trap_4_a_backport_is_judged_by_the_newer_release() {
    let claims = vec![
        claim("bookworm", fixed("4.96-15+deb12u4")),
        claim("trixie", fixed("4.98-2")),
    ];
    // Newer than bookworm's fix, older than trixie's.
    let open = check(
        "4.98-1~bpo12+1",
        claims.clone(),
        Status::FixPublished,
        Rule::NewerReleaseFixedVersion,
    );
    assert_eq!(open.fixed.as_deref(), Some("4.98-2"));
    // A backport of the very version that has the fix sorts below it, and has it.
    check(
        "4.98-2~bpo12+1",
        claims,
        Status::Fixed,
        Rule::NewerReleaseFixedVersion,
    );
}

fn held(release: &str, version: &str, kind: ClaimKind) -> Claim {
    let mut claim = claim(release, kind);
    claim.in_repository = Some(version.into());
    claim
}

#[test]
fn a_version_above_all_a_release_held_is_judged_by_the_release_it_came_from() {
    let fixed_later = vec![
        held("bookworm", "1.1-2+deb12u3", fixed("1.1-2+deb12u3")),
        held("trixie", "1.2-4", fixed("1.2-4")),
    ];
    let never_in_bookworm = vec![
        held("bookworm", "1.1-2+deb12u3", ClaimKind::NotAffected),
        held("trixie", "1.2-4", open(OpenState::Open)),
    ];
    // Pinned from trixie, and a sloppy backport of it.
    for version in ["1.2-3", "1.2-3~bpo11+1"] {
        let verdict = judge_one(version, fixed_later.clone());
        assert!(verdict.status.is_finding(), "{version}: {verdict:#?}");
        let verdict = judge_one(version, never_in_bookworm.clone());
        assert_eq!(verdict.status, Status::NoFix, "{version}");
    }
    // A security update that the tracker does not hold yet is still bookworm's.
    let verdict = judge_one("1.1-2+deb12u4", fixed_later);
    assert_eq!(
        (verdict.status, verdict.evidence.rule),
        (Status::Fixed, Rule::DistributorFixedVersion)
    );
}

#[track_caller]
fn judge_one(installed: &str, claims: Vec<Claim>) -> Verdict {
    let facts = bookworm(vec![package("exim4", installed)]);
    only(judge(
        &facts,
        &[tracker(statement("CVE-2026-0001", "exim4", claims))],
    ))
}

#[test]
fn a_backport_on_offer_counts_as_what_it_was_built_from() {
    let said = [tracker(statement(
        "CVE-2026-1",
        "exim4",
        vec![
            claim("bookworm", fixed("1.1-2")),
            claim("trixie", fixed("1.2-4")),
        ],
    ))];
    let facts = offering("1.2-3~bpo12+1", "1.2-4~bpo12+1");
    assert_eq!(only(judge(&facts, &said)).status, Status::FixAvailable);
}

#[test]
fn a_fresh_word_of_the_distributor_is_heard_before_a_stale_one() {
    let facts = bookworm(vec![package("exim4", "4.96-15+deb12u3")]);
    let old = statement(
        "CVE-2026-1",
        "exim4",
        vec![claim("bookworm", fixed("4.96-15+deb12u3"))],
    );
    let new = statement(
        "CVE-2026-1",
        "exim4",
        vec![claim("bookworm", fixed("4.96-15+deb12u4"))],
    );
    let said = [tracker(old), (FeedKind::Osv, new)];
    let states = [FeedState::Stale, FeedState::Fresh];
    let verdict = only(judge_with(&facts, &said, &states));
    assert_eq!(
        (verdict.status, verdict.fixed.as_deref()),
        (Status::FixAvailable, Some("4.96-15+deb12u4"))
    );
}

#[test]
fn a_package_built_for_a_module_stream_that_was_not_seen_is_unknown() {
    let alma = Platform::new(Ecosystem::AlmaLinux, "8");
    let facts = host(
        alma,
        vec![package("mailman", "2.1.29-10.module_el8.3.0+2035+1")],
    );
    let mut s = statement(
        "CVE-2026-1",
        "mailman",
        vec![claim("8", fixed("2.1.29-12.module_el8.5.0+1"))],
    );
    s.ecosystem = Ecosystem::AlmaLinux;
    s.module = Some("mailman:2.1".into());
    let verdict = only(judge(&facts, &[(FeedKind::Osv, s)]));
    assert_eq!(
        (verdict.status, verdict.evidence.unknown),
        (Status::Unknown, Some(UnknownReason::ModuleNotSeen))
    );
}

#[test]
fn an_rpm_package_of_another_vendor_is_not_cleared_by_the_distributors_advisories() {
    let alma = Platform::new(Ecosystem::AlmaLinux, "9");
    let mut epel = package("exim", "4.92-1.el9");
    epel.vendor = Some("Fedora Project".into());
    let mut own = package("postfix", "2:3.5.9-24.el9");
    own.vendor = Some("AlmaLinux".into());
    let facts = host(alma, vec![epel, own]);
    let view = HostView::new(&facts);
    let platforms: Vec<String> = view.platforms().iter().map(ToString::to_string).collect();
    assert_eq!(platforms, ["AlmaLinux:9", "Fedora Project"]);
}

#[test]
fn one_verdict_is_counted_once_where_a_source_is_installed_in_two_versions() {
    let facts = bookworm(vec![
        package("exim4", "4.96-14"),
        package("exim4", "4.96-16"),
    ]);
    let said = [tracker(statement(
        "CVE-2026-1",
        "exim4",
        vec![claim("bookworm", fixed("4.96-15"))],
    ))];
    let judged = judge(&facts, &said);
    assert_eq!(
        (judged.verdicts.len(), judged.fixed, judged.not_affected),
        (1, 0, 0)
    );
    assert_eq!(judged.verdicts[0].status, Status::FixAvailable);
}

#[test]
fn a_name_that_leads_to_another_name_leads_to_one_advisory() {
    let facts = bookworm(vec![package("exim4", "4.96-14")]);
    let named = |id: &str, aliases: &[&str]| {
        let mut s = statement(id, "exim4", vec![claim("bookworm", fixed("4.96-15"))]);
        s.aliases = aliases
            .iter()
            .map(|a| AdvisoryId::new(a).unwrap())
            .collect();
        (FeedKind::Osv, s)
    };
    let said = [
        named("CVE-2026-1000", &["GHSA-aaaa-bbbb-cccc"]),
        named("GHSA-aaaa-bbbb-cccc", &["PYSEC-2026-1"]),
        named("PYSEC-2026-1", &[]),
    ];
    assert_eq!(
        only(judge(&facts, &said)).advisory.as_str(),
        "CVE-2026-1000"
    );
}

#[test]
fn a_package_pinned_from_a_newer_release_has_that_releases_fix() {
    let mut own = claim("bookworm", open(OpenState::Open));
    own.in_repository = Some("4.96-15".into());
    let claims = vec![own, claim("sid", fixed("4.99-1"))];
    check(
        "4.99-2",
        claims.clone(),
        Status::Fixed,
        Rule::NewerReleaseFixedVersion,
    );
    check("4.96-15", claims, Status::NoFix, Rule::DistributorOpen);
}

#[test]
fn trap_6_the_source_version_is_compared_not_the_binarys() {
    let mut binary = package("libfoo1", "9.9-1+b3");
    binary.source = "foo".into();
    binary.source_version = "1.2-3".into();
    let facts = bookworm(vec![binary]);
    let said = [tracker(statement(
        "CVE-2026-1",
        "foo",
        vec![claim("bookworm", fixed("1.2-4"))],
    ))];
    let verdict = only(judge(&facts, &said));
    assert_eq!(verdict.status, Status::FixAvailable);
    assert_eq!((&*verdict.package, &*verdict.installed), ("foo", "1.2-3"));
    assert_eq!(verdict.binaries, ["libfoo1".into()]);
}

#[test]
fn trap_7_open_states_are_shown_as_what_they_are() {
    for (state, status, rule) in [
        (OpenState::Open, Status::NoFix, Rule::DistributorOpen),
        (OpenState::Minor, Status::NoFix, Rule::DistributorMinor),
        (
            OpenState::Postponed,
            Status::NoFix,
            Rule::DistributorPostponed,
        ),
        (
            OpenState::Ignored,
            Status::WillNotFix,
            Rule::DistributorIgnored,
        ),
        (
            OpenState::EndOfLife,
            Status::WillNotFix,
            Rule::DistributorEndOfLife,
        ),
    ] {
        let verdict = check("1-1", vec![claim("bookworm", open(state))], status, rule);
        assert_eq!(verdict.fixed, None);
    }
    let mut unimportant = claim("bookworm", open(OpenState::Open));
    unimportant.urgency = Some(Urgency::Unimportant);
    let verdict = check(
        "1-1",
        vec![unimportant],
        Status::NoFix,
        Rule::DistributorOpen,
    );
    assert_eq!(verdict.urgency, Some(Urgency::Unimportant));
}

#[test]
fn what_the_distributor_has_not_decided_is_unknown() {
    let claims = vec![claim("bookworm", ClaimKind::Undetermined)];
    let verdict = check(
        "1-1",
        claims,
        Status::Unknown,
        Rule::DistributorUndetermined,
    );
    assert_eq!(
        verdict.evidence.unknown,
        Some(UnknownReason::DistributorUndetermined)
    );
}

#[test]
fn a_package_the_release_no_longer_carries_is_unknown_unless_every_release_agrees() {
    let gone = vec![claim("bullseye", fixed("4.94.2-7+deb11u9"))];
    check(
        "4.92-1",
        gone.clone(),
        Status::Unknown,
        Rule::PackageNotInRelease,
    );
    check(
        "4.95-1",
        gone,
        Status::Fixed,
        Rule::NewerReleaseFixedVersion,
    );
    let never = vec![
        claim("bullseye", ClaimKind::NotAffected),
        claim("sid", ClaimKind::NotAffected),
    ];
    check(
        "4.92-1",
        never,
        Status::NotAffected,
        Rule::DistributorNotAffected,
    );
}

#[test]
fn extended_support_is_heard_where_the_tracker_no_longer_has_the_release() {
    let facts = host(
        Platform::new(Ecosystem::Debian, "9"),
        vec![package("exim4", "4.89-2+deb9u7")],
    );
    let own = statement(
        "CVE-2026-1",
        "exim4",
        vec![claim("bullseye", fixed("4.94.2-7"))],
    );
    let mut extended = statement(
        "CVE-2026-1",
        "exim4",
        vec![claim("stretch", fixed("4.89-2+deb9u12"))],
    );
    extended.aliases = vec![AdvisoryId::new("ELA-700-1").unwrap()];
    let verdict = only(judge(&facts, &[tracker(own), (FeedKind::Osv, extended)]));
    assert_eq!(
        (verdict.status, verdict.fixed.as_deref()),
        (Status::FixPublished, Some("4.89-2+deb9u12"))
    );
}

#[test]
fn a_package_of_another_packager_is_not_cleared_by_the_distributors_versions() {
    let claims = vec![
        claim("bookworm", fixed("1:2.3.19.1+dfsg1-2.1+deb12u1")),
        claim("sid", fixed("1:2.4.1+dfsg1-7")),
    ];
    for foreign in [
        "2:2.3.21-1+debian12",
        "1:3.8.4-1~bookworm",
        "1:9-1.pgdg120+1",
        "1:9-1ubuntu2",
    ] {
        check(
            foreign,
            claims.clone(),
            Status::Unknown,
            Rule::NotTheDistributorsPackage,
        );
    }
    check(
        "1:2.3.19.1+dfsg1-2.1+deb12u2",
        claims,
        Status::Fixed,
        Rule::DistributorFixedVersion,
    );
}

#[test]
fn a_version_that_cannot_be_ordered_is_unknown() {
    let claims = vec![claim("bookworm", fixed("1:2:x y"))];
    check("1-1", claims, Status::Unknown, Rule::VersionNotComparable);
}

#[test]
fn the_distributor_decides_over_upstream_and_upstreams_word_is_kept_beside_it() {
    let facts = bookworm(vec![package("exim4", "4.96-15+deb12u2")]);
    let mut upstream = statement(
        "CVE-2026-0001",
        "exim4",
        vec![Claim {
            release: None,
            kind: ClaimKind::Affected {
                ranges: vec![VersionRange {
                    introduced: None,
                    end: RangeEnd::Fixed("4.97".into()),
                }],
                versions: vec![],
            },
            urgency: None,
            note: None,
            in_repository: None,
        }],
    );
    upstream.voice = Voice::Upstream;
    let own = statement(
        "CVE-2026-0001",
        "exim4",
        vec![claim("bookworm", fixed("4.96-15+deb12u2"))],
    );
    let verdict = only(judge(&facts, &[(FeedKind::Cve, upstream), tracker(own)]));
    assert_eq!(verdict.status, Status::Fixed);
    assert_eq!(verdict.evidence.source.as_str(), "debian-tracker-1");
    assert_eq!(verdict.evidence.others.len(), 1);
}

#[test]
fn a_bulletin_and_its_cve_are_one_advisory() {
    let facts = bookworm(vec![package("exim4", "4.96-14")]);
    let mut cve = statement(
        "CVE-2023-42115",
        "exim4",
        vec![claim("bookworm", fixed("4.96-15"))],
    );
    cve.aliases = vec![AdvisoryId::new("DSA-5512-1").unwrap()];
    let bulletin = statement(
        "DSA-5512-1",
        "exim4",
        vec![claim("bookworm", fixed("4.96-15"))],
    );
    let verdict = only(judge(&facts, &[tracker(cve), (FeedKind::Osv, bulletin)]));
    assert_eq!(verdict.advisory.as_str(), "CVE-2023-42115");
    assert_eq!(verdict.aliases, [AdvisoryId::new("DSA-5512-1").unwrap()]);
}

fn offering(installed: &str, candidate: &str) -> HostFacts {
    let mut facts = bookworm(vec![package("exim4", installed)]);
    facts.candidates = Seen::Yes(vec![Candidate {
        package: "exim4".into(),
        version: candidate.into(),
        origin: Some("Debian-Security:12/stable-security".into()),
        index_as_of: None,
    }]);
    facts
}

#[test]
fn a_fix_is_available_only_where_the_hosts_own_repositories_offer_it() {
    let said = [tracker(statement(
        "CVE-2026-1",
        "exim4",
        vec![claim("bookworm", fixed("4.96-15"))],
    ))];
    let available = only(judge(&offering("4.96-14", "4.96-16"), &said));
    assert_eq!(available.status, Status::FixAvailable);
    let published = only(judge(&offering("4.96-14", "4.96-14"), &said));
    assert_eq!(published.status, Status::FixPublished);
    assert_eq!(published.fixed.as_deref(), Some("4.96-15"));
}

#[test]
fn a_changelog_on_offer_closes_what_the_distributor_still_calls_open() {
    let mut changelog = statement(
        "CVE-2026-1",
        "exim4",
        vec![claim("bookworm", fixed("4.96-15"))],
    );
    changelog.voice = Voice::Changelog;
    let own = statement(
        "CVE-2026-1",
        "exim4",
        vec![claim("bookworm", open(OpenState::Open))],
    );
    let said = [tracker(own), (FeedKind::Released, changelog)];
    let verdict = only(judge(&offering("4.96-14", "4.96-15"), &said));
    assert_eq!(
        (verdict.status, verdict.evidence.rule),
        (Status::FixAvailable, Rule::ChangelogFixedVersion)
    );
}

fn running_stale(ran: Option<&str>) -> HostFacts {
    let mut facts = bookworm(vec![package("exim4", "4.96-16")]);
    facts.processes = Seen::Yes(vec![MailProcess {
        pid: 77,
        name: "exim4".into(),
        roles: vec![MailRole::Smtp],
        executable: "/usr/sbin/exim4".into(),
        package: Some("exim4".into()),
        package_version: Some("4.96-16".into()),
        stale: Seen::Yes(vec![StaleFile {
            path: "/usr/sbin/exim4".into(),
            package: Some("exim4".into()),
            ran_version: ran.map(Into::into),
        }]),
        maps: Seen::No,
        started_at: None,
    }]);
    facts
}

fn three_fixes() -> [(FeedKind, Statement); 3] {
    ["4.96-10", "4.96-15", "4.96-16"].map(|version| {
        let id = format!("CVE-2026-10{}", &version[5..]);
        tracker(statement(
            &id,
            "exim4",
            vec![claim("bookworm", fixed(version))],
        ))
    })
}

#[test]
fn a_fix_that_is_installed_but_not_running_is_restart_pending() {
    let statuses = |facts: &HostFacts| {
        judge(facts, &three_fixes())
            .verdicts
            .iter()
            .map(|v| v.status)
            .collect::<Vec<_>>()
    };
    // What ran is known: everything fixed since then is pending.
    assert_eq!(
        statuses(&running_stale(Some("4.96-14"))),
        [
            Status::Fixed,
            Status::RestartPending,
            Status::RestartPending
        ]
    );
    // It is not: any of them may be.
    assert_eq!(statuses(&running_stale(None)), [Status::RestartPending; 3]);
}

#[test]
fn surface_is_mail_dependency_or_other() {
    let mut exim = package("exim4", "4.96-1");
    exim.depends = vec!["default-tls".into()];
    let mut tls = package("gnutls28", "3.7-1");
    tls.provides = vec!["default-tls".into()];
    tls.depends = vec!["nettle".into()];
    let facts = bookworm(vec![
        exim,
        tls,
        package("nettle", "3.8-1"),
        package("vim", "9-1"),
    ]);
    let said = ["exim4", "gnutls28", "nettle", "vim"].map(|name| {
        tracker(statement(
            "CVE-2026-1",
            name,
            vec![claim("bookworm", fixed("99-1"))],
        ))
    });
    let judged = judge(&facts, &said);
    let surfaces: Vec<_> = judged
        .verdicts
        .iter()
        .map(|v| (&*v.package, v.surface))
        .collect();
    assert_eq!(
        surfaces,
        [
            ("exim4", Surface::Mail),
            ("gnutls28", Surface::Dependency),
            ("nettle", Surface::Dependency),
            ("vim", Surface::Other)
        ]
    );
}

#[test]
fn an_rpm_advisory_for_a_binary_concerns_only_hosts_that_have_that_binary() {
    let alma = Platform::new(Ecosystem::AlmaLinux, "9");
    let mut core = package("dovecot", "1:2.3.16-8.el9");
    core.name = "dovecot".into();
    let facts = host(alma.clone(), vec![core.clone()]);
    let about = |name: &str| {
        let mut s = statement(
            "CVE-2026-1",
            name,
            vec![claim("9", fixed("1:2.3.16-11.el9"))],
        );
        s.ecosystem = Ecosystem::AlmaLinux;
        s.package_kind = PackageKind::Binary;
        (FeedKind::Osv, s)
    };
    let verdict = only(judge(&facts, &[about("dovecot"), about("dovecot-mysql")]));
    assert_eq!(
        (&*verdict.package, verdict.status),
        ("dovecot", Status::FixAvailable)
    );
    assert!(judge(&facts, &[about("dovecot-mysql")]).verdicts.is_empty());
    let mut mysql = core;
    mysql.name = "dovecot-mysql".into();
    let facts = host(alma, vec![mysql]);
    assert_eq!(
        only(judge(&facts, &[about("dovecot-mysql")])).binaries,
        ["dovecot-mysql".into()]
    );
}

#[test]
fn a_module_advisory_concerns_only_its_own_stream() {
    let alma = Platform::new(Ecosystem::AlmaLinux, "8");
    let mut modular = package("httpd", "2.4.37-1.el8");
    modular.module = Some("httpd:2.4:8080020230301:aabb".into());
    let facts = host(alma, vec![modular]);
    let about = |module: Option<&str>| {
        let mut s = statement(
            "CVE-2026-1",
            "httpd",
            vec![claim("8", fixed("2.4.99-1.el8"))],
        );
        s.ecosystem = Ecosystem::AlmaLinux;
        s.module = module.map(Into::into);
        [(FeedKind::Updateinfo, s)]
    };
    assert_eq!(judge(&facts, &about(Some("httpd:2.4"))).verdicts.len(), 1);
    assert!(judge(&facts, &about(Some("httpd:2.6"))).verdicts.is_empty());
    assert!(judge(&facts, &about(None)).verdicts.is_empty());
}

#[test]
fn a_product_of_no_distributor_is_judged_by_the_record_filed_under_its_vendor() {
    let filed = Ecosystem::Other("openbsd/opensmtpd".into());
    let mut appliance = package("opensmtpd", "6.6.1");
    appliance.ecosystem = Some(filed.clone());
    let facts = bookworm(vec![appliance]);
    let mut s = statement(
        "CVE-2020-7247",
        "opensmtpd",
        vec![Claim {
            release: None,
            kind: ClaimKind::Affected {
                ranges: vec![VersionRange {
                    introduced: Some("6.6.0".into()),
                    end: RangeEnd::Fixed("6.6.2".into()),
                }],
                versions: vec![],
            },
            urgency: None,
            note: None,
            in_repository: None,
        }],
    );
    s.ecosystem = filed;
    s.voice = Voice::Upstream;
    let verdict = only(judge(&facts, &[(FeedKind::Cve, s)]));
    assert_eq!(
        (verdict.status, verdict.fixed.as_deref()),
        (Status::FixPublished, Some("6.6.2"))
    );
}

#[test]
fn exchange_builds_compare_number_by_number() {
    let mut exchange = package("exchange-server", "15.2.1544.9");
    exchange.ecosystem = Some(Ecosystem::Exchange);
    let facts = bookworm(vec![exchange]);
    let about = |introduced: &str, end: &str| {
        let mut s = statement(
            "CVE-2024-21410",
            "exchange-server",
            vec![Claim {
                release: None,
                kind: ClaimKind::Affected {
                    ranges: vec![VersionRange {
                        introduced: Some(introduced.into()),
                        end: RangeEnd::Fixed(end.into()),
                    }],
                    versions: vec![],
                },
                urgency: None,
                note: None,
                in_repository: None,
            }],
        );
        s.ecosystem = Ecosystem::Exchange;
        s.voice = Voice::Upstream;
        [(FeedKind::Csaf, s)]
    };
    let affected = only(judge(&facts, &about("15.02.1544.000", "15.02.1544.011")));
    assert_eq!(
        (affected.status, affected.fixed.as_deref()),
        (Status::FixPublished, Some("15.02.1544.011"))
    );
    let other_line = only(judge(&facts, &about("15.02.1258.000", "15.02.1258.034")));
    assert_eq!(other_line.status, Status::Fixed);
}

proptest! {
    /// Each (source package, advisory) has exactly one verdict, whatever feeds say.
    #[test]
    fn one_verdict_for_each_package_and_advisory(
        versions in prop::collection::vec("[0-9]{1,2}\\.[0-9]-[0-9]", 1..4),
        said in prop::collection::vec((0usize..3, 0usize..4, "[0-9]{1,2}\\.[0-9]-[0-9]"), 0..12),
    ) {
        let facts = bookworm(versions.iter().map(|v| package("exim4", v)).collect());
        let statements: Vec<(FeedKind, Statement)> = said
            .iter()
            .map(|(id, kind, version)| {
                let claim_kind = match kind {
                    0 => ClaimKind::NotAffected,
                    1 => open(OpenState::Ignored),
                    2 => ClaimKind::Undetermined,
                    _ => fixed(version),
                };
                let id = format!("CVE-2026-000{id}");
                tracker(statement(&id, "exim4", vec![claim("bookworm", claim_kind)]))
            })
            .collect();
        let judged = judge(&facts, &statements);
        let mut names: Vec<_> = judged.verdicts.iter().map(|v| v.advisory.clone()).collect();
        let count = names.len();
        names.dedup();
        prop_assert_eq!(count, names.len());
        let spoken: std::collections::BTreeSet<_> = said.iter().map(|s| s.0).collect();
        prop_assert_eq!(count, spoken.len());
    }
}
