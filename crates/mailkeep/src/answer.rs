//! The answer of a check, as every output format takes it.

use std::collections::BTreeMap;

use mailkeep_model::{
    FeedState, FeedStatus, Finding, HostAnswer, HostName, HostStatus, Lane, Status, Surface,
    Timestamp,
};
use mailkeep_triage::Change;

use crate::fleet::Organisation;
use crate::impact::Impact;

/// Everything a check found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// "Now".
    pub generated_at: Timestamp,
    /// What was checked, for a title: the fleet file's name, a directory, a host.
    pub scope: String,
    /// Who runs the servers, where the fleet file says.
    pub organisation: Option<Organisation>,
    /// The feeds it rests on, by name.
    pub feeds: Vec<FeedAnswer>,
    /// Every host asked about, by name.
    pub hosts: Vec<HostAnswer>,
    /// Findings, most urgent first; with `--all` also `fixed` and `not-affected`, last.
    pub findings: Vec<Finding>,
    /// Advisories that name an installed package whose fix the host has, over all hosts.
    pub fixed: u64,
    /// Advisories that name an installed package but not its version or release, over all hosts.
    pub not_affected: u64,
    /// What changed since the last check of the same scope; `None` where there was none.
    pub changes: Option<Vec<Change>>,
    /// What patching would change on servers, as far as facts tell; only where it was asked for.
    pub impacts: BTreeMap<HostName, Impact>,
}

/// A feed and its state at the time of the check.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedAnswer {
    /// As the store knows it.
    pub status: FeedStatus,
    /// How far it may be relied on.
    pub state: FeedState,
}

impl Answer {
    /// Whether a person has something to do: a finding, or a host that could not be judged.
    pub fn asks_for_action(&self) -> bool {
        self.findings.iter().any(|f| f.verdict.status.is_finding())
            || self.hosts.iter().any(|h| h.status == HostStatus::Unknown)
    }

    /// Findings by status, lane and surface; hosts by status. Every name is there, zeros too.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for status in Status::ALL {
            counts.status.insert(status.name(), 0);
        }
        counts.status.insert(Status::Fixed.name(), self.fixed);
        counts
            .status
            .insert(Status::NotAffected.name(), self.not_affected);
        for surface in [Surface::Mail, Surface::Dependency, Surface::Other] {
            counts.surface.insert(surface.name(), 0);
        }
        for lane in [Lane::Emergency, Lane::Regular] {
            counts.lane.insert(lane.name(), 0);
        }
        for status in [
            HostStatus::Affected,
            HostStatus::Clean,
            HostStatus::Decommissioned,
            HostStatus::Unknown,
        ] {
            counts.hosts.insert(status.name(), 0);
        }
        for finding in self
            .findings
            .iter()
            .filter(|f| f.verdict.status.is_finding())
        {
            *counts
                .status
                .entry(finding.verdict.status.name())
                .or_default() += 1;
            *counts
                .surface
                .entry(finding.verdict.surface.name())
                .or_default() += 1;
            if let Some(lane) = finding.lane {
                *counts.lane.entry(lane.name()).or_default() += 1;
            }
        }
        for host in &self.hosts {
            *counts.hosts.entry(host.status.name()).or_default() += 1;
        }
        counts
    }
}

/// Counts by stable name.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Hosts by status.
    pub hosts: BTreeMap<&'static str, u64>,
    /// Verdicts by status, whatever is listed.
    pub status: BTreeMap<&'static str, u64>,
    /// Findings by surface.
    pub surface: BTreeMap<&'static str, u64>,
    /// Findings by lane.
    pub lane: BTreeMap<&'static str, u64>,
}
