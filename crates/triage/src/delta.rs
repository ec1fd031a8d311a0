//! What changed between two checks.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{
    AdvisoryId, Event, EventKind, Finding, HostName, Realm, Status, TeamName, Timestamp,
};

/// One difference between two checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// On which host.
    pub host: HostName,
    /// On which source package.
    pub package: Box<str>,
    /// Which advisory, by its name in the newer check that knows it.
    pub advisory: AdvisoryId,
    /// Whose it is; for what is gone, whose it was.
    pub owner: Option<TeamName>,
    /// What.
    pub kind: ChangeKind,
}

/// What changed.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeKind {
    /// It was not there before.
    New {
        /// As what it came.
        status: Status,
    },
    /// It is there no more.
    Gone {
        /// What it was.
        was: Status,
        /// What is said of it now: `fixed` or `not-affected`, where the newer check kept such
        /// verdicts; else `None`.
        now: Option<Status>,
    },
    /// Its status or its urgency changed.
    Changed {
        /// What it is now.
        status: Status,
        /// What changed, in one line: `lane regular to emergency; decision Track* to Act`.
        change: String,
    },
}

impl Change {
    /// The event that records it.
    pub fn into_event(self, at: Timestamp, realm: Realm) -> Event {
        let Self {
            host,
            package,
            advisory,
            owner,
            kind,
        } = self;
        let package = String::from(package);
        let kind = match kind {
            ChangeKind::New { status } => EventKind::FindingNew {
                host,
                advisory,
                package,
                status,
                owner,
            },
            ChangeKind::Gone { was, now: _ } => EventKind::FindingGone {
                host,
                advisory,
                package,
                was,
                owner,
            },
            ChangeKind::Changed { status, change } => EventKind::FindingChanged {
                host,
                advisory,
                package,
                status,
                change,
                owner,
            },
        };
        Event { at, realm, kind }
    }
}

/// [`delta_judged`] where every host was judged in the newer check.
pub fn delta(old: &[Finding], new: &[Finding]) -> Vec<Change> {
    delta_judged(old, new, |_| true)
}

/// What is new, gone or changed, ordered by host, package and advisory.
///
/// A hole that goes by another name than before (a DSA that got its CVE id) is the same hole: a
/// finding continues an older one on the same host and package if either is called by the other's
/// advisory id or by one of its aliases. Two that only share an alias are not the same: one DSA may
/// close several CVEs. `fixed` and `not-affected` are no findings.
///
/// Silence is not safety: on a host that was not `judged` in the newer check, nothing is gone.
pub fn delta_judged(
    old: &[Finding],
    new: &[Finding],
    judged: impl Fn(&HostName) -> bool,
) -> Vec<Change> {
    if told_alike(old, new) {
        return Vec::new();
    }
    let before = Index::of(old);
    let after = Index::of(new);
    let mut changes = Vec::new();

    for finding in new.iter().filter(|f| f.verdict.status.is_finding()) {
        let kind = match before.same_hole(finding, Status::is_finding) {
            None => ChangeKind::New {
                status: finding.verdict.status,
            },
            Some(was) => match difference(was, finding) {
                None => continue,
                Some(change) => ChangeKind::Changed {
                    status: finding.verdict.status,
                    change,
                },
            },
        };
        changes.push(Change::about(finding, kind));
    }
    for finding in old.iter().filter(|f| f.verdict.status.is_finding()) {
        if judged(&finding.host) && after.same_hole(finding, Status::is_finding).is_none() {
            let now = after
                .same_hole(finding, |status| !status.is_finding())
                .map(|f| f.verdict.status);
            let kind = ChangeKind::Gone {
                was: finding.verdict.status,
                now,
            };
            changes.push(Change::about(finding, kind));
        }
    }
    changes.sort_by(|a, b| a.order().cmp(&b.order()));
    changes.dedup();
    changes
}

/// Whether both are the same findings in the same order, as far as any change is told of them: the
/// usual case, and looking for one after the other takes longer than many a check.
fn told_alike(old: &[Finding], new: &[Finding]) -> bool {
    let told = |f: &Finding| {
        let v = &f.verdict;
        (v.status, f.lane, f.decision, f.deadline, f.kev)
    };
    old.len() == new.len()
        && old.iter().zip(new).all(|(was, is)| {
            let (v, w) = (&was.verdict, &is.verdict);
            told(was) == told(is)
                && v.advisory == w.advisory
                && v.package == w.package
                && was.host == is.host
                && v.aliases == w.aliases
        })
}

impl Change {
    fn about(finding: &Finding, kind: ChangeKind) -> Self {
        Self {
            host: finding.host.clone(),
            package: finding.verdict.package.clone(),
            advisory: finding.verdict.advisory.clone(),
            owner: finding.owner.clone(),
            kind,
        }
    }

    fn order(&self) -> (&HostName, &str, &AdvisoryId, u8, &str) {
        let (kind, text) = match &self.kind {
            ChangeKind::Gone { .. } => (0, ""),
            ChangeKind::New { .. } => (1, ""),
            ChangeKind::Changed { change, .. } => (2, change.as_str()),
        };
        (&self.host, &self.package, &self.advisory, kind, text)
    }
}

/// Findings by host, package and every name they go by.
struct Index<'a> {
    by_name: BTreeMap<(&'a HostName, &'a str, &'a AdvisoryId), BTreeSet<Entry<'a>>>,
    findings: &'a [Finding],
}

/// Best match first: by its own name before by an alias, then by the name itself. The number is the
/// finding's place.
type Entry<'a> = (bool, &'a AdvisoryId, usize);

impl<'a> Index<'a> {
    fn of(findings: &'a [Finding]) -> Self {
        let mut by_name: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (at, finding) in findings.iter().enumerate() {
            let verdict = &finding.verdict;
            let own = std::iter::once((false, &verdict.advisory));
            for (alias, name) in own.chain(verdict.aliases.iter().map(|name| (true, name))) {
                by_name
                    .entry((&finding.host, &*verdict.package, name))
                    .or_default()
                    .insert((alias, &verdict.advisory, at));
            }
        }
        Self { by_name, findings }
    }

    /// The finding that is about the same hole, of those with a status that is wanted.
    fn same_hole(&self, finding: &Finding, wanted: fn(Status) -> bool) -> Option<&'a Finding> {
        let verdict = &finding.verdict;
        let entries = |name| {
            self.by_name
                .get(&(&finding.host, &*verdict.package, name))
                .into_iter()
                .flatten()
        };
        let found = |entry: &Entry<'a>| {
            self.findings
                .get(entry.2)
                .filter(|f| wanted(f.verdict.status))
        };
        // Its own name: the other's own name or alias. Its alias: the other's own name only.
        entries(&verdict.advisory).find_map(found).or_else(|| {
            verdict
                .aliases
                .iter()
                .flat_map(|alias| entries(alias).filter(|entry| !entry.0))
                .find_map(found)
        })
    }
}

/// What of status and urgency differs, in one line; `None` where nothing does.
fn difference(was: &Finding, is: &Finding) -> Option<String> {
    let mut parts = Vec::new();
    if was.verdict.status != is.verdict.status {
        parts.push(format!(
            "status {} to {}",
            was.verdict.status, is.verdict.status
        ));
    }
    if was.lane != is.lane {
        let lane = |f: &Finding| f.lane.map_or("none", |lane| lane.name());
        parts.push(format!("lane {} to {}", lane(was), lane(is)));
    }
    if was.decision != is.decision {
        let decision = |f: &Finding| f.decision.map_or("none", |d| d.name());
        parts.push(format!("decision {} to {}", decision(was), decision(is)));
    }
    if was.deadline != is.deadline {
        let deadline = |f: &Finding| {
            f.deadline
                .map_or_else(|| "next upgrade".to_owned(), |day| day.to_string())
        };
        parts.push(format!("deadline {} to {}", deadline(was), deadline(is)));
    }
    match (was.kev, is.kev) {
        (false, true) => parts.push("now in KEV".to_owned()),
        (true, false) => parts.push("no longer in KEV".to_owned()),
        (false, false) | (true, true) => {}
    }
    if parts.is_empty() {
        return None;
    }
    if was.verdict.advisory != is.verdict.advisory {
        parts.push(format!("was called {}", was.verdict.advisory));
    }
    Some(parts.join("; "))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use mailkeep_model::Lane;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{finding, id};

    fn named(advisory: &str, aliases: &[&str]) -> Finding {
        let mut finding = finding("mx1", advisory);
        finding.verdict.aliases = aliases.iter().map(|a| id(a)).collect();
        finding
    }

    fn summary(changes: &[Change]) -> Vec<String> {
        changes
            .iter()
            .map(|c| {
                let what = match &c.kind {
                    ChangeKind::New { status } => format!("new {status}"),
                    ChangeKind::Gone { was, now } => {
                        format!("gone {was} {}", now.map_or("-", Status::name))
                    }
                    ChangeKind::Changed { change, .. } => change.clone(),
                };
                format!("{} {} {what}", c.host, c.advisory)
            })
            .collect()
    }

    #[test]
    fn nothing_changed_is_nothing_to_say() {
        let findings = [
            finding("mx1", "CVE-2026-1000"),
            finding("mx2", "CVE-2026-1000"),
        ];
        assert_eq!(delta(&findings, &findings), []);
    }

    #[test]
    fn new_gone_and_changed_are_told_in_order() {
        let mut urgent = finding("mx1", "CVE-2026-1002");
        urgent.lane = Some(Lane::Emergency);
        urgent.kev = true;
        urgent.deadline = Some(date(2026, 11, 24));
        let mut plain = finding("mx1", "CVE-2026-1002");
        plain.lane = Some(Lane::Regular);
        let old = [finding("mx2", "CVE-2026-1000"), plain];
        let new = [urgent, finding("mx1", "CVE-2026-1001")];
        assert_eq!(
            summary(&delta(&old, &new)),
            [
                "mx1 CVE-2026-1001 new fix-available",
                "mx1 CVE-2026-1002 lane regular to emergency; deadline next upgrade to 2026-11-24; now in KEV",
                "mx2 CVE-2026-1000 gone fix-available -",
            ]
        );
    }

    #[test]
    fn an_advisory_that_got_its_cve_id_is_the_same_hole() {
        let old = [named("DSA-5512-1", &[])];
        let new = [
            named("CVE-2023-42114", &["DSA-5512-1"]),
            named("CVE-2023-42115", &["DSA-5512-1"]),
        ];
        assert_eq!(delta(&old, &new), []);
        assert_eq!(delta(&new, &old), []);
    }

    #[test]
    fn two_cves_of_one_dsa_are_not_the_same_hole() {
        let old = [named("CVE-2023-42114", &["DSA-5512-1"])];
        let new = [named("CVE-2023-42115", &["DSA-5512-1"])];
        assert_eq!(
            summary(&delta(&old, &new)),
            [
                "mx1 CVE-2023-42114 gone fix-available -",
                "mx1 CVE-2023-42115 new fix-available"
            ]
        );
    }

    #[test]
    fn a_renamed_hole_that_changed_says_what_it_was_called() {
        let mut new = named("CVE-2023-42115", &["DSA-5512-1"]);
        new.verdict.status = Status::RestartPending;
        assert_eq!(
            summary(&delta(&[named("DSA-5512-1", &[])], &[new])),
            ["mx1 CVE-2023-42115 status fix-available to restart-pending; was called DSA-5512-1"]
        );
    }

    #[test]
    fn a_fixed_verdict_is_no_finding_and_says_why_the_finding_is_gone() {
        let old = [finding("mx1", "CVE-2026-1000")];
        let mut fixed = finding("mx1", "CVE-2026-1000");
        fixed.verdict.status = Status::Fixed;
        let new = [fixed];
        assert_eq!(
            summary(&delta(&old, &new)),
            ["mx1 CVE-2026-1000 gone fix-available fixed"]
        );
        assert_eq!(
            summary(&delta(&new, &old)),
            ["mx1 CVE-2026-1000 new fix-available"]
        );
    }

    #[test]
    fn nothing_is_gone_from_a_host_that_was_not_judged() {
        let old = [
            finding("mx1", "CVE-2026-1000"),
            finding("mx2", "CVE-2026-1000"),
        ];
        let changes = delta_judged(&old, &[], |host| host.as_str() != "mx1");
        assert_eq!(
            summary(&changes),
            ["mx2 CVE-2026-1000 gone fix-available -"]
        );
    }

    #[test]
    fn a_change_becomes_the_event_of_its_kind() {
        let at: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let changes = delta(&[], &[finding("mx1", "CVE-2026-1000")]);
        let event = changes[0].clone().into_event(at, Realm::Drill);
        assert_eq!(event.realm, Realm::Drill);
        assert_eq!(event.at, at);
        assert!(matches!(
            event.kind,
            EventKind::FindingNew {
                status: Status::FixAvailable,
                ..
            }
        ));
    }

    fn any_findings() -> impl Strategy<Value = Vec<Finding>> {
        let one = (0u8..2, 0u8..4, proptest::option::of(0u8..4), 0usize..9).prop_map(
            |(on, advisory, alias, status)| {
                let mut f = finding(&format!("mx{on}"), &format!("CVE-2026-100{advisory}"));
                f.verdict.aliases = alias
                    .filter(|a| *a != advisory)
                    .map(|a| id(&format!("CVE-2026-100{a}")))
                    .into_iter()
                    .collect();
                f.verdict.status = Status::ALL[status];
                f
            },
        );
        proptest::collection::vec(one, 0..8)
    }

    proptest! {
        #[test]
        fn delta_does_not_depend_on_the_order_of_findings(old in any_findings(), new in any_findings()) {
            // One finding for each host, package and advisory, as a check gives them.
            let unique = |findings: Vec<Finding>| {
                let mut seen = BTreeSet::new();
                findings
                    .into_iter()
                    .filter(|f| seen.insert((f.host.clone(), f.verdict.advisory.clone())))
                    .collect::<Vec<_>>()
            };
            let (old, new) = (unique(old), unique(new));
            let forward = delta(&old, &new);
            let reverse = |findings: &[Finding]| findings.iter().rev().cloned().collect::<Vec<_>>();
            prop_assert_eq!(&forward, &delta(&reverse(&old), &reverse(&new)));
            for change in &forward {
                let gone = matches!(change.kind, ChangeKind::Gone { .. });
                let list = if gone { &old } else { &new };
                prop_assert!(list.iter().any(|f| f.verdict.advisory == change.advisory));
            }
        }

        #[test]
        fn no_difference_from_itself(findings in any_findings()) {
            let mut seen = BTreeSet::new();
            let findings: Vec<_> = findings
                .into_iter()
                .filter(|f| seen.insert((f.host.clone(), f.verdict.advisory.clone())))
                .collect();
            prop_assert_eq!(delta(&findings, &findings), vec![]);
        }
    }
}
