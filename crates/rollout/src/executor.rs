//! The executor: from a plan and its journal to what is due now.
//!
//! Entry type: [`Executor`]. The caller, be it the real controller or a simulation, does four things:
//!
//! 1. builds it from the plan and applies every event of the journal, oldest first;
//! 2. asks [`Executor::poll`] what is due, at every event and at [`Executor::next_wake`];
//! 3. for a [`Do::Record`]: appends that event to the journal and applies it;
//! 4. for a [`Do::Order`]: appends [`Order::started`] and applies it, performs the order, appends
//!    [`Order::ended`] and applies that.
//!
//! **Invariant:** decides nothing that the plan has not decided, except to wait, to stop and to take
//! back. No clock, no file, no socket, no thread; the state is a fold over events and nothing else.

use std::sync::Arc;

use mailkeep_model::{
    Event, EventKind, HostName, HostState, Plan, PlanId, RolloutOutcome, Timestamp,
};

use crate::Order;
use crate::machine::IllegalTransition;

/// What the caller of [`Executor::poll`] is to do.
#[derive(Debug, Clone)]
pub enum Do {
    /// Append this to the journal and apply it. Records come alone: what else is due depends on them,
    /// so apply all and poll again at once.
    Record(EventKind),
    /// Journal, perform, journal; see the module's head. Orders of one poll are for different hosts
    /// and may be performed side by side.
    Order(Order),
}

/// Why an event was not taken over. The state is as it was before; the caller notes it and goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It names a host that has no step in the plan.
    #[error("the plan has no step for {host}")]
    NoSuchHost {
        /// Which.
        host: HostName,
    },
    /// It belongs to no act that is under way: the late answer of an earlier try or controller.
    #[error("no such act is under way on {host}")]
    Stale {
        /// On which host.
        host: HostName,
    },
    /// The transition does not exist.
    #[error("the journal does not fit the state of {host}")]
    Illegal {
        /// Of which host.
        host: HostName,
        /// Which.
        #[source]
        source: IllegalTransition,
    },
}

/// A plan being executed.
#[derive(Debug, Clone)]
pub struct Executor {
    plan_id: PlanId,
    plan: Arc<Plan>,
    fence: u64,
}

/// Where one host stands.
#[derive(Debug, Clone)]
pub struct HostView<'a> {
    /// Which.
    pub host: &'a HostName,
    /// Place of its step in [`Plan::steps`].
    pub step: usize,
    /// Its state.
    pub state: HostState,
    /// Since when.
    pub since: Option<Timestamp>,
    /// How often the act of this state was begun.
    pub attempt: u32,
    /// Whether an act is under way.
    pub busy: bool,
    /// What went wrong, or why it was called off, last: stable name, colon, detail.
    pub trouble: Option<&'a str>,
}

impl Executor {
    /// An executor that has seen no event. `fence` is this controller's number, higher than that of
    /// every controller before it: acts begun under a lower one and never ended are ordered again.
    pub fn new(plan_id: PlanId, plan: Arc<Plan>, fence: u64) -> Self {
        Self {
            plan_id,
            plan,
            fence,
        }
    }

    /// Takes one event of the journal over. Events of other plans and realms change nothing, but that
    /// hosts isolated by hand count as out of service.
    pub fn apply(&mut self, event: &Event) -> Result<(), ApplyError> {
        let _ = event;
        Ok(())
    }

    /// What is due. Each order is handed out once; until its end is applied there is no other for its
    /// host. Empty until [`EventKind::RolloutStarted`] was applied and after
    /// [`EventKind::RolloutEnded`] was, and for good once a higher fence was seen.
    pub fn poll(&mut self, now: Timestamp) -> Vec<Do> {
        let _ = now;
        Vec::new()
    }

    /// When to poll again even if nothing happens; `None` where only an event can make anything due.
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let _ = now;
        None
    }

    /// Where each host stands, in the order of the plan's steps.
    pub fn states(&self) -> impl Iterator<Item = HostView<'_>> {
        std::iter::empty()
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<RolloutOutcome> {
        None
    }

    /// The reason of the pause, while it is paused.
    pub fn paused(&self) -> Option<&str> {
        None
    }

    /// The highest fencing number seen, where it is higher than this executor's: another controller has
    /// taken over, and this one must stop.
    pub fn taken_over_by(&self) -> Option<u64> {
        None
    }

    /// The plan's id.
    pub fn plan_id(&self) -> &PlanId {
        &self.plan_id
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// This controller's number.
    pub fn fence(&self) -> u64 {
        self.fence
    }
}
