//! What happened: the payload of the append-only log.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Act, ActOutcome, Actor, AdvisoryId, CallOff, FeedId, HostName, Lane, Ledger, PlanId,
    PlannedWindow, PlanningReport, RegionName, RolloutOutcome, ServiceName, Status, TeamName,
};

/// Whether something concerns real servers or a rehearsal. Part of every event, so that a drill can
/// never be taken for the living.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Realm {
    /// A rehearsal.
    Drill,
    /// Real servers.
    Live,
}

impl Realm {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drill => "drill",
            Self::Live => "live",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Where it counts.
    pub realm: Realm,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EventKind {
    /// A feed was imported whole.
    FeedImported {
        /// Which.
        feed: FeedId,
        /// Records read.
        records: u64,
        /// Records that could not be read.
        problems: u64,
    },
    /// A feed could not be imported; what was there before stays.
    FeedFailed {
        /// Which.
        feed: FeedId,
        /// Why.
        reason: String,
    },
    /// A host was scanned.
    HostScanned {
        /// Which.
        host: HostName,
        /// Packages seen.
        packages: u64,
    },
    /// A host could not be scanned.
    ScanFailed {
        /// Which.
        host: HostName,
        /// Why, with its stable name first.
        reason: String,
    },
    /// A finding appeared.
    FindingNew {
        /// On which host.
        host: HostName,
        /// Which advisory.
        advisory: AdvisoryId,
        /// On which source package.
        package: String,
        /// As what.
        status: Status,
        /// Whose it is.
        owner: Option<TeamName>,
    },
    /// A finding is gone.
    FindingGone {
        /// On which host.
        host: HostName,
        /// Which advisory.
        advisory: AdvisoryId,
        /// On which source package.
        package: String,
        /// What it was last.
        was: Status,
        /// Whose it was.
        owner: Option<TeamName>,
    },
    /// A finding changed in status or urgency.
    FindingChanged {
        /// On which host.
        host: HostName,
        /// Which advisory.
        advisory: AdvisoryId,
        /// On which source package.
        package: String,
        /// What it is now.
        status: Status,
        /// What changed, in one line: `lane regular to emergency`.
        change: String,
        /// Whose it is.
        owner: Option<TeamName>,
    },
    /// A plan was made and kept.
    PlanMade {
        /// Which.
        plan: PlanId,
        /// The plan it replaces.
        parent: Option<PlanId>,
        /// Its lane.
        lane: Lane,
        /// Hosts with a step.
        hosts: u64,
        /// One line for a person.
        title: String,
    },
    /// What the planner reported beside a plan that was kept.
    PlanReported {
        /// Which.
        plan: PlanId,
        /// The report.
        report: Box<PlanningReport>,
    },
    /// A plan that was kept carries out recipes. What a recipe puts in force outlasts its rollout, so
    /// that checks look for such plans.
    RecipesPlanned {
        /// Which.
        plan: PlanId,
    },
    /// A team approved a plan, or its region's part of one. The signature is kept beside the plan.
    PlanApproved {
        /// Which.
        plan: PlanId,
        /// Whose part; `None` is the whole.
        region: Option<RegionName>,
        /// The team, which is the signature's principal.
        team: TeamName,
        /// Digest that was signed.
        digest: String,
    },
    /// A rollout began.
    RolloutStarted {
        /// Of which plan.
        plan: PlanId,
        /// Who began it.
        by: Actor,
    },
    /// A rollout starts nothing new until it is resumed.
    RolloutPaused {
        /// Of which plan.
        plan: PlanId,
        /// Who, or what, paused it.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// A paused rollout goes on.
    RolloutResumed {
        /// Of which plan.
        plan: PlanId,
        /// Who resumed it.
        by: Actor,
    },
    /// A rollout starts nothing new for good; hosts in work are brought to an end.
    RolloutAborted {
        /// Of which plan.
        plan: PlanId,
        /// Who aborted it.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// A rollout ended: every host of its plan has come to an end.
    RolloutEnded {
        /// Of which plan.
        plan: PlanId,
        /// How.
        outcome: RolloutOutcome,
    },
    /// Something is about to be done to a host. Without an [`Self::ActEnded`] after it nobody knows
    /// whether it was done: the host must be looked at.
    ActStarted {
        /// By which plan.
        plan: PlanId,
        /// To which host.
        host: HostName,
        /// What.
        act: Act,
        /// How often it was tried, from 1.
        attempt: u32,
        /// The controller's fencing number; the highest one counts.
        fence: u64,
    },
    /// What came of it.
    ActEnded {
        /// By which plan.
        plan: PlanId,
        /// On which host.
        host: HostName,
        /// What.
        act: Act,
        /// How often it was tried, from 1.
        attempt: u32,
        /// The controller's fencing number.
        fence: u64,
        /// How it ended.
        result: ActOutcome,
    },
    /// The executor begins nothing more on a host, or takes it back, though nothing failed on it.
    HostCalledOff {
        /// By which plan.
        plan: PlanId,
        /// Which host.
        host: HostName,
        /// Why.
        reason: CallOff,
        /// In words: what it waited for, which other host failed.
        detail: String,
    },
    /// The ledger of numbered messages, as it stood.
    ProbesCounted {
        /// During which rollout.
        plan: PlanId,
        /// Of which service; `None` is all of them.
        service: Option<ServiceName>,
        /// The counts.
        ledger: Ledger,
    },
    /// A host was taken out of reach of new mail by hand.
    HostIsolated {
        /// Which.
        host: HostName,
        /// Who did it.
        by: Actor,
        /// Why.
        reason: String,
        /// Whether a service fell below its minimum by it.
        below_minimum: bool,
    },
    /// Windows were reserved for an advisory that is announced and not yet published.
    WindowsReserved {
        /// The reservation's name.
        name: String,
        /// What was announced, in one line.
        title: String,
        /// The lane that is expected.
        lane: Lane,
        /// Names the advisory will have, where they are known.
        advisories: Vec<AdvisoryId>,
        /// What was reserved in each region.
        windows: BTreeMap<RegionName, PlannedWindow>,
    },
    /// Reserved windows are free again.
    ReservationEnded {
        /// The reservation's name.
        name: String,
        /// The plan that takes its place; `None` where it was taken back.
        plan: Option<PlanId>,
    },
    /// An isolated host takes mail again.
    HostReleased {
        /// Which.
        host: HostName,
        /// Who did it.
        by: Actor,
    },
    /// A message was let out of a shield's quarantine.
    MessageReleased {
        /// Its id there.
        message: String,
        /// To whom.
        recipients: Vec<String>,
        /// Who did it.
        by: Actor,
    },
    /// Somebody was told which mail is kept from him, and how to recognise the like.
    HeldMailTold {
        /// Whom.
        person: String,
        /// The messages' ids in the quarantine.
        messages: Vec<String>,
        /// Names of the lessons that he had not had before.
        lessons: Vec<String>,
    },
    /// A program that watches the wire saw what a virtual patch is about.
    AttackSeen {
        /// The virtual patch.
        rule: String,
        /// From where; none stands for all sources beyond those that are told one by one.
        source: Option<IpAddr>,
        /// To where.
        target: IpAddr,
        /// The host of the fleet that has this address, if any.
        host: Option<HostName>,
        /// When first, of what was not told before.
        first: Timestamp,
        /// When last.
        last: Timestamp,
        /// How often.
        alerts: u64,
    },
}

impl EventKind {
    /// The plan it belongs to, where it belongs to one.
    pub fn plan(&self) -> Option<&PlanId> {
        match self {
            Self::PlanMade { plan, .. }
            | Self::PlanReported { plan, .. }
            | Self::PlanApproved { plan, .. }
            | Self::RolloutStarted { plan, .. }
            | Self::RolloutPaused { plan, .. }
            | Self::RolloutResumed { plan, .. }
            | Self::RolloutAborted { plan, .. }
            | Self::RolloutEnded { plan, .. }
            | Self::HostCalledOff { plan, .. }
            | Self::ActStarted { plan, .. }
            | Self::ActEnded { plan, .. }
            | Self::ProbesCounted { plan, .. } => Some(plan),
            Self::FeedImported { .. }
            | Self::FeedFailed { .. }
            | Self::HostScanned { .. }
            | Self::ScanFailed { .. }
            | Self::FindingNew { .. }
            | Self::FindingGone { .. }
            | Self::FindingChanged { .. }
            | Self::HostIsolated { .. }
            | Self::HostReleased { .. }
            | Self::MessageReleased { .. }
            | Self::HeldMailTold { .. }
            | Self::AttackSeen { .. }
            | Self::RecipesPlanned { .. }
            | Self::WindowsReserved { .. }
            | Self::ReservationEnded { .. } => None,
        }
    }
}

/// An event as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// Its place in the log, from 1, without gaps within one store.
    pub seq: u64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}
