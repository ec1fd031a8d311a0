//! What a check leaves to the next one.

use std::collections::BTreeSet;

use mailkeep_model::{AdvisoryId, Evidence, Finding, HostName, HostStatus, Verdict};
use mailkeep_store::Snapshot;
use mailkeep_triage::{ChangeKind, delta_judged, rank};

use crate::answer::Answer;

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
