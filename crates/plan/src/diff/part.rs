//! The part of a plan that a region's team answers for, as one digest.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{HostName, Plan, PlanStep, RegionName, ServiceName};
use serde::Serialize;

use super::place;
use crate::document::{canonical_of, digest};

/// SHA-256, in hexadecimal, of the canonical JSON of everything in a plan that concerns one region: realm,
/// lane, override, retries, bulletin, policy, the region itself, its steps with their times, waves and variants,
/// and what its services ask for. It changes with any of these, and with nothing else: a child plan in
/// which another region shifts its waves keeps it, and so keeps this region's approval.
///
/// # Panics
///
/// Never: texts, numbers and lists under names can always be written as JSON.
pub fn part_digest(plan: &Plan, region: &RegionName) -> String {
    let steps: Vec<&PlanStep> = plan
        .steps
        .iter()
        .filter(|step| step.region == *region)
        .collect();
    let used: BTreeSet<&ServiceName> = steps.iter().flat_map(|step| &step.services).collect();
    let local = |service: &&ServiceName| -> Option<LocalService<'_>> {
        let planned = plan.services.get(*service)?;
        let hosts = planned.hosts.get(region);
        let out = |host: &&HostName| plan.out_of_service.contains(*host);
        Some(LocalService {
            hosts,
            out_of_service: hosts.into_iter().flatten().filter(out).collect(),
            minimum: planned.minimum.get(region).copied(),
            minimum_total: planned.minimum_total,
            after: &planned.after,
            probe: planned.probe.as_ref(),
        })
    };
    let part = Part {
        what: "mailkeep-plan-part",
        format: plan.format,
        realm: plan.realm,
        lane: plan.lane,
        overriding: plan.overriding.as_ref(),
        retries: &plan.retries,
        bulletin: &plan.bulletin,
        policy: &plan.policy,
        name: region,
        region: plan.regions.get(region),
        services: used.iter().map(|name| (*name, local(name))).collect(),
        steps: steps.iter().map(|step| LocalStep::of(plan, step)).collect(),
    };
    #[expect(
        clippy::expect_used,
        reason = "a digest of nothing would be approved as easily"
    )]
    let bytes = canonical_of(&part).expect("texts and numbers can be written as JSON");
    digest(&bytes)
}

#[derive(Serialize)]
struct Part<'a> {
    /// So that the digest of a part is never taken for one of something else.
    what: &'static str,
    format: u32,
    realm: mailkeep_model::Realm,
    lane: mailkeep_model::Lane,
    overriding: Option<&'a mailkeep_model::Override>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    retries: &'a BTreeSet<HostName>,
    bulletin: &'a [mailkeep_model::AdvisoryId],
    policy: &'a mailkeep_model::RolloutPolicy,
    name: &'a RegionName,
    region: Option<&'a mailkeep_model::PlannedRegion>,
    services: BTreeMap<&'a ServiceName, Option<LocalService<'a>>>,
    steps: Vec<LocalStep<'a>>,
}

#[derive(Serialize)]
struct LocalService<'a> {
    hosts: Option<&'a BTreeSet<HostName>>,
    out_of_service: BTreeSet<&'a HostName>,
    minimum: Option<u32>,
    minimum_total: Option<u32>,
    after: &'a BTreeSet<ServiceName>,
    probe: Option<&'a mailkeep_model::ProbeSettings>,
}

/// A step whose wave and variant stand in it themselves: their numbers change with other regions.
#[derive(Serialize)]
struct LocalStep<'a> {
    step: PlanStep,
    wave: Option<&'a mailkeep_model::Wave>,
    variant: Option<&'a mailkeep_model::Variant>,
}

impl<'a> LocalStep<'a> {
    fn of(plan: &'a Plan, step: &PlanStep) -> Self {
        Self {
            wave: plan.waves.get(place(step.wave)),
            variant: plan.variants.get(place(step.variant)),
            step: PlanStep {
                wave: 0,
                variant: 0,
                ..step.clone()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::testing::{coast, region};

    fn changed(change: impl FnOnce(&mut Plan)) -> Vec<&'static str> {
        let mut plan = coast();
        change(&mut plan);
        let digest = |plan: &Plan, name| part_digest(plan, &region(name));
        ["boston", "lisbon", "oslo"]
            .into_iter()
            .filter(|name| digest(&coast(), name) != digest(&plan, name))
            .collect()
    }

    #[test]
    fn a_part_is_64_hexadecimal_digits_and_each_region_has_its_own() {
        let digests: BTreeSet<String> = ["boston", "lisbon", "oslo", "nowhere"]
            .iter()
            .map(|name| part_digest(&coast(), &region(name)))
            .collect();
        assert_eq!(digests.len(), 4);
        assert!(
            digests
                .iter()
                .all(|d| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit()))
        );
    }

    #[test]
    fn what_concerns_one_region_changes_its_part_alone() {
        let none: Vec<&str> = Vec::new();
        assert_eq!(
            changed(|plan| plan.steps[14].start += SignedDuration::from_mins(15)),
            ["boston"]
        );
        assert_eq!(changed(|plan| plan.steps[0].risk = 9), ["oslo"]);
        assert_eq!(changed(|plan| plan.waves[0].window = None), ["oslo"]);
        assert_eq!(
            changed(|plan| {
                let mx = plan.services.get_mut("inbound-mx").unwrap();
                mx.minimum.insert(region("lisbon"), 1);
            }),
            ["lisbon"]
        );
        assert_eq!(
            changed(|plan| {
                plan.regions.get_mut("lisbon").unwrap().windows.clear();
            }),
            ["lisbon"]
        );
        assert_eq!(changed(|plan| plan.generation = 2), none);
        // Numbers of variants and waves are no one's business.
        assert_eq!(
            changed(|plan| {
                plan.variants.swap(0, 1);
                for step in &mut plan.steps {
                    step.variant = 1 - step.variant;
                }
            }),
            none
        );
    }

    #[test]
    fn what_concerns_all_changes_all() {
        let all = ["boston", "lisbon", "oslo"];
        assert_eq!(
            changed(|plan| plan.lane = mailkeep_model::Lane::Emergency),
            all
        );
        assert_eq!(
            changed(|plan| plan.realm = mailkeep_model::Realm::Drill),
            all
        );
        assert_eq!(changed(|plan| plan.policy.wave_failures = 9), all);
        assert_eq!(
            changed(|plan| plan.variants[0].packages[0].to = "9".to_owned()),
            all
        );
        assert_eq!(
            changed(|plan| {
                plan.bulletin.pop();
            }),
            all
        );
    }
}
