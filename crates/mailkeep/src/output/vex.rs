//! What the two VEX formats share: how our statuses read in VEX, what is to be done, and what the
//! document cannot say anything of.

use std::collections::{BTreeMap, HashSet};

use mailkeep_model::{
    AdvisoryId, FeedState, Finding, HostStatus, Lane, Status, Surface, Timestamp, text,
};
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;

/// The four statuses of VEX (CISA, "Minimum Requirements for VEX", 2023).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VexStatus {
    /// Remediation is wanted.
    Affected,
    /// The fix is in.
    Fixed,
    /// No remediation is wanted.
    NotAffected,
    /// Not decided.
    UnderInvestigation,
}

impl VexStatus {
    /// How a status reads in VEX. Code that still runs is affected, whatever is installed; a
    /// mitigated hole is a hole.
    pub fn of(status: Status) -> Self {
        match status {
            Status::FixAvailable
            | Status::FixPublished
            | Status::NoFix
            | Status::WillNotFix
            | Status::RestartPending
            | Status::Mitigated => Self::Affected,
            Status::Unknown => Self::UnderInvestigation,
            Status::Fixed => Self::Fixed,
            Status::NotAffected => Self::NotAffected,
        }
    }
}

/// Why an installed package is not affected, in VEX's words. The component is there, or nothing
/// would have been said of it: what is missing is the vulnerable code.
pub const NOT_AFFECTED: &str = "vulnerable_code_not_present";

/// Verdicts by advisory. One (advisory, host, package, version) is there once: contradicting
/// statements are forbidden in both formats, and the more urgent one comes first in an answer.
pub fn by_advisory(answer: &Answer) -> BTreeMap<&AdvisoryId, Vec<&Finding>> {
    let mut seen = HashSet::new();
    let mut found: BTreeMap<&AdvisoryId, Vec<&Finding>> = BTreeMap::new();
    for finding in &answer.findings {
        if seen.insert((&finding.verdict.advisory, product_id(finding))) {
            found
                .entry(&finding.verdict.advisory)
                .or_default()
                .push(finding);
        }
    }
    found
}

/// One product for each (host, source package, installed version). Printable.
pub fn product_id(finding: &Finding) -> String {
    let verdict = &finding.verdict;
    text::printable(&format!(
        "{} {} {} {}",
        finding.host, verdict.platform, verdict.package, verdict.installed
    ))
    .into_owned()
}

/// The other names of an advisory, over all its verdicts, sorted.
pub fn aliases(findings: &[&Finding]) -> Vec<String> {
    let aliases: std::collections::BTreeSet<&AdvisoryId> = findings
        .iter()
        .flat_map(|f| {
            f.verdict
                .aliases
                .iter()
                .filter(|a| **a != f.verdict.advisory)
        })
        .collect();
    aliases.into_iter().map(ToString::to_string).collect()
}

/// The first title given. Printable.
pub fn title(findings: &[&Finding]) -> Option<String> {
    findings
        .iter()
        .map(|f| text::printable(f.verdict.title.trim()))
        .find(|title| !title.is_empty())
        .map(std::borrow::Cow::into_owned)
}

/// What to do, by when, and whose it is. Printable, one line, never empty.
pub fn action(finding: &Finding) -> String {
    let verdict = &finding.verdict;
    let package = &verdict.package;
    let installed = &verdict.installed;
    let fixed = verdict.fixed.as_deref().unwrap_or("the fixed version");
    let mut said = match verdict.status {
        Status::FixAvailable => format!(
            "Upgrade {package} from {installed} to {fixed}, which the host's repositories offer."
        ),
        Status::FixPublished => format!(
            "Get {package} {fixed}, which is published, but not in the host's repositories; installed is {installed}."
        ),
        Status::RestartPending => format!(
            "Restart what still runs the code from before {package} {installed}; the fix is installed."
        ),
        Status::NoFix => format!("There is no fix for {package} {installed} yet."),
        Status::WillNotFix => {
            format!("The distributor has decided against a fix for {package} {installed}.")
        }
        Status::Mitigated => {
            format!("A mitigation in force covers {package} {installed}; the hole is still there.")
        }
        Status::Unknown => format!("It is not decided whether {package} {installed} is affected."),
        Status::Fixed => format!("{package} {installed} has the fix."),
        Status::NotAffected => format!("{package} {installed} is not affected."),
    };
    if let Some(lane) = finding.lane {
        let lane = match lane {
            Lane::Emergency => "Emergency",
            Lane::Regular => "Regular",
        };
        let due = match finding.deadline {
            Some(day) => day.to_string(),
            None => "with the next regular upgrade".to_owned(),
        };
        said = format!("{said} {lane} lane, due {due}.");
    }
    if let Some(owner) = &finding.owner {
        said = format!("{said} Owner: {owner}.");
    }
    text::printable(&said).into_owned()
}

/// Why the verdict is what it is, with the freshness of the word that decided. Printable.
pub fn evidence(finding: &Finding) -> String {
    let evidence = &finding.verdict.evidence;
    let mut said = format!(
        "{} ({}).",
        evidence.reason.trim_end_matches('.'),
        evidence.source
    );
    if evidence.source_stale {
        said.push_str(" That feed is stale or was only partly read.");
    }
    if finding.verdict.surface == Surface::Dependency {
        said.push_str(" A dependency of mail software.");
    }
    text::printable(&said).into_owned()
}

/// What nothing is said of, or not with certainty: hosts not wholly judged, feeds not fresh. One
/// sentence each. Printable. Silence is not safety.
pub fn gaps(answer: &Answer) -> Vec<String> {
    let mut gaps = Vec::new();
    for host in &answer.hosts {
        if host.reasons.is_empty() && host.status != HostStatus::Unknown {
            continue;
        }
        let reasons: Vec<String> = host
            .reasons
            .iter()
            .map(|(kind, text)| format!("{}: {text}", kind.name()))
            .collect();
        let what = if host.status == HostStatus::Unknown {
            "is not known to be safe"
        } else {
            "is judged, but not wholly"
        };
        gaps.push(format!("{} {what} ({}).", host.name, reasons.join("; ")));
    }
    for feed in &answer.feeds {
        let what = match feed.state {
            FeedState::Fresh => continue,
            FeedState::Stale => "is stale",
            FeedState::Partial => "was only partly read",
            FeedState::FromTheFuture => "bears a date in the future",
        };
        gaps.push(format!(
            "Feed {} {what}: as of {}.",
            feed.status.id, feed.status.as_of
        ));
    }
    gaps.into_iter()
        .map(|gap| text::printable(&gap).into_owned())
        .collect()
}

/// The first 128 bits of the SHA-256 of what an answer says: equal answers, equal ids.
pub fn digest(at: Timestamp, parts: impl Iterator<Item = String>) -> u128 {
    let mut hash = Sha256::new();
    hash.update(at.to_string());
    for part in parts {
        // The length keeps ("ab", "c") apart from ("a", "bc").
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let hash = hash.finalize();
    hash.first_chunk()
        .map_or(0, |bytes| u128::from_be_bytes(*bytes))
}
