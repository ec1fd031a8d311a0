//! Does a plan keep the rules? Found out from the plan alone, whoever made it.
//!
//! Entry type: [`check`], which gives every [`Breach`]. It distrusts the planner: it shares no code with
//! it, resolves windows by its own reading of the calendar, and counts who is in service from the
//! plan's own list of hosts.
//!
//! **Invariant:** bounded work. A plan from a stranger costs no more than its size, and the answer ends
//! after [`MAX_BREACHES`].

mod breach;
pub(crate) mod capacity;
pub(crate) mod clock;
mod order;
mod recurrence;
mod structure;
#[cfg(test)]
mod tests;
mod windows;

use std::collections::BTreeMap;

use mailkeep_model::{HostName, LaneRules, Plan, PlanStep};

pub use breach::{Breach, BreachKind, Weight};

/// More breaches than this are counted as one, [`BreachKind::TooManyBreaches`].
pub const MAX_BREACHES: usize = 10_000;

/// Everything in a plan that is against the rules, the broken ones first, then in the order in which
/// the rules are looked at. Empty for a good plan; one with nothing but warnings may run.
pub fn check(plan: &Plan) -> Vec<Breach> {
    let mut findings = Findings::default();
    let look = Look::new(plan);
    structure::check(&look, &mut findings);
    windows::check(&look, &mut findings);
    capacity::check(&look, &mut findings);
    order::check(&look, &mut findings);
    findings.into_breaches()
}

/// A plan with what several rules ask of it.
struct Look<'a> {
    plan: &'a Plan,
    rules: LaneRules,
    /// The first step of each host.
    step_of: BTreeMap<&'a HostName, &'a PlanStep>,
}

impl<'a> Look<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut step_of = BTreeMap::new();
        for step in &plan.steps {
            step_of.entry(&step.host).or_insert(step);
        }
        Self {
            plan,
            rules: plan.policy.lane(plan.lane),
            step_of,
        }
    }
}

/// What was found so far, up to the limit.
#[derive(Default)]
struct Findings {
    breaches: Vec<Breach>,
    beyond: usize,
}

impl Findings {
    fn push(&mut self, breach: Breach) {
        if self.breaches.len() < MAX_BREACHES {
            self.breaches.push(breach);
        } else {
            self.beyond += 1;
        }
    }

    fn is_full(&self) -> bool {
        self.breaches.len() >= MAX_BREACHES
    }

    fn into_breaches(mut self) -> Vec<Breach> {
        if self.beyond > 0 {
            self.breaches.push(Breach::of(
                BreachKind::TooManyBreaches,
                format!("at most {MAX_BREACHES} breaches"),
                format!("at least {} more", self.beyond),
            ));
        }
        self.breaches.sort_by_key(|breach| breach.weight);
        self.breaches
    }
}
