//! A whole fleet judged in memory: each distinct (platform, source package, version) once, whatever
//! the number of hosts that carry it.
//!
//! Entry: [`check_fleet`], by the same rules as [`crate::judge_host`]; what it cannot see is what
//! only the facts of a host tell: which version the host's own repositories offer, and which
//! process still runs old code.

use mailkeep_model::{PackageKind, Platform, Status, Surface, Verdict};
use roaring::RoaringBitmap;

use crate::fleet_index::FleetIndex;
use crate::host::SourcePackage;
use crate::judge::{FeedView, Judged, judge_package, rank};
use crate::row::{DecodedRow, PackageRows, RowError, package_key};

/// How much a check of a fleet came to. Pairs are of a host and an advisory about one of its
/// packages, as [`Judged`] counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetTotals {
    /// Distinct (platform, source package, version) that were judged.
    pub judged: u64,
    /// Verdicts handed out.
    pub verdicts: u64,
    /// Pairs that are a finding.
    pub findings: u64,
    /// Pairs where the host has the fix.
    pub fixed: u64,
    /// Pairs that do not concern the host.
    pub not_affected: u64,
    /// Statements left out because they are about a *binary* package, or a module stream, and a
    /// fleet index holds source packages only. Silence is not safety: where this is not zero, hosts
    /// with these packages are to be judged one by one.
    pub undecided_statements: u64,
}

/// The keys under which statements about the fleet's packages lie, in ascending order: what to ask
/// the store for.
pub fn fleet_keys(index: &FleetIndex) -> Vec<String> {
    let mut keys: Vec<String> = index
        .platforms()
        .flat_map(|platform| {
            index
                .packages(platform)
                .map(|package| package_key(&platform.ecosystem, package))
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Judges a fleet. `keys` are [`fleet_keys`], by whose numbers `rows` holds what the store has, and
/// `feeds` are the feeds by their numbers in `rows`.
///
/// Hands out each verdict with the hosts it holds for: findings, and with `all` also `fixed` and
/// `not-affected`. The verdict names no binaries. Each (host, source package, advisory) comes
/// exactly once: where a host carries a package in several versions, with the one that asks for
/// more.
///
/// # Errors
///
/// A damaged row, as [`PackageRows::of`] says.
pub fn check_fleet(
    index: &FleetIndex,
    keys: &[String],
    rows: &PackageRows,
    feeds: &[FeedView<'_>],
    all: bool,
    each: &mut dyn FnMut(&Verdict, &RoaringBitmap),
) -> Result<FleetTotals, RowError> {
    let mut totals = FleetTotals::default();
    for platform in index.platforms() {
        for name in index.packages(platform) {
            let key = package_key(&platform.ecosystem, name);
            let Ok(number) = keys.binary_search(&key) else {
                continue;
            };
            let mut about = rows.of(number)?;
            let found = about.len();
            about.retain(|(_, row)| row.kind == PackageKind::Source && row.module.is_none());
            totals.undecided_statements += (found - about.len()) as u64;
            check_package(index, platform, name, &about, feeds, all, &mut totals, each)?;
        }
    }
    Ok(totals)
}

#[expect(clippy::too_many_arguments, reason = "the inside of two loops")]
fn check_package(
    index: &FleetIndex,
    platform: &Platform,
    name: &str,
    about: &[(usize, DecodedRow<'_>)],
    feeds: &[FeedView<'_>],
    all: bool,
    totals: &mut FleetTotals,
    each: &mut dyn FnMut(&Verdict, &RoaringBitmap),
) -> Result<(), RowError> {
    let ordered = index
        .carriers(platform, name)
        .map(|c| (&*c.version, Some(c.key.as_bytes()), &c.hosts));
    let unordered = index
        .unordered(platform, name)
        .map(|u| (&*u.version, None, &u.hosts));
    let mut versions: Vec<(&str, Option<&[u8]>, &RoaringBitmap)> =
        ordered.chain(unordered).collect();
    // The order in which a host lists its packages, by which equal verdicts are told apart.
    versions.sort_unstable_by_key(|(version, _, _)| *version);
    totals.judged += versions.len() as u64;
    if about.is_empty() {
        return Ok(());
    }
    let carried_twice = overlap(&versions);
    let mut found: Vec<(Verdict, &RoaringBitmap)> = Vec::new();
    for (version, key, hosts) in &versions {
        let package = SourcePackage {
            platform: platform.clone(),
            name,
            version,
            key: key.map(<[u8]>::to_vec),
            binaries: Vec::new(),
            module: None,
            surface: Surface::Other,
            offered: None,
            stale: Vec::new(),
        };
        let mut judged = Judged::default();
        judge_package(&package, about, feeds, all || carried_twice, &mut judged)?;
        if carried_twice {
            found.extend(judged.verdicts.into_iter().map(|v| (v, *hosts)));
        } else {
            totals.fixed += judged.fixed * hosts.len();
            totals.not_affected += judged.not_affected * hosts.len();
            for verdict in &judged.verdicts {
                hand_out(verdict, hosts, totals, each);
            }
        }
    }
    // Stable, so versions stay in order within a rank.
    found.sort_by(|(a, _), (b, _)| {
        (&a.advisory, rank(a.status)).cmp(&(&b.advisory, rank(b.status)))
    });
    for of_advisory in found.chunk_by(|(a, _), (b, _)| a.advisory == b.advisory) {
        let mut told = RoaringBitmap::new();
        for (verdict, hosts) in of_advisory {
            let left = *hosts - &told;
            told |= *hosts;
            // As [`Judged`] counts: each pair once, by the version that asks for more.
            match verdict.status {
                Status::Fixed => totals.fixed += left.len(),
                Status::NotAffected => totals.not_affected += left.len(),
                _ => {}
            }
            if all || verdict.status.is_finding() {
                hand_out(verdict, &left, totals, each);
            }
        }
    }
    Ok(())
}

/// Whether any host carries the package in two of these versions.
fn overlap(versions: &[(&str, Option<&[u8]>, &RoaringBitmap)]) -> bool {
    let mut seen = RoaringBitmap::new();
    versions.iter().any(|(_, _, hosts)| {
        let again = !seen.is_disjoint(hosts);
        seen |= *hosts;
        again
    })
}

fn hand_out(
    verdict: &Verdict,
    hosts: &RoaringBitmap,
    totals: &mut FleetTotals,
    each: &mut dyn FnMut(&Verdict, &RoaringBitmap),
) {
    if hosts.is_empty() {
        return;
    }
    totals.verdicts += 1;
    if verdict.status.is_finding() {
        totals.findings += hosts.len();
    }
    each(verdict, hosts);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mailkeep_model::{
        AdvisoryId, Claim, ClaimKind, Ecosystem, FactsSource, FeedId, FeedKind, FeedState,
        HostFacts, HostName, InstalledPackage, OpenState, OsRelease, Seen, Statement, Voice,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{HostView, RowBuilder, judge_host, statement_key};

    /// Host, package, advisory, status, installed version.
    type Told = (u32, String, String, &'static str, String);

    fn bookworm() -> Platform {
        Platform::new(Ecosystem::Debian, "12")
    }

    fn statement(id: u16, package: &str, kind: ClaimKind, package_kind: PackageKind) -> Statement {
        Statement {
            advisory: AdvisoryId::new(format!("CVE-2026-{id:04}")).unwrap(),
            aliases: vec![],
            ecosystem: Ecosystem::Debian,
            package: package.into(),
            package_kind,
            module: None,
            voice: Voice::Distributor,
            title: "".into(),
            cvss: None,
            claims: vec![Claim {
                release: Some("bookworm".into()),
                kind,
                urgency: None,
                note: None,
                in_repository: None,
            }],
        }
    }

    fn rows_of(keys: &[String], said: &[Statement]) -> PackageRows {
        let mut rows = PackageRows::new();
        for (number, key) in keys.iter().enumerate() {
            for statement in said.iter().filter(|s| statement_key(s) == *key) {
                let body = RowBuilder::body_of([statement]);
                rows.push(number, 0, &body);
            }
        }
        rows
    }

    fn index_of(installed: &[(u32, String, String)]) -> FleetIndex {
        let mut builder = FleetIndex::builder();
        for (host_no, name, version) in installed {
            builder.add_host(*host_no, &bookworm(), [(&**name, &**version)]);
        }
        builder.build()
    }

    fn by_fleet(
        installed: &[(u32, String, String)],
        said: &[Statement],
        all: bool,
    ) -> (Vec<Told>, FleetTotals) {
        let id = FeedId::new("tracker").unwrap();
        let feeds = [feed(&id)];
        let index = index_of(installed);
        let keys = fleet_keys(&index);
        let rows = rows_of(&keys, said);
        let mut told = Vec::new();
        let totals = check_fleet(&index, &keys, &rows, &feeds, all, &mut |verdict, hosts| {
            told.extend(hosts.iter().map(|host| tell(host, verdict)));
        })
        .unwrap();
        told.sort();
        (told, totals)
    }

    fn host_by_host(
        installed: &[(u32, String, String)],
        said: &[Statement],
        all: bool,
    ) -> (Vec<Told>, u64, u64) {
        let id = FeedId::new("tracker").unwrap();
        let feeds = [feed(&id)];
        let (mut told, mut fixed, mut not_affected) = (Vec::new(), 0, 0);
        let numbers: BTreeSet<u32> = installed.iter().map(|(host, _, _)| *host).collect();
        for number in numbers {
            let packages = installed.iter().filter(|(host, _, _)| *host == number);
            let facts = HostFacts {
                host: HostName::new("mx1").unwrap(),
                seen_at: "2026-11-21T00:00:00Z".parse().unwrap(),
                source: FactsSource::Root,
                os: OsRelease::default(),
                platform: Some(bookworm()),
                packages: packages.map(|(_, n, v)| package(n, v)).collect(),
                processes: Seen::No,
                listeners: Seen::No,
                candidates: Seen::No,
                limitations: vec![],
            };
            let view = HostView::new(&facts);
            let keys = view.keys();
            let texts: Vec<String> = keys.iter().map(|(_, key)| key.clone()).collect();
            let rows = rows_of(&texts, said);
            let numbered: Vec<(usize, usize, &str)> = keys
                .iter()
                .enumerate()
                .map(|(n, (package, key))| (*package, n, key.as_str()))
                .collect();
            let judged = judge_host(&view, &numbered, &rows, &feeds, all).unwrap();
            told.extend(judged.verdicts.iter().map(|v| tell(number, v)));
            fixed += judged.fixed;
            not_affected += judged.not_affected;
        }
        told.sort();
        (told, fixed, not_affected)
    }

    fn feed(id: &FeedId) -> FeedView<'_> {
        FeedView {
            id,
            kind: FeedKind::DebianTracker,
            state: FeedState::Fresh,
        }
    }

    fn package(name: &str, version: &str) -> InstalledPackage {
        InstalledPackage {
            name: name.into(),
            version: version.into(),
            arch: "amd64".into(),
            source: name.into(),
            source_version: version.into(),
            ecosystem: None,
            module: None,
            vendor: None,
            depends: vec![],
            provides: vec![],
        }
    }

    fn tell(host: u32, verdict: &Verdict) -> Told {
        (
            host,
            verdict.package.to_string(),
            verdict.advisory.to_string(),
            verdict.status.name(),
            verdict.installed.to_string(),
        )
    }

    fn kinds() -> impl Strategy<Value = ClaimKind> {
        prop_oneof![
            "[123](\\.[12])?(~1|-1)?".prop_map(|v| ClaimKind::FixedIn { version: v.into() }),
            Just(ClaimKind::NotAffected),
            Just(ClaimKind::Undetermined),
            Just(ClaimKind::Open {
                state: OpenState::Ignored
            }),
        ]
    }

    #[test]
    fn what_only_a_host_can_tell_is_counted_not_passed_over() {
        let installed = [(3, "exim4".to_owned(), "4.96".to_owned())];
        let kind = ClaimKind::FixedIn {
            version: "4.97".into(),
        };
        let said = [
            statement(1, "exim4", kind.clone(), PackageKind::Source),
            statement(2, "exim4", kind, PackageKind::Binary),
        ];
        let (told, totals) = by_fleet(&installed, &said, false);
        assert_eq!(told.len(), 1);
        assert_eq!((totals.undecided_statements, totals.findings), (1, 1));
    }

    proptest! {
        #[test]
        fn a_fleet_is_judged_as_each_host_by_itself(
            installed in prop::collection::btree_set(
                (prop_oneof![0_u32..6, 65_534_u32..65_540], "[ab]",
                 "(1:)?[123](\\.[12])?(~1|-1|-0)?|x:1"), 0..40),
            said in prop::collection::vec((0_u16..12, "[abc]", kinds()), 0..12),
            all: bool,
        ) {
            let installed: Vec<(u32, String, String)> = installed.into_iter().collect();
            let said: Vec<Statement> = said
                .into_iter()
                .map(|(id, package, kind)| statement(id, &package, kind, PackageKind::Source))
                .collect();
            let (fleet, totals) = by_fleet(&installed, &said, all);
            let (hosts, fixed, not_affected) = host_by_host(&installed, &said, all);
            prop_assert_eq!(&fleet, &hosts);
            prop_assert_eq!((totals.fixed, totals.not_affected), (fixed, not_affected));
            let findings = fleet.iter().filter(|t| t.3 != "fixed" && t.3 != "not-affected");
            prop_assert_eq!(totals.findings, findings.count() as u64);
        }
    }
}
