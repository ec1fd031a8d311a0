//! Who touches hosts: the trait between the executor and the world.

use std::sync::Arc;

use jiff::SignedDuration;
use mailkeep_model::{Act, ActOutcome, EventKind, HostName, Plan, PlanId, PlanStep, Variant};

/// One act on one host, as the executor orders it. It holds all that is needed: who carries it out
/// chooses nothing.
#[derive(Debug, Clone)]
pub struct Order {
    /// The plan's id.
    pub plan_id: PlanId,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Place of the host's step in [`Plan::steps`].
    pub step: usize,
    /// What to do.
    pub act: Act,
    /// How often it was tried, from 1.
    pub attempt: u32,
    /// The controller's fencing number: a host refuses a lower one than it has seen.
    pub fence: u64,
    /// The hands are back after this long at the latest; what is not known by then is an
    /// [`ActFailure::Unreachable`](mailkeep_model::ActFailure::Unreachable).
    pub limit: SignedDuration,
    /// "Not yet" is not taken again after this attempt. For [`Act::AwaitEmpty`]: once no session is
    /// open, a queue that lies safely on disk is good enough now.
    pub last: bool,
}

impl Order {
    /// The step.
    pub fn step(&self) -> Option<&PlanStep> {
        self.plan.steps.get(self.step)
    }

    /// The host.
    pub fn host(&self) -> Option<&HostName> {
        self.step().map(|step| &step.host)
    }

    /// What to journal before it is performed; `None` where the plan has no such step, which no
    /// executor orders.
    pub fn started(&self) -> Option<EventKind> {
        Some(EventKind::ActStarted {
            plan: self.plan_id.clone(),
            host: self.host()?.clone(),
            act: self.act,
            attempt: self.attempt,
            fence: self.fence,
        })
    }

    /// What to journal after it.
    pub fn ended(&self, result: ActOutcome) -> Option<EventKind> {
        Some(EventKind::ActEnded {
            plan: self.plan_id.clone(),
            host: self.host()?.clone(),
            act: self.act,
            attempt: self.attempt,
            fence: self.fence,
            result,
        })
    }

    /// The variant.
    pub fn variant(&self) -> Option<&Variant> {
        self.plan.variants.get(self.step()?.variant as usize)
    }
}

/// Does one act on one host, and tells how it ended. May be called for several hosts at once from
/// several threads, never twice at once for one host.
pub trait Hands: Sync {
    /// Carries an order out. Never panics; what cannot be reached is an
    /// [`ActFailure::Unreachable`](mailkeep_model::ActFailure::Unreachable).
    fn perform(&self, order: &Order) -> ActOutcome;
}
