//! What the planner is asked: all of it, since it looks at nothing else.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{
    AdvisoryId, Fleet, HostName, Lane, NotPlanned, Override, PackageChange, Plan, PlanId, Realm,
    RecipeRef, Timestamp, Variant,
};

/// A request for a plan.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Live servers, or a rehearsal.
    pub realm: Realm,
    /// "Now": nothing starts earlier.
    pub now: Timestamp,
    /// The lane.
    pub lane: Lane,
    /// Set where the lane was ordered against the findings' own.
    pub overriding: Option<Override>,
    /// The advisories it answers.
    pub bulletin: BTreeSet<AdvisoryId>,
    /// One line for a person.
    pub title: String,
    /// The declared fleet.
    pub fleet: &'a Fleet,
    /// What is to be done, a host each, sorted by host.
    pub work: Vec<HostWork>,
    /// Hosts that have findings and cannot be planned, found out before; they go into the report as
    /// they are. One of these may have work all the same, which leaves such findings open.
    pub left_out: Vec<NotPlanned>,
    /// Those of `left_out` that have a fix to come: hosts whose services come after theirs wait for it.
    pub left_unpatched: BTreeSet<HostName>,
    /// The plan this one replaces, and its id.
    pub parent: Option<(&'a PlanId, &'a Plan)>,
    /// Hosts that an earlier plan patched as is asked for, and proved.
    pub proven: BTreeSet<HostName>,
    /// Changes that failed in earlier plans, each with a host on which it did. They are set aside.
    pub failed: BTreeMap<Variant, HostName>,
    /// Hosts of `failed` whose change a person wants tried again.
    pub retries: BTreeSet<HostName>,
    /// Hosts known not to be in service.
    pub out_of_service: BTreeSet<HostName>,
    /// Hosts that another plan that has not ended has.
    pub elsewhere: BTreeMap<HostName, PlanId>,
}

impl Request<'_> {
    /// The host on which a change failed, where the change is set aside for it.
    pub(crate) fn set_aside(&self, change: &Variant) -> Option<&HostName> {
        let failed_on = self.failed.get(change)?;
        (!self.retries.contains(failed_on)).then_some(failed_on)
    }
}

/// What is to be done to one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostWork {
    /// Which.
    pub host: HostName,
    /// Product family: the fleet file's word, else that of the mail software found.
    pub family: String,
    /// Distribution and release, as OSV writes it.
    pub platform: String,
    /// What changes, sorted by name.
    pub packages: Vec<PackageChange>,
    /// The recipe of its family.
    pub recipe: Option<RecipeRef>,
    /// The advisories it closes.
    pub closes: BTreeSet<AdvisoryId>,
    /// The advisories for which mitigations of the recipe stand in, see [`Variant::mitigates`].
    pub mitigates: BTreeMap<AdvisoryId, String>,
    /// Weight of a minute of exposure, at least 1.
    pub risk: u32,
    /// The earliest deadline among its findings.
    pub deadline: Option<jiff::civil::Date>,
    /// When its facts were seen.
    pub facts_as_of: Timestamp,
    /// Minutes it is expected to take, from this fleet's history; `None` is the family's or the
    /// policy's allotment.
    pub minutes: Option<u32>,
    /// Mail ports it listens on.
    pub ports: BTreeSet<u16>,
}

/// What kind of change a host's work is.
pub fn variant_of(fleet: &Fleet, work: &HostWork) -> Variant {
    Variant {
        family: work.family.clone(),
        platform: work.platform.clone(),
        packages: work.packages.clone(),
        recipe: work.recipe.clone(),
        whole_cluster: fleet
            .families
            .get(&work.family)
            .is_some_and(|f| f.whole_cluster),
        mitigates: work.mitigates.clone(),
    }
}
