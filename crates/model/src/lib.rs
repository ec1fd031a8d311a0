//! The nouns of Mailkeep: typed ids, hosts and what was seen on them, the declared fleet, what
//! feeds say, findings with their evidence, plans and what was done by them, events.
//!
//! Entry types: [`HostFacts`] (what was seen), [`Fleet`] (what was declared), [`Statement`] and
//! [`Signal`] (what feeds say), [`Verdict`] and [`Finding`] (the answer), [`Plan`] (what shall be done), [`Event`] (what happened).
//!
//! **Invariant:** this crate is pure. No IO, no clock, no environment, no async; it depends on no
//! other room.

mod advisory;
mod ecosystem;
mod event;
mod facts;
mod feed;
mod finding;
mod fleet;
mod id;
mod mail;
mod plan;
mod rollout;
mod rollout_policy;
mod shield;
pub mod text;

pub use advisory::{
    Claim, ClaimKind, OpenState, PackageKind, RangeEnd, Signal, SsvcAutomatable, SsvcExploitation,
    SsvcTechnicalImpact, Statement, Urgency, VersionRange, Voice,
};
pub use ecosystem::{
    Ecosystem, Platform, VersionScheme, debian_codename, debian_number, next_debian_release,
};
pub use event::{Event, EventKind, Realm, RecordedEvent};
pub use facts::{
    Candidate, FactsSource, HostFacts, InstalledPackage, Limitation, Listener, MailProcess,
    MailRole, OsRelease, ScanFailure, ScanFailureKind, Seen, StaleFile,
};
pub use feed::{FeedKind, FeedState, FeedStatus, FetchState, Problem, UnknownFeedKind};
pub use finding::{
    Comparison, Decision, Evidence, Finding, HostAnswer, HostStatus, Lane, OtherWord, Rule,
    Severity, Status, Surface, UnknownReason, Verdict,
};
pub use fleet::{
    Access, Exposure, Fleet, Host, Lifecycle, MissionPrevalence, Region, Service, Team,
    WellBeingImpact, Window,
};
pub use id::{
    AdvisoryId, FeedId, HostName, InvalidId, PlanId, RegionName, ServiceName, TeamName, ZoneName,
};
pub use jiff::Timestamp;
pub use mail::{
    is_mail_software, mail_process_names, mail_roles_of_port, mail_roles_of_process,
    mail_source_families, mail_source_names,
};
pub use plan::{
    MissedDeadline, NotPlanned, NotPlannedReason, Override, PackageChange, Plan, PlanStep,
    PlannedRegion, PlannedService, PlannedWindow, PlanningReport, Precheck, Proof, RecipeRef,
    Remedy, Stage, Variant, Wave,
};
pub use rollout::{Act, ActFailure, ActOutcome, Actor, CallOff, HostState, Ledger, RolloutOutcome};
pub use rollout_policy::{
    Blackout, Drain, FamilySettings, LaneRules, ProbeSettings, RolloutPolicy,
};
pub use shield::{
    BackendState, BundleRefusal, BundleState, Covering, Freshness, HeldMail, OutbreakAlert,
    OutbreakExample, ScannerState, ShieldState,
};
