//! What stands in for a fix on which host, since when, and what ends it.
//!
//! Entry: [`in_force`]. Read from plans with recipes and from their journals: there is no second truth.
//! What a person puts in force or removes by hand is not known here.

use std::collections::BTreeMap;

use anyhow::Context as _;
use mailkeep_model::{
    AdvisoryId, EventKind, HostName, HostState, PlanId, Status, Timestamp, Verdict,
};
use mailkeep_store::Store;

use super::{basis, kept};

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
        std::iter::once(&verdict.advisory)
            .chain(&verdict.aliases)
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

/// What rollouts have put in force and no later one has ended.
pub fn in_force(store: &dyn Store) -> anyhow::Result<Mitigations> {
    let mut found = Mitigations::default();
    for recorded in store.recipe_events()? {
        let EventKind::RecipesPlanned { plan } = recorded.event.kind else {
            continue;
        };
        // The event goes before its plan, so that no plan is without it.
        let Some(kept) = kept::by_id(store, &plan)? else {
            continue;
        };
        let progress = basis::progress(store, &kept.id, kept.plan)
            .with_context(|| format!("cannot tell what plan {plan} has put in force"))?;
        for step in &progress.plan.steps {
            let variant = usize::try_from(step.variant).unwrap_or(usize::MAX);
            let Some(variant) = progress.plan.variants.get(variant) else {
                continue;
            };
            let Some((state, since)) = progress.hosts.get(&step.host) else {
                continue;
            };
            match state {
                HostState::Proven if variant.recipe.is_some() => {
                    let before = found.0.remove(&step.host).unwrap_or_default();
                    let of_host = found.0.entry(step.host.clone()).or_default();
                    for (advisory, package) in &variant.mitigates {
                        let held = before.get(advisory).map(|before| before.since);
                        let now = InForce {
                            package: package.clone(),
                            since: held.or(*since).unwrap_or(recorded.event.at),
                            plan: progress.id.clone(),
                        };
                        of_host.insert(advisory.clone(), now);
                    }
                }
                // As it was before.
                HostState::Proven | HostState::RolledBack | HostState::Untouched => {}
                // Nobody knows how far it came.
                _ => {
                    found.0.remove(&step.host);
                }
            }
        }
    }
    Ok(found)
}
