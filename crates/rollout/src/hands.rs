//! Who touches hosts: the trait between the executor and the world.

use std::sync::Arc;

use mailkeep_model::{Act, ActOutcome, HostName, Plan, PlanId, PlanStep, Variant};

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
