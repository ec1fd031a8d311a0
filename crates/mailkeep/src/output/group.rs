//! What a person does: findings on one host and package that one act closes, taken together.

use std::collections::HashMap;

use mailkeep_model::{Finding, Status};

/// Findings on one host and package that one act closes. Never empty.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// The act.
    pub act: Act,
    /// The most urgent of them.
    pub first: &'a Finding,
    /// All of them, `first` too, most urgent first.
    pub findings: Vec<&'a Finding>,
}

/// What a person does about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// Install the version its repositories offer.
    Upgrade,
    /// Restart what still runs the code from before.
    Restart,
    /// Get a version that is published, but not in the host's repositories.
    NotHere,
    /// Wait: there is no fix.
    Wait,
    /// Live with it: it will not be fixed, or a mitigation covers it.
    Live,
    /// Find out: it could not be decided.
    Ask,
    /// Nothing: it is no finding.
    Nothing,
}

impl Act {
    /// What a status asks for.
    pub fn of(status: Status) -> Self {
        match status {
            Status::FixAvailable => Self::Upgrade,
            Status::RestartPending => Self::Restart,
            Status::FixPublished => Self::NotHere,
            Status::NoFix => Self::Wait,
            Status::WillNotFix | Status::Mitigated => Self::Live,
            Status::Unknown => Self::Ask,
            Status::Fixed | Status::NotAffected => Self::Nothing,
        }
    }

    /// Whether there is a fix to put in force: on offer, published elsewhere, or installed and not
    /// running yet.
    pub fn is_patch(self) -> bool {
        matches!(self, Self::Upgrade | Self::Restart | Self::NotHere)
    }
}

/// Groups findings, keeping the order in which each group's first one stands.
pub fn rows<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    let mut places = HashMap::new();
    for finding in findings {
        let act = Act::of(finding.verdict.status);
        let key = (&finding.host, &finding.verdict.package, act);
        let at = *places.entry(key).or_insert_with(|| {
            rows.push(Row {
                act,
                first: finding,
                findings: Vec::new(),
            });
            rows.len() - 1
        });
        if let Some(row) = rows.get_mut(at) {
            row.findings.push(finding);
        }
    }
    rows
}

impl<'a> Row<'a> {
    /// The version that closes every finding of the row.
    pub fn highest_fix(&self) -> Option<&'a str> {
        self.findings
            .iter()
            .filter_map(|f| {
                let scheme = f.verdict.platform.ecosystem.version_scheme();
                let text = f.verdict.fixed.as_deref()?;
                Some((mailkeep_matcher::version::key(scheme, text).ok()?, text))
            })
            .max_by(|a, b| a.0.cmp(&b.0))
            .map(|(_, text)| text)
    }

    /// Highest CVSS base score.
    pub fn highest_score(&self) -> Option<f64> {
        self.findings
            .iter()
            .filter_map(|f| f.score)
            .max_by(f64::total_cmp)
    }

    /// Highest EPSS probability.
    pub fn highest_epss(&self) -> Option<f32> {
        self.findings
            .iter()
            .filter_map(|f| f.epss)
            .max_by(f32::total_cmp)
    }

    /// Whether any of it rests on a feed that was stale or partly read.
    pub fn by_stale_feed(&self) -> bool {
        self.findings
            .iter()
            .any(|f| f.verdict.evidence.source_stale)
    }
}
/// An EPSS score as a person reads it: `EPSS 88 %`, and never a flat zero.
pub(crate) fn epss_percent(score: f32) -> String {
    if score < 0.01 {
        "EPSS under 1 %".to_owned()
    } else {
        format!("EPSS {:.0} %", score * 100.0)
    }
}
