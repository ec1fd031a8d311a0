//! A plan: which host gets which versions when, and what must hold before and after.
//!
//! A plan is immutable. Its id is the SHA-256 of its canonical JSON, which the `plan` room writes; what
//! people approve is that digest.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{
    AdvisoryId, Drain, HostName, Lane, PlanId, ProbeSettings, Realm, RegionName, RolloutPolicy,
    ServiceName, TeamName, Window,
};

/// What was decided to be done, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`Plan::FORMAT`].
    pub format: u32,
    /// Live servers, or a rehearsal.
    pub realm: Realm,
    /// 1 for a first plan, the parent's plus one for a child.
    pub generation: u32,
    /// The plan this one replaces.
    pub parent: Option<PlanId>,
    /// When it was made.
    pub made_at: Timestamp,
    /// Version of the time zone database by which windows were resolved: `2026b`.
    pub tzdb: String,
    /// The lane of its most urgent finding, or the one asked for.
    pub lane: Lane,
    /// Why the emergency lane was taken against the findings' own, and by whom.
    pub overriding: Option<Override>,
    /// Hosts on which a change of this plan failed before: a person ordered that it be tried again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub retries: BTreeSet<HostName>,
    /// The advisories it answers, sorted.
    pub bulletin: Vec<AdvisoryId>,
    /// One line for a person.
    pub title: String,
    /// The rules it was made by.
    pub policy: RolloutPolicy,
    /// Every region with a step in it.
    pub regions: BTreeMap<RegionName, PlannedRegion>,
    /// Every service that a planned host carries.
    pub services: BTreeMap<ServiceName, PlannedService>,
    /// Hosts that were not in service when it was made; they do not count for any minimum.
    pub out_of_service: BTreeSet<HostName>,
    /// What is done to a host, by kind of host. Steps name one by its place.
    pub variants: Vec<Variant>,
    /// Waves by number, from 0, ordered by start.
    pub waves: Vec<Wave>,
    /// Steps ordered by start, then host. No host has two.
    pub steps: Vec<PlanStep>,
}

impl Plan {
    /// The format this code reads and writes.
    pub const FORMAT: u32 = 1;

    /// The step of a host.
    pub fn step_of(&self, host: &HostName) -> Option<&PlanStep> {
        self.steps.iter().find(|step| step.host == *host)
    }

    /// The end of its last step, without the soak after it.
    pub fn end(&self) -> Option<Timestamp> {
        self.steps.iter().map(|step| step.end).max()
    }
}

/// An order against the rules of the lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The team that gave it.
    pub by: TeamName,
    /// Its reason, as written.
    pub reason: String,
}

/// A region as the plan knew it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRegion {
    /// IANA time zone name.
    pub time_zone: String,
    /// The team that approves its part.
    pub owner: Option<TeamName>,
    /// Whether it goes first.
    pub pilot: bool,
    /// Its windows.
    pub windows: Vec<Window>,
}

/// A service as the plan knew it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedService {
    /// Every running host that carries it, planned or not, by region.
    pub hosts: BTreeMap<RegionName, BTreeSet<HostName>>,
    /// Hosts that must stay in service, for each region of `hosts`.
    pub minimum: BTreeMap<RegionName, u32>,
    /// Hosts that must stay in service over all regions.
    pub minimum_total: Option<u32>,
    /// Services whose hosts in the same region are patched before its own.
    pub after: BTreeSet<ServiceName>,
    /// How a message is proven to go through it.
    pub probe: Option<ProbeSettings>,
}

/// One kind of host under one bulletin: product family, release, and the versions it starts from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Product family: `postfix`.
    pub family: String,
    /// Distribution and release, as OSV writes it: `Debian:12`.
    pub platform: String,
    /// What changes, sorted by name.
    pub packages: Vec<PackageChange>,
    /// The recipe, where the family has one.
    pub recipe: Option<RecipeRef>,
    /// Whether all its hosts of a region are one step in time.
    pub whole_cluster: bool,
    /// Advisories for which the recipe's mitigations stand in on these hosts, before and after this
    /// change, each with the source package whose fix ends it. Mitigations of the recipe for anything
    /// else end with this change, if it installs anything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mitigates: BTreeMap<AdvisoryId, String>,
}

impl Variant {
    /// Whether it installs nothing, and puts what stands in for a fix in force.
    pub fn is_mitigation(&self) -> bool {
        !self.mitigates.is_empty() && self.packages.iter().all(|change| change.from == change.to)
    }
}

/// One binary package, from one exact version to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageChange {
    /// Binary package.
    pub name: String,
    /// Installed version.
    pub from: String,
    /// Version to install. Equal to `from` where only a restart is due.
    pub to: String,
}

/// A recipe file, pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeRef {
    /// Path relative to the fleet file.
    pub path: String,
    /// SHA-256 of the file and of every file it names, in hexadecimal.
    pub sha256: String,
}

/// Which place in the order a wave has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// One host for each variant, first of all.
    Test,
    /// The pilot region.
    Pilot,
    /// Every other region.
    Rest,
}

impl Stage {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pilot => "pilot",
            Self::Rest => "rest",
            Self::Test => "test",
        }
    }
}

/// The steps of one stage in one region during one window (or, where windows do not hold, of one
/// stage in one region without another between).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// Its region.
    pub region: RegionName,
    /// Its stage.
    pub stage: Stage,
    /// Start of its first step.
    pub start: Timestamp,
    /// End of its last step.
    pub end: Timestamp,
    /// The window it lies in; `None` in the emergency lane without windows.
    pub window: Option<PlannedWindow>,
}

/// One occurrence of a maintenance window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedWindow {
    /// When it opens.
    pub opens: Timestamp,
    /// When it closes.
    pub closes: Timestamp,
}

/// What happens to one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanStep {
    /// Which host.
    pub host: HostName,
    /// Its region.
    pub region: RegionName,
    /// The team that answers for it.
    pub owner: Option<TeamName>,
    /// Place of its wave in [`Plan::waves`].
    pub wave: u32,
    /// Place of its variant in [`Plan::variants`].
    pub variant: u32,
    /// When it may leave service.
    pub start: Timestamp,
    /// When it must be back.
    pub end: Timestamp,
    /// What it carries.
    pub services: BTreeSet<ServiceName>,
    /// How it leaves service.
    pub drain: Drain,
    /// What must still be so when it starts.
    pub precheck: Precheck,
    /// What must be so before it serves again.
    pub proof: Proof,
    /// Hosts that must be proven before it starts.
    pub after: BTreeSet<HostName>,
    /// Weight of a minute of exposure, at least 1: hosts with more urgent findings weigh more.
    pub risk: u32,
    /// The earliest deadline among its findings, in its region's civil time.
    pub deadline: Option<Date>,
}

/// What must still be so when a step starts. The versions it starts from stand in its variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precheck {
    /// When the facts it was planned by were seen.
    pub facts_as_of: Timestamp,
    /// Mebibytes that must be free where packages are unpacked.
    pub free_mib: u32,
}

/// What must be so before a host serves again. That every mail process runs the planned version, and
/// that configuration is as before, is always asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Ports whose greeting, and answers to EHLO and STARTTLS, must be as before.
    pub ports: BTreeSet<u16>,
    /// Services through which a real message must arrive; those of the host with a probe.
    pub probes: BTreeSet<ServiceName>,
}

/// What a planner says beside its plan: nothing is left out in silence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanningReport {
    /// Minutes from the plan's making to the end of its last step.
    pub end_minutes: u64,
    /// No plan of the same hosts that keeps the same deadlines could end earlier than this.
    pub end_bound_minutes: u64,
    /// Sum over hosts of risk times minutes until the end of their step.
    pub exposure: u64,
    /// No such plan could have less.
    pub exposure_bound: u64,
    /// Hosts without a step, or with one that leaves something open there, each with its reason, sorted
    /// by host.
    pub not_planned: Vec<NotPlanned>,
    /// Deadlines the plan cannot meet, sorted by host.
    pub missed_deadlines: Vec<MissedDeadline>,
}

/// A host without a step, or with one that leaves something open there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotPlanned {
    /// Which.
    pub host: HostName,
    /// Why.
    pub reason: NotPlannedReason,
}

/// Why a host has no step. Names are stable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NotPlannedReason {
    /// It was patched and proven before.
    AlreadyProven,
    /// The same change failed on it, or on another host of its variant, and is set aside until a person
    /// orders that it be tried again.
    ChangeQuarantined {
        /// On which host it failed.
        failed_on: HostName,
    },
    /// It waits for a host that is not planned itself.
    DependsOnUnplanned {
        /// On which.
        host: HostName,
    },
    /// Nothing was ever seen of it.
    FactsMissing,
    /// What was seen of it is older than the fleet allows.
    FactsTooOld {
        /// When it was seen.
        seen_at: Timestamp,
    },
    /// Its service would fall below its minimum, at whatever time.
    MinimumInService {
        /// Which service.
        service: ServiceName,
        /// Where; `None` is over all regions.
        region: Option<RegionName>,
        /// Hosts in service now.
        in_service: u32,
        /// Hosts that must stay.
        minimum: u32,
    },
    /// A mitigation is in force on it, and no fix exists.
    Mitigated {
        /// The source package.
        package: String,
    },
    /// The change crosses versions whose configuration is not compatible; a person must do it.
    NeedsPerson {
        /// What a person must know.
        why: String,
    },
    /// A fix is published, but the host's own repositories do not offer it.
    NoCandidate {
        /// The source package.
        package: String,
    },
    /// No fix exists.
    NoFix {
        /// The source package.
        package: String,
    },
    /// The fleet file names no region for it.
    NoRegion,
    /// Its region has no window long enough in the time looked at.
    NoWindow {
        /// Which region.
        region: RegionName,
        /// Days looked at.
        days: u32,
    },
    /// Another plan that has not ended has it.
    PlannedElsewhere {
        /// Which.
        plan: PlanId,
    },
    /// The recipe of its family brings a version without the fix, or one of which nobody can tell.
    RecipeWithoutFix {
        /// The source package.
        package: String,
        /// The version that it brings.
        brings: String,
        /// The fixed version, where the distributor names one.
        fixed: Option<String>,
    },
    /// It cannot be reached, or is known to be out of service.
    Unreachable {
        /// What is known.
        why: String,
    },
}

impl NotPlannedReason {
    /// The stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AlreadyProven => "already-proven",
            Self::ChangeQuarantined { .. } => "change-quarantined",
            Self::DependsOnUnplanned { .. } => "depends-on-unplanned",
            Self::FactsMissing => "facts-missing",
            Self::FactsTooOld { .. } => "facts-too-old",
            Self::MinimumInService { .. } => "minimum-in-service",
            Self::Mitigated { .. } => "mitigated",
            Self::NeedsPerson { .. } => "needs-person",
            Self::NoCandidate { .. } => "no-candidate",
            Self::NoFix { .. } => "no-fix",
            Self::NoRegion => "no-region",
            Self::NoWindow { .. } => "no-window",
            Self::PlannedElsewhere { .. } => "planned-elsewhere",
            Self::RecipeWithoutFix { .. } => "recipe-without-fix",
            Self::Unreachable { .. } => "unreachable",
        }
    }
}

/// A deadline that a plan cannot meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MissedDeadline {
    /// Whose.
    pub host: HostName,
    /// Last day in time, in its region's civil time.
    pub deadline: Date,
    /// When it will be done; `None` where it is not planned at all.
    pub planned_end: Option<Timestamp>,
    /// What would make it possible; each alone suffices. Empty where nothing that the planner can
    /// try does.
    pub remedies: Vec<Remedy>,
}

/// What would make a deadline possible.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Remedy {
    /// One more window.
    AnotherWindow {
        /// Where.
        region: RegionName,
        /// On which day, at the latest, in that region's civil time.
        by: Date,
    },
    /// The emergency lane.
    EmergencyLane,
    /// More hosts of a service.
    MoreHosts {
        /// Of which service.
        service: ServiceName,
        /// Where; `None` is anywhere.
        region: Option<RegionName>,
        /// How many.
        count: u32,
    },
    /// More hosts at a time than the policy allows.
    MoreInParallel {
        /// `fleet`, `region` or `team`.
        scope: String,
        /// How many at a time.
        limit: u32,
    },
}
