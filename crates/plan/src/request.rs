//! What the planner is asked: all of it, since it looks at nothing else.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
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
    /// The earliest deadline of what is open on hosts of `left_out`: without a step it is missed.
    pub deadlines: BTreeMap<HostName, Date>,
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

impl<'a> Request<'a> {
    /// A request of a drill for the regular lane, where nothing was planned before.
    pub fn drill(title: &str, now: Timestamp, fleet: &'a Fleet, work: Vec<HostWork>) -> Self {
        Self {
            realm: Realm::Drill,
            now,
            lane: Lane::Regular,
            overriding: None,
            bulletin: work.iter().flat_map(|w| w.closes.iter().cloned()).collect(),
            title: title.to_owned(),
            fleet,
            work,
            left_out: Vec::new(),
            left_unpatched: BTreeSet::new(),
            deadlines: BTreeMap::new(),
            parent: None,
            proven: BTreeSet::new(),
            failed: BTreeMap::new(),
            retries: BTreeSet::new(),
            out_of_service: BTreeSet::new(),
            elsewhere: BTreeMap::new(),
        }
    }

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
    pub deadline: Option<Date>,
    /// When its facts were seen.
    pub facts_as_of: Timestamp,
    /// Minutes it is expected to take, from this fleet's history; `None` is the family's or the
    /// policy's allotment.
    pub minutes: Option<u32>,
    /// Mail ports it listens on.
    pub ports: BTreeSet<u16>,
}

impl HostWork {
    /// Work of a simulated host: the one package of its family goes from a version to another.
    pub fn simulated(
        host: HostName,
        family: &str,
        (from, to): (&str, &str),
        closes: AdvisoryId,
        facts_as_of: Timestamp,
    ) -> Self {
        Self {
            host,
            family: family.to_owned(),
            platform: "Debian:12".to_owned(),
            packages: vec![PackageChange {
                name: family.to_owned(),
                from: from.to_owned(),
                to: to.to_owned(),
            }],
            recipe: None,
            closes: BTreeSet::from([closes]),
            mitigates: BTreeMap::new(),
            risk: 4,
            deadline: None,
            facts_as_of,
            minutes: None,
            ports: BTreeSet::from([25]),
        }
    }
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
