//! What a check leaves to the next one.

use std::collections::BTreeSet;

use mailkeep_model::{AdvisoryId, Evidence, Finding, HostName, HostStatus, Verdict};
use mailkeep_store::Snapshot;
use mailkeep_triage::{ChangeKind, delta_judged, rank};

use crate::answer::Answer;

/// Whether all that [`to_keep`] would keep is kept of the `last` check already. `false` where a host
/// was not wholly judged: that is not looked into.
pub fn is_kept(answer: &Answer, last: &Snapshot) -> bool {
    let mut kept = last.findings.iter();
    let mut found = answer
        .findings
        .iter()
        .filter(|finding| finding.verdict.status.is_finding());
    found.all(|finding| kept.next().is_some_and(|was| is_lean_of(was, finding)))
        && kept.next().is_none()
        && wholly_judged(answer).len() == answer.hosts.len()
}

/// What is kept of a check until the next one: its findings, and of every host that was not wholly
/// judged those of the `last` one that nothing is said of now. So nothing is forgotten while a feed
/// is stale or a host does not answer, and no deadline begins anew after it.
pub fn to_keep(answer: &Answer, last: Option<&Snapshot>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = answer
        .findings
        .iter()
        .filter(|finding| finding.verdict.status.is_finding())
        .map(lean)
        .collect();
    let Some(last) = last else {
        return kept;
    };
    let judged = wholly_judged(answer);
    let unjudged: BTreeSet<&HostName> = answer
        .hosts
        .iter()
        .map(|host| &host.name)
        .filter(|name| !judged.contains(name))
        .collect();
    if unjudged.is_empty() {
        return kept;
    }
    let changes = delta_judged(&last.findings, &kept, |host| unjudged.contains(host));
    let silent: BTreeSet<(&HostName, &str, &AdvisoryId)> = changes
        .iter()
        .filter(|change| matches!(change.kind, ChangeKind::Gone { .. }))
        .map(|change| (&change.host, &*change.package, &change.advisory))
        .collect();
    let carried = last.findings.iter().filter(|finding| {
        let verdict = &finding.verdict;
        verdict.status.is_finding()
            && silent.contains(&(&finding.host, &*verdict.package, &verdict.advisory))
    });
    kept.extend(carried.map(lean));
    kept.sort_by(rank);
    kept
}

/// The hosts whose silence means something: what is not found on them any more is gone.
pub fn wholly_judged(answer: &Answer) -> BTreeSet<&HostName> {
    answer
        .hosts
        .iter()
        .filter(|host| match host.status {
            HostStatus::Clean | HostStatus::Decommissioned => true,
            HostStatus::Affected => host.reasons.is_empty(),
            HostStatus::Unknown => false,
        })
        .map(|host| &host.name)
        .collect()
}

/// Whether `kept` is [`lean`] of a finding, without making that. Every field is named, so that a new
/// one is not forgotten here.
fn is_lean_of(kept: &Finding, finding: &Finding) -> bool {
    let Finding {
        host,
        verdict:
            Verdict {
                advisory,
                aliases,
                title: _,
                platform,
                package,
                binaries: _,
                installed,
                fixed,
                status,
                surface,
                urgency,
                cvss: _,
                evidence: _,
            },
        severity,
        score,
        kev,
        epss,
        decision,
        lane,
        deadline,
        first_seen,
        owner,
    } = finding;
    let was = &kept.verdict;
    was.advisory == *advisory
        && was.package == *package
        && kept.host == *host
        && was.installed == *installed
        && was.fixed == *fixed
        && was.aliases == *aliases
        && was.platform == *platform
        && (was.status, was.surface, was.urgency) == (*status, *surface, *urgency)
        && (kept.severity, kept.score, kept.kev, kept.epss) == (*severity, *score, *kev, *epss)
        && (kept.decision, kept.lane) == (*decision, *lane)
        && (kept.deadline, kept.first_seen) == (*deadline, *first_seen)
        && kept.owner == *owner
        && was.title.is_empty()
        && was.binaries.is_empty()
        && was.cvss.is_none()
        && was.evidence.is_forgotten()
}

/// All that tells a change, and since when a finding is known. Titles, evidence and notes are most
/// of its bytes, and no change is told by them; keeping them would cost more than the check itself.
fn lean(finding: &Finding) -> Finding {
    let verdict = &finding.verdict;
    Finding {
        host: finding.host.clone(),
        verdict: Verdict {
            advisory: verdict.advisory.clone(),
            aliases: verdict.aliases.clone(),
            title: Box::default(),
            platform: verdict.platform.clone(),
            package: verdict.package.clone(),
            binaries: Vec::new(),
            installed: verdict.installed.clone(),
            fixed: verdict.fixed.clone(),
            status: verdict.status,
            surface: verdict.surface,
            urgency: verdict.urgency,
            cvss: None,
            evidence: Evidence::forgotten(),
        },
        severity: finding.severity,
        score: finding.score,
        kev: finding.kev,
        epss: finding.epss,
        decision: finding.decision,
        lane: finding.lane,
        deadline: finding.deadline,
        first_seen: finding.first_seen,
        owner: finding.owner.clone(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use mailkeep_model::{Lane, Severity, Status, TeamName, Urgency};

    use super::*;

    fn finding() -> Finding {
        let text = r#"{
            "host": "mx1",
            "verdict": {
                "advisory": "CVE-2026-1000",
                "title": "a hole",
                "platform": {"ecosystem": "Debian", "release": "bookworm"},
                "package": "exim4",
                "binaries": ["exim4-base"],
                "installed": "4.96-15",
                "status": "no-fix",
                "surface": "mail"
            },
            "severity": "high",
            "decision": "Track",
            "lane": "regular",
            "deadline": null
        }"#;
        serde_json::from_str(text).unwrap()
    }

    /// An edit of a finding, with its name.
    type Edit = (&'static str, fn(&mut Finding));

    #[test]
    fn what_is_kept_is_known_again_and_every_change_of_it_is_seen() {
        let kept = lean(&finding());
        assert!(is_lean_of(&kept, &finding()));
        let edits: [Edit; 12] = [
            ("host", |f| f.host = HostName::new("mx2").unwrap()),
            ("advisory", |f| {
                f.verdict.advisory = AdvisoryId::new("CVE-2026-1001").unwrap();
            }),
            ("alias", |f| {
                f.verdict.aliases = vec![AdvisoryId::new("DSA-1-1").unwrap()];
            }),
            ("installed", |f| f.verdict.installed = "4.96-16".into()),
            ("fixed", |f| f.verdict.fixed = Some("4.97-1".into())),
            ("status", |f| f.verdict.status = Status::WillNotFix),
            ("urgency", |f| f.verdict.urgency = Some(Urgency::High)),
            ("severity", |f| f.severity = Severity::Low),
            ("score", |f| f.score = Some(1.5)),
            ("lane", |f| f.lane = Some(Lane::Emergency)),
            ("deadline", |f| f.deadline = Some(date(2026, 11, 22))),
            ("owner", |f| f.owner = Some(TeamName::new("mail").unwrap())),
        ];
        for (what, edit) in edits {
            let mut edited = finding();
            edit(&mut edited);
            assert!(!is_lean_of(&kept, &edited), "{what}");
            assert_ne!(lean(&edited), kept, "{what}");
        }
    }

    #[test]
    fn what_is_not_kept_changes_nothing() {
        let mut edited = finding();
        edited.verdict.title = "another".into();
        edited.verdict.binaries.clear();
        edited.verdict.cvss = Some("CVSS:3.1/AV:N".into());
        assert!(is_lean_of(&lean(&finding()), &edited));
        assert!(
            !is_lean_of(&finding(), &edited),
            "what was kept in full before is kept anew"
        );
    }
}
