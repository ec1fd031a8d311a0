//! What stands in for a fix on which host, since when, and what ends it.
//!
//! Entry: [`in_force`]. Read from plans with recipes and from their journals: there is no second truth.
//! What a person puts in force or removes by hand is not known here.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use mailkeep_model::{
    AdvisoryId, EventKind, HostName, HostState, PlanId, PlanStep, Status, Timestamp, Verdict,
};
use mailkeep_store::Store;

use super::{basis, kept, kept::Kept};

/// A mitigation of one advisory on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The source package whose fix ends it.
    pub package: String,
    /// Since when it is proven.
    pub since: Timestamp,
    /// The newest plan that put it in force, or kept it there.
    pub plan: PlanId,
}

/// By host and by the advisory's name in the recipe.
#[derive(Debug, Clone, Default)]
pub struct Mitigations(BTreeMap<HostName, BTreeMap<AdvisoryId, InForce>>);

impl Mitigations {
    /// The one that covers a verdict on a host, with the name by which the recipe knows the advisory.
    pub fn of(&self, host: &HostName, verdict: &Verdict) -> Option<(&AdvisoryId, &InForce)> {
        let of_host = self.0.get(host)?;
        verdict
            .names()
            .find_map(|name| of_host.get_key_value(name))
            .filter(|(_, found)| *found.package == *verdict.package)
    }

    /// Says of a verdict on a host that it is mitigated, where it is, and there is no fix.
    pub fn apply(&self, host: &HostName, verdict: &mut Verdict) {
        if matches!(verdict.status, Status::NoFix | Status::WillNotFix)
            && self.of(host, verdict).is_some()
        {
            verdict.status = Status::Mitigated;
        }
    }
}

/// Where a rollout of a plan with a recipe left a host.
struct End {
    at: Timestamp,
    host: HostName,
    state: HostState,
    /// What the plan's recipe mitigates there; `None` where it has no recipe for the host.
    mitigates: Option<BTreeMap<AdvisoryId, String>>,
    plan: PlanId,
}

/// What rollouts have put in force and no later one has ended.
pub fn in_force(store: &dyn Store) -> anyhow::Result<Mitigations> {
    let mut plans = Vec::new();
    for recorded in store.recipe_events()? {
        let EventKind::RecipesPlanned { plan } = recorded.event.kind else {
            continue;
        };
        // The event goes before its plan, so that no plan is without it.
        if let Some(kept) = kept::by_id(store, &plan)? {
            plans.push((recorded.event.at, kept));
        }
    }
    // Journals are long, and only what these hosts went through matters.
    let mut touched = BTreeSet::new();
    for (_, Kept { plan, .. }) in &plans {
        for step in &plan.steps {
            let change = plan.variants.get(step.variant as usize);
            if change.is_some_and(|change| !change.mitigates.is_empty()) {
                touched.insert(step.host.clone());
            }
        }
    }
    let mut ends = Vec::new();
    for (planned_at, kept) in plans {
        let matters = |step: &PlanStep| touched.contains(&step.host);
        if !kept.plan.steps.iter().any(matters) {
            continue;
        }
        let plan = &kept.id;
        let progress = basis::progress(store, plan, kept.plan)
            .with_context(|| format!("cannot tell what plan {plan} has put in force"))?;
        for (host, (state, since)) in &progress.hosts {
            let Some(variant) = basis::change_of(&progress.plan, host) else {
                continue;
            };
            let mitigates = variant.recipe.is_some().then(|| variant.mitigates.clone());
            ends.push(End {
                at: since.unwrap_or(planned_at),
                host: host.clone(),
                state: *state,
                mitigates,
                plan: progress.id.clone(),
            });
        }
    }
    Ok(left_by(ends))
}

/// What these left in force. The last one to touch a host says it; its plan may be older than another.
fn left_by(mut ends: Vec<End>) -> Mitigations {
    let mut found = Mitigations::default();
    ends.sort_by_key(|end| end.at);
    for end in ends {
        match (end.state, end.mitigates) {
            (HostState::Proven, Some(mitigates)) => {
                let before = found.0.remove(&end.host).unwrap_or_default();
                let now = mitigates.into_iter().map(|(advisory, package)| {
                    let held = before.get(&advisory).map(|before| before.since);
                    let in_force = InForce {
                        package,
                        since: held.unwrap_or(end.at),
                        plan: end.plan.clone(),
                    };
                    (advisory, in_force)
                });
                found.0.insert(end.host, now.collect());
            }
            // As it was before.
            (HostState::Proven | HostState::RolledBack | HostState::Untouched, _) => {}
            // Nobody knows how far it came.
            _ => {
                found.0.remove(&end.host);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rollout_that_touched_a_host_last_says_what_is_in_force() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let advisory = AdvisoryId::new("CVE-2026-7777").unwrap();
        let plans = ["sha256:00", "sha256:01"].map(|id| PlanId::new(id).unwrap());
        let host = HostName::new("mx1").unwrap();
        let end = |plan: usize, second, in_force: bool, state| {
            let covers = (advisory.clone(), "exim4".to_owned());
            End {
                at: at(second),
                host: host.clone(),
                state,
                mitigates: Some(in_force.then_some(covers).into_iter().collect()),
                plan: plans[plan].clone(),
            }
        };
        let of = |ends| left_by(ends).0.remove(&host).unwrap_or_default();
        // In the order in which the plans were made; the first one was carried out last.
        let ended_late = [
            end(0, 20, false, HostState::Proven),
            end(1, 10, true, HostState::Proven),
        ];
        assert_eq!(of(ended_late.into()), BTreeMap::new());
        let held_late = [
            end(0, 20, true, HostState::Held),
            end(1, 10, true, HostState::Proven),
        ];
        assert_eq!(of(held_late.into()), BTreeMap::new());
        let kept_late = [
            end(0, 20, true, HostState::Proven),
            end(1, 10, true, HostState::Proven),
            end(1, 30, false, HostState::RolledBack),
        ];
        let still = InForce {
            package: "exim4".to_owned(),
            since: at(10),
            plan: plans[0].clone(),
        };
        assert_eq!(of(kept_late.into()), [(advisory.clone(), still)].into());
    }
}
