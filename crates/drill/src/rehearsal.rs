//! A rehearsal, from the outside: what is asked for, and what came of it.

use std::collections::BTreeMap;
use std::fmt;

use mailkeep_model::{
    Event, HostName, HostState, Ledger, Plan, RegionName, RolloutOutcome, ServiceName, Timestamp,
};

use crate::faults::Faults;
use crate::simulation::Simulation;

/// Why a plan cannot be rehearsed.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// It has no step, so there is nothing to rehearse.
    #[error("the plan has no step")]
    NoStep,
    /// It has no id.
    #[error("the plan has no id")]
    Id(#[source] mailkeep_plan::DocumentError),
}

/// What came of a rehearsal.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// The numbers.
    pub figures: Figures,
    /// The journal, of realm drill.
    pub events: Vec<Event>,
    /// How each host ended, and why, where it left the good path.
    pub hosts: BTreeMap<HostName, (HostState, Option<String>)>,
    /// What must never happen and did. Empty, or there is an error in Mailkeep.
    pub breaches: Vec<Breach>,
}

/// The numbers of a rehearsal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// How the rollout ended.
    pub outcome: Option<RolloutOutcome>,
    /// Hosts by the state they ended in.
    pub ended: BTreeMap<HostState, u64>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Minutes from the first drain to the end.
    pub minutes: i64,
    /// Acts begun.
    pub acts: u64,
    /// Acts that were begun again.
    pub again: u64,
    /// How often the controller died.
    pub crashes: u64,
    /// Seconds hosts did not serve, over all hosts that do at the end.
    pub seconds_out: i64,
    /// The longest a host that serves at the end did not.
    pub longest_out: i64,
    /// By service: the fewest hosts above the minimum that served at any time.
    pub margin: BTreeMap<ServiceName, i64>,
    /// Messages.
    pub ledger: Ledger,
    /// Messages that lie in the queue of a host that was left out of service.
    pub kept_in_queues: u64,
}

/// What must never happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// A service fell below its minimum.
    BelowMinimum {
        /// When.
        at: Timestamp,
        /// By which host's leaving.
        host: HostName,
        /// Which service.
        service: ServiceName,
        /// Where; `None` is over all regions.
        region: Option<RegionName>,
        /// Hosts that serve.
        serving: u32,
        /// Hosts that must.
        minimum: u32,
    },
    /// A host was changed while it served.
    ChangedInService {
        /// When.
        at: Timestamp,
        /// Which.
        host: HostName,
    },
    /// Messages are nowhere.
    Lost {
        /// How many.
        messages: u64,
    },
    /// The rollout does not end.
    NoEnd {
        /// When it was given up.
        at: Timestamp,
    },
    /// A host did not end in a state that the journal explains.
    NoReason {
        /// Which.
        host: HostName,
        /// Its state.
        state: HostState,
    },
    /// A host is not what its end state says.
    NotAsSaid {
        /// Which.
        host: HostName,
        /// Its end state.
        state: HostState,
        /// What it is.
        found: String,
    },
    /// Two orders for one host at once, or a journal that does not fold.
    Executor {
        /// What was wrong.
        what: String,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BelowMinimum {
                at,
                host,
                service,
                region,
                serving,
                minimum,
            } => {
                write!(f, "below-minimum: {service}")?;
                if let Some(region) = region {
                    write!(f, " in {region}")?;
                }
                write!(f, " had {serving} of {minimum} when {host} left, {at}")
            }
            Self::ChangedInService { at, host } => {
                write!(f, "changed-in-service: {host}, {at}")
            }
            Self::Executor { what } => write!(f, "executor: {what}"),
            Self::Lost { messages } => write!(f, "lost: {messages} messages"),
            Self::NoEnd { at } => write!(f, "no-end: given up {at}"),
            Self::NoReason { host, state } => {
                write!(f, "no-reason: {host} is {}", state.name())
            }
            Self::NotAsSaid { host, state, found } => {
                write!(f, "not-as-said: {host} is {}, but {found}", state.name())
            }
        }
    }
}

/// How a rehearsal is run, beyond its faults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The controller dies at exactly these points, counted from 1: before and after each write to the
    /// journal, and after each order was handed over.
    pub crash_at: Vec<u64>,
    /// Every act is done twice.
    pub twice: bool,
}

/// Carries a plan out against a simulated fleet. Equal arguments give equal answers.
///
/// The plan is rehearsed as it is, but in the realm of drills: its events can be taken for no others.
pub fn rehearse(plan: &Plan, seed: u64, faults: &Faults) -> Result<Rehearsal, RehearseError> {
    rehearse_with(plan, seed, faults, &Settings::default())
}

/// The same, and decides when the controller dies.
pub fn rehearse_with(
    plan: &Plan,
    seed: u64,
    faults: &Faults,
    settings: &Settings,
) -> Result<Rehearsal, RehearseError> {
    Ok(Simulation::new(plan, seed, faults, settings)?.run())
}
